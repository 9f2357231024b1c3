//! The model without tensors: what a continuation runs on the processor, where nobody looks.
//!
//! The definition is [`Text`](super::Text); this computes the same logits from plain arrays, several times as fast, because
//! nothing is allocated or dispatched per operation, keys and values are written where they stay, the projections of a
//! layer are one product, and only the last token meets the vocabulary. What mechanisms put in attention's place is the
//! definition's own code. Tests hold both against each other.
//!
//! Its loops are `attnscope_loops`; attention under mechanisms, in tensors, is `stacked`.

mod stacked;

use super::config::{Config, Norm, Positions};
use super::decode::KeyValues;
use super::run::Run;
use super::weights::Weights;
use crate::Result;
use crate::mechanism::{Corrects, Stack};
use attnscope_loops::attention::{self, Attending, Heads, Plain};
pub(crate) use attnscope_loops::linear::dot;
use attnscope_loops::linear::{Matrix, add_product};
use attnscope_loops::steps::{Gain, Turns, activate};
use stacked::Stacked;

/// Tokens that pass through a layer of plain attention together; what they need besides weights stays in the second cache.
const CHUNK: usize = 128;

/// A model ready to continue sequences.
#[derive(Debug)]
pub(super) struct Lean {
    config: Config,
    /// `[V,M]`
    embed: Vec<f32>,
    /// `[context,M]`
    positions: Option<Vec<f32>>,
    plain: Plain,
    blocks: Vec<Block>,
    ln_final: Gain,
    /// `[M,V]`; the embedding stands in where there is none.
    unembed: Option<Vec<f32>>,
}

#[derive(Debug)]
struct Block {
    ln1: Gain,
    /// Queries, keys and values side by side.
    qkv: Map,
    o: Map,
    ln2: Gain,
    /// The gate, where there is one, and the linear part side by side.
    inner: Map,
    outer: Map,
}

/// x·w + b
#[derive(Debug)]
struct Map {
    /// `[inner,columns]`
    w: Vec<f32>,
    b: Option<Vec<f32>>,
    columns: usize,
}

/// What a sequence has left behind.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    /// Under plain attention.
    Plain(attention::Kept),
    /// Under a stack that does something.
    Stacked(KeyValues),
}

/// What stands between the projections of a layer and its output projection.
trait Attend {
    /// Rows of projections [H·D + 2·G·D] of new tokens, not rotated → z [Q,H·D].
    fn attend(&mut self, layer: usize, projections: &mut [f32], z: &mut [f32]) -> Result<()>;
}

impl Attend for Attending<'_> {
    fn attend(&mut self, layer: usize, projections: &mut [f32], z: &mut [f32]) -> Result<()> {
        self.attend(layer, projections, z);
        Ok(())
    }
}

/// Arrays that every layer uses again.
#[derive(Default)]
struct Space {
    normal: Vec<f32>,
    projections: Vec<f32>,
    z: Vec<f32>,
    inner: Vec<f32>,
    post: Vec<f32>,
}

impl Map {
    /// Maps that read the same rows, side by side.
    fn beside(weights: &mut Weights, part: &str, names: &[&str], bias: bool) -> Result<Self> {
        let mut take = |kind: &str| -> Result<Vec<_>> {
            names.iter().map(|name| weights.take(&format!("{part}.{kind}_{name}"))).collect()
        };
        let parts = take("w")?;
        let b = bias.then(|| take("b")).transpose()?.map(|parts| parts.into_iter().flat_map(|b| b.data).collect());
        let [inner, _] = parts[0].shape[..] else {
            return Ok(Self { w: Vec::new(), b, columns: 0 });
        };
        let columns = parts.iter().map(|part| part.data.len() / inner).sum();
        let w = match <[_; 1]>::try_from(parts) {
            Ok([only]) => only.data,
            Err(parts) => (0..inner).flat_map(|row| parts.iter().flat_map(move |part| part.at(row))).copied().collect(),
        };
        Ok(Self { w, b, columns })
    }

    /// y `[rows,columns]` = x `[rows,inner]` · w + b
    fn apply(&self, x: &[f32], rows: usize, y: &mut Vec<f32>) {
        y.clear();
        match &self.b {
            Some(b) => (0..rows).for_each(|_| y.extend_from_slice(b)),
            None => y.resize(rows * self.columns, 0.0),
        }
        self.add(x, rows, y);
    }

    /// x `[rows,inner]` · w + b, added to y `[rows,columns]`.
    fn apply_onto(&self, x: &[f32], rows: usize, y: &mut [f32]) {
        if let Some(b) = &self.b {
            for row in y.chunks_exact_mut(self.columns) {
                row.iter_mut().zip(b).for_each(|(y, b)| *y += b);
            }
        }
        self.add(x, rows, y);
    }

