//! How much each key's value writes into the residual stream, ‖v·W_O‖, per layer and query head.
//!
//! ‖v·W‖² = v·(W·Wᵀ)·vᵀ, and W·Wᵀ `[D,D]` is made once per model: D² per key and head instead of D·M.

use crate::Result;
use crate::hook::Array;
use crate::model::{Config, Weights};

/// W_O·W_Oᵀ of every query head, [L·H,D,D].
pub(super) struct OutputGrams(Array);

impl OutputGrams {
    /// From the output projections of `weights`.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when a projection is missing.
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        let (width, model) = (config.head_width, config.width);
        let mut data = Vec::with_capacity(config.layers * config.heads * width * width);
        for layer in 0..config.layers {
            let w_o = weights.get(&format!("blocks.{layer}.attn.w_o"))?; // [H·D,M]
            for head in w_o.data.chunks(width * model) {
                let rows: Vec<&[f32]> = head.chunks(model).collect();
                for a in &rows {
                    data.extend(rows.iter().map(|b| dot(a, b)));
                }
            }
        }
        Array::new([config.layers * config.heads, width, width], data).map(Self)
    }

    /// ‖v·W_O‖ of each key of one head, appended to `out`; `values` is `[K,D]` of the head's key–value head.
    pub fn norms(&self, config: &Config, layer: usize, head: usize, values: &[f32], out: &mut Vec<f32>) {
        let gram = self.0.at(layer * config.heads + head);
        let width = config.head_width;
        out.extend(values.chunks(width).map(|v| {
            let square: f32 = v.iter().zip(gram.chunks(width)).map(|(x, row)| x * dot(row, v)).sum();
            square.max(0.0).sqrt()
        }));
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
