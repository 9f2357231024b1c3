//! One drawing with its name, its numbers, and what of it can be taken away.

use super::drawing::{self, Picture};
use crate::lens::exhibit::{Drawn, Exhibit};
use crate::ui::export::save::{blob, png, save};
use crate::ui::export::shown::Screen;
use crate::ui::export::{figure, ink};
use crate::ui::format::four;
use crate::ui::stage::colour::Palette;
use crate::ui::stage::scene::palette;
use crate::ui::store::Store;
use leptos::html::Div;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::sync::Arc;
use web_sys::{KeyboardEvent, PointerEvent};

/// Widest picture; beyond, lines only get longer.
const WIDEST: f64 = 620.0;

/// The figure.
#[component]
pub fn Figure(exhibit: Memo<Arc<Exhibit>>, width: RwSignal<f64>) -> impl IntoView {
    let store = Store::here();
    let colours = palette(store);
    let chosen = RwSignal::new(0usize);
    let sheets = Memo::new(move |_| exhibit.with(|exhibit| drawing::shown(exhibit)));
    let sheet = Memo::new(move |_| sheets.with(|all| all.get(chosen.get()).or(all.first()).copied().unwrap_or(0)));
    let picture = Memo::new(move |_| {
        let wide = width.get().clamp(200.0, WIDEST);
        let draw = |exhibit: &Arc<Exhibit>| colours.with(|palette| drawing::draw(exhibit, sheet.get(), wide, palette));
        Arc::new(exhibit.with(|exhibit| if exhibit.missing.is_empty() { draw(exhibit) } else { Picture::default() }))
    });
    let at = RwSignal::new(None::<(usize, usize, usize)>);
    let label = move || exhibit.with(|exhibit| format!("{}. {}", exhibit.name, exhibit.caption));
    let frame = NodeRef::<Div>::new();
    let point = move |event: PointerEvent| {
        let Some(frame) = frame.get_untracked() else { return };
        let edge = frame.get_bounding_client_rect();
        let (x, y) = (f64::from(event.client_x()) - edge.left(), f64::from(event.client_y()) - edge.top());
        at.set(picture.with_untracked(|picture| picture.cell(x, y)));
    };
    let press = move |event: KeyboardEvent| {
        let (rows, columns) = exhibit.with_untracked(|e| (e.grid.down.labels.len(), e.grid.across.labels.len()));
        let (shown, row, column) = at.get_untracked().unwrap_or((sheet.get_untracked(), 0, 0));
        let (row, column) = match event.key().as_str() {
            "ArrowRight" => (row, (column + 1).min(columns.saturating_sub(1))),
            "ArrowLeft" => (row, column.saturating_sub(1)),
            "ArrowDown" => ((row + 1).min(rows.saturating_sub(1)), column),
            "ArrowUp" => (row.saturating_sub(1), column),
            "Home" => (row, 0),
            "End" => (row, columns.saturating_sub(1)),
            _ => return,
        };
        event.prevent_default();
        at.set(Some((shown, row, column)));
    };
    let read = move || at.get().map(|at| exhibit.with(|exhibit| reading(exhibit, at)));
    let button = move |(index, sheet): (usize, usize)| {
        let name = exhibit.with(|exhibit| exhibit.grid.sheets.get(sheet).map(|sheet| sheet.name.clone()));
        view! {
            <button
                type="button" data-test="exhibit-sheet" aria-pressed=move || (chosen.get() == index).to_string()
                on:click=move |_| chosen.set(index)
            >
                {name}
            </button>
        }
    };
    let choice = move || {
        let several = sheets.with(Vec::len) > 1 && exhibit.with(|exhibit| exhibit.drawn != Drawn::Maps);
        several.then(|| {
            view! {
                <div class="seg" role="group" aria-label="What is shown">
                    {sheets.get().into_iter().enumerate().map(button).collect_view()}
                </div>
            }
        })
    };
    let facts = move || {
        exhibit.with(|exhibit| {
            let one = |fact: &crate::lens::finding::Fact| {
                let number = if fact.value.fract() == 0.0 { format!("{:.0}", fact.value) } else { four(fact.value) };
                let words = format!("{number} {}", fact.unit);
                view! {
                    <tr data-test="exhibit-fact" data-fact=fact.id.clone() data-value=fact.value>
                        <th scope="row">{fact.name.clone()}</th><td class="num">{words}</td>
                    </tr>
                }
            };
            (!exhibit.grid.facts.is_empty())
                .then(|| view! { <table class="tbl"><tbody>{exhibit.grid.facts.iter().map(one).collect_view()}</tbody></table> })
        })
    };
    let notes = move || {
        exhibit.with(|e| e.grid.notes.iter().map(|note| view! { <p class="cap">{note.clone()}</p> }).collect_view())
    };
    let drawn = move || exhibit.with(|exhibit| exhibit.missing.is_empty());
    let take = move |what: &'static str| {
        let exhibit = exhibit.get_untracked();
        let picture = picture.get_untracked();
        spawn_local(async move {
            // A browser may refuse downloads in a sandboxed frame; nothing else is lost.
            let _ = hand_out(store, &exhibit, &picture, what).await;
        });
    };
    let wares = ["CSV", "SVG", "PNG"].map(|what| {
        view! { <button type="button" class="btn ghost" data-test="exhibit-save" data-what=what on:click=move |_| take(what)>{what}</button> }
    });
    view! {
        <figure
            class="exhibit" data-test="exhibit" data-exhibit=move || exhibit.with(|exhibit| exhibit.id.clone())
            data-rows=move || exhibit.with(|exhibit| exhibit.grid.down.labels.len())
            data-columns=move || exhibit.with(|exhibit| exhibit.grid.across.labels.len())
        >
            <figcaption><strong>{move || exhibit.with(|exhibit| exhibit.name.clone())}</strong></figcaption>
            <p class="cap">{move || exhibit.with(|exhibit| exhibit.caption.clone())}</p>
            <p class="soft" hidden=drawn data-test="exhibit-missing">{move || exhibit.with(|exhibit| exhibit.missing.clone())}</p>
            <div hidden=move || !drawn()>
                {choice}
                <div
                    class="picture" node_ref=frame tabindex="0" role="group" aria-label=label
                    inner_html=move || picture.with(|picture| drawing::element(picture, &label()))
                    on:pointermove=point on:pointerleave=move |_| at.set(None) on:keydown=press
                ></div>
                <div class="row spread">
                    <p class="soft read-line" aria-live="polite" data-test="exhibit-read">{read}</p>
                    <span class="row">{wares}</span>
                </div>
                {facts}
                {notes}
            </div>
        </figure>
    }
}