    fn add(&self, x: &[f32], rows: usize, y: &mut [f32]) {
        let inner = x.len() / rows;
        add_product(
            Matrix::new(x, inner),
            [rows, inner, self.columns],
            Matrix::new(&self.w, self.columns),
            y,
            self.columns,
        );
    }
}

impl Lean {
    /// A model with these weights, which it takes apart.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when a weight is missing.
    pub fn new(config: &Config, mut weights: Weights) -> Result<Self> {
        let gain = |weights: &mut Weights, name: &str| {
            let b = (config.norm == Norm::Layer).then(|| weights.take(&format!("{name}.b"))).transpose()?;
            let (w, b) = (weights.take(&format!("{name}.w"))?.data, b.map(|b| b.data));
            Result::Ok(Gain { w, b, norm: config.norm, epsilon: config.norm_epsilon as f32 })
        };
        let block = |layer: usize| {
            let at = |part: &str| format!("blocks.{layer}.{part}");
            let (attn, ffn, weights) = (at("attn"), at("ffn"), &mut weights);
            let inner: &[&str] = if config.gated { &["gate", "in"] } else { &["in"] };
            Result::Ok(Block {
                ln1: gain(weights, &at("ln1"))?,
                qkv: Map::beside(weights, &attn, &["q", "k", "v"], config.attention_bias)?,
                o: Map::beside(weights, &attn, &["o"], config.attention_bias)?,
                ln2: gain(weights, &at("ln2"))?,
                inner: Map::beside(weights, &ffn, inner, config.ffn_bias)?,
                outer: Map::beside(weights, &ffn, &["out"], config.ffn_bias)?,
            })
        };
        let blocks = (0..config.layers).map(block).collect::<Result<_>>()?;
        let positions = (config.positions == Positions::Learned).then(|| weights.take("positions")).transpose()?;
        Ok(Self {
            embed: weights.take("embed")?.data,
            positions: positions.map(|positions| positions.data),
            plain: plain(config),
            blocks,
            ln_final: gain(&mut weights, "ln_final")?,
            unembed: (!config.tied).then(|| weights.take("unembed")).transpose()?.map(|head| head.data),
            config: config.clone(),
        })
    }

    /// Logits `[V]` behind the last of `tokens`, a whole sequence whose beginning is in `kept`, computed under the same stack
    /// and seed. They fit the context and lie below V.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] when a tensor does not hold what it should.
    pub fn advance(&self, kept: &mut Option<Kept>, run: &Run<'_>, tokens: &[u32]) -> Result<Vec<f32>> {
        let kept = kept.get_or_insert_with(|| match is_plain(run.stack) {
            true => Kept::Plain(attention::Kept::default()),
            false => Kept::Stacked(KeyValues::new()),
        });
        let (mut space, mut x) = (Space::default(), Vec::new());
        match kept {
            Kept::Plain(kept) => {
                for chunk in tokens[kept.tokens..].chunks(CHUNK) {
                    let first = kept.tokens;
                    x = self.pass(chunk, first, &mut self.plain.attending(kept), &mut space)?;
                    kept.tokens += chunk.len();
                }
            }
            Kept::Stacked(cache) => {
                let corrects = run.stack.corrects();
                while cache.tokens() < tokens.len() {
                    let first = cache.tokens();
                    let end = corrects.map_or(tokens.len(), |corrects| corrects.next(first).min(tokens.len()));
                    let mut attend = Stacked::new(&self.config, run, cache, end - first);
                    x = self.pass(&tokens[first..end], first, &mut attend, &mut space)?;
                    if let Some(corrects) = corrects {
                        self.correct(cache, corrects, run, &tokens[..end], &mut space)?;
                    }
                }
            }
        }
        Ok(self.logits(&x[x.len() - self.config.width..]))
    }

    /// Where a correction is due behind `tokens`, the whole text so far, computes those since the last one once more without
    /// the selector, and keeps that.
    fn correct(
        &self,
        cache: &mut KeyValues,
        corrects: Corrects,
        run: &Run<'_>,
        tokens: &[u32],
        space: &mut Space,
    ) -> Result<()> {
        if !corrects.is_due(tokens.len()) {
            return Ok(());
        }
        let first = corrects.before(tokens.len() - 1);
        let stack = run.stack.without_selector();
        let run = Run::new(&stack, run.seed);
        cache.rewind(first);
        // What mechanisms remember of one stream is nothing to the other.
        std::mem::swap(&mut cache.memories, &mut cache.corrections);
        let mut attend = Stacked::new(&self.config, &run, cache, tokens.len() - first);
        let result = self.pass(&tokens[first..], first, &mut attend, space);
        std::mem::swap(&mut cache.memories, &mut cache.corrections);
        result.map(|_| ())
    }

