//! The matrices and the head wall as SVG, with legend and provenance.

use super::again;
use super::ink::{FONT, MONO, colour_bar, escape, hex, map, text};
use super::shown::{Screen, Shown};
use crate::ui::format;
use crate::ui::stage::colour::{Palette, Scaling, quantity_name};
use crate::ui::stage::geometry::Geometry;
use crate::ui::stage::matrix::pool;
use crate::ui::stage::scene::Column;
use crate::ui::stage::{maps, metric};
use crate::ui::topbar::tier;

/// Width of one matrix with its labels, in units of the drawing.
const WIDTH: f64 = 400.0;
/// Around everything, and between matrices.
pub const EDGE: f64 = 24.0;
/// Room above the matrices for title and prompt.
pub const HEAD: f64 = 66.0;
/// Room under everything for the provenance.
pub const FOOT: f64 = 62.0;
/// A map of the head wall.
const TILE: f64 = 84.0;
/// Most cells of a map on the wall in each direction.
const TILE_CELLS: usize = 42;
/// Letters of the prompt under a title.
const PROMPT_LETTERS: usize = 110;

/// The matrices on screen, side by side.
pub fn matrices(screen: &Screen, palette: &Palette) -> String {
    let letters = screen.matrices.iter().flat_map(|shown| &shown.labels).map(|label| label.chars().count());
    let longest = letters.max().unwrap_or(1);
    let slot = screen.matrices.iter().any(|shown| shown.slot.is_some());
    let fit = |shown: &Shown| Geometry::fit(WIDTH, shown.labels.len(), longest, slot);
    let geometry = Geometry::fit(WIDTH, screen.labels.len(), longest, slot);
    let height = HEAD + 22.0 + geometry.top + geometry.size() + 58.0 + FOOT;
    let width = (2.0 * EDGE + screen.matrices.len() as f64 * (WIDTH + EDGE) - EDGE).max(2.0 * WIDTH);
    let columns = screen.matrices.iter().enumerate().map(|(index, shown)| {
        let left = EDGE + index as f64 * (WIDTH + EDGE);
        format!("<g transform=\"translate({left} {HEAD})\">{}</g>", column(screen, shown, fit(shown), palette))
    });
    let title = format!("{}, {}", screen.head, quantity_name(screen.quantity));
    frame(screen, palette, &title, (width, height), &columns.collect::<String>())
}

fn column(screen: &Screen, shown: &Shown, g: Geometry, palette: &Palette) -> String {
    let (ink, soft, faint) = (palette.css("--ink"), palette.css("--ink-2"), palette.css("--ink-3"));
    let accent = match shown.column {
        Column::A => palette.css("--pane-a"),
        Column::B => palette.css("--pane-b"),
        Column::Difference => ink,
    };
    let name = match &shown.title {
        Some(title) => format!("{}  {title}", shown.name),
        None => shown.name.clone(),
    };
    let mut out = text(0.0, 12.0, 13.0, accent, "font-weight=\"600\"", &name);
    let colour = |value: f32| palette.colour(shown.scaling, value);
    let cells = map(g.tokens, g.tokens, |query, key| colour(shown.sheet.at(query, key)));
    let place = |x: f64, width: f64, cells: &str| {
        format!(
            "<g transform=\"translate({x:.2} {:.2}) scale({width:.4} {:.4})\" shape-rendering=\"crispEdges\">{cells}</g>",
            g.top, g.cell
        )
    };
    out += "<g transform=\"translate(0 22)\">";
    out += &place(g.left, g.cell, &cells);
    if let (Some((x, width)), Some(slot)) = (g.slot, &shown.slot) {
        out += &place(x, width, &map(g.tokens, 1, |query, _| colour(slot[query])));
    }
    let turned =
        |x: f64| format!("transform=\"translate({x:.1} {:.1}) rotate(-90)\" font-family=\"{MONO}\"", g.top - 5.0);
    let edge = g.gutter() - 5.0;
    let below = g.letter * 0.35;
    for (at, label) in shown.labels.iter().enumerate().filter(|(at, _)| at % g.every == 0) {
        out += &text(0.0, 0.0, g.letter, soft, &turned(g.x(at) + below), label);
        let extra = format!("text-anchor=\"end\" font-family=\"{MONO}\"");
        out += &text(edge, g.y(at) + below, g.letter, soft, &extra, label);
    }
    if let Some((x, width)) = g.slot {
        out += &text(0.0, 0.0, g.letter, faint, &turned(x + width / 2.0 + below), "slot");
    }
    out += &text(edge, g.top - 19.0, 10.0, faint, "text-anchor=\"end\"", "from key →");
    out += &text(edge, g.top - 6.0, 10.0, faint, "text-anchor=\"end\"", "to query ↓");
    let name = match shown.column {
        Column::Difference => format!("{}, {}", quantity_name(screen.quantity), shown.name),
        _ => quantity_name(screen.quantity).into(),
    };
    out += &colour_bar(0.0, g.top + g.size() + 14.0, WIDTH, shown.scaling, &name, palette);
    out + "</g>"
}

