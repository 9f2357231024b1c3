//! # Softmax: scores become a probability over keys
//!
//! Plain scaled-dot-product attention. Each row of scores is exponentiated and divided by its sum, so a head can never
//! attend to nothing: weight it has no use for must rest somewhere. Raising `temperature` evens the rows out, lowering it
//! sharpens them; with `off_by_one` a row may sum to less than one.
//!
//! ## Definition
//!
//! ```text
//! e[q,k]       = exp(s[q,k] / temperature - m[q])        m[q] = max over kept keys (and 0 when off_by_one)
//! pattern[q,k] = e[q,k] / (Σ_k e[q,k] + o)               o = exp(-m[q]) when off_by_one, else 0
//! ```
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]` → pattern `[B,H,Q,K]`.
//!
//! ## Neutral setting
//!
//! `temperature = 1`, `off_by_one = false`: softmax itself. Every other mechanism reduces to this.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A row that keeps no key yields zeros.
//!
//! ## Numerics
//!
//! The row maximum is subtracted first; with `off_by_one` the maximum includes the implicit zero score, so the
//! denominator is at least one and never overflows.
//!
//! ## Source
//!
//! Vaswani et al., "Attention Is All You Need", 2017, equation 1, read from the text. `off_by_one` adds one to the
//! denominator, an implicit extra key with score zero and value zero, as in Miller, "Attention Is Off By One", 2023.

use super::{Grid, Law, MASKED, Mechanism, Normalizer, Paper, Plug, Rows, Tolerance, Weighted};
use crate::catalogue::Provenance;
use crate::spec::Value;

crate::params! {
    /// Controls of softmax.
    pub struct SoftmaxParams {
        /// Divides the scores; above 1 rows even out, below 1 they sharpen.
        temperature: f32 = 1.0, real(0.05, 4.0, 0.05);
        /// Adds one to the denominator, so that a head may attend to nothing.
        off_by_one: bool = false, flag();
    }
}

struct Softmax;

impl Normalizer for Softmax {
    type Params = SoftmaxParams;

    fn weigh(p: &SoftmaxParams, _at: &Grid, rows: Rows) -> Weighted {
        let top = rows.scores.clone().detach().max_dim(3); // [B,H,Q,1]; m cancels, so no gradient flows through it
        // A row that keeps nothing has only MASKED scores, whose exponents would all be one.
        let live = top.clone().greater_elem(MASKED / 2.0).float();
        let s = if p.temperature == 1.0 { rows.scores } else { rows.scores / p.temperature };
        let m = top / p.temperature;
        let m = if p.off_by_one { m.clamp_min(0.0) } else { m };
        let e = (s - m.clone()).exp();
        let sum = e.clone().sum_dim(3);
        let sum = if p.off_by_one { sum + m.neg().exp() } else { sum };
        Weighted { pattern: e * (live / sum.clamp_min(f32::MIN_POSITIVE)), slot: None }
    }
}

/// Softmax, the variant everything is compared with.
pub const MECHANISM: Mechanism = Mechanism {
    id: "softmax",
    name: "Softmax",
    summary: "Turns each row of scores into a probability over the keys.",
    paper: Paper {
        number: None,
        title: "Attention Is All You Need",
        authors: "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
        year: 2017,
        url: "https://arxiv.org/abs/1706.03762",
        place: "§3.2.1, equation 1",
        provenance: Provenance::Text,
    },
    laws: &[
        Law::Causal,
        Law::RowsSumToOne(&[]),
        Law::Prefix(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo {
            other: "softmax",
            at: &[("temperature", Value::Real(1.0)), ("off_by_one", Value::Flag(false))],
        },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/softmax.wgsl")),
    plug: Plug::normalizer::<Softmax>(),
    exhibits: &[],
};
