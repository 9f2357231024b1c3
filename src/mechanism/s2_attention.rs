//! # S2-Attention: every head keeps its own stripes of the text
//!
//! The text is cut into blocks. Each head sees the last few blocks and, beyond them, every `stride`-th block; the stripes
//! of one head stand beside those of the next, so each head is sparse while together they cover everything. Switch
//! `heterogeneous` off and all heads keep the same stripes: most of the past is then gone for the whole layer.
//!
//! ## Definition
//!
//! ```text
//! Q, K            = ⌊q / block⌋, ⌊k / block⌋
//! shift           = max(1, ⌊stride / H⌋)
//! g[h]            = key–value head of h when heterogeneous, else 0
//! o[l]            = l when rotate, else 0
//! sparse[h,q,k]   = Q - K < local_blocks  or  (K + g[h]·shift + o[l]) mod stride = 0
//! keep[h,q,k]     = k ≤ q  and  (sparse  or  h belongs to the last dense_heads key–value heads  or  l is a dense layer)
//! ```
//!
//! The paper's b, w_l, s and h_q are `block`, `local_blocks`, `stride` and H. Layer l is dense when `dense_every` is not 0
//! and l + 1 is a multiple of it. Query heads that share a key–value head share its stripes.
//!
//! ## Shapes
//!
//! keep `[1,H,Q,K]`; with `rotate` or `dense_every` it differs by layer.
//!
//! ## Neutral setting
//!
//! `stride = 1`: plain causal attention, as is any setting whose local blocks hold the whole text.
//!
//! ## Errors
//!
//! None beyond parameter ranges; more dense heads than there are make every head dense. The query's own block is local, so
//! no row is empty.
//!
//! ## Numerics
//!
//! Positions are whole numbers.
//!
//! ## Source
//!
//! Lin, Zhang, Ge and others, "Efficient LLM Training and Serving with Heterogeneous Context Sharding among Attention
//! Heads" (later S2-Attention), 2024. The rule of the mask, the shift from head to head and the dense heads are those of
//! the authors' library (linxihui/dkernel).
//!
//! - The heads of a layer cover the whole past only when their stripes hit every remainder modulo `stride`, which needs at
//!   least `stride` key–value heads and a shift that skips none: four heads with a stride of 6 or 8 leave blocks that no
//!   head of the layer sees. The paper speaks of full coverage without this condition.
//! - `rotate` moves the stripes by one block from layer to layer, which restores coverage over layers; it is ours, the
//!   library has one fixed offset.
//! - The paper trains with the mask; `cargo attn train --stack s2_attention` does so. On a loaded model, which has spread its work over heads
//!   otherwise, quality falls: that shows what training would have to mend, not how a trained S2 model does.
//! - Measured on stories-3m without training: the shards cost 0.11 nats of loss whether heads differ or not, but a passage
//!   that stands a second time costs 0.08 nats less when they do and 0.04 when they do not (0.40 in the plain model; nothing
//!   under a window of about as many bytes). Of the needles of circuits-2m it finds 51 of a hundred either way, fewer than
//!   the 63 that such a window finds (`tests/golden/papers.needles.json`).
//! - A stripe is kept for ever and any other block is never needed again once it is no longer local. The price of a pane
//!   counts accordingly.

use super::{Grid, Law, MaskMod, Mechanism, Paper, Plug, Tolerance};
use crate::catalogue::Provenance;
use crate::spec::Value;
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of S2-Attention.
    pub struct S2AttentionParams {
        /// How many tokens make a block.
        block: i32 = 16, int(1, 64, 1), unit "tokens";
        /// How many most recent blocks every head sees, the query's own included.
        local_blocks: i32 = 2, int(1, 16, 1), unit "blocks";
        /// Beyond those, one block in so many stays visible; at 1 all do.
        stride: i32 = 4, int(1, 16, 1), unit "blocks";
        /// Whether each head keeps other stripes than the next.
        heterogeneous: bool = true, flag();
        /// How many key–value heads, the last ones, see everything.
        dense_heads: i32 = 0, int(0, 16, 1), unit "heads";
        /// One layer in so many sees everything; at 0 none does.
        dense_every: i32 = 0, int(0, 4, 1), unit "layers";
        /// Whether the stripes move on by one block from layer to layer.
        rotate: bool = false, flag();
    }
}

struct S2Attention;

impl MaskMod for S2Attention {
    type Params = S2AttentionParams;

    fn keep(p: &S2AttentionParams, at: &Grid) -> Tensor<4, Bool> {
        let shape = [1, at.heads, at.queries, at.keys];
        let layer = at.layer as i32;
        let query_block = at.query().int().div_scalar(p.block); // [1,1,Q,1]
        let key_block = at.key().int().div_scalar(p.block); // [1,1,1,K]
        let local = (query_block - key_block.clone()).lower_elem(p.local_blocks); // [1,1,Q,K]
        let shift = (p.stride / at.heads as i32).max(1);
        let kv_head = at.kv_head().int(); // [1,H,1,1]
        let g = if p.heterogeneous { kv_head.clone() } else { kv_head.zeros_like() };
        let o = if p.rotate { layer } else { 0 };
        let stripe = (key_block + g * shift + o).remainder_scalar(p.stride).equal_elem(0); // [1,H,1,K]
        let dense_layer = p.dense_every > 0 && (layer + 1) % p.dense_every == 0;
        let first_dense = if dense_layer { 0 } else { at.kv_heads as i32 - p.dense_heads };
        let dense = kv_head.greater_equal_elem(first_dense); // [1,H,1,1]
        let sparse = local.expand(shape).bool_or(stripe.expand(shape));
        at.causal().expand(shape).bool_and(sparse.bool_or(dense.expand(shape)))
    }
}

/// Local blocks, and stripes that move from head to head.
pub const MECHANISM: Mechanism = Mechanism {
    id: "s2_attention",
    name: "S2-Attention",
    summary: "Gives each head a recent window and its own stripes of older blocks.",
    paper: Paper {
        number: Some(43),
        title: "Efficient LLM Training and Serving with Heterogeneous Context Sharding among Attention Heads",
        authors: "Lin, Zhang, Ge and others",
        year: 2024,
        url: "https://arxiv.org/abs/2407.17678",
        place: "the sharding rule of the authors' library",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("stride", Value::Int(1))] },
        Law::ReducesTo { other: "softmax", at: &[("block", Value::Int(64)), ("local_blocks", Value::Int(8))] },
        Law::ReducesTo { other: "softmax", at: &[("dense_heads", Value::Int(16))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/s2_attention.wgsl")),
    plug: Plug::mask_mod::<S2Attention>(),
    exhibits: super::exhibits::s2_attention::ALL,
};
