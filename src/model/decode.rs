//! Step-by-step decoding: keys and values of the tokens so far, so that one more token costs one row, and what mechanisms
//! remember beside them.

use crate::mechanism::Memories;
use burn::tensor::Tensor;

/// What a growing sequence leaves behind.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    /// Keys and values of every layer.
    pub(super) layers: Layers,
    /// What mechanisms carry from step to step.
    pub(super) memories: Memories,
}

/// Keys (rotated) and values of every layer, growing with the sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(Vec<(Tensor<4>, Tensor<4>)>);

/// What one step may read of earlier ones.
pub(super) struct Past<'a> {
    pub(super) memories: &'a mut Memories,
    /// Absent in a pass over whole sequences.
    pub(super) keys: Option<&'a mut Layers>,
}

impl KeyValues {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tokens have been seen.
    pub fn tokens(&self) -> usize {
        self.layers.0.first().map_or(0, |(k, _)| k.dims()[2])
    }
}

impl Layers {
    /// Appends the keys and values of new tokens at `layer`; returns those of the whole sequence, `[B,G,K,D]`.
    pub(super) fn extend(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match self.0.get_mut(layer) {
            Some(past) => {
                past.0 = Tensor::cat(vec![past.0.clone(), k], 2);
                past.1 = Tensor::cat(vec![past.1.clone(), v], 2);
                past.clone()
            }
            None => {
                self.0.push((k.clone(), v.clone()));
                (k, v)
            }
        }
    }
}
