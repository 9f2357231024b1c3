//! The map of a pane grown by what it wrote: rows of the prompt, then one for each written token.

use super::format;
use super::stage::canvas::{drawn, paint};
use super::stage::colour::Scaling;
use super::stage::maps::Sheet;
use super::stage::matrix::pool;
use super::stage::scene::{or_masked, palette};
use super::store::grown::Grown;
use super::store::{Cell, Store};
use leptos::html::Canvas;
use leptos::prelude::*;

/// Most canvas pixels of an edge; more than that no column has.
const MOST_PIXELS: usize = 512;

/// The map, and the pair under the pointer in words.
#[component]
pub fn GrownMap(
    /// Index of the pane.
    pane: usize,
) -> impl IntoView {
    let store = Store::here();
    let grown = Memo::new(move |_| store.grown(pane));
    let sheet = Memo::new(move |_| grown.with(|grown| grown.as_ref().and_then(|grown| grown.sheet.clone())));
    // Before the rows of what was written stand those of the prompt.
    let prompt =
        Memo::new(move |_| store.outcome.with(|outcome| outcome.as_ref().map_or(0, |o| o.tokens_of(pane).len())));
    let palette = palette(store);
    let map = drawn(move |canvas| {
        palette.with(|palette| match sheet.get() {
            Some(sheet) => {
                let scaling = Scaling { diverging: sheet.values.iter().any(|weight| *weight < 0.0), ..Scaling::WALL };
                let pixels = sheet.tokens.min(MOST_PIXELS);
                let span = |at: usize| at * sheet.tokens / pixels..((at + 1) * sheet.tokens).div_ceil(pixels);
                paint(&canvas, pixels, pixels, |x, y| palette.colour(scaling, pool(&sheet, span(y), span(x))));
            }
            None => paint(&canvas, 1, 1, |_, _| palette.ground()),
        });
    });
    let cell = RwSignal::new(None::<Cell>);
    let point = move |event: web_sys::PointerEvent| cell.set(under(map, sheet, &event));
    let name = move || grown.with(|grown| grown.as_ref().map(|grown| grown.head.to_string()));
    let text = move |at: usize| {
        let written = |at: usize| store.continuation(pane).and_then(|written| written.tokens.get(at).cloned());
        let token = match at.checked_sub(prompt.get()) {
            Some(at) => written(at),
            None => store.outcome.with(|outcome| outcome.as_ref().and_then(|o| o.tokens_of(pane).get(at).cloned())),
        };
        token.map(|token| format::plain(&token)).unwrap_or_default()
    };
    let reading = move || {
        let Some((sheet, Grown { kept, .. })) = sheet.get().zip(grown.get()) else { return String::new() };
        // Without a pointer, what the newest row reads most.
        let newest = || Some(Cell { query: sheet.tokens - 1, key: sheet.strongest(sheet.tokens - 1)? });
        let pair = cell.get().or_else(newest).map(|Cell { query, key }| {
            let value = or_masked(sheet.at(query, key));
            format!("{query} {} reads {key} {}: {value}. ", text(query), text(key))
        });
        let source = if kept { "From what the GPU kept while it wrote" } else { "From one more pass" };
        format!("{}{source}; the last token is read with the next one.", pair.unwrap_or_default())
    };
    let trouble = move || grown.with(|grown| grown.as_ref().and_then(|grown| grown.trouble.clone()));
    let rows = move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet.tokens.saturating_sub(prompt.get())));
    let label = move || {
        let rows = rows().unwrap_or(0);
        format!(
            "{} over prompt and continuation: {} rows, {rows} of them written",
            name().unwrap_or_default(),
            rows + prompt.get()
        )
    };
    // Where the rows of the prompt end.
    let line = move || {
        let tokens = sheet.with(|sheet| sheet.as_ref().map_or(1, |sheet| sheet.tokens)).max(1);
        format!("top:{}%", 100.0 * prompt.get() as f32 / tokens as f32)
    };
    let figure = move || {
        view! {
            <figure
                class="grown" data-test="grown" data-head=name
                data-tokens=move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet.tokens))
                data-rows=rows
                data-kept=move || grown.with(|grown| grown.as_ref().map(|grown| grown.kept.to_string()))
                data-sum=move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet.total(|value| value).to_string()))
            >
                <figcaption class="sub"><strong>{name}</strong>" over prompt and continuation"</figcaption>
                <div class="grown-map" role="img" aria-label=label on:pointermove=point on:pointerleave=move |_| cell.set(None)>
                    <canvas class="map" node_ref=map aria-hidden="true"></canvas>
                    <i style=line aria-hidden="true"></i>
                </div>
                <p class="cap" data-test="grown-reading">{reading}</p>
            </figure>
        }
    };
    let there = Memo::new(move |_| sheet.with(Option::is_some));
    view! {
        {move || there.get().then(figure)}
        {move || trouble().map(|trouble| view! { <p class="cap" data-test="grown-trouble">{trouble.message}</p> })}
    }
}

/// The cell under the pointer.
fn under(map: NodeRef<Canvas>, sheet: Memo<Option<Sheet>>, event: &web_sys::PointerEvent) -> Option<Cell> {
    let tokens = sheet.with_untracked(|sheet| sheet.as_ref().map(|sheet| sheet.tokens))?;
    let place = map.get_untracked()?.get_bounding_client_rect();
    let along = |offset: f64, size: f64| {
        let share = offset / size;
        (0.0..1.0).contains(&share).then_some((share * tokens as f64) as usize)
    };
    let query = along(f64::from(event.client_y()) - place.top(), place.height())?;
    let key = along(f64::from(event.client_x()) - place.left(), place.width())?;
    Some(Cell { query, key })
}