    /// The residual stream `[tokens,M]` behind the last layer, of tokens from `first` on.
    fn pass(&self, tokens: &[u32], first: usize, attend: &mut dyn Attend, space: &mut Space) -> Result<Vec<f32>> {
        let mut x = self.embedded(tokens, first);
        for (layer, block) in self.blocks.iter().enumerate() {
            self.block(block, layer, tokens.len(), &mut x, attend, space)?;
        }
        Ok(x)
    }

    /// x `[M]` → logits `[V]`.
    fn logits(&self, x: &[f32]) -> Vec<f32> {
        let width = self.config.width;
        let mut normal = vec![0.0; width];
        self.ln_final.apply(x, &mut normal);
        match &self.unembed {
            Some(unembed) => {
                let mut logits = vec![0.0; self.config.vocabulary];
                let sizes = [1, width, self.config.vocabulary];
                let vocabulary = self.config.vocabulary;
                add_product(
                    Matrix::new(&normal, width),
                    sizes,
                    Matrix::new(unembed, vocabulary),
                    &mut logits,
                    vocabulary,
                );
                logits
            }
            None => self.embed.chunks_exact(width).map(|row| dot(row, &normal)).collect(),
        }
    }

    /// Rows of the embedding `[tokens,M]`, with learned positions from `first` on.
    fn embedded(&self, tokens: &[u32], first: usize) -> Vec<f32> {
        let width = self.config.width;
        let row = |id: &u32| &self.embed[*id as usize * width..][..width];
        let mut x: Vec<f32> = tokens.iter().flat_map(row).copied().collect();
        if let Some(positions) = &self.positions {
            x.iter_mut().zip(&positions[first * width..]).for_each(|(x, position)| *x += position);
        }
        x
    }

    /// One layer: x `[rows,M]` → x.
    fn block(
        &self,
        block: &Block,
        layer: usize,
        rows: usize,
        x: &mut [f32],
        attend: &mut dyn Attend,
        space: &mut Space,
    ) -> Result<()> {
        let Space { normal, projections, z, inner, post } = space;
        let (config, width) = (&self.config, self.config.width);
        let normalise = |gain: &Gain, x: &[f32], normal: &mut Vec<f32>| {
            normal.resize(x.len(), 0.0);
            x.chunks_exact(width).zip(normal.chunks_exact_mut(width)).for_each(|(x, out)| gain.apply(x, out));
        };

        normalise(&block.ln1, x, normal);
        block.qkv.apply(normal, rows, projections);
        z.resize(rows * config.heads * config.head_width, 0.0);
        attend.attend(layer, projections, z)?;
        if config.parallel {
            normalise(&block.ln2, x, normal);
        }
        block.o.apply_onto(z, rows, x);
        if !config.parallel {
            normalise(&block.ln2, x, normal);
        }
        block.inner.apply(normal, rows, inner);
        let post = match config.gated {
            true => {
                post.clear();
                for row in inner.chunks_exact_mut(2 * config.ffn) {
                    let (gate, linear) = row.split_at_mut(config.ffn);
                    activate(config.activation, gate);
                    post.extend(gate.iter().zip(linear).map(|(gate, linear)| gate * *linear));
                }
                post
            }
            false => {
                activate(config.activation, inner);
                inner
            }
        };
        block.outer.apply_onto(post, rows, x);
        Ok(())
    }
}

fn heads(config: &Config) -> Heads {
    Heads { heads: config.heads, kv_heads: config.kv_heads, width: config.head_width }
}

fn plain(config: &Config) -> Plain {
    let turns = match config.positions {
        Positions::Learned => None,
        Positions::Rotary { pairing, .. } => Some(Turns::new(config.frequencies(), pairing)),
    };
    Plain { heads: heads(config), scale: config.scale(), turns }
}

/// Whether this is attention as it was trained: nothing but softmax at its defaults.
pub(crate) fn is_plain(stack: &Stack) -> bool {
    let is_default = |plain: Stack| {
        plain.normalizer.mechanism.id == stack.normalizer.mechanism.id
            && plain.normalizer.values == stack.normalizer.values
    };
    let alone = stack.mixer.is_none() && stack.iter().count() == 1;
    alone && Stack::new("a", &[]).is_ok_and(is_default)
}
