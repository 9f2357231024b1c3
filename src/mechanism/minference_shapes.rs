//! Which pairs of a head each sparse shape keeps, and which shape keeps the most of its weight.
//!
//! Everything here works on one head of a whole pass: scores `[n,n]` on the host, [`MASKED`] where a pair is not kept.

use super::MASKED;

/// First columns and smallest offsets that are always among those chosen.
pub(super) const FORCED: [usize; 2] = [4, 8];
/// Fewest columns and offsets.
const FEWEST: usize = 4;

/// A sparse shape. `share` is the part of a row's keys that goes to first keys or to columns.
#[derive(Debug, Clone, Copy, PartialEq)]
// The paper's name of a shape is A-shape.
#[expect(clippy::enum_variant_names)]
pub(super) enum Shape {
    /// First keys and a window.
    AShape { share: f32 },
    /// Columns and diagonals.
    VerticalSlash { share: f32 },
    /// Blocks.
    Block,
}

/// What the search tries: the sizes of the paper as shares of a row.
pub(super) const CANDIDATES: [Shape; 6] = [
    Shape::AShape { share: 0.2 },
    Shape::VerticalSlash { share: 0.015 },
    Shape::VerticalSlash { share: 0.05 },
    Shape::VerticalSlash { share: 0.25 },
    Shape::VerticalSlash { share: 0.94 },
    Shape::Block,
];

/// How much is kept, and what it is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Share of the causal pairs.
    pub budget: f32,
    /// Last queries that are looked at.
    pub last: usize,
    /// Tokens of a block.
    pub block: usize,
    /// Whether diagonals are loaded in whole blocks.
    pub tiles: bool,
}

/// The largest t with n·t - t·(t-1)/2 ≤ budget · n·(n+1)/2: if no row keeps more than t keys, no more than the budget is
/// kept. At least 1.
pub(super) fn keys_per_row(budget: f32, n: usize) -> usize {
    let allowed = (budget * (n * (n + 1) / 2) as f32) as usize;
    (1..=n).rev().find(|t| n * t - t * (t - 1) / 2 <= allowed).unwrap_or(1)
}

/// `share` of `t`, to the nearest whole.
fn part(share: f32, t: usize) -> usize {
    (share * t as f32 + 0.5) as usize
}

/// The pairs `[n,n]` that a shape keeps; later keys are never among them.
pub(super) fn kept(shape: Shape, sizes: &Sizes, scores: &[f32], n: usize) -> Vec<bool> {
    let t = keys_per_row(sizes.budget, n);
    let pairs = |keep: &dyn Fn(usize, usize) -> bool| -> Vec<bool> {
        (0..n * n).map(|pair| (pair / n, pair % n)).map(|(i, j)| j <= i && keep(i, j)).collect()
    };
    if t == n {
        return pairs(&|_, _| true);
    }
    match shape {
        Shape::AShape { share } => {
            let first = part(share, t).min(t - 1);
            pairs(&|i, j| j < first || i - j < t - first)
        }
        Shape::VerticalSlash { share } => {
            let [column, offset] = chosen(sizes, share, scores, n);
            if sizes.tiles {
                let loaded: Vec<Vec<bool>> =
                    (0..n.div_ceil(sizes.block)).map(|block| loaded(&offset, block, sizes.block)).collect();
                pairs(&|i, j| column[j] || loaded[i / sizes.block][j])
            } else {
                pairs(&|i, j| column[j] || offset[i - j])
            }
        }
        Shape::Block => {
            let block = sizes.block;
            let quota = (t / block).max(1);
            let of_row: Vec<Vec<bool>> =
                (0..n.div_ceil(block)).map(|row| top(&block_scores(scores, n, block, row), quota)).collect();
            pairs(&|i, j| of_row[i / block][j / block])
        }
    }
}

/// The columns and the offsets that vertical-slash takes, `share` of a row's keys being columns.
pub(super) fn chosen(sizes: &Sizes, share: f32, scores: &[f32], n: usize) -> [Vec<bool>; 2] {
    let t = keys_per_row(sizes.budget, n);
    let columns = part(share, t).max(FEWEST).min(n);
    let offsets = t.saturating_sub(columns).max(FEWEST).min(n);
    let mut sums = estimates(sizes, scores, n);
    for (sums, forced) in sums.iter_mut().zip(FORCED) {
        // Above any sum of weights, the smallest index first.
        sums.iter_mut().take(forced).enumerate().for_each(|(index, sum)| *sum = 1000.0 + (forced - index) as f32);
    }
    let [column, offset] = sums;
    [top(&column, columns), top(&offset, offsets)]
}

