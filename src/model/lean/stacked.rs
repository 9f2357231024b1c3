//! Attention under mechanisms: the definition's own code on tensors, between products without tensors.

use super::{Attend, heads};
use crate::mechanism::Grid;
use crate::model::config::{Config, Positions};
use crate::model::decode::{KeyValues, Past};
use crate::model::needs::Needs;
use crate::model::rotary::Rotation;
use crate::model::run::{Run, host};
use crate::model::text::{attend_heads, join_heads, split_heads};
use crate::{Error, Result};
use attnscope_loops::attention::Heads;
use burn::tensor::{Device, Tensor, TensorData};

/// Attention of tokens that follow a sequence, under the stack of a run that nobody watches.
pub(super) struct Stacked<'a, 'r> {
    config: &'a Config,
    run: &'a Run<'r>,
    cache: &'a mut KeyValues,
    /// Of the new tokens.
    rotation: Option<Rotation>,
    first: usize,
    device: Device,
}

impl<'a, 'r> Stacked<'a, 'r> {
    /// `tokens` new ones behind those in `cache`.
    pub fn new(config: &'a Config, run: &'a Run<'r>, cache: &'a mut KeyValues, tokens: usize) -> Self {
        let (first, device) = (cache.tokens(), Device::flex());
        let rotation = match config.positions {
            Positions::Learned => None,
            Positions::Rotary { pairing, .. } => {
                Some(Rotation::new(&config.frequencies(), pairing, first, tokens, &device))
            }
        };
        Self { config, run, cache, rotation, first, device }
    }
}

impl Attend for Stacked<'_, '_> {
    fn attend(&mut self, layer: usize, projections: &mut [f32], z: &mut [f32]) -> Result<()> {
        let sizes = heads(self.config);
        let (row, Heads { heads, kv_heads, width }) = (sizes.row(), sizes);
        let queries = projections.len() / row;
        let part = |from: usize, count: usize| {
            let columns = from * width..(from + count) * width;
            let values: Vec<f32> =
                projections.chunks_exact(row).flat_map(|row| &row[columns.clone()]).copied().collect();
            let rows = Tensor::from_data(TensorData::new(values, [1, queries, count * width]), &self.device);
            split_heads(rows, count)
        };
        let projected = [part(0, heads), part(heads, kv_heads), part(heads + kv_heads, kv_heads)];
        let grid = Grid {
            layer,
            layers: self.config.layers,
            heads,
            kv_heads,
            queries,
            keys: self.first + queries,
            first_query: self.first,
            device: self.device.clone(),
            inputs: Vec::new(),
        };
        let past = Past { memories: &mut self.cache.memories, keys: Some(&mut self.cache.layers), corrected: None };
        let mixed = attend_heads(self.config, projected, &grid, self.rotation.as_ref(), self.run, past);
        let needs =
            || Needs::new(self.run.stack, &grid, &self.run.inputs(layer, self.config), self.config.context, width);
        // A correction asks the queries since the last one again.
        let last = self.first + queries - 1;
        let from = self.run.stack.corrects().map_or(last, |corrects| corrects.again(last));
        self.cache.layers.drop_unneeded(layer, heads, from, needs);
        let mixed = host(join_heads(mixed).into_data()).data; // [1,Q,H·D]
        if mixed.len() != z.len() {
            return Err(Error::Internal(format!("attention gave {} values instead of {}", mixed.len(), z.len())));
        }
        z.copy_from_slice(&mixed);
        Ok(())
    }
}
