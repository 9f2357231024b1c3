//! The decoder model in burn tensors: the definition of every number attnscope shows.
//!
//! One class for the GPT-2, Llama and GPT-NeoX families; [`Config`] says which parts a model has. The forward pass offers every
//! activation of [`Site`] to the run's tap, and attention goes through [`attention`], so that any stack of mechanisms runs
//! on any model. Without a tap nothing leaves the device, and the pass is differentiable.
//!
//! ```text
//! x = embed[tokens] (+ positions)                                  [B,Q,M]
//! each block:  x = x + attention(ln1(x))·W_o    x = x + ffn(ln2(x))
//! or parallel: x = x + attention(ln1(x))·W_o + ffn(ln2(x))
//! logits = ln_final(x)·W_unembed                                   [B,Q,V]
//! ```

mod second;
mod slopes;

pub use slopes::Slopes;

use super::attention;
use super::config::{Activation, Config, Norm, Positions};
use super::decode::{KeyValues, Past};
use super::rotary::Rotation;
use super::run::{Run, host};
use super::weights::Weights;
use crate::Result;
use crate::hook::{Array, Site};
use crate::mechanism::{Grid, Memories, Projected, Vectors};
use burn::module::{Module, Param};
use burn::tensor::module::{embedding, layer_norm, linear};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use second::Second;

/// A decoder language model.
#[derive(Module, Debug)]
pub struct Text {
    /// Token embedding `[V,M]`.
    pub embed: Param<Tensor<2>>,
    /// Learned positions `[context,M]`.
    pub positions: Option<Param<Tensor<2>>>,
    /// The layers.
    pub blocks: Vec<Block>,
    /// Final norm.
    pub ln_final: Gain,
    /// Vocabulary head `[M,V]`; absent when tied to the embedding.
    pub unembed: Option<Param<Tensor<2>>>,
    /// Sizes and choices.
    #[module(skip)]
    pub config: Config,
}

/// One layer.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before attention.
    pub ln1: Gain,
    /// Queries [M,H·D].
    pub q: Map,
    /// Keys [M,G·D].
    pub k: Map,
    /// Values [M,G·D].
    pub v: Map,
    /// Output projection [H·D,M].
    pub o: Map,
    /// Norm before the feed-forward.
    pub ln2: Gain,
    /// The gate `[M,F]` of gated families.
    pub gate: Option<Map>,
    /// Into the feed-forward `[M,F]`.
    pub inner: Map,
    /// Out of it `[F,M]`.
    pub outer: Map,
}

/// A norm's learned part.
#[derive(Module, Debug)]
pub struct Gain {
    /// Gain `[M]`.
    pub w: Param<Tensor<1>>,
    /// Bias `[M]`, under LayerNorm.
    pub b: Option<Param<Tensor<1>>>,
    /// Which norm.
    #[module(skip)]
    pub norm: Norm,
    /// Added to the variance under the root.
    #[module(skip)]
    pub epsilon: f64,
}

/// A linear map.
#[derive(Module, Debug)]
pub struct Map {
    /// `[in,out]`.
    pub w: Param<Tensor<2>>,
    /// `[out]`.
    pub b: Option<Param<Tensor<1>>>,
}

impl Gain {
    /// x `[B,Q,M]` → normalised `[B,Q,M]`.
    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        match self.norm {
            Norm::Layer => layer_norm(x, self.w.val(), self.b.as_ref().map(Param::val), self.epsilon),
            Norm::Rms => {
                let mean_square = x.clone().square().mean_dim(2);
                x * (mean_square + self.epsilon).sqrt().recip() * self.w.val().unsqueeze()
            }
        }
    }
}

impl Map {
    /// x `[B,Q,in]` → x·w + b `[B,Q,out]`.
    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.w.val(), self.b.as_ref().map(Param::val))
    }
}

/// [B,Q,N·D] → `[B,N,Q,D]`.
pub(super) fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, queries, width] = x.dims();
    x.reshape([batch, queries, heads, width / heads]).swap_dims(1, 2)
}

/// `[B,N,Q,D]` → [B,Q,N·D].
pub(super) fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, queries, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, queries, heads * width])
}

