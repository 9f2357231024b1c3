//! Attentiveness to answer choices (paper 65): how much probability falls on what may be answered, what that bounds, and
//! whether it goes with being right.
//!
//! ```text
//! PMV = Σ P(choice | prompt)      SFC = 1 − PMV      resolved: SFC < P(l₁) − P(l₂) of the two likeliest choices
//! seq = argmax P(l|p)             sum = argmax P(l|p) + Σ P(words of l's kind | p)
//! pmi = argmax P(l|p) / P(l|cue)       pmi-L = the same, the cue behind the choices
//! ```
//!
//! The paper’s word “attentiveness” is about probability mass, not about attention weights.
//!
//! What SFC bounds is known here: a question asks for a kind, and every word of that kind is another surface form of the same
//! answer. So mass falls on the choices, on words of a choice’s kind that are no choice (synonyms), and on everything else,
//! which is 1 in all, and SFC is never less than the mass on synonyms. `sum` gives a choice the words of its kind as well.
//! Two choices may be of one kind, but never the right one and another.
//!
//! Source: Wiegreffe et al., 2023, read from its specification; questions and formats are ours.

use super::{Answers, Headline, Metric, Reader, Suite};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::study::{exhibit, grid, sheet, told};
use crate::tokenizer::Tokenizer;
use crate::train::exam::{Exam, Format};
use std::collections::BTreeSet;

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
    Metric { id: "synonyms", name: "mass on synonyms", unit: "" },
    Metric { id: "right_kind", name: "of these of the right kind", unit: "" },
    Metric { id: "sum", name: "right by sum", unit: "" },
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

/// The mass on other words of each choice's kind, from log-probabilities of the vocabulary.
pub fn by_kin(log_probabilities: &[f64], kin: &[Vec<u32>]) -> Vec<f64> {
    let of = |id: &u32| log_probabilities.get(*id as usize).map_or(0.0, |log| log.exp());
    kin.iter().map(|own| own.iter().map(of).sum()).collect()
}

/// The mass on all of them, each word once.
pub fn synonyms(log_probabilities: &[f64], kin: &[Vec<u32>]) -> f64 {
    let all: Vec<u32> = kin.iter().flatten().copied().collect::<BTreeSet<u32>>().into_iter().collect();
    by_kin(log_probabilities, &[all]).iter().sum()
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
        let everything = reader.log_probabilities(&sheet.prompt)?;
        let best = (0..everything.len()).max_by(|a, b| everything[*a].total_cmp(&everything[*b])).unwrap_or(0) as u32;
        let of_choices = |all: &[f64]| sheet.choices.iter().map(|id| all[*id as usize]).collect::<Vec<f64>>();
        let asked = of_choices(&everything);
        let mut given = |prompt: &[u32]| reader.log_probabilities(prompt).map(|all| of_choices(&all));
        let exp = |logs: Vec<f64>| logs.into_iter().map(f64::exp).collect::<Vec<f64>>();
        let (cue, unasked) = (exp(given(&sheet.cue)?), exp(given(&sheet.unasked)?));
        let (pmv, here) = (mass(&asked), exp(asked));
        let kin = by_kin(&everything, &sheet.kin);
        let synonyms = synonyms(&everything, &sheet.kin);
        let summed: Vec<f64> = here.iter().zip(&kin).map(|(own, kin)| own + kin).collect();
        let right = |at: usize| f32::from(u8::from(at == sheet.right));
        let seq = by_ratio(&here, &vec![1.0; here.len()]);
        Ok(vec![
            pmv as f32,
            right(seq),
            right(by_ratio(&here, &cue)),
            right(by_ratio(&here, &unasked)),
            f32::from(u8::from(best == sheet.choices[sheet.right])),
            f32::from(u8::from(resolved(&here))),
            synonyms as f32,
            kin[sheet.right] as f32,
            right(by_ratio(&summed, &vec![1.0; here.len()])),
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

    fn verdict(&self, of: &Answers) -> Option<String> {
        let at = |format, shots, metric| of.mean(Self::row(format, shots), metric);
        let (before, after) = (at(Format::None, 0, 0), at(Format::Words, 1, 0));
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
        let related = crate::lens::ranks::correlation(&x, &y);
        let (bound, known) = (1.0 - before, at(Format::None, 0, 6));
        let summed = at(Format::None, 0, 8);
        let shown = [before, after, right_before, right_after, related, known, summed];
        told(shown, || {
            format!(
                "One example with its choices takes the mass on valid choices from {before:.2} to {after:.2} and accuracy from \
             {right_before:.2} to {right_after:.2}. Over {} items mass and being right correlate with r = {related:.2}; in {against} \
             pairs of settings mass rises by 0.1 or more and accuracy does not. Without choices the bound on surface forms is \
             {bound:.2}, of which {known:.2} is known to fall on other words of the choices’ kinds; counting those as well, {summed:.2} \
             are right.",
                x.len(),
            )
        })
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
        // Where the mass is, in shares of 1: the third part is what is left.
        let share = |row: usize| {
            let (choices, synonyms, right) = (of.mean(row, 0), of.mean(row, 6), of.mean(row, 7));
            [choices, right, synonyms - right, 1.0 - choices - synonyms].map(|share| 100.0 * share)
        };
        let (down, rows) = self.down();
        let parts = ["choices", "right kind, no choice", "a choice’s kind, no choice", "everything else"];
        let masses = crate::lens::study::grid(
            (down, rows.clone()),
            ("mass on", parts.map(String::from).to_vec()),
            vec![sheet("mass", "Probability", "%", (0..rows.len()).flat_map(share).collect())],
        );
        vec![
            exhibit("formats", "By format and examples", &caption, Drawn::Cells, grid),
            exhibit(
                "mass",
                "Where the probability is",
                "A question asks for a kind, so other words of the kind are synonyms of the answer: what the bound 1 − PMV is for. \
                 Choices are letters in enum, which have none.",
                Drawn::Cells,
                masses,
            ),
        ]
    }
}
