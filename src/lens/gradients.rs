//! Attribution patching: every patch at once, to first order.
//!
//! Exact patching runs the model once for each activation. The gradient of the metric for an activation says what a small
//! change of it does, so that one backward pass for each layer estimates all patches of that layer:
//!
//! ```text
//! effect ≈ (activation[clean] − activation[corrupted]) · ∂(logit[answer] − logit[against]) / ∂activation      at corrupted
//! ```
//!
//! The estimate is poor where the model bends between the two prompts, as under a norm or a softmax that saturates; how far
//! its order agrees with that of exact patches is measured, not assumed ([`rank_correlation`]). It needs gradients, which the
//! page's worker does not carry, so it is the command line's (`attnscope analyse patching --estimate`).
//!
//! Source: Nanda, "Attribution Patching", 2023; Syed et al., 2023.

use super::base::Base;
use super::finding::Asked;
use super::patching;
use crate::experiment::PatchSite;
use crate::hook::Site;
use crate::mechanism::Stack;
use crate::model::{Config, Run, Text, Weights};
use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};

/// What patching and its estimate read of both passes beside their residual streams.
pub fn wanted(site: PatchSite) -> Vec<Site> {
    [patching::wanted(site), &[Site::ResidMid, Site::Result]].concat()
}

/// Estimated effects on the logit difference, `[L,Q]` or `[L,H]`.
///
/// # Errors
/// Those of [`patching::check`]; [`Error::Unknown`] when something of [`wanted`] was not captured; [`Error::Tensor`] for a
/// missing weight.
pub fn estimate(
    config: &Config,
    weights: &Weights,
    stack: &Stack,
    seed: u64,
    [clean, corrupted]: [&Base; 2],
    site: PatchSite,
    asked: Asked,
) -> Result<Vec<f32>> {
    patching::check(&clean.tokens, &corrupted.tokens)?;
    let device = Device::flex().autodiff();
    let text = Text::from_weights(config, weights, &device)?;
    let run = Run::new(stack, seed);
    // The gradient [Q,M] for the residual stream at the beginning of a layer, or behind its attention.
    let slope = |stream: &[f32], layer: usize, middle: bool| -> Result<Vec<f32>> {
        let shape = [1, clean.tokens.len(), config.width];
        let x = Tensor::<3>::from_data(TensorData::new(stream.to_vec(), shape), &device).require_grad();
        let logits = match middle {
            true => text.resume_after_attention(x.clone(), layer, Some(asked.query), &run),
            false => text.resume(x.clone(), layer, Some(asked.query), &run),
        };
        let of = |id: u32| logits.clone().narrow(2, id as usize, 1).sum();
        let metric = match asked.against {
            Some(against) => of(asked.answer) - of(against),
            None => of(asked.answer),
        };
        let slopes = metric.backward();
        let slope =
            x.grad(&slopes).ok_or_else(|| Error::Internal("the metric does not depend on the stream".into()))?;
        Ok(slope.into_data().iter::<f32>().collect())
    };
    let mut effects = Vec::new();
    for layer in 0..config.layers {
        let begin = &corrupted.residuals[layer].data;
        match site {
            PatchSite::ResidPre => {
                let other = &clean.residuals[layer].data;
                effects.extend(by_part(other, begin, &slope(begin, layer, false)?, clean.tokens.len()));
            }
            PatchSite::MlpOut => {
                let after = slope(&corrupted.residuals[layer + 1].data, layer + 1, false)?;
                let [new, old] = [clean, corrupted].map(|base| base.captures.get(layer, Site::MlpOut));
                effects.extend(by_part(&new?.data, &old?.data, &after, clean.tokens.len()));
            }
            PatchSite::AttnOut | PatchSite::Heads => {
                // Gradients stand on the residual stream, so a head is what it writes there.
                let hook = if site == PatchSite::Heads { Site::Result } else { Site::AttnOut };
                // Where the halves of a layer stand side by side, attention adds to its end.
                let slope = match config.parallel {
                    true => slope(&corrupted.residuals[layer + 1].data, layer + 1, false)?,
                    false => slope(&corrupted.captures.get(layer, Site::ResidMid)?.data, layer, true)?,
                };
                let (new, old) = (clean.captures.get(layer, hook)?, corrupted.captures.get(layer, hook)?);
                if site == PatchSite::AttnOut {
                    effects.extend(by_part(&new.data, &old.data, &slope, clean.tokens.len()));
                } else {
                    let stripes = new.data.chunks(slope.len()).zip(old.data.chunks(slope.len()));
                    effects.extend(stripes.flat_map(|(new, old)| by_part(new, old, &slope, 1)));
                }
            }
        }
    }
    Ok(effects)
}

/// Σ (new − old)·slope over each of `count` equal parts.
fn by_part(new: &[f32], old: &[f32], slope: &[f32], count: usize) -> Vec<f32> {
    let terms: Vec<f64> =
        new.iter().zip(old).zip(slope).map(|((new, old), slope)| f64::from(new - old) * f64::from(*slope)).collect();
    let size = (terms.len() / count.max(1)).max(1);
    terms.chunks(size).map(|part| part.iter().sum::<f64>() as f32).collect()
}

/// Spearman's correlation of two lists: Pearson's of their ranks, equal values at the middle of their places.
///
/// ```
/// use attnscope::lens::gradients::rank_correlation;
/// assert_eq!(rank_correlation(&[1.0, 2.0, 30.0], &[0.1, 0.2, 0.3]), 1.0);
/// assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
/// ```
pub fn rank_correlation(a: &[f32], b: &[f32]) -> f32 {
    let ranks = |values: &[f32]| -> Vec<f64> {
        let rank = |x: &f32| {
            let below = values.iter().filter(|other| *other < x).count() as f64;
            let equal = values.iter().filter(|other| *other == x).count() as f64;
            below + (equal - 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (x, y) = (ranks(a), ranks(b));
    let mean = (x.len() as f64 - 1.0) / 2.0;
    let sum = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| (p - mean) * (q - mean)).sum::<f64>();
    (sum(&x, &y) / (sum(&x, &x) * sum(&y, &y)).sqrt()) as f32
}
