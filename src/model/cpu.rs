//! The burn model as an engine: tokens in, logits and captures out, on the processor.

use super::config::Config;
use super::decode::KeyValues;
use super::lean::{Kept, Lean};
use super::run::{Run, host};
use super::text::{self, Text};
use super::weights::Weights;
use crate::engine::{Forward, Pass, Request};
use crate::hook::{ActivationCache, Array, Tap};
use crate::mechanism::Stack;
use crate::{Error, Result};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::{Arc, OnceLock};

/// A model on burn's processor backend.
#[derive(Debug, Clone)]
pub struct CpuModel {
    text: Text,
    device: Device,
    /// Made when a continuation first wants it, since it holds the weights a second time.
    lean: OnceLock<Arc<Lean>>,
}

impl CpuModel {
    /// A model with these weights.
    ///
    /// # Errors
    /// Those of [`Config::check`] and [`Weights::check`].
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        config.check("config")?;
        weights.check(config, "weights")?;
        let device = Device::flex();
        Ok(Self { text: Text::from_weights(config, weights, &device)?, device, lean: OnceLock::new() })
    }

    /// Sizes and choices.
    pub fn config(&self) -> &Config {
        &self.text.config
    }

    /// The weights, copied out of the tensors.
    pub fn weights(&self) -> Weights {
        self.text.to_weights()
    }

    /// Runs whole sequences of equal length as one batch, offering every activation to `tap`; → logits `[B,Q,V]`.
    ///
    /// # Errors
    /// [`Error::Param`] for sequences that are empty, too long, uneven or name unknown tokens; [`Error::Shape`] for a
    /// replacement that does not fit.
    pub fn run(&self, batch: &[&[u32]], stack: &Stack, seed: u64, tap: &mut dyn Tap) -> Result<Array> {
        let queries = batch.first().map_or(0, |row| row.len());
        if batch.iter().any(|row| row.len() != queries) {
            return Err(refuse("sequences", "all have one length", "of several lengths".into()));
        }
        for row in batch {
            self.check_tokens(row, 0)?;
        }
        let run = Run::tapped(stack, seed, tap);
        let logits = self.text.forward(self.tokens(batch, queries), &run);
        run.verdict()?;
        Ok(host(logits.into_data()))
    }

    /// Runs one sequence as [`CpuModel::run`] does; → logits `[1,Q,V]`, and whether mechanisms carry something from layer to
    /// layer, so that [`CpuModel::resume`] would miss it.
    ///
    /// # Errors
    /// As [`CpuModel::run`].
    pub fn run_remembering(
        &self,
        tokens: &[u32],
        stack: &Stack,
        seed: u64,
        tap: &mut dyn Tap,
    ) -> Result<(Array, bool)> {
        self.check_tokens(tokens, 0)?;
        let run = Run::tapped(stack, seed, tap);
        let mut cache = KeyValues::new();
        let logits = self.text.advance(self.tokens(&[tokens], tokens.len()), &run, Some(&mut cache));
        run.verdict()?;
        Ok((host(logits.into_data()), cache.memories.words() > 0))
    }

    /// Runs a batch of whole sequences from their residual stream `[B,Q,M]` before `layer` on; → logits `[B,Q,V]`, or with a
    /// `query` those of that position alone `[B,1,V]`. What mechanisms remember of earlier layers is not there.
    ///
    /// # Errors
    /// [`Error::Shape`] for a residual stream that is not `[B,Q,M]`, or a replacement that does not fit; [`Error::Param`] for
    /// a layer or query that is not there.
    pub fn resume(
        &self,
        residual: &Array,
        layer: usize,
        query: Option<usize>,
        stack: &Stack,
        seed: u64,
        tap: &mut dyn Tap,
    ) -> Result<Array> {
        let config = self.config();
        let &[batch, queries, width] = residual.shape.as_slice() else { return Err(misshaped(residual)) };
        if width != config.width || queries == 0 || batch == 0 {
            return Err(misshaped(residual));
        }
        if layer > config.layers || query.is_some_and(|query| query >= queries) {
            let came = format!("{layer} and {query:?}");
            return Err(refuse("layer and query", &format!("lie within {} and {queries}", config.layers), came));
        }
        let run = Run::tapped(stack, seed, tap);
        let x = Tensor::from_data(TensorData::new(residual.data.clone(), residual.shape.clone()), &self.device);
        let logits = self.text.resume(x, layer, query, &run);
        run.verdict()?;
        Ok(host(logits.into_data()))
    }

    /// How Σ weight·logit of some tokens at position `query` changes with the residual stream, which before the first layer is
    /// `residual` `[B,Q,M]`, under attention as the model was trained.
    ///
    /// # Errors
    /// As [`CpuModel::resume`]; [`Error::Param`] for a token that is not there.
    pub fn slopes(&self, residual: &Array, query: usize, of: &[(u32, f32)]) -> Result<Slopes> {
        self.back(residual, None, query, of)
    }

    /// DeepLIFT's multipliers instead, against a reference of the same shape: activations have the slope of the line between
    /// both points, everything else its own.
    ///
    /// # Errors
    /// As [`CpuModel::slopes`].
    pub fn multipliers(&self, residual: &Array, reference: &Array, query: usize, of: &[(u32, f32)]) -> Result<Slopes> {
        if reference.shape != residual.shape {
            return Err(misshaped(reference));
        }
        self.back(residual, Some(reference), query, of)
    }

    fn back(&self, residual: &Array, reference: Option<&Array>, query: usize, of: &[(u32, f32)]) -> Result<Slopes> {
        let config = self.config();
        match residual.shape.as_slice() {
            &[batch, queries, width] if width == config.width && queries > query && batch > 0 => {}
            _ => return Err(misshaped(residual)),
        }
        if let Some((token, _)) = of.iter().find(|(token, _)| *token as usize >= config.vocabulary) {
            let expected = format!("lie below the vocabulary of {}", config.vocabulary);
            return Err(refuse("tokens", &expected, token.to_string()));
        }
        let tensor = |x: &Array| Tensor::from_data(TensorData::new(x.data.clone(), x.shape.clone()), &self.device);
        let text::Slopes { begin, attention } = self.text.slopes(tensor(residual), reference.map(tensor), query, of);
        let all = |slopes: Vec<Tensor<3>>| slopes.into_iter().map(|slope| host(slope.into_data())).collect();
        Ok(Slopes { begin: all(begin), attention: all(attention) })
    }

    /// Step-by-step decoding under `stack`.
    pub fn decoder<'a>(&'a self, stack: &'a Stack, seed: u64) -> Decoder<'a> {
        Decoder { model: self, stack, seed, seen: Seen::default() }
    }

    /// Logits `[V]` after the last of `tokens`, a whole sequence. Only what does not continue `seen`, which was computed
    /// under the same stack and seed, is computed anew.
    ///
    /// # Errors
    /// As [`CpuModel::run`].
    pub fn decode(&self, seen: &mut Seen, stack: &Stack, seed: u64, tokens: &[u32]) -> Result<Vec<f32>> {
        // The last token is always run again, since its logits are not kept.
        if tokens.len() <= seen.tokens.len() || !tokens.starts_with(&seen.tokens) {
            *seen = Seen::default();
        }
        let new = &tokens[seen.tokens.len()..];
        self.check_tokens(new, seen.tokens.len())?;
        let run = Run::new(stack, seed);
        let logits = self.lean()?.advance(&mut seen.kept, &run, tokens)?;
        seen.tokens.extend_from_slice(new);
        Ok(logits)
    }

    fn lean(&self) -> Result<Arc<Lean>> {
        match self.lean.get() {
            Some(lean) => Ok(lean.clone()),
            None => {
                let lean = Arc::new(Lean::new(self.config(), self.text.to_weights())?);
                Ok(self.lean.get_or_init(|| lean).clone())
            }
        }
    }

    fn tokens(&self, batch: &[&[u32]], queries: usize) -> Tensor<2, Int> {
        let ids: Vec<i32> = batch.iter().flat_map(|row| row.iter().map(|id| id.cast_signed())).collect();
        Tensor::from_data(TensorData::new(ids, [batch.len(), queries]), &self.device)
    }

    /// Refuses what the tensor code could not take: no tokens, more than fit after `seen`, ids beyond the vocabulary.
    ///
    /// # Errors
    /// [`Error::Param`].
    pub fn check_tokens(&self, tokens: &[u32], seen: usize) -> Result<()> {
        let config = self.config();
        if tokens.is_empty() {
            return Err(refuse("tokens", "hold at least one token", "empty".into()));
        }
        if seen + tokens.len() > config.context {
            let came = format!("{} tokens long", seen + tokens.len());
            return Err(refuse("tokens", &format!("fit the context of {}", config.context), came));
        }
        match tokens.iter().find(|id| **id as usize >= config.vocabulary) {
            Some(id) => {
                Err(refuse("tokens", &format!("lie below the vocabulary of {}", config.vocabulary), id.to_string()))
            }
            None => Ok(()),
        }
    }
}

