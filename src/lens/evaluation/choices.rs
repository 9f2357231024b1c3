//! Attentiveness to answer choices (paper 65): how much probability falls on what may be answered, what that bounds, and
//! whether it goes with being right.
//!
//! ```text
//! PMV = Σ P(choice | prompt)      SFC = 1 − PMV      resolved: SFC < P(l₁) − P(l₂) of the two likeliest choices
//! seq = argmax P(l|p)             pmi = argmax P(l|p) / P(l|cue)       pmi-L = the same, the cue behind the choices
//! ```
//!
//! The paper’s word “attentiveness” is about probability mass, not about attention weights. Its synthetic facts with known
//! synonyms ask for a model trained on them, which is not shipped, so the mass on synonyms is not shown here.
//!
//! Source: Wiegreffe et al., 2023, read from its specification; questions and formats are ours.

use super::{Answers, Headline, Metric, Reader, Suite};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::study::{exhibit, grid, sheet};
use crate::tokenizer::Tokenizer;
use crate::train::exam::{Exam, Format};

/// Answered examples before a question.
const SHOTS: [usize; 3] = [0, 1, 2];
/// What stands for a probability of nothing.
const LEAST: f64 = 1e-15;

const METRICS: &[Metric] = &[
    Metric { id: "pmv", name: "PMV", unit: "" },
    Metric { id: "seq", name: "right by seq", unit: "" },
    Metric { id: "pmi", name: "right by pmi", unit: "" },
    Metric { id: "pmi_l", name: "right by pmi-L", unit: "" },
    Metric { id: "greedy", name: "right by greedy", unit: "" },
    Metric { id: "resolved", name: "resolved", unit: "" },
];

/// Whether no choice begins with another one, so that their probabilities may be added.
///
/// ```
/// use attnscope::lens::evaluation::choices::prefix_free;
/// assert!(!prefix_free(&[vec![7], vec![7, 9]]));
/// assert!(prefix_free(&[vec![7, 1], vec![7, 9, 1]]));
/// ```
pub fn prefix_free(choices: &[Vec<u32>]) -> bool {
    let begins = |(at, one): (usize, &Vec<u32>)| {
        choices.iter().enumerate().any(|(other, choice)| other != at && choice.starts_with(one))
    };
    !choices.iter().enumerate().any(begins)
}

/// Σ P of the choices, from their log-probabilities.
pub fn mass(log_probabilities: &[f64]) -> f64 {
    let most = log_probabilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return 0.0;
    }
    (most + log_probabilities.iter().map(|value| (value - most).exp()).sum::<f64>().ln()).exp()
}

/// Whether all mass outside the choices, given to any other one, could not change which is likeliest.
pub fn resolved(probabilities: &[f64]) -> bool {
    let mut sorted = probabilities.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let outside = 1.0 - sorted.iter().sum::<f64>();
    sorted.len() < 2 || outside < sorted[0] - sorted[1]
}

/// Index of the largest ratio P(l|p) / P(l|p₀).
pub fn by_ratio(given: &[f64], prior: &[f64]) -> usize {
    let ratio = |at: usize| given[at].max(LEAST) / prior[at].max(LEAST);
    (0..given.len()).max_by(|a, b| ratio(*a).total_cmp(&ratio(*b))).unwrap_or(0)
}

/// The suite.
pub struct Choices {
    exam: Exam,
}

impl Choices {
    /// # Errors
    /// [`crate::Error::Tokenizer`] when too few words are one token each.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self { exam: Exam::new(tokenizer)? })
    }

    fn row(format: Format, shots: usize) -> usize {
        Format::ALL.iter().position(|other| *other == format).unwrap_or(0) * SHOTS.len() + shots
    }
}

impl Suite for Choices {
    fn down(&self) -> (&'static str, Vec<String>) {
        let name = |format: Format| SHOTS.map(|shots| format!("{}, {shots}-shot", format.name()));
        ("format", Format::ALL.into_iter().flat_map(name).collect())
    }

    fn across(&self) -> (&'static str, Vec<String>) {
        ("items", vec!["all".into()])
    }