/// Projections q `[B,H,Q,D]`, k and v `[B,G,Q,D]` of new tokens → z `[B,H,Q,D]` under the run's stack.
pub(super) fn attend_heads(
    config: &Config,
    [q, k, v]: [Tensor<4>; 3],
    at: &Grid,
    rotation: Option<&Rotation>,
    run: &Run<'_>,
    past: Past<'_>,
) -> Tensor<4> {
    let (layer, scale) = (at.layer, config.scale());
    let q = run.offer(layer, Site::Q, q);
    let k = run.offer(layer, Site::K, k);
    let v = run.offer(layer, Site::V, v);
    let inputs = run.inputs(layer, config);
    let projected = Projected { q, k, v, rotation: rotation.cloned() };
    let turned = attention::project(run.stack, at, projected, &inputs, past.memories);
    let (q, k) = match rotation {
        Some(_) => (run.offer(layer, Site::RotQ, turned.q), run.offer(layer, Site::RotK, turned.k)),
        None => (turned.q, turned.k),
    };
    let (k, v) = match past.keys {
        Some(keys) => keys.extend(layer, k, turned.v, turned.in_keys), // [B,G,K,D]
        None => (k, turned.v),
    };
    let vectors = Vectors { q, k, v, scale, corrected: past.corrected };
    let attended = attention::attend(run, at, vectors, turned.out.as_ref(), &inputs, past.memories);
    run.offer(layer, Site::Z, attended.z)
}

