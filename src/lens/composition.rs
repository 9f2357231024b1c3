//! Composition: how strongly the matrices of a later head read what an earlier head writes.
//!
//! ```text
//! OV = W_V·W_O      QK = W_Q·W_Kᵀ        (rows are vectors; the norm's gain stands in W_Q, W_K and W_V)
//! CS_Q = ‖OV_a·QK_b‖ / (‖OV_a‖·‖QK_b‖)      CS_K = ‖OV_a·QK_bᵀ‖ / …      CS_V = ‖OV_a·OV_b‖ / (‖OV_a‖·‖OV_b‖)
//! ```
//!
//! Norms are Frobenius norms. Independent random heads score about 1/√M. No `[M,M]` matrix is built: with the D×D products
//! P = W_O,a·W_b, ‖W_V,a·P·Wᵀ‖² = tr(Pᵀ·(W_V,aᵀ·W_V,a)·P·(Wᵀ·W)). Under rotary positions queries and keys are compared at
//! offset 0. Biases are left out, and of LayerNorm the mean is taken out of what is written and read. It is a statement about
//! weights alone: whether the channel is used on a prompt, patching a path says ([`super::paths`]).
//!
//! Source: Elhage et al., 2021; Merullo et al., "Talking Heads", 2024 (paper 1).

use crate::Result;
use crate::experiment::Head;
use crate::hook::Array;
use crate::model::config::Norm;
use crate::model::{Config, Weights};

/// Scores of a pair of heads.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Through the queries of the reader.
    pub q: f32,
    /// Through its keys.
    pub k: f32,
    /// Through its values.
    pub v: f32,
}

/// What composition needs of one head: factors `[M,D]` that read, and `[D,M]` that writes, with their Gram matrices `[D,D]`.
pub(super) struct Factors {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    pub o: Vec<f64>,
    pub gram_q: Vec<f64>,
    pub gram_k: Vec<f64>,
    pub gram_v: Vec<f64>,
    pub gram_o: Vec<f64>,
}

/// Every head's factors.
pub struct Composition {
    pub(super) width: usize,
    pub(super) head_width: usize,
    heads: usize,
    factors: Vec<Factors>,
}

impl Composition {
    /// Takes the weights of a model apart.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when a weight is missing.
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        let (width, head_width) = (config.width, config.head_width);
        let group = (config.heads / config.kv_heads.max(1)).max(1);
        let mut factors = Vec::new();
        for layer in 0..config.layers {
            let part = |name: &str| weights.get(&format!("blocks.{layer}.{name}"));
            let gain = &part("ln1.w")?.data;
            let centred = config.norm == Norm::Layer;
            let (w_q, w_k, w_v, w_o) = (part("attn.w_q")?, part("attn.w_k")?, part("attn.w_v")?, part("attn.w_o")?);
            for head in 0..config.heads {
                let reads = |w: &Array, head: usize| reader(w, gain, head, head_width, centred);
                let (q, k, v) = (reads(w_q, head), reads(w_k, head / group), reads(w_v, head / group));
                let o = writer(w_o, head, head_width, width, centred);
                let gram_q = gram_of_columns(&q, head_width);
                let gram_k = gram_of_columns(&k, head_width);
                let gram_v = gram_of_columns(&v, head_width);
                let gram_o = product_of_rows(&o, &o, head_width);
                factors.push(Factors { q, k, v, o, gram_q, gram_k, gram_v, gram_o });
            }
        }
        Ok(Self { width, head_width, heads: config.heads, factors })
    }

    /// What independent random heads score.
    pub fn baseline(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// What is kept of one head.
    pub(super) fn factors(&self, head: Head) -> Option<&Factors> {
        self.factors.get(head.layer * self.heads + head.head).filter(|_| head.head < self.heads)
    }

    /// How strongly `reader` reads what `writer` writes; `None` unless the writer comes first.
    pub fn score(&self, writer: Head, reader: Head) -> Option<Score> {
        if writer.layer >= reader.layer {
            return None;
        }
        let (a, b) = (self.factors(writer)?, self.factors(reader)?);
        let d = self.head_width;
        let norm = |one: &[f64], other: &[f64]| trace_of_product(one, other, d).max(0.0).sqrt();
        let writes = norm(&a.gram_v, &a.gram_o);
        let through = |reads: &[f64], rest: &[f64], whole: f64| {
            let p = times(&a.o, reads, d, self.width);
            let left = times(&transposed(&p, d), &times(&a.gram_v, &p, d, d), d, d);
            (trace_of_product(&left, rest, d).max(0.0).sqrt() / (writes * whole).max(f64::MIN_POSITIVE)) as f32
        };
        let scores = norm(&b.gram_q, &b.gram_k);
        Some(Score {
            q: through(&b.q, &b.gram_k, scores),
            k: through(&b.k, &b.gram_q, scores),
            v: through(&b.v, &b.gram_o, norm(&b.gram_v, &b.gram_o)),
        })
    }
}

