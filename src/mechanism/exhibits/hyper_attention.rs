//! Paper 38: the map in sorted order, how much weight blocks and samples catch, where rows go wrong, and what the budget buys.

use super::scene::error;
use super::{Offer, Scene, by_head, drawn, fact, grid, marks, missing, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::hyper_attention::{HyperAttentionParams, MOST_SAMPLES, RANDOM, places};
use crate::mechanism::hyper_attention_blocks::{Cut, Half, cut, halves};
use crate::spec::Params;
use burn::tensor::Tensor;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "sorted",
        "The map in sorted order",
        Drawn::Map,
        sorted,
        "Queries of the later half against keys of the earlier one, both in the order of their hash, for the pinned head: exact \
         weights, and how often each pair counts. Outlined: pairs of one block; stripes outside are sampled keys.",
    ),
    Offer::new(
        "captured",
        "Weight that is caught",
        Drawn::Bars,
        captured,
        "Queries of the later half by the share of their exact weight on the earlier half that lies in their block, and in \
         block and sampled keys together; pinned head.",
    ),
    Offer::new(
        "rows",
        "Error of rows by their entropy",
        Drawn::Bars,
        rows,
        "Mean relative error of what a row of the later half mixes, pinned layer, by the entropy of the exact row in nats: \
         flat rows to the right.",
    ),
    Offer::new(
        "heads",
        "α, κ and the error of every head",
        Drawn::Cells,
        heads,
        "α = n · largest squared norm of a column of the exact weights: a sink makes it large. κ = largest over smallest row \
         sum of exp(score) when the pairs of one block are left out, as a power of ten. Error: of what the head mixes.",
    ),
    Offer::slow(
        "budget",
        "Hash against chance",
        Drawn::Cells,
        budget_frame,
        budget_row,
        "Loss on this prompt in nats per token above exact attention, by the number of sampled keys: sorted by hash, and in \
         random order.",
    ),
];

const EXACT: &str = "Everything is exact at this length: raise the number of tokens, or lower n_min and block.";

/// The cut between the two halves of the whole text, of one head.
fn top(scene: &Scene<'_>, layer: usize, head: usize) -> Result<Option<(Half, Cut)>> {
    let p: HyperAttentionParams = scene.params();
    let Some(half) = halves(&p, 0..scene.tokens).pop() else { return Ok(None) };
    let (at, vectors) = (scene.grid(layer), scene.vectors(layer)?);
    let directions: Tensor<4> = at.input::<2>(0).unsqueeze();
    let q_places = places(&p, &at, vectors.q.clone().matmul(directions.clone()), 0, "queries");
    let k_places = places(&p, &at, vectors.keys().matmul(directions), 0, "keys");
    let of_head = |places: &[f32]| places[head * scene.tokens..(head + 1) * scene.tokens].to_vec();
    let draws: Vec<f32> = at.input::<2>(1).into_data().iter().collect();
    let draws = &draws[head * MOST_SAMPLES..][..p.samples as usize];
    let cut = cut(&p, 0, &half, [&of_head(&q_places), &of_head(&k_places)], draws);
    Ok(cut.map(|cut| (half, cut)))
}

fn sorted(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let Some((half, cut)) = top(scene, layer, head)? else { return missing(EXACT) };
    let exact = scene.exact(layer)?;
    let weights = exact.pattern_of(head, n);
    let ordered = |places: &[usize]| {
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|token| places[*token]);
        order
    };
    let (queries, keys) = (ordered(&cut.query_places), ordered(&cut.key_places));
    let pairs = || queries.iter().flat_map(|query| keys.iter().map(move |key| (*query, *key)));
    let (first, start) = (cut.queries.start, half.keys.start);
    let full = pairs().map(|(query, key)| weights[(first + query) * n + start + key]).collect();
    let counts = |(query, key): (usize, usize)| if cut.together(query, key) { 1.0 } else { cut.counted[key] };
    let label = |token: usize| format!("{token} {}", scene.labels[token]);
    let sheets = vec![
        shares("exact", "exact weights", full),
        sheet("counts", "how often it counts", "", pairs().map(counts).collect()),
        marks("block", "one block", pairs().map(|(query, key)| cut.together(query, key))),
    ];
    let grid = grid(
        Axis::new("query", queries.iter().map(|query| label(first + query))),
        Axis::new("key", keys.iter().map(|key| label(start + key))),
        sheets,
    );
    Ok(Exhibit { outlined: Some("block".into()), ..drawn(grid) })
}

/// Tenths of a share.
const TENTHS: usize = 10;

