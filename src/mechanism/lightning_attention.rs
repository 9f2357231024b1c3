//! # Lightning attention: a fading sum instead of a softmax
//!
//! Linear attention with a decay per head. Each earlier token adds its value weighted by the plain product q·k, and that
//! weight fades by a factor λ per step; there is no softmax and no denominator, so weights may be negative and a row has
//! no particular sum. Everything the past says fits one D×D state per head, which is why a token costs the same at any
//! length. Moving `decay` from `code` to `paper` makes the first heads forget within a few tokens.
//!
//! ## Definition
//!
//! ```text
//! λ[h]         = exp(-a[h])            code   a = slope[h] · (1 - l/(L-1) + 1e-5), slope of head h as in ALiBi
//!                                      paper  a = 8·(h+1)/H · (1 - l/L)
//!                                      none   a = 0
//! pattern[t,s] = λ^(t-s) · q[t]·k[s]   for s ≤ t, without 1/√D
//! o[t]         = Σ_s pattern[t,s] · v[s]
//! z[t]         = o[t] / √(mean over heads and channels of o[t]² + 1e-6)      with srms_norm
//! ```
//!
//! The same sum by three algorithms. `left`: the masked product of all pairs. `right`: a state, token by token,
//! S ← λ·S + k·vᵀ, o = q·S. `block`: both, with blocks of m ≤ B tokens and local index r = 0 … m-1:
//!
//! ```text
//! o[r] = Σ_{c≤r} λ^(r-c) · q[r]·k[c] · v[c] + λ^(r+1) · q[r]·S
//! S    ← λ^m·S + Σ_r λ^(m-1-r) · k[r]·v[r]ᵀ
//! ```
//!
//! ## Shapes
//!
//! q `[B,H,Q,D]`, k and v `[B,G,K,D]` → z `[B,H,Q,D]`; state `[B,H,D,D]`, kept between decode steps by `right` and
//! `block`; `left` reads the cache.
//!
//! ## Neutral setting
//!
//! `operator = softmax`: plain attention, for the comparison the paper makes. The three algorithms agree.
//!
//! ## Errors
//!
//! None beyond parameter ranges. A first row always sees itself.
//!
//! ## Numerics
//!
//! Powers of λ are exp(-a·integer) with exponents never positive; no λ^(-r) appears, so λ = 0.0003 over thousands of
//! tokens is zero and not infinite. o grows with the number of tokens when λ = 1, which is what the norm is for.
//!
//! ## Source
//! Qin, Sun, Li, Shen, Sun and Zhong, "Various Lengths, Constant Speed: Efficient Language Modeling with Lightning
//! Attention", ICML 2024, equations 9–14 and algorithms 1–4, read from the text; `decay = code` and the norm were read
//! from the authors' code, whose decay differs widely from the paper's formula; which is the default is our choice.
//! Deliberate differences: q and k are those of the loaded model after its own rotation, so the paper's silu on both, its
//! LRPE in the first layer and its gate are left out; `cargo attn train --stack lightning_attention` trains without them.
//! With one layer, L-1 in `code` is taken as one. A model trained with softmax does not survive the change: stories-3m goes
//! from a loss of 3.29 to 7.92 over 452 tokens (`tests/golden/papers.stages.json`). From 1024 to 8192 tokens the time per
//! token of one head in tensors grows 4 times by blocks, 11 by the left product, 39 under softmax (`papers.times.json`).

use super::{Grid, Law, Mechanism, Memory, Mixed, Mixer, Paper, Place, Plug, Stage, Tolerance, Vectors};
use crate::catalogue::Provenance;
use crate::spec::{Value, choice};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

crate::params! {
    /// Controls of lightning attention.
    pub struct LightningAttentionParams {
        /// What turns scores into weights: the fading sum, or the softmax it stands in for.
        operator: u32 = 0, choice("lightning", "softmax");
        /// How the fading sum is computed; all three give the same numbers.
        algorithm: u32 = 0, choice("block", "left", "right");
        /// How fast heads forget: as in the released code, as printed in the paper, or not at all.
        decay: u32 = 0, choice("code", "paper", "none");
        /// Tokens per block of the block algorithm.
        block: i32 = 64, int(1, 128, 1), unit "tokens";
        /// Divides each token's output, all heads together, by its root mean square.
        srms_norm: bool = true, flag();
    }
}

