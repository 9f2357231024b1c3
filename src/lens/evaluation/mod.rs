//! Evaluations: suites of items with exact answers, asked of one variant, of the model without each of its heads, or of
//! every mechanism, with intervals.
//!
//! Every subject is asked the same items. Items come round by round, so that whatever has been asked so far is spread over all
//! subjects and cells alike, and a study that was stopped half way is a smaller one rather than half of one.

pub mod choices;
pub mod helmet;
pub mod needles;
mod reader;

pub use reader::{Reader, Subject};

use super::exhibit::{Drawn, Exhibit};
use super::finding::{Fact, Sheet};
use super::study::{Shown, exhibit, grid, mean, sheet};
use crate::Result;
use crate::experiment::Over;
use crate::model::CpuModel;
use crate::train::circuits::score::wilson;

/// A number of one item.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its unit, or empty.
    pub unit: &'static str,
}

/// Cells that are averaged into one number by which subjects are compared.
pub struct Headline {
    /// Its name.
    pub name: String,
    /// Index of the metric.
    pub metric: usize,
    /// Indices of the cells.
    pub cells: Vec<usize>,
}

/// Items in rows and columns.
pub trait Suite {
    /// What rows are, and their names.
    fn down(&self) -> (&'static str, Vec<String>);
    /// What columns are, and their names.
    fn across(&self) -> (&'static str, Vec<String>);
    /// What is measured of each item.
    fn metrics(&self) -> &'static [Metric];
    /// Asks one item; one number for each metric, NaN where there is none.
    ///
    /// # Errors
    /// Those of the item and of the passes.
    fn ask(&self, reader: &mut Reader<'_>, row: usize, column: usize, item: usize) -> Result<Vec<f32>>;
    /// By what subjects are compared.
    fn headlines(&self) -> Vec<Headline>;
    /// The finding about one subject in words; none while a number of it is missing.
    fn verdict(&self, of: &Answers) -> Option<String>;
    /// Drawings of one subject beside its table.
    fn exhibits(&self, _of: &Answers) -> Vec<Exhibit> {
        Vec::new()
    }
    /// What is said of many subjects, beside the best and the worst of them.
    fn compared(&self, _names: &[String], _table: &[Vec<f32>]) -> String {
        String::new()
    }
}

/// Everything one subject answered: cell by cell, item by item, one number for each metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers(pub Vec<Vec<Vec<f32>>>);

impl Answers {
    /// One metric of every item of a cell, without those that have none.
    pub fn values(&self, cell: usize, metric: usize) -> impl Iterator<Item = f32> + '_ {
        let items = self.0.get(cell).map(Vec::as_slice).unwrap_or(&[]);
        items.iter().filter_map(move |item| item.get(metric).copied()).filter(|value| value.is_finite())
    }

    /// Its mean over the items of a cell; NaN where none was asked.
    pub fn mean(&self, cell: usize, metric: usize) -> f32 {
        mean(self.values(cell, metric))
    }

    /// Mean over cells of their means, and how many items that is.
    pub fn headline(&self, headline: &Headline) -> (f32, usize) {
        let cells = || headline.cells.iter().copied();
        let asked = cells().map(|cell| self.values(cell, headline.metric).count()).sum();
        (mean(cells().map(|cell| self.mean(cell, headline.metric)).filter(|mean| mean.is_finite())), asked)
    }
}

/// An evaluation under way.
pub struct Evaluation {
    suite: Box<dyn Suite + Send>,
    over: Over,
    subjects: Vec<Subject>,
    /// Layers and heads of the model.
    heads: (usize, usize),
    items: usize,
    answers: Vec<Answers>,
}

impl Evaluation {
    /// `items` of every cell, asked of all subjects; over heads the first subject is whole and the others lack one head each,
    /// layer by layer.
    pub fn new(
        suite: Box<dyn Suite + Send>,
        over: Over,
        subjects: Vec<Subject>,
        heads: (usize, usize),
        items: usize,
    ) -> Self {
        let cells = suite.down().1.len() * suite.across().1.len();
        let answers = subjects.iter().map(|_| Answers(vec![Vec::new(); cells])).collect();
        Self { suite, over, subjects, heads, items, answers }
    }

    fn cells(&self) -> usize {
        self.suite.down().1.len() * self.suite.across().1.len()
    }

    /// How many items there are to ask.
    pub fn all(&self) -> usize {
        self.items * self.subjects.len() * self.cells()
    }

    /// Asks one.
    ///
    /// # Errors
    /// Those of [`Suite::ask`].
    pub fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (cells, columns) = (self.cells(), self.suite.across().1.len());
        let (round, rest) = (at / (cells * self.subjects.len()), at % (cells * self.subjects.len()));
        let (subject, cell) = (rest / cells, rest % cells);
        let mut reader = Reader::new(model, &self.subjects[subject]);
        let numbers = self.suite.ask(&mut reader, cell / columns, cell % columns, round)?;
        self.answers[subject].0[cell].push(numbers);
        Ok(())
    }

    /// What one subject answered.
    pub fn answers(&self, subject: usize) -> Option<&Answers> {
        self.answers.get(subject)
    }

    /// The finding in words, and its drawings.
    pub fn show(&self) -> Shown {
        let headlines = self.suite.headlines();
        let names: Vec<String> = headlines.iter().map(|headline| headline.name.clone()).collect();
        let table: Vec<Vec<(f32, usize)>> =
            self.answers.iter().map(|of| headlines.iter().map(|headline| of.headline(headline)).collect()).collect();
        match (self.over, self.answers.first()) {
            (_, None) => (None, Vec::new()),
            (Over::Pane, Some(of)) => {
                let mut exhibits = vec![headline_table("", &[self.subjects[0].name.clone()], &names, &table)];
                exhibits.extend(self.by_cell(of));
                exhibits.extend(self.suite.exhibits(of));
                (self.suite.verdict(of), exhibits)
            }
            (Over::Heads, Some(_)) => self.by_head(&names, &table),
            (Over::Variants, Some(_)) => {
                let subjects: Vec<String> = self.subjects.iter().map(|subject| subject.name.clone()).collect();
                let plain: Vec<Vec<f32>> =
                    table.iter().map(|row| row.iter().map(|(mean, _)| *mean).collect()).collect();
                let words = [extremes(&subjects, &plain, &names), self.suite.compared(&names, &plain)].join(" ");
                let verdict = Some(words.trim().to_string()).filter(|words| !words.is_empty());
                (verdict, vec![headline_table("variant", &subjects, &names, &table)])
            }
        }
    }

    /// Means of every cell with intervals, where there are several cells and one metric to speak of.
    fn by_cell(&self, of: &Answers) -> Option<Exhibit> {
        let cells = self.cells();
        if self.suite.across().1.len() < 2 {
            return None;
        }
        let metrics = self.suite.metrics();
        let mut sheets = Vec::new();
        for (index, metric) in metrics.iter().enumerate() {
            sheets.push(sheet(
                metric.id,
                metric.name,
                metric.unit,
                (0..cells).map(|cell| of.mean(cell, index)).collect(),
            ));
        }
        let ends = |end: usize| {
            let one = |cell| interval(of.mean(cell, 0), of.values(cell, 0).count())[end];
            (0..cells).map(one).collect()
        };
        sheets.push(sheet("low", "lower end, 95 %", metrics[0].unit, ends(0)));
        sheets.push(sheet("high", "upper end, 95 %", metrics[0].unit, ends(1)));
        let asked = of.0.first().map_or(0, Vec::len);
        let caption = format!("{asked} items of each cell so far; intervals are Wilson’s.");
        Some(exhibit(
            "cells",
            "Cell by cell",
            &caption,
            Drawn::Cells,
            grid(self.suite.down(), self.suite.across(), sheets),
        ))
    }

    fn by_head(&self, names: &[String], table: &[Vec<(f32, usize)>]) -> Shown {
        let (layers, heads) = self.heads;
        let change = |head: usize, at: usize| {
            table.get(head + 1).and_then(|row| row.get(at)).map_or(f32::NAN, |(mean, _)| mean - table[0][at].0)
        };
        let sheets: Vec<Sheet> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let id = name.to_lowercase().replace([' ', '-'], "_");
                sheet(&id, &format!("Δ {name}"), "", (0..layers * heads).map(|head| change(head, at)).collect())
            })
            .collect();
        let last = names.len().saturating_sub(1);
        let worst = (0..layers * heads)
            .filter(|head| change(*head, last).is_finite())
            .min_by(|a, b| change(*a, last).total_cmp(&change(*b, last)));
        let verdict = worst.map(|head| {
            let (before, asked) = table[0][last];
            format!(
                "Whole, the model reaches {:.2} in “{}” ({asked} items). Without L{}H{} alone that changes most, by {:+.2}.",
                before, names[last], head / heads, head % heads, change(head, last)
            )
        });
        let axis = |letter: &str, count: usize| (0..count).map(|at| format!("{letter}{at}")).collect();
        let grid = grid(("layer", axis("L", layers)), ("head", axis("H", heads)), sheets);
        let whole = headline_table("", &[self.subjects[0].name.clone()], names, &table[..1]);
        let caption = "What the score changes by when one head alone is taken out.";
        (verdict, vec![exhibit("heads", "Without each head alone", caption, Drawn::Cells, grid), whole])
    }
}

