//! Where things are in a matrix: whole-pixel cells, gutters that fit the labels, and labels that never overlap.

use crate::ui::store::Cell;

/// Largest cell in CSS pixels: a short prompt fills the column without becoming a chess board.
const LARGEST_CELL: f64 = 44.0;
/// Letters of axis labels: largest and smallest size, in CSS pixels.
const LETTER: (f64, f64) = (11.0, 9.0);
/// Width of a monospaced letter, as a share of its size.
const ADVANCE: f64 = 0.61;
/// Width of the corner, where the axes are named.
const CORNER: f64 = 58.0;

/// The layout of one matrix, in CSS pixels from the plot's upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Geometry {
    /// Rows and columns.
    pub tokens: usize,
    /// Left edge of the first key.
    pub left: f64,
    /// Upper edge of the first query.
    pub top: f64,
    /// Edge of one cell; a whole number unless there are more tokens than pixels.
    pub cell: f64,
    /// Left edge and width of the slot's own column, where a pane has one.
    pub slot: Option<(f64, f64)>,
    /// Size of the labels' letters.
    pub letter: f64,
    /// Every how many tokens a label stands.
    pub every: usize,
}

impl Geometry {
    /// Fits `tokens` cells into a column `width` pixels wide; `longest` is the longest label in letters.
    pub fn fit(width: f64, tokens: usize, longest: usize, slot: bool) -> Self {
        let n = tokens.max(1) as f64;
        // Labels are sized for the cells, and cells by what the labels leave: one round is enough, letters shrink little.
        let guess = (width * 0.8 / n).clamp(LETTER.1, LETTER.0);
        let label = longest as f64 * guess * ADVANCE;
        let gutter = (label + 8.0).clamp(CORNER, (width * 0.4).max(CORNER)).round();
        let room = (width - gutter).max(n.min(120.0));
        let fitted = |room: f64| if room >= n { (room / n).floor().min(LARGEST_CELL) } else { room / n };
        // The slot is a column like any other, but never too thin to see.
        let slot_room = |cell: f64| if slot { cell.max(8.0) + 4.0 } else { 0.0 };
        let cell = fitted(room - slot_room(fitted(room)));
        let letter = cell.clamp(LETTER.1, LETTER.0);
        // What whole-pixel cells leave over goes to the gutter, so that right edges align; a lot of it stays on the right.
        let slack = width - gutter - slot_room(cell) - cell * n;
        let left = gutter + slot_room(cell) + if (0.0..n.max(24.0)).contains(&slack) { slack.floor() } else { 0.0 };
        Self {
            tokens,
            left,
            top: (longest as f64 * letter * ADVANCE + 9.0).clamp(46.0, 150.0).round(),
            cell,
            slot: slot.then(|| (left - slot_room(cell), cell.max(8.0))),
            letter,
            every: (letter / cell.max(0.01)).ceil().max(1.0) as usize,
        }
    }

    /// Edge of the whole map.
    pub fn size(&self) -> f64 {
        self.cell * self.tokens as f64
    }

    /// Edge of the map in canvas pixels: one per cell, or one per CSS pixel when there are more cells than pixels.
    pub fn pixels(&self) -> usize {
        self.tokens.min(self.size().round().max(1.0) as usize)
    }

    /// The pair under a point of the plot, if one is.
    pub fn cell_at(&self, x: f64, y: f64) -> Option<Cell> {
        let along = |offset: f64| {
            let index = (offset / self.cell).floor();
            (index >= 0.0 && index < self.tokens as f64).then_some(index as usize)
        };
        Some(Cell { query: along(y - self.top)?, key: along(x - self.left)? })
    }

    /// Middle of a column.
    pub fn x(&self, key: usize) -> f64 {
        self.left + (key as f64 + 0.5) * self.cell
    }

    /// Middle of a row.
    pub fn y(&self, query: usize) -> f64 {
        self.top + (query as f64 + 0.5) * self.cell
    }

    /// Where the label column of the rows ends.
    pub fn gutter(&self) -> f64 {
        self.slot.map_or(self.left, |(x, _)| x)
    }
}
