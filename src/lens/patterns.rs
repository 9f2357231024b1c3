//! The weights of every head of one pane, as the lenses read them.
//!
//! A masked pair is NaN in the arrays and counts as weight zero here. What may be done to a row depends on whether rows
//! sum to one, which [`RowRule`] finds out from the rows themselves, so that no lens needs to know the mechanism.

use crate::hook::Array;
use crate::outcome::{HeadMaps, PaneOutcome, arrays};
use crate::{Error, Result};
use std::borrow::Cow;

/// How far a row sum may be from one and still count as one: f32 rounding over 512 keys, with room.
const ROW_SLACK: f32 = 1e-3;

/// Added to a row sum before dividing by it, as in paper 52's proxy.
const PROXY_EPSILON: f32 = 1e-8;

/// What the rows of a pane sum to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowRule {
    /// Every row that keeps a key sums to one over its keys: a probability.
    One,
    /// Rows sum to at most one: a slot beside the keys, or a larger denominator, takes the rest. Left as they are.
    AtMostOne,
    /// Rows sum to anything (un-normalised operators). Read through the proxy |w| / (Σ|w| + 1e-8) of paper 52.
    Free,
}

/// The weights of every head of one pane.
#[derive(Debug, Clone, Copy)]
pub struct Patterns<'a> {
    /// L.
    pub layers: usize,
    /// H.
    pub heads: usize,
    /// Q = K.
    pub tokens: usize,
    /// What rows sum to.
    pub rule: RowRule,
    weights: &'a [f32],
    slot: Option<&'a [f32]>,
    value_norms: Option<&'a [f32]>,
}

/// The weights of one head.
#[derive(Debug, Clone, Copy)]
pub struct HeadRows<'a> {
    /// Q = K.
    pub tokens: usize,
    /// What rows sum to.
    pub rule: RowRule,
    /// `[Q,K]`, NaN where masked.
    pub weights: &'a [f32],
    /// Weight of the slot beside the keys `[Q]`, where there is one.
    pub slot: Option<&'a [f32]>,
    /// ‖v·W_O‖ for each key `[K]`, where known.
    pub value_norms: Option<&'a [f32]>,
}

impl<'a> Patterns<'a> {
    /// Reads weights `[L,H,Q,K]`, slot `[L,H,Q]` and value norms `[L,H,K]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the arrays do not fit each other.
    pub fn new(weights: &'a Array, slot: Option<&'a Array>, value_norms: Option<&'a Array>) -> Result<Self> {
        let refuse = |tensor: &str, expected: &str, array: &Array| Error::Shape {
            who: "lens".into(),
            tensor: tensor.into(),
            expected: expected.into(),
            came: format!("{:?}", array.shape),
        };
        let &[layers, heads, tokens, keys] = weights.shape.as_slice() else {
            return Err(refuse("pattern", "[L,H,Q,K]", weights));
        };
        if keys != tokens || weights.data.len() != layers * heads * tokens * keys {
            return Err(refuse("pattern", "[L,H,Q,K] with Q = K", weights));
        }
        let beside = |tensor: &str, array: Option<&'a Array>| match array {
            Some(array) if array.data.len() != layers * heads * tokens => Err(refuse(tensor, "[L,H,tokens]", array)),
            array => Ok(array.map(|array| array.data.as_slice())),
        };
        let (slot, value_norms) = (beside("slot", slot)?, beside("value_norms", value_norms)?);
        let rule = RowRule::of(tokens, &weights.data, slot);
        Ok(Self { layers, heads, tokens, rule, weights: &weights.data, slot, value_norms })
    }

    /// The patterns of a pane; `None` when it carries none, as beyond [`crate::outcome::STORED_TOKENS`] tokens.
    pub fn of(pane: &'a PaneOutcome) -> Option<Self> {
        let array = |name: &str| pane.arrays.get(name);
        Self::new(array(arrays::PATTERN)?, array(arrays::SLOT), array(arrays::VALUE_NORMS)).ok()
    }

    /// One head; `None` when there is no such head.
    pub fn head(&self, layer: usize, head: usize) -> Option<HeadRows<'a>> {
        if layer >= self.layers || head >= self.heads {
            return None;
        }
        let index = layer * self.heads + head;
        let row = |array: &'a [f32]| array.get(index * self.tokens..(index + 1) * self.tokens);
        let cells = self.tokens * self.tokens;
        Some(HeadRows {
            tokens: self.tokens,
            rule: self.rule,
            weights: self.weights.get(index * cells..(index + 1) * cells)?,
            slot: self.slot.and_then(row),
            value_norms: self.value_norms.and_then(row),
        })
    }

    /// Every head, layer by layer.
    pub fn iter(&self) -> impl Iterator<Item = HeadRows<'a>> + '_ {
        (0..self.layers * self.heads).filter_map(|index| self.head(index / self.heads, index % self.heads))
    }
}

impl<'a> HeadRows<'a> {
    /// The rows of one head's maps, as they come on demand.
    pub fn of(maps: &'a HeadMaps) -> Self {
        let tokens = maps.pattern.shape.first().copied().unwrap_or(0);
        let slot = (maps.slot.data.len() == tokens).then_some(maps.slot.data.as_slice());
        Self {
            tokens,
            rule: RowRule::of(tokens, &maps.pattern.data, slot),
            weights: &maps.pattern.data,
            slot,
            value_norms: (maps.value_norms.data.len() == tokens).then_some(maps.value_norms.data.as_slice()),
        }
    }

    /// The weights of one query over all keys, `[K]`; NaN where masked.
    pub fn row(&self, query: usize) -> &'a [f32] {
        self.weights.get(query * self.tokens..(query + 1) * self.tokens).unwrap_or(&[])
    }

    /// One row as shares of its weight: masked pairs are zero, and rows that sum to anything go through the proxy.
    pub fn shares(&self, query: usize) -> Vec<f32> {
        let row = self.row(query);
        let mut shares: Vec<f32> = row.iter().map(|weight| if weight.is_nan() { 0.0 } else { *weight }).collect();
        if self.rule == RowRule::Free {
            let total: f32 = shares.iter().map(|weight| weight.abs()).sum();
            shares.iter_mut().for_each(|weight| *weight = weight.abs() / (total + PROXY_EPSILON));
        }
        shares
    }

    /// All rows as shares, `[Q,K]`.
    pub fn all_shares(&self) -> Cow<'a, [f32]> {
        if self.rule != RowRule::Free && !self.weights.iter().any(|weight| weight.is_nan()) {
            return Cow::Borrowed(self.weights);
        }
        Cow::Owned((0..self.tokens).flat_map(|query| self.shares(query)).collect())
    }
}

impl RowRule {
    /// Looks at every row of weights [..,Q,K] with the slot [..,Q] beside it.
    fn of(tokens: usize, weights: &[f32], slot: Option<&[f32]>) -> Self {
        let mut rule = RowRule::One;
        for (index, row) in weights.chunks_exact(tokens.max(1)).enumerate() {
            let mut kept = 0;
            let mut total = 0.0;
            let mut negative = false;
            for weight in row.iter().filter(|weight| !weight.is_nan()) {
                kept += 1;
                total += weight;
                negative |= *weight < 0.0;
            }
            let beside = slot.and_then(|slot| slot.get(index)).copied().unwrap_or(0.0);
            // A row that keeps no key is zero under every mechanism and says nothing.
            if negative || total + beside > 1.0 + ROW_SLACK {
                return RowRule::Free;
            }
            if kept > 0 && total < 1.0 - ROW_SLACK {
                rule = RowRule::AtMostOne;
            }
        }
        rule
    }
}
