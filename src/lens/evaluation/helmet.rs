//! The HELMET mini suite (paper 66): seven categories by length, their mean, and a needle beside them.

use super::{Answers, Headline, Metric, Reader, Suite};
use crate::Result;
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::ranks::rank_correlation;
use crate::lens::study::{exhibit, grid, mean, sheet};
use crate::tokenizer::Tokenizer;
use crate::train::helmet::score::score;
use crate::train::helmet::{CATEGORIES, Helmet, Task};

/// Prompts are so long, as far as the context has room for an answer behind them.
const LENGTHS: [usize; 6] = [128, 160, 192, 224, 448, 960];
/// Tokens kept free for an answer and a beginning token.
const ROOM: usize = 26;
/// Below this everywhere a category is at its floor.
const FLOOR: f32 = 0.02;
/// Fewer subjects give no correlation.
const LEAST: usize = 6;

/// Lengths that fit a context.
pub fn lengths(context: usize) -> Vec<usize> {
    let fits: Vec<usize> = LENGTHS.into_iter().filter(|length| length + ROOM <= context).collect();
    if fits.is_empty() { vec![context.saturating_sub(ROOM)] } else { fits }
}

/// The suite on one tokenizer.
pub struct Mini {
    helmet: Helmet,
    lengths: Vec<usize>,
}

impl Mini {
    /// All lengths that fit, or with `longest` the longest of them alone.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] when too few words are one token each.
    pub fn new(tokenizer: &Tokenizer, context: usize, longest: bool) -> Result<Self> {
        let mut lengths = lengths(context);
        if longest {
            lengths.drain(..lengths.len().saturating_sub(1));
        }
        Ok(Self { helmet: Helmet::new(tokenizer)?, lengths })
    }

    fn cells(&self, keep: impl Fn(Task) -> bool) -> Vec<usize> {
        let columns = self.lengths.len();
        let tasks = Task::ALL.iter().enumerate().filter(|(_, task)| keep(**task));
        tasks.flat_map(|(row, _)| row * columns..(row + 1) * columns).collect()
    }
}

impl Suite for Mini {
    fn down(&self) -> (&'static str, Vec<String>) {
        ("task", Task::ALL.iter().map(|task| format!("{}: {}", task.category(), task.name())).collect())
    }

    fn across(&self) -> (&'static str, Vec<String>) {
        ("tokens", self.lengths.iter().map(ToString::to_string).collect())
    }

