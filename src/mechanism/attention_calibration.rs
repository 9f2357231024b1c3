//! # Attention calibration: sinks in the middle of a text are turned down
//!
//! A later token that every following row looks at, though it says little, is a sink like the first token. Its weight is
//! scaled down after the softmax, in chosen heads, and what that frees goes to the other keys in proportion (ACT). Lower
//! `beta` and watch the pale columns in the middle of a head fade while the words around them darken; the column of the
//! first token stays.
//!
//! ## Definition
//!
//! ```text
//! a[k]        = Σ_{q ≥ k} A[q,k] / (n - k)                     how much the rows that can see key k look at it
//! τ           = alpha / n  or  tau                             by threshold
//! S           = { k : a[k] > τ } without its spared sink       by spare: token 0, or the smallest k in it
//! S           → the keys right after those of S, not in it     when columns = after_sinks, a control
//! mass[q]     = Σ_{k ∈ S} A[q,k]        rest[q] = Σ_{k ∉ S} A[q,k]
//! pattern     = beta · A                                       k ∈ S
//! pattern     = A · (1 + (1 - beta) · mass / rest)             k ∉ S
//! ```
//!
//! The paper's β and τ are `beta` and `tau`. In mode `prefix` row q counts only the rows up to itself: `a[q,k]` is the
//! mean of `A[k..=q, k]` and n is q + 1. Decoding keeps the sums of the columns, so that both modes are exact there. The
//! other heads and layers, and rows with rest < 1e-6, stay as they are.
//!
//! ## Shapes
//!
//! pattern `[B,H,Q,K]` → pattern `[B,H,Q,K]`; a is `[B,H,1,K]`, in mode `prefix` `[B,H,Q,K]`; `gates` `[H]`, measured.
//!
//! ## Neutral setting
//!
//! `beta = 1`.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A layer or head that the model does not have is never reached.
//!
//! ## Numerics
//!
//! A column whose mean lies within rounding of τ may fall on either side on another device. A slot beside the keys keeps
//! its weight and takes no part.
//!
//! ## Source
//!
//! Yu, Wang, Fu, Shi, Shaikh, Lin, "Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large Language Models
//! without Training through Attention Calibration", ICML 2024; steps 1 to 5 from the authors' code (GATECH-EIC/ACT).
//!
//! - Step 1 lets later rows decide how earlier ones are edited. In mode `paper` a prompt is therefore not processed as a
//!   decode would; its loss is no loss of a language model, since a row knows a little of what follows. Mode `prefix` is
//!   ours and has neither fault.
//! - τ = alpha / n is ours: the code's 0.1 is twice the even weight of a row of 20 tokens.
//! - The code spares the first sink it detects, which is not token 0 where token 0 is none; `token_zero` is what is meant.
//! - The code keeps a head whose answers on 900 calibration questions get better. `heads = calibrated` keeps a head when
//!   calibrating it alone, at the defaults of everything else in mode `prefix`, lowers the loss on a calibration text: no
//!   labels are needed, but next tokens are another goal than answers.
//! - Models with fewer than five layers are calibrated in all of them.
//! - Measured (`tests/golden/papers.shipped.json`, `papers.synthetic.json`): the head that helps stories-3m most on one part of
//!   its texts makes the others worse by 0.003 to 0.008 nats, all inner heads by 0.24. A sink planted in the retrieval head of
//!   circuits-2m takes its weight on the right value from 0.97 to 0.39, calibration back to 0.73, and recall never suffers.

use super::{
    Fill, Grid, Input, Law, Mechanism, Memory, Paper, PatternMod, Place, Plug, Probed, Stage, Tolerance, Weighted,
};
use crate::catalogue::Provenance;
use crate::spec::{Params, Value, choice};
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of attention calibration.
    pub struct AttentionCalibrationParams {
        /// What is left of a sink's weight; at 1 nothing changes.
        beta: f32 = 0.4, real(0.0, 1.0, 0.05);
        /// Whether the threshold falls with the number of tokens.
        threshold: u32 = 0, choice("relative", "absolute");
        /// A relative threshold in units of the even weight 1/n.
        alpha: f32 = 5.0, real(1.0, 20.0, 0.5);
        /// An absolute threshold.
        tau: f32 = 0.1, real(0.01, 0.5, 0.01);
        /// Which sink is left alone.
        spare: u32 = 0, choice("token_zero", "first_detected", "nothing");
        /// What is turned down: the sinks, or as a control the keys right after them.
        columns: u32 = 0, choice("sinks", "after_sinks");
        /// Whether later rows help to find the sinks of earlier ones.
        mode: u32 = 0, choice("paper", "prefix");
        /// Which heads are calibrated.
        heads: u32 = 0, choice("all", "calibrated", "one");
        /// How many first layers are left alone.
        first_layers: i32 = 2, int(0, 32, 1), unit "layers";
        /// How many last layers are left alone.
        last_layers: i32 = 1, int(0, 32, 1), unit "layers";
        /// The layer of the one head.
        layer: i32 = 0, int(0, 63, 1);
        /// The one head.
        head: i32 = 0, int(0, 63, 1);
    }
}

