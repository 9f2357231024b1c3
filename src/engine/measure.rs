//! Numbers from logits: losses, continuations, divergences. The same arithmetic for both engines.

use crate::alignment::Alignment;
use crate::hook::Array;
use crate::outcome::{Candidate, Versus};
use std::cmp::Ordering;

/// How many continuations a pane names of its own; pane A's are added to it.
const CONTINUATIONS: usize = 10;

/// Log-probabilities of every position, `[Q,V]`, from logits `[Q,V]`; sums in f64, so that a large vocabulary costs no digits.
pub fn log_probabilities(logits: &Array) -> Array {
    let vocabulary = logits.shape.last().copied().unwrap_or(1).max(1);
    let mut data = logits.data.clone();
    for row in data.chunks_mut(vocabulary) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|logit| f64::from((logit - most).exp())).sum();
        let norm = most + sum.ln() as f32;
        row.iter_mut().for_each(|logit| *logit -= norm);
    }
    Array { shape: logits.shape.clone(), data }
}

/// Loss of each token given those before it, in nats; one shorter than the tokens.
pub fn token_losses(log_probabilities: &Array, tokens: &[u32]) -> Vec<f32> {
    let loss =
        |(row, token): (usize, &u32)| -log_probabilities.at(row).get(*token as usize).copied().unwrap_or(f32::NAN);
    tokens.iter().skip(1).enumerate().map(loss).collect()
}

/// The mean; `None` of nothing.
pub fn mean(values: &[f32]) -> Option<f32> {
    let sum: f64 = values.iter().map(|value| f64::from(*value)).sum();
    (!values.is_empty()).then(|| (sum / values.len() as f64) as f32)
}

/// KL(a ‖ b) of two rows of log-probabilities, in nats. Rounding may leave a tiny negative sum, which is zero.
///
/// ```
/// # use attnscope::engine::divergence;
/// let (even, skewed) = ([0.5f32.ln(); 2], [0.9f32.ln(), 0.1f32.ln()]);
/// let by_hand = 0.5 * (0.5f32 / 0.9).ln() + 0.5 * (0.5f32 / 0.1).ln();
/// assert!((divergence(&even, &skewed) - by_hand).abs() < 1e-6);
/// ```
pub fn divergence(a: &[f32], b: &[f32]) -> f32 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.exp()) * f64::from(a - b)).sum();
    sum.max(0.0) as f32
}

/// How a pane differs from A, from both panes' log-probabilities `[Q,V]` and losses.
pub fn versus(a: &Array, this: &Array, loss_a: Option<f32>, loss: Option<f32>) -> Versus {
    let rows = a.shape.first().copied().unwrap_or(0);
    let divergences: Vec<f32> = (0..rows).map(|row| divergence(a.at(row), this.at(row))).collect();
    Versus {
        kl_next: divergences.last().copied().unwrap_or_default(),
        kl_mean: mean(&divergences).unwrap_or_default(),
        delta_loss: loss.zip(loss_a).map(|(loss, loss_a)| loss - loss_a),
    }
}

/// How a pane that read another text differs from A, where the texts agree: divergences over places both have, losses over
/// tokens that are the same in both and that neither pane had foreseen (predictions from `from` on).
pub fn versus_aligned(
    a: &Array,
    this: &Array,
    (losses_a, losses): (&[f32], &[f32]),
    from: usize,
    aligned: &Alignment,
) -> Versus {
    let divergences: Vec<f32> = aligned.pairs().map(|(x, y)| divergence(a.at(x), this.at(y))).collect();
    let delta = |(x, y): (usize, usize)| {
        let (x, y) = (x.checked_sub(1).filter(|x| *x >= from)?, y.checked_sub(1).filter(|y| *y >= from)?);
        Some(losses.get(y)? - losses_a.get(x)?)
    };
    let deltas: Vec<f32> = aligned.same().filter_map(delta).collect();
    let last = |array: &Array| array.shape.first().copied().unwrap_or(1).saturating_sub(1);
    Versus {
        kl_next: divergence(a.at(last(a)), this.at(last(this))),
        kl_mean: mean(&divergences).unwrap_or_default(),
        delta_loss: mean(&deltas),
    }
}

/// The likeliest continuations of a pane together with those of A, likeliest here first; `text` names a token.
pub fn continuations(this: &[f32], a: &[f32], text: impl Fn(u32) -> String) -> Vec<Candidate> {
    let mut ids = top(this, CONTINUATIONS);
    for id in top(a, CONTINUATIONS) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids.sort_by(|x, y| by_value(this, *x, *y));
    let probability = |row: &[f32], id: usize| row.get(id).map_or(0.0, |log| log.exp());
    let candidate = |id: usize| Candidate {
        id: id as u32,
        text: text(id as u32),
        probability: probability(this, id),
        probability_a: probability(a, id),
    };
    ids.into_iter().map(candidate).collect()
}

/// Indices of the largest values, largest first.
fn top(row: &[f32], count: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..row.len()).collect();
    let count = count.min(ids.len());
    if count < ids.len() {
        ids.select_nth_unstable_by(count, |x, y| by_value(row, *x, *y));
        ids.truncate(count);
    }
    ids.sort_by(|x, y| by_value(row, *x, *y));
    ids
}

/// Larger first; equal values by index, so that the order is the same on every device.
fn by_value(row: &[f32], x: usize, y: usize) -> Ordering {
    row[y].total_cmp(&row[x]).then(x.cmp(&y))
}
