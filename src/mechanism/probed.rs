//! What an input that is measured on the model may look at.

use super::{Stack, by_id};
use crate::hook::Array;
use crate::spec::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// Attention of the plain model on random tokens that stand twice, so that position and content can be told apart.
///
/// A probe is `lead` tokens, `half` different tokens in random order, and the same again. At query q of the second half
/// the same token stood at q - half, and what came after it, which a head that retrieves looks up, at q - half + 1.
#[derive(Debug, Clone, Default)]
pub struct Probed {
    /// Number of layers L.
    pub layers: usize,
    /// Number of query heads H.
    pub heads: usize,
    /// Number of key–value heads G.
    pub kv_heads: usize,
    /// Tokens before the first half: 1 with a token that begins a text, else 0.
    pub lead: usize,
    /// Tokens of one half.
    pub half: usize,
    /// Weights of every head on each probe, `[L,H,Q,K]` with Q = K = lead + 2 · half.
    pub patterns: Vec<Array>,
    /// Head width D.
    pub width: usize,
    /// Whether queries and keys turn by position.
    pub rotates: bool,
    /// Weights of every head on ordinary texts of one length, `[L,H,Q,K]` each.
    pub texts: Vec<Array>,
    /// Values of every key–value head on each probe, and on each of these texts, `[L,G,K,D]`.
    pub values: [Vec<Array>; 2],
    /// Of each layer and key–value head the products `[G,D,D]` of the rows of its value projection with each other.
    pub value_rows: Vec<Array>,
    /// Of each layer the second moments `[2·G·D,2·G·D]` over these texts of keys and values side by side: entries of keys
    /// that turn together D/2 apart, before they turn.
    pub moments: Vec<Array>,
    /// What a mechanism may try on the model itself.
    pub trial: Trial,
    /// Even noise in 0..1, one value per layer and key–value head, seeded by the experiment.
    pub noise: Vec<f32>,
}

/// The loss of the model on ordinary text under one mechanism, in nats per token; asked twice it answers from memory.
#[derive(Clone, Default)]
pub struct Trial {
    run: Option<Rc<Loss>>,
    known: Rc<RefCell<BTreeMap<String, Option<f32>>>>,
}

/// What a stack costs.
type Loss = dyn Fn(&Stack) -> Option<f32>;

impl Trial {
    /// Asks `run` for the loss of a stack.
    pub fn new(run: impl Fn(&Stack) -> Option<f32> + 'static) -> Self {
        Self { run: Some(Rc::new(run)), known: Rc::default() }
    }

    /// The loss with the mechanism `id` at `values` alone; absent where there is no model, or no such mechanism.
    pub fn loss(&self, id: &str, values: Vec<Value>) -> Option<f32> {
        let run = self.run.as_ref()?;
        let key = format!("{id} {values:?}");
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let loss = run(&Stack::alone(by_id(id).ok()?, values).ok()?);
        self.known.borrow_mut().insert(key, loss);
        loss
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Probed {
    /// The mean of `score(weights of a row, its query)` over the second halves of all probes, for each key–value head: of
    /// the query heads that share it the largest, since what one of them needs must be kept. `[L·G]`, layer by layer.
    pub fn needs(&self, score: impl Fn(&[f32], usize) -> f32) -> Vec<f32> {
        let tokens = self.lead + 2 * self.half;
        let group = (self.heads / self.kv_heads.max(1)).max(1);
        let head = |index: usize| {
            let rows = self.patterns.iter().flat_map(|pattern| {
                let start = (index * tokens + self.lead + self.half) * tokens;
                let rows = pattern.data.get(start..(index + 1) * tokens * tokens).unwrap_or(&[]);
                rows.chunks(tokens.max(1)).enumerate()
            });
            let (sum, count) = rows.fold((0.0, 0), |(sum, count), (row, weights)| {
                (sum + f64::from(score(weights, self.lead + self.half + row)), count + 1)
            });
            (sum / f64::from(count.max(1))) as f32
        };
        let heads: Vec<f32> = (0..self.layers * self.heads).map(head).collect();
        heads.chunks(group).map(|group| group.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect()
    }
}

/// Places of values in their order, evenly spread over 0..1: the smallest of n becomes 1/2n, the largest 1 - 1/2n. Equal
/// values keep their order.
///
/// ```
/// # use attnscope::mechanism::places;
/// assert_eq!(places(&[0.3, 0.1, 7.0, 0.3]), [0.375, 0.125, 0.875, 0.625]);
/// ```
pub fn places(values: &[f32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut places = vec![0.0; values.len()];
    for (place, index) in order.into_iter().enumerate() {
        places[index] = (place as f32 + 0.5) / values.len() as f32;
    }
    places
}
