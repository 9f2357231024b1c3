//! # MInference: a sparse shape for every head
//!
//! The maps of long prompts have three shapes: first keys and a window, a few columns and diagonals, or blocks. Each head
//! gets the shape that keeps most of its weight on calibration texts; columns, diagonals and blocks are found anew in each
//! prompt. Lower `budget`: with `a_shape` what lies in the middle is lost first, with `vertical_slash` it stays as long as
//! one of the last queries looks at it.
//!
//! ## Definition
//!
//! ```text
//! t                = most keys per row: n·t - t(t-1)/2 ≤ budget · n(n+1)/2 for n tokens; everything is kept when t = n
//! a_shape          j < g  or  i - j < t - g                                    g = split · t
//! vertical_slash   j in V  or  i - j in O                                      |V| = split · t, |O| = t - |V|, at least 4
//!   A              = softmax rows of the last `last_queries` queries
//!   V, O           = largest Σ_i A[i,j], largest Σ_i A[i,i-o]; the first 4 columns and 8 smallest offsets before all others
//! block            block of j among the t / block best of the block of i: its own, then the largest mean q · mean k
//! auto             of a_shape (split 0.2), vertical_slash (0.015, 0.05, 0.25, 0.94) and block, per head, the one that on
//!                  texts keeps the largest weight, or has the smallest |o' - o| / |o|: o the mix of values, o' that under
//!                  the shape
//! ```
//!
//! With `tiles`, diagonals are loaded as the kernel does: for each block of queries the offsets are walked from large to
//! small, each asks for one block of keys, and neighbouring blocks merge into ranges that grow by whole blocks. Everything
//! loaded is used, so more than the budget is kept. A pass that goes on behind a cache is a decode step, and dense.
//!
//! ## Shapes
//!
//! scores `[B,H,Q,K]` → keep `[B,H,Q,K]`; measured per layer: `shapes` `[H]`, (candidate + ½) / 6.
//!
//! ## Neutral setting
//!
//! `budget = 1` keeps everything in every shape; so does `pattern = dense`.
//!
//! ## Errors
//!
//! None beyond parameter ranges. Every shape keeps the diagonal, so no row is empty. Where there is no model to measure,
//! shapes are drawn evenly.
//!
//! ## Numerics
//!
//! Sums of weights and of scores are ranked, of equal ones the last; the forced ones first of all, smallest index first.
//! Sums that differ by rounding alone may change places between devices.
//!
//! ## Source
//!
//! Jiang, Li, Zhang, Wu, Luo, Ahn, Han, Abdi, Li, Lin, Yang, Qiu, "MInference 1.0: Accelerating Pre-filling for
//! Long-Context LLMs via Dynamic Sparse Attention", NeurIPS 2024, read from the authors' code (microsoft/MInference): the
//! estimates, the forced columns and offsets, the merge of tiles, and the search that keeps the largest weight.
//!
//! - Sizes are shares of the prompt instead of fixed numbers of keys, and 4, 8 and 16 instead of 30, 100 and 64.
//! - All candidates get the same t; the code's budgets differ, and it stores a winning a_shape as vertical_slash.
//! - A query block always keeps its own block. In the code it competes.
//! - The search judges a shape by the weight it keeps, as the code's search does that is called, or by the error of the
//!   output, as the paper's text has it (`judge`). Weight is the default since it does better here, see below.
//! - Which later tokens follow decides what an earlier row keeps: the method is for prompts that are read at once.
//! - A key that only early queries need is lost: the estimate looks at the last queries alone.
//!
//! Measured on stories-3m over 452 tokens of an unseen story, a fifth of the pairs: loss 3.293 exact, 3.38 with shapes found
//! per head, and the same with any one shape for all. An ordinary story tells the shapes apart as little as it needs what
//! lies far back. Needles do: of a hundred, circuits-2m finds 70 with the shapes that were found, 53 with vertical-slash and
//! 3 with A-shapes, at KLs of 2.0, 2.6 and 6.3 nats (`tests/golden/papers.needles.json`); judged by the error of their outputs
//! the shapes find 56, and cost 0.092 nats over the story in place of 0.088. All are found without a mask, so
//! that a fifth of the pairs is too little here.

use super::minference_shapes::{CANDIDATES, Seen, Shape, Sizes, best, kept};
use super::{
    Fill, Grid, Input, Law, Mechanism, Memory, Paper, Place, Plug, Probed, Rows, Selected, Selector, Stage, Tolerance,
};
use crate::catalogue::Provenance;
use crate::hook::Array;
use crate::spec::{Params, Value, choice};

crate::params! {
    /// Controls of MInference.
    pub struct MinferenceParams {
        /// The shape of all heads, or for each head the one that keeps most of its weight.
        pattern: u32 = 0, choice("auto", "a_shape", "vertical_slash", "block", "dense");
        /// Share of the causal pairs that may be kept.
        budget: f32 = 0.2, real(0.02, 1.0, 0.01);
        /// Share of a row's keys that goes to first keys or to columns, where the shape is not found by itself.
        split: f32 = 0.25, real(0.0, 1.0, 0.05);
        /// How many last queries tell which columns and diagonals matter.
        last_queries: i32 = 16, int(4, 64, 1), unit "tokens";
        /// Tokens of a block.
        block: i32 = 16, int(8, 64, 8), unit "tokens";
        /// Whether diagonals are loaded in whole blocks, as a kernel does, which keeps more than the budget.
        tiles: bool = false, flag();
        /// What the search for shapes reads: ordinary texts, or random tokens that stand twice.
        search: u32 = 0, choice("texts", "repeats");
        /// What the search judges a shape by: the weight it keeps, or how far what it mixes is off.
        judge: u32 = 0, choice("weight", "error");
    }
}

