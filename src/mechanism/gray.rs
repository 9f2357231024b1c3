//! Order of hash codes: the binary-reflected Gray sequence, in which neighbours differ in one bit.

/// The place of `code` in the sequence.
pub(super) fn rank(code: u32) -> u32 {
    [1, 2, 4, 8, 16].into_iter().fold(code, |g, shift| g ^ (g >> shift))
}

/// The code at a place: what the released code of HyperAttention sorts by, the wrong way round.
pub(super) fn code(place: u32) -> u32 {
    place ^ (place >> 1)
}

#[cfg(test)]
mod tests {
    use super::{code, rank};

    /// Bits in which neighbours differ, once codes of seven bits are sorted by `key`: mean and most.
    fn steps(key: fn(u32) -> u32) -> (f64, u32) {
        let mut codes: Vec<u32> = (0..128).collect();
        codes.sort_by_key(|code| key(*code));
        let steps: Vec<u32> = codes.windows(2).map(|pair| (pair[0] ^ pair[1]).count_ones()).collect();
        let sum: u32 = steps.iter().sum();
        (f64::from(sum) / steps.len() as f64, steps.into_iter().max().unwrap_or(0))
    }

    /// Paper 38, check (b).
    #[test]
    fn neighbours_differ_in_one_bit_and_by_the_reference_in_up_to_four() {
        assert_eq!(steps(rank), (1.0, 1));
        let (mean, most) = steps(code);
        assert!((mean - 1.307).abs() < 5e-4 && most == 4, "{mean} {most}");
        assert!((0..1024).all(|place| rank(code(place)) == place));
    }
}
