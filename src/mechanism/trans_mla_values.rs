//! The orthogonal start of TransMLA's values: another pair of factors with the same product, which training moves freely.
//!
//! Of one key–value head, W = W_V of D rows, read by s query heads. U_V·W_V of these is W stacked s times, and
//!
//! ```text
//! W·Wᵀ = E·Λ·Eᵀ            the rows' products, D by D
//! stacked = A·S·Bᵀ         A = E / √s, stacked     S = √(s·Λ)     Bᵀ = Λ^(-1/2)·Eᵀ·W
//! √S·Bᵀ·x = s^(1/4)·Λ^(-1/4)·Eᵀ·v                 A·√S = s^(-1/4)·E·Λ^(1/4)     for v = W·x
//! ```
//!
//! so that the latent is made from v without touching the weights, a bias of v included.

use super::eigen;

/// Directions weaker than this share of the strongest are taken as this strong, so that none is divided by nothing.
const WEAKEST: f64 = 1e-12;

/// From v to the latent, and back, each `[ℓ,ℓ]` by rows of the latent, of key–value heads whose rows have the products
/// `rows` `[G,D,D]`.
pub(super) fn orthogonal(rows: &[f32], groups: usize, width: usize, heads: usize) -> Vec<f32> {
    let latent = groups * width;
    let shared = (heads / groups.max(1)).max(1) as f64;
    let mut maps = vec![0.0; 2 * latent * latent];
    for (head, products) in rows.chunks(width * width).enumerate() {
        let matrix = products.chunks(width).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
        let found = eigen(matrix);
        let most = found.values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (entry, (value, vector)) in found.values.iter().zip(&found.vectors).enumerate() {
            let strength = (value.max(WEAKEST * most) / shared).powf(0.25);
            let row = (head * width + entry) * latent + head * width;
            for (place, x) in vector.iter().enumerate() {
                maps[row + place] = (x / strength) as f32;
                maps[latent * latent + row + place] = (x * strength) as f32;
            }
        }
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::orthogonal;

    /// By hand: one head of two rows of lengths 4 and 1 that stand apart, read by one query head.
    #[test]
    fn rows_that_stand_apart_are_their_own_directions() {
        let maps = orthogonal(&[16.0, 0.0, 0.0, 1.0], 1, 2, 1);
        let near =
            |came: &[f32], expected: [f32; 4]| came.iter().zip(expected).all(|(a, b)| (a.abs() - b).abs() < 1e-6);
        assert!(near(&maps[..4], [0.5, 0.0, 0.0, 1.0]) && near(&maps[4..], [2.0, 0.0, 0.0, 1.0]), "{maps:?}");
    }
}
