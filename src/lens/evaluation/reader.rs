//! What a subject of an evaluation reads and writes: a model under a stack, whole or without some heads.

use crate::Result;
use crate::experiment::{Head, Removal};
use crate::hook::{ActivationCache, Selection};
use crate::lens::causal::Without;
use crate::mechanism::Stack;
use crate::model::sample::likeliest;
use crate::model::{CpuModel, Seen};

/// One that is asked.
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its mechanisms.
    pub stack: Stack,
    /// Heads that it lacks, and what stands in their place.
    pub without: (Vec<Head>, Removal),
}

/// A subject on a model.
pub struct Reader<'a> {
    model: &'a CpuModel,
    subject: &'a Subject,
    seen: Seen,
}

impl<'a> Reader<'a> {
    /// Nothing read yet.
    pub fn new(model: &'a CpuModel, subject: &'a Subject) -> Self {
        Self { model, subject, seen: Seen::default() }
    }

    /// Most tokens, the beginning token among them.
    pub fn context(&self) -> usize {
        self.model.config().context
    }

    /// A prompt with the model's beginning token before it.
    pub fn begun(&self, prompt: &[u32]) -> Vec<u32> {
        self.model.config().bos.into_iter().chain(prompt.iter().copied()).collect()
    }

    /// Logits `[V]` after the last token.
    ///
    /// # Errors
    /// Those of [`CpuModel::decode`] and [`CpuModel::run`].
    pub fn next(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let Subject { stack, without: (heads, how), .. } = self.subject;
        if heads.is_empty() {
            return self.model.decode(&mut self.seen, stack, 0, tokens);
        }
        let rows = [heads.clone()];
        let mut tap = Without { rows: &rows, how: *how, donor: None };
        let logits = self.model.run(&[tokens], stack, 0, &mut tap)?;
        Ok(logits.data[logits.data.len() - self.model.config().vocabulary..].to_vec())
    }

    /// The likeliest token again and again, at most `most` of them.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn write(&mut self, prompt: &[u32], most: usize) -> Result<Vec<u32>> {
        let mut tokens = self.begun(prompt);
        let begin = tokens.len();
        while tokens.len() < (begin + most).min(self.context()) {
            let next = likeliest(&self.next(&tokens)?);
            if self.model.config().ends(next) {
                break;
            }
            tokens.push(next);
        }
        Ok(tokens.split_off(begin))
    }

    /// log P of every next token, `[V]`.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn log_probabilities(&mut self, prompt: &[u32]) -> Result<Vec<f64>> {
        let logits = self.next(&self.begun(prompt))?;
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        Ok(logits.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect())
    }

    /// Weights of every head over a whole sequence: one capture of [`crate::hook::Site::Pattern`] for each layer.
    ///
    /// # Errors
    /// Those of [`CpuModel::run`].
    pub fn captures(&self, tokens: &[u32], wants: Selection) -> Result<ActivationCache> {
        let mut captures = ActivationCache::new(wants);
        self.model.run(&[tokens], &self.subject.stack, 0, &mut captures)?;
        Ok(captures)
    }
}
