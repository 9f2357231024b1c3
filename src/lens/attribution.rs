//! Direct logit attribution: a logit as the sum of what every part of the model wrote.
//!
//! The residual stream at the end is the sum of the embedding, every head, every feed-forward and their biases. With the
//! final norm held at its value for this position, the logit of a token is therefore the sum of one number for each part;
//! nothing is left over. The number of a part is its direct effect: what it does to later parts, which then write something
//! else, is not in it; ablations measure that ([`super::causal`]).

use super::readout::{Readout, dot};
use crate::experiment::Head;
use crate::hook::{ActivationCache, Selection, Site};
use crate::model::{Config, Weights};
use crate::{Error, Result};

pub use super::finding::{Attribution, Part};

/// What attribution reads of a pass.
pub fn wanted() -> Selection {
    Selection::sites(&[Site::Embed, Site::PosEmbed, Site::Result, Site::MlpOut, Site::ResidPost])
}

/// Explains the logit of `token` after `position`, or its lead over `against`.
///
/// # Errors
/// [`Error::Unknown`] for something of [`wanted`] that was not captured, a position outside the prompt or a token outside
/// the vocabulary; [`Error::Tensor`] for a missing bias.
pub fn attribute(
    readout: &Readout,
    config: &Config,
    weights: &Weights,
    captures: &ActivationCache,
    position: usize,
    token: u32,
    against: Option<u32>,
) -> Result<Attribution> {
    let width = config.width;
    let row = |layer: usize, site: Site, stripe: usize| {
        let array = captures.get(layer, site)?;
        let tokens = array.shape.get(array.shape.len().saturating_sub(2)).copied().unwrap_or(0);
        let start = (stripe * tokens + position) * width;
        let row = array.data.get(start..start + width).filter(|_| position < tokens);
        row.ok_or_else(|| Error::Unknown {
            what: "position",
            name: position.to_string(),
            remedy: format!("the prompt has {tokens} tokens"),
        })
    };
    let mut direction = readout.direction(token)?.to_vec();
    if let Some(against) = against {
        direction.iter_mut().zip(readout.direction(against)?).for_each(|(a, b)| *a -= b);
    }
    let end = row(config.layers.saturating_sub(1), Site::ResidPost, 0)?;
    let norm = readout.freeze(end);
    let bias = dot(&readout.bias(), &direction);
    let of = |part: &[f32]| dot(&readout.through(part, norm), &direction) as f32;
    let mut parts = vec![(Part::Embedding, of(row(0, Site::Embed, 0)?))];
    if captures.values.keys().any(|at| at.site == Site::PosEmbed) {
        parts.push((Part::Position, of(row(0, Site::PosEmbed, 0)?)));
    }
    for layer in 0..config.layers {
        for head in 0..config.heads {
            parts.push((Part::Head(Head { layer, head }), of(row(layer, Site::Result, head)?)));
        }
        if config.attention_bias {
            parts.push((Part::AttentionBias(layer), of(&weights.get(&format!("blocks.{layer}.attn.b_o"))?.data)));
        }
        parts.push((Part::FeedForward(layer), of(row(layer, Site::MlpOut, 0)?)));
    }
    if bias != 0.0 {
        parts.push((Part::FinalBias, bias as f32));
    }
    let logit = (dot(&readout.through(end, norm), &direction) + bias) as f32;
    Ok(Attribution { position, parts, logit })
}
