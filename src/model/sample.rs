//! From logits to the next token, and on to a continuation.

use super::config::Config;
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How a token is drawn from logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only this many likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability; 1 keeps all.
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

/// Draws tokens; the same seed and logits give the same tokens on every machine.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// A sampler at the start of its stream.
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
        Ok(Self { sampling, rng: ChaCha8Rng::seed_from_u64(sampling.seed) })
    }

    /// The next token given `logits` `[V]`; of equal logits the lowest id counts as likelier.
    pub fn pick(&mut self, logits: &[f32]) -> u32 {
        let Sampling { temperature, top_k, top_p, .. } = self.sampling;
        if temperature == 0.0 {
            return likeliest(logits);
        }
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a])); // stable, so equal logits stay in order of id
        if top_k > 0 {
            order.truncate(top_k);
        }
        let most = order.first().map_or(0.0, |first| logits[*first]);
        let weights: Vec<f64> = order.iter().map(|id| f64::from((logits[*id] - most) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        // The nucleus ends with the token that reaches top_p.
        let mut nucleus = 0.0;
        let mut kept = 0;
        for weight in &weights {
            nucleus += weight;
            kept += 1;
            if nucleus >= f64::from(top_p) * total {
                break;
            }
        }
        let mut left = (f64::from(self.rng.next_u32()) + 0.5) / 4_294_967_296.0 * nucleus;
        for (id, weight) in order.iter().zip(&weights).take(kept) {
            left -= weight;
            if left <= 0.0 {
                return *id as u32;
            }
        }
        order.get(kept.saturating_sub(1)).map_or(0, |id| *id as u32)
    }
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
    sampler: &mut Sampler,
    mut logits: impl AsyncFnMut(&[u32]) -> Result<Vec<f32>>,
) -> Result<Vec<u32>> {
    let mut tokens = prompt.to_vec();
    while tokens.len() < prompt.len() + count && tokens.len() < config.context {
        let next = sampler.pick(&logits(&tokens).await?);
        if Some(next) == config.eos || Some(next) == config.bos {
            break;
        }
        tokens.push(next);
    }
    Ok(tokens.split_off(prompt.len()))
}
