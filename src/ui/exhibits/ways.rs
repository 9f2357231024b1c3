//! The ways of drawing a grid: cells, maps, text, lines, bars.

use super::drawing::{Panel, Picture, scaling, shown};
use crate::lens::exhibit::Exhibit;
use crate::lens::finding::Sheet;
use crate::ui::export::ink::{self, hex, text};
use crate::ui::stage::colour::{Palette, Rgb, tick};
use crate::ui::tabs::chart::{decimal, round_up};
use crate::ui::tabs::heat::ink_on;
use std::fmt::Write;

/// Colours of a ramp that are told apart; fewer make pictures small.
const SHADES: f32 = 48.0;
/// Letters are this wide at 10 units.
const LETTER: f64 = 6.05;
/// Longest name beside a row, in letters.
const NAME: usize = 16;

/// What is drawn, and with what.
pub struct Pen<'a> {
    pub exhibit: &'a Exhibit,
    pub sheet: usize,
    pub width: f64,
    pub palette: &'a Palette,
}

impl Pen<'_> {
    pub fn sheet(&self) -> Option<&Sheet> {
        self.exhibit.grid.sheets.get(self.sheet)
    }

    fn size(&self) -> (usize, usize) {
        (self.exhibit.grid.down.labels.len(), self.exhibit.grid.across.labels.len())
    }

    fn value(&self, sheet: usize, row: usize, column: usize) -> f32 {
        let values = self.exhibit.grid.sheets.get(sheet).map(|sheet| sheet.values.as_slice()).unwrap_or(&[]);
        values.get(row * self.size().1 + column).copied().unwrap_or(f32::NAN)
    }

    fn colour(&self, sheet: usize, value: f32) -> Rgb {
        if !self.exhibit.classes.is_empty() && value.is_finite() {
            return self.palette.category(value as usize);
        }
        match self.exhibit.grid.sheets.get(sheet) {
            Some(sheet) if value.is_finite() => {
                let scaling = scaling(self.exhibit, sheet);
                let place = (scaling.place(value) * SHADES).round() / SHADES;
                self.palette.along(scaling.diverging, place)
            }
            _ => self.palette.colour(crate::ui::stage::colour::Scaling::WALL, f32::NAN),
        }
    }

    fn marked(&self, row: usize, column: usize) -> bool {
        let marks = self.exhibit.grid.sheets.iter().position(|sheet| self.exhibit.outlined.as_ref() == Some(&sheet.id));
        marks.is_some_and(|marks| self.value(marks, row, column) == 1.0)
    }

    /// Names beside rows, and the room they take.
    fn gutter(&self) -> f64 {
        let longest = self.exhibit.grid.down.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        longest.min(NAME) as f64 * LETTER + 8.0
    }

    fn words(&self, x: f64, y: f64, extra: &str, words: &str) -> String {
        text(x, y, 10.0, self.palette.css("--ink-2"), extra, words)
    }

    /// Cells of one size at a place, with the outline of the marked ones and the ring of a frame.
    fn block(&self, sheet: usize, [left, top, width, height]: [f64; 4]) -> (String, Panel) {
        let (rows, columns) = self.size();
        let cells = ink::map(rows, columns, |row, column| self.colour(sheet, self.value(sheet, row, column)));
        let (across, down) = (width / columns.max(1) as f64, height / rows.max(1) as f64);
        let mut out = format!(
            "<g transform=\"translate({left:.1} {top:.1}) scale({across:.4} {down:.4})\" shape-rendering=\"crispEdges\">{cells}</g>"
        );
        let mut edge = String::new();
        if self.exhibit.outlined.is_some() {
            let here = |row: isize, column: isize| {
                let inside = row >= 0 && column >= 0 && (row as usize) < rows && (column as usize) < columns;
                inside && self.marked(row as usize, column as usize)
            };
            for row in 0..=rows as isize {
                for column in 0..=columns as isize {
                    let (x, y) = (left + column as f64 * across, top + row as f64 * down);
                    // Writing to a string cannot fail.
                    if here(row, column) != here(row, column - 1) {
                        let _ = write!(edge, "M{x:.1} {y:.1}v{down:.2}");
                    }
                    if here(row, column) != here(row - 1, column) {
                        let _ = write!(edge, "M{x:.1} {y:.1}h{across:.2}");
                    }
                }
            }
            let wide = if across.min(down) > 8.0 { 2.0 } else { 1.0 };
            out += &format!(
                "<path d=\"{edge}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{wide}\" stroke-linecap=\"square\"/>",
                self.palette.css("--pane-b")
            );
        }
        let panel = Panel { sheet, first: (0, 0), size: (rows, columns), place: [left, top, width, height] };
        (out, panel)
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME { name.into() } else { name.chars().take(NAME - 1).chain(['…']).collect() }
}

