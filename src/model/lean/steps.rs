//! What happens to a row between two products: norms, rotary positions, activations, softmax.
//!
//! The exponential is written out in operations that vectorise, since a call per value would take longer than the
//! products around it.

use super::linear::dot;
use crate::model::config::{Activation, Norm, Pairing};

/// A norm's learned part.
#[derive(Debug)]
pub(super) struct Gain {
    /// `[M]`
    pub w: Vec<f32>,
    /// `[M]`, under LayerNorm.
    pub b: Option<Vec<f32>>,
    pub norm: Norm,
    pub epsilon: f32,
}

impl Gain {
    /// One row x `[M]` → normalised `[M]`, written to `out`.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        let count = x.len() as f32;
        let mean = match self.norm {
            Norm::Layer => sum(x) / count,
            Norm::Rms => 0.0,
        };
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x - mean);
        let inverse = (dot(out, out) / count + self.epsilon).sqrt().recip();
        out.iter_mut().zip(&self.w).for_each(|(out, w)| *out *= inverse * w);
        if let Some(b) = &self.b {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += b);
        }
    }
}

/// Sines and cosines of every position of the context, `[context,D/2]` each.
#[derive(Debug)]
pub(super) struct Turns {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairing: Pairing,
    pairs: usize,
}

impl Turns {
    /// Angles are computed in f64, as in the definition.
    pub fn new(theta: f64, pairing: Pairing, width: usize, context: usize) -> Self {
        let pairs = width / 2;
        let frequency: Vec<f64> = (0..pairs).map(|pair| theta.powf(-2.0 * pair as f64 / width as f64)).collect();
        let angles = (0..context).flat_map(|position| frequency.iter().map(move |f| position as f64 * f));
        let (sin, cos) = angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Self { cos, sin, pairing, pairs }
    }

    /// Turns one head's vector x `[D]` to `position`.
    pub fn turn(&self, position: usize, x: &mut [f32]) {
        let row = position * self.pairs..(position + 1) * self.pairs;
        let (cos, sin) = (&self.cos[row.clone()], &self.sin[row]);
        let turned = |a: f32, b: f32, pair: usize| (a * cos[pair] - b * sin[pair], a * sin[pair] + b * cos[pair]);
        match self.pairing {
            Pairing::Half => {
                let (a, b) = x.split_at_mut(self.pairs);
                for (pair, (a, b)) in a.iter_mut().zip(b).enumerate() {
                    (*a, *b) = turned(*a, *b, pair);
                }
            }
            Pairing::Adjacent => {
                for (pair, both) in x.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                    (both[0], both[1]) = turned(both[0], both[1], pair);
                }
            }
        }
    }
}

/// Whether [`activate`] has this activation; the error function has no short form that is exact enough.
pub(super) fn has(activation: Activation) -> bool {
    !matches!(activation, Activation::Gelu)
}

/// Applies the activation to every value.
pub(super) fn activate(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        Activation::Silu => x.iter_mut().for_each(|x| *x /= 1.0 + exp(-*x)),
        // ½·x·(1 + tanh u) = x / (1 + e^(-2u)), u = √(2/π)·(x + 0.044715·x³)
        Activation::GeluTanh | Activation::Gelu => {
            const SCALE: f32 = 2.0 * 0.797_884_6;
            x.iter_mut().for_each(|x| *x /= 1.0 + exp(-SCALE * (*x + 0.044_715 * *x * *x * *x)));
        }
    }
}

/// Scores → weights that sum to one.
pub(super) fn softmax(row: &mut [f32]) {
    let top = fold(row, f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
    row.iter_mut().for_each(|x| *x = exp(*x - top));
    let scale = sum(row).recip();
    row.iter_mut().for_each(|x| *x *= scale);
}

fn sum(row: &[f32]) -> f32 {
    fold(row, 0.0, |a, b| a + b)
}

/// Joins all values, sixteen strands at a time: in one strand each step would wait for the one before.
#[inline(always)]
fn fold(row: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<16>();
    let mut strands = [start; 16];
    for chunk in chunks {
        strands.iter_mut().zip(chunk).for_each(|(strand, x)| *strand = join(*strand, *x));
    }
    strands.iter().chain(rest).fold(start, |a, b| join(a, *b))
}

/// e^x to about one part in ten million; e^-87 below -87, e^88 above 88. NaN stays NaN.
///
/// x = n·ln 2 + r with |r| ≤ ½·ln 2, e^x = 2^n · e^r, e^r by its series. Adding 1.5·2²³ rounds to a whole number, which
/// then stands in the low bits.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first of which n multiplies exactly.
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let series = 1.0 / 24.0 + r * (1.0 / 120.0 + r * series);
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * series)));
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_a_few_units_in_the_last_place() {
        for step in -8_700..=8_800 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 4e-7 * exact, "e^{x} is {exact}, not {}", exp(x));
        }
        assert!(exp(-1e30) < 2e-38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn a_row_of_weights_sums_to_one_also_under_large_scores() {
        let mut long: Vec<f32> = (0..37).map(|x| x as f32).collect();
        assert_eq!(sum(&long), 666.0);
        softmax(&mut long);
        assert!((sum(&long) - 1.0).abs() < 1e-6 && (long[36] - 0.632_120_6).abs() < 1e-6, "{long:?}");
        let mut row = [1e4, 1e4, -1e4];
        softmax(&mut row);
        assert_eq!(row.map(|weight| (weight * 1e6).round()), [5e5, 5e5, 0.0]);
    }
}
