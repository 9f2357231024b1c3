//! Retrieval heads, and what is lost without them.
//!
//! Heads are scored on passages that are answered right ([`crate::lens::retrieval`]). Then the strongest are made to look
//! everywhere alike, as the reference masks them, and as many others at random; needles are asked, and facts, which are in
//! the weights and should not suffer.
//!
//! Source: Wu et al., "Retrieval Head Mechanistically Explains Long-Context Factuality", 2024 (paper 29), text and code.

pub mod replay;

use super::{Circuit, Counts, Given, Prompt, in_percent, percent, strongest};
use crate::Result;
use crate::experiment::{Head, Removal};
use crate::hook::Site;
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Fact, Grid};
use crate::lens::ranks::correlation;
use crate::lens::retrieval::{Passage, RETRIEVAL, retrieved};
use crate::lens::study::{Shown, exhibit, grid, mean, sheet};
use crate::model::CpuModel;
use crate::train::circuits::score::judge;
use crate::train::circuits::{Draw, Task};
use replay::Replay;

/// Passages, their lengths and depths.
const PASSAGES: usize = 20;
const LENGTHS: [usize; 2] = [64, 128];
const DEPTHS: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Needles and facts that are asked without heads.
const ASKED: usize = 16;
/// Heads that look everywhere alike.
const MASKED: [usize; 5] = [1, 2, 4, 6, 8];
/// Random groups of each size.
const RANDOM: usize = 4;

/// The study.
pub struct Retrieving {
    given: Given,
    passages: Vec<Prompt>,
    needles: Vec<Prompt>,
    facts: Vec<Prompt>,
    /// Scores of each passage answered right, head by head; and which half of the passages it was.
    scores: Vec<(usize, Vec<f32>)>,
    sets: Vec<Vec<Head>>,
    needle: Counts,
    fact: Counts,
    replay: Option<Replay>,
}

impl Retrieving {
    /// Passages and facts nobody was trained on, as far as facts can be that.
    pub fn new(given: Given) -> Self {
        let mut draw = Draw::new(given.seed);
        let mut passage = |at: usize, length: usize| {
            let inner = crate::train::circuits::Given { words: &given.circuits.words, longest: given.config.context };
            given.held_out(|| given.circuits.needle.item(&inner, &mut draw, length, DEPTHS[at % DEPTHS.len()]))
        };
        let passages = (0..PASSAGES).map(|at| passage(at, LENGTHS[at / DEPTHS.len() % 2])).collect();
        let needles = (0..ASKED).map(|at| passage(at, LENGTHS[0])).collect();
        let fact = |at: usize| {
            given.prompt(given.circuits.item(Task::Facts, crate::train::circuits::Split::HeldOut, 64, at as u64))
        };
        let facts = (0..ASKED).map(fact).collect();
        Self {
            passages,
            needles,
            facts,
            scores: Vec::new(),
            sets: Vec::new(),
            needle: Counts::default(),
            fact: Counts::default(),
            replay: None,
            given,
        }
    }

    fn means(&self, half: Option<usize>) -> Vec<f32> {
        let heads = self.given.config.layers * self.given.config.heads;
        let of = |head: usize| {
            mean(self.scores.iter().filter(|(at, _)| half.is_none_or(|half| at % 2 == half)).map(|(_, all)| all[head]))
        };
        (0..heads).map(of).collect()
    }

    fn score(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let prompt = &self.passages[at];
        // The answers are read in their places, so that every one is asked after the right one before it.
        let base = self.given.base(model, prompt, &[Site::Pattern])?;
        let right = |(question, query): (&_, &usize)| judge(question, base.logits.at(*query)).right;
        let span = (prompt.places("needle"), prompt.places("needle_end"));
        let all = prompt.item.questions.iter().zip(&prompt.queries).all(right);
        if let (true, Some(first), Some(last)) = (all, span.0.first(), span.1.last()) {
            let tokens: Vec<u32> = [&prompt.tokens[..prompt.lead], &prompt.item.tokens].concat();
            let passage = Passage { tokens: &tokens, needle: *first..*last + 1, queries: &prompt.queries };
            let mut scores = Vec::new();
            for layer in 0..self.given.config.layers {
                scores.extend(retrieved(&passage, base.captures.get(layer, Site::Pattern)?));
            }
            self.scores.push((at, scores));
        }
        if at + 1 == PASSAGES {
            let order = strongest(&self.means(None));
            let heads = self.given.heads();
            let mut draw = Draw::new(self.given.seed ^ 1);
            let top = |count: usize| order.iter().take(count).map(|at| heads[*at]).collect::<Vec<_>>();
            let found: Vec<Head> = top(MASKED[MASKED.len() - 1]);
            let random = MASKED
                .map(|count| (0..RANDOM).map(|_| self.given.others(&mut draw, count, &found)).collect::<Vec<_>>());
            let own = std::iter::once(Vec::new()).chain(MASKED.map(top));
            self.sets = own.chain(random.into_iter().flatten()).collect();
        }
        Ok(())
    }