/// Cells with their numbers.
pub fn cells(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let left = pen.gutter();
    let cell = ((pen.width - left) / columns.max(1) as f64).min(64.0);
    let grid = &pen.exhibit.grid;
    let longest = grid.across.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let flat = longest as f64 * LETTER + 4.0 <= cell;
    let top = if flat { 16.0 } else { longest.min(NAME) as f64 * LETTER + 6.0 };
    let high = if cell >= 18.0 || rows <= 24 { 22.0 } else { 12.0 };
    let (width, height) = (cell * columns as f64, high * rows as f64);
    let (mut body, panel) = pen.block(pen.sheet, [left, top, width, height]);
    let every = (11.0 / cell).ceil().max(1.0) as usize;
    for (column, name) in grid.across.labels.iter().enumerate().filter(|(column, _)| flat || column % every == 0) {
        let x = left + (column as f64 + 0.5) * cell;
        let extra = match flat {
            true => "text-anchor=\"middle\"".to_string(),
            false => format!("transform=\"rotate(-90 {x:.1} {:.1})\"", top - 4.0),
        };
        body += &pen.words(x + if flat { 0.0 } else { 3.5 }, top - 4.0, &extra, &short(name));
    }
    for (row, name) in grid.down.labels.iter().enumerate() {
        let y = top + (row as f64 + 0.5) * high + 3.5;
        body += &pen.words(left - 5.0, y, "text-anchor=\"end\"", &short(name));
    }
    let classes = pen.exhibit.classes.len();
    if cell >= 24.0 || (classes > 0 && cell >= 11.0) {
        for row in 0..rows {
            for column in 0..columns {
                let value = pen.value(pen.sheet, row, column);
                if value.is_finite() {
                    let (x, y) = (left + (column as f64 + 0.5) * cell, top + (row as f64 + 0.5) * high + 3.5);
                    let colour = ink_on(pen.colour(pen.sheet, value));
                    let words = if classes > 0 { format!("{value:.0}") } else { two(value) };
                    let size = if cell >= 34.0 { 10.0 } else { 8.5 };
                    body += &text(x, y, size, colour, "text-anchor=\"middle\"", &words);
                }
            }
        }
    }
    Picture { body, size: (pen.width, top + height), panels: vec![panel] }
}

/// Few digits, for a cell.
fn two(value: f32) -> String {
    let size = value.abs();
    match size {
        _ if size == 0.0 => "0".into(),
        _ if size >= 1e6 => format!("{value:.0e}"),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
    .replace('-', "−")
}

/// A square map of tokens.
pub fn map(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let grid = &pen.exhibit.grid;
    let edge = pen.width.min(460.0);
    let left = pen.gutter();
    let top =
        grid.across.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).min(NAME) as f64 * LETTER + 8.0;
    let cell = (edge - left) / columns.max(1) as f64;
    let (width, height) = (cell * columns as f64, cell * rows as f64);
    let (mut body, panel) = pen.block(pen.sheet, [left, top, width, height]);
    let every = (10.5 / cell).ceil().max(1.0) as usize;
    for (column, name) in grid.across.labels.iter().enumerate().filter(|(column, _)| column % every == 0) {
        let x = left + (column as f64 + 0.5) * cell + 3.5;
        body += &pen.words(x, top - 4.0, &format!("transform=\"rotate(-90 {x:.1} {:.1})\"", top - 4.0), &short(name));
    }
    for (row, name) in grid.down.labels.iter().enumerate().filter(|(row, _)| row % every == 0) {
        body += &pen.words(left - 5.0, top + (row as f64 + 0.5) * cell + 3.5, "text-anchor=\"end\"", &short(name));
    }
    Picture { body, size: (pen.width, top + height), panels: vec![panel] }
}

