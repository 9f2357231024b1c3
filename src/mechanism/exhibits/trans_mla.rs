//! Paper 11: where the energy of the keys lies before and after turning the heads, how fast a latent's spectrum falls, what
//! is cached, how far scores move, and whether heads of a group see different keys.

use super::{Offer, Scene, drawn, fact, grid, masks, missing, shares, sheet};
use crate::Result;
use crate::hook::{ActivationCache, Selection, Site};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::trans_mla::{COMPRESSED, SEPARATE, TransMlaParams};
use crate::mechanism::trans_mla_maps::energy;
use crate::mechanism::{MASKED, Stack};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "energy",
        "Energy of the keys by head",
        Drawn::Bars,
        heads,
        "Share of the second moments of the pinned layer’s keys in each key–value head, and in each head after they were turned \
         into one another (RoRoPE), on calibration texts. Only the first turned heads keep positions.",
    ),
    Offer::new(
        "spectrum",
        "What a latent of each size holds",
        Drawn::Lines,
        spectrum,
        "Share of the second moments of position-free keys and values of the pinned layer that the first so many directions \
         hold: cut together at balanced sizes, together as they are, each for itself.",
    ),
    Offer::new(
        "cache",
        "What is cached",
        Drawn::Bars,
        cache,
        "Bytes after this prompt, in f32: keys and values, this pane, the exact latent.",
    ),
    Offer::new(
        "scores",
        "How far scores move",
        Drawn::Bars,
        scores,
        "Largest difference of a score from plain attention over the largest score, layer by layer. From the second layer on \
         inputs differ as well.",
    ),
    Offer::new(
        "keys",
        "Whether heads see different keys",
        Drawn::Cells,
        keys,
        "Mean cosine over the tokens of the keys that two query heads of the pinned layer see. Heads of one group have the same \
         keys in grouped-query attention, cosine 1; noise, or training, sets them apart.",
    ),
    Offer::slow(
        "curve",
        "Loss by the size of the cache",
        Drawn::Lines,
        curve_frame,
        curve_row,
        "Loss on this prompt in nats per token above plain attention, by the share of the plain cache that is kept.",
    ),
];

const UNMEASURED: &str = "Keys and values were not measured on this model.";

fn heads(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: TransMlaParams = scene.params();
    let Some(energy) = scene.probed.and_then(|probed| energy(&p, probed, scene.head.layer)) else {
        return missing(UNMEASURED);
    };
    let first = energy.heads[1].first().copied().unwrap_or(f32::NAN);
    let rows = Axis::new("heads", ["as they are", "turned"].map(String::from));
    let columns = Axis::new("head", (0..scene.kv_heads).map(|head| format!("head {head}")));
    let mut grid = grid(rows, columns, vec![shares("share", "share of the energy", energy.heads.concat())]);
    grid.facts.push(fact("first", "Energy in the first turned head", first, ""));
    Ok(drawn(grid))
}

fn spectrum(scene: &Scene<'_>) -> Result<Exhibit> {
    let own: TransMlaParams = scene.params();
    let kinds = [
        ("together, balanced", TransMlaParams { balanced: true, latent: 0, ..own.clone() }),
        ("together", TransMlaParams { balanced: false, latent: 0, ..own.clone() }),
        ("each for itself", TransMlaParams { latent: SEPARATE, ..own.clone() }),
    ];
    let (mut values, mut count, mut held) = (Vec::new(), 0, f32::NAN);
    for (_, p) in &kinds {
        let Some(energy) = scene.probed.and_then(|probed| energy(p, probed, scene.head.layer)) else {
            return missing(UNMEASURED);
        };
        let all = energy.values.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut sum = 0.0;
        count = energy.values.len();
        let upto: Vec<f32> = energy
            .values
            .iter()
            .map(|value| {
                sum += value / all;
                sum as f32
            })
            .collect();
        if p.balanced == own.balanced && p.latent == own.latent {
            held = upto.get(energy.rank.saturating_sub(1)).copied().unwrap_or(1.0);
        }
        values.extend(upto);
    }
    let rows = Axis::new("cut", kinds.iter().map(|(name, _)| name.to_string()));
    let columns = Axis::new("directions", (1..=count).map(|size| size.to_string()));
    let mut grid = grid(rows, columns, vec![shares("held", "share held", values)]);
    if held.is_finite() {
        grid.facts.push(fact("held", "Held at this pane’s rank", held, ""));
    }
    Ok(drawn(grid))
}

fn exact(scene: &Scene<'_>) -> Stack {
    scene.with(TransMlaParams { mode: 0, ..scene.params() }.values())
}

