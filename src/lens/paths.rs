//! Path patching: what one head tells another.
//!
//! Activation patching of a head changes everything that comes after it. Here only one connection carries the clean prompt:
//! in the corrupted pass the residual stream that one later head reads, through its queries, keys or values, is changed by
//! the difference of what an earlier head wrote; everything else reads the corrupted one.
//!
//! ```text
//! x'      = x[corrupted] + result_a[clean] − result_a[corrupted]      before the reader's layer, at every position
//! q' (k', v') = the reader's own projection of x'                     put in its place; the rest of the pass goes on
//! effect  = metric(corrupted with q') − metric(corrupted)             total = metric(clean) − metric(corrupted)
//! ```
//!
//! This is the direct path: what feed-forwards and heads in between make of the difference is held. Where query heads share
//! keys and values, k' and v' reach all heads of the group.
//!
//! Source: Wang et al., "Interpretability in the Wild", 2023; Goldowsky-Dill et al., "Localizing Model Behavior with Path
//! Patching", 2023.

use super::base::{Again, Base};
use super::finding::Asked;
use super::patching::{check, effect_of};
use crate::experiment::{Head, Through};
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::{Error, Result};

/// What path patching reads of both passes beside their residual streams.
pub const WANTED: &[Site] = &[Site::Result];

/// Two prompts and the head that reads.
pub struct Paths<'a> {
    clean: &'a Base,
    again: Again<'a>,
    reader: Head,
    through: Through,
    asked: Asked,
}

/// The projection that carries a path.
fn site(through: Through) -> Site {
    match through {
        Through::Queries => Site::Q,
        Through::Keys => Site::K,
        Through::Values => Site::V,
    }
}

impl<'a> Paths<'a> {
    /// Paths into `reader` of the corrupted pass that `again` starts from.
    ///
    /// # Errors
    /// Those of [`check`]; [`Error::Unknown`] for a reader the model does not have or one that reads nothing but embeddings.
    pub fn new(clean: &'a Base, again: Again<'a>, reader: Head, through: Through, asked: Asked) -> Result<Self> {
        check(&clean.tokens, &again.base.tokens)?;
        let config = again.model.config();
        if reader.layer >= config.layers || reader.head >= config.heads || reader.layer == 0 {
            let last = Head { layer: config.layers - 1, head: config.heads - 1 };
            let remedy = format!("pin a head from L1H0 to {last}, one that other heads come before");
            return Err(Error::Unknown { what: "reading head", name: reader.to_string(), remedy });
        }
        Ok(Self { clean, again, reader, through, asked })
    }

    /// Layers of writing heads, one batch each.
    pub fn layers(&self) -> usize {
        self.reader.layer
    }

    /// Effects of the path from each head of one layer, in the order of [`crate::experiment::PatchMetric::ALL`].
    ///
    /// # Errors
    /// Those of the passes.
    pub fn run(&self, layer: usize) -> Result<Vec<[f32; 3]>> {
        let (clean, corrupted) =
            (self.clean.captures.get(layer, Site::Result)?, self.again.base.captures.get(layer, Site::Result)?);
        let heads = self.again.model.config().heads;
        let point = HookPoint::new(self.reader.layer, site(self.through));
        let add = |row: usize, stream: &mut [f32]| {
            let part = row * stream.len()..(row + 1) * stream.len();
            let parts = clean.data[part.clone()].iter().zip(&corrupted.data[part]);
            stream.iter_mut().zip(parts).for_each(|(x, (new, old))| *x += new - old);
        };
        let mut seen = ActivationCache::new(Selection::default().with(point));
        self.again.from(self.reader.layer, heads, Some(self.asked.query), add, &mut seen)?;
        let projected = seen.get(self.reader.layer, point.site)?;
        let group = (heads / projected.shape.get(1).copied().unwrap_or(heads).max(1)).max(1);
        let mut tap = Told { point, stripe: self.reader.head / group, projected };
        let logits = self.again.from(self.reader.layer, heads, Some(self.asked.query), |_, _| {}, &mut tap)?;
        let rows = [self.clean, self.again.base].map(|base| base.log_probabilities.at(self.asked.query));
        Ok((0..heads).map(|row| effect_of(rows, self.asked, logits.at(row))).collect())
    }

    /// The effect of everything at once.
    pub fn totals(&self) -> [f32; 3] {
        let rows = [self.clean, self.again.base].map(|base| base.log_probabilities.at(self.asked.query));
        effect_of(rows, self.asked, self.clean.logits.at(self.asked.query))
    }
}

/// Puts one head's projection of another pass in its place, row by row of the batch.
struct Told<'a> {
    point: HookPoint,
    stripe: usize,
    /// `[B,heads,Q,D]`
    projected: &'a Array,
}

impl Tap for Told<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at == self.point
    }

    fn visit(&mut self, _: HookPoint, value: &Array) -> Option<Array> {
        let &[batch, heads, queries, width] = value.shape.as_slice() else { return None };
        let mut edited = value.clone();
        for row in 0..batch {
            let start = (row * heads + self.stripe) * queries * width;
            let part = start..start + queries * width;
            edited.data.get_mut(part.clone())?.copy_from_slice(self.projected.data.get(part)?);
        }
        Some(edited)
    }
}
