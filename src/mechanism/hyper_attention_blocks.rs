//! Blocks and samples of HyperAttention: which keys a query of the later half attends to in the earlier one, and how often.

use super::Grid;
use super::hyper_attention::{COUNTED, HyperAttentionParams, RANDOM};
use std::ops::Range;

/// Two neighbouring halves whose later queries see the earlier keys by estimate.
pub(super) struct Half {
    /// Earlier tokens.
    pub keys: Range<usize>,
    /// Later tokens.
    pub queries: Range<usize>,
    /// Whether a zero query was put behind the last one.
    pub padded: bool,
}

/// The parts of causal attention over these tokens that are not exact.
pub(super) fn halves(p: &HyperAttentionParams, tokens: Range<usize>) -> Vec<Half> {
    if tokens.len() <= p.n_min as usize {
        return Vec::new();
    }
    let middle = tokens.start + tokens.len().div_ceil(2);
    let here = Half { keys: tokens.start..middle, queries: middle..tokens.end, padded: tokens.len() % 2 == 1 };
    let mut all = halves(p, here.keys.clone());
    all.extend(halves(p, here.queries.clone()));
    all.push(here);
    all
}

/// How one pair of halves is estimated: blocks of its queries, and of its keys with how often each counts as a sample.
pub(super) struct Cut {
    /// Queries that are here, by position.
    pub queries: Range<usize>,
    /// Of each query its place in the sorted order.
    pub query_places: Vec<usize>,
    /// Queries of a block.
    pub query_block: usize,
    /// Of each key its place in the sorted order.
    pub key_places: Vec<usize>,
    /// Keys of a block.
    pub key_block: usize,
    /// How often each key counts outside its block.
    pub counted: Vec<f32>,
}

impl Cut {
    /// Whether a key lies in the block of a query, both by their place in the half.
    pub fn together(&self, query: usize, key: usize) -> bool {
        self.query_places[query] / self.query_block == self.key_places[key] / self.key_block
    }
}

/// The cut of one pair of halves of one head; none where it is exact. `places` are of the queries from `first_query` on and
/// of all keys.
pub(super) fn cut(
    p: &HyperAttentionParams,
    first_query: usize,
    half: &Half,
    places: [&[f32]; 2],
    draws: &[f32],
) -> Option<Cut> {
    let queries = half.queries.start.max(first_query)..half.queries.end.max(first_query);
    let all_queries = queries.len() + usize::from(half.padded);
    let (keys, block) = (half.keys.len(), p.block as usize);
    let blocks = keys.div_ceil(block);
    if all_queries < p.n_min as usize || blocks < 2 {
        return None;
    }
    let q_places = &places[0][queries.start - first_query..queries.end - first_query];
    let k_places = &places[1][half.keys.clone()];
    // The zero query has code 0; chance puts it last.
    let zero = if p.order == RANDOM { f32::INFINITY } else { 0.0 };
    let each = keys as f32 / draws.len().max(1) as f32;
    let counted = |place: &usize| draws.iter().filter(|draw| drawn(**draw, keys) == *place).count() as f32 * each;
    let key_places = order(k_places, None);
    Some(Cut {
        query_places: order(q_places, half.padded.then_some(zero)),
        query_block: all_queries.div_ceil(blocks),
        counted: key_places.iter().map(counted).collect(),
        key_places,
        key_block: block,
        queries,
    })
}

/// Puts the weights of one pair of halves into `weights` `[Q,K]`, unless it is exact.
pub(super) fn estimate(
    p: &HyperAttentionParams,
    at: &Grid,
    half: &Half,
    places: [&[f32]; 2],
    draws: &[f32],
    weights: &mut [f32],
) {
    let Some(cut) = cut(p, at.first_query, half, places, draws) else { return };
    for query in 0..cut.queries.len() {
        let row = (cut.queries.start - at.first_query + query) * at.keys + half.keys.start;
        for (key, counted) in cut.counted.iter().enumerate() {
            weights[row + key] = match cut.together(query, key) {
                true if p.own_block == COUNTED => 1.0 + counted,
                true => 1.0,
                false => *counted,
            };
        }
    }
}

/// The place in the sorted order that an even draw from 0..1 means.
fn drawn(draw: f32, keys: usize) -> usize {
    ((draw * keys as f32) as usize).min(keys - 1)
}

/// Each token's place in the stable sort; a padding query stands behind the others.
fn order(places: &[f32], padding: Option<f32>) -> Vec<usize> {
    let before =
        |token: usize, other: usize| places[other] < places[token] || (places[other] == places[token] && other < token);
    let one = |token: usize| {
        let padded = padding.is_some_and(|padding| padding < places[token]);
        (0..places.len()).filter(|other| before(token, *other)).count() + usize::from(padded)
    };
    (0..places.len()).map(one).collect()
}
