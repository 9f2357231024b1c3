//! Losses and gradients of a batch, computed by several threads on small pieces.
//!
//! Most operations of the CPU backend use one thread, and small pieces stay in its cache, so whole passes in parallel are
//! faster than parallel operations. Pieces are handed to whichever thread is free and their results added in the order of
//! the pieces, so a sum does not depend on timing. On a GPU one thread feeds the device.

use super::forward::Pass;
use super::loss;
use super::stream::Row;
use crate::mechanism::Stack;
use crate::model::Text;
use crate::{Error, Result};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a batch is cut and who computes it.
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    /// Threads.
    pub threads: usize,
    /// Tokens in one piece; a piece is at least one row.
    pub piece_tokens: usize,
}

impl Workers {
    /// Mean loss in nats per unit of weight of equally long `rows` under `stack`, and its gradients.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the model is not of the kind trained here; [`Error::Internal`] when a thread panicked.
    pub fn gradients(&self, model: &Text, stack: &Stack, rows: &[Row]) -> Result<(f64, GradientsParams)> {
        Pass::check(&model.config, stack)?;
        let rows: Vec<&Row> = rows.iter().collect();
        let weights: f64 = rows.iter().flat_map(|row| &row.weights).map(|weight| f64::from(*weight)).sum();
        let scale = 1.0 / weights;
        let device = model.embed.val().device();
        // Leaves of its own for every thread, so that threads do not meet in one autodiff graph.
        let queries = rows.first().map_or(0, |row| row.weights.len());
        let state = || (model.clone().fork(&device), Pass::new(&model.config, stack, queries, &device));
        let mut total = 0.0;
        let mut gradients = GradientsAccumulator::new();
        let pass = |(model, pass): &(Text, Pass), piece: &[&Row]| loss::gradients(model, pass, piece, scale as f32);
        self.each(&rows, queries, state, pass, |(loss, part)| {
            total += loss;
            gradients.accumulate(model, part);
        })?;
        Ok((total * scale, gradients.grads()))
    }

    /// Sum of the losses in nats of `rows`, of which only the last may be shorter.
    ///
    /// # Errors
    /// [`Error::Internal`] when a thread panicked.
    pub fn losses(&self, model: &Text, stack: &Stack, rows: &[&[u16]]) -> Result<f64> {
        let model = model.valid();
        let width = rows.first().map_or(0, |row| row.len());
        let (whole, rest) = rows.split_at(rows.iter().take_while(|row| row.len() == width).count());
        let mut total = 0.0;
        let pass = |model: &Text, piece: &[&[u16]]| loss::losses(model, stack, piece);
        for rows in [whole, rest] {
            self.each(rows, width.saturating_sub(1), || model.clone(), pass, |loss| total += loss)?;
        }
        Ok(total)
    }

    /// Runs `pass` on pieces of `rows`, each of `width` tokens, in threads that each have their own `state`, and `fold`s the
    /// results in order.
    fn each<S, T: Sync, R: Send>(
        &self,
        rows: &[T],
        width: usize,
        state: impl Fn() -> S + Sync,
        pass: impl Fn(&S, &[T]) -> R + Sync,
        fold: impl FnMut(R) + Send,
    ) -> Result<()> {
        let pieces: Vec<&[T]> = rows.chunks((self.piece_tokens / width.max(1)).max(1)).collect();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(InOrder { fold, done: 0, early: Vec::new() });
        let work = || {
            let state = state();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = pieces.get(index) else { break };
                let result = pass(&state, piece);
                if let Ok(mut results) = results.lock() {
                    results.add(index, result);
                }
            }
        };
        let threads = self.threads.clamp(1, pieces.len().max(1));
        let joined = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join()).collect::<std::thread::Result<Vec<()>>>()
        });
        joined.map(|_| ()).map_err(|_| Error::Internal("a training thread panicked".into()))
    }
}

/// Results folded in the order of their pieces, whatever the order they come in.
struct InOrder<F, R> {
    fold: F,
    /// Results folded so far.
    done: usize,
    /// Results that came before their turn.
    early: Vec<(usize, R)>,
}

impl<F: FnMut(R), R> InOrder<F, R> {
    fn add(&mut self, index: usize, result: R) {
        self.early.push((index, result));
        while let Some(position) = self.early.iter().position(|(index, _)| *index == self.done) {
            let (_, result) = self.early.swap_remove(position);
            (self.fold)(result);
            self.done += 1;
        }
    }
}
