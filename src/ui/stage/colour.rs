//! From numbers to colours: the ramps of the style sheet, and what their two ends stand for.
//!
//! Every colour comes from a custom property, so light and dark are one code path and the page's tokens stay the only
//! place where a colour is written. A masked pair has its own colour, which lies on no ramp.

use super::maps::Sheet;
use crate::experiment::{Quantity, Scale};
use leptos::prelude::{document, window};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// The colours that canvases paint with, as the style sheet has them now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Palette {
    sequential: Vec<Rgb>,
    diverging: Vec<Rgb>,
    categories: Vec<Rgb>,
    masked: Rgb,
    /// What was not computed, and the ground of a plot.
    surface: Rgb,
    named: Vec<(&'static str, String)>,
}

/// Properties that canvases use as they are.
const NAMED: [&str; 9] =
    ["--pane-a", "--pane-b", "--ink", "--ink-2", "--ink-3", "--line", "--line-strong", "--masked", "--accent-weak"];

impl Palette {
    /// Reads the style sheet.
    pub fn read() -> Self {
        let style = document().document_element().and_then(|root| window().get_computed_style(&root).ok().flatten());
        let get = |name: &str| style.as_ref().and_then(|style| style.get_property_value(name).ok()).unwrap_or_default();
        let stops = |stem: &str| (0..).map_while(|i| hex(&get(&format!("--{stem}-{i}")))).collect();
        Self {
            sequential: stops("seq"),
            diverging: stops("div"),
            categories: stops("cat"),
            masked: hex(&get("--masked")).unwrap_or_default(),
            surface: hex(&get("--surface")).unwrap_or_default(),
            named: NAMED.iter().map(|name| (*name, get(name).trim().to_string())).collect(),
        }
    }

    /// One of the custom properties that canvases use as they are.
    pub fn css(&self, name: &str) -> &str {
        self.named.iter().find(|(known, _)| *known == name).map_or("", |(_, colour)| colour)
    }

    /// The colour of a value; NaN is masked.
    pub fn colour(&self, scaling: Scaling, value: f32) -> Rgb {
        if value.is_nan() { self.masked } else { self.along(scaling.diverging, scaling.place(value)) }
    }

    /// The ramp at a place in 0..=1.
    pub fn along(&self, diverging: bool, place: f32) -> Rgb {
        between(if diverging { &self.diverging } else { &self.sequential }, place)
    }

    /// The colour of a class, counted from 0; there are eight, and the first is the quiet one.
    pub fn category(&self, class: usize) -> Rgb {
        self.categories.get(class % self.categories.len().max(1)).copied().unwrap_or_default()
    }

    /// The ground on which nothing was drawn.
    pub fn ground(&self) -> Rgb {
        self.surface
    }
}

/// `#rrggbb` as a colour.
fn hex(text: &str) -> Option<Rgb> {
    let digits = text.trim().strip_prefix('#')?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    match digits.len() {
        6 => Some([byte(0)?, byte(2)?, byte(4)?]),
        // A minified style sheet writes #1b1b1b in full but #fff short.
        3 => {
            let digit = |at: usize| u8::from_str_radix(digits.get(at..at + 1)?, 16).ok().map(|d| d * 17);
            Some([digit(0)?, digit(1)?, digit(2)?])
        }
        _ => None,
    }
}

/// Linear interpolation between the stops of a ramp.
fn between(stops: &[Rgb], place: f32) -> Rgb {
    let Some(last) = stops.len().checked_sub(1) else { return Rgb::default() };
    let along = place.clamp(0.0, 1.0) * last as f32;
    let low = (along as usize).min(last.saturating_sub(1));
    let part = along - low as f32;
    let high = stops[(low + 1).min(last)];
    std::array::from_fn(|i| (f32::from(stops[low][i]) * (1.0 - part) + f32::from(high[i]) * part).round() as u8)
}

