//! # Sink operators: where weight goes that no key needs
//!
//! Softmax must hand out weight that sums to one, so a head with nothing to say parks it on the first token: the sink.
//! These operators give it another place (a learned key or value bias) or lift the sum (sigmoid, elu + 1). Raise
//! `bias_logit` under `key_bias` and the bright first column empties into the slot; choose `sigmoid` and rows may sum to
//! anything. On a model trained with softmax the un-normalised operators change the output strongly: they show what the
//! normalisation does, not what a model trained with them would do.
//!
//! ## Definition
//!
//! ```text
//! b[h,q] = scale · q[h,q]·k_star[h] + bias_logit         the logit of the slot; k_star is not rotated
//! m[h,q] = max over kept keys of s, and b
//! softmax              pattern = exp(s) / Σ_k exp(s)
//! key_bias             pattern = exp(s-m) / (exp(b-m) + Σ_k exp(s-m))      slot = exp(b-m) / (same)    z = pattern·v
//! key_value_bias       as key_bias                                         z = pattern·v + slot · value_scale · v_star
//! value_bias           pattern of softmax                                  z = pattern·v + value_scale · v_star
//! sigmoid              pattern = σ(s)                                      rows need not sum to one
//! sigmoid_normalised   pattern = σ(s) / (Σ_k σ(s) + 1e-8)
//! elu                  pattern = elu(s) + 1                                rows need not sum to one
//! elu_normalised       pattern = (elu(s) + 1) / (Σ_k (elu(s) + 1) + 1e-8)
//! ```
//!
//! The paper's k* and v* are `k_star` and `v_star`, its sim(q, k) is σ or elu + 1 of the score.
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]` → pattern `[B,H,Q,K]`, slot `[B,H,Q,1]`; k_star and v_star `[H,D]` per layer. With `head_shared`
//! every head uses row 0 of both.
//!
//! ## Neutral setting
//!
//! `operator = softmax`; `bias_logit = -40` for the two key biases; `value_scale = 0` for the value bias.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A row that keeps no key yields zeros over the keys; under a key bias all of its weight
//! is in the slot.
//!
//! ## Numerics
//!
//! The row maximum includes the slot's logit, so no exponential overflows and the denominator is at least one.
//! Un-normalised rows grow with the number of keys and are not rescaled.
//!
//! ## Source
//!
//! Gu, Pang, Du, Liu, Zhang, Du, Wang, Lin, "When Attention Sink Emerges in Language Models: An Empirical View", ICLR 2025,
//! section 7, read from the authors' code (sail-sg/Attention-Sink: lit_gpt/model_kv_bias.py, model_attn_sim.py).
//!
//! - `bias_logit` and `value_scale` are ours, as is a `k_star` of zero where nobody learned one: the slot of a loaded model
//!   then has one logit for all queries, set by hand. The paper starts both vectors as normal noise of 0.02 and trains them.
//! - The slot stands beside the keys; the authors' code puts it in front of them as column 0.
//! - Similarities of features of q and k (linear, elu, MLP) are the mechanism feature_similarity, the visible prefix is
//!   prefix_lm, and the shifted window is streaming_window without sinks.
//! - Measured on stories-3m as it was trained, with softmax: a slot of logit zero leaves the loss of held-out stories at
//!   3.30 nats, `sigmoid_normalised` raises it to 4.67 and `sigmoid` to 10.5 (`tests/golden/papers.quality.json`). The slot
//!   takes heads with a sink at position 0 from 4.3 to 3.5 of a hundred. The paper's data control comes out the other way:
//!   on random tokens 5.7 of a hundred heads have that sink, on texts 4.1 (`tests/golden/studies.json`). A model with so few
//!   sinks has little to show.
//! - Trained here are nine models of two layers that learn bigrams and copies in 800 steps, three seeds each of `softmax`,
//!   `sigmoid` and `key_bias` (`tests/golden/papers.emergence.json`, with the commands). All copy without a mistake at one
//!   loss, and the sign is not the paper's: softmax grows no sink (at most 1 head in 100), while the shares of `sigmoid`
//!   rest on the first token in half of the heads; the slot takes 6 of 100, its k_star not learned, only the model is.

use super::{Fill, Grid, Input, Law, Mechanism, Normalizer, Paper, Plug, Rows, Slot, Tolerance, Weighted};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

crate::params! {
    /// Controls of the sink operators.
    pub struct AttentionSinkOperatorsParams {
        /// How scores become weights.
        operator: u32 = 1, choice(
            "softmax", "key_bias", "key_value_bias", "value_bias", "sigmoid", "sigmoid_normalised", "elu", "elu_normalised"
        );
        /// Added to the logit of the slot of a key bias; at -40 the slot takes nothing.
        bias_logit: f32 = 0.0, real(-40.0, 20.0, 0.5);
        /// Factor on the value of the slot; at 1 a value nobody learned is as small as the paper starts it.
        value_scale: f32 = 1.0, real(0.0, 100.0, 1.0);
        /// Whether all heads share the biases of the first head.
        head_shared: bool = false, flag();
    }
}

const SOFTMAX: u32 = operator("softmax");
const KEY_BIAS: u32 = operator("key_bias");
const KEY_VALUE_BIAS: u32 = operator("key_value_bias");
const VALUE_BIAS: u32 = operator("value_bias");
const SIGMOID: u32 = operator("sigmoid");
const SIGMOID_NORMALISED: u32 = operator("sigmoid_normalised");
const ELU: u32 = operator("elu");

const fn operator(word: &str) -> u32 {
    choice::<AttentionSinkOperatorsParams>("operator", word)
}

/// Keeps a normalised row finite when every similarity underflows.
const EPSILON: f32 = 1e-8;

struct AttentionSinkOperators;

impl Normalizer for AttentionSinkOperators {
    type Params = AttentionSinkOperatorsParams;

    const INPUTS: &'static [Input] = &[
        Input { name: "k_star", axes: "HD", other: 0, fill: Fill::Zero },
        Input { name: "v_star", axes: "HD", other: 0, fill: Fill::Normal(0.02) },
    ];

    fn weigh(p: &AttentionSinkOperatorsParams, at: &Grid, rows: Rows) -> Weighted {
        let k_star = per_head(p, at.input(0)); // [1,H,1,D]
        let v_star = per_head(p, at.input(1)) * p.value_scale; // [1,H,1,D]
        let keep = rows.keep.float(); // [B,H,Q,K]
        let s = rows.scores;
        match p.operator {
            SOFTMAX => Weighted { pattern: softmax(s, keep), slot: None },
            KEY_BIAS | KEY_VALUE_BIAS => {
                let b = (rows.vectors.q * k_star).sum_dim(3) * rows.vectors.scale + p.bias_logit; // [B,H,Q,1]
                let m = s.clone().max_dim(3).max_pair(b.clone());
                let e = (s - m.clone()).exp() * keep;
                let e_slot = (b - m).exp();
                let sum = e.clone().sum_dim(3) + e_slot.clone();
                let value = if p.operator == KEY_BIAS { v_star.zeros_like() } else { v_star };
                Weighted { pattern: e / sum.clone(), slot: Some(Slot { weight: e_slot / sum, value }) }
            }
            VALUE_BIAS => {
                let weight = rows.vectors.q.slice_dim(3, 0..1).ones_like(); // [B,H,Q,1]
                Weighted { pattern: softmax(s, keep), slot: Some(Slot { weight, value: v_star }) }
            }
            SIGMOID => Weighted { pattern: sigmoid(s) * keep, slot: None },
            SIGMOID_NORMALISED => Weighted { pattern: normalise(sigmoid(s) * keep), slot: None },
            ELU => Weighted { pattern: elu_plus_one(s) * keep, slot: None },
            _ => Weighted { pattern: normalise(elu_plus_one(s) * keep), slot: None }, // elu_normalised
        }
    }
}

/// A bias `[H,D]` as `[1,H,1,D]`, or its first row for every head.
fn per_head(p: &AttentionSinkOperatorsParams, bias: Tensor<2>) -> Tensor<4> {
    let [heads, width] = bias.dims();
    let bias = if p.head_shared { bias.slice_dim(0, 0..1).expand([heads, width]) } else { bias };
    bias.reshape([1, heads, 1, width])
}

fn softmax(s: Tensor<4>, keep: Tensor<4>) -> Tensor<4> {
    let m = s.clone().max_dim(3);
    let e = (s - m).exp() * keep;
    let sum = e.clone().sum_dim(3);
    e / sum.clamp_min(f32::MIN_POSITIVE)
}

/// elu(s) + 1, which is s + 1 for positive s and exp(s) otherwise.
fn elu_plus_one(s: Tensor<4>) -> Tensor<4> {
    s.clone().clamp_max(0.0).exp() + s.clamp_min(0.0)
}

fn normalise(w: Tensor<4>) -> Tensor<4> {
    let sum = w.clone().sum_dim(3);
    w / (sum + EPSILON)
}

/// The attention operators that do or do not grow sinks.
pub const MECHANISM: Mechanism = Mechanism {
    id: "attention_sink_operators",
    name: "Sink operators",
    summary: "Gives weight that no key needs a slot of its own, or lifts the rule that weights sum to one.",
    paper: Paper {
        number: Some(52),
        title: "When Attention Sink Emerges in Language Models: An Empirical View",
        authors: "Gu, Pang, Du, Liu, Zhang, Du, Wang, Lin",
        year: 2025,
        url: "https://arxiv.org/abs/2410.10781",
        place: "§7, attention biases and attention without normalisation",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::RowsSumToOne(&[("operator", Value::Choice(KEY_BIAS))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(KEY_VALUE_BIAS))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(SIGMOID_NORMALISED))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(operator("elu_normalised")))]),
        Law::ShiftInvariant(&[("operator", Value::Choice(VALUE_BIAS))]),
        Law::ReducesTo { other: "softmax", at: &[("operator", Value::Choice(SOFTMAX))] },
        Law::ReducesTo {
            other: "softmax",
            at: &[("operator", Value::Choice(KEY_BIAS)), ("bias_logit", Value::Real(-40.0))],
        },
        Law::ReducesTo {
            other: "softmax",
            at: &[("operator", Value::Choice(KEY_VALUE_BIAS)), ("bias_logit", Value::Real(-40.0))],
        },
        Law::ReducesTo {
            other: "softmax",
            at: &[("operator", Value::Choice(VALUE_BIAS)), ("value_scale", Value::Real(0.0))],
        },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/attention_sink_operators.wgsl")),
    plug: Plug::normalizer::<AttentionSinkOperators>(),
    exhibits: super::exhibits::attention_sink_operators::ALL,
};
