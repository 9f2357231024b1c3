//! Copying and copy suppression: whether a head raises or lowers the very token it looks at.
//!
//! A head's values and output projection turn a token it looks at into a vector, which the vocabulary head reads. Among the
//! tokens of a probe, the token's own logit may be the one that is raised most (1), the one that is lowered most (−1), or
//! one of many (about 0):
//!
//! ```text
//! own(k)  = 2 · rank of token k's logit in (v[k]·W_O ⊙ gain)·W_unembed among the tokens of the probe − 1     in −1..=1
//! score   = mean over queries of the second half of Σ_k A[q,k] · own(k)
//! ```
//!
//! Weight on the beginning counts nothing. The control asks for the rank of another token of the probe.

use super::Patterns;
use super::readout::{Frozen, Readout, dot};
use super::roles::{Probe, Role};
use crate::Result;
use crate::hook::Array;
use crate::model::{Config, Weights};

/// Raises what it looks at.
pub const COPYING: Role = Role {
    role: "copying",
    help: "How much the tokens looked at are themselves raised, by rank among the tokens of the probe.",
    threshold: 0.3,
};

/// Lowers what it looks at.
pub const SUPPRESSION: Role = Role {
    role: "copy_suppression",
    help: "How much the tokens looked at are themselves lowered, by rank among the tokens of the probe.",
    threshold: 0.3,
};

/// Copying scores of every head on one repeated probe, each with its control; suppression is the same with the other sign.
/// `values` holds `v` of each layer, `[1,G,K,D]`, as captured.
///
/// # Errors
/// [`crate::Error::Tensor`] for a missing weight; [`crate::Error::Unknown`] for a token the model does not have.
pub fn copying(
    probe: &Probe,
    patterns: &Patterns<'_>,
    values: &[&Array],
    config: &Config,
    weights: &Weights,
    readout: &Readout,
) -> Result<Vec<(f32, f32)>> {
    let (lead, half, width) = (probe.lead, probe.half, config.head_width);
    let tokens = probe.repeated.get(lead..lead + half).unwrap_or(&[]);
    let directions = tokens.iter().map(|token| readout.direction(*token)).collect::<Result<Vec<_>>>()?;
    // Ranks do not depend on the scale, so the norm is frozen at 1.
    let norm = Frozen { scale: 1.0, centred: config.norm == crate::model::config::Norm::Layer };
    let mut scores = Vec::new();
    for (layer, values) in values.iter().enumerate() {
        let w_o = weights.get(&format!("blocks.{layer}.attn.w_o"))?;
        for head in 0..config.heads {
            let group = head / (config.heads / config.kv_heads.max(1)).max(1);
            let projection =
                w_o.data.get(head * width * config.width..(head + 1) * width * config.width).unwrap_or(&[]);
            let ranks = |key: usize| {
                if !(lead..lead + 2 * half).contains(&key) {
                    return (0.0, 0.0);
                }
                let start = (group * patterns.tokens + key) * width;
                let v = values.data.get(start..start + width).unwrap_or(&[]);
                let written = readout.through(&times(v, projection, config.width), norm);
                let logits: Vec<f64> = directions.iter().map(|direction| dot(direction, &written)).collect();
                let place = (key - lead) % half;
                (rank(&logits, place), rank(&logits, (place + 1) % half))
            };
            let own: Vec<(f32, f32)> = (0..patterns.tokens).map(ranks).collect();
            let Some(rows) = patterns.head(layer, head) else { continue };
            let mut sum = (0.0, 0.0);
            for query in lead + half..patterns.tokens {
                for (share, own) in rows.shares(query).iter().zip(&own) {
                    sum.0 += share * own.0;
                    sum.1 += share * own.1;
                }
            }
            let count = patterns.tokens.saturating_sub(lead + half).max(1) as f32;
            scores.push((sum.0 / count, sum.1 / count));
        }
    }
    Ok(scores)
}

/// Scores of the opposite role.
pub fn opposite(scores: &[(f32, f32)]) -> Vec<(f32, f32)> {
    scores.iter().map(|(score, control)| (-score, -control)).collect()
}

/// v `[D]` times W `[D,M]` → `[M]`.
fn times(v: &[f32], w: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; width];
    for (value, row) in v.iter().zip(w.chunks_exact(width.max(1))) {
        out.iter_mut().zip(row).for_each(|(sum, w)| *sum += value * w);
    }
    out
}

/// Where one of the values stands among all: 1 the largest, −1 the smallest, ties in the middle of their places.
fn rank(values: &[f64], at: usize) -> f32 {
    let Some(own) = values.get(at) else { return 0.0 };
    let below = values.iter().filter(|value| *value < own).count() as f32;
    let equal = values.iter().filter(|value| *value == own).count() as f32 - 1.0;
    let most = (values.len().max(2) - 1) as f32;
    2.0 * (below + equal / 2.0) / most - 1.0
}
