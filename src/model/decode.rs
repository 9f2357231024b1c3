//! Step-by-step decoding: keys and values of the tokens so far, so that one more token costs one row, and what mechanisms
//! remember beside them.
//!
//! What no later query needs is dropped, see [`Needs`]: a head that sees four sinks and a window holds no more rows than
//! these, whatever the length of the text. Attention is still computed over the whole sequence, where rows that were dropped
//! stand as ones: nobody may look at them, and some operators divide by the length of a key.
//!
//! A stack whose selector corrects the cache takes the newest rows back and writes them once more; see
//! [`Corrects`](crate::mechanism::Corrects).

use super::needs::Needs;
use super::run::host;
use crate::hook::Array;
use crate::mechanism::{Corrected, Memories};
use burn::tensor::{Tensor, TensorData};

/// What a growing sequence leaves behind.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    /// Keys and values of every layer.
    pub(super) layers: Layers,
    /// What mechanisms carry from step to step.
    pub(super) memories: Memories,
    /// The same of the passes that correct the cache.
    pub(super) corrections: Memories,
}

/// Keys (rotated) and values of every layer, growing with the sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(Vec<Layer>);

#[derive(Debug, Clone)]
struct Layer {
    tokens: usize,
    keys: Side,
    values: Values,
    /// Known once the layer was first asked to drop something.
    needs: Option<Needs>,
}

/// Values of one layer.
#[derive(Debug, Clone)]
enum Values {
    Own(Side),
    /// The last entries of each key, this many.
    InKeys(usize),
}

/// Keys or values of one layer.
#[derive(Debug, Clone)]
enum Side {
    /// Of every token `[B,G,K,D]`.
    Whole(Box<Tensor<4>>),
    /// Of one sequence, what is left of each key–value head.
    Parts(Vec<Part>, usize),
}

/// Rows of one head, and the positions they belong to.
#[derive(Debug, Clone, Default)]
struct Part {
    positions: Vec<usize>,
    /// `[rows][D]`
    rows: Vec<f32>,
}

/// What one step may read of earlier ones.
pub(super) struct Past<'a> {
    pub(super) memories: &'a mut Memories,
    /// Absent in a pass over whole sequences.
    pub(super) keys: Option<&'a mut Layers>,
    /// What a pass over whole sequences shows in place of keys and values that a decode would have corrected by then.
    pub(super) corrected: Option<Corrected>,
}

impl KeyValues {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tokens have been seen.
    pub fn tokens(&self) -> usize {
        self.layers.0.first().map_or(0, |layer| layer.tokens)
    }

    /// Numbers that are held of keys and values.
    pub fn numbers(&self) -> usize {
        self.layers.0.iter().flat_map(Layer::sides).map(Side::numbers).sum()
    }

    /// Numbers that mechanisms hold beside them.
    pub fn remembered(&self) -> usize {
        self.memories.words() + self.corrections.words()
    }

    /// Keys of one layer `[1,G,K,D]`; none where some were dropped.
    pub fn keys(&self, layer: usize) -> Option<Array> {
        match &self.layers.0.get(layer)?.keys {
            Side::Whole(rows) => Some(host(rows.to_data())),
            Side::Parts(..) => None,
        }
    }

    /// Forgets the keys and values of all tokens from `tokens` on.
    pub(super) fn rewind(&mut self, tokens: usize) {
        for layer in &mut self.layers.0 {
            layer.tokens = layer.tokens.min(tokens);
            layer.sides_mut().for_each(|side| side.rewind(tokens));
        }
    }
}

impl Layers {
    /// Appends the keys and values of new tokens at `layer`; returns those of the whole sequence, `[B,G,K,D]`. With
    /// `in_keys`, values are the last entries of keys and not kept twice.
    pub(super) fn extend(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>, in_keys: bool) -> (Tensor<4>, Tensor<4>) {
        match self.0.get_mut(layer) {
            Some(layer) => {
                let first = layer.tokens;
                layer.tokens += k.dims()[2];
                let k = layer.keys.extend(k, first);
                let v = match &mut layer.values {
                    Values::Own(values) => values.extend(v, first),
                    Values::InKeys(width) => {
                        let end = k.dims()[3];
                        k.clone().slice_dim(3, end - *width..end)
                    }
                };
                (k, v)
            }
            None => {
                let whole = |side: &Tensor<4>| Side::Whole(Box::new(side.clone()));
                let values = if in_keys { Values::InKeys(v.dims()[3]) } else { Values::Own(whole(&v)) };
                self.0.push(Layer { tokens: k.dims()[2], keys: whole(&k), values, needs: None });
                (k, v)
            }
        }
    }

