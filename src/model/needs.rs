//! What a layer still needs of earlier tokens while it decodes, so that the rest can be dropped.
//!
//! Masks depend on positions, and on inputs that are the same for every text. So the last query that sees a key is known
//! before the text is, and a key whose last query has passed is never asked for again. A layer that takes its pattern over
//! from another needs no keys at all, and a mixer with a state of its own needs neither keys nor values. A selector may
//! choose any key that masks leave.

use super::attention::{both, open};
#[cfg(feature = "gpu")]
use super::{attention::default_inputs, config::Config};
use crate::hook::Array;
use crate::mechanism::{Grid, Stack, Twin};
#[cfg(feature = "gpu")]
use burn::tensor::Device;

/// Queries that are asked at once: their masks over the whole context stay small.
const CHUNK: usize = 64;

/// What one layer needs of earlier tokens.
#[derive(Debug, Clone)]
pub(crate) struct Needs {
    /// Whether it computes scores.
    pub keys: bool,
    /// Whether it reads values.
    pub values: bool,
    /// Of each head the last query that sees each key, `[H][context]`; absent where nothing is ever lost.
    last: Option<Vec<Vec<usize>>>,
}

impl Needs {
    /// The needs of the layer of `at` over a context of `context` tokens; `inputs` are those of [`Stack::inputs`].
    pub fn new(stack: &Stack, at: &Grid, inputs: &[Array], context: usize, width: usize) -> Self {
        if let Some(mixer) = &stack.mixer {
            let has_state = match mixer.mechanism.plug.twin {
                Twin::Mix(.., state) => state(&mixer.values, width).is_some(),
                _ => false,
            };
            return Self { keys: !has_state, values: !has_state, last: None };
        }
        let keys = stack.pattern_mods.iter().all(|placed| match placed.mechanism.plug.twin {
            Twin::Rework(_, _, needs_keys) => needs_keys(&placed.values, &at.with(stack.inputs_of(placed, inputs))),
            _ => true,
        });
        let last = (!stack.mask_mods.is_empty()).then(|| last_queries(stack, at, inputs, context));
        Self { keys, values: true, last }
    }

    /// Whether some query from `query` on sees `key` in one of `heads`.
    pub fn holds(&self, mut heads: std::ops::Range<usize>, key: usize, query: usize) -> bool {
        let Some(last) = &self.last else { return true };
        // What lies beyond the context was never asked.
        heads.any(|head| last[head].get(key).is_none_or(|last| *last >= query))
    }

    /// Whether everything is held.
    pub fn all(&self) -> bool {
        self.keys && self.values && self.last.is_none()
    }
}

/// Rows in which a key–value head keeps what some later query sees, where the place of a token follows from its position:
/// the first tokens for good, the others in turn, each in the row of one that nobody asks for any more.
#[cfg(feature = "gpu")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    /// First tokens that are kept for good.
    pub pinned: usize,
    /// Rows that the others take in turn.
    pub turning: usize,
}

#[cfg(feature = "gpu")]
impl Ring {
    /// The fewest rows for keys whose last queries are these.
    fn fewest(last: &[usize]) -> Self {
        let mut fewest = Ring { pinned: last.len(), turning: 0 };
        let mut turning = 1;
        for (pinned, last) in last.iter().enumerate().rev() {
            // Its row is taken by a token that its last query does not see.
            turning = turning.max((last + 1).saturating_sub(pinned));
            if pinned + turning < fewest.rows() {
                fewest = Ring { pinned, turning };
            }
        }
        fewest
    }

    /// Rows of both.
    pub fn rows(&self) -> usize {
        self.pinned + self.turning
    }
}

