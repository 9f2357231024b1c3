//! CSV, JSON and npz of what is on screen.

use super::again;
use super::shown::{Screen, Shown};
use crate::api::protocol::{Matrix, Numbers};
use crate::experiment::{Experiment, PANE_NAMES};
use crate::hook::Array;
use crate::outcome::{EngineFacts, ModelFacts, Record};
use crate::ui::stage::metric::every;
use crate::ui::stage::scene::Column;
use serde::Serialize;

/// A cell of a CSV file.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// A masked pair is an empty cell.
fn number(value: f32) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

/// A matrix's name in files.
fn key(shown: &Shown) -> String {
    match shown.column {
        Column::Difference => "difference".into(),
        _ => shown.name.to_lowercase(),
    }
}

/// What must be equal for the numbers to come again, as JSON.
fn record(screen: &Screen) -> String {
    serde_json::to_string(&screen.outcome.record()).unwrap_or_default()
}

/// The same as the first line of a CSV file, which readers skip (`skiprows=1` in pandas).
fn noted(screen: &Screen) -> String {
    format!("# {}\r\n", record(screen))
}

/// One row per pair of the pinned head, one column per matrix.
pub fn csv(screen: &Screen) -> String {
    let names: Vec<_> = screen.matrices.iter().map(key).collect();
    let mut out = noted(screen) + &format!("query,query_token,key,key_token,{}\r\n", names.join(","));
    let tokens = &screen.outcome.tokens;
    for (query, reads) in tokens.iter().enumerate() {
        for (key, read) in tokens.iter().enumerate() {
            let values: Vec<_> = screen.matrices.iter().map(|shown| number(shown.at(query, key))).collect();
            let pair = format!("{query},{},{key},{}", cell(&reads.text), cell(&read.text));
            out += &format!("{pair},{}\r\n", values.join(","));
        }
    }
    out
}

/// One row per head of the wall.
pub fn wall_csv(screen: &Screen) -> String {
    let mut out = noted(screen) + &format!("layer,head,{}\r\n", screen.wall.metric.word());
    for (head, value) in every(screen.outcome.model.layers, screen.outcome.model.heads).zip(&screen.wall.values) {
        out += &format!("{},{},{}\r\n", head.layer, head.head, number(*value));
    }
    out
}

#[derive(Serialize)]
struct Everything<'a> {
    program: &'static str,
    record: Record,
    link: String,
    experiment: &'a Experiment,
    engine: &'a EngineFacts,
    model: &'a ModelFacts,
    numbers: Numbers,
    matrices: Vec<Named>,
    wall: WallNumbers<'a>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    matrix: Matrix,
}

#[derive(Serialize)]
struct WallNumbers<'a> {
    pane: &'a str,
    metric: &'a str,
    /// Layer by layer.
    values: Vec<Option<f32>>,
}

/// Everything as JSON; masked pairs are null.
///
/// # Errors
/// A sentence, when it cannot be written.
pub fn json(screen: &Screen) -> Result<String, String> {
    let named = |shown: &Shown| Named { name: key(shown), matrix: screen.values(shown) };
    let everything = Everything {
        program: concat!("attnscope ", env!("CARGO_PKG_VERSION")),
        record: screen.outcome.record(),
        link: again::address(screen),
        experiment: &screen.experiment,
        engine: &screen.outcome.engine,
        model: &screen.outcome.model,
        numbers: screen.numbers(),
        matrices: screen.matrices.iter().map(named).collect(),
        wall: WallNumbers {
            pane: &screen.wall.letter,
            metric: screen.wall.metric.word(),
            values: screen.wall.values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect(),
        },
    };
    serde_json::to_string(&everything).map_err(|problem| problem.to_string())
}

/// The matrices `[Q,K]` under their names, and every array of every pane under `pane.name`; masked pairs are NaN.
///
/// # Errors
/// A sentence, when it cannot be written.
pub fn npz(screen: &Screen) -> Result<Vec<u8>, String> {
    let square = |shown: &Shown| {
        let tokens = shown.sheet.tokens;
        Ok((key(shown), Array::new([tokens, tokens], shown.sheet.values.to_vec()).map_err(|error| error.to_string())?))
    };
    let matrices = screen.matrices.iter().map(square).collect::<Result<Vec<_>, String>>()?;
    let panes = PANE_NAMES.iter().zip(&screen.outcome.panes);
    let stored =
        panes.flat_map(|(name, pane)| pane.arrays.iter().map(move |(array, data)| (format!("{name}.{array}"), data)));
    let all = matrices.iter().map(|(name, array)| (name.clone(), array)).chain(stored);
    let mut bytes = Vec::new();
    crate::npz::write_noted(&mut bytes, all, &record(screen)).map_err(|problem| problem.to_string())?;
    Ok(bytes)
}
