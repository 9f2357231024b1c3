//! Paper 58: the shape of every head, the selected pairs over the dense map, what columns and diagonals were worth, and what
//! each shape would have kept.

use super::recall::Variant;
use super::scene::{error, mass};
use super::{Offer, Scene, by_head, drawn, fact, grid, marks, of_pairs, recall, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::minference::{A_SHAPE, DENSE, MinferenceParams, VERTICAL_SLASH, of, sizes};
use crate::mechanism::minference_shapes::{CANDIDATES, Shape, chosen, estimates, kept, keys_per_row};
use crate::mechanism::{MASKED, Stack};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "shapes",
        "The shape of every head",
        Drawn::Cells,
        shapes,
        "Which sparse shape each head reads the prompt in.",
    ),
    Offer::new(
        "selection",
        "Selected pairs of the pinned head",
        Drawn::Map,
        selection,
        "What the head would look at densely, from the queries and keys it has here, and what it looks at here. Outlined: \
         pairs that are computed.",
    ),
    Offer::new(
        "sums",
        "What the last queries give columns and diagonals",
        Drawn::Bars,
        sums,
        "Weight of the last queries on each key and on each distance, of the pinned head; marked are those that \
         vertical-slash takes at this budget, the forced first ones among them.",
    ),
    Offer::new(
        "candidates",
        "The other shapes at the same budget",
        Drawn::Bars,
        candidates,
        "Share of the pinned head’s dense weight that each shape keeps on this prompt; marked is the one it has. The search \
         chose on other texts.",
    ),
    Offer::new(
        "recovered",
        "What is recovered",
        Drawn::Cells,
        recovered,
        "By head: share of the dense weight on the pairs that are computed, and relative error of what the head mixes.",
    ),
    recall::offer(recalled, "All variants at this pane’s budget."),
];

fn name(shape: Shape) -> String {
    match shape {
        Shape::AShape { share } => format!("A-shape, {:.0} % first keys", 100.0 * share),
        Shape::VerticalSlash { share } => format!("vertical-slash, {:.1} % columns", 100.0 * share),
        Shape::Block => "block".into(),
    }
}

fn shapes(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: MinferenceParams = scene.params();
    if p.pattern == DENSE {
        return super::missing("Every head is dense.");
    }
    let found: Vec<Shape> = scene.every_head().map(|(layer, head)| of(&p, &scene.grid(layer), head)).collect();
    // Those of the search in their order, and the one that was set by hand.
    let mut all = CANDIDATES.to_vec();
    found.iter().for_each(|shape| {
        if !all.contains(shape) {
            all.push(*shape)
        }
    });
    let place = |shape: &Shape| all.iter().position(|other| other == shape).map_or(f32::NAN, |at| at as f32);
    let mut grid = by_head(scene, vec![sheet("shape", "shape", "", found.iter().map(place).collect())]);
    for (at, shape) in all.iter().enumerate() {
        let count = found.iter().filter(|other| *other == shape).count();
        grid.facts.push(fact(&format!("shape{at}"), &format!("Heads with {}", name(*shape)), count as f32, "heads"));
    }
    Ok(Exhibit { classes: all.into_iter().map(name).collect(), ..drawn(grid) })
}

/// Scores of a dense head as far as ranks matter: logarithms of weights differ from scores by a constant within a row.
fn scores(weights: &[f32], n: usize) -> Vec<f32> {
    let score = |(pair, weight): (usize, &f32)| if pair % n <= pair / n { weight.max(1e-30).ln() } else { MASKED };
    weights.iter().enumerate().map(score).collect()
}