pub(super) const SOFTMAX: u32 = choice::<LightningAttentionParams>("operator", "softmax");
pub(super) const LEFT: u32 = choice::<LightningAttentionParams>("algorithm", "left");
pub(super) const RIGHT: u32 = choice::<LightningAttentionParams>("algorithm", "right");
const CODE: u32 = choice::<LightningAttentionParams>("decay", "code");
const PAPER: u32 = choice::<LightningAttentionParams>("decay", "paper");

/// Under the root of the norm.
const EPSILON: f32 = 1e-6;

struct LightningAttention;

impl Mixer for LightningAttention {
    type Params = LightningAttentionParams;

    fn mix(p: &LightningAttentionParams, at: &Grid, given: Vectors, memory: &mut Memory) -> Mixed {
        if p.operator == SOFTMAX {
            let drop = at.causal().bool_not().expand(given.scores().dims());
            let pattern = softmax(given.scores().mask_fill(drop, super::MASKED), 3);
            let z = pattern.clone().matmul(given.values());
            return Mixed { z, pattern: Box::new(move || pattern) };
        }
        let rate = rate(p, at); // [1,H,1,1]
        let o = if p.algorithm == LEFT {
            pattern(at, &given, &rate).matmul(given.values())
        } else {
            let block = if p.algorithm == RIGHT { 1 } else { p.block as usize };
            let state = match memory.get("state", at.layer) {
                Some(state) if at.first_query > 0 => state,
                _ => past(at, &given, &rate, block),
            };
            let (o, state) = blocks(&given, at.first_query, &rate, block, state);
            memory.put("state", at.layer, state);
            o
        };
        let size = if p.srms_norm {
            (o.clone().square().mean_dim(3).mean_dim(1) + EPSILON).sqrt() // [B,1,Q,1]
        } else {
            o.clone().slice_dim(3, 0..1).slice_dim(1, 0..1).ones_like()
        };
        let (at, divide) = (at.clone(), size.clone());
        Mixed { z: o / size, pattern: Box::new(move || pattern(&at, &given, &rate) / divide) }
    }

    /// The matrix S of each head; `left` has none.
    fn state(p: &LightningAttentionParams, width: usize) -> Option<usize> {
        (p.operator != SOFTMAX && p.algorithm != LEFT).then_some(width * width)
    }

    fn stages(p: &LightningAttentionParams, _at: &Place) -> Option<Vec<Stage>> {
        let norm = p.srms_norm && p.operator != SOFTMAX;
        let (sum, shown) = if norm { ("raw", "normed") } else { ("z", "weight") };
        let mut stages = match p.algorithm {
            _ if p.operator == SOFTMAX => vec![Stage::new("attend_rows", "weight", sum)],
            LEFT => vec![Stage::new("attend_rows", "weight", sum)],
            RIGHT => vec![Stage::new("scan_tokens", "carry", sum)],
            _ => {
                let block = p.block as usize;
                vec![
                    Stage::new("chunk_states", "carry", "states").over(block),
                    Stage::new("scan_states", "carry", "states").over(block),
                    Stage::new("mix_chunks", "weight", sum).over(block),
                ]
            }
        };
        if norm {
            stages.push(Stage::new("norm_rows", "epsilon", "z"));
        }
        stages.push(Stage::new("attend_rows", shown, "maps"));
        Some(stages)
    }
}

/// a = -ln λ of every head, `[1,H,1,1]`.
pub(super) fn rate(p: &LightningAttentionParams, at: &Grid) -> Tensor<4> {
    let (layer, layers) = (at.layer as f32, at.layers as f32);
    let of = |head: usize| match p.decay {
        CODE => slope(head, at.heads) * (1.0 - layer / (layers - 1.0).max(1.0) + 1e-5),
        PAPER => 8.0 * (head as f32 + 1.0) / at.heads() * (1.0 - layer / layers),
        _ => 0.0, // none
    };
    at.tensor((0..at.heads).map(of).collect(), [1, at.heads, 1, 1])
}

/// The slopes of P = 2^⌊log₂ H⌋ heads, then every second one of 2P heads.
fn slope(head: usize, heads: usize) -> f32 {
    let most = 1 << heads.max(1).ilog2();
    let exponent = if head < most {
        8.0 * (head as f32 + 1.0) / most as f32
    } else {
        8.0 * (2.0 * (head - most) as f32 + 1.0) / (2.0 * most as f32)
    };
    (-exponent).exp2()
}