const ABSOLUTE: u32 = word("threshold", "absolute");
const TOKEN_ZERO: u32 = word("spare", "token_zero");
const FIRST_DETECTED: u32 = word("spare", "first_detected");
const AFTER_SINKS: u32 = word("columns", "after_sinks");
pub(super) const PREFIX: u32 = word("mode", "prefix");
pub(super) const ONE: u32 = word("heads", "one");
const CALIBRATED: u32 = word("heads", "calibrated");

const fn word(key: &str, word: &str) -> u32 {
    choice::<AttentionCalibrationParams>(key, word)
}

/// Rows with less weight beside the sinks have nobody to give it to.
const LEAST_REST: f32 = 1e-6;
/// Models of fewer layers have no inner ones to speak of.
const FEW_LAYERS: i32 = 5;
/// Name of the column sums `[B,H,1,K]` in memory.
const SUMS: &str = "sums";

struct AttentionCalibration;

impl PatternMod for AttentionCalibration {
    type Params = AttentionCalibrationParams;
    const INPUTS: &'static [Input] = &[Input { name: "gates", axes: "H", other: 0, fill: Fill::Measured(gates) }];

    fn rework(p: &AttentionCalibrationParams, at: &Grid, weighted: Weighted, memory: &mut Memory) -> Weighted {
        let Some(gate) = gate(p, at) else { return weighted };
        let a = weighted.pattern; // [B,H,Q,K]
        let s = hidden(p, at, mean_columns(p, at, &a, memory)).bool_and(gate);
        let s = s.expand(a.dims()).float();
        let others = s.ones_like() - s.clone();
        let mass = (a.clone() * s.clone()).sum_dim(3);
        let rest = (a.clone() * others.clone()).sum_dim(3);
        let gain = mass / rest.clone().clamp_min(LEAST_REST) * (1.0 - p.beta) + 1.0;
        let pattern = a.clone() * (s * p.beta + others * gain);
        let alone = rest.lower_elem(LEAST_REST).expand(a.dims());
        Weighted { pattern: pattern.mask_where(alone, a), slot: weighted.slot }
    }

    fn stages(p: &AttentionCalibrationParams, at: &Place) -> Option<Vec<Stage>> {
        if !acts(p, at.layer, at.layers) {
            return Some(Vec::new());
        }
        Some(vec![
            Stage::new("attend_rows", "", "plain"),
            Stage::new("scan_columns", "column", SUMS),
            Stage::new("rework_rows", "rework", "z"),
        ])
    }
}

/// Whether some head of this layer is calibrated.
fn acts(p: &AttentionCalibrationParams, layer: usize, layers: usize) -> bool {
    let (layer, layers) = (layer as i32, layers as i32);
    match p.heads {
        ONE => layer == p.layer,
        _ => layers < FEW_LAYERS || (layer >= p.first_layers && layer < layers - p.last_layers),
    }
}

/// Which heads of this layer are calibrated, broadcastable to `[B,H,1,K]`; absent when none is.
pub(super) fn gate(p: &AttentionCalibrationParams, at: &Grid) -> Option<Tensor<4, Bool>> {
    acts(p, at.layer, at.layers).then(|| match p.heads {
        ONE => at.head_ordinal().equal_elem((p.head + 1) as f32),
        CALIBRATED => at.input::<1>(0).reshape([1, at.heads, 1, 1]).greater_elem(0.5),
        _ => at.head_ordinal().greater_elem(0.0),
    })
}

