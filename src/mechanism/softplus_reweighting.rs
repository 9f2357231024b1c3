//! # Softplus re-weighting: keys below the average weight are dropped, the rest is sharpened
//!
//! Queries and keys are compared by direction alone, the comparison is scaled with the number of keys, and softplus takes
//! the place of the exponential (LSSA). Then everything at or below the average weight of the row is set to zero and what
//! is left is raised to a power (LSSAR), so that a long row does not melt into its background. Raise `power` and each row
//! narrows to its brightest keys; switch `shift` off and no weight is exactly zero any more.
//!
//! ## Definition
//!
//! ```text
//! n[q]      = number of keys the row keeps                        q + 1 without other masks
//! cos[q,k]  = s[q,k] / (scale · max(‖q‖·‖k‖, 1e-8))               the cosine; mods on s come along
//! ℓ[q]      = ln D · ln n[q]  or  ln D · ln train_length  or  1/√D          by length_scale
//!
//! lssa, lssar             b = ln(1 + exp(ℓ·cos))      A = b / (Σ_k b + 1e-8)
//! softplus_l1             b = ln(1 + exp(s))          A = b / (Σ_k b + 1e-8)
//! relu_l1                 b = max(s, 0)               A = b / (Σ_k b + 1e-8)
//! sigmoid_l1              b = σ(s)                    A = b / (Σ_k b + 1e-8)
//! sigmoid                                             A = σ(s)              rows need not sum to one
//! softmax                                             A = exp(s) / Σ_k exp(s)
//! softmax_reweighted      A of softmax, then as lssar
//!
//! O[q]      = 1 when shift and n[q] > 3, else 0
//! e[q,k]    = max(n[q]·A[q,k] - O[q], 0)              m[q] = max_k e[q,k]
//! w[q,k]    = (e[q,k] / m[q])^power                   A[q,k] where m[q] < 1e-6
//! pattern   = w / (Σ_k w + 1e-8)                      lssar and softmax_reweighted; A for all others
//! ```
//!
//! The paper's N_i, d_h and p are n, D and `power`. Weights average 1/n, so O = 1 removes every key at or below average.
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]`, queries `[B,H,Q,D]` and keys `[B,G,K,D]` → pattern `[B,H,Q,K]`; n, ℓ, O and m are `[B,H,Q,1]`.
//!
//! ## Neutral setting
//!
//! `operator = softmax`; also `softmax_reweighted` with `power = 1` and `shift = false`, where re-weighting undoes nothing.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A row that keeps no key yields zeros, and so does a row of `relu_l1` without a positive
//! score.
//!
//! ## Numerics
//!
//! e is divided by the row's largest before the power, so 4096^15 never arises and the 1e-8 under the last division is
//! small against a sum of at least 1. The undivided form would shrink a flat row towards zero. The largest is a constant
//! to the gradient, which is the same either way. Rows whose weights are all equal have e = 0 everywhere under the shift
//! and keep A.
//!
//! ## Source
//!
//! Gao, Spratling, "Softplus Attention with Re-weighting Boosts Length Extrapolation in Large Language Models", 2025:
//! equations of LSSA and LSSAR. The authors' code could not be checked; the equations agree with a public
//! re-implementation, so this counts as a reconstruction.
//!
//! - Division by the row's largest and the fallback of flat rows are ours.
//! - n counts the keys a row keeps; the paper has no other mask than the causal one, under which both are the same.
//! - The paper trains with the operator. On a model trained with softmax LSSA is much flatter than what its layers expect,
//!   and re-weighting sharpens it again: the loss of a pane shows that mismatch, not what a model trained so would reach.
//! - Measured on stories-3m: the loss of held-out stories rises from 3.30 nats to 4.39 under LSSA, 3.63 under LSSAR with
//!   power 3 and 4.00 with 15; re-weighting pasted onto its softmax with power 3 costs 0.45, as the paper's ablation says it
//!   should.
//! - Not trained here (`cargo attn train --stack softplus_reweighting` does), and eight times a training length is not to be
//!   had: the shipped models were trained on all of their 512 tokens. What can be shown of long rows is the weight on a planted key (`tests/golden/papers.synthetic.json`).

use super::{Grid, Law, Mechanism, Normalizer, Paper, Plug, Rows, Tolerance, Weighted};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

crate::params! {
    /// Controls of softplus re-weighting.
    pub struct SoftplusReweightingParams {
        /// How scores become weights.
        operator: u32 = 2, choice(
            "softmax", "lssa", "lssar", "softplus_l1", "relu_l1", "sigmoid", "sigmoid_l1", "softmax_reweighted"
        );
        /// The power that sharpens what is left of a row.
        power: i32 = 15, int(1, 64, 1);
        /// Whether keys at or below the average weight of the row are dropped first.
        shift: bool = true, flag();
        /// What the cosine is multiplied by.
        length_scale: u32 = 0, choice("ln_d_ln_n", "ln_d_ln_train_length", "inverse_sqrt_d");
        /// The length that stands in the fixed scale.
        train_length: i32 = 128, int(2, 2048, 1), unit "tokens";
    }
}

pub(super) const SOFTMAX: u32 = operator("softmax");
pub(super) const LSSA: u32 = operator("lssa");
pub(super) const LSSAR: u32 = operator("lssar");
const SOFTPLUS_L1: u32 = operator("softplus_l1");
const RELU_L1: u32 = operator("relu_l1");
const SIGMOID: u32 = operator("sigmoid");
const SIGMOID_L1: u32 = operator("sigmoid_l1");
pub(super) const SOFTMAX_REWEIGHTED: u32 = operator("softmax_reweighted");
const LN_D_LN_N: u32 = choice::<SoftplusReweightingParams>("length_scale", "ln_d_ln_n");
const LN_D_LN_TRAIN_LENGTH: u32 = choice::<SoftplusReweightingParams>("length_scale", "ln_d_ln_train_length");

const fn operator(word: &str) -> u32 {
    choice::<SoftplusReweightingParams>("operator", word)
}

/// Keeps divisions finite.
const EPSILON: f32 = 1e-8;
/// Below this a row has no key above average.
const FLAT: f32 = 1e-6;

struct SoftplusReweighting;

impl Normalizer for SoftplusReweighting {
    type Params = SoftplusReweightingParams;

    fn weigh(p: &SoftplusReweightingParams, _at: &Grid, rows: Rows) -> Weighted {
        let keep = rows.keep.float(); // [B,H,Q,K]
        let n = keep.clone().sum_dim(3); // [B,H,Q,1]
        let a = match p.operator {
            SOFTMAX | SOFTMAX_REWEIGHTED => {
                let m = rows.scores.clone().detach().max_dim(3);
                let e = (rows.scores - m).exp() * keep;
                let sum = e.clone().sum_dim(3);
                e / sum.clamp_min(f32::MIN_POSITIVE)
            }
            other => {
                let s = rows.scores * keep.clone(); // what is not kept must not become infinite
                let b = match other {
                    LSSA | LSSAR => {
                        let norm = |x: Tensor<4>| x.square().sum_dim(3).sqrt();
                        let (q, k) = (norm(rows.vectors.q.clone()), norm(rows.vectors.keys()).swap_dims(2, 3));
                        let cos = s / ((q * k).clamp_min(EPSILON) * rows.vectors.scale);
                        let width = rows.vectors.q.dims()[3] as f32;
                        let l = match p.length_scale {
                            LN_D_LN_N => n.clone().clamp_min(1.0).log() * width.ln(),
                            LN_D_LN_TRAIN_LENGTH => n.full_like(width.ln() * (p.train_length as f32).ln()),
                            _ => n.full_like(1.0 / width.sqrt()), // inverse_sqrt_d
                        };
                        softplus(cos * l)
                    }
                    SOFTPLUS_L1 => softplus(s),
                    RELU_L1 => s.clamp_min(0.0),
                    _ => sigmoid(s), // sigmoid, sigmoid_l1
                };
                let b = b * keep;
                if other == SIGMOID { b } else { normalise(b) }
            }
        };
        let reweighted = matches!(p.operator, LSSAR | SOFTMAX_REWEIGHTED);
        Weighted { pattern: if reweighted { reweigh(p, a, n) } else { a }, slot: None }
    }
}

/// ln(1 + exp(x)), which never overflows in this form.
fn softplus(x: Tensor<4>) -> Tensor<4> {
    x.clone().clamp_min(0.0) + x.abs().neg().exp().log1p()
}

fn normalise(w: Tensor<4>) -> Tensor<4> {
    let sum = w.clone().sum_dim(3);
    w / (sum + EPSILON)
}

/// Drops what is at or below average and sharpens the rest; a is `[B,H,Q,K]`, n `[B,H,Q,1]`.
fn reweigh(p: &SoftplusReweightingParams, a: Tensor<4>, n: Tensor<4>) -> Tensor<4> {
    let o = if p.shift { n.clone().greater_elem(3.5).float() } else { n.zeros_like() };
    let e = (a.clone() * n - o).clamp_min(0.0);
    let m = e.clone().detach().max_dim(3);
    let flat = m.clone().lower_elem(FLAT).expand(a.dims());
    let w = (e / m.clamp_min(FLAT)).powi_scalar(p.power);
    normalise(w.mask_where(flat, a))
}

/// Softplus attention, and re-weighting of its rows.
pub const MECHANISM: Mechanism = Mechanism {
    id: "softplus_reweighting",
    name: "Softplus re-weighting",
    summary: "Weighs keys by the softplus of a scaled cosine, drops those below average and sharpens the rest.",
    paper: Paper {
        number: Some(68),
        title: "Softplus Attention with Re-weighting Boosts Length Extrapolation in Large Language Models",
        authors: "Gao, Spratling",
        year: 2025,
        url: "https://arxiv.org/abs/2501.13428",
        place: "the equations of LSSA and LSSAR",
        provenance: Provenance::Reconstruction,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::RowsSumToOne(&[("power", Value::Int(1))]),
        Law::RowsSumToOne(&[("shift", Value::Flag(false))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(LSSA))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(SOFTPLUS_L1))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(SIGMOID_L1))]),
        Law::RowsSumToOne(&[("operator", Value::Choice(SOFTMAX_REWEIGHTED))]),
        Law::ShiftInvariant(&[("operator", Value::Choice(SOFTMAX))]),
        Law::ReducesTo { other: "softmax", at: &[("operator", Value::Choice(SOFTMAX))] },
        Law::ReducesTo {
            other: "softmax",
            at: &[
                ("operator", Value::Choice(SOFTMAX_REWEIGHTED)),
                ("power", Value::Int(1)),
                ("shift", Value::Flag(false)),
            ],
        },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/softplus_reweighting.wgsl")),
    plug: Plug::normalizer::<SoftplusReweighting>(),
    exhibits: super::exhibits::softplus_reweighting::ALL,
};
