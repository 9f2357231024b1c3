//! # EchoAtt: a layer takes over the pattern of an earlier one
//!
//! The patterns of many inner layers are alike. The first layer of a block computes its pattern; the others take it over
//! and mix their own values with it, so they need neither queries nor keys. Raise `block` and more layers echo; choose
//! `pair` to let any one layer echo any earlier one, and compare a pair that is alike with one that is not.
//!
//! ## Definition
//!
//! ```text
//! inner        = protect_first ≤ l < L - protect_last
//! leader[l]    = l - (l - protect_first) mod block     mode blocks, inner layers
//! leader[l]    = first layer b of the run that l ends, sim(b, b+1), … sim(b, l) ≥ threshold   mode similar, inner layers
//! leader[l]    = leader for l = follower               mode pair
//! leader[l]    = l                                     all other layers, which do not echo
//! pattern[l,h] = A[leader[l], match(h)]                match(h) = h, or a head of the leader that is more alike
//!
//! sim(l,m)     = mean over texts and heads of cos(vec A[l,h], vec A[m,h]) over the pairs k ≤ q
//! ```
//!
//! The paper's k is `block`. `similarity` says what is compared: each head with the same index (`head_wise`), the mean over
//! heads (`averaged`), or each head less its mean over the texts (`content`), since columns of a sink are alike whatever a
//! text says. With `heads = most_alike` an echo's heads take over those of its leader one to one, the most alike first.
//!
//! ## Shapes
//!
//! pattern `[B,H,Q,K]` → pattern `[B,H,Q,K]`. Measured per layer: `leaders` `[1]`, (leader + ½) / L; `matches` `[H]`,
//! (head + ½) / H.
//!
//! ## Neutral setting
//!
//! `block = 1`: no layer echoes.
//!
//! ## Errors
//! None beyond parameter ranges. A leader that is not earlier, or of which a step knows nothing, leads nobody.
//!
//! ## Numerics
//! A pattern is taken over with the weight of a slot. Under a mask that differs by layer an echo sees what its leader sees.
//!
//! ## Source
//! Rajabzadeh, Jafari, Sharma, Jami, Kwon, Ghodsi, Chen, Rezagholizadeh, "EchoAtt: Attend, Copy, then Adjust for More
//! Efficient Large Language Models", ENLSP 2024. There is no code; abstract and public summaries give the cosine, the
//! blocks of inner layers and k. The rest is a reconstruction.
//!
//! - The paper distils what echoes. Here loaded weights stay, and the loss is that of the raw copy: nothing is trained under
//!   what is measured on a finished model. Three ways to compare, protected layers, runs and matched heads are ours.
//! - An echo needs no W_Q, W_K and cached keys; the price counts it so. The GPU twin still computes an echo's own scores:
//!   its time is not saved there. Patterns are stored, not recomputed from log-sum-exps, which pays from 1024 tokens on.
//! - Measured on stories-3m (`tests/golden/papers.shipped.json`): heads are alike to 0.41 at most, their means to 0.80,
//!   content to 0.09. The most alike inner pair costs 0.16 nats, the least 0.19, blocks of two 0.39, `most_alike` 0.31.

use super::alike::{Alike, Compared};
use super::{
    Fill, Grid, Input, Law, Mechanism, Memory, Paper, PatternMod, Place, Plug, Probed, Slot, Stage, Tolerance, Weighted,
};
use crate::catalogue::Provenance;
use crate::spec::{Params, Value, choice};
use burn::tensor::{Int, Tensor, TensorData};

