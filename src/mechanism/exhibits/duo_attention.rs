//! Paper 25: gates, the mask of a head over what it would look at, what the cache holds, and what the far past is worth.

use super::recall::Variant;
use super::scene::mass;
use super::{Offer, Scene, by_head, drawn, fact, grid, marks, masks, of_pairs, recall, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::duo_attention::{DuoAttentionParams, RANDOM};
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "gates",
        "Retrieval and streaming heads",
        Drawn::Cells,
        gates,
        "Place of every key–value head among all by what its gates measure: 1 needs the past most. Outlined heads keep \
         everything, the others stream.",
    ),
    Offer::new(
        "mask",
        "The pinned head, streaming and full",
        Drawn::Map,
        mask,
        "What the head looks at with the whole past, from the queries and keys it has here, and what is left of it here. \
         Outlined: pairs that a streaming head sees.",
    ),
    Offer::new(
        "lost",
        "What streaming takes from each head",
        Drawn::Cells,
        lost,
        "Share of the weight on keys that a streaming head loses, mean over queries, from the queries and keys of this pane. \
         Outlined heads keep everything.",
    ),
    masks::OCCUPANCY,
    Offer::new("cache", "The whole cache", Drawn::Bars, cache, "Bytes of keys and values after this prompt, in f32."),
    recall::offer(recalled, "Random gates stream as many heads as this pane."),
];

/// α of every layer and key–value head.
fn alpha(scene: &Scene<'_>) -> Vec<f32> {
    let of_layer = |layer| scene.grid(layer).inputs.first().map(|gates| gates.data.clone()).unwrap_or_default();
    (0..scene.layers).flat_map(of_layer).collect()
}

fn gates(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: DuoAttentionParams = scene.params();
    let alpha = alpha(scene);
    let retrieves: Vec<bool> = alpha.iter().map(|alpha| *alpha >= p.streaming).collect();
    let streaming = retrieves.iter().filter(|retrieves| !**retrieves).count();
    let heads = Axis::new("key–value head", (0..scene.kv_heads).map(|head| format!("KV{head}")));
    let sheets = vec![shares("alpha", "place α", alpha), marks("retrieval", "keeps everything", retrieves)];
    let mut grid = grid(scene.layer_axis(), heads, sheets);
    grid.facts.push(fact("streaming", "Heads that stream", streaming as f32, "key–value heads"));
    Ok(Exhibit { outlined: Some("retrieval".into()), ..drawn(grid) })
}

/// The streaming mask alone, of any head.
fn streams(scene: &Scene<'_>, layer: usize) -> Result<Vec<bool>> {
    let p = DuoAttentionParams { streaming: 1.0, ..scene.params() };
    let pairs = scene.tokens * scene.tokens;
    Ok(scene.step(&scene.with(p.values()), layer)?.kept.into_iter().take(pairs).collect())
}

fn mask(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head) = (scene.head.layer, scene.head.head);
    let exact = scene.exact(layer)?;
    let full = exact.pattern_of(head, scene.tokens);
    let stream = streams(scene, layer)?;
    let kept = mass(full, &stream);
    let sheets = vec![
        shares("full", "with the whole past", full.to_vec()),
        shares("own", "in this pane", scene.pattern(layer, head).to_vec()),
        marks("stream", "seen by a streaming head", stream),
    ];
    let mut grid = of_pairs(scene, sheets);
    grid.facts.push(fact("kept", "Weight a streaming head would keep", kept, ""));
    Ok(Exhibit { outlined: Some("stream".into()), ..drawn(grid) })
}

fn lost(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: DuoAttentionParams = scene.params();
    let group = (scene.heads / scene.kv_heads.max(1)).max(1);
    let alpha = alpha(scene);
    let mut lost = Vec::new();
    for layer in 0..scene.layers {
        let (exact, stream) = (scene.exact(layer)?, streams(scene, layer)?);
        lost.extend((0..scene.heads).map(|head| 1.0 - mass(exact.pattern_of(head, scene.tokens), &stream)));
    }
    let keeps = scene.every_head().map(|(layer, head)| alpha[layer * scene.kv_heads + head / group] >= p.streaming);
    let sheets = vec![sheet("lost", "weight lost", "", lost), marks("retrieval", "keeps everything", keeps)];
    Ok(Exhibit { outlined: Some("retrieval".into()), ..drawn(by_head(scene, sheets)) })
}

/// Plain attention, this pane, every head streaming, random gates.
fn variants(scene: &Scene<'_>) -> Result<[Stack; 4]> {
    let p: DuoAttentionParams = scene.params();
    let all = DuoAttentionParams { streaming: 1.0, ..p.clone() };
    let random = DuoAttentionParams { gates: RANDOM, ..p };
    Ok([Stack::new("a", &[])?, scene.stack.clone(), scene.with(all.values()), scene.with(random.values())])
}

fn cache(scene: &Scene<'_>) -> Result<Exhibit> {
    let [full, own, all, _] = variants(scene)?;
    let stacks = [("full", "full", full), ("own", "this pane", own), ("streaming", "all streaming", all)];
    Ok(masks::cache(scene, &stacks))
}

const NAMES: [(&str, &str); 4] =
    [("full", "full"), ("own", "this pane"), ("streaming", "all streaming"), ("random", "random gates")];

fn recalled(scene: &Scene<'_>) -> Result<Vec<Variant>> {
    Ok(recall::named(NAMES, variants(scene)?))
}