/// `gates` of every layer: 1 for a head whose calibration alone lowers the loss.
fn gates(values: &[Value], probed: &Probed) -> Vec<f32> {
    let p = AttentionCalibrationParams::from_values(values);
    let heads = (0..probed.layers).flat_map(|layer| (0..probed.heads).map(move |head| (layer, head)));
    let tried = AttentionCalibrationParams { mode: PREFIX, heads: ONE, ..Default::default() };
    let loss = |p: AttentionCalibrationParams| probed.trial.loss(MECHANISM.id, p.values());
    let helps = |(layer, head): (usize, usize)| {
        let alone = AttentionCalibrationParams { layer: layer as i32, head: head as i32, ..tried.clone() };
        let asked = p.heads == CALIBRATED && acts(&p, layer, probed.layers);
        asked && loss(alone) < loss(AttentionCalibrationParams { beta: 1.0, ..tried.clone() })
    };
    heads.map(|place| f32::from(u8::from(helps(place)))).collect()
}

/// How much the rows that can see a key look at it: `[B,H,1,K]`, in mode `prefix` `[B,H,Q,K]`.
pub(super) fn mean_columns(p: &AttentionCalibrationParams, at: &Grid, a: &Tensor<4>, memory: &mut Memory) -> Tensor<4> {
    let [batch, heads, _, keys] = a.dims();
    let before = match memory.get(SUMS, at.layer) {
        // Sums of a decode; the keys since then had no rows yet.
        Some(sums) if at.first_query > 0 => {
            let new = keys.saturating_sub(sums.dims()[3]);
            Tensor::cat(vec![sums, Tensor::zeros([batch, heads, 1, new], &at.device)], 3)
        }
        _ => Tensor::zeros([batch, heads, 1, keys], &at.device),
    };
    let sums = before.clone() + a.clone().sum_dim(2);
    memory.put(SUMS, at.layer, sums.clone());
    if p.mode == PREFIX {
        (before + a.clone().cumsum(2)) / (at.distance() + 1.0).clamp_min(1.0)
    } else {
        sums / (at.key().neg() + keys as f32)
    }
}

/// The keys that are turned down, of the shape of `mean`.
pub(super) fn hidden(p: &AttentionCalibrationParams, at: &Grid, mean: Tensor<4>) -> Tensor<4, Bool> {
    let n = if p.mode == PREFIX { at.query() + 1.0 } else { at.query().full_like(at.keys as f32) };
    let tau = if p.threshold == ABSOLUTE { n.full_like(p.tau) } else { n.recip() * p.alpha };
    let rows = mean.dims()[2];
    let s = (mean - tau.slice_dim(2, 0..rows)).greater_elem(0.0);
    let spared = match p.spare {
        TOKEN_ZERO => s.clone().bool_and(at.key().greater_elem(0.5).expand(s.dims())),
        FIRST_DETECTED => s.clone().bool_and(s.clone().float().cumsum(3).greater_elem(1.5)),
        _ => s.clone(), // nothing
    };
    if p.columns != AFTER_SINKS {
        return spared;
    }
    let [batch, heads, rows, keys] = s.dims();
    let none = Tensor::zeros([batch, heads, rows, 1], &at.device);
    let after = Tensor::cat(vec![none, spared.float().slice_dim(3, 0..keys - 1)], 3);
    after.greater_elem(0.5).bool_and(s.bool_not())
}

/// Sinks beyond the first token, turned down.
pub const MECHANISM: Mechanism = Mechanism {
    id: "attention_calibration",
    name: "Attention calibration",
    summary: "Turns down the weight of sinks beyond the first token and hands it to the other keys.",
    paper: Paper {
        number: Some(37),
        title: "Unveiling and Harnessing Hidden Attention Sinks: Enhancing Large Language Models without Training through Attention Calibration",
        authors: "Yu, Wang, Fu, Shi, Shaikh, Lin",
        year: 2024,
        url: "https://arxiv.org/abs/2406.15765",
        place: "the authors' code (GATECH-EIC/ACT)",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::RowsSumToOne(&[]),
        Law::RowsSumToOne(&[("alpha", Value::Real(1.0)), ("beta", Value::Real(0.0))]),
        Law::RowsSumToOne(&[("alpha", Value::Real(1.0)), ("mode", Value::Choice(PREFIX))]),
        Law::Prefix(&[("mode", Value::Choice(PREFIX))]),
        Law::Prefix(&[
            ("mode", Value::Choice(PREFIX)),
            ("alpha", Value::Real(1.0)),
            ("spare", Value::Choice(FIRST_DETECTED)),
        ]),
        Law::ReducesTo { other: "softmax", at: &[("beta", Value::Real(1.0))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/attention_calibration.wgsl")),
    plug: Plug::pattern_mod::<AttentionCalibration>(),
    exhibits: super::exhibits::attention_calibration::ALL,
};