crate::params! {
    /// Controls of EchoAtt.
    pub struct EchoAttParams {
        /// Which layers echo.
        mode: u32 = 0, choice("blocks", "similar", "pair");
        /// How many inner layers share one pattern.
        block: i32 = 2, int(1, 6, 1), unit "layers";
        /// How many first layers never echo in blocks and runs.
        protect_first: i32 = 1, int(0, 16, 1), unit "layers";
        /// How many last layers never echo in blocks and runs.
        protect_last: i32 = 1, int(0, 16, 1), unit "layers";
        /// How alike a layer must be to the first of its run.
        threshold: f32 = 0.85, real(0.5, 1.0, 0.01);
        /// What of two patterns is compared.
        similarity: u32 = 0, choice("head_wise", "averaged", "content");
        /// Which head of its leader a head takes over.
        heads: u32 = 0, choice("same_index", "most_alike");
        /// The layer whose pattern is taken over in a pair.
        leader: i32 = 2, int(0, 62, 1);
        /// The layer that takes it over in a pair.
        follower: i32 = 3, int(1, 63, 1);
    }
}

pub(super) const BLOCKS: u32 = word("mode", "blocks");
pub(super) const PAIR: u32 = word("mode", "pair");
const SIMILAR: u32 = word("mode", "similar");
const AVERAGED: u32 = word("similarity", "averaged");
const CONTENT: u32 = word("similarity", "content");
const MOST_ALIKE: u32 = word("heads", "most_alike");

const fn word(key: &str, word: &str) -> u32 {
    choice::<EchoAttParams>(key, word)
}

/// Names in memory: weights `[B,H,Q,K]` of a leader, and of its slot `[B,H,Q,1]`.
const PATTERN: &str = "pattern";
const SLOT: &str = "slot";

struct EchoAtt;

impl PatternMod for EchoAtt {
    type Params = EchoAttParams;
    const INPUTS: &'static [Input] = &[
        Input { name: "leaders", axes: "N", other: 1, fill: Fill::Measured(leaders) },
        Input { name: "matches", axes: "H", other: 0, fill: Fill::Measured(matches) },
    ];

    fn rework(p: &EchoAttParams, at: &Grid, weighted: Weighted, memory: &mut Memory) -> Weighted {
        let leader = leader(p, at.layer, at.layers, || number(at, 0, 0, at.layers));
        if leader == at.layer {
            if leads(p, at.layer, at.layers) {
                memory.put(PATTERN, at.layer, weighted.pattern.clone());
                if let Some(slot) = &weighted.slot {
                    memory.put(SLOT, at.layer, slot.weight.clone());
                }
            }
            return weighted;
        }
        let Some(pattern) = memory.get(PATTERN, leader) else { return weighted };
        let same = |head: usize| if p.heads == MOST_ALIKE { number(at, 1, head, at.heads) } else { head };
        let heads: Vec<i32> = (0..at.heads).map(|head| same(head) as i32).collect();
        let heads = Tensor::<1, Int>::from_data(TensorData::new(heads, [at.heads]), &at.device);
        let slot = weighted.slot.map(|slot| match memory.get(SLOT, leader) {
            Some(weight) => Slot { weight: weight.select(1, heads.clone()), ..slot },
            None => slot,
        });
        Weighted { pattern: pattern.select(1, heads), slot }
    }

    fn needs_keys(p: &EchoAttParams, at: &Grid) -> bool {
        leader(p, at.layer, at.layers, || number(at, 0, 0, at.layers)) == at.layer
    }

    fn stages(p: &EchoAttParams, at: &Place) -> Option<Vec<Stage>> {
        let measured = || at.measured.map_or(at.layer, |place| (place * at.layers as f32) as usize);
        Some(if leader(p, at.layer, at.layers, measured) < at.layer {
            vec![Stage::new("rework_rows", "rework", "z").needs("kept")]
        } else if leads(p, at.layer, at.layers) {
            vec![Stage::new("attend_rows", "", "kept")]
        } else {
            Vec::new()
        })
    }
}

/// Entry `entry` of a measured input that stands for one of `count` things.
fn number(at: &Grid, input: usize, entry: usize, count: usize) -> usize {
    let place = at.inputs.get(input).and_then(|array| array.data.get(entry)).copied().unwrap_or(0.0);
    ((place * count as f32) as usize).min(count.saturating_sub(1))
}

