//! Drawings that every mask has: what a decode keeps, and how far a token reaches through the layers.

use super::{Offer, Scene, drawn, fact, grid, of_tokens, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::{Grid, Stack, Twin};
use crate::model::attention::{both, default_inputs};
use burn::tensor::Device;

/// The offer of [`occupancy`].
pub const OCCUPANCY: Offer = Offer::new(
    "occupancy",
    "What a decode holds",
    Drawn::Lines,
    occupancy,
    "Keys that each key–value head of the pinned layer still needs after every token.",
);

/// The offer of [`reach`].
pub const REACH: Offer = Offer::new(
    "reach",
    "How far it reaches through the layers",
    Drawn::Tokens,
    reach,
    "Tokens from which the pinned query can have heard after so many layers, by paths along kept pairs.",
);

/// Which of the keys so far some query from `first` on still sees, for each query head: `[H,Q,K]` of the masks of the pane
/// for `queries` queries.
fn kept(scene: &Scene<'_>, layer: usize, queries: usize) -> Vec<bool> {
    let inputs = default_inputs(scene.stack, layer, scene.heads, scene.kv_heads, scene.head_width(), scene.seed);
    let at = Grid {
        layer,
        layers: scene.layers,
        heads: scene.heads,
        kv_heads: scene.kv_heads,
        queries,
        keys: queries,
        first_query: 0,
        device: Device::flex(),
        inputs: Vec::new(),
    };
    let mut keep = at.causal();
    for placed in &scene.stack.mask_mods {
        if let Twin::Mask(mask) = placed.mechanism.plug.twin {
            keep = both(keep, mask(&placed.values, &at.with(scene.stack.inputs_of(placed, &inputs))));
        }
    }
    keep.expand([1, scene.heads, queries, queries]).into_data().iter::<bool>().collect()
}

/// Entries that a decode holds after each token, for every key–value head of the pinned layer: the keys that the next query
/// or a later one sees.
fn occupancy(scene: &Scene<'_>) -> Result<Exhibit> {
    // A key nobody sees during as many further tokens is taken as gone.
    let all = (2 * scene.tokens).min(scene.model.config().context.max(scene.tokens + 1));
    let kept = kept(scene, scene.head.layer, all);
    let group = (scene.heads / scene.kv_heads.max(1)).max(1);
    let of_group = |head: usize| -> Vec<f32> {
        // The last query that sees each key.
        let sees = |query: usize, key: usize| {
            (head * group..(head + 1) * group).any(|head| kept[(head * all + query) * all + key])
        };
        let last: Vec<usize> =
            (0..scene.tokens).map(|key| (key..all).rev().find(|q| sees(*q, key)).unwrap_or(key)).collect();
        (0..scene.tokens).map(|token| (0..=token).filter(|key| last[*key] > token).count() as f32).collect()
    };
    let values: Vec<f32> = (0..scene.kv_heads).flat_map(of_group).collect();
    let ends: f32 = values.chunks(scene.tokens).filter_map(<[f32]>::last).sum();
    let rows = (0..scene.kv_heads).map(|head| format!("L{} KV head {head}", scene.head.layer));
    let mut grid = of_tokens(scene, "head", rows, vec![sheet("entries", "entries held", "keys", values)]);
    let share = ends / (scene.kv_heads * scene.tokens) as f32;
    grid.facts.push(fact("held", "Share held after the last token", share, ""));
    Ok(drawn(grid))
}

/// From how many layers on the pinned query can have heard of each token, by paths along kept pairs of any head.
fn reach(scene: &Scene<'_>) -> Result<Exhibit> {
    let n = scene.tokens;
    let hears: Vec<Vec<bool>> = (0..scene.layers).map(|layer| union(&kept(scene, layer, n), scene.heads, n)).collect();
    let mut heard = Vec::new();
    for depth in 1..=scene.layers {
        // The residual stream carries what a token already has, so a layer adds to what is there.
        let mut reached = vec![false; n];
        reached[scene.query] = true;
        // The last layers of the first `depth`, from the last one back to the first.
        for layer in (0..depth).rev() {
            for query in (0..n).rev().filter(|query| reached[*query]).collect::<Vec<_>>() {
                (0..=query).filter(|key| hears[layer][query * n + key]).for_each(|key| reached[key] = true);
            }
        }
        heard.push(reached);
    }
    let values = heard.iter().flatten().map(|reached| f32::from(u8::from(*reached))).collect();
    let rows = (1..=scene.layers).map(|depth| if depth == 1 { "1 layer".into() } else { format!("{depth} layers") });
    let mut grid = of_tokens(scene, "after", rows, vec![sheet("reach", "reached", "", values)]);
    let count = heard.last().map_or(0, |reached| reached.iter().filter(|reached| **reached).count());
    grid.facts.push(fact("reached", "Tokens reached through all layers", count as f32, "tokens"));
    Ok(Exhibit { classes: vec!["out of reach".into(), "reached".into()], ..drawn(grid) })
}

fn union(kept: &[bool], heads: usize, n: usize) -> Vec<bool> {
    (0..n * n).map(|pair| (0..heads).any(|head| kept[head * n * n + pair])).collect()
}

/// Bytes that a decode of these tokens holds under several stacks, as bars.
pub fn cache(scene: &Scene<'_>, stacks: &[(&str, &str, Stack)]) -> Exhibit {
    let price = |stack: &Stack| crate::engine::price(scene.model.config(), stack, scene.seed, scene.tokens).kv_bytes;
    let bytes: Vec<f32> = stacks.iter().map(|(.., stack)| price(stack) as f32).collect();
    let names = stacks.iter().map(|(_, name, _)| name.to_string());
    let one = Axis::new("cache", ["bytes held".to_string()]);
    let mut grid = grid(one, Axis::new("variant", names), vec![sheet("bytes", "bytes held", "B", bytes.clone())]);
    for ((id, name, _), bytes) in stacks.iter().zip(&bytes).skip(1) {
        let share = bytes / bytes.max(1.0).max(grid.sheets[0].values[0]);
        grid.facts.push(fact(id, &format!("{name}, share of the first"), share, ""));
    }
    drawn(grid)
}
