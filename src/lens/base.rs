//! One pass whose residual stream is kept, and passes that start again from any layer of it.
//!
//! What an intervention at layer L does not touch comes before L and is the same: such a pass starts from the kept residual
//! stream before L instead of from the tokens. Where mechanisms carry something from layer to layer (a list of keys, a
//! state) the layers before run too, and the residual stream is then put in its place before L, which gives the same.

use crate::Result;
use crate::engine::log_probabilities;
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::mechanism::Stack;
use crate::model::CpuModel;

/// What one pass left behind.
#[derive(Debug, Clone)]
pub struct Base {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Log-probabilities `[Q,V]`.
    pub log_probabilities: Array,
    /// Logits `[Q,V]`.
    pub logits: Array,
    /// The residual stream before every layer and after the last, each `[Q,M]`.
    pub residuals: Vec<Array>,
    /// Whatever else was asked for, with B = 1.
    pub captures: ActivationCache,
    /// Whether passes may start in the middle.
    restarts: bool,
}

/// What every pass from one base shares.
#[derive(Clone, Copy)]
pub struct Again<'a> {
    /// The model.
    pub model: &'a CpuModel,
    /// Its mechanisms.
    pub stack: &'a Stack,
    /// Seed of inputs nobody learned.
    pub seed: u64,
    /// Where it starts from.
    pub base: &'a Base,
}

impl Base {
    /// Runs `tokens` whole, keeping `also` beside the residual stream.
    ///
    /// # Errors
    /// Those of [`CpuModel::run`].
    pub fn new(model: &CpuModel, stack: &Stack, seed: u64, tokens: &[u32], also: &[Site]) -> Result<Self> {
        let kept = [&[Site::ResidPre, Site::ResidPost], also].concat();
        let mut captures = ActivationCache::new(Selection::sites(&kept));
        let (mut logits, remembers) = model.run_remembering(tokens, stack, seed, &mut captures)?;
        logits.shape.remove(0);
        let layers = model.config().layers;
        let mut residuals = Vec::new();
        for layer in 0..=layers {
            let site = if layer == layers { Site::ResidPost } else { Site::ResidPre };
            let mut stream = captures.get(layer.min(layers.saturating_sub(1)), site)?.clone();
            stream.shape.remove(0);
            residuals.push(stream);
        }
        let log_probabilities = log_probabilities(&logits);
        Ok(Self { tokens: tokens.into(), log_probabilities, logits, residuals, captures, restarts: !remembers })
    }

    /// Mean loss on the tokens, in nats; none for a single token.
    pub fn loss(&self) -> Option<f32> {
        loss(&self.log_probabilities, &self.tokens)
    }
}

/// Mean of −log P of each token given those before it; none for a single token.
pub fn loss(log_probabilities: &Array, tokens: &[u32]) -> Option<f32> {
    let one = |(query, token): (usize, &u32)| {
        -f64::from(log_probabilities.at(query).get(*token as usize).copied().unwrap_or(f32::NAN))
    };
    let sum: f64 = tokens.iter().skip(1).enumerate().map(one).sum();
    (tokens.len() > 1).then(|| (sum / (tokens.len() - 1) as f64) as f32)
}

impl Again<'_> {
    /// `rows` passes from the residual stream before `layer` on, which `edit` may change for each row `[Q,M]`; `tap` sees the
    /// layers from there on. → logits `[rows,Q,V]`, or with a `query` those of that position alone `[rows,1,V]`.
    ///
    /// # Errors
    /// Those of [`CpuModel::resume`].
    pub fn from(
        &self,
        layer: usize,
        rows: usize,
        query: Option<usize>,
        mut edit: impl FnMut(usize, &mut [f32]),
        tap: &mut dyn Tap,
    ) -> Result<Array> {
        let stream = &self.base.residuals[layer.min(self.base.residuals.len() - 1)];
        let mut data = stream.data.repeat(rows);
        data.chunks_mut(stream.data.len().max(1)).enumerate().for_each(|(row, stream)| edit(row, stream));
        let residual = Array::new([&[rows], stream.shape.as_slice()].concat(), data)?;
        if self.base.restarts {
            return self.model.resume(&residual, layer, query, self.stack, self.seed, tap);
        }
        let batch = vec![self.base.tokens.as_slice(); rows];
        let last = self.model.config().layers;
        let at = match layer == last {
            true => HookPoint::new(last.saturating_sub(1), Site::ResidPost),
            false => HookPoint::new(layer, Site::ResidPre),
        };
        let mut put = Put { at, residual: Some(residual), then: tap, first: layer };
        let logits = self.model.run(&batch, self.stack, self.seed, &mut put)?;
        match query {
            None => Ok(logits),
            Some(query) => {
                let [_, queries, vocabulary] = logits.shape[..] else { return Ok(logits) };
                let one = |row: &[f32]| row[query * vocabulary..(query + 1) * vocabulary].to_vec();
                let rows_of_query = logits.data.chunks(queries * vocabulary).flat_map(one).collect();
                Array::new([rows, 1, vocabulary], rows_of_query)
            }
        }
    }
}

/// Puts a residual stream in its place, and shows another tap the layers from there on.
struct Put<'a> {
    at: HookPoint,
    residual: Option<Array>,
    first: usize,
    then: &'a mut dyn Tap,
}

impl Tap for Put<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at == self.at || (at.layer >= self.first && self.then.wants(at))
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        let put = if at == self.at { self.residual.take() } else { None };
        let wanted = at.layer >= self.first && self.then.wants(at);
        let edited = wanted.then(|| self.then.visit(at, put.as_ref().unwrap_or(value))).flatten();
        edited.or(put)
    }
}