/// The layer whose pattern `layer` shows: itself where it does not echo. `measured` is asked in mode `similar`.
fn leader(p: &EchoAttParams, layer: usize, layers: usize, measured: impl FnOnce() -> usize) -> usize {
    let (first, last) = (p.protect_first as usize, layers.saturating_sub(p.protect_last as usize));
    let inner = layer >= first && layer < last;
    let leader = match p.mode {
        BLOCKS if inner => layer - (layer - first) % p.block as usize,
        SIMILAR if inner => measured(),
        BLOCKS | SIMILAR => layer,
        _ if layer == p.follower as usize => p.leader as usize, // pair
        _ => layer,
    };
    leader.min(layer)
}

/// Whether a later layer may show the pattern of `layer`, which does not echo.
fn leads(p: &EchoAttParams, layer: usize, layers: usize) -> bool {
    if p.mode == BLOCKS || p.mode == SIMILAR {
        let shared = p.mode == SIMILAR || p.block > 1;
        return shared && layer >= p.protect_first as usize && layer + 1 + (p.protect_last as usize) < layers;
    }
    layer == p.leader as usize // pair
}

/// How alike layers are, or their heads, about which a mean over heads says nothing.
pub(super) fn alike(p: &EchoAttParams, probed: &Probed, of_heads: bool) -> Alike {
    let compared = match p.similarity {
        AVERAGED if !of_heads => Compared::Averaged,
        CONTENT => Compared::Content,
        _ => Compared::HeadWise,
    };
    Alike::new(&probed.texts, compared)
}

/// The leaders of all layers.
pub(super) fn chosen_leaders(p: &EchoAttParams, probed: &Probed) -> Vec<usize> {
    let layers = probed.layers;
    let last = layers.saturating_sub(p.protect_last as usize);
    let mut runs: Vec<usize> = (0..layers).collect();
    if p.mode == SIMILAR {
        let alike = alike(p, probed, false);
        for layer in p.protect_first as usize + 1..last {
            let first = runs[layer - 1];
            if alike.layers(first, layer) >= p.threshold {
                runs[layer] = first;
            }
        }
    }
    (0..layers).map(|layer| leader(p, layer, layers, || runs[layer])).collect()
}

/// `leaders` of every layer.
fn leaders(values: &[Value], probed: &Probed) -> Vec<f32> {
    let chosen = chosen_leaders(&EchoAttParams::from_values(values), probed);
    chosen.into_iter().map(|leader| place(leader, probed.layers)).collect()
}

/// `matches` of every layer.
fn matches(values: &[Value], probed: &Probed) -> Vec<f32> {
    let p = EchoAttParams::from_values(values);
    let alike = (p.heads == MOST_ALIKE).then(|| alike(&p, probed, true));
    let of_layer = |(layer, leader): (usize, usize)| match &alike {
        Some(alike) if leader != layer => alike.matching(leader, layer),
        _ => (0..probed.heads).collect(),
    };
    let matched = chosen_leaders(&p, probed).into_iter().enumerate().flat_map(of_layer);
    matched.map(|head| place(head, probed.heads)).collect()
}

/// A number in 0..1 that stands for one of `count` things.
fn place(index: usize, count: usize) -> f32 {
    (index as f32 + 0.5) / count as f32
}

/// Patterns that are taken over between layers.
pub const MECHANISM: Mechanism = Mechanism {
    id: "echo_att",
    name: "EchoAtt",
    summary: "Lets inner layers take over the pattern of an earlier layer instead of computing their own.",
    paper: Paper {
        number: Some(14),
        title: "EchoAtt: Attend, Copy, then Adjust for More Efficient Large Language Models",
        authors: "Rajabzadeh, Jafari, Sharma, Jami, Kwon, Ghodsi, Chen, Rezagholizadeh",
        year: 2024,
        url: "https://arxiv.org/abs/2409.14595",
        place: "abstract and public summaries; without distillation",
        provenance: Provenance::Reconstruction,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("block", Value::Int(1))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/echo_att.wgsl")),
    plug: Plug::pattern_mod::<EchoAtt>(),
    exhibits: super::exhibits::echo_att::ALL,
};