fn misshaped(residual: &Array) -> Error {
    Error::Shape {
        who: "model".into(),
        tensor: "residual".into(),
        expected: "[B,Q,M]".into(),
        came: format!("{:?}", residual.shape),
    }
}

fn refuse(key: &str, expected: &str, came: String) -> Error {
    Error::Param { who: "model".into(), key: key.into(), expected: expected.into(), came }
}

/// Slopes of a number on the residual stream of every layer, each `[B,Q,M]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slopes {
    /// At the beginning of each layer, and after the last: L + 1.
    pub begin: Vec<Array>,
    /// Of what attention adds in each layer.
    pub attention: Vec<Array>,
}

impl Forward for CpuModel {
    async fn forward(&mut self, request: Request<'_>) -> Result<Pass> {
        let mut captures = ActivationCache::new(request.wants);
        let mut logits = self.run(&[request.tokens], request.stack, request.seed, &mut captures)?;
        logits.shape.remove(0); // [1,Q,V] → [Q,V]
        Ok(Pass { logits, captures })
    }
}

/// What decoding a sequence under one stack has kept: its tokens, their keys and values.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Where the model without tensors does.
    kept: Option<Kept>,
    tokens: Vec<u32>,
}

/// Decodes one sequence, keeping keys and values of what it has seen.
pub struct Decoder<'a> {
    model: &'a CpuModel,
    stack: &'a Stack,
    seed: u64,
    seen: Seen,
}

impl Seen {
    /// Bytes that are held of keys and values, and bytes that mechanisms hold beside them, under a stack that does something.
    /// Plain attention, which keeps everything, has a cache of its own with room for more tokens, and is not counted.
    pub fn bytes(&self) -> Option<[usize; 2]> {
        match self.kept.as_ref()? {
            Kept::Stacked(cache) => Some([4 * cache.numbers(), 4 * cache.remembered()]),
            Kept::Plain(_) => None,
        }
    }
}

impl Decoder<'_> {
    /// Keys of one layer `[1,G,K,D]`, under a stack that does something and drops nothing.
    pub fn keys(&self, layer: usize) -> Option<Array> {
        match self.seen.kept.as_ref()? {
            Kept::Stacked(cache) => cache.keys(layer),
            Kept::Plain(_) => None,
        }
    }

    /// See [`Seen::bytes`].
    pub fn bytes(&self) -> Option<[usize; 2]> {
        self.seen.bytes()
    }

    /// Logits `[V]` after the last of `tokens`, a whole sequence; see [`CpuModel::decode`].
    ///
    /// # Errors
    /// As [`CpuModel::run`].
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.model.decode(&mut self.seen, self.stack, self.seed, tokens)
    }
}