    fn metrics(&self) -> &'static [Metric] {
        METRICS
    }

    fn ask(&self, reader: &mut Reader<'_>, row: usize, _column: usize, item: usize) -> Result<Vec<f32>> {
        let sheet = self.exam.sheet(Format::ALL[row / SHOTS.len()], SHOTS[row % SHOTS.len()], item);
        let mut given = |prompt: &[u32]| -> Result<(Vec<f64>, u32)> {
            let all = reader.log_probabilities(prompt)?;
            let best = (0..all.len()).max_by(|a, b| all[*a].total_cmp(&all[*b])).unwrap_or(0);
            Ok((sheet.choices.iter().map(|id| all[*id as usize]).collect(), best as u32))
        };
        let (asked, best) = given(&sheet.prompt)?;
        let exp = |logs: Vec<f64>| logs.into_iter().map(f64::exp).collect::<Vec<f64>>();
        let (cue, unasked) = (exp(given(&sheet.cue)?.0), exp(given(&sheet.unasked)?.0));
        let (pmv, here) = (mass(&asked), exp(asked));
        let right = |at: usize| f32::from(u8::from(at == sheet.right));
        let seq = by_ratio(&here, &vec![1.0; here.len()]);
        Ok(vec![
            pmv as f32,
            right(seq),
            right(by_ratio(&here, &cue)),
            right(by_ratio(&here, &unasked)),
            f32::from(u8::from(best == sheet.choices[sheet.right])),
            f32::from(u8::from(resolved(&here))),
        ])
    }

    fn headlines(&self) -> Vec<Headline> {
        let one = |name: &str, metric, format, shots| Headline {
            name: name.into(),
            metric,
            cells: vec![Self::row(format, shots)],
        };
        vec![
            one("PMV, none 0-shot", 0, Format::None, 0),
            one("PMV, string 1-shot", 0, Format::Words, 1),
            one("PMV, enum 0-shot", 0, Format::Letters, 0),
            one("right, none 0-shot", 1, Format::None, 0),
            one("right, string 1-shot", 1, Format::Words, 1),
            one("right, enum 0-shot", 1, Format::Letters, 0),
        ]
    }

    fn verdict(&self, of: &Answers) -> String {
        let at = |format, shots, metric| of.mean(Self::row(format, shots), metric);
        let (before, after) = (at(Format::None, 0, 0), at(Format::Words, 1, 0));
        if !before.is_finite() || !after.is_finite() {
            return String::new();
        }
        let (right_before, right_after) = (at(Format::None, 0, 1), at(Format::Words, 1, 1));
        let rows = Format::ALL.len() * SHOTS.len();
        let pair = |row| of.values(row, 0).zip(of.values(row, 1));
        let (x, y): (Vec<f32>, Vec<f32>) = (0..rows).flat_map(pair).unzip();
        let mut against = 0;
        for one in 0..rows {
            for other in 0..rows {
                let rise = |metric| of.mean(other, metric) - of.mean(one, metric);
                against += usize::from(rise(0) >= 0.1 && rise(1) <= 0.0);
            }
        }
        format!(
            "One example with its choices takes the mass on valid choices from {before:.2} to {after:.2} and accuracy from \
             {right_before:.2} to {right_after:.2}. Over {} items mass and being right correlate with r = {:.2}; in {against} \
             pairs of settings mass rises by 0.1 or more and accuracy does not.",
            x.len(),
            crate::lens::ranks::correlation(&x, &y)
        )
    }

    /// Every number of every format.
    fn exhibits(&self, of: &Answers) -> Vec<Exhibit> {
        let (name, rows) = self.down();
        let values =
            (0..rows.len()).flat_map(|row| (0..METRICS.len()).map(move |metric| of.mean(row, metric))).collect();
        let asked = of.0.first().map_or(0, Vec::len);
        let metrics = METRICS.iter().map(|metric| metric.name.to_string()).collect();
        let caption = format!(
            "{asked} questions so far, the same in every format. PMV is the probability on valid choices; resolved items \
             could not change if all other mass went to the second choice."
        );
        let grid = grid((name, rows), ("number", metrics), vec![sheet("mean", "mean", "", values)]);
        vec![exhibit("formats", "By format and examples", &caption, Drawn::Cells, grid)]
    }
}
