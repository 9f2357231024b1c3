//! The second stream of a pass under a selector that corrects its cache.
//!
//! A decode writes keys and values of what it saw sparsely, and every so many tokens computes these tokens once more
//! without the selector and keeps that instead. So the query at position q sees, of every key before the last correction,
//! what a stream without the selector makes of it, and of later keys what its own stream does. A pass over the whole text
//! runs both streams, layer by layer, and each row picks.

use super::{Block, Text};
use crate::mechanism::{Corrected, Corrects, Grid, Memories, Stack};
use crate::model::decode::{Layers, Past};
use crate::model::rotary::Rotation;
use crate::model::run::Run;
use burn::tensor::Tensor;

/// The stream without the selector, which nobody watches.
pub(super) struct Second {
    corrects: Corrects,
    stack: Stack,
    seed: u64,
    /// The residual stream `[B,Q,M]` before the next layer.
    x: Tensor<3>,
    memories: Memories,
}

impl Second {
    /// Beside a pass whose residual stream begins as `x` `[B,Q,M]`; none where its stack corrects nothing.
    pub fn new(run: &Run<'_>, x: &Tensor<3>) -> Option<Self> {
        Some(Self {
            corrects: run.stack.corrects()?,
            stack: run.stack.without_selector(),
            seed: run.seed,
            x: x.clone(),
            memories: Memories::default(),
        })
    }

    /// Goes through one layer; → its keys and values, and which queries see them.
    pub fn layer(&mut self, text: &Text, block: &Block, at: &Grid, rotation: Option<&Rotation>) -> Option<Corrected> {
        let mut keys = Layers::default();
        let past = Past { memories: &mut self.memories, keys: Some(&mut keys), corrected: None };
        let run = Run::new(&self.stack, self.seed);
        self.x = text.block(block, self.x.clone(), at, rotation, &run, past);
        let before = (at.first_query..at.first_query + at.queries).map(|query| self.corrects.before(query) as f32);
        let before = at.tensor(before.collect(), [1, 1, at.queries, 1]);
        let shape = [1, 1, at.queries, at.keys];
        let pairs = at.key().expand(shape).lower(before.expand(shape));
        let [k, v] = keys.only()?;
        Some(Corrected { k, v, pairs })
    }
}
