//! The forward pass of a Llama-family [`Text`] as training runs it: the same numbers with a cheaper way back.
//!
//! [`Text::forward`] normalises a row of scores before it mixes values, which is what the page shows, and every operation
//! on `[B,H,Q,K]` is walked again by autodiff. Here the exponents mix the values first, with a column of ones beside the
//! values whose mix is the rows' sums, and the division is done on `[B,H,Q,D]`:
//!
//! ```text
//! e = exp(scores − max)      z' = e·[v | 1]      z = z'[..D] / z'[D]
//! ```
//!
//! That leaves one multiplication of that size on the way back instead of about ten. Queries of a group stand side by side
//! on their shared keys, so keys and values are never repeated; queries are scaled instead of scores; and blocks of queries
//! meet only the keys up to their end, so that less of what causality removes is computed.

use crate::mechanism::Stack;
use crate::model::config::{Activation, Norm, Pairing, Positions};
use crate::model::text::{Block, Gain};
use crate::model::{Config, Run, Text, is_plain};
use crate::{Error, Result};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

/// Queries that are computed together.
const BLOCK: usize = 128;

/// Added to scores of later keys. Weights of e⁻⁶⁰ vanish beside a row's sum in f32, as zeros would, but unlike
/// `exp(-1e30)` they do not send the processor's exponential through its slow underflow path.
const HIDDEN: f32 = -60.0;

/// How rows of one length pass through a model.
pub enum Pass {
    /// With attention as it is, quickly.
    Quick(Box<Shape>),
    /// Under mechanisms, as [`Text::forward`] goes; inputs that nobody learned are those of seed 0.
    Under(Box<Stack>),
}

impl Pass {
    /// Whether a model is trained under `stack` here.
    ///
    /// # Errors
    /// [`Error::Unsupported`] from [`Shape::check`].
    pub fn check(config: &Config, stack: &Stack) -> Result<()> {
        if is_plain(stack) { Shape::check(config) } else { Ok(()) }
    }

    /// Rows of `queries` tokens under `stack`, of a model that passes [`check`](Self::check).
    pub fn new(config: &Config, stack: &Stack, queries: usize, device: &Device) -> Self {
        match is_plain(stack) {
            true => Self::Quick(Box::new(Shape::new(config, queries, device))),
            false => Self::Under(Box::new(stack.clone())),
        }
    }

    /// Logits [B·Q,V] of `tokens` `[B,Q]`.
    pub fn logits(&self, model: &Text, tokens: Tensor<2, Int>) -> Tensor<2> {
        match self {
            Self::Quick(shape) => logits(model, tokens, shape),
            Self::Under(stack) => {
                let logits = model.forward(tokens, &Run::new(stack, 0));
                let [batch, queries, vocabulary] = logits.dims();
                logits.reshape([batch * queries, vocabulary])
            }
        }
    }
}

/// What a quick pass over rows of one length needs besides weights.
pub struct Shape {
    cos: Tensor<3>,
    sin: Tensor<3>,
    blocks: Vec<Queries>,
}

/// A block of queries.
struct Queries {
    first: usize,
    count: usize,
    /// 0 where a query sees a key, [`HIDDEN`] elsewhere, `[1,1,Q,K]` with K = first + count.
    mask: Tensor<4>,
}

impl Shape {
    /// Whether a model is of the kind trained here.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is not.
    pub fn check(config: &Config) -> Result<()> {
        let kind = (config.norm, config.activation, config.gated, config.tied, config.attention_bias, config.ffn_bias);
        let rotary = matches!(config.positions, Positions::Rotary { pairing: Pairing::Half, .. });
        if rotary && kind == (Norm::Rms, Activation::Silu, true, true, false, false) {
            return Ok(());
        }
        Err(Error::Unsupported {
            file: "train".into(),
            key: "config".into(),
            expected: "RMSNorm, rotary positions in halves, gated SiLU, a tied head, no biases".into(),
            came: format!("{config:?}"),
        })
    }

    /// Tables for rows of `queries` tokens of a model whose `config` passes [`check`](Self::check).
    pub fn new(config: &Config, queries: usize, device: &Device) -> Self {
        let Positions::Rotary { theta, .. } = config.positions else {
            return Self {
                cos: Tensor::zeros([1, 0, 0], device),
                sin: Tensor::zeros([1, 0, 0], device),
                blocks: Vec::new(),
            };
        };
        let pairs = config.head_width / 2;
        let angle = |index: usize| {
            let (query, pair) = (index / pairs, index % pairs);
            query as f64 * theta.powf(-2.0 * pair as f64 / config.head_width as f64)
        };
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..queries * pairs).map(|index| of(angle(index)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, queries, pairs]), device)
        };
        let block = |first: usize| {
            let count = BLOCK.min(queries - first);
            let keys = first + count;
            let see = |index: usize| if index % keys <= first + index / keys { 0.0 } else { HIDDEN };
            let mask: Vec<f32> = (0..count * keys).map(see).collect();
            Queries { first, count, mask: Tensor::from_data(TensorData::new(mask, [1, 1, count, keys]), device) }
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), blocks: (0..queries).step_by(BLOCK).map(block).collect() }
    }
}

