//! Drawings of a mechanism as plain data: a grid of numbers, and how it is drawn.
//!
//! A mechanism computes them ([`crate::mechanism::exhibits`]), the page draws them, the command line prints them.

use super::finding::Grid;
use serde::{Deserialize, Serialize};

/// One drawing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exhibit {
    /// `mechanism.drawing`, for example `duo_attention.gates`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is seen.
    pub caption: String,
    /// How it is drawn.
    pub drawn: Drawn,
    /// Its numbers.
    pub grid: Grid,
    /// Names of the classes where numbers are classes, which they count from 0; else empty.
    pub classes: Vec<String>,
    /// Id of the sheet whose cells of 1 are outlined in the others; it is not drawn by itself.
    pub outlined: Option<String>,
    /// Why there is nothing to draw at these settings, one sentence; else empty.
    pub missing: String,
}

/// How a drawing is made of its grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// Shaded cells with their numbers, one sheet at a time.
    #[default]
    Cells,
    /// A square map in small cells, one sheet at a time: queries down, keys across.
    Map,
    /// Small maps of all sheets side by side.
    Maps,
    /// Every row as the text itself, each token in its colour.
    Tokens,
    /// Every row as a line over the columns.
    Lines,
    /// Every row as bars over the columns.
    Bars,
}

/// All drawings of the mechanisms of one pane.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exhibits {
    /// Tokens they were drawn of; fewer than the prompt has where maps of all heads would not fit.
    pub tokens: usize,
    /// What they are of: the pinned head, as far as the model has it, or the examined position.
    pub head: String,
    /// The drawings.
    pub exhibits: Vec<Exhibit>,
}
