//! What happens to a row between two products: norms, rotary positions, activations, softmax.
//!
//! The exponential is written out in operations that vectorise, since a call per value would take longer than the
//! products around it.

use crate::linear::dot;

/// How activations are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Mean and variance, with gain and bias.
    Layer,
    /// Root mean square, with gain only.
    Rms,
}

/// Which entries of a head rotate together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// Entry j with entry j + D/2 (Hugging Face).
    Half,
    /// Entry 2j with entry 2j + 1 (llama2.c, the RoPE paper).
    Adjacent,
}

/// The nonlinearity of the feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), exactly.
    Gelu,
    /// x·Φ(x) by the tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// x·sigmoid(x).
    Silu,
    /// max(x, 0).
    Relu,
}

/// A norm's learned part.
#[derive(Debug)]
pub struct Gain {
    /// `[M]`
    pub w: Vec<f32>,
    /// `[M]`, under LayerNorm.
    pub b: Option<Vec<f32>>,
    /// Which norm.
    pub norm: Norm,
    /// Added to the variance under the root.
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

/// How fast pairs of entries turn.
#[derive(Debug)]
pub struct Turns {
    /// Radians per token `[D/2]`.
    frequencies: Vec<f64>,
    pairing: Pairing,
}

/// Sines and cosines of some positions, `[tokens,D/2]` each. They are made for the tokens at hand: a table of the whole
/// context would be as large as a configuration claims.
#[derive(Debug)]
pub struct Table {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairing: Pairing,
    pairs: usize,
}

impl Turns {
    /// Pairs turn by these radians per token `[D/2]`.
    pub fn new(frequencies: Vec<f64>, pairing: Pairing) -> Self {
        Self { frequencies, pairing }
    }

    /// Angles of positions `first .. first + tokens`, computed in f64 as in the definition.
    pub fn table(&self, first: usize, tokens: usize) -> Table {
        let positions = first..first + tokens;
        let angles = positions.flat_map(|position| self.frequencies.iter().map(move |f| position as f64 * f));
        let (sin, cos) = angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Table { cos, sin, pairing: self.pairing, pairs: self.frequencies.len() }
    }
}

impl Table {
    /// Turns one head's vector x `[D]` to the position of a token.
    pub fn turn(&self, token: usize, x: &mut [f32]) {
        let row = token * self.pairs..(token + 1) * self.pairs;
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

/// Applies the activation to every value.
pub fn activate(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        Activation::Silu => x.iter_mut().for_each(|x| *x /= 1.0 + exp(-*x)),
        // ½·x·(1 + tanh u) = x / (1 + e^(-2u)), u = √(2/π)·(x + 0.044715·x³)
        Activation::GeluTanh => {
            const SCALE: f32 = 2.0 * 0.797_884_6;
            x.iter_mut().for_each(|x| *x /= 1.0 + exp(-SCALE * (*x + 0.044_715 * *x * *x * *x)));
        }
        Activation::Gelu => x.iter_mut().for_each(|x| {
            // x·Φ(x), from the smaller tail: Φ(-|x|) = ½·erfc(|x|/√2)
            let tail = 0.5 * erfc(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
            *x *= if *x > 0.0 { 1.0 - tail } else { tail };
        }),
    }
}

/// Scores → weights that sum to one.
pub fn softmax(row: &mut [f32]) {
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

/// 1 - erf(x) for x ≥ 0 to about one part in a million: the Chebyshev fit of Numerical Recipes (section 6.2), whose error is
/// 1.2e-7 of the value everywhere, in t = 1 / (1 + x/2).
#[inline(always)]
fn erfc(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = -0.822_152_23 + t * 0.170_872_77;
    let series = -1.135_204 + t * (1.488_515_9 + t * series);
    let series = -0.186_288_06 + t * (0.278_868_07 + t * series);
    let series = 0.374_091_96 + t * (0.096_784_18 + t * series);
    let series = -1.265_512_2 + t * (1.000_023_7 + t * series);
    t * exp(series - x * x)
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

    /// Tails of the normal distribution, from tables.
    #[test]
    fn the_exact_gelu_is_exact_in_both_tails() {
        for (x, phi) in
            [(0.0, 0.5), (0.5, 0.691_462_461), (1.0, 0.841_344_746), (2.0, 0.977_249_868), (3.0, 0.998_650_102)]
        {
            let mut both = [x as f32, -x as f32];
            activate(Activation::Gelu, &mut both);
            let (up, down): (f64, f64) = (x * phi, -x * (1.0 - phi));
            assert!((f64::from(both[0]) - up).abs() <= 3e-7 * up.abs(), "{x}: {} {up}", both[0]);
            assert!((f64::from(both[1]) - down).abs() <= 2e-6 * down.abs() + 1e-9, "-{x}: {} {down}", both[1]);
        }
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