#[cfg(feature = "gpu")]
impl Needs {
    /// The needs of one layer of a model over a context of `context` tokens; `seed` fills inputs nobody learned.
    pub fn of_layer(config: &Config, stack: &Stack, seed: u64, layer: usize, context: usize) -> Self {
        let Config { layers, heads, kv_heads, head_width: width, .. } = *config;
        let at = Grid {
            layer,
            layers,
            heads,
            kv_heads,
            queries: 1,
            keys: context,
            first_query: 0,
            device: Device::flex(),
            inputs: Vec::new(),
        };
        let inputs = default_inputs(stack, layer, heads, kv_heads, width, seed);
        Self::new(stack, &at, &inputs, context, width)
    }

    /// The rows of each of `kv_heads` over the context that was asked about; `None` where every token has a row of its own.
    pub fn rings(&self, kv_heads: usize) -> Option<Vec<Ring>> {
        let last = self.last.as_ref()?;
        let context = last.first()?.len();
        let of_group = |heads: &[Vec<usize>]| {
            let latest = |key: usize| heads.iter().map(|head| head[key]).max().unwrap_or(0);
            Ring::fewest(&(0..context).map(latest).collect::<Vec<_>>())
        };
        let rings: Vec<_> = last.chunks(last.len() / kv_heads).map(of_group).collect();
        rings.iter().any(|ring| ring.rows() < context).then_some(rings)
    }
}

/// The last query that sees each key, `[H][context]`.
fn last_queries(stack: &Stack, at: &Grid, inputs: &[Array], context: usize) -> Vec<Vec<usize>> {
    let mut last = vec![vec![0; context]; at.heads];
    for first_query in (0..context).step_by(CHUNK) {
        let queries = CHUNK.min(context - first_query);
        let grid = Grid { queries, keys: context, first_query, ..at.clone() };
        let mut keep = grid.causal();
        for placed in &stack.mask_mods {
            if let Twin::Mask(mask) = placed.mechanism.plug.twin {
                keep = both(keep, mask(&placed.values, &grid.with(stack.inputs_of(placed, inputs))));
            }
        }
        let keep = open(keep, &grid, stack.reach());
        // One head where all keep the same pairs.
        let heads = keep.dims()[1];
        last.truncate(heads);
        let keep = keep.expand([1, heads, queries, context]);
        for (pair, kept) in keep.into_data().iter::<bool>().enumerate() {
            let (row, key) = (pair / context, pair % context);
            if kept {
                last[row / queries][key] = first_query + row % queries;
            }
        }
    }
    // A mask is about each head or about all of them.
    let alike = last.first().filter(|_| last.len() < at.heads).cloned();
    last.extend(alike.into_iter().cycle().take(at.heads - last.len()));
    last
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::Ring;

    /// Last queries of keys in a context of so many tokens, of which some are pinned and the others seen so long.
    fn window(context: usize, pinned: usize, seen: usize) -> Vec<usize> {
        (0..context).map(|key| if key < pinned { context - 1 } else { (key + seen - 1).min(context - 1) }).collect()
    }

    #[test]
    fn rows_are_as_few_as_masks_allow() {
        assert_eq!(Ring::fewest(&window(64, 4, 16)), Ring { pinned: 4, turning: 16 });
        assert_eq!(Ring::fewest(&window(64, 0, 5)), Ring { pinned: 0, turning: 5 });
        // Nothing is lost, or so little that nothing is won.
        assert_eq!(Ring::fewest(&window(64, 64, 1)), Ring { pinned: 64, turning: 0 });
        assert_eq!(Ring::fewest(&window(64, 40, 24)), Ring { pinned: 64, turning: 0 });
        // Blocks of four and two tokens before: the first of those two is seen the longest.
        let halo = |key: usize| if key % 4 < 2 { key / 4 * 4 + 3 } else { key / 4 * 4 + 7 };
        assert_eq!(Ring::fewest(&(0..64).map(|key| halo(key).min(63)).collect::<Vec<_>>()).rows(), 6);
        // What nobody sees still needs a row while it is written.
        assert_eq!(Ring::fewest(&[0; 9]), Ring { pinned: 0, turning: 1 });
    }
}
