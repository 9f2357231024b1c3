//! A study: an experiment of many small steps whose drawings grow while it runs.
//!
//! It is taken up where it was left: an answer says how many of how many steps it holds, and asking again goes on from there.

use super::exhibit::{Drawn, Exhibit};
use super::finding::{Axis, Grid, Sheet};
use serde::{Deserialize, Serialize};

/// What a study has found so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// The finding in words, from the numbers so far; empty before the first.
    pub verdict: String,
    /// Its drawings.
    pub exhibits: Vec<Exhibit>,
    /// Steps taken, and steps in all.
    pub done: usize,
    /// See [`Study::done`].
    pub all: usize,
}

impl Study {
    /// Whether nothing is left to do.
    pub fn is_whole(&self) -> bool {
        self.done >= self.all
    }
}

/// What a study shows: its finding in words, none while a number of it is missing, and its drawings.
pub type Shown = (Option<String>, Vec<Exhibit>);

/// A sentence of these numbers; none while one of them is not there.
///
/// ```
/// use attnscope::lens::study::told;
/// assert_eq!(told([0.5], || "half".into()), Some("half".into()));
/// assert_eq!(told([0.5, f32::NAN], || "half".into()), None);
/// ```
pub fn told(numbers: impl IntoIterator<Item = f32>, sentence: impl FnOnce() -> String) -> Option<String> {
    numbers.into_iter().all(f32::is_finite).then(sentence)
}

/// A drawing of a grid.
pub fn exhibit(id: &str, name: &str, caption: &str, drawn: Drawn, grid: Grid) -> Exhibit {
    Exhibit { id: id.into(), name: name.into(), caption: caption.into(), drawn, grid, ..Exhibit::default() }
}

/// A grid with its axes and sheets.
pub fn grid(down: (&str, Vec<String>), across: (&str, Vec<String>), sheets: Vec<Sheet>) -> Grid {
    Grid { down: Axis::new(down.0, down.1), across: Axis::new(across.0, across.1), sheets, ..Grid::default() }
}

/// A sheet of numbers.
pub fn sheet(id: &str, name: &str, unit: &str, values: Vec<f32>) -> Sheet {
    Sheet { id: id.into(), name: name.into(), unit: unit.into(), values, total: None }
}

/// Mean; NaN of nothing.
pub fn mean(values: impl IntoIterator<Item = f32>) -> f32 {
    let (mut sum, mut count) = (0.0f64, 0usize);
    for value in values {
        (sum, count) = (sum + f64::from(value), count + 1);
    }
    (sum / count as f64) as f32
}

/// Mean and half of its 95 % interval, 1.96 standard errors; NaN for fewer than two.
pub fn spread(values: &[f32]) -> (f32, f32) {
    let middle = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| f64::from(value - middle).powi(2)).sum();
    let count = values.len() as f64;
    (middle, (1.959_964 * (squares / (count - 1.0) / count).sqrt()) as f32)
}
