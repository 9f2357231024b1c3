//! Causal softmax attention of new tokens over all of a sequence, from keys and values that stay where they are.

use crate::linear::{Matrix, add_product};
use crate::steps::{Table, Turns, softmax};

/// Queries that are worked on together: their scores stay in the nearer caches, and half of a block's triangle is wasted.
const BLOCK: usize = 32;
/// Room for tokens at first; doubled whenever it is full.
const ROOM: usize = 64;

/// Plain attention of one model.
#[derive(Debug)]
pub struct Plain {
    /// Its sizes.
    pub heads: Heads,
    /// What scores are multiplied with.
    pub scale: f32,
    /// How positions turn queries and keys, if they do.
    pub turns: Option<Turns>,
}

/// What a sequence has left behind.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    layers: Vec<Cache>,
    /// How many tokens it has.
    pub tokens: usize,
}

/// Plain attention of tokens that follow a sequence.
#[derive(Debug)]
pub struct Attending<'a> {
    plain: &'a Plain,
    kept: &'a mut Kept,
    /// How far the new tokens turn, once the first layer has asked.
    table: Option<Table>,
    /// Working space.
    scores: Vec<f32>,
}

/// Keys and values of one layer.
#[derive(Debug, Clone, Default)]
struct Cache {
    /// `[G,D,room]`: one entry of all keys side by side, so that a row of scores is one product.
    keys: Vec<f32>,
    /// `[G,room,D]`
    values: Vec<f32>,
    room: usize,
}

/// Sizes of attention, and so where queries, keys and values stand in a row of projections [H·D + 2·G·D].
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// H.
    pub heads: usize,
    /// G; divides H.
    pub kv_heads: usize,
    /// D.
    pub width: usize,
}

impl Heads {
    /// Values in a row of projections.
    pub fn row(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.width
    }
}

impl Plain {
    /// Tokens that follow what is kept.
    pub fn attending<'a>(&'a self, kept: &'a mut Kept) -> Attending<'a> {
        Attending { plain: self, kept, table: None, scores: Vec::new() }
    }
}

impl Attending<'_> {
    /// Rows of projections [H·D + 2·G·D] of the new tokens, not rotated, which are worked on in place → z [Q,H·D].
    pub fn attend(&mut self, layer: usize, projections: &mut [f32], z: &mut [f32]) {
        let Plain { heads, scale, turns } = self.plain;
        let first = self.kept.tokens;
        if let (Some(turns), None) = (turns, &self.table) {
            self.table = Some(turns.table(first, projections.len() / heads.row()));
        }
        for (token, row) in projections.chunks_exact_mut(heads.row()).enumerate() {
            if let Some(table) = &self.table {
                let turned = &mut row[..(heads.heads + heads.kv_heads) * heads.width];
                turned.chunks_exact_mut(heads.width).for_each(|head| table.turn(token, head));
            }
            row[..heads.heads * heads.width].iter_mut().for_each(|q| *q *= scale);
        }
        if self.kept.layers.len() <= layer {
            self.kept.layers.resize_with(layer + 1, Cache::default);
        }
        let cache = &mut self.kept.layers[layer];
        cache.extend(*heads, first, projections);
        cache.attend(*heads, first, projections, &mut self.scores, z);
    }
}

impl Cache {
    /// Adds keys and values of the tokens from `first` on, from rows of rotated projections.
    fn extend(&mut self, sizes: Heads, first: usize, projections: &[f32]) {
        let Heads { heads, kv_heads, width } = sizes;
        let tokens = projections.len() / sizes.row();
        self.grow(sizes, first, first + tokens);
        for (position, row) in (first..).zip(projections.chunks_exact(sizes.row())) {
            let (keys, values) = row[heads * width..].split_at(kv_heads * width);
            for (entry, key) in keys.iter().enumerate() {
                self.keys[entry * self.room + position] = *key;
            }
            for (head, value) in values.chunks_exact(width).enumerate() {
                self.values[(head * self.room + position) * width..][..width].copy_from_slice(value);
            }
        }
    }

    fn grow(&mut self, Heads { kv_heads, width, .. }: Heads, seen: usize, needed: usize) {
        if needed <= self.room {
            return;
        }
        let room = needed.next_power_of_two().max(ROOM);
        let (mut keys, mut values) = (vec![0.0; kv_heads * width * room], vec![0.0; kv_heads * room * width]);
        if seen > 0 {
            for (new, old) in keys.chunks_exact_mut(room).zip(self.keys.chunks_exact(self.room)) {
                new[..seen].copy_from_slice(&old[..seen]);
            }
            for (new, old) in values.chunks_exact_mut(room * width).zip(self.values.chunks_exact(self.room * width)) {
                new[..seen * width].copy_from_slice(&old[..seen * width]);
            }
        }
        (self.keys, self.values, self.room) = (keys, values, room);
    }

    /// z [Q,H·D] of the tokens from `first` on, whose scaled and rotated queries stand in `projections`; `scores` is
    /// working space.
    fn attend(&self, sizes: Heads, first: usize, projections: &[f32], scores: &mut Vec<f32>, z: &mut [f32]) {
        let Heads { heads, kv_heads, width } = sizes;
        let tokens = projections.len() / sizes.row();
        z.fill(0.0);
        for head in 0..heads {
            let group = head / (heads / kv_heads);
            let keys = Matrix::new(&self.keys[group * width * self.room..][..width * self.room], self.room);
            let values = Matrix::new(&self.values[group * width * self.room..][..width * self.room], width);
            for from in (0..tokens).step_by(BLOCK) {
                let queries = BLOCK.min(tokens - from);
                let count = first + from + queries;
                scores.clear();
                scores.resize(queries * count, 0.0);
                let q = Matrix::new(&projections[from * sizes.row() + head * width..], sizes.row());
                add_product(q, [queries, width, count], keys, scores, count);
                for (query, row) in scores.chunks_exact_mut(count).enumerate() {
                    let (kept, later) = row.split_at_mut(first + from + query + 1);
                    softmax(kept);
                    later.fill(0.0);
                }
                let out = &mut z[from * heads * width + head * width..];
                add_product(Matrix::new(scores, count), [queries, count, width], values, out, heads * width);
            }
        }
    }
}
