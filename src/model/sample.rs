//! From logits to the next token, and on to a continuation.
//!
//! A token is drawn as a race: every token i that stands receives e_i, exponentially distributed, and the one with the
//! largest `logit_i / temperature − ln e_i` wins, which happens with exactly its probability. The e_i come from a counter
//! generator: a function of seed, position and token, without a state that moves. So the same seed draws the same token at
//! the same position on every machine and on the GPU (`shaders/shared/draw.wgsl`, the twin), whether a continuation was
//! made in one go, in bursts, or taken up again later.

use super::config::Config;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a token is drawn from logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only this many likeliest tokens, and those that equal the last of them; 0 keeps all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability, and those that equal the last; 1 keeps all.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

/// Draws tokens with checked settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler(Sampling);

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// [`Error::Param`] when the temperature is negative or `top_p` lies outside 0..=1.
    pub fn new(sampling: Sampling) -> Result<Self> {
        let refuse = |key: &str, expected: &str, came: f32| {
            let (who, key, expected) = ("sampling".into(), key.into(), expected.into());
            Err(Error::Param { who, key, expected, came: came.to_string() })
        };
        if !(sampling.temperature.is_finite() && sampling.temperature >= 0.0) {
            return refuse("temperature", "be a number that is not negative", sampling.temperature);
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return refuse("top_p", "lie above 0 and not above 1", sampling.top_p);
        }
        Ok(Self(sampling))
    }

    /// The settings.
    pub fn sampling(&self) -> Sampling {
        self.0
    }

    /// The token for `position`, its place in the sequence, given `logits` `[V]`; of equal ones the lowest id wins.
    pub fn pick(&self, logits: &[f32], position: usize) -> u32 {
        let Sampling { temperature, seed, .. } = self.0;
        if temperature == 0.0 {
            return likeliest(logits);
        }
        let least = self.least(logits);
        let mut best = (0, f32::NEG_INFINITY);
        for (id, logit) in (0..).zip(logits).filter(|(_, logit)| **logit >= least) {
            let score = logit / temperature - exponential(bits(seed, position as u32, id)).ln();
            if score > best.1 {
                best = (id, score);
            }
        }
        best.0
    }

    /// The smallest logit that may be drawn.
    fn least(&self, logits: &[f32]) -> f32 {
        let Sampling { temperature, top_k, top_p, .. } = self.0;
        let down = |a: &f32, b: &f32| b.total_cmp(a);
        let mut sorted = logits.to_vec();
        if top_k > 0 && top_k < sorted.len() {
            let least = *sorted.select_nth_unstable_by(top_k - 1, down).1;
            sorted.retain(|logit| *logit >= least);
        }
        let lowest = sorted.iter().copied().fold(f32::INFINITY, f32::min);
        if top_p >= 1.0 {
            return lowest;
        }
        sorted.sort_unstable_by(down);
        let most = sorted.first().copied().unwrap_or(0.0);
        let weight = |logit: &f32| f64::from((logit - most) / temperature).exp();
        let wanted = f64::from(top_p) * sorted.iter().map(weight).sum::<f64>();
        let mut mass = 0.0;
        let reaches = |logit: &&f32| {
            mass += weight(logit);
            mass >= wanted
        };
        sorted.iter().find(reaches).copied().unwrap_or(lowest)
    }
}

/// 32 random bits for a token at a position: pcg4d of Jarzynski and Olano (Hash Functions for GPU Rendering, 2020).
fn bits(seed: u64, position: u32, id: u32) -> u32 {
    let mut v =
        [id, position, seed as u32, (seed >> 32) as u32].map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[3]));
        v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
        v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
        v[3] = v[3].wrapping_add(v[1].wrapping_mul(v[2]));
    };
    mix(&mut v);
    v = v.map(|x| x ^ (x >> 16));
    mix(&mut v);
    v[0]
}

/// −ln(1 − t) for t uniform in (0, 1): exponentially distributed. Who wins the race has a small t, where a logarithm near
/// one would lose every digit on a GPU; there it is the series of 2·artanh(t / (2 − t)).
fn exponential(bits: u32) -> f32 {
    let t = ((bits >> 9) as f32 + 0.5) / 8_388_608.0;
    if t > 0.5 {
        return -(1.0 - t).ln();
    }
    let z = t / (2.0 - t);
    let s = z * z;
    2.0 * z * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s / 11.0)))))
}

/// The id of the largest logit, the lowest of equals.
///
/// ```
/// # use attnscope::model::sample::likeliest;
/// assert_eq!(likeliest(&[0.5, 2.0, 2.0]), 1);
/// ```
pub fn likeliest(logits: &[f32]) -> u32 {
    let better = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
    (0..logits.len()).reduce(better).unwrap_or(0) as u32
}

/// Continues `prompt` by up to `count` tokens; stops before the end-of-document token and where the context is full.
/// `logits` returns `[V]` after the last of the tokens it is given, a whole sequence that grows by one: a
/// [`Decoder`](super::Decoder), or any engine's full pass.
///
/// # Errors
/// Whatever `logits` reports.
pub async fn generate(
    config: &Config,
    prompt: &[u32],
    count: usize,
    sampler: &Sampler,
    mut logits: impl AsyncFnMut(&[u32]) -> Result<Vec<f32>>,
) -> Result<Vec<u32>> {
    let mut tokens = prompt.to_vec();
    while tokens.len() < prompt.len() + count && tokens.len() < config.context {
        let next = sampler.pick(&logits(&tokens).await?, tokens.len());
        if config.ends(next) {
            break;
        }
        tokens.push(next);
    }
    Ok(tokens.split_off(prompt.len()))
}
