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

/// Where the outputs of a matrix lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// Each column is one, as in `[in,out]`.
    Columns,
    /// Each row is one, as in an embedding `[V,M]`.
    Rows,
}

impl Outputs {
    /// The output to which entry `index` of rows of `width` belongs.
    pub fn of(self, index: usize, width: usize) -> usize {
        match self {
            Outputs::Columns => index % width,
            Outputs::Rows => index / width,
        }
    }
}

/// Where the outputs of the matrix of this name lie.
pub fn outputs_of(name: &str) -> Outputs {
    if name == "embed" { Outputs::Rows } else { Outputs::Columns }
}

/// The largest absolute weight of each output of a matrix in rows of `width`.
pub fn scales(values: &[f32], width: usize, outputs: Outputs) -> Vec<f32> {
    let count = if outputs == Outputs::Rows { values.len() / width.max(1) } else { width };
    let mut scales = vec![0.0f32; count];
    for (index, value) in values.iter().enumerate() {
        let scale = &mut scales[outputs.of(index, width)];
        *scale = scale.max(value.abs());
    }
    scales
}

/// The byte that stands for a weight of an output with this scale.
pub fn byte(value: f32, scale: f32) -> i8 {
    if scale > 0.0 { (value / scale * 127.0).round() as i8 } else { 0 }
}

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

    /// Rounds every matrix of products to bytes, from −127 to 127 for minus to plus the largest absolute weight of each
    /// output: another model, which the GPU stores in a quarter of the bytes. The weights are those the bytes stand for, so
    /// that both engines compute the same.
    ///
    /// ```
    /// # use attnscope::{hook::Array, model::Weights};
    /// let mut weights = Weights::default();
    /// weights.0.insert("blocks.0.attn.w_q".into(), Array { shape: vec![2, 2], data: vec![1.0, -8.0, 0.5, 3.0] });
    /// weights.quantise();
    /// let data = &weights.0["blocks.0.attn.w_q"].data;
    /// assert_eq!(data[..2], [1.0, -8.0]); // the largest of each column stays
    /// assert!((data[2] - 64.0 / 127.0).abs() < 1e-6);
    /// ```
    pub fn quantise(&mut self) {
        for (name, array) in self.0.iter_mut().filter(|(name, array)| array.shape.len() == 2 && *name != "positions") {
            let width = array.shape[1];
            let scales = scales(&array.data, width, outputs_of(name));
            for (index, value) in array.data.iter_mut().enumerate() {
                let scale = scales[outputs_of(name).of(index, width)];
                *value = f32::from(byte(*value, scale)) / 127.0 * scale;
            }
        }
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