/// Small maps side by side.
pub fn maps(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let sheets = shown(pen.exhibit);
    let across = (((pen.width + 12.0) / 132.0) as usize).clamp(1, sheets.len().max(1));
    let edge = ((pen.width + 12.0) / across as f64 - 12.0).min(220.0);
    let high = edge * rows as f64 / columns.max(1) as f64;
    let (mut body, mut panels) = (String::new(), Vec::new());
    for (index, sheet) in sheets.iter().enumerate() {
        let (x, y) = ((index % across) as f64 * (edge + 12.0), (index / across) as f64 * (high + 26.0));
        let name = pen.exhibit.grid.sheets.get(*sheet).map(|sheet| sheet.name.as_str()).unwrap_or_default();
        body += &pen.words(x, y + 11.0, "", name);
        let (cells, panel) = pen.block(*sheet, [x, y + 16.0, edge, high]);
        body += &cells;
        body += &format!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{edge:.1}\" height=\"{high:.1}\" fill=\"none\" stroke=\"{}\"/>",
            y + 16.0,
            pen.palette.css("--line-strong")
        );
        panels.push(panel);
    }
    let down = sheets.len().div_ceil(across).max(1) as f64;
    Picture { body, size: (pen.width, down * (high + 26.0) - 10.0), panels }
}

/// The text itself, once for each row, every token in its colour; a class is also written small behind its token.
pub fn tokens(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let (mut body, mut panels, mut y) = (String::new(), Vec::new(), 0.0);
    let several = pen.exhibit.classes.len() > 2;
    for row in 0..rows {
        if rows > 1 {
            body += &pen.words(0.0, y + 11.0, "font-weight=\"600\"", &pen.exhibit.grid.down.labels[row]);
            y += 17.0;
        }
        let mut x = 0.0;
        for column in 0..columns {
            let label = &pen.exhibit.grid.across.labels[column];
            let value = pen.value(pen.sheet, row, column);
            let class = if several && value.is_finite() { format!("{}", value as usize) } else { String::new() };
            let wide = label.chars().count() as f64 * LETTER + class.len() as f64 * 4.6 + 6.0;
            if x > 0.0 && x + wide > pen.width {
                (x, y) = (0.0, y + 20.0);
            }
            let colour = pen.colour(pen.sheet, value);
            let ring = match pen.marked(row, column) {
                true => format!(" stroke=\"{}\" stroke-width=\"2\"", pen.palette.css("--pane-b")),
                false => String::new(),
            };
            body += &format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" rx=\"2\" fill=\"{}\"{ring}/>",
                x + 0.5,
                y + 1.0,
                wide - 1.0,
                hex(colour)
            );
            body += &text(x + 3.0, y + 12.5, 10.0, ink_on(colour), "", label);
            if !class.is_empty() {
                let at = x + 3.5 + label.chars().count() as f64 * LETTER;
                body += &text(at, y + 15.0, 7.5, ink_on(colour), "", &class);
            }
            panels.push(Panel { sheet: pen.sheet, first: (row, column), size: (1, 1), place: [x, y, wide, 20.0] });
            x += wide;
        }
        y += 26.0;
    }
    Picture { body, size: (pen.width, y - 6.0), panels }
}

