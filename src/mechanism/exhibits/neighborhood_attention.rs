//! Paper 47: what a token sees, how far it reaches through the layers, and what tiles and gathers would compute.

use super::{Offer, Scene, drawn, fact, grid, masks, of_tokens, sheet};
use crate::Result;
use crate::experiment::Chip;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::neighborhood_attention::NeighborhoodAttentionParams;
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "neighbours",
        "What the pinned token sees",
        Drawn::Tokens,
        neighbours,
        "Keys of the pinned query in each layer; they differ where every second layer spreads its neighbours.",
    ),
    masks::REACH,
    Offer::new(
        "work",
        "Scores that each way of computing needs",
        Drawn::Bars,
        work,
        "Scores of one head of the pinned layer, counted: a dense product that is masked afterwards, square tiles of which \
         those without a kept pair are left out, and a gather of the kept pairs alone. The GPU engine here skips keys that a \
         mask drops, row by row.",
    ),
    Offer::new(
        "tiles",
        "Waste of tiles",
        Drawn::Cells,
        tiles,
        "Of the scores in tiles that hold a kept pair, the share that is kept, by the size of tiles: queries down, keys across.",
    ),
    Offer::slow(
        "rivals",
        "The same number of keys, spent differently",
        Drawn::Cells,
        rivals_frame,
        rivals_row,
        "Loss on this prompt in nats per token above plain attention: neighbours, blocks that do not overlap (a query sees \
         half of its block on average), the same neighbours 2 and 4 apart, and these in every second layer.",
    ),
];

fn neighbours(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let row = |layer: usize| scene.kept(layer, 0)[scene.query * n..(scene.query + 1) * n].to_vec();
    let rows: Vec<Vec<bool>> = (0..scene.layers).map(row).collect();
    // Layers of one kind are drawn once.
    let first: Vec<usize> = (0..scene.layers).filter(|layer| !rows[..*layer].contains(&rows[*layer])).collect();
    let name = |layer: &usize| {
        let same: Vec<_> =
            (0..scene.layers).filter(|other| rows[*other] == rows[*layer]).map(|l| format!("L{l}")).collect();
        same.join(" ")
    };
    let values = first.iter().flat_map(|layer| rows[*layer].iter().map(|kept| f32::from(u8::from(*kept)))).collect();
    let mut grid = of_tokens(scene, "layers", first.iter().map(name), vec![sheet("seen", "seen", "", values)]);
    let count = rows[scene.head.layer].iter().filter(|kept| **kept).count();
    grid.facts.push(fact("count", "Keys it sees in the pinned layer", count as f32, "keys"));
    Ok(Exhibit { classes: vec!["not seen".into(), "seen".into()], ..drawn(grid) })
}

/// Scores in tiles of `rows` × `columns` that hold a kept pair.
fn tiled(kept: &[bool], n: usize, rows: usize, columns: usize) -> usize {
    let mut scores = 0;
    for top in (0..n).step_by(rows) {
        for left in (0..n).step_by(columns) {
            let (bottom, right) = ((top + rows).min(n), (left + columns).min(n));
            if (top..bottom).any(|query| kept[query * n + left..query * n + right].contains(&true)) {
                scores += (bottom - top) * (right - left);
            }
        }
    }
    scores
}

fn work(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let kept = scene.kept(scene.head.layer, scene.head.head);
    let exact = kept.iter().filter(|kept| **kept).count();
    let values = vec![(n * n) as f32, tiled(&kept, n, 16, 16) as f32, exact as f32];
    let names = ["dense, then masked", "tiles of 16 × 16", "gather"].map(String::from);
    let sheets = vec![sheet("scores", "scores", "", values)];
    Ok(drawn(grid(Axis::new("head", [scene.head.to_string()]), Axis::new("way", names), sheets)))
}

const SIZES: [usize; 4] = [4, 8, 16, 32];

fn tiles(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let kept = scene.kept(scene.head.layer, scene.head.head);
    let exact = kept.iter().filter(|kept| **kept).count() as f32;
    let share = |rows: usize, columns: usize| exact / tiled(&kept, n, rows, columns).max(1) as f32;
    let values = SIZES.iter().flat_map(|rows| SIZES.iter().map(move |columns| share(*rows, *columns))).collect();
    let axis = |name| Axis::new(name, SIZES.map(|size| size.to_string()));
    Ok(drawn(grid(axis("queries"), axis("keys"), vec![super::shares("useful", "share that is kept", values)])))
}

const RIVALS: [&str; 5] = ["neighbours", "blocks", "2 apart", "4 apart", "4 apart, alternating"];

fn rivals_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let sheets = vec![sheet("loss", "loss above plain", "nats per token", vec![f32::NAN; RIVALS.len()])];
    Ok(drawn(grid(Axis::new("variant", RIVALS.map(String::from)), Axis::new("measure", ["Δ loss".into()]), sheets)))
}

fn rivals_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let p = NeighborhoodAttentionParams { dilation: 1, alternate: false, ..scene.params() };
    let spread = |dilation, alternate| NeighborhoodAttentionParams { dilation, alternate, ..p.clone() };
    let stack = match row {
        1 => {
            let blocks = Chip::new("halo_attention").with("block", f64::from(p.neighbours)).with("halo", 0.0);
            Stack::new("a", &[blocks])?
        }
        2 => scene.with(spread(2, false).values()),
        3 => scene.with(spread(4, false).values()),
        4 => scene.with(spread(4, true).values()),
        _ => scene.with(p.values()),
    };
    Ok(vec![vec![scene.loss(&stack)? - scene.plain.loss().unwrap_or(f32::NAN)]])
}