impl Text {
    /// A model with seeded initial weights on `device`; see [`Weights::init`].
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] from [`Config::check`].
    pub fn init(config: &Config, seed: u64, device: &Device) -> Result<Self> {
        config.check("config")?;
        Self::from_weights(config, &Weights::init(config, seed), device)
    }

    /// A model with these weights on `device`.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when a weight is missing.
    pub fn from_weights(config: &Config, weights: &Weights, device: &Device) -> Result<Self> {
        let data = |array: &Array| TensorData::new(array.data.clone(), array.shape.clone());
        let matrix = |name: &str| Ok(Param::from_data(data(weights.get(name)?), device));
        let vector = |name: &str| Ok(Param::from_data(data(weights.get(name)?), device));
        let gain = |name: &str| {
            let b = (config.norm == Norm::Layer).then(|| vector(&format!("{name}.b"))).transpose()?;
            Ok(Gain { w: vector(&format!("{name}.w"))?, b, norm: config.norm, epsilon: config.norm_epsilon })
        };
        let map = |part: &str, name: &str, bias: bool| {
            let b = bias.then(|| vector(&format!("{part}.b_{name}"))).transpose()?;
            Result::Ok(Map { w: matrix(&format!("{part}.w_{name}"))?, b })
        };
        let block = |layer: usize| {
            let (attn, ffn) = (format!("blocks.{layer}.attn"), format!("blocks.{layer}.ffn"));
            Result::Ok(Block {
                ln1: gain(&format!("blocks.{layer}.ln1"))?,
                q: map(&attn, "q", config.attention_bias)?,
                k: map(&attn, "k", config.attention_bias)?,
                v: map(&attn, "v", config.attention_bias)?,
                o: map(&attn, "o", config.attention_bias)?,
                ln2: gain(&format!("blocks.{layer}.ln2"))?,
                gate: config.gated.then(|| map(&ffn, "gate", config.ffn_bias)).transpose()?,
                inner: map(&ffn, "in", config.ffn_bias)?,
                outer: map(&ffn, "out", config.ffn_bias)?,
            })
        };
        Ok(Self {
            embed: matrix("embed")?,
            positions: (config.positions == Positions::Learned).then(|| matrix("positions")).transpose()?,
            blocks: (0..config.layers).map(block).collect::<Result<_>>()?,
            ln_final: gain("ln_final")?,
            unembed: (!config.tied).then(|| matrix("unembed")).transpose()?,
            config: config.clone(),
        })
    }

    /// The weights, copied to the host.
    pub fn to_weights(&self) -> Weights {
        let mut weights = Weights::default();
        let mut put = |name: String, data: TensorData| {
            weights.0.insert(name, host(data));
        };
        put("embed".into(), self.embed.val().into_data());
        if let Some(positions) = &self.positions {
            put("positions".into(), positions.val().into_data());
        }
        let gain = |put: &mut dyn FnMut(String, TensorData), name: String, gain: &Gain| {
            put(format!("{name}.w"), gain.w.val().into_data());
            if let Some(b) = &gain.b {
                put(format!("{name}.b"), b.val().into_data());
            }
        };
        for (layer, block) in self.blocks.iter().enumerate() {
            gain(&mut put, format!("blocks.{layer}.ln1"), &block.ln1);
            gain(&mut put, format!("blocks.{layer}.ln2"), &block.ln2);
            let attn =
                [("attn", "q", &block.q), ("attn", "k", &block.k), ("attn", "v", &block.v), ("attn", "o", &block.o)];
            let ffn = [("ffn", "in", &block.inner), ("ffn", "out", &block.outer)];
            let gate = block.gate.as_ref().map(|gate| ("ffn", "gate", gate));
            for (part, name, map) in attn.into_iter().chain(ffn).chain(gate) {
                put(format!("blocks.{layer}.{part}.w_{name}"), map.w.val().into_data());
                if let Some(b) = &map.b {
                    put(format!("blocks.{layer}.{part}.b_{name}"), b.val().into_data());
                }
            }
        }
        gain(&mut put, "ln_final".into(), &self.ln_final);
        if let Some(unembed) = &self.unembed {
            put("unembed".into(), unembed.val().into_data());
        }
        weights
    }

    /// Logits `[B,Q,V]` of whole sequences `tokens` `[B,Q]`, at most `context` long, ids below V.
    pub fn forward(&self, tokens: Tensor<2, Int>, run: &Run<'_>) -> Tensor<3> {
        self.advance(tokens, run, None)
    }

    /// The same for tokens that follow those whose keys and values are in `cache`, to which theirs are added.
    pub fn advance(&self, tokens: Tensor<2, Int>, run: &Run<'_>, cache: Option<&mut KeyValues>) -> Tensor<3> {
        let [_, queries] = tokens.dims();
        let first = cache.as_ref().map_or(0, |cache| cache.tokens());
        let mut x = run.offer(0, Site::Embed, embedding(self.embed.val(), tokens)); // [B,Q,M]
        if let Some(positions) = &self.positions {
            let rows = positions.val().narrow(0, first, queries).unsqueeze::<3>().expand(x.dims());
            x = x + run.offer(0, Site::PosEmbed, rows);
        }
        let x = self.layers_from(0, x, first, run, cache);
        self.read(x, run)
    }

    /// Logits `[B,Q,V]` of whole sequences from the residual stream x `[B,Q,M]` before `layer` on, as if the layers before
    /// had just made it; with a `query`, those of that position alone `[B,1,V]`. What mechanisms remember of earlier layers
    /// is not there.
    pub fn resume(&self, x: Tensor<3>, layer: usize, query: Option<usize>, run: &Run<'_>) -> Tensor<3> {
        let x = self.layers_from(layer, x, 0, run, None);
        let x = match query {
            Some(query) => x.narrow(1, query, 1),
            None => x,
        };
        self.read(x, run)
    }

    /// The layers from `from` on: x `[B,Q,M]` → x `[B,Q,M]`, of tokens from position `first` on.
    fn layers_from(
        &self,
        from: usize,
        mut x: Tensor<3>,
        first: usize,
        run: &Run<'_>,
        mut cache: Option<&mut KeyValues>,
    ) -> Tensor<3> {
        let (device, queries) = (x.device(), x.dims()[1]);
        let rotation = match self.config.positions {
            Positions::Learned => None,
            Positions::Rotary { pairing, .. } => {
                Some(Rotation::new(&self.config.frequencies(), pairing, first, queries, &device))
            }
        };
        let mut own = Memories::default();
        // Tokens that follow others are a decode's, which corrects the cache itself.
        let mut second = Second::new(run, &x).filter(|_| first == 0);
        for (layer, block) in self.blocks.iter().enumerate().skip(from) {
            let grid = Grid {
                layer,
                layers: self.config.layers,
                heads: self.config.heads,
                kv_heads: self.config.kv_heads,
                queries,
                keys: first + queries,
                first_query: first,
                device: device.clone(),
                inputs: Vec::new(),
            };
            let corrected = second.as_mut().and_then(|second| second.layer(self, block, &grid, rotation.as_ref()));
            let past = match cache.as_deref_mut() {
                Some(cache) => Past { memories: &mut cache.memories, keys: Some(&mut cache.layers), corrected },
                None => Past { memories: &mut own, keys: None, corrected },
            };
            x = self.block(block, x, &grid, rotation.as_ref(), run, past);
        }
        x
    }

    /// The end of the model: x `[B,Q,M]` → logits `[B,Q,V]`.
    fn read(&self, x: Tensor<3>, run: &Run<'_>) -> Tensor<3> {
        let x = run.offer(0, Site::LnFinal, self.ln_final.apply(x));
        let unembed = match &self.unembed {
            Some(unembed) => unembed.val(),
            None => self.embed.val().transpose(),
        };
        // As one matrix product, which takes the transposed view as it is; a batched one would copy the embedding.
        let [batch, queries, width] = x.dims();
        let logits = x.reshape([batch * queries, width]).matmul(unembed);
        run.offer(0, Site::Logits, logits.reshape([batch, queries, self.config.vocabulary]))
    }

    /// One layer: x `[B,Q,M]` → x `[B,Q,M]`.
    fn block(
        &self,
        block: &Block,
        x: Tensor<3>,
        at: &Grid,
        rotation: Option<&Rotation>,
        run: &Run<'_>,
        past: Past<'_>,
    ) -> Tensor<3> {
        let layer = at.layer;
        let x = run.offer(layer, Site::ResidPre, x);
        let normal = run.offer(layer, Site::Ln1, block.ln1.apply(x.clone()));
        let attn_out = self.attend(block, normal, at, rotation, run, past);
        let attn_out = run.offer(layer, Site::AttnOut, attn_out);
        match self.config.parallel {
            true => self.feed_forward_onto(block, x.clone(), x + attn_out, layer, run),
            false => self.after_attention(block, x + attn_out, layer, run),
        }
    }

    /// The second half of a layer whose halves follow one another: x `[B,Q,M]` → x `[B,Q,M]`.
    fn after_attention(&self, block: &Block, x: Tensor<3>, layer: usize, run: &Run<'_>) -> Tensor<3> {
        let x = run.offer(layer, Site::ResidMid, x);
        self.feed_forward_onto(block, x.clone(), x, layer, run)
    }

    /// x `[B,Q,M]` and what the feed-forward makes of the stream `read` `[B,Q,M]` → x `[B,Q,M]`.
    fn feed_forward_onto(
        &self,
        block: &Block,
        read: Tensor<3>,
        x: Tensor<3>,
        layer: usize,
        run: &Run<'_>,
    ) -> Tensor<3> {
        let normal = run.offer(layer, Site::Ln2, block.ln2.apply(read));
        let mlp_out = self.feed_forward(block, normal, layer, run);
        let x = x + run.offer(layer, Site::MlpOut, mlp_out);
        run.offer(layer, Site::ResidPost, x)
    }

    /// Normalised x `[B,Q,M]` → attn_out `[B,Q,M]`.
    fn attend(
        &self,
        block: &Block,
        x: Tensor<3>,
        at: &Grid,
        rotation: Option<&Rotation>,
        run: &Run<'_>,
        past: Past<'_>,
    ) -> Tensor<3> {
        let layer = at.layer;
        let q = split_heads(block.q.apply(x.clone()), at.heads); // [B,H,Q,D]
        let k = split_heads(block.k.apply(x.clone()), at.kv_heads); // [B,G,Q,D]
        let v = split_heads(block.v.apply(x), at.kv_heads); // [B,G,Q,D]
        let z = attend_heads(&self.config, [q, k, v], at, rotation, run, past);
        if run.wants(layer, Site::Result) {
            let [_, heads, _, width] = z.dims();
            let w_o = block.o.w.val().reshape([1, heads, width, self.config.width]);
            let result = z.clone().matmul(w_o); // [B,H,Q,M]
            if let Some(result) = run.offer_edit(layer, Site::Result, &result) {
                let sum = result.sum_dim(1).squeeze_dim::<3>(1);
                return match &block.o.b {
                    Some(b) => sum + b.val().unsqueeze(),
                    None => sum,
                };
            }
        }
        block.o.apply(join_heads(z))
    }

    /// Normalised x `[B,Q,M]` → mlp_out `[B,Q,M]`.
    fn feed_forward(&self, block: &Block, x: Tensor<3>, layer: usize, run: &Run<'_>) -> Tensor<3> {
        let act = |x: Tensor<3>| match self.config.activation {
            Activation::Gelu => activation::gelu(x),
            Activation::GeluTanh => activation::gelu_approximate(x),
            Activation::Silu => activation::silu(x),
            Activation::Relu => activation::relu(x),
        };
        let post = match &block.gate {
            Some(gate) => {
                let pre = run.offer(layer, Site::MlpPre, gate.apply(x.clone())); // [B,Q,F]
                act(pre) * block.inner.apply(x)
            }
            None => act(run.offer(layer, Site::MlpPre, block.inner.apply(x))),
        };
        block.outer.apply(run.offer(layer, Site::MlpPost, post))
    }
}
