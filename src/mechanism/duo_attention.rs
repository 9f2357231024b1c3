//! # DuoAttention: some heads keep the whole past, the others a sink and a window
//!
//! Each key–value head is either a retrieval head, which sees everything, or a streaming head, which sees the first few
//! tokens and the most recent ones. Raise `streaming` and more heads forget. Where the gates are right, the loss hardly
//! moves until the last few retrieval heads go; switch `inverted` on to stream the very heads that look far back.
//!
//! ## Definition
//!
//! ```text
//! α[l,g]      = place of (l,g) among all key–value heads by `gates`, spread evenly over 0..1; 1 - α when inverted
//! stream      = k < sinks  or  q - k < window
//! keep[h,q,k] = k ≤ q  and  (α[l,g] ≥ streaming  or  stream)                 g the key–value head of h
//!
//! retrieval   share of queries whose heaviest key is the token after the earlier occurrence of the query's token
//! profile     mean weight of a query on keys that a streaming head would lose
//! random      even noise
//! ```
//!
//! The paper's s and w are `sinks` and `window`; its binarised α with the threshold that streams a given share of heads is
//! the comparison with `streaming`. The window counts the query's own token. Retrieval and profile are measured on the
//! plain model, on probes of random tokens that stand twice, over queries of the second half; of the query heads that
//! share a key–value head the largest counts.
//!
//! ## Shapes
//!
//! keep `[1,H,Q,K]`; gates `[G]` per layer.
//!
//! ## Neutral setting
//!
//! `streaming = 0`: every head sees everything. `streaming = 1` is streaming_window in every head.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A window of at least 1 keeps the diagonal, so no row is empty. Where there is no model to
//! measure and no gates are given, they are even noise.
//!
//! ## Numerics
//!
//! Equal measures keep the order of layers and heads. A window as long as the probes leaves nothing to `profile`: its gates
//! are then that order.
//!
//! ## Source
//!
//! Xiao, Tang, Zuo, Guo, Yang, Tang, Fu, Han, "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and
//! Streaming Heads", 2024, sections 2.2 to 2.4, read from the authors' code (mit-han-lab/duo-attention).
//!
//! - The paper learns the gates by distillation on passkeys in long texts, with the model frozen. Here they are measured
//!   without training: `retrieval` follows Wu et al., "Retrieval Head Mechanistically Explains Long-Context Factuality",
//!   on probes in place of needles, and `profile` is the plain heuristic the paper compares with. `inverted` is ours.
//! - The training mask of the code: the window includes the current token. At inference the code holds `window` past
//!   tokens besides the current one; that is `window + 1` here.
//! - A streaming head holds sinks + window entries in a decode and a retrieval head all; the price of a pane counts both.
//! - The gates are not trained here: distillation, its loss and the pressure towards zero are left out.
//! - Measured on stories-3m: with half of the heads streaming, `retrieval` and `profile` raise the loss of held-out stories
//!   by 0.02 nats, `random` by 0.18 and `inverted` by 0.20, at the same bytes. A passage that stands a second time costs
//!   0.40 nats less in the plain model, 0.38 less under measured gates, and nothing less under the other two.
//! - Of needles in 40 passages circuits-2m finds all under both measured gates, 5 of a hundred under `inverted`, and between
//!   35 and all under ten draws of random ones, 76 on average (`tests/golden/papers.needles.json`).

use super::{Fill, Grid, Input, Law, MaskMod, Mechanism, Paper, Plug, Probed, Tolerance, places};
use crate::catalogue::Provenance;
use crate::spec::{Params, Value, choice};
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of DuoAttention.
    pub struct DuoAttentionParams {
        /// Share of key–value heads that stream.
        streaming: f32 = 0.5, real(0.0, 1.0, 0.05);
        /// How many first tokens a streaming head keeps.
        sinks: i32 = 4, int(0, 64, 1), unit "tokens";
        /// How many most recent tokens a streaming head keeps, the query's own included.
        window: i32 = 16, int(1, 512, 1), unit "tokens";
        /// What tells retrieval heads from streaming ones.
        gates: u32 = 0, choice("retrieval", "profile", "random");
        /// Whether the heads that need the past most stream first.
        inverted: bool = false, flag();
    }
}

const RETRIEVAL: u32 = choice::<DuoAttentionParams>("gates", "retrieval");
const PROFILE: u32 = choice::<DuoAttentionParams>("gates", "profile");
pub(super) const RANDOM: u32 = choice::<DuoAttentionParams>("gates", "random");

struct DuoAttention;

impl MaskMod for DuoAttention {
    type Params = DuoAttentionParams;

    const INPUTS: &'static [Input] = &[Input { name: "gates", axes: "G", other: 0, fill: Fill::Measured(gates) }];

    fn keep(p: &DuoAttentionParams, at: &Grid) -> Tensor<4, Bool> {
        let shape = [1, at.heads, at.queries, at.keys];
        let alpha = at.input::<1>(0).select(0, at.kv_head().int().reshape([at.heads])); // [H]
        let retrieval = alpha.reshape([1, at.heads, 1, 1]).greater_equal_elem(p.streaming);
        let recent = at.distance().lower_elem(p.window as f32); // [1,1,Q,K]
        let first = at.key().lower_elem(p.sinks as f32).expand(recent.dims());
        let stream = first.bool_or(recent).expand(shape);
        at.causal().expand(shape).bool_and(retrieval.expand(shape).bool_or(stream))
    }
}

/// α of every layer and key–value head, `[L·G]`.
fn gates(values: &[Value], probed: &Probed) -> Vec<f32> {
    let p = DuoAttentionParams::from_values(values);
    let (sinks, window) = (p.sinks as usize, p.window as usize);
    let needs = match p.gates {
        RETRIEVAL => probed.needs(|row, query| {
            let heaviest = (0..=query).fold(0, |best, key| if row[key] > row[best] { key } else { best });
            if heaviest + probed.half == query + 1 { 1.0 } else { 0.0 }
        }),
        PROFILE => probed.needs(|row, query| {
            let lost = (sinks..(query + 1).saturating_sub(window)).map(|key| row[key]);
            lost.sum()
        }),
        _ => probed.noise.clone(), // random
    };
    let alpha = places(&needs);
    if p.inverted { alpha.iter().map(|alpha| 1.0 - alpha).collect() } else { alpha }
}

/// Retrieval heads and streaming heads.
pub const MECHANISM: Mechanism = Mechanism {
    id: "duo_attention",
    name: "DuoAttention",
    summary: "Lets the heads that look far back keep everything and gives all others a sink and a window.",
    paper: Paper {
        number: Some(25),
        title: "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads",
        authors: "Xiao, Tang, Zuo, Guo, Yang, Tang, Fu, Han",
        year: 2024,
        url: "https://arxiv.org/abs/2410.10819",
        place: "§2.2–2.4; gates are measured instead of learned",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("streaming", Value::Real(0.0))] },
        Law::ReducesTo { other: "streaming_window", at: &[("streaming", Value::Real(1.0))] },
        Law::ReducesTo { other: "softmax", at: &[("window", Value::Int(512))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/duo_attention.wgsl")),
    plug: Plug::mask_mod::<DuoAttention>(),
    exhibits: super::exhibits::duo_attention::ALL,
};
