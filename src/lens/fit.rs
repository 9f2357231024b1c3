//! A vector as a sum of others with shared scalars: least squares over many samples.
//!
//! ```text
//! target_s ≈ Σ_i w_i · part_i,s + b      w_i one number for all samples and coordinates, b a vector
//! ```
//!
//! Every coordinate's mean over the samples is taken out first, which leaves b as what the means lack. A small ridge, 10⁻⁴ of
//! the mean diagonal, keeps parts that say the same apart.

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// One for each part.
    pub weights: Vec<f32>,
    /// b.
    pub intercept: Vec<f32>,
    /// R² on the samples it was fitted to.
    pub fitted: f32,
    /// R² on others, against their own means.
    pub judged: f32,
}

/// Parts and the target of one sample, all of one length.
pub type Sample<'a> = (Vec<&'a [f32]>, &'a [f32]);

const RIDGE: f64 = 1e-4;

/// Fits `samples`, judged by `others`; `None` without samples or parts.
///
/// ```
/// use attnscope::lens::fit::fit;
/// let (x, y, z) = ([1.0, 2.0], [0.0, 1.0], [5.0, 1.0]);
/// let targets = [[3.0, 4.0], [1.0, 2.0], [11.0, 2.0]]; // 2·part + (1, 0)
/// let samples = vec![(vec![&x[..]], &targets[0][..]), (vec![&y[..]], &targets[1][..]), (vec![&z[..]], &targets[2][..])];
/// let found = fit(&samples, &samples).unwrap();
/// assert!((found.weights[0] - 2.0).abs() < 1e-3 && (found.intercept[0] - 1.0).abs() < 1e-2);
/// assert!(found.fitted > 0.999);
/// ```
pub fn fit(samples: &[Sample<'_>], others: &[Sample<'_>]) -> Option<Fit> {
    let (parts, width) = samples.first().map(|(parts, target)| (parts.len(), target.len()))?;
    if parts == 0 {
        return None;
    }
    let mean_of = |of: &dyn Fn(&Sample<'_>) -> Vec<f64>| -> Vec<f64> {
        let mut mean = vec![0.0; width];
        for sample in samples {
            mean.iter_mut().zip(of(sample)).for_each(|(sum, x)| *sum += x / samples.len() as f64);
        }
        mean
    };
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let means: Vec<Vec<f64>> = (0..parts).map(|part| mean_of(&|sample| wide(sample.0[part]))).collect();
    let middle = mean_of(&|sample| wide(sample.1));
    let mut normal = vec![vec![0.0; parts]; parts];
    let mut right = vec![0.0; parts];
    for (own, target) in samples {
        let centred: Vec<Vec<f64>> = own
            .iter()
            .zip(&means)
            .map(|(part, mean)| part.iter().zip(mean).map(|(x, mean)| f64::from(*x) - mean).collect())
            .collect();
        let target: Vec<f64> = target.iter().zip(&middle).map(|(x, mean)| f64::from(*x) - mean).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for (row, one) in centred.iter().enumerate() {
            for (column, other) in centred.iter().enumerate() {
                normal[row][column] += dot(one, other);
            }
            right[row] += dot(one, &target);
        }
    }
    let ridge = RIDGE * (0..parts).map(|at| normal[at][at]).sum::<f64>() / parts as f64;
    normal.iter_mut().enumerate().for_each(|(at, row)| row[at] += ridge.max(f64::MIN_POSITIVE));
    let weights = solve(normal, right);
    let intercept: Vec<f64> = (0..width)
        .map(|at| middle[at] - weights.iter().zip(&means).map(|(weight, mean)| weight * mean[at]).sum::<f64>())
        .collect();
    let explained = |samples: &[Sample<'_>]| {
        let (mut left, mut whole) = (0.0, 0.0);
        let count = samples.len().max(1) as f64;
        let own: Vec<f64> =
            (0..width).map(|at| samples.iter().map(|(_, target)| f64::from(target[at])).sum::<f64>() / count).collect();
        for (parts, target) in samples {
            for at in 0..width {
                let said: f64 = weights.iter().zip(parts).map(|(weight, part)| weight * f64::from(part[at])).sum();
                left += (f64::from(target[at]) - said - intercept[at]).powi(2);
                whole += (f64::from(target[at]) - own[at]).powi(2);
            }
        }
        (1.0 - left / whole) as f32
    };
    let (fitted, judged) = (explained(samples), explained(others));
    let narrow = |values: &[f64]| values.iter().map(|x| *x as f32).collect();
    Some(Fit { weights: narrow(&weights), intercept: narrow(&intercept), fitted, judged })
}

/// a·x = b by elimination, the largest of each column first.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|x, y| a[*x][column].abs().total_cmp(&a[*y][column].abs())).unwrap_or(column);
        a.swap(column, pivot);
        b.swap(column, pivot);
        if a[column][column] == 0.0 {
            continue;
        }
        let (above, below) = a.split_at_mut(column + 1);
        let own = &above[column];
        for (row, later) in below.iter_mut().enumerate() {
            let factor = later[column] / own[column];
            later.iter_mut().zip(own).skip(column).for_each(|(x, y)| *x -= factor * y);
            b[column + 1 + row] -= factor * b[column];
        }
    }
    let mut x = vec![0.0; n];
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|at| a[row][at] * x[at]).sum();
        x[row] = if a[row][row] == 0.0 { 0.0 } else { (b[row] - known) / a[row][row] };
    }
    x
}
