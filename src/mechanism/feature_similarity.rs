//! # Feature similarities: weights without an exponential
//!
//! The similarity of a query and a key is the plain product of their features, with no exponential, divided by the sum of
//! its row or not. Choose `linear` and weights take both signs and any sum; on a model trained with softmax the output is
//! then far from what later layers expect, which is what the comparison shows: heads of models trained this way grow no
//! sink.
//!
//! ## Definition
//!
//! ```text
//! x[q,k]    = s[q,k] + scale · (f(q)·f(k) - q·k)         mods on s come along
//! linear    f(a) = a                                     x is the score itself
//! elu       f(a) = elu(a) + 1, entry by entry
//! mlp       f(a) = √2/D · w_out · max(w_in · a, 0)
//!
//! softmax                            pattern = exp(s) / Σ_k exp(s)
//! linear, elu, mlp                   pattern = x                              rows need not sum to one
//! elu_normalised                     pattern = x / (Σ_k x + 1e-8)
//! linear_normalised, mlp_normalised  pattern = x / max(|Σ_k x|, 1)            x may be negative
//! ```
//!
//! The paper's sim(q, k) is x before it is summed, its φ is f; q and k carry their positions already.
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]`, queries `[B,H,Q,D]` and keys `[B,G,K,D]` → pattern `[B,H,Q,K]`; w_in and w_out `[D,D]` per layer,
//! shared by queries, keys and heads.
//!
//! ## Neutral setting
//!
//! `operator = softmax`.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A row that keeps no key yields zeros.
//!
//! ## Numerics
//!
//! Nothing overflows before the scores do. Un-normalised rows grow with the number of keys and are not rescaled; a row of
//! `linear_normalised` or `mlp_normalised` whose similarities cancel is divided by 1 rather than by something small.
//!
//! ## Source
//!
//! Gu, Pang, Du, Liu, Zhang, Du, Wang, Lin, "When Attention Sink Emerges in Language Models: An Empirical View", ICLR 2025,
//! section 7, read from the authors' code (sail-sg/Attention-Sink: lit_gpt/model_attn_kernel.py). The operators that work
//! on a score alone are those of the mechanism attention_sink_operators.
//!
//! - The weights of `mlp` are random where nobody learned them, normal noise of deviation 1; the factor √2/D, ours, makes f
//!   keep the length of a vector on average. Without biases.
//! - Un-normalised and normalised forms stand apart here; mods on the score come along, which the paper does not have.
//! - Measured on stories-3m, trained with softmax: the loss of held-out stories rises from 3.30 nats to 4.97 under
//!   `elu_normalised` and to 6.94 under `linear_normalised` (`tests/golden/papers.quality.json`), `linear` costs 6.6 more
//!   (`tests/golden/valid.scores.json`). That models trained with it grow no sink is the paper's
//!   to show, or that of `cargo attn train --stack feature_similarity`.

use super::{Fill, Grid, Input, Law, Mechanism, Normalizer, Paper, Plug, Rows, Tolerance, Weighted};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::Tensor;

crate::params! {
    /// Controls of feature similarities.
    pub struct FeatureSimilarityParams {
        /// The feature map, and whether rows are divided by their sum.
        operator: u32 = 1, choice(
            "softmax", "linear", "linear_normalised", "elu", "elu_normalised", "mlp", "mlp_normalised"
        );
    }
}

const SOFTMAX: u32 = operator("softmax");
const LINEAR: u32 = operator("linear");
const LINEAR_NORMALISED: u32 = operator("linear_normalised");
const ELU: u32 = operator("elu");
const ELU_NORMALISED: u32 = operator("elu_normalised");
const MLP: u32 = operator("mlp");

const fn operator(word: &str) -> u32 {
    choice::<FeatureSimilarityParams>("operator", word)
}

/// Keeps a normalised row finite when every similarity underflows.
const EPSILON: f32 = 1e-8;

struct FeatureSimilarity;

impl Normalizer for FeatureSimilarity {
    type Params = FeatureSimilarityParams;

    const INPUTS: &'static [Input] = &[
        Input { name: "w_in", axes: "DD", other: 0, fill: Fill::Normal(1.0) },
        Input { name: "w_out", axes: "DD", other: 0, fill: Fill::Normal(1.0) },
    ];

    fn weigh(p: &FeatureSimilarityParams, at: &Grid, rows: Rows) -> Weighted {
        let keep = rows.keep.clone().float(); // [B,H,Q,K]
        if p.operator == SOFTMAX {
            let m = rows.scores.clone().detach().max_dim(3);
            let e = (rows.scores - m).exp() * keep;
            let sum = e.clone().sum_dim(3);
            return Weighted { pattern: e / sum.clamp_min(f32::MIN_POSITIVE), slot: None };
        }
        let x = match p.operator {
            LINEAR | LINEAR_NORMALISED => rows.scores,
            ELU | ELU_NORMALISED => similarity(rows, |a| a.clone().clamp_max(0.0).exp() + a.clamp_min(0.0)),
            _ => {
                let (w_in, w_out) = (at.input::<2>(0).transpose(), at.input::<2>(1).transpose());
                let factor = std::f32::consts::SQRT_2 / w_in.dims()[0] as f32;
                similarity(rows, move |a| {
                    let hidden = a.matmul(w_in.clone().unsqueeze()).clamp_min(0.0);
                    hidden.matmul(w_out.clone().unsqueeze()) * factor
                })
            }
        };
        let x = x * keep;
        let sum = x.clone().sum_dim(3);
        let pattern = match p.operator {
            LINEAR | ELU | MLP => x,
            ELU_NORMALISED => x / (sum + EPSILON),
            _ => x / sum.abs().clamp_min(1.0), // linear_normalised, mlp_normalised
        };
        Weighted { pattern, slot: None }
    }
}

/// Scores with the product of features in place of the product of vectors, `[B,H,Q,K]`.
fn similarity(rows: Rows, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let (q, k) = (rows.vectors.q.clone(), rows.vectors.keys());
    let plain = q.clone().matmul(k.clone().swap_dims(2, 3));
    let features = f(q).matmul(f(k).swap_dims(2, 3));
    rows.scores + (features - plain) * rows.vectors.scale
}

/// Products of features as weights.
pub const MECHANISM: Mechanism = Mechanism {
    id: "feature_similarity",
    name: "Feature similarities",
    summary: "Weighs keys by the product of features of query and key, without an exponential.",
    paper: Paper {
        number: Some(52),
        title: "When Attention Sink Emerges in Language Models: An Empirical View",
        authors: "Gu, Pang, Du, Liu, Zhang, Du, Wang, Lin",
        year: 2025,
        url: "https://arxiv.org/abs/2410.10781",
        place: "§7, attention without softmax",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[("operator", Value::Choice(ELU_NORMALISED))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(SOFTMAX))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(ELU_NORMALISED))]),
        Law::ShiftInvariant(&[("operator", Value::Choice(SOFTMAX))]),
        Law::ReducesTo { other: "softmax", at: &[("operator", Value::Choice(SOFTMAX))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/feature_similarity.wgsl")),
    plug: Plug::normalizer::<FeatureSimilarity>(),
    exhibits: &[],
};