/// What the last queries give each column and each offset in all.
pub(super) fn estimates(sizes: &Sizes, scores: &[f32], n: usize) -> [Vec<f32>; 2] {
    let mut sums = [vec![0.0; n], vec![0.0; n]];
    for i in n.saturating_sub(sizes.last)..n {
        let row = &scores[i * n..(i + 1) * n];
        let most = row.iter().copied().fold(MASKED, f32::max);
        let weight = |score: f32| if score == MASKED { 0.0 } else { (score - most).exp() };
        let sum: f32 = row.iter().map(|score| weight(*score)).sum();
        for (j, score) in row[..=i].iter().enumerate().filter(|(_, score)| **score != MASKED) {
            sums[0][j] += weight(*score) / sum;
            sums[1][i - j] += weight(*score) / sum;
        }
    }
    sums
}

/// Mean products of a query block with the key blocks it sees, its own first of all. The product of two blocks' mean
/// vectors is the mean of their scores; a common factor does not change the order.
fn block_scores(scores: &[f32], n: usize, block: usize, row: usize) -> Vec<f32> {
    let sum = |column: usize| -> f32 {
        let pairs = (0..block * block).map(|pair| (row * block + pair / block, column * block + pair % block));
        let scores = pairs.filter(|(i, _)| *i < n).map(|(i, j)| scores[i * n + j]);
        scores.filter(|score| *score != MASKED).sum()
    };
    (0..row).map(sum).chain([1e20]).collect()
}

/// The `quota` largest values, of equal ones the last.
fn top(values: &[f32], quota: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(b.cmp(a)));
    let mut taken = vec![false; values.len()];
    order.into_iter().take(quota).for_each(|index| taken[index] = true);
    taken
}

/// Keys that the kernel loads for query block `index`: tiles along the diagonals, merged into ranges that grow by whole
/// blocks.
pub(super) fn loaded(offsets: &[bool], index: usize, block: usize) -> Vec<bool> {
    let mut loaded = vec![false; offsets.len()];
    let above = (index + 1) * block;
    let mut end: Option<usize> = None;
    for offset in (0..above.min(offsets.len())).rev().filter(|offset| offsets[*offset]) {
        let tile = (above - offset).max(block);
        let next = match end {
            Some(end) if tile <= end => continue,
            Some(end) if tile <= end + block => end + block,
            _ => tile,
        };
        loaded.iter_mut().take(next).skip(next - block).for_each(|key| *key = true);
        end = Some(next);
    }
    loaded
}

/// One head on one text.
pub(super) struct Seen {
    /// `[n,n]`
    pub weights: Vec<f32>,
    /// `[n,D]`, empty where shapes are judged by weight.
    pub values: Vec<f32>,
}

/// The index of the candidate that suits one head best on all texts it was seen on: keeps the most weight, or where there
/// are values has the smallest error of what they mix to.
pub(super) fn best(sizes: &Sizes, seen: &[Seen], n: usize) -> usize {
    let worth = |shape: Shape| -> f64 {
        let of_text = |Seen { weights, values }: &Seen| {
            // Logarithms of weights rank like scores: within a row they differ by a constant.
            let causal = |(pair, weight): (usize, &f32)| {
                if pair % n <= pair / n { weight.max(1e-30).ln() } else { MASKED }
            };
            let scores: Vec<f32> = weights.iter().enumerate().map(causal).collect();
            let kept = kept(shape, sizes, &scores, n);
            match values.is_empty() {
                true => weights
                    .iter()
                    .zip(kept)
                    .filter(|(_, kept)| *kept)
                    .map(|(weight, _)| f64::from(*weight))
                    .sum::<f64>(),
                false => -output_error(weights, values, &kept, n),
            }
        };
        seen.iter().map(of_text).sum()
    };
    let worths = CANDIDATES.map(worth);
    // The first of equals: the A-shape costs least.
    (1..worths.len()).fold(0, |best, index| if worths[index] > worths[best] { index } else { best })
}

