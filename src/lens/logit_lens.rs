//! Logit lens: what the model would say if it stopped after each layer.
//!
//! The residual stream before every layer, and after the last, is read as if it were the end of the model. With the final
//! norm each vector is brought to the scale the head expects; without, the head reads it as it is, and logits grow with the
//! stream. After the last layer, with the norm, these are the model's own logits.

use super::readout::Readout;
use crate::Result;
use crate::hook::{ActivationCache, Selection, Site};
use serde::{Deserialize, Serialize};

/// What stands between the residual stream and the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LensNorm {
    /// The final norm, with the statistics of the vector it reads.
    #[default]
    Final,
    /// Nothing.
    None,
}

/// The lens over one prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogitLens {
    /// Layers + 1: before each layer, and after the last.
    pub depths: usize,
    /// Tokens.
    pub tokens: usize,
    /// `[depths,Q]`, depth by depth.
    pub readings: Vec<Reading>,
}

/// What one vector says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Likeliest tokens with their probabilities, likeliest first.
    pub top: Vec<(u32, f32)>,
    /// Entropy in nats.
    pub entropy: f32,
    /// −ln P of the token that really comes next; none at the last position.
    pub loss: Option<f32>,
    /// How many tokens are likelier than the one that really comes next.
    pub rank: Option<usize>,
    /// KL(end of the model ‖ this reading), in nats.
    pub divergence: f32,
}

/// What the lens reads of a pass.
pub fn wanted() -> Selection {
    Selection::sites(&[Site::ResidPre, Site::ResidPost])
}

/// The lens over the captures of one pass of `layers` layers over `tokens`; `top` tokens are named in each reading.
///
/// # Errors
/// [`crate::Error::Unknown`] when something of [`wanted`] was not captured.
pub fn logit_lens(
    readout: &Readout,
    captures: &ActivationCache,
    layers: usize,
    tokens: &[u32],
    norm: LensNorm,
    top: usize,
) -> Result<LogitLens> {
    let width = readout.width();
    let last = layers.saturating_sub(1);
    let end = &captures.get(last, Site::ResidPost)?.data;
    let logs = |stream: &[f32], query: usize| {
        let x = stream.get(query * width..(query + 1) * width).unwrap_or(&[]);
        log_softmax(match norm {
            LensNorm::Final => readout.logits(x),
            LensNorm::None => readout.head(x),
        })
    };
    let ends: Vec<Vec<f32>> = (0..tokens.len()).map(|query| logs(end, query)).collect();
    let mut readings = Vec::new();
    for depth in 0..=layers {
        let stream = if depth == layers { end } else { &captures.get(depth, Site::ResidPre)?.data };
        for (query, end) in ends.iter().enumerate() {
            let row = if depth == layers { end.clone() } else { logs(stream, query) };
            readings.push(read(&row, end, tokens.get(query + 1).copied(), top));
        }
    }
    Ok(LogitLens { depths: layers + 1, tokens: tokens.len(), readings })
}

fn read(row: &[f32], end: &[f32], next: Option<u32>, top: usize) -> Reading {
    let mut ids: Vec<u32> = (0..row.len() as u32).collect();
    let value = |id: u32| row.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let count = top.min(ids.len());
    if count > 0 && count < ids.len() {
        ids.select_nth_unstable_by(count - 1, |a, b| value(*b).total_cmp(&value(*a)));
    }
    ids.truncate(count);
    ids.sort_by(|a, b| value(*b).total_cmp(&value(*a)).then(a.cmp(b)));
    let sum = |term: &dyn Fn(usize) -> f64| (0..row.len()).map(term).sum::<f64>() as f32;
    let wide = |values: &[f32], at: usize| f64::from(values[at]);
    Reading {
        top: ids.into_iter().map(|id| (id, value(id).exp())).collect(),
        entropy: sum(&|at| -wide(row, at) * wide(row, at).exp()),
        loss: next.map(|next| -value(next)),
        rank: next.map(|next| row.iter().filter(|other| **other > value(next)).count()),
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