    /// One needle and one fact without each group.
    fn ask(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        // The first word of the code, which nothing after the question gives away; the fact that is asked last.
        let last = self.facts[at].queries.len() - 1;
        let asked = [(&self.needles[at], &mut self.needle, 0), (&self.facts[at], &mut self.fact, last)];
        for (prompt, counts, which) in asked {
            let base = self.given.base(model, prompt, &[])?;
            let (query, asked) = (prompt.queries[which], prompt.item.questions.get(which));
            let each = |set: usize, logits: &[f32], _: &_| {
                counts.note(set, asked.is_some_and(|asked| judge(asked, logits).right));
            };
            self.given.without(model, (&base, query), &self.sets, Removal::Uniform, each, &[])?;
        }
        Ok(())
    }
}

impl Circuit for Retrieving {
    fn all(&self) -> usize {
        PASSAGES + 1 + ASKED
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        match at.checked_sub(PASSAGES) {
            None => self.score(model, at),
            Some(0) => {
                // A short passage that is answered right, else any.
                let right = self.scores.first().map_or(0, |(at, _)| *at);
                self.replay = Some(Replay::new(&self.given, model, &self.passages[right])?);
                Ok(())
            }
            Some(at) => self.ask(model, at - 1),
        }
    }

    fn show(&self) -> Shown {
        let scores = self.means(None);
        let heads = self.given.heads();
        let often = |head: usize| mean(self.scores.iter().map(|(_, all)| f32::from(u8::from(all[head] > 0.1))));
        let passing = scores.iter().filter(|score| **score >= RETRIEVAL.threshold).count();
        let [down, across] = self.given.axes();
        let facts = vec![
            Fact::new("right", "Passages answered right", self.scores.len() as f32, ""),
            Fact::new("heads", "Heads at 0.1 or above", passing as f32, ""),
            Fact::new(
                "halves",
                "Correlation of two halves",
                correlation(&self.means(Some(0)), &self.means(Some(1))),
                "",
            ),
        ];
        let sheets = vec![
            sheet("score", "Retrieval score", "", scores.clone()),
            percent("often", "Passages on which it retrieves", (0..heads.len()).map(often)),
        ];
        let who = Grid { down, across, sheets, facts, notes: Vec::new() };
        let mut exhibits = vec![exhibit("retrieval.heads", "Retrieval heads", RETRIEVAL.help, Drawn::Cells, who)];
        let order = strongest(&scores);
        let names: Vec<String> = order.iter().take(3).map(|at| heads[*at].to_string()).collect();
        let mut verdict = format!(
            "{} of {} passages are answered right; {passing} of {} heads retrieve, first of all {}.",
            self.scores.len(),
            self.passages.len(),
            heads.len(),
            names.join(", "),
        );
        if !self.needle.0.is_empty() {
            let random = |counts: &Counts, at: usize| {
                let first = 1 + MASKED.len() + at * RANDOM;
                counts.mean(first..first + RANDOM)
            };
            let line = |of: &dyn Fn(usize) -> f32, whole: f32| {
                std::iter::once(whole).chain((0..MASKED.len()).map(of)).collect::<Vec<_>>()
            };
            let lines = [
                line(&|at| self.needle.share(1 + at), self.needle.share(0)),
                line(&|at| random(&self.needle, at), self.needle.share(0)),
                line(&|at| self.fact.share(1 + at), self.fact.share(0)),
            ]
            .concat();
            let rows = ["needles", "needles, random", "facts"].map(String::from).to_vec();
            let across = std::iter::once(0).chain(MASKED).map(|count| count.to_string()).collect();
            exhibits.push(exhibit(
                "retrieval.masked",
                "Without the strongest heads",
                "Share answered right when the strongest heads, or as many others at random, look everywhere alike. Facts stand \
                 in the weights, not in the passage.",
                Drawn::Lines,
                grid(("asked", rows), ("heads masked", across), vec![percent("right", "Answered right", lines)]),
            ));
            let most = MASKED[MASKED.len() - 1];
            verdict += &format!(
                " Without the {most} strongest, {} of the needles are found ({} without as many others, {} by the whole model), and {} of \
                 the facts are known ({} before).",
                in_percent(self.needle.share(MASKED.len())),
                in_percent(random(&self.needle, MASKED.len() - 1)),
                in_percent(self.needle.share(0)),
                in_percent(self.fact.share(MASKED.len())),
                in_percent(self.fact.share(0)),
            );
        }
        if let Some(replay) = &self.replay {
            let (told, drawn) = replay.show(&self.given, &order, &heads);
            exhibits.extend(drawn);
            verdict += &told;
        }
        ((!self.scores.is_empty()).then_some(verdict), exhibits)
    }
}
