//! Circuits: studies of heads and layers on tasks with exact answers, each with what the model loses when they are edited.
//!
//! Items are those of [`crate::train::circuits`], which `circuits-2m` was taught; another model is asked them when all their
//! words are single tokens of it, and refused by name otherwise.

pub mod anchors;
pub mod calibrating;
pub mod letters;
pub mod listing;
pub mod recall;
pub mod retrieving;
pub mod safety;

use super::base::{Again, Base};
use super::causal::{Removal, Without};
use super::finding::{Axis, Sheet};
use super::readout::Readout;
use super::study::{Shown, sheet};
use crate::Result;
use crate::experiment::{Head, Instruments};
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::mechanism::Stack;
use crate::model::{Config, CpuModel, Weights};
use crate::train::circuits::{Circuits, Draw, Item, Split};

/// Rows of one batch.
pub(crate) const ROWS: usize = 12;

/// A study of circuits under way.
pub trait Circuit {
    /// Steps in all.
    fn all(&self) -> usize;
    /// Takes step `at`.
    ///
    /// # Errors
    /// Those of the passes.
    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()>;
    /// What was found so far: in words, and drawn.
    fn show(&self) -> Shown;
}

/// What every study of circuits is given.
pub struct Given {
    /// Sizes and choices of the model.
    pub config: Config,
    /// Its weights.
    pub weights: Weights,
    /// The end of the model.
    pub readout: Readout,
    /// Mechanisms of the pane.
    pub stack: Stack,
    /// Seed of items and draws.
    pub seed: u64,
    /// Where items come from.
    pub circuits: Circuits,
    /// Every token as text.
    pub text: Vec<String>,
    /// The pinned head.
    pub pin: Head,
    /// What the study is set to; only what its analysis reads counts.
    pub set: Instruments,
}

/// An item as the model reads it.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Its tokens before the last question, the beginning token before them.
    pub tokens: Vec<u32>,
    /// How many tokens stand before the item.
    pub lead: usize,
    /// The query that predicts each answer.
    pub queries: Vec<usize>,
    /// The item.
    pub item: Item,
}

impl Prompt {
    /// The query of the only, or last, question.
    pub fn query(&self) -> usize {
        self.queries.last().copied().unwrap_or(0)
    }

    /// Its right answer.
    pub fn answer(&self) -> u32 {
        self.item.questions.last().and_then(|question| question.answers.first()).copied().unwrap_or_default()
    }

    /// Where tokens of a part stand.
    pub fn places(&self, part: &str) -> Vec<usize> {
        self.item.places(part).into_iter().map(|at| at + self.lead).collect()
    }
}

impl Given {
    /// An item as the model reads it.
    pub fn prompt(&self, item: Item) -> Prompt {
        let bos: Vec<u32> = self.config.bos.into_iter().collect();
        let last = item.questions.last().map_or(0, |question| question.at).min(item.tokens.len());
        let tokens: Vec<u32> = bos.iter().chain(&item.tokens[..last]).copied().collect();
        let queries = item.questions.iter().map(|question| bos.len() + question.at - 1).collect();
        Prompt { tokens, lead: bos.len(), queries, item }
    }

    /// The same prompt behind answered examples, which stand right after the beginning token.
    pub fn after(&self, examples: &[u32], mut prompt: Prompt) -> Prompt {
        prompt.tokens.splice(prompt.lead..prompt.lead, examples.iter().copied());
        prompt.lead += examples.len();
        prompt.queries.iter_mut().for_each(|query| *query += examples.len());
        prompt
    }

    /// The first item that nobody was trained on of those that `draw` makes.
    pub fn held_out(&self, mut draw: impl FnMut() -> Item) -> Prompt {
        let mut item = draw();
        // One draw in sixteen is held out.
        for _ in 0..800 {
            if Split::of(&item) == Split::HeldOut {
                break;
            }
            item = draw();
        }
        self.prompt(item)
    }