/// Lines over the columns, each with its name at its end.
pub fn lines(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let names = &pen.exhibit.grid.down.labels;
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(NAME) as f64;
    let (left, right) = (44.0, longest * LETTER + 14.0);
    let high = (12.0 * rows as f64 + 8.0).clamp(120.0, 420.0);
    let values: Vec<f32> = (0..rows * columns).map(|at| pen.value(pen.sheet, at / columns, at % columns)).collect();
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (top_value, unit) = round_up(f64::from(finite().fold(0.0, f32::max)));
    let least = f64::from(finite().fold(0.0, f32::min));
    let floor = (least / unit).floor() * unit;
    let x = |column: usize| left + column as f64 * (pen.width - left - right) / columns.saturating_sub(1).max(1) as f64;
    let y = |value: f64| 8.0 + (1.0 - (value - floor) / (top_value - floor)) * high;
    let mut body = axis(pen, (left, pen.width - right + 4.0), floor, top_value, unit, &y);
    let every = (columns as f64 * 54.0 / (pen.width - left - right)).ceil().max(1.0) as usize;
    for (column, name) in pen.exhibit.grid.across.labels.iter().enumerate().filter(|(column, _)| column % every == 0) {
        body += &pen.words(
            x(column),
            high + 24.0,
            "text-anchor=\"middle\"",
            &short(name).chars().take(8).collect::<String>(),
        );
    }
    body += &pen.words(left, high + 38.0, "", &format!("{} →", pen.exhibit.grid.across.name));
    // Names at the ends, moved apart.
    let end =
        |row: usize| (0..columns).rev().map(|column| values[row * columns + column]).find(|value| value.is_finite());
    let mut order: Vec<(f64, usize)> = (0..rows).filter_map(|row| Some((y(f64::from(end(row)?)), row))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    for at in 1..order.len() {
        order[at].0 = order[at].0.max(order[at - 1].0 + 11.0);
    }
    let over = order.last().map_or(0.0, |(last, _)| (last - (high + 10.0)).max(0.0));
    for (height, row) in order {
        let colour = hex(pen.palette.category(row % 7 + 1));
        let mut path = String::new();
        for column in 0..columns {
            let value = values[row * columns + column];
            if value.is_finite() {
                let broken = column == 0 || !values[row * columns + column - 1].is_finite();
                // Writing to a string cannot fail.
                let _ = write!(path, "{}{:.1} {:.1}", if broken { 'M' } else { 'L' }, x(column), y(f64::from(value)));
            }
        }
        let dash = ["", "5 3", "2 2", "8 2 2 2"][row / 7 % 4];
        body += &format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.75\" stroke-dasharray=\"{dash}\"/>"
        );
        body += &text(
            pen.width - right + 10.0,
            height - over + 3.5,
            10.0,
            pen.palette.css("--ink-2"),
            "",
            &short(&names[row]),
        );
        body += &format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"8\" fill=\"{colour}\"/>",
            pen.width - right + 3.0,
            height - over - 4.0
        );
    }
    let half = (x(1.min(columns.saturating_sub(1))) - left) / 2.0;
    let place = [left - half, 8.0, pen.width - left - right + 2.0 * half, high];
    let panel = Panel { sheet: pen.sheet, first: (0, 0), size: (1, columns), place };
    Picture { body, size: (pen.width, high + 44.0), panels: vec![panel] }
}

/// Ticks of a vertical axis with their lines.
fn axis(pen: &Pen<'_>, (left, right): (f64, f64), low: f64, high: f64, unit: f64, y: &dyn Fn(f64) -> f64) -> String {
    let mut out = String::new();
    let mut value = low;
    while value <= high + unit / 2.0 {
        let colour = pen.palette.css(if value.abs() < unit / 2.0 { "--line-strong" } else { "--line" });
        out +=
            &format!("<path d=\"M{:.1} {:.1}H{right:.1}\" stroke=\"{colour}\" fill=\"none\"/>", left - 4.0, y(value));
        let words = if high >= 1e4 { tick(value as f32) } else { decimal(value, unit) };
        out += &pen.words(left - 7.0, y(value) + 3.5, "text-anchor=\"end\"", &words);
        value += unit;
    }
    out
}

/// Bars: few side by side lie, many stand.
pub fn bars(pen: &Pen<'_>) -> Picture {
    if pen.size().1 <= 8 { lying(pen) } else { standing(pen) }
}

