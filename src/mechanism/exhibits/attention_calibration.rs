//! Paper 37: where sinks beyond the first token are, what turning them down does to a row and a map, and which heads it
//! helps.

use super::{Offer, Scene, by_head, drawn, fact, grid, marks, missing, of_pairs, of_tokens, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Memory;
use crate::mechanism::attention_calibration::{AttentionCalibrationParams, ONE, PREFIX, gate, hidden, mean_columns};
use crate::spec::Params;
use burn::tensor::{Tensor, TensorData};

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "atlas",
        "Where the sinks are",
        Drawn::Cells,
        atlas,
        "By head, before calibration: sinks that would be turned down, and the weight of all rows on them. Outlined heads are \
         calibrated.",
    ),
    Offer::new(
        "columns",
        "How much rows look at each token",
        Drawn::Tokens,
        columns,
        "Mean weight of the rows that can see a token, in the pinned head before calibration; outlined tokens are turned down.",
    ),
    Offer::new(
        "row",
        "The pinned row before and after",
        Drawn::Bars,
        row,
        "Weights of the pinned query and head over the keys; marked keys are turned down.",
    ),
    Offer::new(
        "maps",
        "The pinned head before and after",
        Drawn::Maps,
        maps,
        "Before calibration, from the queries and keys of this pane; after; and in plain attention.",
    ),
    Offer::slow(
        "gain",
        "What calibrating one head does",
        Drawn::Cells,
        gain_frame,
        gain_row,
        "Loss on this prompt in nats per token with one head calibrated, above the loss with none: negative helps. Everything \
         else as in this pane, in mode prefix, in which a row knows nothing of what follows.",
    ),
];

/// What the mechanism finds in one layer.
struct Found {
    /// Weights before calibration `[H,n,n]`.
    before: Vec<f32>,
    /// Mean weight of each column as the last row knows it, `[H,n]`.
    columns: Vec<f32>,
    /// Columns that are turned down as the row `query` knows them, `[H,n]`.
    sinks: Vec<bool>,
    /// Heads that are calibrated.
    gates: Vec<bool>,
}

fn found(scene: &Scene<'_>, layer: usize, query: usize) -> Result<Found> {
    let p: AttentionCalibrationParams = scene.params();
    let (at, n, heads) = (scene.grid(layer), scene.tokens, scene.heads);
    let before = scene.exact(layer)?.pattern;
    let a: Tensor<4> = Tensor::from_data(TensorData::new(before.clone(), [1, heads, n, n]), &at.device);
    let mean = mean_columns(&p, &at, &a, &mut Memory::default()); // [1,H,1,K] or [1,H,Q,K]
    let rows = mean.dims()[2];
    let line = |x: Vec<f32>, row: usize| -> Vec<f32> {
        (0..heads).flat_map(|head| x[(head * rows + row.min(rows - 1)) * n..][..n].to_vec()).collect()
    };
    let host = |x: Tensor<4>| -> Vec<f32> { x.into_data().iter().collect() };
    let sinks = host(hidden(&p, &at, mean.clone()).float());
    let gates = match gate(&p, &at) {
        Some(gate) => host(gate.float().expand([1, heads, 1, 1])).into_iter().map(|gate| gate > 0.5).collect(),
        None => vec![false; heads],
    };
    let sinks = line(sinks, query).into_iter().map(|sink| sink > 0.5).collect();
    Ok(Found { before, columns: line(host(mean), rows - 1), sinks, gates })
}

fn atlas(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let (mut counts, mut masses, mut gates) = (Vec::new(), Vec::new(), Vec::new());
    for layer in 0..scene.layers {
        let found = found(scene, layer, n - 1)?;
        for head in 0..scene.heads {
            let sinks = &found.sinks[head * n..(head + 1) * n];
            let weights = &found.before[head * n * n..(head + 1) * n * n];
            counts.push(sinks.iter().filter(|sink| **sink).count() as f32);
            let on: f32 =
                weights.iter().enumerate().filter(|(pair, _)| sinks[pair % n]).map(|(_, weight)| weight).sum();
            masses.push(on / n as f32);
        }
        gates.extend(found.gates);
    }
    let all: f32 = counts.iter().sum();
    let sheets = vec![
        sheet("sinks", "sinks", "keys", counts),
        shares("mass", "weight on them", masses),
        marks("gates", "calibrated", gates),
    ];
    let mut grid = by_head(scene, sheets);
    grid.facts.push(fact("sinks", "Sinks beyond the spared one, in all heads", all, "keys"));
    Ok(Exhibit { outlined: Some("gates".into()), ..drawn(grid) })
}

fn columns(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let found = found(scene, scene.head.layer, n - 1)?;
    let of = scene.head.head * n..(scene.head.head + 1) * n;
    let sheets = vec![
        sheet("mean", "mean weight", "", found.columns[of.clone()].to_vec()),
        marks("sinks", "turned down", found.sinks[of].iter().copied()),
    ];
    let mut grid = of_tokens(scene, "head", [scene.head.to_string()], sheets);
    if found.gates.get(scene.head.head) != Some(&true) {
        grid.notes.push(format!("{} is not calibrated at this setting.", scene.head));
    }
    Ok(Exhibit { outlined: Some("sinks".into()), ..drawn(grid) })
}

fn row(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head, n, query) = (scene.head.layer, scene.head.head, scene.tokens, scene.query);
    let found = found(scene, layer, query)?;
    let before = &found.before[(head * n + query) * n..][..=query];
    let after = &scene.pattern(layer, head)[query * n..][..=query];
    let sinks = &found.sinks[head * n..][..=query];
    let on = |row: &[f32]| row.iter().zip(sinks).filter(|(_, sink)| **sink).map(|(weight, _)| weight).sum::<f32>();
    let (was, is) = (on(before), on(after));
    let sheets = vec![
        sheet("weight", "weight", "", [before, after].concat()),
        marks("sinks", "turned down", [sinks, sinks].concat()),
    ];
    let mut keys = scene.token_axis("key");
    keys.labels.truncate(query + 1);
    let mut grid = grid(Axis::new("row", ["before", "after"].map(String::from)), keys, sheets);
    grid.facts.push(fact("before", "Weight on sinks before", was, ""));
    grid.facts.push(fact("after", "Weight on sinks after", is, ""));
    Ok(Exhibit { outlined: Some("sinks".into()), ..drawn(grid) })
}

fn maps(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let exact = scene.exact(layer)?;
    let sheets = vec![
        shares("before", "before", exact.pattern_of(head, n).to_vec()),
        shares("after", "after", scene.pattern(layer, head).to_vec()),
        shares("plain", "plain attention", scene.plain_pattern(layer, head).to_vec()),
    ];
    Ok(drawn(of_pairs(scene, sheets)))
}

fn gain_frame(scene: &Scene<'_>) -> Result<Exhibit> {
    if scene.tokens < 2 {
        return missing("One token has no loss.");
    }
    let empty = vec![f32::NAN; scene.layers * scene.heads];
    Ok(drawn(by_head(scene, vec![sheet("gain", "Δ loss", "nats per token", empty)])))
}

fn gain_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let p = AttentionCalibrationParams { mode: PREFIX, heads: ONE, layer: row as i32, ..scene.params() };
    let none = scene.loss(&scene.with(AttentionCalibrationParams { beta: 1.0, ..p.clone() }.values()))?;
    let alone = |head: usize| {
        let p = AttentionCalibrationParams { head: head as i32, ..p.clone() };
        Ok(scene.loss(&scene.with(p.values()))? - none)
    };
    Ok(vec![(0..scene.heads).map(alone).collect::<Result<_>>()?])
}