/// |o' - o| / |o|: o = weights · values, o' the same over the kept pairs, whose weights are brought back to one in all.
fn output_error(weights: &[f32], values: &[f32], kept: &[bool], n: usize) -> f64 {
    let width = values.len() / n;
    let (mut off, mut whole) = (0.0, 0.0);
    for (weights, kept) in weights.chunks(n).zip(kept.chunks(n)) {
        let (mut exact, mut sparse, mut sum) = (vec![0.0f32; width], vec![0.0f32; width], 0.0);
        for ((weight, kept), value) in weights.iter().zip(kept).zip(values.chunks(width)) {
            exact.iter_mut().zip(value).for_each(|(sum, x)| *sum += weight * x);
            if *kept {
                sparse.iter_mut().zip(value).for_each(|(sum, x)| *sum += weight * x);
                sum += weight;
            }
        }
        for (exact, sparse) in exact.into_iter().zip(sparse) {
            off += f64::from(sparse / sum.max(f32::MIN_POSITIVE) - exact).powi(2);
            whole += f64::from(exact).powi(2);
        }
    }
    (off / f64::max(whole, f64::MIN_POSITIVE)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{CANDIDATES, FORCED, Seen, Shape, Sizes, best, chosen, kept, loaded, output_error};
    use crate::mechanism::MASKED;
    use crate::model::attention::{normal, uniform};

    const N: usize = 200;

    /// Sizes under which no row keeps more than `t` of [`N`] keys.
    fn sizes(t: usize, block: usize, tiles: bool) -> Sizes {
        let pairs = N * t - t * (t - 1) / 2;
        Sizes { budget: (pairs as f32 + 0.5) / (N * (N + 1) / 2) as f32, last: 16, block, tiles }
    }

    fn scores(planted: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let noise = normal(N * N, 0.5, "scores", 0, 0);
        let score = |pair: usize| {
            if pair % N <= pair / N { noise[pair] + planted(pair / N, pair % N) } else { MASKED }
        };
        (0..N * N).map(score).collect()
    }

    fn weights(scores: &[f32]) -> Vec<f32> {
        let row = |row: &[f32]| {
            let e: Vec<f32> = row.iter().map(|s| if *s == MASKED { 0.0 } else { s.exp() }).collect();
            let sum: f32 = e.iter().sum();
            e.into_iter().map(move |e| e / sum).collect::<Vec<_>>()
        };
        scores.chunks(N).flat_map(row).collect()
    }

    /// Mean weight per row on pairs that are kept.
    fn mass(weights: &[f32], kept: &[bool]) -> f32 {
        weights.iter().zip(kept).filter(|(_, kept)| **kept).map(|(weight, _)| weight).sum::<f32>() / N as f32
    }

    /// Paper 58, check (a): for random offsets that hold 0, what the kernel loads covers every diagonal, also where blocks
    /// do not divide the prompt, and no row keeps a later key.
    #[test]
    fn tiles_cover_the_diagonals() {
        for block in [16, 64] {
            for seed in 0..20 {
                let draws = uniform(N, "offsets", 0, seed);
                let offsets: Vec<bool> = (0..N).map(|o| o == 0 || draws[o] < 0.05).collect();
                for i in 0..N {
                    let loaded = loaded(&offsets, i / block, block);
                    assert!((0..=i).all(|j| !offsets[i - j] || loaded[j]), "row {i}, block {block}, seed {seed}");
                }
            }
        }
        let scores = scores(|_, _| 0.0);
        let shape = Shape::VerticalSlash { share: 0.5 };
        let [exact, tiles] = [false, true].map(|tiles| kept(shape, &sizes(20, 16, tiles), &scores, N));
        assert!(exact.iter().zip(&tiles).all(|(exact, tiles)| !exact || *tiles) && exact != tiles);
        assert!((0..N * N).all(|pair| pair % N <= pair / N || !tiles[pair]));
    }

    /// No row keeps more than its share, as long as that leaves four columns and four offsets, and nothing is left out
    /// at the whole budget.
    #[test]
    fn budgets_hold() {
        let scores = scores(|_, _| 0.0);
        for shape in CANDIDATES {
            let most = |t| {
                kept(shape, &sizes(t, 16, false), &scores, N)
                    .chunks(N)
                    .map(|row| row.iter().filter(|k| **k).count())
                    .max()
            };
            assert!(most(80) <= Some(80) && most(80) > Some(40), "{shape:?}");
            assert_eq!(most(N), Some(N), "{shape:?}");
        }
    }

    /// Check (b): planted columns and diagonals are found, and with them nearly all weight.
    #[test]
    fn columns_and_diagonals_are_found() {
        let (columns, offsets) = ([30, 61, 90], [17, 40, 55, 83, 101]);
        let scores = scores(|i, j| if columns.contains(&j) || offsets.contains(&(i - j)) { 6.0 } else { 0.0 });
        let t = FORCED[0] + columns.len() + FORCED[1] + offsets.len();
        let shape = Shape::VerticalSlash { share: (FORCED[0] + columns.len()) as f32 / t as f32 };
        let kept = kept(shape, &sizes(t, 16, false), &scores, N);
        let expected = |i: usize, j: usize| {
            j < FORCED[0] || columns.contains(&j) || i - j < FORCED[1] || offsets.contains(&(i - j))
        };
        assert!((0..N * N).all(|pair| kept[pair] == (pair % N <= pair / N && expected(pair / N, pair % N))));
        let mass = mass(&weights(&scores), &kept);
        assert!(mass > 0.95, "{mass}");
    }

    /// Check (b): blocks make the search choose blocks; first tokens and a window are all an A-shape needs.
    #[test]
    fn the_search_tells_shapes_apart() {
        let sizes = sizes(48, 16, false);
        let blocks = scores(|i, j| if (i / 16 * 7 + j / 16 * 5) % 6 == 0 || i / 16 == j / 16 { 6.0 } else { 0.0 });
        // By weight, and by the error of mixed noise.
        let seen = |weights: &[f32], width: usize| {
            [Seen { weights: weights.to_vec(), values: normal(N * width, 1.0, "values", 0, 0) }]
        };
        for width in [0, 8] {
            assert_eq!(CANDIDATES[best(&sizes, &seen(&weights(&blocks), width), N)], Shape::Block);
        }
        let band = weights(&scores(|i, j| if j < 10 || i - j < 38 { 8.0 } else { 0.0 }));
        assert!(mass(&band, &kept(CANDIDATES[0], &sizes, &scores(|_, _| 0.0), N)) > 0.99);
        for width in [0, 8] {
            assert_eq!(CANDIDATES[best(&sizes, &seen(&band, width), N)], CANDIDATES[0]);
        }
        let all = kept(CANDIDATES[0], &sizes, &scores(|_, _| 0.0), N);
        let values = normal(N * 8, 1.0, "values", 0, 0);
        assert!(output_error(&band, &values, &all, N) < 0.01, "within a hundredth, as the specification asks");
    }

    /// By hand: two keys of equal weight, one of which is kept, are off by the half of their difference; weights that are
    /// large where values are nothing make the two judges differ.
    #[test]
    fn weight_is_not_error() {
        let error = output_error(&[1.0, 0.0, 0.5, 0.5], &[1.0, 3.0], &[true, false, false, true], 2);
        assert!((error - (1.0f64 / 5.0).sqrt()).abs() < 1e-6, "{error}");
        let sink = [1.0, 0.0, 0.75, 0.25];
        let values = [0.0, 4.0];
        let off = |kept: &[bool]| output_error(&sink, &values, kept, 2);
        assert_eq!((off(&[true, false, true, false]), off(&[true, false, false, true])), (1.0, 3.0));
    }

    /// Checks (c) and (e): columns follow what the last queries look at, first keys and window do not; what only early
    /// queries need is lost.
    #[test]
    fn the_last_queries_decide() {
        let needle = |at: usize| scores(move |i, j| if j == at && i > 150 { 7.0 } else { 0.0 });
        let with = |shape, at| kept(shape, &sizes(16, 16, false), &needle(at), N);
        let slash = Shape::VerticalSlash { share: 0.32 };
        let last = |kept: Vec<bool>| kept[(N - 1) * N..].to_vec();
        assert!(last(with(slash, 70))[70] && !last(with(slash, 110))[70] && last(with(slash, 110))[110]);
        assert_eq!(with(CANDIDATES[0], 70), with(CANDIDATES[0], 110));
        // Of the columns that are not forced, two prompts share less than half.
        let columns = |at| {
            let [columns, _] = chosen(&sizes(24, 16, false), 0.25, &needle(at), N);
            (FORCED[0]..N).filter(|column| columns[*column]).collect::<Vec<_>>()
        };
        let (one, other) = (columns(70), columns(110));
        let both = one.iter().filter(|column| other.contains(column)).count();
        assert!(2 * both < one.len() + other.len() - both, "{one:?} {other:?}");
        let early = scores(|i, j| if j == 20 && (64..80).contains(&i) { 8.0 } else { 0.0 });
        let kept = kept(slash, &sizes(16, 16, false), &early, N);
        assert!(weights(&early)[79 * N + 20] > 0.9 && !kept[79 * N + 20]);
    }
}
