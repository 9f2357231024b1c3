//! Rotary positions: pairs of entries of queries and keys turn by an angle that grows with the position.
//!
//! Pair j of a head of width D turns by p·θ^(-2j/D) at position p; where only R entries turn, by p·θ^(-2j/R) for j < R/2, and
//! the other pairs by nothing. The tables are made once per pass and shared by all layers; angles are computed in f64, since
//! at position 500 an f32 angle has already lost four digits.

use super::config::Pairing;
use burn::tensor::{Device, Tensor, TensorData};

/// Tables for a run of positions.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// [1,1,Q,D/2]
    cos: Tensor<4>,
    /// [1,1,Q,D/2]
    sin: Tensor<4>,
    pairing: Pairing,
}

/// Radians per token of each of the `width / 2` pairs of a head of which `turned` entries turn.
///
/// ```
/// # use attnscope::model::frequencies;
/// assert_eq!(frequencies(100.0, 4, 4), [1.0, 0.1]);
/// assert_eq!(frequencies(100.0, 4, 8), [1.0, 0.1, 0.0, 0.0]);
/// ```
pub fn frequencies(theta: f64, turned: usize, width: usize) -> Vec<f64> {
    let frequency = |pair: usize| if pair < turned / 2 { theta.powf(-2.0 * pair as f64 / turned as f64) } else { 0.0 };
    (0..width / 2).map(frequency).collect()
}

impl Rotation {
    /// Tables for positions `first .. first + queries` of pairs that turn at these [`frequencies`].
    pub(crate) fn new(frequencies: &[f64], pairing: Pairing, first: usize, queries: usize, device: &Device) -> Self {
        let pairs = frequencies.len();
        let angle = |index: usize| (first + index / pairs) as f64 * frequencies[index % pairs];
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..queries * pairs).map(|index| of(angle(index)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, queries, pairs]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), pairing }
    }

    /// Tables for positions from 0 on of heads that turn as wholes, in halves.
    pub(crate) fn whole(theta: f64, width: usize, queries: usize, device: &Device) -> Self {
        Self::new(&frequencies(theta, width, width), Pairing::Half, 0, queries, device)
    }

    /// Queries or keys `[B,N,Q,D]` with entries that rotate together D/2 apart, whichever entries the family pairs.
    pub fn halves(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, queries, width] = x.dims();
        match self.pairing {
            Pairing::Half => x,
            Pairing::Adjacent => {
                x.reshape([batch, heads, queries, width / 2, 2]).swap_dims(3, 4).reshape([batch, heads, queries, width])
            }
        }
    }

    /// Turns what [`Rotation::halves`] gave, `[B,N,Q,D]`.
    pub fn turn_halves(&self, x: Tensor<4>) -> Tensor<4> {
        Self { pairing: Pairing::Half, ..self.clone() }.turn(x)
    }

    /// Turns what was turned back, `[B,N,Q,D]`.
    pub(crate) fn back(&self, x: Tensor<4>) -> Tensor<4> {
        Self { sin: self.sin.clone().neg(), ..self.clone() }.turn(x)
    }

    /// Turns queries or keys `[B,N,Q,D]`.
    pub fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, queries, width] = x.dims();
        let pairs = width / 2;
        let (a, b) = match self.pairing {
            Pairing::Half => (x.clone().narrow(3, 0, pairs), x.narrow(3, pairs, pairs)),
            Pairing::Adjacent => {
                let x = x.reshape([batch, heads, queries, pairs, 2]);
                (x.clone().narrow(4, 0, 1).squeeze_dim(4), x.narrow(4, 1, 1).squeeze_dim(4))
            }
        };
        let turned_a: Tensor<4> = a.clone() * self.cos.clone() - b.clone() * self.sin.clone();
        let turned_b: Tensor<4> = a * self.sin.clone() + b * self.cos.clone();
        match self.pairing {
            Pairing::Half => Tensor::cat(vec![turned_a, turned_b], 3),
            Pairing::Adjacent => {
                Tensor::stack::<5>(vec![turned_a, turned_b], 4).reshape([batch, heads, queries, width])
            }
        }
    }
}
