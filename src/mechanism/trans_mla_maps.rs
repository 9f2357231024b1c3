//! The maps of a compressed TransMLA layer, from the second moments of its keys and values.
//!
//! Everything here is linear algebra on the processor in f64: once per setting, never per token.

use super::trans_mla::{COMPRESSED, ORTHOGONAL, SEPARATE, TransMlaParams};
use super::trans_mla_values::orthogonal;
use super::{Eigen, Grid, Probed, eigen};
use crate::spec::{Params, Value};
use burn::tensor::Tensor;

/// Which entries of turned keys keep their position, and how many entries the latent has.
pub(super) struct Kept {
    /// r.
    pub rank: usize,
    /// D.
    width: usize,
    /// Pairs of entries that turn, by turned head and frequency, `[N,D/2]`; N heads have at least one.
    pairs: Vec<bool>,
}

impl Kept {
    /// Of a model of `groups` key–value heads of this width; nothing turns where the family does not rotate.
    pub fn new(p: &TransMlaParams, groups: usize, width: usize, rotates: bool) -> Self {
        let (latent, half) = (groups * width, width / 2);
        let count = if rotates { ((p.rope_heads * half as f32 + 0.5) as usize).min(groups * half) } else { 0 };
        let fold = fold(p, half);
        // Of a folded group the first entries hold most; beyond them high frequencies tell neighbours apart.
        let mut order: Vec<(usize, usize)> =
            (0..groups).flat_map(|head| (0..half).map(move |frequency| (head, frequency))).collect();
        order.sort_by_key(|(head, frequency)| (*head, frequency % fold, frequency / fold));
        let heads = count.div_ceil(half.max(1));
        let mut pairs = vec![false; heads * half];
        order[..count].iter().for_each(|(head, frequency)| pairs[head * half + frequency] = true);
        let rank = (p.rank * latent as f32 + 0.5) as usize;
        Self { rank: rank.clamp(1, 2 * latent - 2 * count), width, pairs }
    }

    /// Number N of turned heads of which something keeps its position.
    pub fn heads(&self) -> usize {
        self.pairs.len() / (self.width / 2).max(1)
    }

    /// Number d_R of entries that keep their position.
    pub fn turning(&self) -> usize {
        2 * self.pairs.iter().filter(|kept| **kept).count()
    }

    /// Whether entry `index` of all turned heads, halves first, keeps its position.
    fn keeps(&self, index: usize) -> bool {
        let (head, entry, half) = (index / self.width, index % self.width, self.width / 2);
        self.pairs.get(head * half + entry % half).copied().unwrap_or(false)
    }

    /// One where an entry of this turned head keeps its position, zero elsewhere, `[D]`, halves first.
    pub fn mask(&self, head: usize) -> Vec<f32> {
        (0..self.width).map(|entry| f32::from(u8::from(self.keeps(head * self.width + entry)))).collect()
    }
}

/// How many frequencies are taken as one: at most what is asked for, and a divisor of the D/2 there are.
fn fold(p: &TransMlaParams, half: usize) -> usize {
    (1..=p.freq_fold as usize).rev().find(|fold| half.is_multiple_of(*fold)).unwrap_or(1)
}

/// Heads side by side: `[B,N,Q,D]` → `[B,1,Q,N·D]`.
pub(super) fn joined(x: Tensor<4>) -> Tensor<4> {
    let [batch, heads, queries, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, 1, queries, heads * width])
}

/// A map on latents, rows by G·D, as one map `[1,H,D,rows]` per query head, from the block of its group.
pub(super) fn of_heads(at: &Grid, map: Tensor<2>) -> Tensor<4> {
    let [rows, latent] = map.dims();
    let width = latent / at.kv_heads;
    let blocks = map.reshape([rows, at.kv_heads, width]).permute([1, 2, 0]); // [G,D,rows]
    blocks.select(0, at.kv_head().int().reshape([at.heads])).unsqueeze()
}

type Matrix = Vec<Vec<f64>>;

