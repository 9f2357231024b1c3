//! Which keys a stack lets which queries see, and what that costs.
//!
//! Masks depend on positions, and on inputs that are the same for every text, so they are asked here once more on the
//! processor: the arrays of an outcome mark masked pairs, the price counts keys, and a row that keeps no key is reported. No
//! engine has to bring its masks back.

use crate::mechanism::{Grid, Stack, Twin};
use crate::model::Config;
use crate::model::attention::{both, default_inputs};
use crate::outcome::Price;
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
    fn distinct(&self, heads: std::ops::Range<usize>) -> usize {
        (0..self.keys)
            .filter(|key| heads.clone().any(|head| (0..self.queries).any(|query| self.row(head, query)[*key])))
            .count()
    }
}

/// What a stack costs at `tokens` tokens, in closed form; `seed` fills inputs nobody learned.
///
/// ```text
/// kv_bytes        = Σ over layers and key–value heads of  2 · D · 4 · (distinct keys a query from the last row on may see)
/// flops_per_token = 2 · (weights of all matrices but the embedding; the vocabulary head counts)
///                 + Σ over layers and query heads of  4 · D · (keys the last row sees)
/// ```
///
/// Plain attention at n tokens holds 8·L·G·D·n bytes; a window of w with s sinks holds as if n were min(n, s + w).
/// Norms, activations and the arithmetic of the mechanisms themselves are left out: they are below a percent.
pub fn price(config: &Config, stack: &Stack, seed: u64, tokens: usize) -> Price {
    let group = (config.heads / config.kv_heads.max(1)).max(1);
    let last = tokens.saturating_sub(1);
    let later = config.context.max(tokens) - last;
    let (mut held, mut seen) = (0, 0);
    for layer in 0..config.layers {
        if stack.mask_mods.is_empty() {
            held += config.kv_heads * tokens;
            seen += config.heads * tokens;
            continue;
        }
        let kept = Kept::new(config, stack, seed, layer, last, later, tokens);
        held += (0..config.kv_heads).map(|kv| kept.distinct(kv * group..(kv + 1) * group)).sum::<usize>();
        seen += (0..config.heads).map(|head| kept.row(head, 0).iter().filter(|kept| **kept).count()).sum::<usize>();
    }
    let is_matrix = |(name, shape): &(String, Vec<usize>)| {
        shape.len() == 2 && name != "positions" && (name != "embed" || config.tied)
    };
    let weights: usize = config
        .manifest()
        .iter()
        .filter(|entry| is_matrix(entry))
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    Price {
        kv_bytes: 2 * 4 * config.head_width * held,
        flops_per_token: 2 * weights + 4 * config.head_width * seen,
        ..Price::default()
    }
}
