//! Rotary positions: pairs of entries of queries and keys turn by an angle that grows with the position.
//!
//! Pair j of a head of width D turns by p·θ^(-2j/D) at position p. The tables are made once per pass and shared by all
//! layers; angles are computed in f64, since at position 500 an f32 angle has already lost four digits.

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

impl Rotation {
    /// Tables for positions `first .. first + queries`.
    pub(crate) fn new(
        theta: f64,
        pairing: Pairing,
        width: usize,
        first: usize,
        queries: usize,
        device: &Device,
    ) -> Self {
        let pairs = width / 2;
        let angle = |index: usize| {
            let (position, pair) = (first + index / pairs, index % pairs);
            position as f64 * theta.powf(-2.0 * pair as f64 / width as f64)
        };
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..queries * pairs).map(|index| of(angle(index)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, queries, pairs]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), pairing }
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