fn cache(scene: &Scene<'_>) -> Result<Exhibit> {
    let stacks = [
        ("plain", "keys and values", Stack::new("a", &[])?),
        ("own", "this pane", scene.stack.clone()),
        ("exact", "exact latent", exact(scene)),
    ];
    Ok(masks::cache(scene, &stacks))
}

fn scores(scene: &Scene<'_>) -> Result<Exhibit> {
    let mut values = Vec::new();
    for layer in 0..scene.layers {
        let (own, plain) =
            (scene.own.captures.get(layer, Site::Scores)?, scene.plain.captures.get(layer, Site::Scores)?);
        let pairs = || own.data.iter().zip(&plain.data).filter(|(own, plain)| **own != MASKED && **plain != MASKED);
        let most = pairs().map(|(_, plain)| plain.abs()).fold(f32::MIN_POSITIVE, f32::max);
        values.push(pairs().map(|(own, plain)| (own - plain).abs()).fold(0.0, f32::max) / most);
    }
    let rows = Axis::new("difference", ["largest".to_string()]);
    Ok(drawn(grid(rows, scene.layer_axis(), vec![sheet("difference", "share of the largest score", "", values)])))
}

fn keys(scene: &Scene<'_>) -> Result<Exhibit> {
    // On latents heads share one key and differ in how they read it; keys made from them can be compared.
    let apart = scene.with(TransMlaParams { absorbed: false, ..scene.params() }.values());
    let mut seen = ActivationCache::new(Selection::sites(&[Site::RotK, Site::K]));
    scene.model.run(&[&scene.own.tokens], &apart, scene.seed, &mut seen)?;
    let Ok(k) = seen.get(scene.head.layer, Site::RotK) else {
        return missing("This model does not turn keys, and what it makes of them is not recorded.");
    };
    let n = scene.tokens;
    let heads = k.shape.get(1).copied().unwrap_or(1).max(1);
    let width = k.data.len() / (heads * n).max(1);
    let key = |head: usize, token: usize| {
        // Keys may be stored once for each group.
        let head = head * heads / scene.heads;
        &k.data[(head * n + token) * width..(head * n + token + 1) * width]
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = |a: usize, b: usize| {
        let one = |token: usize| {
            let (a, b) = (key(a, token), key(b, token));
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
        };
        (0..n).map(one).sum::<f32>() / n as f32
    };
    let values: Vec<f32> =
        (0..scene.heads).flat_map(|a| (0..scene.heads).map(move |b| (a, b))).map(|(a, b)| cosine(a, b)).collect();
    let group = (scene.heads / scene.kv_heads.max(1)).max(1);
    let within = |pair: &usize| {
        let (a, b) = (pair / scene.heads, pair % scene.heads);
        a != b && a / group == b / group
    };
    let inside: Vec<f32> = (0..values.len()).filter(within).map(|pair| values[pair]).collect();
    let axis = |name| Axis::new(name, (0..scene.heads).map(|head| format!("H{head}")));
    let mut grid = grid(axis("head"), axis("other head"), vec![sheet("cosine", "cosine", "", values)]);
    if !inside.is_empty() {
        let mean = inside.iter().sum::<f32>() / inside.len() as f32;
        grid.facts.push(fact("group", "Mean cosine inside a group", mean, ""));
    }
    Ok(drawn(grid))
}

const RANKS: [f32; 6] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5];
const CURVES: [&str; 3] = ["together, balanced", "together", "each for itself"];

fn curve_frame(scene: &Scene<'_>) -> Result<Exhibit> {
    let config = scene.model.config();
    let price = |stack: &Stack| crate::engine::price(config, stack, scene.seed, scene.tokens).kv_bytes as f32;
    let plain = price(&Stack::new("a", &[])?);
    let share = |rank: &f32| 100.0 * price(&of_rank(scene, *rank, 0)) / plain.max(1.0);
    let columns = Axis::new("cache", RANKS.iter().map(|rank| format!("{:.0} %", share(rank))));
    let rows = Axis::new("cut", CURVES.map(String::from));
    let empty = vec![f32::NAN; RANKS.len() * CURVES.len()];
    Ok(drawn(grid(rows, columns, vec![sheet("loss", "loss above plain", "nats per token", empty)])))
}

fn of_rank(scene: &Scene<'_>, rank: f32, kind: usize) -> Stack {
    let latent = if kind == 2 { SEPARATE } else { 0 };
    scene.with(TransMlaParams { mode: COMPRESSED, rank, balanced: kind == 0, latent, ..scene.params() }.values())
}

fn curve_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let plain = scene.plain.loss().unwrap_or(f32::NAN);
    let loss = |rank: &f32| Ok(scene.loss(&of_rank(scene, *rank, row))? - plain);
    Ok(vec![RANKS.iter().map(loss).collect::<Result<_>>()?])
}
