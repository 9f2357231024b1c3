//! Products of row-major matrices: y += x·W, four numbers at a time.
//!
//! One row streams W past y, which stays in the nearest cache: a step of decoding is bound by how fast weights arrive. For
//! many rows, tiles of four rows and eight columns of y are kept in registers while a strip of W, copied so that it lies
//! dense, passes by: reading a prompt is bound by arithmetic.

use crate::lanes::Lanes;

/// Rows and columns of a tile of y: eight accumulators of four lanes, as many as 16 registers leave room for.
const ROWS: usize = 4;
const LANES: usize = 8;
/// Entries of a row of x that meet a strip: 8 · 256 values of W are 8 kB, a quarter of the smallest nearest cache.
const DEPTH: usize = 256;

/// Row-major values with the distance between rows.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Row after row.
    values: &'a [f32],
    /// From the beginning of one row to that of the next.
    stride: usize,
}

impl<'a> Matrix<'a> {
    /// Values whose rows begin `stride` apart.
    pub fn new(values: &'a [f32], stride: usize) -> Self {
        Self { values, stride }
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..]
    }
}

/// y `[rows,columns]` += x `[rows,inner]` · w `[inner,columns]`; rows of y begin `y_stride` apart.
pub fn add_product(x: Matrix<'_>, [rows, inner, columns]: [usize; 3], w: Matrix<'_>, y: &mut [f32], y_stride: usize) {
    if rows < ROWS {
        for row in 0..rows {
            add_row_product(&x.row(row)[..inner], w, &mut y[row * y_stride..][..columns]);
        }
        return;
    }
    let mut strip = [[0.0; LANES]; DEPTH];
    for from in (0..inner).step_by(DEPTH) {
        let depth = DEPTH.min(inner - from);
        let strip = &mut strip[..depth];
        let row_of_x = |row: usize| &x.row(row)[from..from + depth];
        for column in (0..columns).step_by(LANES) {
            // What a narrower strip holds beyond its columns is multiplied too, and left out of y.
            let lanes = LANES.min(columns - column);
            for (k, values) in strip.iter_mut().enumerate() {
                values[..lanes].copy_from_slice(&w.row(from + k)[column..column + lanes]);
            }
            let mut put = |row: usize, sums: &[f32; LANES]| add(&mut y[row * y_stride + column..][..lanes], sums);
            for row in (0..rows - rows % ROWS).step_by(ROWS) {
                let sums = tile::<ROWS>(std::array::from_fn(|r| row_of_x(row + r)), strip);
                sums.iter().enumerate().for_each(|(r, sums)| put(row + r, sums));
            }
            for row in rows - rows % ROWS..rows {
                put(row, &tile([row_of_x(row)], strip)[0]);
            }
        }
    }
}

/// Sums over a strip for `N` rows at once.
#[inline(always)]
fn tile<const N: usize>(x: [&[f32]; N], strip: &[[f32; LANES]]) -> [[f32; LANES]; N] {
    let mut sums = [[Lanes::splat(0.0); 2]; N];
    let x = x.map(|row| &row[..strip.len()]);
    for (k, w) in strip.iter().enumerate() {
        let (halves, _) = w.as_chunks::<4>();
        let w = [Lanes::load(&halves[0]), Lanes::load(&halves[1])];
        for (sums, row) in sums.iter_mut().zip(&x) {
            let a = Lanes::splat(row[k]);
            *sums = [sums[0].add_product(a, w[0]), sums[1].add_product(a, w[1])];
        }
    }
    sums.map(|both| {
        let mut row = [0.0; LANES];
        row.as_chunks_mut::<4>().0.iter_mut().zip(both).for_each(|(to, sum)| sum.store(to));
        row
    })
}

#[inline(always)]
fn add(y: &mut [f32], sums: &[f32; LANES]) {
    match <&mut [f32; LANES]>::try_from(&mut *y) {
        Ok(y) => (0..LANES).for_each(|lane| y[lane] += sums[lane]),
        Err(_) => y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum),
    }
}

/// y `[columns]` += x `[inner]` · w, eight rows of w at a time, so that y is read and written an eighth as often.
fn add_row_product(x: &[f32], w: Matrix<'_>, y: &mut [f32]) {
    let columns = y.len();
    let row = |k: usize| &w.row(k)[..columns];
    let (eights, rest) = x.as_chunks::<8>();
    for (eight, x) in eights.iter().enumerate() {
        let rows: [&[f32]; 8] = std::array::from_fn(|r| row(8 * eight + r));
        let (y, y_rest) = y.as_chunks_mut::<4>();
        let fours = rows.map(|row| &row.as_chunks::<4>().0[..y.len()]);
        let a = x.map(Lanes::splat);
        for (j, y) in y.iter_mut().enumerate() {
            let term = |sum: Lanes, r: usize| sum.add_product(a[r], Lanes::load(&fours[r][j]));
            let even = term(term(term(term(Lanes::load(y), 0), 2), 4), 6);
            let odd = term(term(term(term(Lanes::splat(0.0), 1), 3), 5), 7);
            even.add(odd).store(y);
        }
        let from = columns - y_rest.len();
        for (j, y) in y_rest.iter_mut().enumerate() {
            *y += x.iter().zip(&rows).map(|(x, row)| x * row[from + j]).sum::<f32>();
        }
    }
    for (k, x) in (8 * eights.len()..).zip(rest) {
        y.iter_mut().zip(row(k)).for_each(|(y, w)| *y += x * w);
    }
}

/// The sum of products of two rows.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let mut sums = [Lanes::splat(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        let fours = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
        for (sum, (a, b)) in sums.iter_mut().zip(fours) {
            *sum = sum.add_product(Lanes::load(a), Lanes::load(b));
        }
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every remainder of rows, depth and columns against the sum by hand, on whole numbers, which every order adds alike.
    #[test]
    fn products_of_every_size_are_those_by_hand() {
        let number = |index: usize| ((index * 37 + 11) % 17) as f32 - 8.0;
        for (rows, inner, columns) in [1, 3, 4, 6, 9]
            .into_iter()
            .flat_map(|rows| [1, 7, 8, 19, 300].map(|inner| (rows, inner)))
            .flat_map(|(rows, inner)| [1, 4, 8, 13, 32].map(|columns| (rows, inner, columns)))
        {
            let (x_stride, w_stride, y_stride) = (inner + 2, columns + 3, columns + 1);
            let x: Vec<f32> = (0..rows * x_stride).map(number).collect();
            let w: Vec<f32> = (0..inner * w_stride).map(|index| number(index + 5)).collect();
            let mut y = vec![1.0; rows * y_stride];
            let sizes = [rows, inner, columns];
            add_product(Matrix::new(&x, x_stride), sizes, Matrix::new(&w, w_stride), &mut y, y_stride);
            for (index, y) in y.iter().enumerate() {
                let (row, column) = (index / y_stride, index % y_stride);
                let term = |k: usize| x[row * x_stride + k] * w[k * w_stride + column];
                let by_hand = if column < columns { 1.0 + (0..inner).map(term).sum::<f32>() } else { 1.0 };
                assert_eq!(*y, by_hand, "{rows} × {inner} × {columns} at {row}, {column}");
            }
        }
    }

    #[test]
    fn a_dot_product_has_every_term() {
        for length in [0, 1, 15, 16, 35] {
            let a: Vec<f32> = (0..length).map(|index| index as f32).collect();
            let by_hand: usize = (0..length).map(|index| index * index).sum();
            assert_eq!(dot(&a, &a), by_hand as f32);
        }
    }
}
