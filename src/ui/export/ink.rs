//! Pieces of SVG: text, maps whose runs of equal colour are one shape, colour bars.

use crate::ui::stage::colour::{Palette, Rgb, Scaling};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Fonts that every system has.
pub const FONT: &str = "system-ui, sans-serif";
/// For tokens and numbers.
pub const MONO: &str = "ui-monospace, monospace";

/// Text that may stand in XML and HTML.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            // XML has no place for other control characters.
            c if c.is_control() && c != '\n' => safe += "\u{fffd}",
            c => safe.push(c),
        }
    }
    safe
}

/// `#rrggbb`
pub fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// One line of text.
pub fn text(x: f64, y: f64, size: f64, colour: &str, extra: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" {extra}>{}</text>", escape(words))
}

/// A map of `rows` × `columns` cells of one unit each. Runs of one colour in a row are one rectangle, and all rectangles
/// of a colour one path: what is drawn stays exact at every size and small as text.
pub fn map(rows: usize, columns: usize, colour: impl Fn(usize, usize) -> Rgb) -> String {
    let mut paths: BTreeMap<Rgb, String> = BTreeMap::new();
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let here = colour(row, column);
            let end = (column..columns).find(|next| colour(row, *next) != here).unwrap_or(columns);
            // Writing to a string cannot fail.
            let _ = write!(paths.entry(here).or_default(), "M{column} {row}h{0}v1h-{0}z", end - column);
            column = end;
        }
    }
    let shapes: Vec<_> =
        paths.iter().map(|(rgb, path)| format!("<path fill=\"{}\" d=\"{path}\"/>", hex(*rgb))).collect();
    shapes.concat()
}

/// A colour bar with its ticks, its words and the colour of masked pairs, `width` wide and 40 high.
pub fn colour_bar(x: f64, y: f64, width: f64, scaling: Scaling, name: &str, palette: &Palette) -> String {
    let steps = 64;
    let bar = map(1, steps, |_, step| palette.along(scaling.diverging, step as f32 / (steps - 1) as f32));
    let (ink, soft) = (palette.css("--ink"), palette.css("--ink-3"));
    let room = width - 70.0;
    let mut out = format!(
        "<g transform=\"translate({x:.1} {y:.1}) scale({:.4} 8)\" shape-rendering=\"crispEdges\">{bar}</g>",
        room / steps as f64
    );
    let anchors = [("start", x), ("middle", x + room / 2.0), ("end", x + room)];
    for (value, (anchor, at)) in scaling.ticks().into_iter().zip(anchors) {
        let extra = format!("text-anchor=\"{anchor}\" font-family=\"{MONO}\"");
        out += &text(at, y + 19.0, 10.0, soft, &extra, &scaling.tick_words(value));
    }
    out += &format!(
        "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"8\" height=\"8\" fill=\"{}\" stroke=\"{}\"/>",
        x + room + 12.0,
        palette.css("--masked"),
        palette.css("--line-strong")
    );
    out += &text(x + room + 24.0, y + 8.0, 10.0, soft, "", "masked");
    out + &text(x, y + 34.0, 11.0, ink, "", &format!("{name}, {}", scaling.words()))
}
