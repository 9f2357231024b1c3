//! Step-by-step decoding: keys and values of the tokens so far, so that one more token costs one row.

use burn::tensor::Tensor;

/// Keys (rotated) and values of every layer, growing with the sequence.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    /// Per layer k and v, `[B,G,K,D]` each.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
}

impl KeyValues {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tokens have been seen.
    pub fn tokens(&self) -> usize {
        self.layers.first().map_or(0, |(k, _)| k.dims()[2])
    }

    /// Appends the keys and values of new tokens at `layer`; returns those of the whole sequence, `[B,G,K,D]`.
    pub(super) fn extend(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match self.layers.get_mut(layer) {
            Some(past) => {
                past.0 = Tensor::cat(vec![past.0.clone(), k], 2);
                past.1 = Tensor::cat(vec![past.1.clone(), v], 2);
                past.clone()
            }
            None => {
                self.layers.push((k.clone(), v.clone()));
                (k, v)
            }
        }
    }
}
