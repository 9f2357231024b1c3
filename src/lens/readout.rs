//! How a vector of the residual stream becomes logits: final norm, then the vocabulary head, on the host.

use crate::hook::Array;
use crate::model::config::Norm;
use crate::model::{Config, Weights};
use crate::{Error, Result};

/// The end of a model.
#[derive(Debug, Clone)]
pub struct Readout {
    norm: Norm,
    epsilon: f64,
    gain: Vec<f32>,
    bias: Vec<f32>,
    /// `[V,M]`: what each token's logit listens to.
    directions: Array,
}

/// The final norm as it was at one position: a linear map.
///
/// ```text
/// LayerNorm  y = gain ⊙ (x − mean(x)) / deviation + bias     RMSNorm  y = gain ⊙ x / rms
/// ```
/// With the deviation or root mean square held fixed, what a sum of vectors becomes is the sum of what each becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frozen {
    /// What is divided by.
    pub scale: f64,
    /// Whether the mean is taken out first.
    pub centred: bool,
}

impl Readout {
    /// The final norm and vocabulary head of a model.
    ///
    /// # Errors
    /// [`Error::Tensor`] when a weight is missing.
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        let gain = weights.get("ln_final.w")?.data.clone();
        let bias = match config.norm {
            Norm::Layer => weights.get("ln_final.b")?.data.clone(),
            Norm::Rms => Vec::new(),
        };
        let directions = if config.tied { weights.get("embed")?.clone() } else { transposed(weights.get("unembed")?) };
        Ok(Self { norm: config.norm, epsilon: config.norm_epsilon, gain, bias, directions })
    }

    /// M.
    pub fn width(&self) -> usize {
        self.gain.len()
    }

    /// What one token's logit listens to, `[M]`.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a token the model does not have.
    pub fn direction(&self, token: u32) -> Result<&[f32]> {
        let count = self.directions.shape.first().copied().unwrap_or(0);
        match self.directions.at(token as usize) {
            row if row.len() == self.width() && (token as usize) < count => Ok(row),
            _ => Err(Error::Unknown {
                what: "token",
                name: token.to_string(),
                remedy: format!("the vocabulary has {count} tokens"),
            }),
        }
    }

    /// The final norm as it is for this vector `[M]`.
    pub fn freeze(&self, x: &[f32]) -> Frozen {
        let count = x.len().max(1) as f64;
        let centred = self.norm == Norm::Layer;
        let mean = if centred { x.iter().map(|value| f64::from(*value)).sum::<f64>() / count } else { 0.0 };
        let square = x.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
        Frozen { scale: (square + self.epsilon).sqrt(), centred }
    }

    /// What a part `[M]` of the residual stream becomes under the frozen norm, without the norm's bias.
    pub fn through(&self, part: &[f32], norm: Frozen) -> Vec<f32> {
        let count = part.len().max(1) as f64;
        let mean = if norm.centred { part.iter().map(|value| f64::from(*value)).sum::<f64>() / count } else { 0.0 };
        let one = |(value, gain): (&f32, &f32)| ((f64::from(*value) - mean) / norm.scale * f64::from(*gain)) as f32;
        part.iter().zip(&self.gain).map(one).collect()
    }

    /// The norm's bias `[M]`; zero where it has none.
    pub fn bias(&self) -> Vec<f32> {
        if self.bias.is_empty() { vec![0.0; self.width()] } else { self.bias.clone() }
    }

    /// Logits `[V]` of a vector that the head reads as it is.
    pub fn head(&self, y: &[f32]) -> Vec<f32> {
        let width = self.width().max(1);
        // f32 in rows: the products of a whole vocabulary are the bulk of a lens.
        self.directions.data.chunks_exact(width).map(|row| crate::model::dot(row, y)).collect()
    }

    /// Logits `[V]` of a residual vector after the final norm.
    pub fn logits(&self, x: &[f32]) -> Vec<f32> {
        let mut y = self.through(x, self.freeze(x));
        y.iter_mut().zip(&self.bias).for_each(|(value, bias)| *value += bias);
        self.head(&y)
    }
}

/// Σ a·b in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// `[M,V]` → `[V,M]`.
fn transposed(matrix: &Array) -> Array {
    let (rows, columns) = (matrix.shape.first().copied().unwrap_or(0), matrix.shape.last().copied().unwrap_or(0));
    let data = (0..rows * columns).map(|index| matrix.data[index % rows * columns + index / rows]).collect();
    Array { shape: vec![columns, rows], data }
}