    /// The keys and values of the only layer there is.
    pub(super) fn only(self) -> Option<[Tensor<4>; 2]> {
        let Layer { keys: Side::Whole(k), values, .. } = self.0.into_iter().next()? else { return None };
        let end = k.dims()[3];
        let v = match values {
            Values::Own(Side::Whole(v)) => *v,
            Values::Own(Side::Parts(..)) => return None,
            Values::InKeys(width) => k.clone().slice_dim(3, end - width..end),
        };
        Some([*k, v])
    }

    /// Drops what no query from position `from` on needs of `layer`, which `heads` query heads look at; `needs` is asked
    /// once.
    pub(super) fn drop_unneeded(&mut self, layer: usize, heads: usize, from: usize, needs: impl FnOnce() -> Needs) {
        let Some(Layer { keys, values, needs: known, .. }) = self.0.get_mut(layer) else { return };
        let needs = known.get_or_insert_with(needs);
        if needs.all() {
            return;
        }
        let (values, in_keys) = match values {
            Values::Own(values) => (Some(values), false),
            Values::InKeys(_) => (None, true),
        };
        let sides = [(Some(keys), needs.keys || in_keys && needs.values), (values, needs.values)];
        for (side, wanted) in sides.into_iter().filter_map(|(side, wanted)| Some((side?, wanted))) {
            side.retain(|part, parts, key| {
                let group = heads / parts;
                wanted && needs.holds(part * group..(part + 1) * group, key, from)
            });
        }
    }
}

impl Layer {
    fn sides(&self) -> impl Iterator<Item = &Side> {
        let values = if let Values::Own(values) = &self.values { Some(values) } else { None };
        [&self.keys].into_iter().chain(values)
    }

    fn sides_mut(&mut self) -> impl Iterator<Item = &mut Side> {
        let values = if let Values::Own(values) = &mut self.values { Some(values) } else { None };
        [&mut self.keys].into_iter().chain(values)
    }
}

impl Side {
    fn numbers(&self) -> usize {
        match self {
            Side::Whole(rows) => rows.dims().iter().product(),
            Side::Parts(parts, _) => parts.iter().map(|part| part.rows.len()).sum(),
        }
    }

    /// Appends rows of the tokens from `first` on; returns the whole sequence, ones where a row was dropped.
    fn extend(&mut self, new: Tensor<4>, first: usize) -> Tensor<4> {
        match self {
            Side::Whole(rows) => {
                **rows = Tensor::cat(vec![(**rows).clone(), new], 2);
                (**rows).clone()
            }
            Side::Parts(parts, width) => {
                let ([_, _, count, _], device) = (new.dims(), new.device());
                let new: Vec<f32> = new.into_data().iter().collect();
                for (part, rows) in parts.iter_mut().zip(new.chunks_exact(count * *width)) {
                    part.positions.extend(first..first + count);
                    part.rows.extend_from_slice(rows);
                }
                let tokens = first + count;
                let mut whole = vec![1.0; parts.len() * tokens * *width];
                for (part, whole) in parts.iter().zip(whole.chunks_exact_mut(tokens * *width)) {
                    for (position, row) in part.positions.iter().zip(part.rows.chunks_exact(*width)) {
                        whole[position * *width..][..*width].copy_from_slice(row);
                    }
                }
                Tensor::from_data(TensorData::new(whole, [1, parts.len(), tokens, *width]), &device)
            }
        }
    }

    /// Forgets the rows from position `tokens` on.
    fn rewind(&mut self, tokens: usize) {
        match self {
            Side::Whole(rows) => {
                let left = rows.dims()[2].min(tokens);
                **rows = (**rows).clone().slice_dim(2, 0..left);
            }
            Side::Parts(parts, width) => {
                for part in parts {
                    // Positions grow.
                    let left = part.positions.partition_point(|position| *position < tokens);
                    part.positions.truncate(left);
                    part.rows.truncate(left * *width);
                }
            }
        }
    }

    /// Keeps the rows for which `holds(head, heads, position)`.
    fn retain(&mut self, holds: impl Fn(usize, usize, usize) -> bool) {
        if let Side::Whole(rows) = self {
            let [batch, heads, tokens, width] = rows.dims();
            let lost = (0..heads).any(|head| (0..tokens).any(|position| !holds(head, heads, position)));
            // Several sequences at once are never decoded.
            if !lost || batch != 1 {
                return;
            }
            let values: Vec<f32> = (**rows).clone().into_data().iter().collect();
            let part = |rows: &[f32]| Part { positions: (0..tokens).collect(), rows: rows.to_vec() };
            *self = Side::Parts(values.chunks_exact(tokens * width).map(part).collect(), width);
        }
        if let Side::Parts(parts, width) = self {
            let heads = parts.len();
            for (head, part) in parts.iter_mut().enumerate() {
                let Part { positions, rows } = std::mem::take(part);
                for (position, row) in positions.into_iter().zip(rows.chunks_exact(*width)) {
                    if holds(head, heads, position) {
                        part.positions.push(position);
                        part.rows.extend_from_slice(row);
                    }
                }
            }
        }
    }
}
