//! # Routing attention: tokens that belong to the same cluster see each other
//!
//! Queries and keys are sorted into clusters by the nearest of a few centroids, and a query sees the most recent keys of
//! its own cluster, however far back they lie. The centroids learn while the text is read. Set `clustering` to `random`
//! or `blocks` and the same number of keys is found with less sense; raise `clusters` and each becomes smaller.
//!
//! ## Definition
//!
//! ```text
//! x̂           = (x - mean) / √(variance + 1e-6) over D                       of keys, and of queries unless tied
//! μ[c]        = m[c] / n[c];  before the text m = LN(noise), n = 1
//! c*(t)       = argmax_c x̂[t]·μ[c]                                           with the centroids before token t
//! after t     n ← λ n, m ← λ m;  n[c*] += 1 - λ, m[c*] += (1 - λ) k̂[t]       c* of the key; n smoothed by 1e-5 as divisor
//! strict      keep[i,j] = j = i  or  c*(k_j) = c*(q_i) and j among the last `window` such keys before i; softmax
//! paper       lists Q[c], K[c] = the `window` queries and keys with the largest products with the last μ[c];
//!             weight[i,j] = Σ_{c: i in Q[c]} softmax over j ≤ i, j in K[c]  / (number of c with i in Q[c] + 0.01)
//! logits      model: the model's own scores;  unscaled: q̂·k̂;  scaled: q̂·k̂ / √D
//! blocks      keep[i,j] = i and j lie in the same block of `window` tokens, j ≤ i; softmax
//! ```
//!
//! The first `routing` share of the heads routes; the others see their own and the previous block of `window` tokens, with
//! the model's own scores. With `tied` the key stands for the query too. The paper's w is `window`, its λ is `decay`.
//!
//! ## Shapes
//!
//! q `[B,H,Q,D]`, k and v `[B,G,K,D]` → z `[B,H,Q,D]`; first centroids `[H,F,D]` by seed, F = 32.
//!
//! ## Neutral setting
//!
//! One cluster and a `window` as long as the prompt, in every head: softmax.
//!
//! ## Errors
//!
//! None beyond parameter ranges. In `paper` mode a token that no list takes gets nothing from the head.
//!
//! ## Numerics
//!
//! Of equal products the first centroid is nearest, and lists take the last of equal ones; rounding may decide.
//!
//! ## Source
//! Roy, Saffar, Vaswani, Grangier, "Efficient Content-Based Sparse Attention with Routing Transformers", TACL 2021, read
//! from the authors' code (google-research/routing_transformer): normalisation, unscaled logits, lists, the mean with 0.01
//! and the moving average. Left out: learned terms of rank, and the commitment loss. Deliberate differences:
//!
//! - The paper trains model and centroids together and fixes both. Here the model is as loaded, or trained by
//!   `cargo attn train --stack routing_attention`; centroids learn from the keys of the text, so that a cache of keys is all
//!   the state there is. Their average starts at weight 1, not 0.
//! - `strict` and the model's own logits are ours, and the default: a loaded model was trained with scaled scores of
//!   queries and keys that differ. The paper's form is `mode = paper`, `logits = unscaled`, `tied`.
//! - In `paper` mode later tokens decide whether a token is in a list, so decoding does not match. Keys are compared by
//!   position; the code compares ranks, which is the same when tied.
//!
//! Measured on stories-3m, half of the heads: without training clusters cost more than they find. Loss 3.293 exact, 3.448
//! with recent blocks alone, 3.549 with single blocks, 3.821 with random centroids, 3.986 with centroids that learn. Nor do
//! they find needles: circuits-2m 19, 11, 5 and 3 of a hundred in this order (`tests/golden/papers.needles.json`).

use super::routing_attention_clusters::{MOST_CLUSTERS, Tokens, marks, sides, tokens};
use super::{Fill, Grid, Input, Law, Mechanism, Memory, Mixed, Mixer, Paper, Place, Plug, Stage, Tolerance, Vectors};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::{Bool, Tensor};

