//! What a stack costs in a decode, in closed form.
//!
//! ```text
//! kv_bytes        = Σ over layers of  4 · (values that the cache keeps of each key) over keys a query from the last row on sees
//! flops_per_token = 2 · (weights of all matrices that are used but the embedding; the vocabulary head counts)
//!                 + Σ over layers and query heads of  2 · (multiplications per pair) · (keys the last row sees)
//! ```
//!
//! Plain attention keeps 2·D values per key–value head and multiplies 2·D times per pair, so n tokens hold 8·L·G·D·n bytes;
//! a window of w with s sinks holds as if n were min(n, s + w). A latent is kept where any head sees its key, in place of
//! keys and values. A layer that takes its pattern over keeps values alone. A state of a fixed size stands for all keys: its
//! numbers are kept and multiplied twice per token, however long the text. A decode on the processor holds just these
//! numbers under masks, echoes and states; one on the GPU has room from the beginning for the most that these become, and
//! for the whole context where a head keeps stripes or where maps are looked at. A cache that is corrected keeps what the
//! tokens since the last correction see, and computes every token once more, but for the vocabulary. Norms, activations and
//! the arithmetic of the mechanisms themselves are left out: they are below a percent.

use super::visible::Kept;
use crate::mechanism::{Cost, Grid, Stack, Twin};
use crate::model::Config;
use crate::model::attention::default_inputs;
use crate::model::config::Positions;
use crate::outcome::Price;
use burn::tensor::Device;

/// The price of `stack` at `tokens` tokens; `seed` fills inputs nobody learned.
pub fn price(config: &Config, stack: &Stack, seed: u64, tokens: usize) -> Price {
    let (groups, width) = (config.kv_heads, config.head_width);
    let group = (config.heads / groups.max(1)).max(1);
    let last = tokens.saturating_sub(1);
    let corrects = stack.corrects();
    // The first query that will be asked, perhaps once more.
    let again = corrects.filter(|corrects| !corrects.is_due(tokens));
    let first = again.map_or(last, |corrects| corrects.again(last));
    let later = config.context.max(tokens) - first;
    let (mut values, mut products) = (0, weights(config));
    for layer in 0..config.layers {
        let layer = Layer::new(config, stack, seed, layer, tokens);
        // Keys that some query from the last row on sees: of each key–value head, of any head, and pairs of the last row.
        let (of_heads, of_any, seen) = if stack.mask_mods.is_empty() {
            (groups * tokens, tokens, config.heads * tokens)
        } else {
            let kept = Kept::new(config, stack, seed, layer.grid.layer, first, later, tokens);
            let of_head = |head: usize| kept.distinct(head * group..(head + 1) * group);
            let pairs = |head: usize| kept.row(head, last - first).iter().filter(|kept| **kept).count();
            let seen = (0..config.heads).map(pairs).sum::<usize>();
            ((0..groups).map(of_head).sum(), kept.distinct(0..config.heads), seen)
        };
        let keys = usize::from(layer.needs_keys);
        if let Some(state) = state(stack, width) {
            // One product for each number when a token is added, one when it is read.
            values += config.heads * state;
            products += 2 * config.heads * state;
            continue;
        }
        match layer.cost {
            Some(Cost { cached, per_token, per_pair }) => {
                values += cached * of_any;
                // The latent is projected in place of keys and values.
                products += config.width * cached + per_token;
                products -= config.width * 2 * groups * width;
                products += per_pair * seen;
            }
            None => {
                values += (1 + keys) * width * of_heads;
                products -= (1 - keys) * config.width * (config.heads + groups) * width;
                products += (1 + keys) * width * seen;
            }
        }
    }
    if corrects.is_some() {
        products += products - config.vocabulary * config.width;
    }
    Price { kv_bytes: 4 * values, flops_per_token: 2 * products, ..Price::default() }
}

/// Numbers that the mixer keeps for each query head in place of keys and values, where it does.
pub(super) fn state(stack: &Stack, width: usize) -> Option<usize> {
    let mixer = stack.mixer.as_ref()?;
    match mixer.mechanism.plug.twin {
        Twin::Mix(.., state) => state(&mixer.values, width),
        _ => None,
    }
}

/// What mechanisms say about one layer.
pub(super) struct Layer {
    grid: Grid,
    /// Where keys and values are not cached as the model has them.
    cost: Option<Cost>,
    /// Whether the layer computes scores of its own.
    pub needs_keys: bool,
}

impl Layer {
    pub fn new(config: &Config, stack: &Stack, seed: u64, layer: usize, tokens: usize) -> Self {
        let (heads, kv_heads, width) = (config.heads, config.kv_heads, config.head_width);
        let grid = Grid {
            layer,
            layers: config.layers,
            heads,
            kv_heads,
            queries: 1,
            keys: tokens,
            first_query: tokens.saturating_sub(1),
            device: Device::flex(),
            inputs: Vec::new(),
        };
        let rotates = config.positions != Positions::Learned;
        let cost = stack.projection_mods.iter().rev().find_map(|placed| match placed.mechanism.plug.twin {
            Twin::Project(_, cost, _) => Some(cost(&placed.values, &grid, width, rotates)),
            _ => None,
        });
        let mut needs_keys = true;
        if !stack.pattern_mods.is_empty() {
            let inputs = default_inputs(stack, layer, heads, kv_heads, width, seed);
            needs_keys = stack.pattern_mods.iter().all(|placed| match placed.mechanism.plug.twin {
                Twin::Rework(_, _, needs_keys) => {
                    needs_keys(&placed.values, &grid.with(stack.inputs_of(placed, &inputs)))
                }
                _ => true,
            });
        }
        Self { grid, cost, needs_keys }
    }
}

/// Entries of all matrices but the embedding, which is looked up.
pub(super) fn weights(config: &Config) -> usize {
    let is_matrix = |(name, shape): &(String, Vec<usize>)| {
        shape.len() == 2 && name != "positions" && (name != "embed" || config.tied)
    };
    let manifest = config.manifest();
    manifest.iter().filter(|entry| is_matrix(entry)).map(|(_, shape)| shape.iter().product::<usize>()).sum()
}