fn lying(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let grid = &pen.exhibit.grid;
    let names = grid.across.labels.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(NAME + 14);
    let left = names as f64 * LETTER + 8.0;
    let room = pen.width - left - 62.0;
    let finite = || pen.sheet().into_iter().flat_map(|sheet| &sheet.values).filter(|value| value.is_finite());
    let most = finite().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let negative = finite().any(|value| *value < 0.0);
    let (zero, full) = if negative { (left + room / 2.0, room / 2.0) } else { (left, room) };
    let (mut body, mut panels, mut y) = (String::new(), Vec::new(), 0.0);
    for row in 0..rows {
        if rows > 1 {
            body += &pen.words(0.0, y + 11.0, "font-weight=\"600\"", &grid.down.labels[row]);
            y += 17.0;
        }
        for column in 0..columns {
            let value = pen.value(pen.sheet, row, column);
            let long = if value.is_finite() { f64::from(value.abs() / most) * full } else { 0.0 };
            let start = if value < 0.0 { zero - long } else { zero };
            let colour = if pen.marked(row, column) { "--pane-b" } else { "--pane-a" };
            body += &format!(
                "<rect x=\"{start:.1}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"12\" fill=\"{}\"/>",
                y + 2.0,
                pen.palette.css(colour)
            );
            let name: String = grid.across.labels[column].chars().take(NAME + 14).collect();
            body += &pen.words(left - 6.0, y + 11.5, "text-anchor=\"end\"", &name);
            let words = if value.is_finite() { tick(value) } else { "–".into() };
            body += &pen.words(if value < 0.0 { zero + 5.0 } else { zero + long + 5.0 }, y + 11.5, "", &words);
            panels.push(Panel {
                sheet: pen.sheet,
                first: (row, column),
                size: (1, 1),
                place: [0.0, y, pen.width, 17.0],
            });
            y += 17.0;
        }
        y += 7.0;
    }
    body += &format!(
        "<path d=\"M{zero:.1} 0V{:.1}\" stroke=\"{}\" fill=\"none\"/>",
        y - 7.0,
        pen.palette.css("--line-strong")
    );
    Picture { body, size: (pen.width, y - 5.0), panels }
}

fn standing(pen: &Pen<'_>) -> Picture {
    let (rows, columns) = pen.size();
    let grid = &pen.exhibit.grid;
    let (left, high) = (44.0, 72.0);
    let wide = (pen.width - left - 4.0) / columns.max(1) as f64;
    let (mut body, mut panels, mut top) = (String::new(), Vec::new(), 0.0);
    for row in 0..rows {
        if rows > 1 {
            body += &pen.words(left, top + 11.0, "font-weight=\"600\"", &grid.down.labels[row]);
            top += 18.0;
        }
        let values: Vec<f32> = (0..columns).map(|column| pen.value(pen.sheet, row, column)).collect();
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (highest, unit) = round_up(f64::from(finite().fold(0.0, f32::max)));
        let low = (f64::from(finite().fold(0.0, f32::min)) / unit).floor() * unit;
        let y = |value: f64| top + 4.0 + (1.0 - (value - low) / (highest - low)) * high;
        body += &axis(pen, (left, pen.width - 4.0), low, highest, unit, &y);
        for (column, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let (from, to) = (y(f64::from(value.max(0.0))), y(f64::from(value.min(0.0))));
            let colour = pen.palette.css(if pen.marked(row, column) { "--pane-b" } else { "--pane-a" });
            let gap = if wide > 5.0 { 1.0 } else { 0.0 };
            body += &format!(
                "<rect x=\"{:.2}\" y=\"{from:.1}\" width=\"{:.2}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                left + column as f64 * wide + gap / 2.0,
                wide - gap,
                (to - from).max(0.5)
            );
        }
        let place = [left, top + 4.0, wide * columns as f64, high];
        panels.push(Panel { sheet: pen.sheet, first: (row, 0), size: (1, columns), place });
        top += high + 12.0;
    }
    let every = (11.0 / wide).ceil().max(1.0) as usize;
    let longest = grid.across.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).min(NAME) as f64;
    for (column, name) in grid.across.labels.iter().enumerate().filter(|(column, _)| column % every == 0) {
        let x = left + (column as f64 + 0.5) * wide - 3.0;
        body += &pen.words(x, top, &format!("transform=\"rotate(90 {x:.1} {top:.1})\""), &short(name));
    }
    Picture { body, size: (pen.width, top + longest * LETTER + 6.0), panels }
}
