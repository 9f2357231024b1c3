//! Paper 52: how strong the sink of every head is, which positions are sinks, and what is peculiar about the first token.

use super::{Offer, Scene, by_head, drawn, fact, grid, shares, sheet};
use crate::Result;
use crate::lens::base::Base;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "sinks",
        "The sink of every head",
        Drawn::Cells,
        sinks,
        "Mean weight of all rows on the first token, in this pane, in plain attention, and on the slot where there is one. \
         Under operators without normalisation rows need not sum to one.",
    ),
    Offer::new(
        "positions",
        "Sinks by position",
        Drawn::Bars,
        positions,
        "Share of all heads whose mean weight on a position, over the rows that can see it, exceeds 0.3; the last bar is the \
         slot.",
    ),
    Offer::new(
        "norms",
        "The first token in the residual stream",
        Drawn::Lines,
        norms,
        "Norm of the first token’s residual stream over the median of all tokens, before every layer and at the end.",
    ),
    Offer::new(
        "values",
        "The first token’s values",
        Drawn::Cells,
        values,
        "Norm of the first token’s value over the median of all tokens, by key–value head: a sink says little.",
    ),
];

/// ε of the paper.
const EPSILON: f32 = 0.3;
/// Positions that are shown.
const POSITIONS: usize = 16;

/// Mean weight on a key over the rows that can see it.
fn importance(pattern: &[f32], n: usize, key: usize) -> f32 {
    (key..n).map(|query| pattern[query * n + key]).sum::<f32>() / (n - key) as f32
}

fn mean(row: &[f32]) -> f32 {
    if row.is_empty() { f32::NAN } else { row.iter().sum::<f32>() / row.len() as f32 }
}

fn sinks(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let own: Vec<f32> = scene.every_head().map(|(l, h)| importance(scene.pattern(l, h), n, 0)).collect();
    let plain: Vec<f32> = scene.every_head().map(|(l, h)| importance(scene.plain_pattern(l, h), n, 0)).collect();
    let slots: Vec<f32> = scene.every_head().map(|(l, h)| mean(scene.slot(l, h))).collect();
    let share = |all: &[f32]| all.iter().filter(|mass| **mass > EPSILON).count() as f32 / all.len() as f32;
    let (here, there) = (share(&own), share(&plain));
    let mut sheets = vec![shares("own", "this pane", own), shares("plain", "plain attention", plain)];
    if slots.iter().any(|slot| slot.is_finite()) {
        sheets.push(shares("slot", "slot", slots));
    }
    let mut grid = by_head(scene, sheets);
    grid.facts.push(fact("own", "Heads with a sink on the first token, here", here, "of all"));
    grid.facts.push(fact("plain", "The same in plain attention", there, "of all"));
    Ok(drawn(grid))
}

fn positions(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let shown = POSITIONS.min(n);
    let heads = (scene.layers * scene.heads) as f32;
    let of = |pattern: &dyn Fn(usize, usize) -> f32| {
        (0..shown)
            .map(|key| {
                scene.every_head().filter(|(l, h)| pattern(l * scene.heads + h, key) > EPSILON).count() as f32 / heads
            })
            .collect::<Vec<_>>()
    };
    let head = |index: usize| (index / scene.heads, index % scene.heads);
    let own = of(&|index, key| importance(scene.pattern(head(index).0, head(index).1), n, key));
    let plain = of(&|index, key| importance(scene.plain_pattern(head(index).0, head(index).1), n, key));
    let slots = scene.every_head().filter(|(l, h)| mean(scene.slot(*l, *h)) > EPSILON).count() as f32 / heads;
    let has_slot = !scene.slot(0, 0).is_empty();
    let slot = if has_slot { slots } else { f32::NAN };
    let values = [own, vec![slot], plain, vec![f32::NAN]].concat();
    let columns = scene.labels[..shown].iter().enumerate().map(|(at, label)| format!("{at} {label}"));
    let columns = Axis::new("position", columns.chain(["slot".to_string()]));
    let rows = Axis::new("attention", ["this pane", "plain"].map(String::from));
    Ok(drawn(grid(rows, columns, vec![shares("sinks", "share of heads", values)])))
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f32::NAN)
}

fn norm(row: &[f32]) -> f32 {
    row.iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn norms(scene: &Scene<'_>) -> Result<Exhibit> {
    let of = |base: &Base| -> Vec<f32> {
        let one = |stream: &crate::hook::Array| {
            let norms: Vec<f32> = (0..scene.tokens).map(|token| norm(stream.at(token))).collect();
            norms[0] / median(norms.clone())
        };
        base.residuals.iter().map(one).collect()
    };
    let depths = (0..scene.layers).map(|layer| format!("L{layer}")).chain(["end".to_string()]);
    let rows = Axis::new("attention", ["this pane", "plain"].map(String::from));
    let sheets = vec![sheet("ratio", "norm over median", "", [of(scene.own), of(scene.plain)].concat())];
    Ok(drawn(grid(rows, Axis::new("before", depths), sheets)))
}

fn values(scene: &Scene<'_>) -> Result<Exhibit> {
    let mut ratios = Vec::new();
    for layer in 0..scene.layers {
        let v = scene.vectors(layer)?.v;
        let [_, groups, n, width] = v.dims();
        let v: Vec<f32> = v.into_data().iter().collect();
        for group in v.chunks(n * width).take(groups) {
            let norms: Vec<f32> = group.chunks(width).map(norm).collect();
            ratios.push(norms[0] / median(norms.clone()));
        }
    }
    let heads = Axis::new("key–value head", (0..scene.kv_heads).map(|head| format!("KV{head}")));
    Ok(drawn(grid(scene.layer_axis(), heads, vec![sheet("ratio", "norm over median", "", ratios)])))
}
