//! # Streaming window: a few first tokens and a recent window
//!
//! Each query sees the first few tokens and its most recent ones; everything between is forgotten. A decode then holds a
//! fixed number of keys however long the text grows. Lower `sinks` to 0 and watch: heads that park their weight on the
//! first token lose their resting place, and the loss rises far more than the lost tokens explain.
//!
//! ## Definition
//!
//! ```text
//! keep[q,k] = k ≤ q  and  (k < sinks  or  q - k < window)
//! ```
//!
//! The paper's s and w are `sinks` and `window`, its i and j are q and k. The window counts the query's own token.
//!
//! ## Shapes
//!
//! keep `[1,1,Q,K]`, the same for every head and layer.
//!
//! ## Neutral setting
//!
//! `window` at least the number of tokens: nothing is forgotten. At 512 that is every prompt of the shipped models.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A window of at least 1 keeps the diagonal, so no row is empty.
//!
//! ## Numerics
//!
//! Positions are whole numbers held exactly in f32.
//!
//! ## Source
//!
//! The mask of the streaming heads in Xiao, Tang, Zuo, Guo, Yang, Tang, Fu, Han, "DuoAttention: Efficient Long-Context LLM
//! Inference with Retrieval and Streaming Heads", 2024, section 2, read from the authors' code (mit-han-lab/duo-attention).
//! The idea of pinned first tokens is from Xiao, Tian, Chen, Han, Lewis, "Efficient Streaming Language Models with
//! Attention Sinks" (StreamingLLM), ICLR 2024.
//!
//! - The mask alone, in every head; which heads can bear it (the gates) is the rest of the DuoAttention paper.
//! - The training mask of the code: the window includes the current token. At inference the code holds `window` past
//!   tokens besides the current one; that is `window + 1` here.
//! - Keys keep the positions of the whole text; StreamingLLM renumbers positions within its cache.

use super::{Grid, Law, MaskMod, Mechanism, Paper, Plug, Tolerance};
use crate::catalogue::Provenance;
use crate::spec::Value;
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of the streaming window.
    pub struct StreamingWindowParams {
        /// How many first tokens stay visible to every query.
        sinks: i32 = 4, int(0, 64, 1), unit "tokens";
        /// How many most recent tokens a query sees, its own included.
        window: i32 = 16, int(1, 512, 1), unit "tokens";
    }
}

struct StreamingWindow;

impl MaskMod for StreamingWindow {
    type Params = StreamingWindowParams;

    fn keep(p: &StreamingWindowParams, at: &Grid) -> Tensor<4, Bool> {
        let recent = at.distance().lower_elem(p.window as f32); // [1,1,Q,K]
        let first = at.key().lower_elem(p.sinks as f32).expand(recent.dims());
        at.causal().bool_and(first.bool_or(recent))
    }
}

/// The first tokens and a recent window.
pub const MECHANISM: Mechanism = Mechanism {
    id: "streaming_window",
    name: "Streaming window",
    summary: "Lets each query see only the first few tokens and its most recent ones.",
    paper: Paper {
        number: Some(25),
        title: "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads",
        authors: "Xiao, Tang, Zuo, Guo, Yang, Tang, Fu, Han",
        year: 2024,
        url: "https://arxiv.org/abs/2410.10819",
        place: "§2, the mask of a streaming head",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("window", Value::Int(512))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/streaming_window.wgsl")),
    plug: Plug::mask_mod::<StreamingWindow>(),
    exhibits: &[],
};
