//! Step-by-step decoding: keys and values of the tokens so far, so that one more token costs one row, and what mechanisms
//! remember beside them.
//!
//! What no later query needs is dropped, see [`Needs`]: a head that sees four sinks and a window holds no more rows than
//! these, whatever the length of the text. Attention is still computed over the whole sequence, where rows that were dropped
//! stand as ones: nobody may look at them, and some operators divide by the length of a key.

use super::needs::Needs;
use crate::mechanism::Memories;
use burn::tensor::{Tensor, TensorData};

/// What a growing sequence leaves behind.
#[derive(Debug, Clone, Default)]
pub struct KeyValues {
    /// Keys and values of every layer.
    pub(super) layers: Layers,
    /// What mechanisms carry from step to step.
    pub(super) memories: Memories,
}

/// Keys (rotated) and values of every layer, growing with the sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(Vec<Layer>);

#[derive(Debug, Clone)]
struct Layer {
    tokens: usize,
    keys: Side,
    values: Side,
    /// Known once the layer was first asked to drop something.
    needs: Option<Needs>,
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
        self.layers.0.iter().map(|layer| layer.keys.numbers() + layer.values.numbers()).sum()
    }

    /// Numbers that mechanisms hold beside them.
    pub fn remembered(&self) -> usize {
        self.memories.words()
    }
}

impl Layers {
    /// Appends the keys and values of new tokens at `layer`; returns those of the whole sequence, `[B,G,K,D]`.
    pub(super) fn extend(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match self.0.get_mut(layer) {
            Some(layer) => {
                let first = layer.tokens;
                layer.tokens += k.dims()[2];
                (layer.keys.extend(k, first), layer.values.extend(v, first))
            }
            None => {
                let (keys, values) = (Side::Whole(Box::new(k.clone())), Side::Whole(Box::new(v.clone())));
                self.0.push(Layer { tokens: k.dims()[2], keys, values, needs: None });
                (k, v)
            }
        }
    }

    /// Drops what no query behind the last token needs of `layer`, which `heads` query heads look at; `needs` is asked
    /// once.
    pub(super) fn drop_unneeded(&mut self, layer: usize, heads: usize, needs: impl FnOnce() -> Needs) {
        let Some(Layer { tokens, keys, values, needs: known }) = self.0.get_mut(layer) else { return };
        let needs = known.get_or_insert_with(needs);
        if needs.all() {
            return;
        }
        let last = tokens.saturating_sub(1);
        for (side, wanted) in [(keys, needs.keys), (values, needs.values)] {
            side.retain(|part, parts, key| {
                let group = heads / parts;
                wanted && needs.holds(part * group..(part + 1) * group, key, last)
            });
        }
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