    fn metrics(&self) -> &'static [Metric] {
        &[Metric { id: "score", name: "Score", unit: "" }]
    }

    fn ask(&self, reader: &mut Reader<'_>, row: usize, column: usize, item: usize) -> Result<Vec<f32>> {
        let prompt = self.helmet.prompt(Task::ALL[row], self.lengths[column], item)?;
        let written = reader.write(&prompt.tokens, prompt.most)?;
        Ok(vec![score(&prompt.gold, &self.helmet.text(&written)) as f32])
    }

    /// Each category, the needle, and last the mean of the seven. Tasks of a category weigh alike.
    fn headlines(&self) -> Vec<Headline> {
        let one =
            |name: &str| Headline { name: name.into(), metric: 0, cells: self.cells(|task| task.category() == name) };
        let mut all: Vec<Headline> = CATEGORIES.iter().map(|name| one(name)).collect();
        all.push(one("NIAH"));
        all.push(Headline {
            name: "mean of the tasks".into(),
            metric: 0,
            cells: self.cells(|task| task != Task::Needle),
        });
        all
    }

    fn verdict(&self, of: &Answers) -> Option<String> {
        let scores: Vec<(String, f32)> = self
            .headlines()
            .iter()
            .map(|line| (line.name.clone(), of.headline(line).0))
            .filter(|(_, mean)| mean.is_finite())
            .collect();
        let of_seven = |(name, mean): &(String, f32)| CATEGORIES.contains(&name.as_str()).then_some(*mean);
        let seven: Vec<f32> = scores.iter().filter_map(of_seven).collect();
        let floor: Vec<&str> = scores
            .iter()
            .filter(|one| of_seven(one).is_some_and(|mean| mean < FLOOR))
            .map(|(name, _)| name.as_str())
            .collect();
        let above: Vec<f32> = seven.iter().copied().filter(|mean| *mean >= FLOOR).collect();
        let needle = scores.iter().find(|(name, _)| name == "NIAH").map(|(_, mean)| *mean);
        let (Some(needle), false) = (needle, seven.is_empty()) else { return None };
        let mut words = format!(
            "HELMET-mini is {:.0} of 100 over the {} categories asked, and the needle beside them {:.0}.",
            100.0 * mean(seven.iter().copied()),
            seven.len(),
            100.0 * needle
        );
        if !floor.is_empty() {
            words += &format!(" At their floor, and not to be read as a ranking: {}", floor.join(", "));
            words += &match above.len() {
                0 => ".".to_string(),
                count => format!("; the mean of the other {count} is {:.0}.", 100.0 * mean(above.iter().copied())),
            };
        }
        Some(words)
    }

    /// Recall and retrieval by where the asked document stands.
    fn exhibits(&self, of: &Answers) -> Vec<Exhibit> {
        let by_depth = |category: &str, depth: usize| {
            let cells = self.cells(|task| task.category() == category);
            let items =
                cells.iter().flat_map(|cell| of.0[*cell].iter().enumerate().filter(|(item, _)| item % DEPTHS == depth));
            mean(items.map(|(_, numbers)| numbers[0]))
        };
        let rows = ["Recall", "RAG", "NIAH"];
        let values = rows.iter().flat_map(|row| (0..DEPTHS).map(|depth| by_depth(row, depth))).collect();
        let depths = (0..DEPTHS).map(|depth| format!("{} %", 100 * depth / (DEPTHS - 1))).collect();
        let grid = grid(
            ("category", rows.map(String::from).to_vec()),
            ("depth", depths),
            vec![sheet("score", "Score", "", values)],
        );
        vec![exhibit(
            "depths",
            "By depth",
            "Where among the documents the asked one stands; all lengths.",
            Drawn::Lines,
            grid,
        )]
    }

    /// Whether RAG or the needle says more about the rest (check (e)).
    fn compared(&self, names: &[String], table: &[Vec<f32>]) -> String {
        let rows: Vec<&Vec<f32>> = table.iter().filter(|row| row.iter().all(|value| value.is_finite())).collect();
        let column = |name: &str| -> Option<Vec<f32>> {
            let at = names.iter().position(|other| other == name)?;
            Some(rows.iter().map(|row| row[at]).collect())
        };
        if rows.len() < LEAST {
            return format!("No correlation is drawn from fewer than {LEAST} variants.");
        }
        let live = |name: &&str| column(name).is_some_and(|values| values.iter().any(|value| *value >= FLOOR));
        let against = |name: &str| {
            let others: Vec<Vec<f32>> = CATEGORIES
                .iter()
                .filter(|other| **other != name)
                .filter(|n| live(n))
                .filter_map(|other| column(other))
                .collect();
            let rest: Vec<f32> = (0..rows.len()).map(|at| mean(others.iter().map(|values| values[at]))).collect();
            column(name).map_or(f32::NAN, |own| rank_correlation(&own, &rest))
        };
        let (rag, needle) = (against("RAG"), against("NIAH"));
        let sign = if rag > needle { "as the paper has it" } else { "the other way than in the paper" };
        format!(
            "Over {} variants the rank correlation with the mean of the other categories is {rag:.2} for RAG and {needle:.2} \
             for the needle, {sign}; categories at their floor in all variants are left out.",
            rows.len()
        )
    }
}

/// Places where what is asked for may stand.
const DEPTHS: usize = 6;
