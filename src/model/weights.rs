//! Weights on the host, under one naming for every family.
//!
//! The loaders make them, the burn model and the WGSL engine are built from them, the trainer writes them back. Matrices
//! are `[in, out]`, so that a row of activations is multiplied as x·W whichever way a file stored it.

use super::attention::normal;
use super::config::Config;
use crate::hook::Array;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Host weights by canonical name.
///
/// | Name | Shape | |
/// |---|---|---|
/// | `embed` | `[V,M]` | token embedding |
/// | `positions` | `[context,M]` | where positions are learned |
/// | `blocks.0.ln1.w`, `.b` | `[M]` | norm before attention; `b` under LayerNorm |
/// | `blocks.0.attn.w_q`, `b_q` | `[M,H·D]`, `[H·D]` | queries, head after head; `b_*` where the model has biases |
/// | `blocks.0.attn.w_k`, `w_v`, `b_k`, `b_v` | `[M,G·D]`, `[G·D]` | keys and values |
/// | `blocks.0.attn.w_o`, `b_o` | `[H·D,M]`, `[M]` | output projection |
/// | `blocks.0.ln2.w`, `.b` | `[M]` | norm before the feed-forward |
/// | `blocks.0.ffn.w_gate`, `b_gate` | `[M,F]`, `[F]` | what the activation is applied to, in gated families |
/// | `blocks.0.ffn.w_in`, `b_in` | `[M,F]`, `[F]` | the linear part; what the activation is applied to otherwise |
/// | `blocks.0.ffn.w_out`, `b_out` | `[F,M]`, `[M]` | back to the residual stream |
/// | `ln_final.w`, `.b` | `[M]` | final norm |
/// | `unembed` | `[M,V]` | vocabulary head, where it is not the embedding transposed |
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, Array>);

impl Weights {
    /// Seeded initial weights: normal noise of deviation 0.02, residual projections scaled by 1/√(2L), gains one, biases
    /// zero. Each tensor has its own stream, so the values depend on nothing but `seed`, name and shape.
    pub fn init(config: &Config, seed: u64) -> Self {
        let residual = 0.02 / (2.0 * config.layers as f32).sqrt();
        let fill = |(name, shape): (String, Vec<usize>)| {
            let count = shape.iter().product();
            let leaf = name.rsplit('.').next().unwrap_or_default();
            let data = match leaf {
                "w" => vec![1.0; count],
                "w_o" | "w_out" => normal(count, residual, &name, 0, seed),
                _ if shape.len() == 1 => vec![0.0; count],
                _ => normal(count, 0.02, &name, 0, seed),
            };
            (name, Array { shape, data })
        };
        Self(config.manifest().into_iter().map(fill).collect())
    }

    /// One weight.
    ///
    /// # Errors
    /// [`Error::Tensor`] when there is none of this name.
    pub fn get(&self, name: &str) -> Result<&Array> {
        self.0.get(name).ok_or_else(|| missing(name))
    }

    /// Removes one weight and returns it.
    ///
    /// # Errors
    /// [`Error::Tensor`] when there is none of this name.
    pub fn take(&mut self, name: &str) -> Result<Array> {
        self.0.remove(name).ok_or_else(|| missing(name))
    }

    /// Checks that exactly the weights of `config` are there, in the right shapes and finite; `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Tensor`] naming the first weight that is missing, of another shape, not finite or too many.
    pub fn check(&self, config: &Config, file: &str) -> Result<()> {
        let wrong =
            |tensor: &str, problem: String| Err(Error::Tensor { file: file.into(), tensor: tensor.into(), problem });
        let manifest = config.manifest();
        for (name, shape) in &manifest {
            let Some(array) = self.0.get(name) else {
                return wrong(name, format!("is missing; it should be {shape:?}"));
            };
            if array.shape != *shape || array.data.len() != shape.iter().product::<usize>() {
                return wrong(name, format!("should be {shape:?} but is {:?}", array.shape));
            }
            if let Some(index) = array.data.iter().position(|value| !value.is_finite()) {
                return wrong(name, format!("holds {} at element {index}; the file is damaged", array.data[index]));
            }
        }
        match self.0.keys().find(|name| !manifest.iter().any(|(known, _)| known == *name)) {
            Some(name) => wrong(name, "does not belong to a model of this configuration".into()),
            None => Ok(()),
        }
    }
}

fn missing(name: &str) -> Error {
    Error::Tensor { file: "weights".into(), tensor: name.into(), problem: "is missing".into() }
}
