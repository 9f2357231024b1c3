//! Products of row-major matrices: y += x·W, in plain loops that compilers turn into vector instructions.
//!
//! One row streams W past y, which stays in the nearest cache: a step of decoding is bound by how fast weights arrive. For
//! many rows, tiles of four rows and eight columns of y are kept in registers while a strip of W, copied so that it lies
//! dense, passes by: reading a prompt is bound by arithmetic.

/// Rows and columns of a tile of y: eight accumulators of four lanes, as many as 16 registers leave room for.
const ROWS: usize = 4;
const LANES: usize = 8;
/// Entries of a row of x that meet a strip: 8 · 256 values of W are 8 kB, a quarter of the smallest nearest cache.
const DEPTH: usize = 256;

/// Row-major values with the distance between rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
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
pub(super) fn add_product(
    x: Matrix<'_>,
    [rows, inner, columns]: [usize; 3],
    w: Matrix<'_>,
    y: &mut [f32],
    y_stride: usize,
) {
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
    let mut sums = [[0.0f32; LANES]; N];
    let x = x.map(|row| &row[..strip.len()]);
    for (k, w) in strip.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&x) {
            let a = row[k];
            for lane in 0..LANES {
                sums[lane] += a * w[lane];
            }
        }
    }
    sums
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
    let mut chunks = x.chunks_exact(8);
    let mut k = 0;
    for x in &mut chunks {
        let (w0, w1, w2, w3) = (row(k), row(k + 1), row(k + 2), row(k + 3));
        let (w4, w5, w6, w7) = (row(k + 4), row(k + 5), row(k + 6), row(k + 7));
        for j in 0..columns {
            y[j] += (x[0] * w0[j] + x[1] * w1[j] + (x[2] * w2[j] + x[3] * w3[j]))
                + (x[4] * w4[j] + x[5] * w5[j] + (x[6] * w6[j] + x[7] * w7[j]));
        }
        k += 8;
    }
    for x in chunks.remainder() {
        y.iter_mut().zip(row(k)).for_each(|(y, w)| *y += x * w);
        k += 1;
    }
}

/// The sum of products of two rows.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const WIDE: usize = 2 * LANES;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<WIDE>(), b.as_chunks::<WIDE>());
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let mut sums = [0.0f32; WIDE];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..WIDE {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let quarter: [f32; 4] = std::array::from_fn(|i| sums[i] + sums[i + 4] + (sums[i + 8] + sums[i + 12]));
    quarter[0] + quarter[1] + (quarter[2] + quarter[3]) + rest
}
