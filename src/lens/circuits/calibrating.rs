//! Which heads are better calibrated: the search that attention calibration (ACT) makes once for each model.
//!
//! Sinks beyond the first token are turned down in one head alone, on items with exact answers. On one half of the items heads
//! are chosen whose calibration answers more of them right, or as many with a larger probability; the other half judges. All
//! heads together, and in all heads the keys right behind the sinks, stand beside them.
//!
//! Source: Yu et al., "Unveiling and Harnessing Hidden Attention Sinks", 2024 (paper 37): β = 0.4 from the authors' code, the
//! threshold relative. Items, the probability and the two halves are ours.

use super::{Circuit, Counts, Given, Prompt, in_percent, percent, strongest};
use crate::Result;
use crate::experiment::Head;
use crate::lens::base::{Again, Base};
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Fact, Grid};
use crate::lens::study::{Shown, exhibit, grid, mean, sheet, spread, told};
use crate::mechanism::Stack;
use crate::model::CpuModel;
use crate::train::circuits::score::judge;
use crate::train::circuits::{Split, Task};

/// Items of each half.
const HALF: usize = 24;
/// Tasks that copy from afar, and how long their items are at most.
const TASKS: [Task; 3] = [Task::Recall, Task::Choice, Task::Needle];
const LONGEST: usize = 128;

/// Stacks to try.
pub struct Stacks {
    /// Attention as the model was trained.
    pub plain: Stack,
    /// One head alone each, layer by layer.
    pub alone: Vec<Stack>,
    /// Every head.
    pub all: Stack,
    /// In every head the keys behind the sinks.
    pub beside: Stack,
}

/// The search.
pub struct Calibrating {
    given: Given,
    stacks: Stacks,
    items: Vec<Prompt>,
    /// Of each half: right answers of the model as it is, without each head's sinks, of all and of the control.
    right: [Counts; 2],
    /// Probability of the right answer less that of the model as it is, item by item.
    gains: [Vec<Vec<f32>>; 2],
}

impl Calibrating {
    /// Items nobody was trained on, both halves alike.
    pub fn new(given: Given, stacks: Stacks) -> Self {
        let longest = LONGEST.min(given.config.context - 1);
        let item = |at: usize| {
            let seed = given.seed.wrapping_add(at as u64);
            given.prompt(given.circuits.item(TASKS[at / 2 % TASKS.len()], Split::HeldOut, longest, seed))
        };
        let items = (0..2 * HALF).map(item).collect();
        let subjects = stacks.alone.len() + 2;
        let gains = [vec![Vec::new(); subjects], vec![Vec::new(); subjects]];
        Self { given, stacks, items, right: [Counts::default(), Counts::default()], gains }
    }

    /// Heads in the order of the calibration half: most answers right, then the largest probability.
    fn order(&self) -> Vec<usize> {
        let score = |head: usize| {
            let gain = mean(self.gains[0][head].iter().copied());
            // A probability is less than one answer.
            self.right[0].share(1 + head) * HALF as f32 + gain
        };
        strongest(&(0..self.stacks.alone.len()).map(score).collect::<Vec<_>>())
    }
}

impl Circuit for Calibrating {
    fn all(&self) -> usize {
        self.items.len()
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (given, prompt, half) = (&self.given, &self.items[at], at % 2);
        let base = Base::new(model, &self.stacks.plain, given.seed, &prompt.tokens, &[])?;
        let (query, asked) = (prompt.query(), prompt.item.questions.last());
        let right = |logits: &[f32]| asked.is_some_and(|asked| judge(asked, logits).right);
        let probability = |logits: &[f32]| {
            let row = crate::hook::Array { shape: vec![1, logits.len()], data: logits.to_vec() };
            let logs = crate::engine::log_probabilities(&row);
            logs.data.get(prompt.answer() as usize).map_or(f32::NAN, |log| log.exp())
        };
        let before = probability(base.logits.at(query));
        self.right[half].note(0, right(base.logits.at(query)));
        let heads = given.config.heads;
        let alone = self.stacks.alone.iter().enumerate().map(|(head, stack)| (head / heads, stack));
        let subjects = alone.chain([(0, &self.stacks.all), (0, &self.stacks.beside)]);
        for (subject, (layer, stack)) in subjects.enumerate() {
            let again = Again { model, stack, seed: given.seed, base: &base };
            let mut nobody = crate::hook::ActivationCache::new(crate::hook::Selection::default());
            let logits = again.from(layer, 1, Some(query), |_, _| {}, &mut nobody)?;
            self.right[half].note(1 + subject, right(logits.at(0)));
            self.gains[half][subject].push(probability(logits.at(0)) - before);
        }
        Ok(())
    }