crate::params! {
    /// Controls of routing attention.
    pub struct RoutingAttentionParams {
        /// Number of clusters.
        clusters: i32 = 8, int(1, 32, 1);
        /// Keys of its cluster that a query sees; for heads that do not route, the length of a block.
        window: i32 = 16, int(1, 512, 1), unit "keys";
        /// Share of heads that route; the others see recent blocks.
        routing: f32 = 0.5, real(0.0, 1.0, 0.05);
        /// Whether a token belongs to its nearest centroid, or centroids take the tokens nearest to them.
        mode: u32 = 0, choice("strict", "paper");
        /// What sorts tokens: centroids that learn, random ones that stay, or position alone.
        clustering: u32 = 0, choice("k_means", "random", "blocks");
        /// How much of the average of a cluster stays with each token.
        decay: f32 = 0.99, real(0.9, 0.9999, 0.0001);
        /// What is compared inside a cluster: the model's scores, or normalised vectors.
        logits: u32 = 0, choice("model", "unscaled", "scaled");
        /// Whether keys stand for queries too.
        tied: bool = false, flag();
    }
}

const PAPER: u32 = word("mode", "paper");
pub(super) const K_MEANS: u32 = word("clustering", "k_means");
pub(super) const BLOCKS: u32 = word("clustering", "blocks");
pub(super) const RANDOM: u32 = word("clustering", "random");
const MODEL: u32 = word("logits", "model");
const UNSCALED: u32 = word("logits", "unscaled");

const fn word(key: &str, word: &str) -> u32 {
    choice::<RoutingAttentionParams>(key, word)
}

struct RoutingAttention;

impl Mixer for RoutingAttention {
    type Params = RoutingAttentionParams;

    const INPUTS: &'static [Input] =
        &[Input { name: "centroids", axes: "HFD", other: MOST_CLUSTERS, fill: Fill::Normal(1.0) }];

    fn mix(p: &RoutingAttentionParams, at: &Grid, given: Vectors, _memory: &mut Memory) -> Mixed {
        let scores = given.scores();
        let shape = scores.dims();
        let routes = at.head_ordinal().lower_equal_elem((p.routing * at.heads() + 0.5).floor()).expand(shape);
        let [q, k] = sides(p, at, &given);
        let logits = match p.logits {
            MODEL => scores.clone(),
            scaling => {
                let scale = if scaling == UNSCALED { 1.0 } else { (given.q.dims()[3] as f32).sqrt().recip() };
                scores.clone().mask_where(routes.clone(), q.clone().matmul(k.clone().swap_dims(2, 3)) * scale)
            }
        };
        let local = softmax(scores, block_distance(p, at).lower_elem(1.5).bool_and(at.causal()).expand(shape));
        let routed = match (p.clustering, p.mode) {
            (BLOCKS, _) => softmax(logits, block_distance(p, at).equal_elem(0.0).bool_and(at.causal()).expand(shape)),
            (_, PAPER) => listed(p, at, &tokens(p, at, q, k), logits),
            _ => softmax(logits, nearest(p, at, &tokens(p, at, q, k)).expand(shape)), // strict
        };
        let pattern = local.mask_where(routes, routed);
        Mixed { z: pattern.clone().matmul(given.values()), pattern: Box::new(move || pattern) }
    }

    fn stages(p: &RoutingAttentionParams, at: &Place) -> Option<Vec<Stage>> {
        let clusters = p.clusters as usize;
        let mut stages = vec![
            Stage::new("attend_rows", "", "scores"),
            Stage::new("token_values", "norm", "q_norm").count(at.width),
            Stage::new("token_values", "norm", "k_norm").count(at.width).of_keys(),
            Stage::new("choose_rows", "logit", "logits"),
        ];
        if p.clustering != BLOCKS {
            stages.push(Stage::new("follow_tokens", "entry", "routes").count(2 + 2 * clusters).of_keys());
        }
        stages.extend(match (p.clustering, p.mode) {
            (BLOCKS, _) => vec![Stage::new("choose_rows", "block", "kept")],
            (_, PAPER) => vec![
                Stage::new("top_rows", "rank", "lists").count(2 * clusters),
                Stage::new("token_values", "peak", "peaks").count(2 * clusters),
                Stage::new("choose_rows", "share", "kept"),
            ],
            _ => vec![
                Stage::new("token_sums", "before", "q_before"),
                Stage::new("token_sums", "before", "k_before").of_keys(),
                Stage::new("choose_rows", "near", "kept"),
            ],
        });
        stages.extend([Stage::new("attend_rows", "weight", "z"), Stage::new("attend_rows", "weight", "maps")]);
        Some(stages)
    }
}

