//! A few directions in which a head tells options apart, and what is left of its queries, keys and values in them.
//!
//! ```text
//! q = q̄ + δq     q̄ the mean over questions                k_j = k̄ + δk_j     k̄ the mean over the options of one question
//! Π = projection on the first ρ right singular vectors of all δk (or of all δq), Π_v on those of all δv
//! q' = q̄ + Π δq     k'_j = k̄ + Π δk_j     v'_j = v̄ + Π_v δv_j
//! ```
//!
//! Only differences between options matter in a softmax among them, which is why means stay.

use crate::mechanism::eigen;
use crate::train::circuits::Draw;

/// What one head reads of one question: its query `[D]`, and keys and values `[D]` of every option.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// q.
    pub query: Vec<f32>,
    /// k of every option, after rotation.
    pub keys: Vec<Vec<f32>>,
    /// v of every option.
    pub values: Vec<Vec<f32>>,
}

/// Orthonormal directions of one head, those that differ most first.
#[derive(Debug, Clone, PartialEq)]
pub struct Subspace {
    /// q̄.
    mean: Vec<f64>,
    /// For queries and keys.
    pub directions: Vec<Vec<f64>>,
    /// For values.
    values: Vec<Vec<f64>>,
}

/// Which differences directions are found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Those of keys.
    Keys,
    /// Those of queries.
    Queries,
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Σ/n of vectors of one length.
fn mean(rows: &[Vec<f64>]) -> Vec<f64> {
    let width = rows.first().map_or(0, Vec::len);
    (0..width).map(|at| rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64).collect()
}

/// Each vector less the mean of all, and that mean.
fn apart(rows: &[Vec<f32>]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let rows: Vec<Vec<f64>> = rows.iter().map(|row| wide(row)).collect();
    let middle = mean(&rows);
    let less = |row: &Vec<f64>| row.iter().zip(&middle).map(|(x, mean)| x - mean).collect();
    let deltas = rows.iter().map(less).collect();
    (middle, deltas)
}

/// Right singular vectors of a stack of rows, the largest first.
fn singular(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let width = rows.first().map_or(0, Vec::len);
    let gram = (0..width).map(|a| (0..width).map(|b| rows.iter().map(|row| row[a] * row[b]).sum()).collect());
    eigen(gram.collect()).vectors
}

impl Subspace {
    /// The directions of a head from what it read of many questions.
    pub fn new(reads: &[Read], from: From) -> Self {
        let queries: Vec<Vec<f32>> = reads.iter().map(|read| read.query.clone()).collect();
        let (mean, moved) = apart(&queries);
        let all = |of: &dyn Fn(&Read) -> &Vec<Vec<f32>>| {
            reads.iter().flat_map(|read| apart(of(read)).1).collect::<Vec<Vec<f64>>>()
        };
        let directions = match from {
            From::Keys => singular(&all(&|read| &read.keys)),
            From::Queries => singular(&moved),
        };
        Self { mean, directions, values: singular(&all(&|read| &read.values)) }
    }

    /// As many random directions, the same means.
    pub fn random(&self, draw: &mut Draw) -> Self {
        let width = self.mean.len();
        let mut directions: Vec<Vec<f64>> = Vec::new();
        while directions.len() < width {
            // Sums of uniform numbers are near enough to normal that no axis is preferred.
            let one = |draw: &mut Draw| (0..8).map(|_| draw.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0).sum();
            let mut next: Vec<f64> = (0..width).map(|_| one(draw)).collect();
            for _ in 0..2 {
                for other in &directions {
                    let along = dot(&next, other);
                    next.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
                }
            }
            let length = dot(&next, &next).sqrt();
            if length > 1e-6 {
                directions.push(next.into_iter().map(|x| x / length).collect());
            }
        }
        Self { directions, ..self.clone() }
    }

    /// Query and keys of one question with only `rank` directions left of what differs.
    pub fn keep(&self, read: &Read, rank: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
        let moved: Vec<f64> = wide(&read.query).iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
        let query = sum(&self.mean, &project(&moved, &self.directions, rank));
        (query, kept(&read.keys, &self.directions, rank))
    }

    /// Values of one question with only `rank` directions left of what differs.
    pub fn keep_values(&self, values: &[Vec<f32>], rank: usize) -> Vec<Vec<f64>> {
        kept(values, &self.values, rank)
    }

    /// What tells the options of one question apart in the first `rank` directions, one number for each.
    pub fn coordinates(&self, keys: &[Vec<f32>], rank: usize) -> Vec<Vec<f64>> {
        let first = || self.directions.iter().take(rank);
        apart(keys).1.iter().map(|delta| first().map(|direction| dot(delta, direction)).collect()).collect()
    }
}

fn kept(rows: &[Vec<f32>], directions: &[Vec<f64>], rank: usize) -> Vec<Vec<f64>> {
    let (middle, deltas) = apart(rows);
    deltas.iter().map(|delta| sum(&middle, &project(delta, directions, rank))).collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The part of a vector that lies in the first `rank` directions.
fn project(delta: &[f64], directions: &[Vec<f64>], rank: usize) -> Vec<f64> {
    let mut inside = vec![0.0; delta.len()];
    for direction in directions.iter().take(rank) {
        let along = dot(delta, direction);
        inside.iter_mut().zip(direction).for_each(|(x, y)| *x += along * y);
    }
    inside
}
