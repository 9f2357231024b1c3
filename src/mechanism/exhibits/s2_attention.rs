//! Paper 43: the shards of a layer side by side, who still sees a place, what a decode holds, and what identical shards lose.

use super::recall::Variant;
use super::{Offer, Scene, drawn, fact, grid, masks, recall, sheet};
use crate::Result;
use crate::experiment::Chip;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::Stack;
use crate::mechanism::s2_attention::S2AttentionParams;
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "shards",
        "The shards of the pinned layer",
        Drawn::Maps,
        shards,
        "Blocks of the text, queries down and keys across: what each key–value head sees, and what any of them sees.",
    ),
    Offer::new(
        "seen",
        "Who still sees each block",
        Drawn::Cells,
        seen,
        "Blocks of keys that the pinned query sees, by key–value head of its layer.",
    ),
    masks::OCCUPANCY,
    Offer::new(
        "cache",
        "The whole cache",
        Drawn::Bars,
        cache,
        "Bytes of keys and values after this prompt, in f32. The window sees as many keys at the last token as a head here.",
    ),
    recall::offer(recalled, "The window sees as many keys as a head here."),
];

const UNSEEN: f32 = 0.0;
const LOCAL: f32 = 1.0;
const STRIPE: f32 = 2.0;
const NOBODY: f32 = 3.0;

fn classes() -> Vec<String> {
    ["not seen by this head", "local block", "stripe or dense", "seen by no head"].map(String::from).to_vec()
}

/// The class of every pair of blocks `[m,m]` for one key–value head of a layer, by a pair in it that is kept.
fn of_head(scene: &Scene<'_>, p: &S2AttentionParams, layer: usize, kv_head: usize) -> Vec<f32> {
    let (n, block) = (scene.tokens, p.block as usize);
    let blocks = n.div_ceil(block);
    let kept = scene.kept(layer, kv_head * (scene.heads / scene.kv_heads.max(1)).max(1));
    let class = |pair: usize| {
        let (query, key) = (pair / blocks, pair % blocks);
        let last = ((query + 1) * block).min(n) - 1;
        match kept.get(last * n + (key * block).min(n - 1)) {
            _ if key > query => f32::NAN,
            Some(true) if query - key < p.local_blocks as usize => LOCAL,
            Some(true) => STRIPE,
            _ => UNSEEN,
        }
    };
    (0..blocks * blocks).map(class).collect()
}

/// The best any head has of each pair of blocks.
fn any(heads: &[Vec<f32>]) -> Vec<f32> {
    let pairs = heads.first().map_or(0, Vec::len);
    let best = |pair: usize| {
        let classes = heads.iter().map(|head| head[pair]);
        let seen = classes.clone().find(|class| *class > UNSEEN);
        seen.unwrap_or(if classes.clone().any(f32::is_nan) { f32::NAN } else { NOBODY })
    };
    (0..pairs).map(best).collect()
}

fn blocks_axis(scene: &Scene<'_>, p: &S2AttentionParams, name: &str) -> Axis {
    let block = p.block as usize;
    Axis::new(name, (0..scene.tokens.div_ceil(block)).map(|at| format!("{}–{}", at * block, (at + 1) * block - 1)))
}

fn shards(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: S2AttentionParams = scene.params();
    let layer = scene.head.layer;
    let heads: Vec<_> = (0..scene.kv_heads).map(|head| of_head(scene, &p, layer, head)).collect();
    let any = any(&heads);
    let (missing, all) =
        (any.iter().filter(|class| **class == NOBODY).count(), any.iter().filter(|class| !class.is_nan()).count());
    let named =
        |(head, values): (usize, Vec<f32>)| sheet(&format!("kv{head}"), &format!("L{layer} KV{head}"), "", values);
    let mut sheets: Vec<_> = heads.into_iter().enumerate().map(named).collect();
    sheets.push(sheet("any", "any of them", "", any));
    let mut grid = grid(blocks_axis(scene, &p, "query block"), blocks_axis(scene, &p, "key block"), sheets);
    grid.facts.push(fact(
        "missing",
        "Pairs of blocks that no head of the layer sees",
        missing as f32 / all.max(1) as f32,
        "of all",
    ));
    Ok(Exhibit { classes: classes(), ..drawn(grid) })
}

fn seen(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: S2AttentionParams = scene.params();
    let blocks = scene.tokens.div_ceil(p.block as usize);
    let row = scene.query / p.block as usize;
    let of_layer =
        |layer: usize| -> Vec<Vec<f32>> { (0..scene.kv_heads).map(|head| of_head(scene, &p, layer, head)).collect() };
    let here = of_layer(scene.head.layer);
    let part = |map: &Vec<f32>| map[row * blocks..row * blocks + row + 1].to_vec();
    let mut rows: Vec<Vec<f32>> = here.iter().map(part).collect();
    rows.push(part(&any(&here)));
    let every: Vec<Vec<f32>> = (0..scene.layers).flat_map(of_layer).collect();
    rows.push(part(&any(&every)));
    let lost = |row: &Vec<f32>| row.iter().filter(|class| **class == NOBODY).count() as f32;
    let (layer, whole) = (lost(&rows[rows.len() - 2]), lost(&rows[rows.len() - 1]));
    let names = (0..scene.kv_heads).map(|head| format!("L{} KV{head}", scene.head.layer));
    let names = names.chain(["any of the layer".into(), "any layer".into()]);
    let mut keys = blocks_axis(scene, &p, "key block");
    keys.labels.truncate(row + 1);
    let mut grid = grid(Axis::new("head", names), keys, vec![sheet("seen", "seen", "", rows.concat())]);
    grid.facts.push(fact("layer", "Blocks that no head of this layer sees", layer, "blocks"));
    grid.facts.push(fact("model", "Blocks that no head of any layer sees", whole, "blocks"));
    Ok(Exhibit { classes: classes(), ..drawn(grid) })
}

/// Plain attention, this pane, the same stripes in every head, and a window of as many keys.
fn variants(scene: &Scene<'_>) -> Result<[Stack; 4]> {
    let p: S2AttentionParams = scene.params();
    let n = scene.tokens;
    let last = |(layer, head): (usize, usize)| {
        let kept = scene.kept(layer, head);
        kept.get((n - 1) * n..).map_or(0, |row| row.iter().filter(|kept| **kept).count())
    };
    let window = (scene.every_head().map(last).sum::<usize>() / (scene.layers * scene.heads).max(1)).clamp(1, 512);
    let window = Chip::new("streaming_window").with("sinks", 0.0).with("window", window as f64);
    let same = S2AttentionParams { heterogeneous: false, ..p };
    Ok([Stack::new("a", &[])?, scene.stack.clone(), scene.with(same.values()), Stack::new("a", &[window])?])
}

const NAMES: [(&str, &str); 4] =
    [("full", "full"), ("own", "this pane"), ("same", "same stripes"), ("window", "window")];

fn cache(scene: &Scene<'_>) -> Result<Exhibit> {
    Ok(masks::cache(scene, &recalled(scene)?))
}

fn recalled(scene: &Scene<'_>) -> Result<Vec<Variant>> {
    Ok(recall::named(NAMES, variants(scene)?))
}
