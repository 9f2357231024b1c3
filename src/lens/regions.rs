//! Roles that are a region rather than one key: the tokens just before, and delimiters wherever they stand.
//!
//! An even row puts weight on any region, the more the larger the region is, so each score has that share taken out:
//!
//! ```text
//! score = mean over queries of (weight on the region − share of the region among the keys the query sees)
//! ```

use super::roles::{Probe, Role};
use super::{HeadRows, Patterns};

/// Tokens just before the query, the query's own and the one before it left out, since those are roles of their own.
pub const LOCAL: Role = Role {
    role: "local",
    help: "Mean weight on the 2nd to 5th token before the query, above what an even row puts there.",
    threshold: 0.3,
};

/// Delimiters among random tokens.
pub const DELIMITER: Role = Role {
    role: "delimiter",
    help: "Mean weight on punctuation and line ends among random tokens, above what an even row puts there.",
    threshold: 0.3,
};

/// Distances of [`LOCAL`].
const NEAR: std::ops::RangeInclusive<usize> = 2..=5;
/// Queries before this one see little else than the region.
const FIRST: usize = 8;

/// Local scores of every head on one probe, each with the same region at another place.
pub fn local(probe: &Probe, patterns: &Patterns<'_>) -> Vec<(f32, f32)> {
    let near = |query: usize, key: usize| NEAR.contains(&(query - key));
    let size = NEAR.count();
    // The region begins at a key drawn at random, and goes on at the first one where the keys end.
    let elsewhere = |query: usize, key: usize| {
        let start = probe.random_keys.get(query).copied().unwrap_or(0);
        (key + query + 1 - start) % (query + 1) < size
    };
    patterns.iter().map(|rows| (excess(&rows, near), excess(&rows, elsewhere))).collect()
}

/// Random tokens with delimiters among them, and the same with other tokens in their places.
#[derive(Debug, Clone, PartialEq)]
pub struct Delimited {
    /// With delimiters.
    pub with: Vec<u32>,
    /// With ordinary tokens in their places.
    pub without: Vec<u32>,
    /// Where they stand.
    pub places: Vec<bool>,
}

/// `count` probes of `length` tokens out of `vocabulary`, which holds no delimiter, behind `bos`. No probes where there are
/// no delimiters.
#[cfg(feature = "model")]
pub fn delimited(
    seed: u64,
    vocabulary: &[u32],
    delimiters: &[u32],
    count: usize,
    length: usize,
    bos: Option<u32>,
) -> Vec<Delimited> {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    /// One token in this many is a delimiter.
    const EVERY: usize = 5;
    if delimiters.is_empty() || vocabulary.is_empty() {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: usize| (rng.next_u64() % bound as u64) as usize;
    let one = |_| {
        let mut probe =
            Delimited { with: bos.into_iter().collect(), without: bos.into_iter().collect(), places: vec![] };
        probe.places.resize(probe.with.len(), false);
        for _ in 0..length {
            let token = vocabulary[below(vocabulary.len())];
            let delimiter = delimiters[below(delimiters.len())];
            let here = below(EVERY) == 0;
            probe.with.push(if here { delimiter } else { token });
            probe.without.push(token);
            probe.places.push(here);
        }
        probe
    };
    (0..count).map(one).collect()
}

/// Delimiter scores of every head, each with the score of the same places where no delimiters stand.
pub fn delimiter(probe: &Delimited, with: &Patterns<'_>, without: &Patterns<'_>) -> Vec<(f32, f32)> {
    // A query's own token is never counted: looking at oneself is another role.
    let there = |query: usize, key: usize| key < query && probe.places.get(key).copied().unwrap_or(false);
    with.iter().zip(without.iter()).map(|(a, b)| (excess(&a, there), excess(&b, there))).collect()
}

/// Mean over queries from [`FIRST`] on of the weight on a region less the region's share of the keys.
fn excess(rows: &HeadRows<'_>, within: impl Fn(usize, usize) -> bool) -> f32 {
    let one = |query: usize| {
        let shares = rows.shares(query);
        let inside = |key: &usize| within(query, *key);
        let (count, weight) = (0..=query)
            .filter(inside)
            .fold((0usize, 0.0), |(count, weight), key| (count + 1, weight + shares.get(key).copied().unwrap_or(0.0)));
        weight - count as f32 / (query + 1) as f32
    };
    let queries = FIRST.min(rows.tokens)..rows.tokens;
    if queries.is_empty() { 0.0 } else { queries.clone().map(one).sum::<f32>() / queries.len() as f32 }
}
