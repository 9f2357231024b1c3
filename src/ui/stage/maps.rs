//! The numbers behind the matrices: one head of one pane in the quantity that is shown, or the difference of two panes.

use crate::alignment::Alignment;
use crate::experiment::{Head, Quantity};
use crate::hook::Array;
use crate::outcome::{HeadMaps, Outcome, arrays};
use std::sync::Arc;

/// One square of numbers, rows = queries, columns = keys; NaN where a pair is masked.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Rows and columns.
    pub tokens: usize,
    /// `[Q,K]`
    pub values: Arc<Vec<f32>>,
}

impl PartialEq for Sheet {
    /// By identity: a recomputed sheet is a new sheet, and comparing 262,144 numbers to find that out would be slow.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.values, &other.values)
    }
}

impl Sheet {
    fn new(tokens: usize, values: Vec<f32>) -> Option<Self> {
        (tokens > 0 && values.len() == tokens * tokens).then(|| Self { tokens, values: Arc::new(values) })
    }

    /// `before` with more rows below it `[Q,K]`, whose queries end with the last of `keys`; what a row could not see yet is
    /// masked.
    pub fn grown(before: Option<&Self>, keys: usize, rows: &[f32]) -> Option<Self> {
        let known = before.map_or(0, |sheet| sheet.tokens);
        let above = (0..known.min(keys)).flat_map(|query| (0..keys).map(move |key| (query, key)));
        let above = above.map(|(query, key)| before.map_or(f32::NAN, |sheet| sheet.at(query, key)));
        Self::new(keys, above.chain(rows.iter().copied()).collect())
    }

    /// The number at a pair; NaN where masked or outside.
    pub fn at(&self, query: usize, key: usize) -> f32 {
        if key < self.tokens {
            self.values.get(query * self.tokens + key).copied().unwrap_or(f32::NAN)
        } else {
            f32::NAN
        }
    }

    /// What one query reads, by key.
    pub fn row(&self, query: usize) -> impl Iterator<Item = f32> + '_ {
        (0..self.tokens).map(move |key| self.at(query, key))
    }

    /// What reads one key, by query.
    pub fn column(&self, key: usize) -> impl Iterator<Item = f32> + '_ {
        (0..self.tokens).map(move |query| self.at(query, key))
    }

    /// Sum of the cells that are not masked, each read through `of`. In f64: tens of thousands of small weights beside a
    /// sum of hundreds lose digits in f32.
    pub fn total(&self, of: impl Fn(f32) -> f32) -> f32 {
        let cells = self.values.iter().filter(|value| !value.is_nan());
        cells.map(|value| f64::from(of(*value))).sum::<f64>() as f32
    }

    /// Largest magnitude of what is not masked.
    pub fn largest(&self) -> f32 {
        self.values.iter().filter(|v| !v.is_nan()).fold(0.0, |most, v| most.max(v.abs()))
    }

    /// The key that a query reads most.
    pub fn strongest(&self, query: usize) -> Option<usize> {
        let seen = self.row(query).enumerate().filter(|(_, v)| !v.is_nan());
        seen.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(key, _)| key)
    }
}

/// Maps of one head as far as they have come; equal when they are the same maps, not when their numbers are.
#[derive(Debug, Clone, Default)]
pub struct Held(pub Option<Arc<HeadMaps>>);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// The slice of one head in an array [L,H,…].
pub fn of_head(array: &Array, head: Head) -> Option<&[f32]> {
    let &[layers, heads, ..] = array.shape.as_slice() else { return None };
    if head.layer >= layers || head.head >= heads {
        return None;
    }
    let size: usize = array.shape[2..].iter().product();
    let index = head.layer * heads + head.head;
    array.data.get(index * size..(index + 1) * size)
}

/// The pattern of one head: from the run when it was stored, else from what was recomputed on demand.
pub fn pattern<'a>(outcome: &'a Outcome, maps: Option<&'a HeadMaps>, pane: usize, head: Head) -> Option<&'a [f32]> {
    let stored = outcome.panes.get(pane).and_then(|pane| pane.arrays.get(arrays::PATTERN));
    stored.and_then(|array| of_head(array, head)).or(maps.map(|maps| maps.pattern.data.as_slice()))
}

