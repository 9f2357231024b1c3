//! Attribution patching: every patch at once, to first order.
//!
//! Exact patching runs the model once for each activation. The slope of the metric at an activation says what a small
//! change of it does, so that one pass back estimates all patches:
//!
//! ```text
//! effect ≈ (activation[clean] − activation[corrupted]) · ∂(logit[answer] − logit[against]) / ∂activation      at corrupted
//! ```
//!
//! The estimate is poor where the model bends between the two prompts, as under a norm or a softmax that saturates; how far
//! its order agrees with that of exact patches is measured, not assumed ([`rank_correlation`]). Slopes are those of attention
//! as the model was trained ([`CpuModel::slopes`]); under mechanisms there is no estimate.
//!
//! Source: Nanda, "Attribution Patching", 2023; Syed et al., 2023.

use super::base::Base;
use super::finding::{Asked, ESTIMATE, Fact, Grid, Sheet};
use super::patching;
use crate::Result;
use crate::experiment::PatchSite;
use crate::hook::{Array, Site};
use crate::model::CpuModel;
use web_time::Instant;

/// What patching and its estimate read of both passes beside their residual streams.
pub fn wanted(site: PatchSite) -> Vec<Site> {
    let also: &[Site] = if site == PatchSite::Heads { &[Site::Result] } else { &[] };
    [patching::wanted(site), also].concat()
}

/// What stands in the place of an estimate under mechanisms.
pub const MISSING: &str =
    "No estimate by slopes: they are known for attention as the model was trained, not under mechanisms.";

/// Adds the estimates to a grid of exact patches, with how far their order agrees and the time it took.
///
/// # Errors
/// Those of [`estimate`].
pub fn add(grid: &mut Grid, model: &CpuModel, pair: [&Base; 2], site: PatchSite, asked: Asked) -> Result<()> {
    let start = Instant::now();
    let values = estimate(model, pair, site, asked)?;
    let millis = start.elapsed().as_secs_f32() * 1e3;
    let exact = grid.sheets.first();
    let rank = exact.map_or(f32::NAN, |exact| rank_correlation(&exact.values, &values));
    let total = exact.and_then(|exact| exact.total);
    grid.facts.push(Fact::new("rank", "Rank correlation of estimated and exact", rank, ""));
    grid.facts.push(Fact::new("estimate_millis", "Time of all estimates", millis, "ms"));
    let name = "Δ logit difference, estimated".into();
    grid.sheets.push(Sheet { id: ESTIMATE.into(), name, unit: String::new(), values, total });
    Ok(())
}

/// Estimated effects on the logit difference, `[L,Q]` or `[L,H]`.
///
/// # Errors
/// Those of [`patching::check`]; [`crate::Error::Unknown`] when something of [`wanted`] was not captured; those of
/// [`CpuModel::slopes`].
pub fn estimate(model: &CpuModel, [clean, corrupted]: [&Base; 2], site: PatchSite, asked: Asked) -> Result<Vec<f32>> {
    patching::check(&clean.tokens, &corrupted.tokens)?;
    let config = model.config();
    let begin = &corrupted.residuals[0];
    let stream = Array::new([&[1], begin.shape.as_slice()].concat(), begin.data.clone())?;
    let of: Vec<(u32, f32)> = [(asked.answer, 1.0)].into_iter().chain(asked.against.map(|id| (id, -1.0))).collect();
    let slopes = model.slopes(&stream, asked.query, &of)?;
    let mut effects = Vec::new();
    for layer in 0..config.layers {
        let pair = |hook: Site| -> Result<[&[f32]; 2]> {
            Ok([&clean.captures.get(layer, hook)?.data, &corrupted.captures.get(layer, hook)?.data])
        };
        let (slope, [new, old]) = match site {
            PatchSite::ResidPre => {
                (&slopes.begin[layer], [clean, corrupted].map(|base| base.residuals[layer].data.as_slice()))
            }
            PatchSite::MlpOut => (&slopes.begin[layer + 1], pair(Site::MlpOut)?),
            PatchSite::AttnOut => (&slopes.attention[layer], pair(Site::AttnOut)?),
            // Slopes stand on the residual stream, so a head is what it writes there.
            PatchSite::Heads => (&slopes.attention[layer], pair(Site::Result)?),
        };
        match site {
            PatchSite::Heads => {
                let stripes = new.chunks(slope.data.len()).zip(old.chunks(slope.data.len()));
                effects.extend(stripes.flat_map(|(new, old)| by_part(new, old, &slope.data, 1)));
            }
            _ => effects.extend(by_part(new, old, &slope.data, clean.tokens.len())),
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
/// use attnscope::lens::estimate::rank_correlation;
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
