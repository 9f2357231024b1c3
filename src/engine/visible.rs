//! Which keys a stack lets which queries see, and what that costs.
//!
//! Masks depend on positions, and on inputs that are the same for every text, so they are asked here once more on the
//! processor: the arrays of an outcome mark masked pairs, the price counts keys, and a row that keeps no key is reported. No
//! engine has to bring its masks back.

use crate::mechanism::{Grid, MASKED, Stack, Twin};
use crate::model::Config;
use crate::model::attention::{both, default_inputs, open};
use burn::tensor::Device;

/// The pairs one layer keeps, `[H,Q,K]` row-major for queries from `first_query` on.
pub struct Kept {
    heads: usize,
    queries: usize,
    keys: usize,
    /// Without the head axis when every head keeps the same pairs.
    pairs: Vec<bool>,
}

impl Kept {
    /// Asks the masks of `stack` at one layer for queries `first_query..first_query + queries` over `keys` keys; `seed`
    /// fills inputs nobody learned.
    pub fn new(
        config: &Config,
        stack: &Stack,
        seed: u64,
        layer: usize,
        first_query: usize,
        queries: usize,
        keys: usize,
    ) -> Self {
        let inputs = default_inputs(stack, layer, config.heads, config.kv_heads, config.head_width, seed);
        let grid = Grid {
            layer,
            layers: config.layers,
            heads: config.heads,
            kv_heads: config.kv_heads,
            queries,
            keys,
            first_query,
            device: Device::flex(),
            inputs: Vec::new(),
        };
        let mut keep = grid.causal();
        for placed in &stack.mask_mods {
            if let Twin::Mask(mask) = placed.mechanism.plug.twin {
                keep = both(keep, mask(&placed.values, &grid.with(stack.inputs_of(placed, &inputs))));
            }
        }
        let keep = open(keep, &grid, stack.reach());
        let heads = keep.dims()[1];
        let keep = keep.expand([1, heads, queries, keys]);
        Self { heads, queries, keys, pairs: keep.into_data().iter::<bool>().collect() }
    }

    /// The keys one query row of one head keeps, `[K]`.
    pub fn row(&self, head: usize, query: usize) -> &[bool] {
        let head = if self.heads == 1 { 0 } else { head };
        let start = (head * self.queries + query) * self.keys;
        self.pairs.get(start..start + self.keys).unwrap_or(&[])
    }

    /// Puts NaN where a pair of one head is masked; `cells` is `[Q,K]`.
    pub fn mark(&self, head: usize, cells: &mut [f32]) {
        for (query, row) in cells.chunks_mut(self.keys.max(1)).enumerate() {
            for (cell, kept) in row.iter_mut().zip(self.row(head, query)) {
                if !kept {
                    *cell = f32::NAN;
                }
            }
        }
    }

    /// The same in scores and weights of one head; where a selector drops a pair no mask tells, but the score does.
    pub fn mark_maps(&self, head: usize, scores: &mut [f32], pattern: &mut [f32]) {
        for (score, weight) in scores.iter_mut().zip(&mut *pattern).filter(|(score, _)| **score == MASKED) {
            (*score, *weight) = (f32::NAN, f32::NAN);
        }
        self.mark(head, scores);
        self.mark(head, pattern);
    }

    /// Kept pairs, over all of the model's `heads`.
    pub fn pairs(&self, heads: usize) -> usize {
        self.pairs.iter().filter(|kept| **kept).count() * heads / self.heads.max(1)
    }

    /// Query rows that keep no key, over all heads.
    pub fn empty_rows(&self) -> usize {
        (0..self.heads)
            .flat_map(|head| (0..self.queries).map(move |query| (head, query)))
            .filter(|(head, query)| !self.row(*head, *query).contains(&true))
            .count()
    }

    /// Distinct keys that any of these queries keeps in any of `heads`.
    pub fn distinct(&self, heads: std::ops::Range<usize>) -> usize {
        (0..self.keys)
            .filter(|key| heads.clone().any(|head| (0..self.queries).any(|query| self.row(head, query)[*key])))
            .count()
    }
}
