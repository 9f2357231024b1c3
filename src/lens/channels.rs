//! Channels: the singular directions in which one head writes, each with who hears it, and what it carries.
//!
//! ```text
//! OV = W_V·W_O = Σ σ_c · read_c · write_cᵀ                        (rows are vectors; singular values, largest first)
//! heard by queries ‖write_c·QK‖/‖QK‖      by keys ‖write_c·QKᵀ‖/‖QK‖      by values ‖write_c·OV‖/‖OV‖
//! edit   result' = result + (s − 1)·(result·write_c)·write_c      at 0 the channel is silent, at 1 nothing changes
//! ```
//!
//! The edit is one of the output projection, W_O' = W_O·(I + (s − 1)·write_c·write_cᵀ). Since write_c lies in the span of W_O,
//! it is made in the head's mix instead, where it costs two products of width D: z' = z + (s − 1)·(z·along_c)·mix_c with
//! along_c = W_O·write_c and mix_c·W_O = write_c. No `[M,M]` matrix is built: the Gram matrices of W_V and W_O suffice.
//!
//! Source: Merullo et al., "Talking Heads", 2024 (paper 1), after its text; there is no code.

use super::composition::{Composition, Factors, Score, trace_of_product};
use crate::experiment::Head;
use crate::hook::{Array, HookPoint, Site, Tap};
use crate::mechanism::eigen;

/// Directions below this share of the largest count as none.
const NOTHING: f64 = 1e-12;

/// One singular direction of what a head writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its singular value.
    pub size: f64,
    /// What it writes into the residual stream, of length one, `[M]`.
    pub writes: Vec<f64>,
    /// How much of it is in a mix: `z·along`, `[D]`.
    pub along: Vec<f64>,
    /// The mix that writes it: `mix·W_O = writes`, `[D]`.
    pub mix: Vec<f64>,
}

impl Composition {
    /// The channels of a head, loudest first; empty for a head the model does not have.
    pub fn channels(&self, head: Head) -> Vec<Channel> {
        let Some(Factors { o, gram_v, gram_o, .. }) = self.factors(head) else { return Vec::new() };
        let d = self.head_width;
        let rows = |flat: &[f64]| flat.chunks(d).map(<[f64]>::to_vec).collect::<Vec<_>>();
        let of_o = eigen(rows(gram_o));
        let floor = of_o.values.first().copied().unwrap_or(0.0) * NOTHING;
        // A power of the Gram matrix of W_O; directions that write nothing stay out of it.
        let power = |exponent: f64| {
            let mut out = vec![0.0; d * d];
            for (value, vector) in of_o.values.iter().zip(&of_o.vectors).filter(|(value, _)| **value > floor) {
                for (row, x) in out.chunks_mut(d).zip(vector) {
                    row.iter_mut().zip(vector).for_each(|(sum, y)| *sum += value.powf(exponent) * x * y);
                }
            }
            out
        };
        let (root, inverse) = (power(0.5), power(-0.5));
        let inner = product(&product(&root, gram_v, d), &root, d);
        let found = eigen(rows(&inner));
        let one = |(value, vector): (f64, Vec<f64>)| {
            let (along, mix) = (apply(&root, &vector), apply(&inverse, &vector));
            let mut writes = vec![0.0; self.width];
            for (weight, row) in mix.iter().zip(o.chunks(self.width)) {
                writes.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
            }
            Channel { size: value.max(0.0).sqrt(), writes, along, mix }
        };
        found.values.into_iter().zip(found.vectors).map(one).collect()
    }

    /// How strongly a later head hears what a channel writes; all of it would be 1, independent random heads about 1/√M.
    pub fn hears(&self, channel: &Channel, reader: Head) -> Score {
        let Some(b) = self.factors(reader) else { return Score::default() };
        let d = self.head_width;
        let through = |reads: &[f64], gram: &[f64], whole: f64| {
            let mut seen = vec![0.0; d];
            for (x, row) in channel.writes.iter().zip(reads.chunks(d)) {
                seen.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
            }
            let square: f64 = apply(gram, &seen).iter().zip(&seen).map(|(x, y)| x * y).sum();
            (square.max(0.0).sqrt() / whole.max(f64::MIN_POSITIVE)) as f32
        };
        let norm = |one: &[f64], other: &[f64]| trace_of_product(one, other, d).max(0.0).sqrt();
        let scores = norm(&b.gram_q, &b.gram_k);
        Score {
            q: through(&b.q, &b.gram_k, scores),
            k: through(&b.k, &b.gram_q, scores),
            v: through(&b.v, &b.gram_o, norm(&b.gram_v, &b.gram_o)),
        }
    }
}

/// a·b of two `[D,D]` matrices.
fn product(a: &[f64], b: &[f64], d: usize) -> Vec<f64> {
    let mut out = vec![0.0; d * d];
    for (row, out) in a.chunks(d).zip(out.chunks_mut(d)) {
        for (x, other) in row.iter().zip(b.chunks(d)) {
            out.iter_mut().zip(other).for_each(|(sum, y)| *sum += x * y);
        }
    }
    out
}

/// a·x of a symmetric `[D,D]` matrix.
fn apply(a: &[f64], x: &[f64]) -> Vec<f64> {
    a.chunks(x.len().max(1)).map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect()
}

/// What one row of a batch does to the channels of a head: each with what it is multiplied by.
pub type Edit<'a> = Vec<(&'a Channel, f64)>;

/// Scales channels of one head, other ones in every row of a batch.
pub struct Scaled<'a> {
    /// The head that writes.
    pub head: Head,
    /// One for each row.
    pub rows: Vec<Edit<'a>>,
}

impl Tap for Scaled<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at == HookPoint::new(self.head.layer, Site::Z)
    }

    fn visit(&mut self, _: HookPoint, value: &Array) -> Option<Array> {
        let &[_, heads, queries, width] = value.shape.as_slice() else { return None };
        let mut edited = value.clone();
        for (row, edits) in self.rows.iter().enumerate() {
            let start = (row * heads + self.head.head) * queries * width;
            let Some(own) = edited.data.get_mut(start..start + queries * width) else { continue };
            for z in own.chunks_mut(width) {
                // Channels are read of the mix as it was: they are at right angles where they write.
                let said: Vec<f64> = edits
                    .iter()
                    .map(|(channel, scale)| {
                        let along: f64 = z.iter().zip(&channel.along).map(|(z, a)| f64::from(*z) * a).sum();
                        (scale - 1.0) * along
                    })
                    .collect();
                for ((channel, _), change) in edits.iter().zip(said) {
                    z.iter_mut().zip(&channel.mix).for_each(|(z, mix)| *z += (change * mix) as f32);
                }
            }
        }
        Some(edited)
    }
}
