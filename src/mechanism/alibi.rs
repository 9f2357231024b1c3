//! # ALiBi: scores fall with distance
//!
//! Attention with linear biases. Each score is lowered in proportion to the distance between query and key, steeply in
//! the first head and gently in the last, so the first heads see little more than their neighbourhood. Raising
//! `strength` draws every row towards the diagonal; at 0 nothing changes.
//!
//! ## Definition
//!
//! ```text
//! slope[h]  = 2^(-slope_range · h / H)                  h = 1 … H
//! s'[h,q,k] = s[h,q,k] - strength · slope[h] · (q - k)
//! ```
//!
//! The paper's m is `slope`, its i and j are q and k.
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]` → scores `[B,H,Q,K]`; slope `[1,H,1,1]`, distance `[1,1,Q,K]`.
//!
//! ## Neutral setting
//!
//! `strength = 0`: the scores stay as they are, at any `slope_range`.
//!
//! ## Errors
//!
//! None beyond parameter ranges.
//!
//! ## Numerics
//!
//! Penalties grow with the distance and never overflow: at most 4 · 512 = 2,048 within a context of 512. Later keys would
//! get a bonus; the causal mask removes them afterwards.
//!
//! ## Source
//!
//! Press, Smith, Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation", ICLR
//! 2022, section 3, read from the text.
//!
//! - `slope_range = 8` gives the paper's slopes; that they can be spread wider or narrower is ours.
//! - For head counts that are no power of two the authors' code mixes two geometric series; here one series serves all.
//! - The paper trains with the penalty and without position embeddings; on a loaded model it acts beside its own positions.

use super::{Grid, Law, Mechanism, Paper, Plug, ScoreMod, Tolerance};
use crate::catalogue::Provenance;
use crate::spec::Value;
use burn::tensor::Tensor;

crate::params! {
    /// Controls of ALiBi.
    pub struct AlibiParams {
        /// How far the head slopes spread, as a power of two.
        slope_range: f32 = 8.0, real(0.0, 16.0, 0.5), unit "octaves";
        /// Weight of the penalty; at 0 the scores stay as they are.
        strength: f32 = 1.0, real(0.0, 4.0, 0.1);
    }
}

struct Alibi;

impl ScoreMod for Alibi {
    type Params = AlibiParams;

    fn score(p: &AlibiParams, at: &Grid, scores: Tensor<4>) -> Tensor<4> {
        let octaves = at.head_ordinal() * (-p.slope_range / at.heads()); // [1,H,1,1]
        let slope = octaves.full_like(2.0).powf(octaves);
        scores - slope * at.distance() * p.strength // distance [1,1,Q,K]
    }
}

/// Attention with linear biases.
pub const MECHANISM: Mechanism = Mechanism {
    id: "alibi",
    name: "ALiBi",
    summary: "Lowers each score in proportion to the distance between query and key.",
    paper: Paper {
        number: None,
        title: "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
        authors: "Press, Smith, Lewis",
        year: 2022,
        url: "https://arxiv.org/abs/2108.12409",
        place: "§3",
        provenance: Provenance::Text,
    },
    laws: &[
        Law::Causal,
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("strength", Value::Real(0.0))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/alibi.wgsl")),
    plug: Plug::score_mod::<Alibi>(),
    exhibits: &[],
};
