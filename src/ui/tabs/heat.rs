//! Numbers or tokens in shaded cells: a table that can be read by pointer, by keyboard and by a screen reader, and the bar
//! that says what its colours stand for.
//!
//! It is one Tab stop. Arrows move among the cells, Home and End along a row; Enter or a click chooses.

use crate::ui::stage::colour::{Rgb, Scaling};
use leptos::html::Table;
use leptos::prelude::*;
use std::sync::Arc;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, KeyboardEvent};

/// One cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// Its colour; none leaves the ground.
    pub colour: Option<Rgb>,
    /// What a screen reader says.
    pub label: String,
    /// The number, for tests and exports; NaN where there is none.
    pub value: f32,
    /// Whether it is chosen.
    pub on: bool,
}

/// Rows and columns with their names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cells {
    /// What rows are and what columns are, for the corner.
    pub corner: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Row by row.
    pub cells: Vec<Cell>,
    /// The row and the column that are set apart from the rest.
    pub last: (Option<usize>, Option<usize>),
}

/// The table.
#[component]
pub fn Heat(
    /// What is seen.
    #[prop(into)]
    label: Signal<String>,
    /// Rows, columns and cells.
    #[prop(into)]
    cells: Signal<Arc<Cells>>,
    /// The cell under the pointer or the keyboard.
    at: RwSignal<Option<(usize, usize)>>,
    /// What choosing a cell does.
    #[prop(into)]
    choose: Callback<(usize, usize)>,
    /// `data-test` of the table.
    test: &'static str,
) -> impl IntoView {
    let table = NodeRef::<Table>::new();
    let place = |target: Option<web_sys::EventTarget>| {
        let cell = target?.dyn_into::<HtmlElement>().ok()?.closest("[data-column]").ok().flatten()?;
        let number = |name: &str| cell.get_attribute(name)?.parse::<usize>().ok();
        Some((number("data-row")?, number("data-column")?))
    };
    let focus = move |(row, column): (usize, usize)| {
        let selector = format!("[data-row='{row}'][data-column='{column}']");
        let found = table.get_untracked().and_then(|table| table.query_selector(&selector).ok().flatten());
        if let Some(cell) = found.and_then(|cell| cell.dyn_into::<HtmlElement>().ok()) {
            // A cell that is on screen takes the focus.
            let _ = cell.focus();
        }
    };
    let press = move |event: KeyboardEvent| {
        let Some((row, column)) = place(event.target()) else { return };
        let (rows, columns) = cells.with_untracked(|cells| (cells.rows.len(), cells.columns.len()));
        let to = match event.key().as_str() {
            "ArrowRight" => (row, (column + 1).min(columns - 1)),
            "ArrowLeft" => (row, column.saturating_sub(1)),
            "ArrowDown" => ((row + 1).min(rows - 1), column),
            "ArrowUp" => (row.saturating_sub(1), column),
            "Home" => (row, 0),
            "End" => (row, columns - 1),
            "Enter" | " " => {
                event.prevent_default();
                return choose.run((row, column));
            }
            _ => return,
        };
        event.prevent_default();
        focus(to);
    };
    // The one cell that Tab reaches: the last that had the focus, else the first.
    let stop = RwSignal::new((0, 0));
    let body = move || {
        let cells = cells.get();
        let columns = cells.columns.len();
        let (stop_row, stop_column) = stop.get_untracked();
        let stop = (stop_row.min(cells.rows.len().saturating_sub(1)), stop_column.min(columns.saturating_sub(1)));
        let row = |(row, name): (usize, &String)| {
            let cell = |(column, cell): (usize, &Cell)| {
                let style = cell.colour.map(|colour| {
                    let [red, green, blue] = colour;
                    format!("background:rgb({red} {green} {blue});color:{}", ink_on(colour))
                });
                view! {
                    <td
                        role="gridcell" data-row=row data-column=column data-value=cell.value.is_finite().then_some(cell.value)
                        tabindex=if (row, column) == stop { "0" } else { "-1" } class:on=cell.on
                        class:apart=cells.last.1 == Some(column) aria-label=cell.label.clone()
                        aria-selected=cell.on.then_some("true") style=style
                    >
                        {cell.text.clone()}
                    </td>
                }
            };
            let own = cells.cells.get(row * columns..(row + 1) * columns).unwrap_or(&[]);
            view! {
                <tr class:apart=cells.last.0 == Some(row)>
                    <th scope="row" title=name.clone()>{name.clone()}</th>
                    {own.iter().enumerate().map(cell).collect_view()}
                </tr>
            }
        };
        let head = |(column, name): (usize, &String)| {
            view! { <th scope="col" class:apart=cells.last.1 == Some(column) title=name.clone()><span>{name.clone()}</span></th> }
        };
        view! {
            <thead><tr><th scope="col">{cells.corner.clone()}</th>{cells.columns.iter().enumerate().map(head).collect_view()}</tr></thead>
            <tbody>{cells.rows.iter().enumerate().map(row).collect_view()}</tbody>
        }
    };
    let enter = move |event: web_sys::FocusEvent| {
        let Some((row, column)) = place(event.target()) else { return };
        let before = stop.get_untracked();
        stop.set((row, column));
        at.set(Some((row, column)));
        if let Some(table) = table.get_untracked() {
            let set = |(row, column): (usize, usize), index: &str| {
                let selector = format!("[data-row='{row}'][data-column='{column}']");
                if let Ok(Some(cell)) = table.query_selector(&selector) {
                    // A plain attribute can always be set.
                    let _ = cell.set_attribute("tabindex", index);
                }
            };
            set(before, "-1");
            set((row, column), "0");
        }
    };
    view! {
        <div class="heat-frame">
            <table
                class="heat" role="grid" data-test=test aria-label=label node_ref=table
                on:pointerover=move |event| at.set(place(event.target()))
                on:pointerleave=move |_| at.set(None)
                on:focusin=enter
                on:keydown=press
                on:click=move |event| if let Some(cell) = place(event.target()) { choose.run(cell) }
            >
                {body}
            </table>
        </div>
    }
}

/// Black or white, whichever is read better on a colour.
pub fn ink_on([red, green, blue]: Rgb) -> &'static str {
    let linear = |byte: u8| (f32::from(byte) / 255.0).powf(2.2);
    let light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    if light > 0.18 { "#14191b" } else { "#ffffff" }
}

/// What the colours stand for.
#[component]
pub fn Legend(
    /// The ends.
    #[prop(into)]
    scaling: Signal<Scaling>,
    /// The quantity, with its unit.
    #[prop(into)]
    name: Signal<String>,
) -> impl IntoView {
    let ticks = move || {
        let scaling = scaling.get();
        scaling.ticks().into_iter().map(|value| view! { <span>{scaling.tick_words(value)}</span> }).collect_view()
    };
    view! {
        <div class="legend" data-test="legend" data-high=move || scaling.get().high>
            <div class="ramp" class:diverging=move || scaling.get().diverging aria-hidden="true"></div>
            <div class="ticks">{ticks}</div>
            <div class="what">{move || name.get()}</div>
        </div>
    }
}
