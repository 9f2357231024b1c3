//! # Neighborhood attention: each query sees its nearest keys, evenly spaced
//!
//! Each query attends to a fixed number of keys at and before its own position, `dilation` apart. Raise `dilation` and the
//! same number of keys reaches further back, with gaps; switch `alternate` on and every second layer looks close by while
//! the others look far, which reaches everything after a few layers at the cost of one narrow window.
//!
//! ## Definition
//!
//! ```text
//! δ[l]        = 1 in layers 0, 2, 4, … when alternate, else dilation
//! keep[q,k]   = k = q - u·δ[l] for some u = 0 … neighbours - 1
//! ```
//!
//! The paper's k (kernel size) is `neighbours`, its δ is `dilation`, its i and j are q and k. The first queries have fewer
//! keys; the window is not shifted to make up for them, since there is nothing later to see.
//!
//! ## Shapes
//!
//! keep `[1,1,Q,K]`, the same for every head; with `alternate` it differs by layer.
//!
//! ## Neutral setting
//!
//! `neighbours` at least the number of tokens, `dilation = 1`: plain causal attention. `neighbours = 1` is the other end:
//! every query returns its own value.
//!
//! ## Errors
//!
//! None beyond parameter ranges. Every query keeps itself, so no row is empty.
//!
//! ## Numerics
//!
//! Positions are whole numbers.
//!
//! ## Source
//!
//! Hassani, Hwu, Shi, "Faster Neighborhood Attention: Reducing the O(n²) Cost of Self Attention at the Threadblock Level",
//! 2024: the rule of a causal axis, which is that of the authors' library (SHI-Labs/NATTEN) and its later documentation.
//!
//! - One causal axis. The paper's images have two axes whose windows shift at the border; a text has neither.
//! - The relative bias, which the library does not offer on a causal axis either, is left out.
//! - The paper alternates between no dilation and the largest that fits the grid. A text that grows has no largest, so
//!   `alternate` takes the value of `dilation`.
//! - The paper trains its models. Measured on stories-3m without training: 33 adjacent neighbours cost 0.18 nats of loss, 33
//!   that stand 4 apart 1.79, and 0.81 when only every second layer spreads them. A model that has learned to look at its
//!   nearest tokens cannot bear gaps, so dilation is not for free here.

use super::{Grid, Law, MaskMod, Mechanism, Paper, Plug, Tolerance};
use crate::catalogue::Provenance;
use crate::spec::Value;
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of neighborhood attention.
    pub struct NeighborhoodAttentionParams {
        /// How many keys a query sees, its own included.
        neighbours: i32 = 33, int(1, 512, 1), unit "tokens";
        /// How far apart they stand; at 1 they are adjacent.
        dilation: i32 = 1, int(1, 64, 1), unit "tokens";
        /// Whether every second layer, from the first on, keeps its neighbours adjacent.
        alternate: bool = false, flag();
    }
}

struct NeighborhoodAttention;

impl MaskMod for NeighborhoodAttention {
    type Params = NeighborhoodAttentionParams;

    fn keep(p: &NeighborhoodAttentionParams, at: &Grid) -> Tensor<4, Bool> {
        let close = p.alternate && at.layer.is_multiple_of(2);
        let dilation = if close { 1 } else { p.dilation };
        let distance = at.distance().int(); // [1,1,Q,K]
        let near = distance.clone().lower_elem(p.neighbours * dilation);
        let spaced = distance.remainder_scalar(dilation).equal_elem(0);
        at.causal().bool_and(near.bool_and(spaced))
    }
}

/// The nearest keys, evenly spaced.
pub const MECHANISM: Mechanism = Mechanism {
    id: "neighborhood_attention",
    name: "Neighborhood attention",
    summary: "Lets each query see a fixed number of keys at and before its own position, adjacent or spaced.",
    paper: Paper {
        number: Some(47),
        title: "Faster Neighborhood Attention: Reducing the O(n^2) Cost of Self Attention at the Threadblock Level",
        authors: "Hassani, Hwu, Shi",
        year: 2024,
        url: "https://arxiv.org/abs/2403.04690",
        place: "the neighbourhood of a causal axis, with dilation",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("neighbours", Value::Int(512))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/neighborhood_attention.wgsl")),
    plug: Plug::mask_mod::<NeighborhoodAttention>(),
    exhibits: super::exhibits::neighborhood_attention::ALL,
};