/// ‖v·W_O‖ of each key of one head.
pub fn value_norms<'a>(outcome: &'a Outcome, maps: Option<&'a HeadMaps>, pane: usize, head: Head) -> Option<&'a [f32]> {
    let stored = outcome.panes.get(pane).and_then(|pane| pane.arrays.get(arrays::VALUE_NORMS));
    stored.and_then(|array| of_head(array, head)).or(maps.map(|maps| maps.value_norms.data.as_slice()))
}

/// Weight that each query of one head gives to the normalizer's slot.
pub fn slot<'a>(outcome: &'a Outcome, maps: Option<&'a HeadMaps>, pane: usize, head: Head) -> Option<&'a [f32]> {
    let stored = outcome.panes.get(pane).and_then(|pane| pane.arrays.get(arrays::SLOT));
    let alone = maps.map(|maps| maps.slot.data.as_slice()).filter(|slot| !slot.is_empty());
    stored.and_then(|array| of_head(array, head)).or(alone)
}

/// One head of one pane in the quantity shown; `None` while it is not there.
pub fn sheet(outcome: &Outcome, maps: Option<&HeadMaps>, pane: usize, head: Head, quantity: Quantity) -> Option<Sheet> {
    let tokens = outcome.tokens_of(pane).len();
    match quantity {
        Quantity::Pattern => Sheet::new(tokens, pattern(outcome, maps, pane, head)?.to_vec()),
        Quantity::Scores => Sheet::new(tokens, maps?.scores.data.clone()),
        Quantity::ValueWeighted => {
            let norms = value_norms(outcome, maps, pane, head)?;
            let weighted = |row: &[f32]| row.iter().zip(norms).map(|(weight, norm)| weight * norm).collect::<Vec<_>>();
            let pattern = pattern(outcome, maps, pane, head)?;
            Sheet::new(tokens, pattern.chunks(tokens.max(1)).flat_map(weighted).collect())
        }
    }
}

/// A − B. A pair masked in one pane carries weight 0 there, but has no score there. Where B read another text, the places
/// of A, and only those that B has, too.
pub fn difference(a: &Sheet, b: &Sheet, aligned: Option<&Alignment>, quantity: Quantity) -> Option<Sheet> {
    if let Some(aligned) = aligned {
        let b = aligned_sheet(a.tokens, b, aligned);
        let missing = |at: usize| aligned.to_other(at / a.tokens).and(aligned.to_other(at % a.tokens)).is_none();
        let mut values = difference(a, &b, None, quantity)?.values.to_vec();
        (0..values.len()).filter(|at| missing(*at)).for_each(|at| values[at] = f32::NAN);
        return Sheet::new(a.tokens, values);
    }
    let pair = |(&a, &b): (&f32, &f32)| match (a.is_nan(), b.is_nan()) {
        (true, true) => f32::NAN,
        (true, false) if quantity != Quantity::Scores => -b,
        (false, true) if quantity != Quantity::Scores => a,
        _ => a - b,
    };
    let same = a.tokens == b.tokens && a.values.len() == b.values.len();
    same.then(|| Sheet::new(a.tokens, a.values.iter().zip(b.values.iter()).map(pair).collect())).flatten()
}

/// B's numbers on A's places; NaN where B has none.
fn aligned_sheet(tokens: usize, b: &Sheet, aligned: &Alignment) -> Sheet {
    let places: Vec<_> = (0..tokens).map(|at| aligned.to_other(at)).collect();
    let at = |query: usize, key: usize| match (places[query], places[key]) {
        (Some(query), Some(key)) => b.at(query, key),
        _ => f32::NAN,
    };
    let values =
        (0..tokens).flat_map(|query| (0..tokens).map(move |key| (query, key))).map(|(q, k)| at(q, k)).collect();
    Sheet { tokens, values: Arc::new(values) }
}