/// `maps` of every layer, one behind the other: T, then down, up_k and up_v, each of 2ℓ rows; in mode `exact` the maps of
/// values, or zeros.
pub(super) fn maps(values: &[Value], probed: &Probed) -> Vec<f32> {
    let p = TransMlaParams::from_values(values);
    let (groups, width) = (probed.kv_heads, probed.width);
    let latent = groups * width;
    let kept = Kept::new(&p, groups, width, probed.rotates);
    let compressed = |moments: &crate::hook::Array| {
        let moments = rows_of(moments, 2 * latent);
        of_layer(&p, &kept, &moments, groups, probed.rotates)
    };
    if p.mode == COMPRESSED {
        return probed.moments.iter().flat_map(compressed).collect();
    }
    let exact = |layer: usize| {
        let rows = probed.value_rows.get(layer).filter(|_| p.values == ORTHOGONAL);
        let mut maps = rows.map_or_else(Vec::new, |rows| orthogonal(&rows.data, groups, width, probed.heads));
        maps.resize(9 * latent * latent, 0.0);
        maps
    };
    (0..probed.layers).flat_map(exact).collect()
}

/// A square array as rows in f64.
fn rows_of(array: &crate::hook::Array, size: usize) -> Matrix {
    array.data.chunks(size.max(1)).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect()
}

/// What the latent of a layer is cut from.
struct Bracket {
    /// T.
    turn: Matrix,
    /// T beside values that stay.
    whole: Matrix,
    /// Second moments of turned keys and values.
    moments: Matrix,
    /// Entries without a position.
    live: Vec<usize>,
    /// What keys are divided by.
    ratio: f64,
    /// Of the moments of the live entries, keys divided.
    found: Eigen,
}

fn bracket(p: &TransMlaParams, kept: &Kept, moments: &Matrix, groups: usize, rotates: bool) -> Bracket {
    let (width, both) = (kept.width, moments.len());
    let latent = groups * width;
    let turn = if rotates && p.rorope { turn(p, moments, groups, width) } else { identity(latent) };
    // Turned moments of [k ; v].
    let mut whole = identity(both);
    for (row, turned) in whole.iter_mut().zip(&turn) {
        row[..latent].copy_from_slice(turned);
    }
    let moments = product(&product(&whole, moments), &transposed(&whole));
    let free: Vec<usize> = (0..latent).filter(|index| !kept.keeps(*index)).collect();
    let size = |indices: &[usize]| {
        indices.iter().map(|index| moments[*index][*index].max(0.0).sqrt()).sum::<f64>() / indices.len().max(1) as f64
    };
    let values: Vec<usize> = (latent..both).collect();
    let ratio = match size(&free) / size(&values) {
        ratio if p.balanced && ratio.is_finite() && ratio > 0.0 => ratio,
        _ => 1.0,
    };
    let weight = |index: usize| if index < latent { 1.0 / ratio } else { 1.0 };
    let entry = |i: usize, j: usize| {
        let apart = p.latent == SEPARATE && (i < latent) != (j < latent);
        if apart { 0.0 } else { weight(i) * moments[i][j] * weight(j) }
    };
    let live: Vec<usize> = free.into_iter().chain(values).collect();
    let found = eigen(live.iter().map(|i| live.iter().map(|j| entry(*i, *j)).collect()).collect());
    Bracket { turn, whole, moments, live, ratio, found }
}

/// How the second moments of one layer are spread.
pub(super) struct Energy {
    /// Share of the keys' moments in each key–value head, and in each turned one.
    pub heads: [Vec<f32>; 2],
    /// Eigenvalues of what the latent is cut from, largest first.
    pub values: Vec<f64>,
    /// How many of them are kept.
    pub rank: usize,
}

