//! One pane's pass, and everything it was made with, as drawings look at it.

use crate::experiment::Head;
use crate::hook::{ActivationCache, Array, Site};
use crate::lens::base::Base;
use crate::lens::finding::Axis;
use crate::mechanism::{Grid, MASKED, Memories, Mixed, Placed, Probed, Stack, Vectors};
use crate::model::CpuModel;
use crate::model::attention::{self, default_inputs};
use crate::spec::{Params, Value};
use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};

/// What is kept of a pass for drawings.
pub const WANTED: [Site; 9] =
    [Site::Q, Site::K, Site::V, Site::RotQ, Site::RotK, Site::Scores, Site::Pattern, Site::Slot, Site::Z];

/// What a drawing is made of.
pub struct Scene<'a> {
    /// The model.
    pub model: &'a CpuModel,
    /// The pane's mechanisms.
    pub stack: &'a Stack,
    /// The mechanism that draws, one of them.
    pub placed: &'a Placed,
    /// Seed of inputs nobody learned.
    pub seed: u64,
    /// Number of layers L.
    pub layers: usize,
    /// Number of query heads H.
    pub heads: usize,
    /// Number of key–value heads G.
    pub kv_heads: usize,
    /// Number of tokens n.
    pub tokens: usize,
    /// The tokens as people read them.
    pub labels: &'a [String],
    /// Tokens that stand for text.
    pub vocabulary: &'a [u32],
    /// The pinned head.
    pub head: Head,
    /// The pinned query, or the last one.
    pub query: usize,
    /// The pane's pass.
    pub own: &'a Base,
    /// The pass of plain attention over the same tokens.
    pub plain: &'a Base,
    /// What was measured on the model, where a mechanism of the pane asked for it.
    pub probed: Option<&'a Probed>,
}

/// The step of one layer of a stack on the pane's own vectors.
pub struct Stepped {
    /// Weights `[H,n,n]`.
    pub pattern: Vec<f32>,
    /// Pairs that are kept `[H,n,n]`.
    pub kept: Vec<bool>,
    /// `[H,n,D]`
    pub z: Vec<f32>,
}

