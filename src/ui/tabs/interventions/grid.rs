//! A grid of effects as a shaded table with its colour bar, a line that reads the cell under the pointer, and its CSV.

use crate::lens::finding::{Finding, Found, Grid, Sheet};
use crate::ui::export::save;
use crate::ui::format::signed;
use crate::ui::stage::colour::{Palette, Scaling};
use crate::ui::stage::scene::palette;
use crate::ui::store::Store;
use crate::ui::tabs::heat::{Cell, Cells, Heat, Legend};
use leptos::prelude::*;
use std::sync::Arc;

/// How a grid is drawn.
#[derive(Clone, Copy)]
pub struct Drawn {
    /// The newest finding.
    pub finding: Signal<Option<Arc<Finding>>>,
    /// Id of the sheet that is shown.
    pub sheet: Signal<&'static str>,
    /// Whether rows and columns change places.
    pub turned: Signal<bool>,
    /// Whether a cell, by its row and column in the grid, is chosen.
    pub chosen: Callback<(usize, usize), bool>,
    /// What choosing a cell does.
    pub choose: Callback<(usize, usize)>,
    /// `data-test` of the table.
    pub test: &'static str,
}

/// The grid of a finding.
pub fn of(finding: &Finding) -> Option<&Grid> {
    match &finding.found {
        Found::Grid(grid) => Some(grid),
        _ => None,
    }
}

fn sheet<'a>(grid: &'a Grid, id: &str) -> Option<&'a Sheet> {
    grid.sheets.iter().find(|sheet| sheet.id == id)
}

/// Symmetric about zero; as wide as the whole effect where there is one.
fn scale(sheet: Option<&Sheet>) -> Scaling {
    let values = || sheet.into_iter().flat_map(|sheet| sheet.values.iter().copied()).filter(|value| value.is_finite());
    let most = values().fold(0.0f32, |most, value| most.max(value.abs()));
    let total = sheet.and_then(|sheet| sheet.total).map_or(0.0, f32::abs);
    let high = most.max(total);
    Scaling { diverging: true, high: if high > 0.0 { high } else { 1.0 }, root: false, clipped: false, fitted: true }
}

/// Table, colour bar and reading.
#[component]
pub fn Effects(drawn: Drawn) -> impl IntoView {
    let store = Store::here();
    let colours = palette(store);
    let Drawn { finding, sheet: shown, turned, chosen, choose, test } = drawn;
    let with = move |read: &dyn Fn(&Grid, Option<&Sheet>) -> Option<String>| {
        finding.with(|finding| {
            let grid = finding.as_deref().and_then(of)?;
            read(grid, sheet(grid, shown.get()))
        })
    };
    let scaling = Memo::new(move |_| {
        finding.with(|finding| scale(finding.as_deref().and_then(of).and_then(|grid| sheet(grid, shown.get()))))
    });
    let cells = Memo::new(move |_| {
        let made = finding.with(|finding| {
            let grid = finding.as_deref().and_then(of)?;
            let sheet = sheet(grid, shown.get())?;
            Some(
                colours
                    .with(|palette| cells(grid, sheet, scaling.get(), palette, turned.get(), &|cell| chosen.run(cell))),
            )
        });
        Arc::new(made.unwrap_or_default())
    });
    let at = RwSignal::new(None::<(usize, usize)>);
    let read = move || {
        let (row, column) = at.get()?;
        cells.with(|cells| cells.cells.get(row * cells.columns.len() + column).map(|cell| cell.label.clone()))
    };
    let name = Signal::derive(move || {
        with(&|_, sheet| sheet.map(|sheet| format!("{}{}", sheet.name, unit(&sheet.unit)))).unwrap_or_default()
    });
    let label = Signal::derive(move || {
        with(&|grid, sheet| sheet.map(|sheet| format!("{} by {} and {}", sheet.name, grid.down.name, grid.across.name)))
            .unwrap_or_default()
    });
    let strongest = move || {
        with(&|grid, sheet| {
            let sheet = sheet?;
            let all = sheet.values.iter().copied().enumerate().filter(|(_, value)| value.is_finite());
            let (at, _) = all.max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()))?;
            Some(format!("Strongest: {}.", words(grid, sheet, at)))
        })
    };
    let save_csv = move |_| {
        let csv = finding.with_untracked(|finding| finding.as_deref().and_then(of).map(Grid::csv));
        if let Some(csv) = csv
            && let Ok(blob) = save::blob(csv.as_bytes(), "text/csv")
        {
            // A browser may refuse downloads in a sandboxed frame; nothing else is lost.
            let _ = save::save(&blob, "attnscope-grid.csv");
        }
    };
    let turn = move |cell: (usize, usize)| if turned.get_untracked() { (cell.1, cell.0) } else { cell };
    view! {
        <figure class="effects" class:turned=move || turned.get()>
            <Heat label cells at choose=Callback::new(move |cell| choose.run(turn(cell))) test/>
            <Legend scaling name/>
            <div class="row spread">
                <p class="soft read-line" data-test="grid-read">{move || read().or_else(strongest)}</p>
                <button type="button" class="btn ghost" data-test="grid-csv" on:click=save_csv>"CSV"</button>
            </div>
        </figure>
    }
}

