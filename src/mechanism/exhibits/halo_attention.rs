//! Paper 60: the block and halo of a head, how far a token reaches, what a block edge costs, and what block and halo buy.

use super::scene::mass;
use super::{Offer, Scene, drawn, fact, grid, marks, masks, of_pairs, shares, sheet};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Axis;
use crate::mechanism::halo_attention::HaloAttentionParams;
use crate::spec::Params;

/// What it draws.
pub const ALL: &[Offer] = &[
    Offer::new(
        "window",
        "Blocks and halos over the pinned head",
        Drawn::Map,
        window,
        "What the head would look at with the whole past, from the queries and keys it has here, and what it looks at here. \
         Outlined: pairs of a block with itself and its halo.",
    ),
    masks::REACH,
    Offer::new(
        "edge",
        "What the edge of a block costs",
        Drawn::Bars,
        edge,
        "Mean loss of the token after each place of a block, in nats: in this pane and in plain attention.",
    ),
    Offer::slow(
        "settings",
        "Block and halo",
        Drawn::Cells,
        settings_frame,
        settings_row,
        "Loss on this prompt above plain attention in nats per token, and the share of the causal pairs that are kept.",
    ),
];

fn window(scene: &Scene<'_>) -> Result<Exhibit> {
    let (layer, head) = (scene.head.layer, scene.head.head);
    let exact = scene.exact(layer)?;
    let full = exact.pattern_of(head, scene.tokens);
    let kept = scene.kept(layer, head);
    let share = mass(full, &kept);
    let sheets = vec![
        shares("full", "with the whole past", full.to_vec()),
        shares("own", "in this pane", scene.pattern(layer, head).to_vec()),
        marks("kept", "kept", kept),
    ];
    let mut grid = of_pairs(scene, sheets);
    grid.facts.push(fact("mass", "Weight that block and halo keep", share, ""));
    Ok(Exhibit { outlined: Some("kept".into()), ..drawn(grid) })
}

fn edge(scene: &Scene<'_>) -> Result<Exhibit> {
    let p: HaloAttentionParams = scene.params();
    let tokens = &scene.own.tokens;
    let block = (p.block as usize).min(tokens.len());
    let of = |logs: &crate::hook::Array| {
        let (mut sums, mut counts) = (vec![0.0; block], vec![0.0; block]);
        for (query, next) in tokens.iter().skip(1).enumerate() {
            sums[query % block] -= logs.at(query).get(*next as usize).copied().unwrap_or(f32::NAN);
            counts[query % block] += 1.0;
        }
        sums.into_iter().zip(counts).map(|(sum, count)| sum / count).collect::<Vec<f32>>()
    };
    let values = [of(&scene.own.log_probabilities), of(&scene.plain.log_probabilities)].concat();
    let rows = Axis::new("attention", ["this pane", "plain"].map(String::from));
    let places = Axis::new("place", (0..block).map(|place| place.to_string()));
    Ok(drawn(grid(rows, places, vec![sheet("loss", "loss", "nats", values)])))
}

const BLOCKS: [i32; 4] = [4, 8, 16, 32];
const HALOS: [i32; 5] = [0, 2, 8, 16, 32];

fn settings_frame(_: &Scene<'_>) -> Result<Exhibit> {
    let empty = vec![f32::NAN; BLOCKS.len() * HALOS.len()];
    let sheets = vec![
        sheet("loss", "loss above plain", "nats per token", empty.clone()),
        shares("share", "share of pairs", empty),
    ];
    let blocks = Axis::new("block", BLOCKS.map(|block| format!("block {block}")));
    Ok(drawn(grid(blocks, Axis::new("halo", HALOS.map(|halo| format!("halo {halo}"))), sheets)))
}

fn settings_row(scene: &Scene<'_>, row: usize) -> Result<Vec<Vec<f32>>> {
    let plain = scene.plain.loss().unwrap_or(f32::NAN);
    let (mut losses, mut shares) = (Vec::new(), Vec::new());
    let causal = (scene.tokens * (scene.tokens + 1) / 2) as f32;
    for halo in HALOS {
        let p = HaloAttentionParams { block: BLOCKS[row.min(BLOCKS.len() - 1)], halo };
        let stack = scene.with(p.values());
        losses.push(scene.loss(&stack)? - plain);
        let kept = scene.step(&stack, scene.head.layer)?.kept;
        let kept = kept[..scene.tokens * scene.tokens].iter().filter(|kept| **kept).count();
        shares.push(kept as f32 / causal);
    }
    Ok(vec![losses, shares])
}
