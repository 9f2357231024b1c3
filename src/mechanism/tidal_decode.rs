//! # TidalDecode: keys chosen in two layers, kept in the layers between
//!
//! The keys that get the most weight are much the same from layer to layer. So one early layer looks at everything and
//! writes down its `budget` best keys, a layer in the middle does it once more, and all other layers see only what was
//! written down last. Lower `budget`, then switch `reselect` off: the late layers lose more than the early ones, because
//! the one list they share grows old.
//!
//! ## Definition
//!
//! ```text
//! layers < s               full attention
//! layers s and c           full attention; T[h,q] = the min(budget, q+1) keys with the largest score, kept for later layers
//! all others               keep[h,q,k] = k in T[h,q] of the last layer that chose, or k = q
//! s, c                     1 for at most 6 layers, else 2; round(0.4 L), at least s + 1        places = auto
//! score of a list          the head's own, the largest of its key–value group, or the mean of all heads
//!
//! lists = every_layer      from s on each layer chooses for itself and sees only its choice: the oracle
//! lists = window           from s on each layer sees min(4, budget - 1) first keys and the most recent ones: the plain rival
//! correction = n > 0       behind every n decoded tokens a dense run of these overwrites their keys and values in the cache
//! ```
//!
//! Each row is one decode step, so a forward pass shows all of them at once. Rows before `prompt` are read densely, as the
//! prompt is. Corrected, row q sees keys before prompt + ⌊(q - prompt) / n⌋·n as a dense pass makes them and later ones as
//! its own layers did; a pass runs both streams side by side. The paper's k is `budget`, its token-selection and
//! re-selection layers are `select_layer` and `reselect_layer`.
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]` → keep `[B,H,Q,K]`; between layers the list as marks `[B,H,Q,K]`.
//!
//! ## Neutral setting
//!
//! `budget` at least the number of tokens: every list is everything. So is `prompt`: nothing is decoded.
//!
//! ## Errors
//!
//! None beyond parameter ranges; a layer beyond the last means the last. A query always sees itself.
//!
//! ## Numerics
//!
//! Of equal scores the most recent key is taken; those that differ by rounding alone may change places between devices.
//!
//! ## Source
//!
//! Yang, Zhang, Chen, Li, Jia, "TidalDecode: Fast and Accurate LLM Decoding with Position Persistent Sparse Attention",
//! ICLR 2025, read from the authors' code (DerrickYLJ/TidalDecode): layer roles, raw-product top-k, per-head lists.
//!
//! - Scores are ranked after score mods and masks, which the paper does not have; without them they are raw products.
//! - The current token is always seen; the tie rule, the shared lists and the layers of small models are ours.
//! - The correction is off, as in the paper's results. A stack that corrects runs on the processor.
//!
//! Measured on stories-3m (six layers, s = 1, c = 2), an unseen story: of their own 16 best keys the late layers find more
//! in the middle layer's list than in the early one's, and neighbours share more than layers far apart, as in the paper.
//! 228 tokens, 16 keys: loss +0.05 with two lists, +0.22 with one, +0.02 if each layer chooses, +0.19 with first and recent
//! keys. 452 tokens, 32 keys: +0.145, +0.12, +0.01, +0.12; corrected every 64 tokens +0.142, after each +0.141. Of a hundred
//! needles circuits-2m finds 99, 23, 100 and 4 (`tests/golden/papers.selected.json`, `papers.needles.json`).

use super::role::either;
use super::{
    Corrects, Grid, Law, MASKED, Mechanism, Memory, Paper, Place, Plug, Rows, Selected, Selector, Stage, Tolerance,
};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of TidalDecode.
    pub struct TidalDecodeParams {
        /// Keys of a list.
        budget: i32 = 16, int(1, 512, 1), unit "keys";
        /// What the other layers see: the last list, a list of their own, or first and recent keys.
        lists: u32 = 0, choice("tidal", "every_layer", "window");
        /// Whether a middle layer chooses anew.
        reselect: bool = true, flag();
        /// Which layers choose: by the number of layers, or those below.
        places: u32 = 0, choice("auto", "given");
        /// The layer that chooses first; layers before it see everything.
        select_layer: i32 = 2, int(0, 62, 1);
        /// The layer that chooses anew.
        reselect_layer: i32 = 13, int(1, 63, 1);
        /// Whose scores make a list: each head its own, or one list for the heads of a key–value group or for all.
        heads: u32 = 0, choice("each", "group", "all");
        /// How many first tokens are read densely, as a prompt.
        prompt: i32 = 0, int(0, 2048, 1), unit "tokens";
        /// After how many decoded tokens these are computed once more, densely, for the cache; 0 for never.
        correction: i32 = 0, int(0, 512, 1), unit "tokens";
    }
}

pub(super) const TIDAL: u32 = choice::<TidalDecodeParams>("lists", "tidal");
pub(super) const EVERY_LAYER: u32 = choice::<TidalDecodeParams>("lists", "every_layer");
pub(super) const WINDOW: u32 = choice::<TidalDecodeParams>("lists", "window");
const AUTO: u32 = choice::<TidalDecodeParams>("places", "auto");
const GROUP: u32 = choice::<TidalDecodeParams>("heads", "group");
const ALL_HEADS: u32 = choice::<TidalDecodeParams>("heads", "all");
/// Most first keys of the window that stands beside the lists.
const SINKS: i32 = 4;
/// Name in memory: marks `[B,H,Q,K]` of the list chosen last.
const LIST: &str = "list";

/// What a layer does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layer {
    /// Sees everything.
    Full,
    /// Sees everything and writes the list.
    Chooses,
    /// Sees the list.
    Sparse,
}

struct TidalDecode;

impl Selector for TidalDecode {
    type Params = TidalDecodeParams;

    fn select(p: &TidalDecodeParams, at: &Grid, rows: &Rows, memory: &mut Memory) -> Selected {
        let everything = || Selected { keep: at.causal().bool_or(at.causal().bool_not()), bias: None };
        let layer = layer(p, at.layer, at.layers);
        if layer == Layer::Full {
            return everything();
        }
        let list = match p.lists {
            WINDOW => Some(window(p, at)),
            TIDAL if layer == Layer::Sparse => memory.get(LIST, 0),
            _ => Some(best(p, at, rows)),
        };
        // Absent in a step that was given no earlier layer.
        let Some(list) = list else { return everything() };
        if layer == Layer::Chooses {
            memory.put(LIST, 0, list);
            return everything();
        }
        let always = at.distance().equal_elem(0.0).bool_or(dense(p, at));
        Selected { keep: either(list.greater_elem(0.5), always), bias: None }
    }

    fn corrects(p: &TidalDecodeParams) -> Option<Corrects> {
        (p.correction > 0).then_some(Corrects { prompt: p.prompt as usize, every: p.correction as usize })
    }

    fn stages(p: &TidalDecodeParams, at: &Place) -> Option<Vec<Stage>> {
        let choose = [Stage::new("attend_rows", "", "scores"), Stage::new("top_rows", "rank", "list").count(0)];
        let see = Stage::new("choose_rows", "choose", "chosen");
        Some(match (layer(p, at.layer, at.layers), p.lists) {
            (Layer::Full, _) => Vec::new(),
            (_, WINDOW) => vec![Stage::new("choose_rows", "window", "chosen")],
            (Layer::Chooses, _) => choose.into(),
            (Layer::Sparse, TIDAL) => vec![see.needs("list")],
            (Layer::Sparse, _) => choose.into_iter().chain([see]).collect(),
        })
    }
}

/// What this layer does.
pub(super) fn layer(p: &TidalDecodeParams, layer: usize, layers: usize) -> Layer {
    let auto = p.places == AUTO;
    let select = if auto { 1 + usize::from(layers > 6) } else { p.select_layer as usize };
    let select = select.min(layers.saturating_sub(1));
    // round(0.4 L)
    let reselect = if auto { ((2 * layers + 2) / 5).max(select + 1) } else { p.reselect_layer as usize };
    if layer < select {
        Layer::Full
    } else if p.lists == TIDAL && (layer == select || (p.reselect && layer == reselect)) {
        Layer::Chooses
    } else {
        Layer::Sparse
    }
}

/// True for the rows of the prompt, `[1,1,Q,K]`.
fn dense(p: &TidalDecodeParams, at: &Grid) -> Tensor<4, Bool> {
    at.query().lower_elem(p.prompt as f32).expand([1, 1, at.queries, at.keys])
}

/// Marks of first and recent keys, `budget` together, `[1,1,Q,K]`.
fn window(p: &TidalDecodeParams, at: &Grid) -> Tensor<4> {
    let sinks = SINKS.min(p.budget - 1);
    let recent = at.distance().lower_elem((p.budget - sinks) as f32);
    either(recent, at.key().lower_elem(sinks as f32)).float()
}

/// Marks of the `budget` keys with the largest scores of each row, `[B,H,Q,K]`.
fn best(p: &TidalDecodeParams, at: &Grid, rows: &Rows) -> Tensor<4> {
    let shape = rows.scores.dims();
    let scores: Vec<f32> = rows.scores.clone().into_data().iter().collect();
    let pairs = at.queries * at.keys;
    let group = (at.heads / at.kv_heads.max(1)).max(1);
    let mut marks = vec![0.0; scores.len()];
    for row in 0..shape[0] * at.heads * at.queries {
        let (batch_head, query) = (row / at.queries, row % at.queries);
        let (batch, head) = (batch_head / at.heads * at.heads, batch_head % at.heads);
        let heads = match p.heads {
            GROUP => head / group * group..(head / group + 1) * group,
            ALL_HEADS => 0..at.heads,
            _ => head..head + 1, // each
        };
        let value = |key: usize| {
            let of_heads = heads.clone().map(|head| scores[(batch + head) * pairs + query * at.keys + key]);
            let (mut most, mut sum, mut count) = (MASKED, 0.0, 0.0);
            for score in of_heads.filter(|score| *score != MASKED) {
                (most, sum, count) = (f32::max(most, score), sum + score, count + 1.0);
            }
            if p.heads == ALL_HEADS && count > 0.0 { sum / count } else { most }
        };
        let mut keys: Vec<(f32, usize)> = (0..at.keys).map(|key| (value(key), key)).collect();
        keys.retain(|(value, _)| *value != MASKED);
        keys.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        for (_, key) in keys.into_iter().take(p.budget as usize) {
            marks[row * at.keys + key] = 1.0;
        }
    }
    at.tensor(marks, shape)
}

/// Lists of keys that layers share.
pub const MECHANISM: Mechanism = Mechanism {
    id: "tidal_decode",
    name: "TidalDecode",
    summary: "Chooses the best keys in two layers and lets all other layers see only these.",
    paper: Paper {
        number: Some(62),
        title: "TidalDecode: Fast and Accurate LLM Decoding with Position Persistent Sparse Attention",
        authors: "Yang, Zhang, Chen, Li, Jia",
        year: 2024,
        url: "https://arxiv.org/abs/2410.05076",
        place: "§3, algorithm 1 and cache correction",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::RowsSumToOne(&[]),
        Law::Prefix(&[("lists", Value::Choice(EVERY_LAYER)), ("budget", Value::Int(4))]),
        Law::Prefix(&[("budget", Value::Int(4))]),
        Law::ReducesTo { other: "softmax", at: &[("budget", Value::Int(512))] },
        Law::ReducesTo { other: "softmax", at: &[("lists", Value::Choice(EVERY_LAYER)), ("budget", Value::Int(512))] },
        Law::ReducesTo {
            other: "streaming_window",
            at: &[("lists", Value::Choice(WINDOW)), ("budget", Value::Int(20))],
        },
        Law::ReducesTo {
            other: "softmax",
            at: &[("lists", Value::Choice(WINDOW)), ("budget", Value::Int(1)), ("prompt", Value::Int(2048))],
        },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/tidal_decode.wgsl")),
    plug: Plug::selector::<TidalDecode>(),
    exhibits: super::exhibits::tidal_decode::ALL,
};
