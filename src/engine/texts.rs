//! What the plain model makes of a few ordinary texts: patterns to compare layers by, and the second moments of keys and
//! values from which a compressed cache is made.
//!
//! The texts are little fables written for this program and free to use, one a line. A model whose tokens cannot write
//! them reads random tokens instead.

use super::{Engine, Forward, Request, measure};
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::mechanism::{Stack, Trial};
use crate::model::Config;
use crate::model::attention::uniform;
use crate::model::config::{Pairing, Positions};
use crate::{Error, Result};

/// One text a line.
pub(super) const TEXTS: &str = include_str!("calibration.txt");
/// Tokens of each, so that patterns of several texts can be compared place by place.
const LENGTH: usize = 128;
/// How many of them a mechanism may try itself on: each head of a model may ask for a pass.
const TRIED: usize = 4;

impl Engine {
    /// The first tokens of each text, all of one length.
    pub(super) fn texts(&self) -> Vec<Vec<u32>> {
        let length = LENGTH.min(self.config.context);
        let encoded = |text| self.tokenizer().encode(text, self.tokenizer().bos().is_some()).ok();
        let texts: Vec<_> = TEXTS.lines().filter_map(encoded).filter(|tokens| tokens.len() >= length).collect();
        if !texts.is_empty() {
            return texts.into_iter().map(|tokens| tokens[..length].to_vec()).collect();
        }
        let vocabulary = self.vocabulary();
        let random = |text| {
            let places = uniform(length, "texts", text, 0).into_iter();
            places
                .map(|place| vocabulary.get((place * vocabulary.len() as f32) as usize).copied().unwrap_or(0))
                .collect()
        };
        (0..TEXTS.lines().count()).map(random).collect()
    }

    /// Losses of the model on some of the texts, on the processor.
    pub(super) fn trial(&self) -> Trial {
        let (model, mut texts) = (self.runner.cpu.clone(), self.texts());
        texts.truncate(TRIED);
        Trial::new(move |stack| {
            let batch: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            let mut nobody = ActivationCache::new(Selection::default());
            let logits = model.run(&batch, stack, 0, &mut nobody).ok()?; // [B,Q,V]
            let losses = batch.iter().enumerate().flat_map(|(row, tokens)| {
                let shape = [tokens.len(), model.config().vocabulary];
                let one = Array { shape: shape.into(), data: logits.at(row).to_vec() };
                measure::token_losses(&measure::log_probabilities(&one), tokens)
            });
            measure::mean(&losses.collect::<Vec<f32>>())
        })
    }

    /// Reads the texts with the plain model.
    ///
    /// # Errors
    /// Those of the passes.
    pub(super) async fn read_texts(&mut self, plain: &Stack) -> Result<Texts> {
        let config = self.config.clone();
        let entries = 2 * config.kv_heads * config.head_width;
        let mut sums = vec![vec![0.0f64; entries * entries]; config.layers];
        let (mut patterns, mut values, mut count) = (Vec::new(), Vec::new(), 0);
        for tokens in self.texts() {
            let wants = Selection::sites(&[Site::Pattern, Site::K, Site::V]);
            let request = Request { tokens: &tokens, stack: plain, seed: 0, wants };
            let captures = self.runner.forward(request).await?.captures;
            for (layer, sums) in sums.iter_mut().enumerate() {
                add_moments(&config, &captures, layer, tokens.len(), sums)?;
            }
            patterns.push(all_layers(&captures, Site::Pattern)?);
            values.push(all_layers(&captures, Site::V)?);
            count += tokens.len();
        }
        let mean = |sums: Vec<f64>| {
            let mean = sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect();
            Array::new([entries, entries], mean)
        };
        Ok(Texts { patterns, values, moments: sums.into_iter().map(mean).collect::<Result<_>>()? })
    }
}

/// What the plain model made of the texts.
pub(super) struct Texts {
    /// Of each text, `[L,H,Q,K]`.
    pub patterns: Vec<Array>,
    /// Of each text, `[L,G,K,D]`.
    pub values: Vec<Array>,
    /// Of each layer the second moments of keys and values.
    pub moments: Vec<Array>,
}

/// What was captured of one site in every layer, `[1,…]` each, side by side `[L,…]`.
pub(super) fn all_layers(captures: &ActivationCache, site: Site) -> Result<Array> {
    let mut layers = captures.values.iter().filter(|(at, _)| at.site == site).map(|(at, array)| (at.layer, array));
    let Some((_, first)) = layers.next() else {
        return Err(Error::Internal(format!("{site:?} was not recorded")));
    };
    let (mut shape, mut data) = (first.shape.clone(), first.data.clone());
    for (_, array) in layers {
        shape[0] += 1;
        data.extend_from_slice(&array.data);
    }
    Array::new(shape, data)
}

/// Adds x·xᵀ of every token, x = [k ; v] of one layer.
fn add_moments(
    config: &Config,
    captures: &ActivationCache,
    layer: usize,
    tokens: usize,
    sums: &mut [f64],
) -> Result<()> {
    let (width, latent) = (config.head_width, config.kv_heads * config.head_width);
    let (k, v) = (captures.get(layer, Site::K)?, captures.get(layer, Site::V)?); // [1,G,Q,D]
    let place = |entry: usize| match config.positions {
        // The entry of a head that stands at `entry` when what turns together is put D/2 apart.
        Positions::Rotary { pairing: Pairing::Adjacent, .. } => entry % (width / 2) * 2 + entry / (width / 2),
        _ => entry,
    };
    let at = |array: &Array, token: usize, index: usize, place: &dyn Fn(usize) -> usize| {
        let (head, entry) = (index / width, place(index % width));
        array.data.get((head * tokens + token) * width + entry).map_or(0.0, |x| f64::from(*x))
    };
    for token in 0..tokens {
        let keys = (0..latent).map(|index| at(k, token, index, &place));
        let x: Vec<f64> = keys.chain((0..latent).map(|index| at(v, token, index, &|entry| entry))).collect();
        for (row, a) in sums.chunks_mut(2 * latent).zip(&x) {
            row.iter_mut().zip(&x).for_each(|(sum, b)| *sum += a * b);
        }
    }
    Ok(())
}