    /// The token that is this text.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.text.iter().position(|own| own == text).map(|id| id as u32)
    }

    /// One pass that is kept.
    pub fn base(&self, model: &CpuModel, prompt: &Prompt, also: &[Site]) -> Result<Base> {
        Base::new(model, &self.stack, self.seed, &prompt.tokens, also)
    }

    /// Passes that start from a kept one.
    pub fn again<'a>(&'a self, model: &'a CpuModel, base: &'a Base) -> Again<'a> {
        Again { model, stack: &self.stack, seed: self.seed, base }
    }

    /// Logits `[V]` at the last question without each set of heads; `seen` may keep something of the passes, row by row.
    pub fn without(
        &self,
        model: &CpuModel,
        (base, query): (&Base, usize),
        sets: &[Vec<Head>],
        how: Removal,
        mut each: impl FnMut(usize, &[f32], &ActivationCache),
        wants: &[HookPoint],
    ) -> Result<()> {
        let mut order: Vec<usize> = (0..sets.len()).collect();
        // Sets that begin late run together, from where they begin.
        let first = |set: usize| sets[set].iter().map(|head| head.layer).min().unwrap_or(self.config.layers);
        order.sort_by_key(|set| first(*set));
        for chunk in order.chunks(ROWS) {
            let rows: Vec<Vec<Head>> = chunk.iter().map(|set| sets[*set].clone()).collect();
            let from = chunk.iter().map(|set| first(*set)).min().unwrap_or(self.config.layers);
            // What is looked at must be passed through.
            let from = wants.iter().map(|at| at.layer).min().unwrap_or(from).min(from);
            let mut tap = Watched::new(Without { rows: &rows, how, donor: None }, wants);
            let logits = self.again(model, base).from(from, rows.len(), Some(query), |_, _| {}, &mut tap)?;
            for (row, set) in chunk.iter().enumerate() {
                let mut one = ActivationCache::new(Selection::default());
                one.values = row_of(&tap.seen, row);
                each(*set, logits.at(row), &one);
            }
        }
        Ok(())
    }

    /// Every head, layer by layer.
    pub fn heads(&self) -> Vec<Head> {
        let heads = self.config.heads;
        (0..self.config.layers * heads).map(|at| Head { layer: at / heads, head: at % heads }).collect()
    }

    /// `count` heads out of those not in `unless`, in random order.
    pub fn others(&self, draw: &mut Draw, count: usize, unless: &[Head]) -> Vec<Head> {
        let mut pool: Vec<Head> = self.heads().into_iter().filter(|head| !unless.contains(head)).collect();
        draw.shuffle(&mut pool);
        pool.truncate(count);
        pool
    }

    /// Layers down, heads across.
    pub fn axes(&self) -> [Axis; 2] {
        [
            Axis::new("layer", (0..self.config.layers).map(|layer| format!("L{layer}"))),
            Axis::new("head", (0..self.config.heads).map(|head| format!("H{head}"))),
        ]
    }
}

/// One row of every kept activation.
fn row_of(seen: &ActivationCache, row: usize) -> std::collections::BTreeMap<HookPoint, Array> {
    let one = |(at, value): (&HookPoint, &Array)| {
        let shape = value.shape.get(1..).unwrap_or(&[]).to_vec();
        (*at, Array { shape, data: value.at(row).to_vec() })
    };
    seen.values.iter().map(one).collect()
}

/// A tap that edits, and what is kept of the edited pass.
pub struct Watched<T> {
    /// What edits.
    pub edits: T,
    /// What is kept.
    pub seen: ActivationCache,
}

impl<T> Watched<T> {
    /// Keeps these points beside what `edits` does.
    pub fn new(edits: T, wants: &[HookPoint]) -> Self {
        let selection = wants.iter().fold(Selection::default(), |selection, at| selection.with(*at));
        Self { edits, seen: ActivationCache::new(selection) }
    }
}

impl<T: Tap> Tap for Watched<T> {
    fn wants(&self, at: HookPoint) -> bool {
        self.edits.wants(at) || self.seen.wants(at)
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        let edited = if self.edits.wants(at) { self.edits.visit(at, value) } else { None };
        if self.seen.wants(at) {
            self.seen.visit(at, edited.as_ref().unwrap_or(value));
        }
        edited
    }
}

/// The largest first: indices of numbers that are there.
pub fn strongest(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).filter(|at| values[*at].is_finite()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    order
}

/// Right answers and answers in all, one pair for each thing that was tried.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts(pub Vec<(usize, usize)>);

impl Counts {
    /// Notes one answer.
    pub fn note(&mut self, at: usize, right: bool) {
        if self.0.len() <= at {
            self.0.resize(at + 1, (0, 0));
        }
        self.0[at] = (self.0[at].0 + usize::from(right), self.0[at].1 + 1);
    }

    /// The share of right ones; NaN before the first.
    pub fn share(&self, at: usize) -> f32 {
        self.0.get(at).map_or(f32::NAN, |(right, all)| *right as f32 / *all as f32)
    }

    /// The mean share over a range.
    pub fn mean(&self, range: std::ops::Range<usize>) -> f32 {
        super::study::mean(range.map(|at| self.share(at)).filter(|share| share.is_finite()))
    }
}

/// Whether one token is likelier than each of the others.
pub fn leads(logits: &[f32], token: u32, others: &[u32]) -> bool {
    margin(logits, token, others) > 0.0
}

/// A token's logit less the largest of the others'.
pub fn margin(logits: &[f32], token: u32, others: &[u32]) -> f32 {
    let of = |id: &u32| logits.get(*id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    of(&token) - others.iter().filter(|other| **other != token).map(of).fold(f32::NEG_INFINITY, f32::max)
}

/// The likeliest token.
pub fn likeliest(logits: &[f32]) -> u32 {
    strongest(logits).first().map_or(0, |id| *id as u32)
}

/// A sheet in percent.
pub(crate) fn percent(id: &str, name: &str, shares: impl IntoIterator<Item = f32>) -> Sheet {
    sheet(id, name, "%", shares.into_iter().map(|share| 100.0 * share).collect())
}

/// A share in words.
pub(crate) fn in_percent(share: f32) -> String {
    if share.is_finite() { format!("{:.0} %", 100.0 * share) } else { "–".into() }
}