const AUTO: u32 = word("pattern", "auto");
pub(super) const A_SHAPE: u32 = word("pattern", "a_shape");
pub(super) const VERTICAL_SLASH: u32 = word("pattern", "vertical_slash");
pub(super) const DENSE: u32 = word("pattern", "dense");
const REPEATS: u32 = word("search", "repeats");
const ERROR: u32 = word("judge", "error");

const fn word(key: &str, word: &str) -> u32 {
    choice::<MinferenceParams>(key, word)
}

struct Minference;

impl Selector for Minference {
    type Params = MinferenceParams;

    const INPUTS: &'static [Input] = &[Input { name: "shapes", axes: "H", other: 0, fill: Fill::Measured(shapes) }];

    fn select(p: &MinferenceParams, at: &Grid, rows: &Rows, _memory: &mut Memory) -> Selected {
        if p.pattern == DENSE || at.first_query > 0 {
            return Selected { keep: at.causal(), bias: None };
        }
        let shape = rows.scores.dims();
        let scores: Vec<f32> = rows.scores.clone().into_data().iter().collect();
        let of_head = |(index, scores): (usize, &[f32])| kept(of(p, at, index % at.heads), &sizes(p), scores, at.keys);
        let keep = scores.chunks(at.queries * at.keys).enumerate().flat_map(of_head);
        let keep = at.tensor(keep.map(|keep| f32::from(u8::from(keep))).collect(), shape);
        Selected { keep: keep.greater_elem(0.5), bias: None }
    }

    fn stages(p: &MinferenceParams, at: &Place) -> Option<Vec<Stage>> {
        let blocks = at.keys.div_ceil(p.block as usize);
        Some(match p.pattern {
            DENSE => Vec::new(),
            A_SHAPE => vec![Stage::new("choose_rows", "band", "chosen")],
            _ => {
                let mut stages = vec![
                    Stage::new("attend_rows", "", "dense"),
                    Stage::new("token_sums", "peak", "peaks").count(2).over(1),
                    Stage::new("token_sums", "weigh", "sums").of_keys().count(2).over(p.last_queries as usize),
                    Stage::new("token_sums", "pool", "blocks").count(blocks).over((p.block * p.block) as usize),
                    Stage::new("top_rows", "rank", "tops").count(2 + blocks),
                ];
                stages.extend(
                    p.tiles.then(|| Stage::new("token_sums", "load", "loaded").of_keys().count(blocks).over(1)),
                );
                let choose = if p.tiles { "choose_tiles" } else { "choose" };
                stages.push(Stage::new("choose_rows", choose, "chosen"));
                stages
            }
        })
    }
}

pub(super) fn sizes(p: &MinferenceParams) -> Sizes {
    Sizes { budget: p.budget, last: p.last_queries as usize, block: p.block as usize, tiles: p.tiles }
}

/// The shape of one head.
pub(super) fn of(p: &MinferenceParams, at: &Grid, head: usize) -> Shape {
    match p.pattern {
        AUTO => {
            let place = at.inputs.first().and_then(|shapes| shapes.data.get(head)).copied().unwrap_or(0.0);
            CANDIDATES[((place * CANDIDATES.len() as f32) as usize).min(CANDIDATES.len() - 1)]
        }
        A_SHAPE => Shape::AShape { share: p.split },
        VERTICAL_SLASH => Shape::VerticalSlash { share: p.split },
        _ => Shape::Block,
    }
}

/// `shapes` of every layer: the search.
fn shapes(values: &[Value], probed: &Probed) -> Vec<f32> {
    let p = MinferenceParams::from_values(values);
    let [of_probes, of_texts] = &probed.values;
    let (maps, values) = if p.search == REPEATS { (&probed.patterns, of_probes) } else { (&probed.texts, of_texts) };
    let Some(n) = maps.first().and_then(|map| map.shape.last()).copied() else { return Vec::new() };
    let (group, size) = ((probed.heads / probed.kv_heads.max(1)).max(1), n * probed.width);
    let of_head = |index: usize| {
        let one = |(map, values): (&'_ Array, &'_ Array)| {
            let weights = map.data.get(index * n * n..(index + 1) * n * n)?.to_vec();
            let values = values.data.get(index / group * size..(index / group + 1) * size)?.to_vec();
            Some(Seen { weights, values: if p.judge == ERROR { values } else { Vec::new() } })
        };
        let seen: Vec<Seen> = maps.iter().zip(values).filter_map(one).collect();
        (best(&sizes(&p), &seen, n) as f32 + 0.5) / CANDIDATES.len() as f32
    };
    (0..probed.layers * probed.heads).map(of_head).collect()
}

/// Sparse shapes of whole prompts.
pub const MECHANISM: Mechanism = Mechanism {
    id: "minference",
    name: "MInference",
    summary: "Reads a prompt sparsely, each head in the shape that keeps most of its weight.",
    paper: Paper {
        number: Some(58),
        title: "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
        authors: "Jiang, Li, Zhang, Wu, Luo, Ahn, Han, Abdi, Li, Lin, Yang, Qiu",
        year: 2024,
        url: "https://arxiv.org/abs/2407.02490",
        place: "§3, algorithms 1–3",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::RowsSumToOne(&[]),
        Law::ShiftInvariant(&[]),
        Law::ReducesTo { other: "softmax", at: &[("budget", Value::Real(1.0))] },
        Law::ReducesTo { other: "softmax", at: &[("pattern", Value::Choice(DENSE))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/minference.wgsl")),
    plug: Plug::selector::<Minference>(),
    exhibits: super::exhibits::minference::ALL,
};
