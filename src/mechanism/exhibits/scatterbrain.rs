//! Paper 56: exact, sparse, low-rank and combined maps side by side, and their errors by temperature, by head and at equal
//! memory.

use super::scene::{Stepped, error, mass};
use super::{Offer, Scene, by_head, drawn, fact, grid, marks, of_pairs, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::scatterbrain::{LOCAL, NONE, ScatterbrainParams};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "maps",
        "Exact, sparse, low-rank, both",
        Drawn::Maps,
        maps,
        "The pinned head on the queries and keys it has here, at this temperature: exact softmax, the support alone with rows \
         that sum to one again, random features alone, and both. Below: ‖map − exact‖ / ‖exact‖.",
    ),
    Offer::new(
        "support",
        "The support over the exact map",
        Drawn::Map,
        support,
        "Exact weights of the pinned head; outlined are the pairs whose score is computed, all others are estimated.",
    ),
    Offer::new(
        "temperature",
        "Error by temperature",
        Drawn::Lines,
        temperature,
        "‖map − exact‖ / ‖exact‖ of the pinned head; a low temperature factor makes attention flat, a high one spiky.",
    ),
    Offer::new(
        "error",
        "Error of every head",
        Drawn::Cells,
        errors,
        "Relative error of what a head mixes, on the queries, keys and values it has here.",
    ),
    Offer::slow(
        "memory",
        "Equal memory",
        Drawn::Cells,
        memory_frame,
        memory_row,
        "Loss on this prompt in nats per token above exact attention, by the numbers that are kept for each query: all for a \
         window, all for random features, or half for each.",
    ),
];

/// Exact attention at the pane's temperature, the support alone, features alone, both.
fn variants(scene: &Scene<'_>, p: &ScatterbrainParams) -> [Stack; 4] {
    let with = |p: ScatterbrainParams| scene.with(p.values());
    // A window as long as any drawn text.
    let exact = ScatterbrainParams { support: LOCAL, window: 256, ..p.clone() };
    let sparse = ScatterbrainParams { features: 0, ..p.clone() };
    let low_rank = ScatterbrainParams { support: NONE, features: p.features.max(2), ..p.clone() };
    [with(exact), with(sparse), with(low_rank), with(p.clone())]
}

const NAMES: [(&str, &str); 4] = [("exact", "exact"), ("sparse", "sparse"), ("low_rank", "low-rank"), ("both", "both")];

fn stepped(scene: &Scene<'_>, p: &ScatterbrainParams, layer: usize) -> Result<Vec<Stepped>> {
    variants(scene, p).iter().map(|stack| scene.step(stack, layer)).collect()
}

fn maps(scene: &Scene<'_>) -> Result<Exhibit> {
    let all = stepped(scene, &scene.params(), scene.head.layer)?;
    let n = scene.tokens;
    let of = |stepped: &Stepped| {
        let weights = stepped.pattern_of(scene.head.head, n).iter().enumerate();
        weights.map(|(pair, weight)| if pair % n <= pair / n { *weight } else { f32::NAN }).collect::<Vec<f32>>()
    };
    let sheets = NAMES.iter().zip(&all).map(|((id, name), stepped)| shares(id, name, of(stepped))).collect();
    let mut grid = of_pairs(scene, sheets);
    let exact = all[0].pattern_of(scene.head.head, n);
    for ((id, name), stepped) in NAMES.iter().zip(&all).skip(1) {
        let error = error(stepped.pattern_of(scene.head.head, n), exact);
        grid.facts.push(fact(id, &format!("Error of the map, {name}"), error, ""));
    }
    Ok(drawn(grid))
}

fn support(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: ScatterbrainParams = scene.params();
    let [exact, sparse, ..] = variants(scene, &p);
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let exact = scene.step(&exact, layer)?;
    let weights = exact.pattern_of(head, n);
    // Without features the diagonal is always kept, so that no row is empty; `none` computes no score.
    let none = p.support == NONE;
    let kept: Vec<bool> =
        scene.step(&sparse, layer)?.kept[head * n * n..][..n * n].iter().map(|kept| *kept && !none).collect();
    let count = kept.iter().filter(|kept| **kept).count();
    let share = mass(weights, &kept);
    let sheets = vec![shares("exact", "exact", weights.to_vec()), marks("support", "computed", kept)];
    let mut grid = of_pairs(scene, sheets);
    grid.facts.push(fact("share", "Share of the causal pairs", count as f32 / (n * (n + 1) / 2) as f32, ""));
    grid.facts.push(fact("mass", "Exact weight on them", share, ""));
    Ok(Exhibit { outlined: Some("support".into()), ..drawn(grid) })
}

const TEMPERATURES: [f32; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

fn temperature(scene: &Scene<'_>) -> Result<Exhibit> {
    let (p, n, head): (ScatterbrainParams, _, _) = (scene.params(), scene.tokens, scene.head.head);
    let mut errors = vec![f32::NAN; 3 * TEMPERATURES.len()];
    for (column, temperature) in TEMPERATURES.into_iter().enumerate() {
        let all = stepped(scene, &ScatterbrainParams { temperature, ..p.clone() }, scene.head.layer)?;
        for (row, stepped) in all[1..].iter().enumerate() {
            errors[row * TEMPERATURES.len() + column] = error(stepped.pattern_of(head, n), all[0].pattern_of(head, n));
        }
    }
    let rows = Axis::new("map", NAMES[1..].iter().map(|(_, name)| name.to_string()));
    let columns = Axis::new("temperature", TEMPERATURES.map(|temperature| temperature.to_string()));
    Ok(drawn(grid(rows, columns, vec![sheet("error", "error of the map", "", errors)])))
}

fn errors(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: ScatterbrainParams = scene.params();
    let mut sheets = [(); 3].map(|()| Vec::new());
    for layer in 0..scene.layers {
        let all = stepped(scene, &p, layer)?;
        for head in 0..scene.heads {
            let exact = all[0].z_of(head, scene.heads);
            sheets
                .iter_mut()
                .zip(&all[1..])
                .for_each(|(sheet, of)| sheet.push(error(of.z_of(head, scene.heads), exact)));
        }
    }
    let [sparse, low_rank, both] = sheets;
    let sheets = vec![
        sheet("both", "both", "relative error", both),
        sheet("sparse", "sparse alone", "relative error", sparse),
        sheet("low_rank", "low-rank alone", "relative error", low_rank),
    ];
    Ok(drawn(by_head(scene, sheets)))
}

const MEMORIES: [i32; 5] = [8, 16, 32, 64, 128];

fn memory_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let rows = Axis::new("memory", MEMORIES.map(|numbers| format!("{numbers} numbers")));
    let columns = Axis::new("spent on", ["window", "features", "half and half"].map(String::from));
    let empty = vec![f32::NAN; 3 * MEMORIES.len()];
    Ok(drawn(grid(rows, columns, vec![sheet("loss", "loss above exact", "nats per token", empty)])))
}

fn memory_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let numbers = MEMORIES[row.min(MEMORIES.len() - 1)];
    let p = ScatterbrainParams { support: LOCAL, ..scene.params() };
    let all = [
        ScatterbrainParams { window: numbers, features: 0, ..p.clone() },
        ScatterbrainParams { support: NONE, features: numbers, ..p.clone() },
        ScatterbrainParams { window: numbers / 2, features: numbers / 2, ..p.clone() },
    ];
    let [exact, ..] = variants(scene, &p);
    let exact = scene.loss(&exact)?;
    Ok(vec![all.iter().map(|p| Ok(scene.loss(&scene.with(p.values()))? - exact)).collect::<Result<_>>()?])
}
