//! What a layer still needs of earlier tokens while it decodes, so that the rest can be dropped.
//!
//! Masks depend on positions, and on inputs that are the same for every text. So the last query that sees a key is known
//! before the text is, and a key whose last query has passed is never asked for again. A layer that takes its pattern over
//! from another needs no keys at all, and a mixer with a state of its own needs neither keys nor values. A selector may
//! choose any key that masks leave.

use super::attention::{both, open};
use crate::hook::Array;
use crate::mechanism::{Grid, Stack, Twin};

/// Queries that are asked at once: their masks over the whole context stay small.
const CHUNK: usize = 64;

/// What one layer needs of earlier tokens.
#[derive(Debug, Clone)]
pub(super) struct Needs {
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
        let keep = open(keep, &grid, stack.reach()).expand([1, at.heads, queries, context]);
        for (pair, kept) in keep.into_data().iter::<bool>().enumerate() {
            let (row, key) = (pair / context, pair % context);
            if kept {
                last[row / queries][key] = first_query + row % queries;
            }
        }
    }
    last
}
