//! # Halo attention: a block of queries shares its own tokens and a few before them
//!
//! The text is cut into blocks. Every query sees its own block up to itself, and the `halo` tokens before the block, the
//! same for the whole block: on a GPU that is one dense product per block instead of one window per query. With `halo = 0`
//! nothing crosses a block's edge, and the first token of each block is alone; raise `halo` and watch the loss just after
//! the edges fall.
//!
//! ## Definition
//!
//! ```text
//! start[q]  = block · ⌊q / block⌋                        the first token of the query's block
//! keep[q,k] = start[q] - halo ≤ k ≤ q
//! ```
//!
//! The paper's b and h are `block` and `halo`.
//!
//! ## Shapes
//!
//! keep `[1,1,Q,K]`, the same for every head and layer.
//!
//! ## Neutral setting
//!
//! `block` at least the number of tokens: plain causal attention. `block = 1` is a sliding window of `halo + 1` tokens.
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
//! Vaswani, Ramachandran, Srinivas, Parmar, Hechtman, Shlens, "Scaling Local Self-Attention for Parameter Efficient Visual
//! Backbones", CVPR 2021, section 3: blocked local attention with a halo.
//!
//! - A reconstruction: the paper's blocks are squares of an image with a halo on every side. The form for one causal axis
//!   is ours: the halo lies before the block only, and inside it the causal mask holds.
//! - The paper's relative position terms, its attention down-sampling and its network are not part of this; keys keep the
//!   positions the model gives them.
//! - Tokens before the text, the paper's padding, do not exist here and get no weight.
//! - Measured on stories-3m with blocks of 16: without a halo the loss of the first token of a block rises from 3.98 to 5.59
//!   nats and that of the last one not at all; a halo of 8 leaves 4.40, one of 32 leaves 4.07.

use super::{Grid, Law, MaskMod, Mechanism, Paper, Plug, Tolerance};
use crate::catalogue::Provenance;
use crate::spec::Value;
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of halo attention.
    pub struct HaloAttentionParams {
        /// How many queries share one stretch of keys.
        block: i32 = 16, int(1, 512, 1), unit "tokens";
        /// How many tokens before the block they see as well.
        halo: i32 = 8, int(0, 128, 1), unit "tokens";
    }
}

struct HaloAttention;

impl MaskMod for HaloAttention {
    type Params = HaloAttentionParams;

    fn keep(p: &HaloAttentionParams, at: &Grid) -> Tensor<4, Bool> {
        let start = at.query().int().div_scalar(p.block) * p.block; // [1,1,Q,1]
        let within = (at.key().int() - start + p.halo).greater_equal_elem(0); // [1,1,Q,K]
        at.causal().bool_and(within)
    }
}

/// Blocks of queries with a shared halo.
pub const MECHANISM: Mechanism = Mechanism {
    id: "halo_attention",
    name: "Halo attention",
    summary: "Lets each block of queries see its own tokens and a shared stretch just before them.",
    paper: Paper {
        number: Some(60),
        title: "Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
        authors: "Vaswani, Ramachandran, Srinivas, Parmar, Hechtman, Shlens",
        year: 2021,
        url: "https://arxiv.org/abs/2103.12731",
        place: "§3, blocked local attention; the causal form is ours",
        provenance: Provenance::Reconstruction,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("block", Value::Int(512)), ("halo", Value::Int(0))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/halo_attention.wgsl")),
    plug: Plug::mask_mod::<HaloAttention>(),
    exhibits: super::exhibits::halo_attention::ALL,
};