/// A cell in words; of lines all values at the step.
fn reading(exhibit: &Exhibit, (sheet, row, column): (usize, usize, usize)) -> String {
    let grid = &exhibit.grid;
    let (Some(across), Some(shown)) = (grid.across.labels.get(column), grid.sheets.get(sheet)) else {
        return String::new();
    };
    let value = |row: usize| shown.values.get(row * grid.across.labels.len() + column).copied().unwrap_or(f32::NAN);
    let words = |value: f32| match exhibit.classes.get(value as usize) {
        _ if value.is_nan() => "–".to_string(),
        Some(class) => class.clone(),
        None => format!("{} {}", four(value), shown.unit).trim_end().to_string(),
    };
    match exhibit.drawn {
        Drawn::Lines => {
            let each = grid.down.labels.iter().enumerate().map(|(row, name)| format!("{name} {}", words(value(row))));
            format!("{} {across}: {}", grid.across.name, each.collect::<Vec<_>>().join(", "))
        }
        _ => {
            let down = grid.down.labels.get(row).cloned().unwrap_or_default();
            let down = if grid.down.labels.len() > 1 { format!("{} {down}, ", grid.down.name) } else { String::new() };
            format!("{down}{} {across}: {}, {}", grid.across.name, shown.name, words(value(row)))
        }
    }
}

/// Saves a drawing as what is asked for.
async fn hand_out(store: Store, exhibit: &Exhibit, picture: &Picture, what: &str) -> Option<()> {
    let stem = format!("attnscope-{}", exhibit.id.replace('.', "-"));
    if what == "CSV" {
        return save(&blob(exhibit.grid.csv().as_bytes(), "text/csv").ok()?, &format!("{stem}.csv")).ok();
    }
    let screen = Screen::of(store)?;
    let palette = Palette::read();
    let body = format!(
        "<g transform=\"translate({} {})\" font-family=\"{}\">{}</g>",
        figure::EDGE,
        figure::HEAD,
        ink::MONO,
        picture.body
    );
    let size =
        ((picture.size.0 + 2.0 * figure::EDGE).max(800.0), figure::HEAD + picture.size.1 + figure::FOOT + figure::EDGE);
    let svg = figure::frame(&screen, &palette, &format!("{}, {}", exhibit.name, screen.head), size, &body);
    match what {
        "SVG" => save(&blob(svg.as_bytes(), "image/svg+xml").ok()?, &format!("{stem}.svg")).ok(),
        _ => save(&png(&svg).await.ok()?, &format!("{stem}.png")).ok(),
    }
}