fn captured(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head, n) = (scene.head.layer, scene.head.head, scene.tokens);
    let Some((half, cut)) = top(scene, layer, head)? else { return missing(EXACT) };
    let exact = scene.exact(layer)?;
    let weights = exact.pattern_of(head, n);
    let mut counts = vec![0.0; 2 * TENTHS];
    let mut sums = [0.0; 2];
    for query in 0..cut.queries.len() {
        let row = &weights[(cut.queries.start + query) * n..][half.keys.clone()];
        let all: f32 = row.iter().sum();
        let share = |caught: &dyn Fn(usize) -> bool| {
            row.iter().enumerate().filter(|(key, _)| caught(*key)).map(|(_, weight)| weight).sum::<f32>()
                / all.max(1e-30)
        };
        let block = share(&|key| cut.together(query, key));
        let both = share(&|key| cut.together(query, key) || cut.counted[key] > 0.0);
        for (kind, share) in [block, both].into_iter().enumerate() {
            counts[kind * TENTHS + ((share * TENTHS as f32) as usize).min(TENTHS - 1)] += 1.0;
            sums[kind] += share;
        }
    }
    let tenths = Axis::new("share", (0..TENTHS).map(|tenth| format!("{}–{} %", 10 * tenth, 10 * (tenth + 1))));
    let kinds = Axis::new("by", ["own block", "block and samples"].map(String::from));
    let queries = cut.queries.len().max(1) as f32;
    let mut grid = grid(kinds, tenths, vec![sheet("queries", "queries", "", counts)]);
    grid.facts.push(fact("block", "Mean share in the block", sums[0] / queries, ""));
    grid.facts.push(fact("both", "Mean share in block and samples", sums[1] / queries, ""));
    Ok(drawn(grid))
}

/// Bins of half a nat.
const BINS: usize = 12;

fn rows(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, n, width) = (scene.head.layer, scene.tokens, scene.head_width());
    if top(scene, layer, scene.head.head)?.is_none() {
        return missing(EXACT);
    }
    let exact = scene.exact(layer)?;
    let (mut sums, mut counts) = (vec![0.0; BINS], vec![0.0; BINS]);
    for head in 0..scene.heads {
        for query in n.div_ceil(2)..n {
            let row = &exact.pattern_of(head, n)[query * n..=query * n + query];
            let entropy: f32 = row.iter().filter(|weight| **weight > 0.0).map(|weight| -weight * weight.ln()).sum();
            let part = |z: &[f32]| z[query * width..(query + 1) * width].to_vec();
            let bin = ((2.0 * entropy) as usize).min(BINS - 1);
            sums[bin] += error(&part(scene.z(layer, head)), &part(exact.z_of(head, scene.heads)));
            counts[bin] += 1.0;
        }
    }
    let bins =
        Axis::new("entropy", (0..BINS).map(|bin| format!("{:.1}–{:.1}", 0.5 * bin as f32, 0.5 * (bin + 1) as f32)));
    let mean = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
    let values = Axis::new("layer", [format!("L{layer}")]);
    Ok(drawn(grid(values, bins, vec![sheet("error", "relative error", "", mean)])))
}

fn heads(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let (mut alphas, mut kappas, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for layer in 0..scene.layers {
        let exact = scene.exact(layer)?;
        let raw: Vec<f32> = scene.vectors(layer)?.scores().into_data().iter().collect();
        for head in 0..scene.heads {
            let weights = exact.pattern_of(head, n);
            let column = |key: usize| (0..n).map(|query| weights[query * n + key].powi(2)).sum::<f32>();
            alphas.push(n as f32 * (0..n).map(column).fold(0.0, f32::max));
            errors.push(error(scene.z(layer, head), exact.z_of(head, scene.heads)));
            let Some((half, cut)) = top(scene, layer, head)? else {
                kappas.push(f32::NAN);
                continue;
            };
            // ln Σ exp(score) of each row outside its block.
            let outside = |query: usize| {
                let row = &raw[(head * n + cut.queries.start + query) * n..][half.keys.clone()];
                let left =
                    row.iter().enumerate().filter(|(key, _)| !cut.together(query, *key)).map(|(_, score)| *score);
                let most = left.clone().fold(f32::NEG_INFINITY, f32::max);
                most + left.map(|score| (score - most).exp()).sum::<f32>().ln()
            };
            let sums: Vec<f32> = (0..cut.queries.len()).map(outside).collect();
            let (most, least) =
                (sums.iter().copied().fold(f32::MIN, f32::max), sums.iter().copied().fold(f32::MAX, f32::min));
            kappas.push((most - least) / std::f32::consts::LN_10);
        }
    }
    if kappas.iter().all(|kappa| kappa.is_nan()) {
        return missing(EXACT);
    }
    let sheets = vec![
        sheet("alpha", "α", "", alphas),
        sheet("kappa", "log₁₀ κ", "", kappas),
        sheet("error", "error", "", errors),
    ];
    Ok(drawn(by_head(scene, sheets)))
}

const SAMPLES: [i32; 5] = [0, 4, 16, 64, 256];

fn budget_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let rows = Axis::new("samples", SAMPLES.map(|samples| format!("{samples} samples")));
    let orders = Axis::new("order", ["hash", "random"].map(String::from));
    Ok(drawn(grid(
        rows,
        orders,
        vec![sheet("loss", "loss above exact", "nats per token", vec![f32::NAN; 2 * SAMPLES.len()])],
    )))
}

fn budget_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let p: HyperAttentionParams = scene.params();
    let hash = HyperAttentionParams { samples: SAMPLES[row.min(SAMPLES.len() - 1)], order: 0, ..p };
    let random = HyperAttentionParams { order: RANDOM, ..hash.clone() };
    let plain = scene.plain.loss().unwrap_or(f32::NAN);
    let loss = |p: HyperAttentionParams| Ok(scene.loss(&scene.with(p.values()))? - plain);
    Ok(vec![vec![loss(hash)?, loss(random)?]])
}
