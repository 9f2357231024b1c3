//! Logit lens: what the model would say if it stopped after each layer.
//!
//! The residual stream before every layer, and after the last, is read as if it were the end of the model. With the final
//! norm each vector is brought to the scale the head expects; without, the head reads it as it is, and logits grow with the
//! stream. After the last layer, with the norm, these are the model's own logits.

use super::readout::Readout;
use crate::Result;
use crate::hook::{ActivationCache, Selection, Site};

pub use super::finding::{LogitLens, Reading};
pub use crate::experiment::LensNorm;

/// What the lens reads of a pass.
pub fn wanted() -> Selection {
    Selection::sites(&[Site::ResidPre, Site::ResidPost])
}

/// What is read: which positions, through which norm, and what of each reading is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// The first position that is read.
    pub first: usize,
    /// What stands before the head.
    pub norm: LensNorm,
    /// How many of the likeliest tokens are named.
    pub top: usize,
    /// A token whose probability and rank are followed.
    pub answer: Option<u32>,
}

/// The lens over the captures of one pass of `layers` layers over `tokens`.
///
/// # Errors
/// [`crate::Error::Unknown`] when something of [`wanted`] was not captured.
pub fn logit_lens(
    readout: &Readout,
    captures: &ActivationCache,
    layers: usize,
    tokens: &[u32],
    look: Look,
) -> Result<LogitLens> {
    let width = readout.width();
    let last = layers.saturating_sub(1);
    let end = &captures.get(last, Site::ResidPost)?.data;
    let logs = |stream: &[f32], query: usize| {
        let x = stream.get(query * width..(query + 1) * width).unwrap_or(&[]);
        log_softmax(match look.norm {
            LensNorm::Final => readout.logits(x),
            LensNorm::None => readout.head(x),
        })
    };
    let ends: Vec<Vec<f32>> = (look.first..tokens.len()).map(|query| logs(end, query)).collect();
    let mut readings = Vec::new();
    for depth in 0..=layers {
        let stream = if depth == layers { end } else { &captures.get(depth, Site::ResidPre)?.data };
        for (query, end) in (look.first..).zip(&ends) {
            let row = if depth == layers { end.clone() } else { logs(stream, query) };
            readings.push(read(&row, end, tokens.get(query + 1).copied(), look));
        }
    }
    Ok(LogitLens { depths: layers + 1, tokens: ends.len(), first: look.first, readings })
}

fn read(row: &[f32], end: &[f32], next: Option<u32>, look: Look) -> Reading {
    let mut ids: Vec<u32> = (0..row.len() as u32).collect();
    let value = |id: u32| row.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let count = look.top.min(ids.len());
    if count > 0 && count < ids.len() {
        ids.select_nth_unstable_by(count - 1, |a, b| value(*b).total_cmp(&value(*a)));
    }
    ids.truncate(count);
    ids.sort_by(|a, b| value(*b).total_cmp(&value(*a)).then(a.cmp(b)));
    let rank = |id: u32| row.iter().filter(|other| **other > value(id)).count();
    let sum = |term: &dyn Fn(usize) -> f64| (0..row.len()).map(term).sum::<f64>() as f32;
    let wide = |values: &[f32], at: usize| f64::from(values[at]);
    Reading {
        top: ids.into_iter().map(|id| (id, value(id).exp())).collect(),
        entropy: sum(&|at| -wide(row, at) * wide(row, at).exp()),
        loss: next.map(|next| -value(next)),
        rank: next.map(rank),
        tracked: look.answer.map(|id| (value(id).exp(), rank(id))),
        divergence: sum(&|at| wide(end, at).exp() * (wide(end, at) - wide(row, at))).max(0.0),
    }
}

/// Log-probabilities of logits.
fn log_softmax(mut logits: Vec<f32>) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - most).exp())).sum();
    let norm = most + sum.ln() as f32;
    logits.iter_mut().for_each(|logit| *logit -= norm);
    logits
}