    fn show(&self) -> Shown {
        let heads = self.given.heads();
        let count = heads.len();
        let gain = |half: usize, subject: usize| spread(&self.gains[half][subject]);
        let points = |half: usize, subject: usize| self.right[half].share(1 + subject) - self.right[half].share(0);
        let [down, across] = self.given.axes();
        let sheets = vec![
            sheet("gain", "Probability of the answer, change", "", (0..count).map(|head| gain(0, head).0).collect()),
            percent("right", "Answers right, change", (0..count).map(|head| points(0, head))),
            sheet(
                "judged",
                "The same probability on the other half",
                "",
                (0..count).map(|head| gain(1, head).0).collect(),
            ),
            sheet("half", "± 95 % on the calibration half", "", (0..count).map(|head| gain(0, head).1).collect()),
        ];
        let better = (0..count).filter(|head| points(0, *head) > 0.0).count();
        let agree = crate::lens::ranks::rank_correlation(&sheets[0].values, &sheets[2].values);
        let facts = vec![
            Fact::new("better", "Heads that answer more right when calibrated alone", better as f32, ""),
            Fact::new("agree", "Rank correlation of both halves", agree, ""),
        ];
        let map = Grid { down, across, sheets, facts, notes: Vec::new() };
        let best = self.order().first().copied().unwrap_or(0);
        let name = |head: Head| format!("{head} alone");
        let subjects = [best, count, count + 1];
        let names = [
            heads.get(best).map_or(String::new(), |head| name(*head)),
            "all heads".into(),
            "keys beside, all heads".into(),
        ];
        let table = |read: &dyn Fn(usize, usize) -> f32| {
            (0..2).flat_map(|half| subjects.map(|subject| read(half, subject))).collect::<Vec<f32>>()
        };
        let judged = grid(
            ("half", ["that chooses", "that judges"].map(String::from).to_vec()),
            ("calibrated", names.to_vec()),
            vec![
                sheet("gain", "Probability of the answer, change", "", table(&|half, subject| gain(half, subject).0)),
                sheet("half", "± 95 %", "", table(&|half, subject| gain(half, subject).1)),
                percent("right", "Answers right, change", table(&points)),
            ],
        );
        let shown = [gain(1, best).0, gain(1, best).1, gain(1, count).0, gain(1, count + 1).0];
        let verdict = told(shown, || {
            format!(
                "Calibrated alone, {better} of {count} heads answer more right. The best on one half, {}, changes the probability of the \
                 answer on the other by {:+.4} ± {:.4}; all heads by {:+.4}, the keys beside the sinks by {:+.4}. {} are right as it is: {}.",
                heads[best],
                shown[0],
                shown[1],
                shown[2],
                shown[3],
                in_percent(self.right[1].share(0)),
                if shown[0] - shown[1] > 0.0 {
                    "it helps here"
                } else {
                    "it helps no more than chance does, unlike in the paper’s large models"
                },
            )
        });
        let exhibits = vec![
            exhibit(
                "calibration.heads",
                "Each head calibrated alone",
                "What turning down its sinks beyond the first token changes, on the half of the items that chooses.",
                Drawn::Cells,
                map,
            ),
            exhibit(
                "calibration.judged",
                "Chosen and judged",
                "The best head was chosen on the first half; only the second says what it is worth.",
                Drawn::Cells,
                judged,
            ),
        ];
        (verdict, exhibits)
    }
}
