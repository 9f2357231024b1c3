//! # Prefix: the first tokens see each other in both directions
//!
//! The first few tokens are visible to every query, also to those before them; what follows is causal as ever. Raise
//! `prefix` and a square fills in at the top left of every pattern: the tokens of the prefix read what comes after them.
//!
//! ## Definition
//!
//! ```text
//! keep[q,k] = k < prefix  or  (k ≤ q and other masks)
//! ```
//!
//! The paper's p is `prefix`. A pair of the prefix is kept whatever other masks say.
//!
//! ## Shapes
//!
//! keep `[1,1,Q,K]`, the same for every head and layer.
//!
//! ## Neutral setting
//!
//! `prefix = 0`, and 1 as well: the first token is visible to every query anyway.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A prefix longer than the text is the text.
//!
//! ## Numerics
//!
//! Positions are whole numbers. A query of the prefix has seen the token it would predict, so the loss of a pane leaves
//! those queries out and says so; differences to another pane are taken over the same queries.
//!
//! ## Source
//!
//! Gu, Pang, Du, Liu, Zhang, Du, Wang, Lin, "When Attention Sink Emerges in Language Models: An Empirical View", ICLR 2025,
//! section 6, read from the authors' code (sail-sg/Attention-Sink: lit_gpt/model_prefix.py).
//!
//! - The paper trains with the prefix and finds that the sink moves with it. On a model trained causally the first tokens
//!   then carry what they have never carried before; how the sink moves here is a property of that mismatch.
//! - A decode reads the prompt at once and goes on token by token. A prompt shorter than the prefix makes itself the
//!   prefix: tokens drawn later are not seen by earlier ones, as they would be in a pass over the whole text.
//! - The paper's shifted window is the mechanism streaming_window without sinks.
//! - Nothing is trained under a prefix, which shows what is to be predicted. Measured on stories-3m over 32 held-out windows,
//!   a prefix of 8 changes the loss of the tokens behind it by +0.005 ± 0.004 nats against plain attention over the same
//!   tokens (`tests/golden/valid.scores.json`).

use super::{Grid, Law, MaskMod, Mechanism, Paper, Plug, Tolerance};
use crate::catalogue::Provenance;
use crate::spec::Value;
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of the prefix.
    pub struct PrefixLmParams {
        /// How many first tokens every query sees, those before them included.
        prefix: i32 = 8, int(0, 256, 1), unit "tokens";
    }
}

struct PrefixLm;

impl MaskMod for PrefixLm {
    type Params = PrefixLmParams;

    fn keep(_p: &PrefixLmParams, at: &Grid) -> Tensor<4, Bool> {
        at.causal()
    }

    fn reach(p: &PrefixLmParams) -> usize {
        p.prefix as usize
    }
}

/// A prefix that is read in both directions.
pub const MECHANISM: Mechanism = Mechanism {
    id: "prefix_lm",
    name: "Prefix",
    summary: "Lets every query see the first tokens, also those that come after it.",
    paper: Paper {
        number: Some(52),
        title: "When Attention Sink Emerges in Language Models: An Empirical View",
        authors: "Gu, Pang, Du, Liu, Zhang, Du, Wang, Lin",
        year: 2025,
        url: "https://arxiv.org/abs/2410.10781",
        place: "§6, prefix language modelling",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::Prefix(&[("prefix", Value::Int(0))]),
        Law::ReducesTo { other: "softmax", at: &[("prefix", Value::Int(0))] },
        Law::ReducesTo { other: "softmax", at: &[("prefix", Value::Int(1))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/prefix_lm.wgsl")),
    plug: Plug::mask_mod::<PrefixLm>(),
    exhibits: &[],
};
