//! GPT-2 of candle's layers, since `candle_transformers` has none: what its other models do, one fused product for queries,
//! keys and values, and candle's own cache, which keeps room for the whole context.

use candle_core::{D, IndexOp, Module, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder, embedding, layer_norm, ops};

/// Sizes, by the names of `config.json`.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Config {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: usize,
    layer_norm_epsilon: f64,
}

/// The model and what it has seen.
pub struct Gpt2 {
    tokens: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    last: LayerNorm,
    head: Linear,
}

struct Block {
    ln1: LayerNorm,
    qkv: Linear,
    out: Linear,
    ln2: LayerNorm,
    inner: Linear,
    outer: Linear,
    heads: usize,
    cache: KvCache,
}

/// A linear map that the file stores as [in,out].
fn map(inner: usize, outer: usize, at: VarBuilder) -> Result<Linear> {
    let weight = at.get((inner, outer), "weight")?.t()?.contiguous()?;
    Ok(Linear::new(weight, Some(at.get(outer, "bias")?)))
}

impl Gpt2 {
    /// The model of these weights.
    pub fn load(config: &Config, weights: &VarBuilder) -> Result<Self> {
        let width = config.n_embd;
        let tokens = embedding(config.vocab_size, width, weights.pp("wte"))?;
        let head = Linear::new(tokens.embeddings().clone(), None);
        let blocks = (0..config.n_layer).map(|layer| Block::load(config, &weights.pp(format!("h.{layer}"))));
        Ok(Self {
            blocks: blocks.collect::<Result<_>>()?,
            positions: weights.pp("wpe").get((config.n_positions, width), "weight")?,
            last: layer_norm(width, config.layer_norm_epsilon, weights.pp("ln_f"))?,
            tokens,
            head,
        })
    }

    /// A new sequence begins.
    pub fn forget(&mut self) {
        self.blocks.iter_mut().for_each(|block| block.cache.reset());
    }

    /// Logits `[1,V]` behind the last of `tokens` `[1,Q]`, which follow `seen` others.
    pub fn forward(&mut self, tokens: &Tensor, seen: usize) -> Result<Tensor> {
        let queries = tokens.dim(1)?;
        let mut x = self.tokens.forward(tokens)?.broadcast_add(&self.positions.narrow(0, seen, queries)?)?;
        // Nothing is masked for a single token.
        let mask = (queries > 1).then(|| mask(queries, seen, tokens)).transpose()?;
        for block in &mut self.blocks {
            x = block.forward(&x, mask.as_ref())?;
        }
        let x = self.last.forward(&x.i((.., queries - 1, ..))?.contiguous()?)?;
        self.head.forward(&x)
    }
}

impl Block {
    fn load(config: &Config, at: &VarBuilder) -> Result<Self> {
        let (width, inner, epsilon) = (config.n_embd, config.n_inner, config.layer_norm_epsilon);
        Ok(Self {
            ln1: layer_norm(width, epsilon, at.pp("ln_1"))?,
            qkv: map(width, 3 * width, at.pp("attn.c_attn"))?,
            out: map(width, width, at.pp("attn.c_proj"))?,
            ln2: layer_norm(width, epsilon, at.pp("ln_2"))?,
            inner: map(width, inner, at.pp("mlp.c_fc"))?,
            outer: map(inner, width, at.pp("mlp.c_proj"))?,
            heads: config.n_head,
            cache: KvCache::new(2, config.n_positions),
        })
    }

    /// x [1,Q,M] → x `[1,Q,M]`
    fn forward(&mut self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let x = (self.attend(&self.ln1.forward(x)?, mask)? + x)?;
        let post = self.inner.forward(&self.ln2.forward(&x)?)?.gelu()?;
        self.outer.forward(&post)? + x
    }

    fn attend(&mut self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, queries, width) = x.dims3()?;
        let qkv = self.qkv.forward(x)?;
        let part = |index: usize| {
            let rows = qkv.narrow(2, index * width, width)?;
            rows.reshape((batch, queries, self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
        };
        let q = part(0)?; // [1,H,Q,D]
        let (k, v) = self.cache.append(&part(1)?, &part(2)?)?;
        let scores = (q.matmul(&k.t()?)? / ((width / self.heads) as f64).sqrt())?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let z = ops::softmax_last_dim(&scores)?.matmul(&v.contiguous()?)?;
        self.out.forward(&z.transpose(1, 2)?.flatten_from(D::Minus2)?)
    }
}

/// What is added to scores [Q,K]: −∞ where a key lies behind its query.
fn mask(queries: usize, seen: usize, like: &Tensor) -> Result<Tensor> {
    let keys = seen + queries;
    let entry = |at: usize| if at % keys > seen + at / keys { f32::NEG_INFINITY } else { 0.0 };
    Tensor::from_iter((0..queries * keys).map(entry), like.device())?.reshape((queries, keys))
}