/// A Wilson interval where the number is a share; none of nothing.
fn interval(mean: f32, items: usize) -> [f32; 2] {
    match items {
        0 => [f32::NAN; 2],
        _ => wilson(f64::from(mean.clamp(0.0, 1.0)), items).map(|end| end as f32),
    }
}

fn headline_table(down: &str, subjects: &[String], names: &[String], table: &[Vec<(f32, usize)>]) -> Exhibit {
    let all =
        |read: &dyn Fn(f32, usize) -> f32| table.iter().flatten().map(|(mean, items)| read(*mean, *items)).collect();
    let sheets = vec![
        sheet("mean", "mean", "", all(&|mean, _| mean)),
        sheet("low", "lower end, 95 %", "", all(&|mean, items| interval(mean, items)[0])),
        sheet("high", "upper end, 95 %", "", all(&|mean, items| interval(mean, items)[1])),
        sheet("items", "items", "", all(&|_, items| items as f32)),
    ];
    let mut grid = grid((down, subjects.to_vec()), ("score", names.to_vec()), sheets);
    // One subject is summed up by what all are compared by.
    if let ([row], Some(name)) = (table, names.last()) {
        grid.facts.extend(row.last().map(|(mean, _)| Fact::new("score", name, *mean, "")));
    }
    exhibit("headlines", "In all", "Means over cells; intervals are Wilson’s over all items.", Drawn::Cells, grid)
}

/// The best and the worst of all in the last column.
fn extremes(subjects: &[String], table: &[Vec<f32>], names: &[String]) -> String {
    let last = |at: usize| table[at].last().copied().unwrap_or(f32::NAN);
    let mut order: Vec<usize> = (0..table.len()).filter(|at| last(*at).is_finite()).collect();
    order.sort_by(|a, b| last(*b).total_cmp(&last(*a)));
    match (order.first(), order.last(), names.last()) {
        (Some(best), Some(worst), Some(name)) if best != worst => format!(
            "In “{name}” {} is best of {} at {:.2}, {} worst at {:.2}; plain attention reaches {:.2}.",
            subjects[*best],
            order.len(),
            last(*best),
            subjects[*worst],
            last(*worst),
            last(0)
        ),
        _ => String::new(),
    }
}
