//! Retrieval: whether a head looks, at the moment a token of the needle is made, at that token in the needle.
//!
//! ```text
//! a head retrieves at a step when   argmax_j A[q,j] lies in the needle   and   the token there is the one that is made
//! score on one passage = distinct places of the needle it retrieved / length of the needle
//! ```
//!
//! Only passages that were answered right count (Wu et al., 2024; paper 29). The reference adds one over the length for
//! every such step; here a place counts once, so that a score is at most 1.

use super::roles::Role;
use crate::hook::Array;
use std::collections::BTreeSet;
use std::ops::Range;

/// Copies from a passage.
pub const RETRIEVAL: Role = Role {
    role: "retrieval",
    help: "Share of a needle's tokens that were looked at most just when they were made, over passages answered right.",
    threshold: 0.1,
};

/// One passage that was answered right.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage<'a> {
    /// All tokens.
    pub tokens: &'a [u32],
    /// Where the needle stands.
    pub needle: Range<usize>,
    /// Queries whose predictions are tokens of the needle; query `q` makes token `q + 1`.
    pub queries: &'a [usize],
}

/// Scores of the heads of one layer from its pattern `[1,H,Q,K]` or `[H,Q,K]`.
///
/// ```
/// use attnscope::hook::Array;
/// use attnscope::lens::retrieval::{Passage, retrieved};
/// // Token 9 stands at 1; the last query makes it again. The one head looks there.
/// let pattern = Array::new([1, 3, 3], vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.1, 0.8, 0.1]).unwrap();
/// let passage = Passage { tokens: &[5, 9, 7, 9], needle: 1..2, queries: &[2] };
/// assert_eq!(retrieved(&passage, &pattern), [1.0]);
/// ```
pub fn retrieved(passage: &Passage<'_>, pattern: &Array) -> Vec<f32> {
    let [.., heads, queries, keys] = pattern.shape[..] else { return Vec::new() };
    let row = |head: usize, query: usize| {
        let start = (head * queries + query) * keys;
        pattern.data.get(start..start + keys).unwrap_or(&[])
    };
    let one = |head: usize| {
        let hit = |query: &usize| {
            let (key, _) = row(head, *query).iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
            let made = passage.tokens.get(query + 1)?;
            (passage.needle.contains(&key) && passage.tokens.get(key) == Some(made)).then_some(key)
        };
        let places: BTreeSet<usize> = passage.queries.iter().filter_map(hit).collect();
        places.len() as f32 / passage.needle.len().max(1) as f32
    };
    (0..heads).map(one).collect()
}