/// Weights over the pairs that are kept; a row that keeps none yields zeros.
fn softmax(logits: Tensor<4>, keep: Tensor<4, Bool>) -> Tensor<4> {
    let logits = logits.mask_fill(keep.clone().bool_not(), super::MASKED);
    let m = logits.clone().max_dim(3);
    let e = (logits - m).exp() * keep.float();
    e.clone() / e.sum_dim(3).clamp_min(f32::MIN_POSITIVE)
}

/// How many blocks back the block of a key lies, `[1,1,Q,K]`.
fn block_distance(p: &RoutingAttentionParams, at: &Grid) -> Tensor<4> {
    let block = |x: Tensor<4>| ((x + 0.5) / p.window as f32).floor();
    block(at.query()) - block(at.key())
}

/// Pairs of the same cluster, at most `window` back among the keys of it, and each token itself.
fn nearest(p: &RoutingAttentionParams, at: &Grid, tokens: &[Tokens]) -> Tensor<4, Bool> {
    let keep = tokens.iter().flat_map(|tokens| tokens.marks(at.first_query, p.window as usize));
    at.tensor(keep.collect(), [tokens.len() / at.heads, at.heads, at.queries, at.keys]).greater_elem(0.5)
}

/// The mean over the lists that took a query of its weights over the keys of each.
fn listed(p: &RoutingAttentionParams, at: &Grid, tokens: &[Tokens], logits: Tensor<4>) -> Tensor<4> {
    let shape = logits.dims();
    let side = |c: usize, of_keys: bool| {
        let count = if of_keys { at.keys } else { at.queries };
        let marks = tokens.iter().flat_map(|tokens| {
            // With tied vectors the list of queries is that of keys, as far as they are queries here.
            let products = if of_keys || p.tied { &tokens.keys[c] } else { &tokens.queries[c] };
            marks(products, p.window as usize).split_off(at.keys - count)
        });
        at.tensor(marks.collect(), [shape[0], at.heads, count])
    };
    let mut sum = logits.zeros_like();
    let mut count = sum.clone().slice_dim(3, 0..1);
    for c in 0..p.clusters as usize {
        let queries: Tensor<4> = side(c, false).unsqueeze_dim(3); // [B,H,Q,1]
        let keys: Tensor<4> = side(c, true).unsqueeze_dim(2); // [B,H,1,K]
        let keep = keys.greater_elem(0.5).expand(shape).bool_and(at.causal().expand(shape));
        sum = sum + softmax(logits.clone(), keep) * queries.clone();
        count = count + queries;
    }
    sum / (count + 0.01)
}

/// Clusters that learn while the text is read.
pub const MECHANISM: Mechanism = Mechanism {
    id: "routing_attention",
    name: "Routing attention",
    summary: "Sorts tokens into clusters that learn as they read, and lets each see its own cluster.",
    paper: Paper {
        number: Some(51),
        title: "Efficient Content-Based Sparse Attention with Routing Transformers",
        authors: "Roy, Saffar, Vaswani, Grangier",
        year: 2021,
        url: "https://arxiv.org/abs/2003.05997",
        place: "§4, without training",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::RowsSumToOne(&[]),
        Law::Prefix(&[]),
        Law::Prefix(&[("logits", Value::Choice(UNSCALED)), ("tied", Value::Flag(true)), ("window", Value::Int(3))]),
        Law::ReducesTo {
            other: "softmax",
            at: &[("clusters", Value::Int(1)), ("window", Value::Int(512)), ("routing", Value::Real(1.0))],
        },
        Law::ReducesTo { other: "softmax", at: &[("routing", Value::Real(0.0)), ("window", Value::Int(512))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/routing_attention.wgsl")),
    plug: Plug::mixer::<RoutingAttention>(),
    exhibits: super::exhibits::routing_attention::ALL,
};