/// What the ends of a colour bar stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Centred on zero with equal limits; otherwise from zero up.
    pub diverging: bool,
    /// The value at the upper end.
    pub high: f32,
    /// Square root of the value's share of the limit, sign kept.
    pub root: bool,
    /// Values beyond the ends are on screen, drawn in the end's colour.
    pub clipped: bool,
    /// The limit is that of the data shown, not a fixed one.
    pub fitted: bool,
}

impl Scaling {
    /// The wall's scale: weights from 0 to 1, square root, so that faint structure shows at thumbnail size.
    pub const WALL: Self = Self { diverging: false, high: 1.0, root: true, clipped: false, fitted: false };

    /// One scale for every pane that is shown, so that equal colours are equal numbers.
    ///
    /// Weights have a fixed scale, 0 to 1, unless the reader asks for the head's own range; scores and value-weighted
    /// patterns have no natural limit and always take the range of the data.
    pub fn of(quantity: Quantity, scale: Scale, difference: bool, shown: &[&Sheet]) -> Self {
        let finite = || shown.iter().flat_map(|sheet| sheet.values.iter().copied()).filter(|v| v.is_finite());
        let largest = finite().fold(0.0f32, |most, v| most.max(v.abs()));
        let diverging = difference || quantity == Quantity::Scores || finite().any(|v| v < 0.0);
        let fitted = scale == Scale::Head || quantity != Quantity::Pattern;
        let high = if fitted { if largest > 0.0 { largest } else { 1.0 } } else { 1.0 };
        // Scores are as often negative as positive and their zero means nothing, so a root would only distort them.
        let root = scale == Scale::Sqrt && quantity != Quantity::Scores;
        Self { diverging, high, root, clipped: largest > high, fitted }
    }

    /// Where a value lies on the ramp, 0..=1.
    pub fn place(self, value: f32) -> f32 {
        let share = (value / self.high).clamp(if self.diverging { -1.0 } else { 0.0 }, 1.0);
        let share = if self.root { share.signum() * share.abs().sqrt() } else { share };
        if self.diverging { 0.5 + share / 2.0 } else { share }
    }

    /// Values of the colour bar's ticks at its left end, middle and right end.
    pub fn ticks(self) -> [f32; 3] {
        // Under a square root the middle of the bar is a quarter of the limit.
        let middle = self.high * if self.root { 0.25 } else { 0.5 };
        if self.diverging { [-self.high, 0.0, self.high] } else { [0.0, middle, self.high] }
    }

    /// A tick as it is written; an end says so when values lie beyond it.
    pub fn tick_words(self, value: f32) -> String {
        let beyond = match (self.clipped && value.abs() == self.high, value < 0.0) {
            (true, true) => "≤ ",
            (true, false) => "≥ ",
            (false, _) => "",
        };
        let plus = if self.diverging && value > 0.0 { "+" } else { "" };
        format!("{beyond}{plus}{}", tick(value))
    }

    /// The mode in words, for the colour bar's label.
    pub fn words(self) -> String {
        let mode = match (self.root, self.diverging) {
            (false, false) => "linear",
            (false, true) => "linear, symmetric",
            (true, false) => "square-root scale",
            (true, true) => "square-root scale, symmetric",
        };
        format!(
            "{mode}{}{}",
            if self.fitted { ", this head’s range" } else { "" },
            if self.clipped { ", clipped at the ends" } else { "" }
        )
    }
}

/// What a quantity is called on a colour bar.
pub fn quantity_name(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Pattern => "Pattern",
        Quantity::Scores => "Score",
        Quantity::ValueWeighted => "Pattern × ‖v·W_O‖",
    }
}

/// The same for one number, inside a sentence.
pub fn quantity_of_one(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Pattern => "weight",
        Quantity::Scores => "score",
        Quantity::ValueWeighted => "weight × ‖v·W_O‖",
    }
}

/// A number on an axis or a colour bar: three significant digits, trailing zeros left out.
pub fn tick(value: f32) -> String {
    let size = value.abs();
    let decimals =
        if size >= 100.0 || size == 0.0 { 0 } else { (2 - size.log10().floor() as i32).clamp(0, 6) as usize };
    let text = format!("{size:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text };
    if value < 0.0 { format!("−{text}") } else { text }
}
