//! Whether the sink stays where it is while a text is written: what each new token rests on.
//!
//! Every step draws the likeliest token and looks at the row of the newest token in every head: the mass it puts on position
//! 0, and which position takes most. An even row over t + 1 keys would put 1/(t+1) on each.

use super::exhibit::Drawn;
use super::patterns::Patterns;
use super::study::{Shown, exhibit, grid, mean, sheet, told};
use crate::Result;
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::mechanism::Stack;
use crate::model::CpuModel;
use crate::model::sample::likeliest;

/// What one new token rested on.
struct Step {
    /// Its text.
    token: String,
    /// Mean mass of all heads on position 0.
    first: f32,
    /// The position with most mass, and that mass.
    strongest: (usize, f32),
    /// 1/(t+1).
    null: f32,
}

/// A continuation that is watched.
pub struct Tracking {
    stack: Stack,
    seed: u64,
    tokens: Vec<u32>,
    most: usize,
    text: Vec<String>,
    ended: bool,
    steps: Vec<Step>,
}

impl Tracking {
    /// Writes at most `most` tokens behind `tokens`; `text` is what each token of the vocabulary reads.
    pub fn new(stack: Stack, seed: u64, tokens: Vec<u32>, most: usize, text: Vec<String>) -> Self {
        Self { stack, seed, tokens, most, text, ended: false, steps: Vec::new() }
    }

    /// Tokens that are watched at most.
    pub fn all(&self) -> usize {
        self.most
    }

    /// Looks at the newest token, and writes the next.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn step(&mut self, model: &CpuModel) -> Result<()> {
        let count = self.tokens.len();
        if self.ended || count > model.config().context {
            return Ok(());
        }
        let (layers, heads) = (model.config().layers, model.config().heads);
        let mut captures = ActivationCache::new(Selection::sites(&[Site::Pattern]));
        let logits = model.run(&[&self.tokens], &self.stack, self.seed, &mut captures)?;
        let mut data = Vec::new();
        for layer in 0..layers {
            data.extend_from_slice(&captures.get(layer, Site::Pattern)?.data);
        }
        let array = Array::new([layers, heads, count, count], data)?;
        let patterns = Patterns::new(&array, None, None)?;
        let rows: Vec<Vec<f32>> = patterns.iter().map(|rows| rows.shares(count - 1)).collect();
        let masses: Vec<f32> = (0..count).map(|key| mean(rows.iter().map(|row| row[key]))).collect();
        let strongest = (0..count).max_by(|a, b| masses[*a].total_cmp(&masses[*b])).unwrap_or(0);
        let newest = self.tokens.last().and_then(|id| self.text.get(*id as usize)).cloned().unwrap_or_default();
        self.steps.push(Step {
            token: newest.replace(' ', "·").replace('\n', "↵"),
            first: masses[0],
            strongest: (strongest, masses[strongest]),
            null: 1.0 / count as f32,
        });
        let vocabulary = model.config().vocabulary;
        let next = likeliest(&logits.data[logits.data.len() - vocabulary..]);
        self.ended = model.config().ends(next) || count == model.config().context;
        self.tokens.push(next);
        Ok(())
    }

    /// The finding in words, and its drawing.
    pub fn show(&self) -> Shown {
        let (Some(first), Some(last)) = (self.steps.first(), self.steps.last()) else {
            return (None, Vec::new());
        };
        let at_first = self.steps.iter().filter(|step| step.strongest.0 == 0).count();
        let verdict = told([first.first, last.first, last.first / last.null], || {
            format!(
                "While {} tokens are written, the mass of the newest token on position 0 goes from {:.2} to {:.2}, {:.0} × an even \
             row at the end. Position 0 takes most in {at_first} of {} steps.",
                self.steps.len(),
                first.first,
                last.first,
                last.first / last.null,
                self.steps.len()
            )
        });
        let row = |read: &dyn Fn(&Step) -> f32| self.steps.iter().map(read).collect::<Vec<f32>>();
        let values = [row(&|step| step.first), row(&|step| step.strongest.1), row(&|step| step.null)].concat();
        let down = ["position 0", "strongest position", "even row"].map(String::from).to_vec();
        let across = self.steps.iter().map(|step| step.token.clone()).collect();
        let masses = grid(("mass on", down), ("token", across), vec![sheet("mass", "mass", "", values)]);
        let names = self.steps.iter().map(|step| step.token.clone()).collect();
        let places = row(&|step| step.strongest.0 as f32);
        let where_ =
            grid(("place", vec!["strongest".into()]), ("token", names), vec![sheet("place", "position", "", places)]);
        let caption = "Mean over all heads of the newest token’s row, as the text is written.";
        let mut exhibits = vec![exhibit("mass", "What each new token rests on", caption, Drawn::Lines, masses)];
        let caption = "The position that takes most of each token’s weight: 0 while the sink stays.";
        exhibits.push(exhibit("place", "Where the strongest position is", caption, Drawn::Lines, where_));
        (verdict, exhibits)
    }
}