fn unit(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(", {unit}") }
}

/// One cell in words.
fn words(grid: &Grid, sheet: &Sheet, at: usize) -> String {
    let columns = grid.across.labels.len().max(1);
    let label = |labels: &[String], at: usize| labels.get(at).cloned().unwrap_or_default();
    let (down, across) = (label(&grid.down.labels, at / columns), label(&grid.across.labels, at % columns));
    let name = if grid.across.name == "head" { format!("{down}{across}") } else { format!("{down} at {across}") };
    let value = sheet.values.get(at).copied().unwrap_or(f32::NAN);
    let share = sheet.total.filter(|total| total.abs() > 1e-6).map(|total| 100.0 * value / total);
    // Rounds to nothing, which has no sign.
    let share = share.map(|share| format!(", {:.0}% of all", if share.abs() < 0.5 { 0.0 } else { share }));
    let unit = if sheet.unit.is_empty() { String::new() } else { format!(" {}", sheet.unit) };
    format!("{name}: {}{unit}{}", signed(value, 3), share.unwrap_or_default())
}

fn cells(
    grid: &Grid,
    sheet: &Sheet,
    scaling: Scaling,
    palette: &Palette,
    turned: bool,
    chosen: &dyn Fn((usize, usize)) -> bool,
) -> Cells {
    let across = grid.across.labels.len();
    let one = |row: usize, column: usize| {
        let at = row * across + column;
        let value = sheet.values.get(at).copied().unwrap_or(f32::NAN);
        let decimals = match scaling.high {
            high if high < 0.0995 => 3,
            high if high < 0.995 => 2,
            _ => 1,
        };
        // A zero says nothing, and most cells of a patch are zero.
        let text = if value == 0.0 || value.is_nan() { String::new() } else { signed(value, decimals) };
        let colour = (!text.is_empty()).then(|| palette.along(true, scaling.place(value)));
        Cell { text, colour, label: words(grid, sheet, at), value, on: chosen((row, column)) }
    };
    let down = grid.down.labels.len();
    let (rows, columns, cells) = match turned {
        true => (
            grid.across.labels.clone(),
            grid.down.labels.clone(),
            (0..across)
                .flat_map(|column| (0..down).map(move |row| (row, column)))
                .map(|(row, column)| one(row, column))
                .collect(),
        ),
        false => (
            grid.down.labels.clone(),
            grid.across.labels.clone(),
            (0..down)
                .flat_map(|row| (0..across).map(move |column| (row, column)))
                .map(|(row, column)| one(row, column))
                .collect(),
        ),
    };
    Cells { corner: String::new(), rows, columns, cells, last: (None, None) }
}