fn selection(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let exact = scene.exact(layer)?;
    let dense = exact.pattern_of(head, n);
    let kept = scene.kept(layer, head);
    let count = kept.iter().filter(|kept| **kept).count();
    let share = mass(dense, &kept);
    let sheets = vec![
        shares("dense", "dense", dense.to_vec()),
        shares("own", "in this pane", scene.pattern(layer, head).to_vec()),
        marks("kept", "computed", kept),
    ];
    let mut grid = of_pairs(scene, sheets);
    grid.facts.push(fact("share", "Share of the causal pairs", count as f32 / (n * (n + 1) / 2) as f32, ""));
    grid.facts.push(fact("mass", "Dense weight on them", share, ""));
    Ok(Exhibit { outlined: Some("kept".into()), ..drawn(grid) })
}

fn sums(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: MinferenceParams = scene.params();
    let n = scene.tokens;
    let exact = scene.exact(scene.head.layer)?;
    let scores = scores(exact.pattern_of(scene.head.head, n), n);
    let sizes = sizes(&p);
    let share = match of(&p, &scene.grid(scene.head.layer), scene.head.head) {
        Shape::VerticalSlash { share } => share,
        _ => p.split,
    };
    let [columns, offsets] = estimates(&sizes, &scores, n);
    let taken = chosen(&sizes, share, &scores, n);
    let sheets = vec![sheet("sum", "weight", "", [columns, offsets].concat()), marks("taken", "taken", taken.concat())];
    let rows = Axis::new("of", ["columns, by key", "diagonals, by distance"].map(String::from));
    let mut grid = grid(rows, Axis::new("key or distance", (0..n).map(|at| at.to_string())), sheets);
    grid.facts.push(fact("keys", "Keys of a row at this budget", keys_per_row(p.budget, n) as f32, "keys"));
    Ok(Exhibit { outlined: Some("taken".into()), ..drawn(grid) })
}

fn candidates(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: MinferenceParams = scene.params();
    if p.pattern == DENSE {
        return super::missing("Every head is dense.");
    }
    let n = scene.tokens;
    let exact = scene.exact(scene.head.layer)?;
    let dense = exact.pattern_of(scene.head.head, n);
    let scores = scores(dense, n);
    let here = of(&p, &scene.grid(scene.head.layer), scene.head.head);
    let mut all = CANDIDATES.to_vec();
    if !all.contains(&here) {
        all.push(here);
    }
    let masses = all.iter().map(|shape| mass(dense, &kept(*shape, &sizes(&p), &scores, n))).collect();
    let own = marks("own", "has it", all.iter().map(|shape| *shape == here));
    let sheets = vec![shares("mass", "weight kept", masses), own];
    let rows = Axis::new("head", [scene.head.to_string()]);
    let grid = grid(rows, Axis::new("shape", all.into_iter().map(name)), sheets);
    Ok(Exhibit { outlined: Some("own".into()), ..drawn(grid) })
}

fn recovered(scene: &Scene<'_>) -> Result<Exhibit> {
    let (mut masses, mut errors) = (Vec::new(), Vec::new());
    for layer in 0..scene.layers {
        let exact = scene.exact(layer)?;
        for head in 0..scene.heads {
            masses.push(mass(exact.pattern_of(head, scene.tokens), &scene.kept(layer, head)));
            errors.push(error(scene.z(layer, head), exact.z_of(head, scene.heads)));
        }
    }
    Ok(drawn(by_head(
        scene,
        vec![shares("mass", "weight recovered", masses), sheet("error", "output error", "", errors)],
    )))
}

const NAMES: [(&str, &str); 4] =
    [("full", "dense"), ("own", "this pane"), ("a_shape", "A-shape"), ("slash", "vertical-slash")];

fn variants(scene: &Scene<'_>) -> Result<[Stack; 4]> {
    let p: MinferenceParams = scene.params();
    let with = |pattern| scene.with(MinferenceParams { pattern, ..p.clone() }.values());
    Ok([Stack::new("a", &[])?, scene.stack.clone(), with(A_SHAPE), with(VERTICAL_SLASH)])
}

fn recalled(scene: &Scene<'_>) -> Result<Vec<Variant>> {
    Ok(recall::named(NAMES, variants(scene)?))
}