impl Scene<'_> {
    /// The mechanism's parameters, typed.
    pub fn params<P: Params>(&self) -> P {
        P::from_values(&self.placed.values)
    }

    /// D.
    pub fn head_width(&self) -> usize {
        self.model.config().head_width
    }

    /// `L0`, `L1`, …
    pub fn layer_axis(&self) -> Axis {
        Axis::new("layer", (0..self.layers).map(|layer| format!("L{layer}")))
    }

    /// The tokens by place and text.
    pub fn token_axis(&self, name: &str) -> Axis {
        Axis::new(name, self.labels.iter().cloned())
    }

    /// Every head, layer by layer.
    pub fn every_head(&self) -> impl Iterator<Item = (usize, usize)> {
        let heads = self.heads;
        (0..self.layers * heads).map(move |index| (index / heads, index % heads))
    }

    /// Place of the pass in the model, with the mechanism's own inputs.
    pub fn grid(&self, layer: usize) -> Grid {
        let inputs = self.inputs(self.stack, layer);
        self.at(layer).with(self.stack.inputs_of(self.placed, &inputs))
    }

    fn at(&self, layer: usize) -> Grid {
        Grid {
            layer,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            queries: self.tokens,
            keys: self.tokens,
            first_query: 0,
            device: Device::flex(),
            inputs: Vec::new(),
        }
    }

    fn inputs(&self, stack: &Stack, layer: usize) -> Vec<Array> {
        default_inputs(stack, layer, self.heads, self.kv_heads, self.head_width(), self.seed)
    }

    /// One head's part of what was recorded at a site that has query heads.
    fn of<'b>(&self, from: &'b ActivationCache, layer: usize, head: usize, site: Site) -> &'b [f32] {
        let Ok(array) = from.get(layer, site) else { return &[] };
        let size = array.data.len() / self.heads.max(1);
        array.data.get(head * size..(head + 1) * size).unwrap_or(&[])
    }

    /// Weights of a head `[n,n]`.
    pub fn pattern(&self, layer: usize, head: usize) -> &[f32] {
        self.of(&self.own.captures, layer, head, Site::Pattern)
    }

    /// The same in the pass of plain attention.
    pub fn plain_pattern(&self, layer: usize, head: usize) -> &[f32] {
        self.of(&self.plain.captures, layer, head, Site::Pattern)
    }

    /// Weights of the slot of a head `[n]`, empty where there is none.
    pub fn slot(&self, layer: usize, head: usize) -> &[f32] {
        self.of(&self.own.captures, layer, head, Site::Slot)
    }

    /// What a head mixed `[n,D]`.
    pub fn z(&self, layer: usize, head: usize) -> &[f32] {
        self.of(&self.own.captures, layer, head, Site::Z)
    }

    /// Pairs of a head that are kept `[n,n]`: those with a score, under a mixer those with weight.
    pub fn kept(&self, layer: usize, head: usize) -> Vec<bool> {
        match self.stack.mixer {
            Some(_) => self.pattern(layer, head).iter().map(|weight| *weight != 0.0).collect(),
            None => {
                self.of(&self.own.captures, layer, head, Site::Scores).iter().map(|score| *score != MASKED).collect()
            }
        }
    }

    /// Queries, keys and values of the pane's pass as attention takes them.
    ///
    /// # Errors
    /// [`Error::Unknown`] when they were not recorded.
    pub fn vectors(&self, layer: usize) -> Result<Vectors> {
        let one = |sites: &[Site]| -> Result<Tensor<4>> {
            let found = sites.iter().find_map(|site| self.own.captures.get(layer, *site).ok());
            let array = found.ok_or_else(|| Error::Internal("vectors were not recorded".into()))?;
            Ok(Tensor::from_data(TensorData::new(array.data.clone(), array.shape.clone()), &Device::flex()))
        };
        let (q, k) = (one(&[Site::RotQ, Site::Q])?, one(&[Site::RotK, Site::K])?);
        Ok(Vectors { q, k, v: one(&[Site::V])?, scale: self.model.config().scale(), corrected: None })
    }

    /// What softmax attention would make of the same queries, keys and values in this layer.
    ///
    /// # Errors
    /// Those of [`Scene::step`].
    pub fn exact(&self, layer: usize) -> Result<Stepped> {
        self.step(&Stack::new("a", &[])?, layer)
    }

    /// The attention step of `stack`, apart from projections, on the pane's own vectors in this layer, with nothing
    /// remembered of earlier layers.
    ///
    /// # Errors
    /// [`Error::Internal`] when vectors were not recorded.
    pub fn step(&self, stack: &Stack, layer: usize) -> Result<Stepped> {
        let (at, vectors, inputs) = (self.at(layer), self.vectors(layer)?, self.inputs(stack, layer));
        let mut memories = Memories::default();
        if let Some(mixer) = &stack.mixer {
            let Mixed { z, pattern } = attention::mix(stack, mixer, &at, vectors, &inputs, &mut memories);
            let pattern = host(pattern());
            return Ok(Stepped { kept: pattern.iter().map(|weight| *weight != 0.0).collect(), pattern, z: host(z) });
        }
        let scored = attention::score(stack, &at, &vectors, vectors.scores(), &inputs, &mut memories);
        let kept = host(scored.scores.clone()).into_iter().map(|score| score != MASKED).collect();
        let weighted = attention::weigh(stack, &at, scored, vectors.clone(), &inputs, &mut memories);
        let z = host(attention::sum(&weighted, &vectors, None));
        Ok(Stepped { pattern: host(weighted.pattern), kept, z })
    }

    /// The pane with other values of the mechanism that draws.
    pub fn with(&self, values: Vec<Value>) -> Stack {
        let mut stack = self.stack.with_values(self.placed.mechanism.id, values);
        if let Some(probed) = self.probed {
            stack.measure(probed);
        }
        stack
    }

    /// Log-probabilities `[n,V]` of each of several texts of one length.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn log_probabilities(&self, stack: &Stack, texts: &[&[u32]]) -> Result<Vec<Array>> {
        let logits = self.model.run(texts, stack, self.seed, &mut ActivationCache::default())?;
        let of_text = |text: usize| Array::new(&logits.shape[1..], logits.at(text).to_vec());
        (0..texts.len()).map(|text| Ok(crate::engine::log_probabilities(&of_text(text)?))).collect()
    }

    /// Mean loss of a stack on the pane's tokens, in nats per token; NaN for a single token.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn loss(&self, stack: &Stack) -> Result<f32> {
        let log_probabilities = self.log_probabilities(stack, &[&self.own.tokens])?;
        let loss = log_probabilities.first().and_then(|one| crate::lens::base::loss(one, &self.own.tokens));
        Ok(loss.unwrap_or(f32::NAN))
    }
}

impl Stepped {
    /// One head's weights `[n,n]`.
    pub fn pattern_of(&self, head: usize, tokens: usize) -> &[f32] {
        self.pattern.get(head * tokens * tokens..(head + 1) * tokens * tokens).unwrap_or(&[])
    }

    /// One head's output `[n,D]`.
    pub fn z_of(&self, head: usize, heads: usize) -> &[f32] {
        let size = self.z.len() / heads.max(1);
        self.z.get(head * size..(head + 1) * size).unwrap_or(&[])
    }
}

/// The weight on marked pairs as a share of all weight.
pub fn mass(weights: &[f32], marked: &[bool]) -> f32 {
    let all: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let on = weights.iter().zip(marked).filter(|(_, marked)| **marked).map(|(weight, _)| f64::from(*weight));
    (on.sum::<f64>() / all.max(f64::MIN_POSITIVE)) as f32
}

/// ‖a - b‖ / ‖b‖ over all entries.
pub fn error(a: &[f32], b: &[f32]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let difference = square(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (difference / square(&mut b.iter().copied()).max(f64::MIN_POSITIVE)).sqrt() as f32
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
