//! The reading beside the pointer: both tokens, their positions, the value in every column, and the scores.

use super::colour::quantity_of_one;
use super::maps::Sheet;
use super::scene::{Column, Scene, or_masked};
use crate::experiment::Quantity;
use leptos::prelude::*;

/// The box keeps its size, so that it can be turned to the other side of the pointer without being measured.
const WIDTH: f64 = 232.0;
const HEIGHT: f64 = 196.0;
/// Between the pointer and the box.
const OFF: f64 = 16.0;

/// The reading of the pair under the pointer or the keyboard.
#[component]
pub fn Tooltip() -> impl IntoView {
    let scene = Scene::here();
    let shown = Memo::new(move |_| scene.cell.get().filter(|_| scene.tip.with(Option::is_some)));
    let place = move || {
        let Some(tip) = scene.tip.get() else { return "display:none".to_string() };
        let (width, height) = viewport();
        let beside =
            |at: f64, size: f64, room: f64| if at + OFF + size > room { (at - OFF - size).max(8.0) } else { at + OFF };
        format!("transform:translate({}px,{}px)", beside(tip.x, WIDTH, width), beside(tip.y, HEIGHT, height))
    };
    let label = move |position: usize| scene.labels.with(|labels| labels.get(position).cloned());
    let query = move || shown.get().and_then(|cell| label(cell.query));
    let key = move || shown.get().and_then(|cell| label(cell.key));
    let query_at = move || shown.get().map(|cell| format!(" {} of {}", cell.query, scene.labels.with(|l| l.len())));
    let key_at = move || shown.get().map(|cell| format!(" {}", cell.key));
    let compared = move |column: Column| column == Column::A || scene.other.with(Option::is_some);
    let values = Column::ALL.map(|column| {
        let name = Signal::derive(move || match column {
            Column::A => format!("A, {}", quantity_of_one(scene.quantity())),
            _ => scene.name(column),
        });
        let hidden = Signal::derive(move || !compared(column));
        view! { <Value test="tip-value" column name sheet=scene.sheets[column as usize] shown hidden/> }
    });
    let scores = [Column::A, Column::B].map(|column| {
        let name = Signal::derive(move || format!("score in {}", scene.name(column)));
        let hidden = Signal::derive(move || scene.quantity() == Quantity::Scores || !compared(column));
        view! { <Value test="tip-score" column name sheet=scene.scores[column as usize] shown hidden/> }
    });
    view! {
        <div class="tip" data-test="tip" style=place>
            <div>
                <span class="muted">"query "</span>
                <b class="mono">{query}</b>
                <span class="muted">{query_at}</span>
            </div>
            <div>
                <span class="muted">"key "</span>
                <b class="mono">{key}</b>
                <span class="muted">{key_at}</span>
            </div>
            <table><tbody>{values}{scores}</tbody></table>
        </div>
    }
}

/// One line of the reading.
#[component]
fn Value(
    test: &'static str,
    column: Column,
    name: Signal<String>,
    sheet: Memo<Option<Sheet>>,
    shown: Memo<Option<crate::ui::store::Cell>>,
    hidden: Signal<bool>,
) -> impl IntoView {
    let scene = Scene::here();
    let value = move || {
        let place = scene.in_column(column, shown.get()?);
        sheet.with(|sheet| {
            Some(place.map_or(f32::NAN, |cell| sheet.as_ref().map_or(f32::NAN, |sheet| sheet.at(cell.query, cell.key))))
                .filter(|_| sheet.is_some())
        })
    };
    let number = move || value().filter(|value| !value.is_nan()).map(|value| value.to_string());
    view! {
        <tr hidden=move || hidden.get() data-test=test data-pane=column.word() data-value=number>
            <td>{move || name.get()}</td>
            <td>{move || value().map_or_else(|| "not there yet".into(), or_masked)}</td>
        </tr>
    }
}

fn viewport() -> (f64, f64) {
    let size = |value: Result<wasm_bindgen::JsValue, _>| value.ok().and_then(|value| value.as_f64()).unwrap_or(1024.0);
    (size(window().inner_width()), size(window().inner_height()))
}
