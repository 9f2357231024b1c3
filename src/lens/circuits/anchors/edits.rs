//! What is done to the rows of an output projection and to weights on letters, in every row of a batch something else.

use crate::experiment::Head;
use crate::hook::{Array, HookPoint, Site, Tap};

/// One row of a feed-forward's output projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimension {
    /// Its layer.
    pub layer: usize,
    /// Its index.
    pub at: usize,
}

/// What is done to the model in one row of a batch.
#[derive(Debug, Clone, Default)]
pub enum Act {
    /// Nothing.
    #[default]
    Nothing,
    /// These dimensions stop writing the first letter, this strongly.
    Rows(Vec<Dimension>, f32),
    /// These heads look at all letters alike.
    Even(Vec<Head>),
    /// This row of an output projection has a vector added.
    Add(Dimension, Vec<f32>),
    /// Where these heads look more at the first place than at the second, both weights change places.
    Swap(Vec<Head>, [usize; 2]),
}

/// Edits of every row: of a row of an output projection through what it adds, and of the last row of a pattern.
pub struct Edited<'a> {
    /// One for each row.
    pub acts: Vec<&'a Act>,
    /// The row of a pattern that is edited.
    pub query: usize,
    /// Where letters stand.
    pub letters: Vec<usize>,
    /// What [`Act::Rows`] takes out.
    pub anchor: &'a [f32],
    /// What the layer's feed-forward holds before its output projection.
    pub post: Option<Array>,
}

impl Tap for Edited<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        let rows = |act: &&Act| match act {
            Act::Rows(all, _) => all.iter().any(|one| one.layer == at.layer),
            Act::Add(one, _) => one.layer == at.layer,
            _ => false,
        };
        let even = |act: &&Act| match act {
            Act::Even(all) | Act::Swap(all, _) => all.iter().any(|head| head.layer == at.layer),
            _ => false,
        };
        match at.site {
            Site::MlpPost | Site::MlpOut => self.acts.iter().any(rows),
            Site::Pattern => self.acts.iter().any(even),
            _ => false,
        }
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        match at.site {
            Site::MlpPost => {
                self.post = Some(value.clone());
                None
            }
            Site::MlpOut => {
                let post = self.post.take()?;
                let &[_, queries, width] = value.shape.as_slice() else { return None };
                let ffn = *post.shape.last()?;
                let mut edited = value.clone();
                let here = |one: &&Dimension| one.layer == at.layer;
                for (row, act) in self.acts.iter().enumerate() {
                    let on = |place: usize, one: &Dimension| post.data[(row * queries + place) * ffn + one.at];
                    let mut add = |place: usize, times: f32, vector: &[f32]| {
                        let start = (row * queries + place) * width;
                        if let Some(out) = edited.data.get_mut(start..start + width) {
                            out.iter_mut().zip(vector).for_each(|(x, y)| *x += times * y);
                        }
                    };
                    match act {
                        // The row loses the first letter where it is on, whichever sign it is on with.
                        Act::Rows(all, alpha) => all.iter().filter(here).for_each(|one| {
                            (0..queries).for_each(|place| add(place, -alpha * on(place, one).abs(), self.anchor));
                        }),
                        Act::Add(one, vector) if here(&one) => {
                            (0..queries).for_each(|place| add(place, on(place, one), vector));
                        }
                        _ => {}
                    }
                }
                Some(edited)
            }
            _ => {
                let &[_, heads, queries, keys] = value.shape.as_slice() else { return None };
                let mut edited = value.clone();
                for (row, act) in self.acts.iter().enumerate() {
                    let (Act::Even(all) | Act::Swap(all, _)) = act else { continue };
                    for head in all.iter().filter(|head| head.layer == at.layer) {
                        let start = ((row * heads + head.head) * queries + self.query) * keys;
                        let weights = edited.data.get_mut(start..start + keys)?;
                        match act {
                            Act::Swap(_, places) => swap(weights, *places),
                            _ => even(weights, &self.letters),
                        }
                    }
                }
                Some(edited)
            }
        }
    }
}

/// Gives some places of a row their mean; the row's sum stays.
pub fn even(row: &mut [f32], places: &[usize]) {
    let mean = places.iter().filter_map(|at| row.get(*at)).sum::<f32>() / places.len().max(1) as f32;
    places.iter().for_each(|at| {
        if let Some(weight) = row.get_mut(*at) {
            *weight = mean;
        }
    });
}

/// Lets two weights of a row change places where the first is the larger; the row's sum stays.
pub fn swap(row: &mut [f32], [first, second]: [usize; 2]) {
    if row.get(first) > row.get(second) && first.max(second) < row.len() {
        row.swap(first, second);
    }
}