/// Logits [B·Q,V] of `tokens` `[B,Q]`.
pub fn logits(model: &Text, tokens: Tensor<2, Int>, shape: &Shape) -> Tensor<2> {
    let [batch, queries] = tokens.dims();
    let width = model.config.width;
    let mut x = embedding(model.embed.val(), tokens).reshape([batch * queries, width]); // [B·Q,M]
    for block in &model.blocks {
        x = x.clone() + attend(block, normalise(&block.ln1, x), batch, &model.config, shape);
        x = x.clone() + feed_forward(block, normalise(&block.ln2, x));
    }
    normalise(&model.ln_final, x).matmul(model.embed.val().transpose())
}

/// x `[N,M]` → x / rms(x) · gain.
fn normalise(gain: &Gain, x: Tensor<2>) -> Tensor<2> {
    let mean_square = x.clone().square().mean_dim(1);
    x * (mean_square + gain.epsilon).sqrt().recip() * gain.w.val().unsqueeze()
}

/// Normalised x [B·Q,M] → attn_out [B·Q,M].
fn attend(block: &Block, x: Tensor<2>, batch: usize, config: &Config, shape: &Shape) -> Tensor<2> {
    let (rows, groups, width) = (x.dims()[0], config.kv_heads, config.head_width);
    let (queries, group) = (rows / batch, config.heads / config.kv_heads);
    // [B·Q,N·D] → [B·N,Q,D]
    let heads = |x: Tensor<2>, heads: usize| {
        x.reshape([batch, queries, heads, width]).swap_dims(1, 2).reshape([batch * heads, queries, width])
    };
    let q = turn(heads(x.clone().matmul(block.q.w.val()) * config.scale(), config.heads), shape);
    let k = turn(heads(x.clone().matmul(block.k.w.val()), groups), shape);
    let v = heads(x.matmul(block.v.w.val()), groups); // [B·G,K,D]
    let q = q.reshape([batch * groups, group, queries, width]);
    let v = Tensor::cat(vec![v.clone(), Tensor::ones([batch * groups, queries, 1], &v.device())], 2);
    let z = shape.blocks.iter().map(|block| {
        let (count, keys) = (block.count, block.first + block.count);
        let q = q.clone().narrow(2, block.first, count).reshape([batch * groups, group * count, width]);
        let scores = q.matmul(k.clone().narrow(1, 0, keys).swap_dims(1, 2));
        let scores = scores.reshape([batch * groups, group, count, keys]) + block.mask.clone();
        let max = scores.clone().detach().max_dim(3);
        let e = (scores - max).exp().reshape([batch * groups, group * count, keys]);
        let mixed = e.matmul(v.clone().narrow(1, 0, keys)); // [B·G,group·Q,D+1]
        let z = mixed.clone().narrow(2, 0, width) / mixed.narrow(2, width, 1);
        z.reshape([batch * groups, group, count, width])
    });
    let z = Tensor::cat(z.collect(), 2); // [B·G,group,Q,D]
    let z = z.reshape([batch, config.heads, queries, width]).swap_dims(1, 2).reshape([rows, config.heads * width]);
    z.matmul(block.o.w.val())
}

/// Rotates halves of x `[N,Q,D]` by position.
fn turn(x: Tensor<3>, shape: &Shape) -> Tensor<3> {
    let half = x.dims()[2] / 2;
    let (a, b) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    let (cos, sin) = (shape.cos.clone(), shape.sin.clone());
    let turned = [a.clone() * cos.clone() - b.clone() * sin.clone(), a * sin + b * cos];
    Tensor::cat(turned.into(), 2)
}

/// Normalised x `[N,M]` → mlp_out `[N,M]`.
fn feed_forward(block: &Block, x: Tensor<2>) -> Tensor<2> {
    let inner = x.clone().matmul(block.inner.w.val());
    let inner = match &block.gate {
        Some(gate) => activation::silu(x.matmul(gate.w.val())) * inner,
        None => inner,
    };
    inner.matmul(block.outer.w.val())
}