/// λ^(t-s) · q·k for s ≤ t, zero elsewhere, `[B,H,Q,K]`.
fn pattern(at: &Grid, given: &Vectors, rate: &Tensor<4>) -> Tensor<4> {
    let distance = at.distance(); // [1,1,Q,K]
    let fade = (distance.clone().clamp_min(0.0) * rate.clone().neg()).exp() * distance.greater_equal_elem(0.0).float();
    given.q.clone().matmul(given.keys().swap_dims(2, 3)) * fade
}

/// The state that tokens before the first query leave, `[B,H,D,D]`.
fn past(at: &Grid, given: &Vectors, rate: &Tensor<4>, block: usize) -> Tensor<4> {
    let [batch, heads, _, width] = given.q.dims();
    let mut state = Tensor::zeros([batch, heads, width, width], &at.device);
    let (k, v) = (given.keys(), given.values());
    for first in (0..at.first_query).step_by(block) {
        let rows = first..(first + block).min(at.first_query);
        state = carried(state, k.clone().slice_dim(2, rows.clone()), v.clone().slice_dim(2, rows), rate);
    }
    state
}

/// o of the queries from position `first` on by blocks, and the state behind them.
fn blocks(given: &Vectors, first: usize, rate: &Tensor<4>, block: usize, state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let (k, v) = (given.keys(), given.values());
    let queries = given.q.dims()[2];
    let (mut state, mut parts) = (state, Vec::new());
    for start in (0..queries).step_by(block) {
        let end = (start + block).min(queries);
        let rows = |x: &Tensor<4>, from: usize| x.clone().slice_dim(2, from + start..from + end);
        let (q, k, v) = (rows(&given.q, 0), rows(&k, first), rows(&v, first));
        let local = Tensor::arange(0..(end - start) as i64, &q.device()).float();
        let [r, c] = [local.clone().reshape([1, 1, end - start, 1]), local.reshape([1, 1, 1, end - start])];
        let distance: Tensor<4> = r.clone() - c;
        let fade = (distance.clone().clamp_min(0.0) * rate.clone().neg()).exp();
        let weights = q.clone().matmul(k.clone().swap_dims(2, 3)) * fade * distance.greater_equal_elem(0.0).float();
        let inside = weights.matmul(v.clone());
        let before = ((r + 1.0) * rate.clone().neg()).exp() * q.matmul(state.clone());
        parts.push(inside + before);
        state = carried(state, k, v, rate);
    }
    (Tensor::cat(parts, 2), state)
}

/// `λ^m·S + Σ_r λ^(m-1-r) · k[r]·v[r]ᵀ` for the m rows of k and v `[B,H,m,D]`.
fn carried(state: Tensor<4>, k: Tensor<4>, v: Tensor<4>, rate: &Tensor<4>) -> Tensor<4> {
    let count = k.dims()[2];
    let left =
        Tensor::arange(0..count as i64, &k.device()).float().reshape([1, 1, count, 1]).neg() + (count as f32 - 1.0);
    let faded = k * (left * rate.clone().neg()).exp();
    state * (rate.clone() * -(count as f32)).exp() + faded.swap_dims(2, 3).matmul(v)
}

/// Linear attention with a decay, by three algorithms.
pub const MECHANISM: Mechanism = Mechanism {
    id: "lightning_attention",
    name: "Lightning attention",
    summary: "Sums values by the plain product of query and key, fading with distance, instead of a softmax.",
    paper: Paper {
        number: Some(61),
        title: "Various Lengths, Constant Speed: Efficient Language Modeling with Lightning Attention",
        authors: "Qin, Sun, Li, Shen, Sun, Zhong",
        year: 2024,
        url: "https://arxiv.org/abs/2405.17381",
        place: "§3, equations 9–14, algorithms 1–4",
        provenance: Provenance::Code,
    },
    laws: &[
        Law::Causal,
        Law::Prefix(&[]),
        Law::Prefix(&[("algorithm", Value::Choice(LEFT))]),
        Law::Prefix(&[("block", Value::Int(16))]),
        Law::ReducesTo { other: "softmax", at: &[("operator", Value::Choice(SOFTMAX))] },
        Law::ReducesTo { other: "lightning_attention", at: &[("algorithm", Value::Choice(LEFT))] },
        Law::ReducesTo { other: "lightning_attention", at: &[("algorithm", Value::Choice(RIGHT))] },
        Law::ReducesTo { other: "lightning_attention", at: &[("block", Value::Int(16))] },
    ],
    parity: Tolerance::F32,
    wgsl: Some(include_str!("../../shaders/mechanism/lightning_attention.wgsl")),
    plug: Plug::mixer::<LightningAttention>(),
    exhibits: super::exhibits::lightning_attention::ALL,
};