/// Columns of one head of `w` `[M,heads·D]`, the norm's gain in its rows; `[M,D]`.
fn reader(w: &Array, gain: &[f32], head: usize, d: usize, centred: bool) -> Vec<f64> {
    let columns = w.shape.last().copied().unwrap_or(1);
    let row = |(row, gain): (&[f32], &f32)| -> Vec<f64> {
        row[head * d..(head + 1) * d].iter().map(|x| f64::from(*x) * f64::from(*gain)).collect()
    };
    let mut out: Vec<f64> = w.data.chunks_exact(columns).zip(gain).flat_map(row).collect();
    if centred {
        let rows = (out.len() / d) as f64;
        for column in 0..d {
            let mean = out.iter().skip(column).step_by(d).sum::<f64>() / rows;
            out.iter_mut().skip(column).step_by(d).for_each(|x| *x -= mean);
        }
    }
    out
}

/// Rows of one head of `w` `[heads·D,M]`; `[D,M]`.
fn writer(w: &Array, head: usize, d: usize, width: usize, centred: bool) -> Vec<f64> {
    let own = w.data.get(head * d * width..(head + 1) * d * width).unwrap_or(&[]);
    let mut out: Vec<f64> = own.iter().map(|x| f64::from(*x)).collect();
    if centred {
        for row in out.chunks_exact_mut(width) {
            let mean = row.iter().sum::<f64>() / width as f64;
            row.iter_mut().for_each(|x| *x -= mean);
        }
    }
    out
}

/// a `[rows,inner]` · b `[inner,D]`, where a has as many rows as fit.
fn times(a: &[f64], b: &[f64], d: usize, inner: usize) -> Vec<f64> {
    let mut out = vec![0.0; a.len() / inner * d];
    for (row, out) in a.chunks_exact(inner).zip(out.chunks_exact_mut(d)) {
        for (x, other) in row.iter().zip(b.chunks_exact(d)) {
            out.iter_mut().zip(other).for_each(|(sum, y)| *sum += x * y);
        }
    }
    out
}

/// aᵀ·a of a `[rows,D]`; `[D,D]`.
fn gram_of_columns(a: &[f64], d: usize) -> Vec<f64> {
    let mut out = vec![0.0; d * d];
    for row in a.chunks_exact(d) {
        for (x, out) in row.iter().zip(out.chunks_exact_mut(d)) {
            out.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
        }
    }
    out
}

/// a·bᵀ of two matrices of D rows; `[D,D]`.
fn product_of_rows(a: &[f64], b: &[f64], d: usize) -> Vec<f64> {
    let row = |matrix: &[f64]| (matrix.len() / d.max(1)).max(1);
    let (width, other) = (row(a), row(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    a.chunks_exact(width).flat_map(|x| b.chunks_exact(other).map(move |y| dot(x, y))).collect()
}

/// `[D,D]` turned over.
fn transposed(a: &[f64], d: usize) -> Vec<f64> {
    (0..d * d).map(|index| a[index % d * d + index / d]).collect()
}

/// tr(a·b) of two `[D,D]` matrices.
pub(super) fn trace_of_product(a: &[f64], b: &[f64], d: usize) -> f64 {
    (0..d).map(|row| (0..d).map(|column| a[row * d + column] * b[column * d + row]).sum::<f64>()).sum()
}