/// Every head of the pane on the wall, with its number.
pub fn wall(screen: &Screen, palette: &Palette) -> String {
    let (layers, heads) = (screen.outcome.model.layers, screen.outcome.model.heads);
    let tokens = screen.outcome.tokens_of(screen.experiment.view.wall).len();
    let (soft, faint) = (palette.css("--ink-2"), palette.css("--ink-3"));
    let step = (TILE + 8.0, TILE + 22.0);
    let (left, top) = (EDGE + 26.0, HEAD + 26.0);
    let mut out = String::new();
    for layer in 0..layers {
        out += &text(EDGE, top + (layer as f64) * step.1 + TILE / 2.0, 11.0, faint, "", &format!("L{layer}"));
    }
    for head in 0..heads {
        let x = left + head as f64 * step.0 + TILE / 2.0;
        out += &text(x, top - 8.0, 11.0, faint, "text-anchor=\"middle\"", &format!("H{head}"));
    }
    for (index, head) in metric::every(layers, heads).enumerate() {
        let (x, y) = (left + head.head as f64 * step.0, top + head.layer as f64 * step.1);
        let sheet = screen.wall.heads.get(index).and_then(Option::as_ref);
        let edge = tokens.min(TILE_CELLS);
        let span = |at: usize| at * tokens / edge..((at + 1) * tokens / edge).max(at * tokens / edge + 1);
        let cells = match sheet {
            Some(sheet) => map(edge, edge, |y, x| palette.colour(Scaling::WALL, pool(sheet, span(y), span(x)))),
            None => map(1, 1, |_, _| palette.ground()),
        };
        let scale = TILE / if sheet.is_some() { edge as f64 } else { 1.0 };
        let ring = if head == screen.head { palette.css("--ink") } else { palette.css("--line") };
        out += &format!(
            "<g transform=\"translate({x:.1} {y:.1}) scale({scale:.4})\" shape-rendering=\"crispEdges\">{cells}</g>\
             <rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{TILE}\" height=\"{TILE}\" fill=\"none\" stroke=\"{ring}\"/>"
        );
        let value = screen.wall.values.get(index).copied().unwrap_or(f32::NAN);
        let words = if value.is_nan() { "–".into() } else { format::fixed(value, 3) };
        let extra = format!("text-anchor=\"middle\" font-family=\"{MONO}\"");
        out += &text(x + TILE / 2.0, y + TILE + 12.0, 10.5, soft, &extra, &words);
    }
    let below = top + layers as f64 * step.1 + 10.0;
    out += &colour_bar(left, below, WIDTH, Scaling::WALL, "Pattern", palette);
    let numbers = format!(
        "Number under a head: {}, {}",
        metric::name(screen.wall.metric),
        metric::basis(screen.wall.metric, tokens, screen.wall.position)
    );
    out += &text(left, below + 52.0, 11.0, soft, "", &numbers);
    let width = (left + heads as f64 * step.0 + EDGE).max(2.0 * WIDTH);
    let title = format!("Every head, pane {}", screen.wall.letter);
    frame(screen, palette, &title, (width, below + 66.0 + FOOT), &out)
}

/// Title and prompt above, provenance below, and the whole link inside.
pub fn frame(screen: &Screen, palette: &Palette, title: &str, (width, height): (f64, f64), body: &str) -> String {
    let (ink, soft, faint) = (palette.css("--ink"), palette.css("--ink-2"), palette.css("--ink-3"));
    let ground = hex(palette.ground());
    let link = again::address(screen);
    let foot = height - FOOT + 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"{FONT}\" xml:space=\"preserve\" role=\"img\"><title>{}</title><desc>{}</desc><rect width=\"100%\" height=\"100%\" fill=\"{ground}\"/>",
        escape(title),
        escape(&format!("{} {link}", screen.sentence())),
    );
    out += &text(EDGE, 30.0, 16.0, ink, "font-weight=\"600\"", title);
    let prompt = match &screen.experiment.prompt_b {
        Some(own) => format!("A: {}   B: {own}", screen.experiment.prompt),
        None => screen.experiment.prompt.clone(),
    };
    out += &text(EDGE, 50.0, 12.0, soft, "", &shorten(&prompt, PROMPT_LETTERS));
    out += body;
    out += &text(EDGE, foot, 10.5, soft, "", &provenance(screen));
    out += &text(EDGE, foot + 16.0, 10.5, soft, "", &screen.panes_in_words());
    out += &text(EDGE, foot + 32.0, 10.0, faint, &format!("font-family=\"{MONO}\""), &shorten(&link, PROMPT_LETTERS));
    out + "</svg>"
}

/// What computed this, and on what.
pub fn provenance(screen: &Screen) -> String {
    let engine = &screen.outcome.engine;
    let check =
        engine.self_check.map_or("self-check not run".into(), |error| format!("self-check {}", format::four(error)));
    let hash = screen.outcome.model.sha256.get(..12).map(|digits| format!(" {digits}")).unwrap_or_default();
    let versions = screen.outcome.mechanisms.iter().map(|(id, version)| format!("{id} {version}"));
    format!(
        "attnscope {}, model {}{hash}, {}, seed {}, {} tokens, computed on {} ({}), {check}",
        engine.build,
        screen.outcome.model.id,
        versions.collect::<Vec<_>>().join(", "),
        screen.outcome.seed,
        screen.outcome.tokens.len(),
        tier(engine),
        engine.adapter
    )
}

/// The beginning of a text on one line.
fn shorten(text: &str, letters: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    if line.chars().count() <= letters { line } else { line.chars().take(letters).chain(['…']).collect() }
}

/// The wall's maps: one sheet per head, layer by layer, where it has been computed.
pub fn sheets(
    screen: &crate::outcome::Outcome,
    pane: usize,
    held: impl Fn(crate::experiment::Head) -> maps::Held,
) -> Vec<Option<maps::Sheet>> {
    let every = metric::every(screen.model.layers, screen.model.heads);
    every
        .map(|head| maps::sheet(screen, held(head).0.as_deref(), pane, head, crate::experiment::Quantity::Pattern))
        .collect()
}
