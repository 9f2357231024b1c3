//! Eigenvectors of symmetric matrices in f64, for inputs that are measured on a model.
//!
//! Householder reflections make the matrix tridiagonal, implicit QL steps with Wilkinson's shift make it diagonal. Both are
//! accumulated, row by row, since rows are what lies together in memory.

/// Eigenvalues, largest first, and their eigenvectors as rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// `[n]`, descending.
    pub values: Vec<f64>,
    /// `[n,n]`: row i belongs to value i, has length one and is orthogonal to the others.
    pub vectors: Vec<Vec<f64>>,
}

/// More steps than any matrix was ever seen to need for one value.
const MOST_STEPS: usize = 60;

/// Decomposes a symmetric matrix, given as rows; of an asymmetric one the lower triangle counts.
///
/// ```
/// # use attnscope::mechanism::eigen;
/// let found = eigen(vec![vec![2.0, 1.0], vec![1.0, 2.0]]);
/// assert!((found.values[0] - 3.0).abs() < 1e-12 && (found.values[1] - 1.0).abs() < 1e-12);
/// assert!((found.vectors[0][0] - found.vectors[0][1]).abs() < 1e-12);
/// ```
pub fn eigen(mut a: Vec<Vec<f64>>) -> Eigen {
    let n = a.len();
    for row in 0..n {
        let (above, below) = a.split_at_mut(row);
        above.iter_mut().enumerate().for_each(|(column, other)| other[row] = below[0][column]);
    }
    let mut q: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for k in 0..n.saturating_sub(2) {
        reflect(&mut a, &mut q, k);
    }
    let mut diagonal: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
    let mut beside: Vec<f64> = (1..n).map(|i| a[i][i - 1]).chain([0.0]).collect();
    for first in 0..n {
        for _ in 0..MOST_STEPS {
            let small = |i: usize| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs());
            let last = (first..n - 1).find(|i| small(*i)).unwrap_or(n - 1);
            if last == first {
                break;
            }
            step(&mut diagonal, &mut beside, &mut q, first, last);
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> = diagonal.into_iter().zip(q).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (values, vectors) = pairs.into_iter().unzip();
    Eigen { values, vectors }
}

/// Makes column k zero below its first subdiagonal entry; the reflection is applied to the rows of q, which collect the
/// transposed product.
fn reflect(a: &mut [Vec<f64>], q: &mut [Vec<f64>], k: usize) {
    let n = a.len();
    let mut v: Vec<f64> = (0..n).map(|i| if i > k { a[i][k] } else { 0.0 }).collect();
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    if length == 0.0 {
        return;
    }
    v[k + 1] += length.copysign(v[k + 1]);
    let square: f64 = v.iter().map(|x| x * x).sum();
    // a ← (1 - 2vvᵀ/v²)·a·(1 - 2vvᵀ/v²) = a - v·wᵀ - w·vᵀ
    let p: Vec<f64> = a.iter().map(|row| 2.0 / square * dot(row, &v)).collect();
    let along = dot(&p, &v) / square;
    let w: Vec<f64> = p.iter().zip(&v).map(|(p, v)| p - along * v).collect();
    for (row, (vi, wi)) in a.iter_mut().zip(v.iter().zip(&w)) {
        row.iter_mut().zip(v.iter().zip(&w)).for_each(|(x, (vj, wj))| *x -= vi * wj + wi * vj);
    }
    let mut mixed = vec![0.0; n];
    for (row, vi) in q.iter().zip(&v).filter(|(_, vi)| **vi != 0.0) {
        mixed.iter_mut().zip(row).for_each(|(sum, x)| *sum += vi * x);
    }
    for (row, vi) in q.iter_mut().zip(&v).filter(|(_, vi)| **vi != 0.0) {
        row.iter_mut().zip(&mixed).for_each(|(x, sum)| *x -= 2.0 / square * vi * sum);
    }
}

/// One implicit QL step on entries `first..=last`.
fn step(diagonal: &mut [f64], beside: &mut [f64], q: &mut [Vec<f64>], first: usize, last: usize) {
    let slope = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
    let mut g = diagonal[last] - diagonal[first] + beside[first] / (slope + slope.hypot(1.0).copysign(slope));
    let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
    for i in (first..last).rev() {
        let (f, b) = (sine * beside[i], cosine * beside[i]);
        let r = f.hypot(g);
        beside[i + 1] = r;
        if r == 0.0 {
            diagonal[i + 1] -= shift;
            beside[last] = 0.0;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        g = diagonal[i + 1] - shift;
        let r = (diagonal[i] - g) * sine + 2.0 * cosine * b;
        shift = sine * r;
        diagonal[i + 1] = g + shift;
        g = cosine * r - b;
        let (above, below) = q.split_at_mut(i + 1);
        for (x, y) in above[i].iter_mut().zip(below[0].iter_mut()) {
            (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
        }
    }
    diagonal[first] -= shift;
    beside[first] = g;
    beside[last] = 0.0;
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::{dot, eigen};

    /// Seeded symmetric matrix, some of whose rows are zero.
    fn matrix(n: usize, zeros: usize) -> Vec<Vec<f64>> {
        let entry = |i: usize, j: usize| ((i * 37 + j * 37 + i * j * 11) as f64 * 0.7).sin();
        let inside = |i: usize| i >= zeros;
        (0..n).map(|i| (0..n).map(|j| if inside(i) && inside(j) { entry(i, j) } else { 0.0 }).collect()).collect()
    }

    #[test]
    fn vectors_are_orthogonal_and_give_the_matrix_back() {
        for (n, zeros) in [(1, 0), (2, 0), (3, 1), (8, 0), (40, 7)] {
            let a = matrix(n, zeros);
            let found = eigen(a.clone());
            assert!(found.values.is_sorted_by(|a, b| a >= b));
            for (i, row) in a.iter().enumerate() {
                for (j, entry) in row.iter().enumerate() {
                    let one = f64::from(u8::from(i == j));
                    assert!((dot(&found.vectors[i], &found.vectors[j]) - one).abs() < 1e-12, "{n}: {i} {j}");
                    let sum: f64 = (0..n).map(|k| found.values[k] * found.vectors[k][i] * found.vectors[k][j]).sum();
                    assert!((sum - entry).abs() < 1e-11, "{n}: {i} {j}: {sum} is not {entry}");
                }
            }
        }
    }
}
