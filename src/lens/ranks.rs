//! How far two lists of numbers, or the orders they make, agree.

/// Pearson's correlation; NaN where one of them does not vary.
///
/// ```
/// use attnscope::lens::ranks::correlation;
/// assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-6);
/// assert!(correlation(&[1.0, 1.0], &[2.0, 4.0]).is_nan());
/// ```
pub fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let mean = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    let (x, y) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        a.iter().zip(b).map(|(p, q)| f(f64::from(*p) - x, f64::from(*q) - y)).sum::<f64>()
    };
    let below = (sum(&|p, _| p * p) * sum(&|_, q| q * q)).sqrt();
    if below > 0.0 { (sum(&|p, q| p * q) / below) as f32 } else { f32::NAN }
}

/// Ranks from 0, equal values at the middle of their places.
pub fn ranks(values: &[f32]) -> Vec<f32> {
    let rank = |x: &f32| {
        let below = values.iter().filter(|other| *other < x).count() as f32;
        let equal = values.iter().filter(|other| *other == x).count() as f32;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// Spearman's correlation: Pearson's of the ranks.
pub fn rank_correlation(a: &[f32], b: &[f32]) -> f32 {
    correlation(&ranks(a), &ranks(b))
}

/// Kendall's tau-b; NaN where one of them is constant, since nothing is ordered then.
///
/// ```
/// use attnscope::lens::ranks::kendall;
/// assert_eq!(kendall(&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]), 1.0);
/// assert_eq!(kendall(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
/// assert!(kendall(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
/// ```
pub fn kendall(a: &[f32], b: &[f32]) -> f32 {
    let (mut both, mut only_a, mut only_b) = (0i64, 0i64, 0i64);
    let order = |values: &[f32], i: usize, j: usize| values[i].partial_cmp(&values[j]).map_or(0, |order| order as i64);
    for i in 0..a.len().min(b.len()) {
        for j in 0..i {
            let (x, y) = (order(a, i, j), order(b, i, j));
            both += x * y;
            only_a += x * x;
            only_b += y * y;
        }
    }
    let below = ((only_a as f64) * (only_b as f64)).sqrt();
    if below > 0.0 { (both as f64 / below) as f32 } else { f32::NAN }
}