/// The energy of one layer; none where nothing was measured.
pub(super) fn energy(p: &TransMlaParams, probed: &Probed, layer: usize) -> Option<Energy> {
    let (groups, width) = (probed.kv_heads, probed.width);
    let kept = Kept::new(p, groups, width, probed.rotates);
    let moments = rows_of(probed.moments.get(layer)?, 2 * groups * width);
    let bracket = bracket(p, &kept, &moments, groups, probed.rotates);
    let shares = |moments: &Matrix| -> Vec<f32> {
        let head = |head: usize| (head * width..(head + 1) * width).map(|index| moments[index][index]).sum::<f64>();
        let heads: Vec<f64> = (0..groups).map(head).collect();
        heads.iter().map(|energy| (energy / heads.iter().sum::<f64>().max(f64::MIN_POSITIVE)) as f32).collect()
    };
    Some(Energy { heads: [shares(&moments), shares(&bracket.moments)], values: bracket.found.values, rank: kept.rank })
}

fn of_layer(p: &TransMlaParams, kept: &Kept, moments: &Matrix, groups: usize, rotates: bool) -> Vec<f32> {
    let both = moments.len();
    let latent = groups * kept.width;
    let Bracket { turn, whole, live, ratio, found, .. } = bracket(p, kept, moments, groups, rotates);
    let weight = |index: usize| if index < latent { 1.0 / ratio } else { 1.0 };
    // Pᵀ with each column times `scale`; zero where an entry keeps its position.
    let scaled = |scale: &dyn Fn(usize) -> f64| -> Matrix {
        let row = |vector: &Vec<f64>| {
            let mut row = vec![0.0; both];
            live.iter().zip(vector).for_each(|(index, x)| row[*index] = x * scale(*index));
            row
        };
        found.vectors.iter().map(row).collect()
    };
    let down = product(&scaled(&weight), &whole);
    let up_k = product(&columns(&scaled(&|_| ratio), 0..latent), &turn);
    let up_v = columns(&scaled(&|_| 1.0), latent..both);
    let flat = |matrix: Matrix, rows: usize, columns: usize| {
        let zeros = rows.saturating_sub(matrix.len()) * columns;
        let values = matrix.into_iter().flatten().map(|x| x as f32);
        values.chain(std::iter::repeat_n(0.0, zeros)).collect::<Vec<f32>>()
    };
    [flat(turn, latent, latent), flat(down, both, both), flat(up_k, both, latent), flat(up_v, both, latent)].concat()
}

/// T: for each group of frequencies the eigenvectors of the moments of real and imaginary parts, largest first, one after
/// the other into the turned heads.
fn turn(p: &TransMlaParams, moments: &Matrix, groups: usize, width: usize) -> Matrix {
    let half = width / 2;
    let fold = fold(p, half);
    let mut turn = vec![vec![0.0; groups * width]; groups * width];
    for first in (0..half).step_by(fold) {
        // Where the real part of each member lies; the imaginary one is D/2 further.
        let members: Vec<usize> =
            (0..groups).flat_map(|head| (first..first + fold).map(move |f| head * width + f)).collect();
        let pair = |a: &usize, b: &usize| moments[*a][*b] + moments[a + half][b + half];
        let found = eigen(members.iter().map(|a| members.iter().map(|b| pair(a, b)).collect()).collect());
        for (target, vector) in members.iter().zip(&found.vectors) {
            for (source, x) in members.iter().zip(vector) {
                turn[*target][*source] = *x;
                turn[target + half][source + half] = *x;
            }
        }
    }
    turn
}

fn identity(n: usize) -> Matrix {
    (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect()
}

fn transposed(a: &Matrix) -> Matrix {
    (0..a.first().map_or(0, Vec::len)).map(|j| a.iter().map(|row| row[j]).collect()).collect()
}

fn columns(a: &Matrix, range: std::ops::Range<usize>) -> Matrix {
    a.iter().map(|row| row[range.clone()].to_vec()).collect()
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let width = b.first().map_or(0, Vec::len);
    let row = |row: &Vec<f64>| {
        let mut sum = vec![0.0; width];
        for (x, other) in row.iter().zip(b).filter(|(x, _)| **x != 0.0) {
            sum.iter_mut().zip(other).for_each(|(sum, y)| *sum += x * y);
        }
        sum
    };
    a.iter().map(row).collect()
}
