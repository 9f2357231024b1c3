//! What a continuation reads while it is written: the map of one head over the prompt and the tokens so far.
//!
//! The GPU kept queries and keys of every token it was fed, so it recomputes any rows of any head from them. The processor
//! keeps no queries, nor does a stack whose decode state forgets keys: there a pass over the tokens so far gives the same
//! numbers, at its price.

#[cfg(feature = "gpu")]
use super::generate::On;
use super::visible::Kept;
use super::{Engine, Generation, Request};
#[cfg(feature = "gpu")]
use crate::Error;
use crate::Result;
use crate::experiment::Head;
use crate::hook::{Array, Selection};

/// Rows of the map of one head.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// `[Q,K]`, NaN where a pair is masked; the last of its K tokens is the one that was read last.
    pub scores: Array,
    /// The same for weights.
    pub pattern: Array,
    /// Whether the rows come from what the continuation kept, and not from a pass of their own.
    pub kept: bool,
}

impl Engine {
    /// Scores and weights of one head for the queries from position `first` on, over every token that the continuation has
    /// read. The token drawn last is not among them: it is read when the next one is drawn.
    ///
    /// # Errors
    /// [`crate::Error::Unknown`] for a head the model does not have; those of the device and of the pass.
    pub async fn written(&mut self, generation: &Generation, head: Head, first: usize) -> Result<Written> {
        self.check_head(head)?;
        let Head { layer, head } = head;
        let (mut scores, mut pattern, kept) = match self.held(generation, layer, head, first).await? {
            Some([scores, pattern]) => (scores, pattern, true),
            None => {
                let [scores, pattern] = self.repeated(generation, layer, head, first).await?;
                (scores, pattern, false)
            }
        };
        let [queries, keys] = pattern.shape[..] else { return Ok(Written { scores, pattern, kept }) };
        if queries > 0 {
            let visible = Kept::new(&self.config, &generation.stack, generation.seed, layer, first, queries, keys);
            visible.mark_maps(head, &mut scores.data, &mut pattern.data);
        }
        Ok(Written { scores, pattern, kept })
    }

    /// From what the GPU kept; none where it kept nothing.
    #[cfg(feature = "gpu")]
    async fn held(
        &mut self,
        generation: &Generation,
        layer: usize,
        head: usize,
        first: usize,
    ) -> Result<Option<[Array; 2]>> {
        let On::Gpu(decode, _) = &generation.on else { return Ok(None) };
        match decode.maps(layer, head, first).await {
            Err(Error::Unsupported { .. }) => Ok(None),
            maps => maps.map(|maps| Some([maps.scores, maps.pattern])),
        }
    }

    /// This build has no GPU engine.
    #[cfg(not(feature = "gpu"))]
    async fn held(&mut self, _: &Generation, _: usize, _: usize, _: usize) -> Result<Option<[Array; 2]>> {
        Ok(None)
    }

    /// From one more pass over what was read.
    async fn repeated(
        &mut self,
        generation: &Generation,
        layer: usize,
        head: usize,
        first: usize,
    ) -> Result<[Array; 2]> {
        let (_, read) = generation.tokens().split_last().unwrap_or((&0, &[]));
        let (rows, keys) = (read.len().saturating_sub(first), read.len());
        if rows == 0 {
            let none = || Array::new([0, keys], Vec::new());
            return Ok([none()?, none()?]);
        }
        let Generation { stack, seed, .. } = generation;
        let request = Request { tokens: read, stack, seed: *seed, wants: Selection::default() };
        let [scores, pattern, _] = self.runner.head(request, layer, head, &mut None).await?;
        let last = |map: Array| Array::new([rows, keys], map.data.get(first * keys..).unwrap_or(&[]).to_vec());
        Ok([last(scores)?, last(pattern)?])
    }
}
