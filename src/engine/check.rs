//! The self-check at start: does this device compute the numbers it should?
//!
//! A shipped model carries [`SELF_CHECK`](crate::model::load::SELF_CHECK), a few logits that a native build computed with the burn model. Every start
//! compares its own logits with them, so that a damaged weight file, a miscompiled kernel or a wrong driver shows. A model
//! without the file is checked on the GPU against the burn model on the same processor.

use super::{Forward, Request};
use crate::hook::{Array, Selection};
use crate::mechanism::Stack;
use crate::model::Config;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many tokens the check reads, and how many logits of each row it compares.
const TOKENS: usize = 24;
const LOGITS: usize = 16;

/// Logits of plain softmax attention at every position of a fixed sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The sequence.
    pub tokens: Vec<u32>,
    /// Which vocabulary entries.
    pub ids: Vec<u32>,
    /// Their logits, position by position, [tokens · ids].
    pub logits: Vec<f32>,
}

impl Reference {
    /// Reads the file; `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::File`] when it is not a reference for this configuration.
    pub fn read(file: &str, bytes: &[u8], config: &Config) -> Result<Self> {
        let reference: Self = serde_json::from_slice(bytes).map_err(|error| Error::file(file, error))?;
        let known = |id: &u32| (*id as usize) < config.vocabulary;
        let fits = !reference.tokens.is_empty()
            && reference.tokens.len() <= config.context
            && reference.logits.len() == reference.tokens.len() * reference.ids.len()
            && reference.tokens.iter().all(known)
            && reference.ids.iter().all(known);
        if fits {
            Ok(reference)
        } else {
            Err(Error::file(file, "does not belong to this model; write it anew with its weights"))
        }
    }

    /// What `model` computes, on tokens and entries spread over the vocabulary.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub async fn new(model: &mut impl Forward, config: &Config) -> Result<Self> {
        let spread = |count: usize, step: usize| -> Vec<u32> {
            (0..count).map(|index| ((index * step + step / 2) % config.vocabulary) as u32).collect()
        };
        let mut tokens = spread(TOKENS.min(config.context), config.vocabulary / 7 + 1);
        if let (Some(bos), Some(first)) = (config.bos, tokens.first_mut()) {
            *first = bos;
        }
        let ids = spread(LOGITS.min(config.vocabulary), (config.vocabulary / LOGITS).max(1));
        let mut reference = Self { tokens, ids, logits: Vec::new() };
        reference.logits = reference.computed(model).await?;
        Ok(reference)
    }

    /// Largest absolute difference between the reference and what `model` computes; the largest number where that is not finite.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub async fn deviation(&self, model: &mut impl Forward) -> Result<f32> {
        let computed = self.computed(model).await?;
        let worst = computed.iter().zip(&self.logits).map(|(came, expected)| (came - expected).abs());
        // The largest finite number stands for "not finite", which JSON cannot carry.
        Ok(worst.fold(0.0, |worst, next| if next.is_finite() { worst.max(next) } else { f32::MAX }))
    }

    async fn computed(&self, model: &mut impl Forward) -> Result<Vec<f32>> {
        let stack = Stack::new("a", &[])?;
        let request = Request { tokens: &self.tokens, stack: &stack, seed: 0, wants: Selection::default() };
        let logits: Array = model.forward(request).await?.logits;
        let pick = |row: usize| self.ids.iter().map(move |id| (row, *id as usize));
        let value = |(row, id): (usize, usize)| logits.at(row).get(id).copied().unwrap_or(f32::NAN);
        Ok((0..self.tokens.len()).flat_map(pick).map(value).collect())
    }
}

/// Largest difference between the reference and the logits of a continuation that is given the second half of its tokens
/// one by one, at the last position; the largest number where the next token is not the likeliest one.
///
/// # Errors
/// Those of the device.
#[cfg(feature = "gpu")]
pub(super) async fn decoding(reference: &Reference, model: &crate::gpu::GpuModel) -> Result<f32> {
    use crate::model::sample::{Sampler, Sampling};
    let tokens = &reference.tokens;
    let before = tokens.len().div_ceil(2);
    let mut decode = model.decode(Stack::new("a", &[])?, 0).await?;
    decode.read(tokens, before, &Sampler::new(Sampling::default())?).await?;
    // Those that are given, and one that is drawn.
    let mut drawn = Vec::new();
    while before + drawn.len() <= tokens.len() {
        let burst = decode.burst(tokens.len() + 1 - before - drawn.len()).await?;
        drawn.extend(burst.tokens);
        if burst.done.is_some() {
            break;
        }
    }
    let logits = decode.logits().await?;
    let expected = reference.logits.len().checked_sub(reference.ids.len()).and_then(|row| reference.logits.get(row..));
    let came = reference.ids.iter().map(|id| logits.get(*id as usize).copied().unwrap_or(f32::NAN));
    let differences = came.zip(expected.unwrap_or(&[])).map(|(came, expected)| (came - expected).abs());
    let worst = differences.fold(0.0, |worst, next| if next.is_finite() { f32::max(worst, next) } else { f32::MAX });
    // A document may end here; then there is no token to look at.
    let likeliest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let chosen = drawn.get(tokens.len() - before).and_then(|id| logits.get(*id as usize));
    Ok(if chosen.is_none_or(|logit| *logit == likeliest) { worst } else { f32::MAX })
}
