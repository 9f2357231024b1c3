//! From looking as usual to looking everywhere alike: the first head that Sahara finds, by ε.
//!
//! ```text
//! undifferentiated attention   scores ← ε·scores      (q ← ε·q)      ε → 0: the mean of the values so far
//! scaled contribution          z ← ε·z                               ε → 0: nothing
//! ```
//!
//! ε = 1 changes nothing. Mechanisms that act on scores come before the factor.

use super::shift;
use crate::Result;
use crate::experiment::Head;
use crate::hook::{Array, HookPoint, Site, Tap};
use crate::lens::circuits::{Counts, Given, Prompt, in_percent, likeliest, percent};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::study::{exhibit, grid, mean, sheet};
use crate::mechanism::MASKED;
use crate::model::CpuModel;

/// The factors, the last one as good as nothing.
pub const FACTORS: [f32; 8] = [1.0, 0.5, 0.2, 0.1, 0.03, 0.01, 1e-3, 1e-5];

/// What each factor did, over refused requests.
#[derive(Default)]
pub(super) struct Epsilon {
    /// Ways and factors: scores first.
    ships: Vec<Vec<f32>>,
    answered: Counts,
}

impl Epsilon {
    /// Tries every factor, both ways, on one refused request.
    pub fn step(&mut self, given: &Given, model: &CpuModel, prompt: &Prompt, head: Head) -> Result<()> {
        let query = prompt.query();
        let base = given.base(model, prompt, &[])?;
        let before = base.log_probabilities.at(query).to_vec();
        let mut tap = Softened { head };
        let rows = 2 * FACTORS.len();
        let logits = given.again(model, &base).from(head.layer, rows, Some(query), |_, _| {}, &mut tap)?;
        self.ships.resize(rows, Vec::new());
        for row in 0..rows {
            self.ships[row].push(shift(&before, logits.at(row)));
            self.answered.note(row, likeliest(logits.at(row)) != prompt.answer());
        }
        Ok(())
    }

    /// In words and drawn; nothing before the first request.
    pub fn show(&self, head: Head) -> Option<(String, Exhibit)> {
        if self.ships.is_empty() {
            return None;
        }
        let count = FACTORS.len();
        let ships = self.ships.iter().map(|all| mean(all.iter().copied())).collect();
        let rows = ["scores times ε", "output times ε"].map(String::from).to_vec();
        let across = FACTORS.map(|factor| if factor < 1e-3 { "10⁻⁵".into() } else { factor.to_string() }).to_vec();
        let drawn = exhibit(
            "safety.epsilon",
            &format!("{} by ε", head),
            "From its own pattern (ε = 1) to the mean of all values (scores) or to nothing (output): requests of the topic that \
             are answered, and how far the next token’s distribution moves.",
            Drawn::Lines,
            grid(
                ("what is scaled", rows),
                ("ε", across),
                vec![
                    percent(
                        "answered",
                        "Requests of the topic answered",
                        (0..2 * count).map(|row| self.answered.share(row)),
                    ),
                    sheet("ships", "Ships", "nats", ships),
                ],
            ),
        );
        let half = (0..count).find(|row| self.answered.share(*row) >= 0.5);
        let told = match half {
            Some(row) => format!(
                " With {head}’s scores scaled by ε half of the requests or more are answered from ε = {} on; with its output scaled \
                 to nothing {}.",
                FACTORS[row],
                in_percent(self.answered.share(2 * count - 1))
            ),
            None => String::new(),
        };
        Some((told, drawn))
    }
}

/// Scales the scores of a head in the first rows of a batch and its output in the others.
struct Softened {
    head: Head,
}

impl Tap for Softened {
    fn wants(&self, at: HookPoint) -> bool {
        at.layer == self.head.layer && matches!(at.site, Site::Scores | Site::Z)
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        let &[_, heads, queries, width] = value.shape.as_slice() else { return None };
        let first = if at.site == Site::Scores { 0 } else { FACTORS.len() };
        let (mut edited, stripe) = (value.clone(), queries * width);
        for (row, factor) in FACTORS.iter().enumerate() {
            let start = ((first + row) * heads + self.head.head) * stripe;
            let own = edited.data.get_mut(start..start + stripe)?;
            own.iter_mut().filter(|x| **x > MASKED).for_each(|x| *x *= factor);
        }
        Some(edited)
    }
}
