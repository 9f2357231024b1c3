//! What a text costs as it streams by: full attention, a window, and the same window that keeps the first tokens.
//!
//! ```text
//! full      every key so far
//! window    the last W keys
//! kept      the first S keys and the last W − S: as many
//! ```
//!
//! Tokens come one by one, each predicted from what is kept of those before it. Keys keep the
//! positions of the whole text, where StreamingLLM counts anew inside its cache. Source: the claim of Xiao et al., “Efficient Streaming Language Models with
//! Attention Sinks”, 2024, that a window without the first tokens collapses; whether it does on this model is measured.

use super::exhibit::Drawn;
use super::study::{Shown, exhibit, grid, mean, sheet, spread, told};
use crate::Result;
use crate::mechanism::Stack;
use crate::model::{CpuModel, Seen};

/// The curve is a mean over so many tokens.
const SMOOTH: usize = 32;
/// Points of a curve at most.
const POINTS: usize = 128;

/// Three decoders on one text.
pub struct Streaming {
    seed: u64,
    tokens: Vec<u32>,
    names: [String; 3],
    stacks: [Stack; 3],
    window: usize,
    kept: usize,
    seen: [Seen; 3],
    /// −log P of each token from the second on.
    losses: [Vec<f32>; 3],
}

impl Streaming {
    /// Full attention, a window without and one with kept tokens, on one text.
    pub fn new(seed: u64, tokens: Vec<u32>, stacks: [Stack; 3], (window, kept): (usize, usize)) -> Self {
        let names =
            ["full attention".into(), format!("window of {window}"), format!("window of {window}, first {kept} kept")];
        Self { seed, tokens, names, stacks, window, kept, seen: Default::default(), losses: Default::default() }
    }

    /// Tokens to predict.
    pub fn all(&self) -> usize {
        self.tokens.len().saturating_sub(1)
    }

    /// Predicts one token by all three.
    ///
    /// # Errors
    /// Those of [`CpuModel::decode`].
    pub fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        for (index, stack) in self.stacks.iter().enumerate() {
            let logits = model.decode(&mut self.seen[index], stack, self.seed, &self.tokens[..=at])?;
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
            let own = logits.get(self.tokens[at + 1] as usize).copied().unwrap_or(f32::NAN);
            self.losses[index].push((sum.ln() - f64::from(own - most)) as f32);
        }
        Ok(())
    }

    /// −log P of each token so far, by full attention, window and kept.
    pub fn losses(&self) -> &[Vec<f32>; 3] {
        &self.losses
    }

    /// The finding in words, and the curves.
    pub fn show(&self) -> Shown {
        let done = self.losses[0].len();
        if done == 0 {
            return (None, Vec::new());
        }
        let stride = self.all().div_ceil(POINTS).max(1);
        let points: Vec<usize> = (0..self.all()).step_by(stride).collect();
        let smooth = |losses: &[f32], at: usize| match at < done {
            true => mean(losses[(at + 1).saturating_sub(SMOOTH)..=at].iter().copied()),
            false => f32::NAN,
        };
        let values = self
            .losses
            .iter()
            .flat_map(|losses| points.iter().map(|at| smooth(losses, *at)).collect::<Vec<_>>())
            .collect();
        let across = points.iter().map(|at| (at + 1).to_string()).collect();
        let mut grid = grid(
            ("attention", self.names.to_vec()),
            ("token", across),
            vec![sheet("loss", "loss", "nats per token", values)],
        );
        // Before the window is full all three are the same.
        let after = self.window.min(done);
        let beyond = |index: usize| &self.losses[index][after..];
        for (index, name) in self.names.iter().enumerate() {
            let fact = super::finding::Fact::new(
                ["full", "window", "kept"][index],
                name,
                mean(beyond(index).iter().copied()),
                "nats per token beyond the window",
            );
            grid.facts.push(fact);
        }
        let caption = format!("Mean over the last {SMOOTH} tokens, as they come.");
        let exhibits = vec![exhibit("curve", "Loss as the text streams by", &caption, Drawn::Lines, grid)];
        if done <= self.window {
            let verdict = format!("{done} tokens have come; the window of {} is not yet full.", self.window);
            return (Some(verdict), exhibits);
        }
        let against = |index: usize, other: usize| {
            let pairs = beyond(index).iter().zip(beyond(other)).map(|(a, b)| a - b);
            spread(&pairs.collect::<Vec<f32>>())
        };
        let (lost, kept) = (against(1, 0), against(2, 1));
        let sign = match kept {
            (gain, half) if gain + half < 0.0 => "so keeping them helps here",
            (gain, half) if gain - half > 0.0 => "so keeping them hurts here",
            _ => "which is within what chance does",
        };
        let verdict = told([lost.0, lost.1, kept.0, kept.1], || {
            format!(
                "Beyond the window, over {} tokens, losing the first tokens costs {:+.3} ± {:.3} nats per token against full \
             attention. Keeping the first {} in as large a cache changes that by {:+.3} ± {:.3}, {sign}.",
                done - after,
                lost.0,
                lost.1,
                self.kept,
                kept.0,
                kept.1
            )
        });
        (verdict, exhibits)
    }
}
