//! A drawing as SVG: the same picture on the page and in a file.
//!
//! Everything is drawn from [`Exhibit`] alone, so a drawing of another mechanism needs no code here. [`Picture::cell`] finds
//! what is under a point.

use super::ways::{self, Pen};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::lens::finding::Sheet;
use crate::ui::export::ink::{MONO, colour_bar, hex, text};
use crate::ui::stage::colour::{Palette, Rgb, Scaling};

/// A part of a picture whose cells are all of one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Panel {
    /// Index of the sheet it shows.
    pub sheet: usize,
    /// Row and column of its first cell.
    pub first: (usize, usize),
    /// Rows and columns.
    pub size: (usize, usize),
    /// Left, top, width, height.
    pub place: [f64; 4],
}

/// A drawn exhibit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Picture {
    /// SVG without its root.
    pub body: String,
    /// Width and height.
    pub size: (f64, f64),
    /// Where its cells are.
    pub panels: Vec<Panel>,
}

impl Picture {
    /// Sheet, row and column under a point.
    pub fn cell(&self, x: f64, y: f64) -> Option<(usize, usize, usize)> {
        self.panels.iter().find_map(|panel| {
            let [left, top, width, height] = panel.place;
            let (across, down) = ((x - left) / width, (y - top) / height);
            let inside = (0.0..1.0).contains(&across) && (0.0..1.0).contains(&down);
            let (rows, columns) = panel.size;
            let (row, column) = ((down * rows as f64) as usize, (across * columns as f64) as usize);
            inside.then_some((panel.sheet, panel.first.0 + row, panel.first.1 + column))
        })
    }
}

/// Sheets that are drawn by themselves.
pub fn shown(exhibit: &Exhibit) -> Vec<usize> {
    let outlined = |sheet: &Sheet| exhibit.outlined.as_deref() == Some(sheet.id.as_str());
    exhibit.grid.sheets.iter().enumerate().filter(|(_, sheet)| !outlined(sheet)).map(|(index, _)| index).collect()
}

/// What the colours of a sheet stand for: of a map weights, with a root; else from zero or around it.
pub fn scaling(exhibit: &Exhibit, sheet: &Sheet) -> Scaling {
    let finite = || sheet.values.iter().copied().filter(|value| value.is_finite());
    let most = finite().fold(0.0f32, |most, value| most.max(value.abs()));
    let diverging = finite().any(|value| value < 0.0);
    let high = sheet.total.unwrap_or(most);
    let high = if high > 0.0 { high } else { 1.0 };
    let root = matches!(exhibit.drawn, Drawn::Map | Drawn::Maps) && sheet.total.is_some();
    Scaling { diverging, high, root, clipped: most > high, fitted: false }
}

/// Draws one sheet, of small maps all.
pub fn draw(exhibit: &Exhibit, sheet: usize, width: f64, palette: &Palette) -> Picture {
    let pen = Pen { exhibit, sheet, width: width.max(200.0), palette };
    let mut picture = match exhibit.drawn {
        Drawn::Cells => ways::cells(&pen),
        Drawn::Map => ways::map(&pen),
        Drawn::Maps => ways::maps(&pen),
        Drawn::Tokens => ways::tokens(&pen),
        Drawn::Lines => ways::lines(&pen),
        Drawn::Bars => ways::bars(&pen),
    };
    if matches!(exhibit.drawn, Drawn::Cells | Drawn::Map | Drawn::Maps | Drawn::Tokens) {
        legend(&pen, &mut picture);
    }
    picture
}

/// What colours stand for, under a picture.
fn legend(pen: &Pen<'_>, picture: &mut Picture) {
    let top = picture.size.1 + 10.0;
    if pen.exhibit.classes.is_empty() {
        let Some(sheet) = pen.sheet() else { return };
        let name = match sheet.unit.as_str() {
            "" => sheet.name.clone(),
            unit => format!("{}, {unit}", sheet.name),
        };
        picture.body += &colour_bar(0.0, top, pen.width.min(380.0), scaling(pen.exhibit, sheet), &name, pen.palette);
        picture.size.1 = top + 40.0;
        return;
    }
    let (mut x, mut y) = (0.0, top);
    for (class, name) in pen.exhibit.classes.iter().enumerate() {
        // The number that stands in the cells, so that colour is not all there is.
        let name = format!("{class} {name}");
        let room = 27.0 + 6.7 * name.chars().count() as f64;
        if x > 0.0 && x + room > pen.width {
            (x, y) = (0.0, y + 18.0);
        }
        picture.body += &swatch(x, y, pen.palette.category(class));
        picture.body += &text(x + 15.0, y + 9.0, 11.0, pen.palette.css("--ink-2"), "", &name);
        x += room;
    }
    picture.size.1 = y + 16.0;
}

fn swatch(x: f64, y: f64, colour: Rgb) -> String {
    format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"11\" height=\"11\" fill=\"{}\"/>", hex(colour))
}

/// The whole picture as an SVG element with a name for those who do not see it.
pub fn element(picture: &Picture, label: &str) -> String {
    let (width, height) = picture.size;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{}\" font-family=\"{MONO}\">{}</svg>",
        crate::ui::export::ink::escape(label),
        picture.body
    )
}
