//! One matrix: the map on a canvas, its axes, the crosshair over it, and its colour bar.
//!
//! The map is painted only when its numbers or colours change. The pointer moves a few SVG attributes in a layer above,
//! so sweeping over 262,144 cells costs no more than over nine.

use super::canvas::{drawn, follow_width, paint};
use super::colour::{Palette, Scaling, quantity_name};
use super::geometry::Geometry;
use super::grid::Reach;
use super::maps::Sheet;
use super::scene::{Column, Scene, Tip, or_masked, title};
use crate::experiment::Quantity;
use crate::ui::format;
use leptos::html::Div;
use leptos::prelude::*;
use std::sync::Arc;
use web_sys::{Element, HtmlCanvasElement};

/// The figure of one column.
#[component]
pub fn Matrix(
    /// Which column.
    column: Column,
) -> impl IntoView {
    let scene = Scene::here();
    let at = column as usize;
    let (sheet, scaling, geometry) = (scene.sheets[at], scene.scalings[at], scene.geometries[at]);
    let plot = NodeRef::<Div>::new();
    follow_width(plot, scene.widths[at]);

    let map = drawn(move |canvas| {
        let (geometry, scaling) = (geometry.get(), scaling.get());
        scene.palette.with(|palette| match sheet.get() {
            Some(sheet) => draw_map(&canvas, &sheet, geometry, scaling, palette),
            None => paint(&canvas, 1, 1, |_, _| palette.ground()),
        });
    });
    let slot_map = drawn(move |canvas| {
        let (slot, scaling) = (scene.slots[at].get(), scaling.get());
        scene.palette.with(|palette| match slot {
            Some(slot) => paint(&canvas, 1, slot.len(), |_, query| palette.colour(scaling, slot[query])),
            None => paint(&canvas, 1, 1, |_, _| palette.ground()),
        });
    });

    let total = Memo::new(move |_| sheet.get().map(|sheet| summary(&sheet, column, scene.quantity(), scene)));
    let point = move |event: web_sys::PointerEvent| {
        let Some(plot) = plot.get_untracked() else { return };
        let cell = under(&plot, geometry.get_untracked(), event.client_x(), event.client_y());
        let tip = cell.map(|_| Tip { x: f64::from(event.client_x()), y: f64::from(event.client_y()) });
        scene.point(cell, tip);
    };
    let pin = move |event: web_sys::MouseEvent| {
        let Some(plot) = plot.get_untracked() else { return };
        if let Some(cell) = under(&plot, geometry.get_untracked(), event.client_x(), event.client_y()) {
            scene.pin(cell);
        }
    };
    let value = move || {
        let cell = scene.cell.get()?;
        sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet.at(cell.query, cell.key))).filter(|value| !value.is_nan())
    };
    let pooled = move || geometry.with(|geometry| geometry.tokens > geometry.pixels());

    view! {
        <figure
            class="mx live" data-test="matrix" data-pane=column.word()
            data-head=move || scene.head.get().to_string()
            data-quantity=move || scene.quantity().word()
            data-tokens=move || geometry.with(|geometry| geometry.tokens)
            data-sum=move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet_sum(sheet, column).to_string()))
            data-largest=move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet.largest().to_string()))
            data-query=move || scene.cell.get().map(|cell| cell.query)
            data-key=move || scene.cell.get().map(|cell| cell.key)
            data-value=move || value().map(|value| value.to_string())
            data-high=move || scaling.get().high.to_string()
        >
            <figcaption><Caption column/><span class="num muted" data-test="total">{total}</span></figcaption>
            <div
                class="plot" node_ref=plot
                style:height=move || geometry.with(|geometry| format!("{}px", geometry.top + geometry.size().max(120.0)))
                on:pointermove=point on:pointerdown=point
                on:pointerleave=move |_| scene.point(None, None)
                on:click=pin
            >
                <canvas class="map" node_ref=map aria-hidden="true" style=move || placed(geometry.get())></canvas>
                <canvas class="map" node_ref=slot_map aria-hidden="true" style=move || slot_placed(geometry.get())></canvas>
                <Axes column/>
                <Cross column/>
                <Reach column/>
                {move || sheet.with(Option::is_none).then(|| view! { <p class="absent">{absent(scene, column)}</p> })}
            </div>
            <ColourBar scaling name=Signal::derive(move || bar_name(scene, column))/>
            <p class="cap note">{move || pooled().then_some("More tokens than pixels: each pixel shows the largest value it covers.")}</p>
        </figure>
    }
}

/// The cell under a point of the window.
fn under(plot: &Element, geometry: Geometry, x: i32, y: i32) -> Option<crate::ui::store::Cell> {
    let origin = plot.get_bounding_client_rect();
    geometry.cell_at(f64::from(x) - origin.left(), f64::from(y) - origin.top())
}

/// One canvas pixel per cell, or the largest magnitude of the cells a pixel covers.
fn draw_map(canvas: &HtmlCanvasElement, sheet: &Sheet, geometry: Geometry, scaling: Scaling, palette: &Palette) {
    let pixels = geometry.pixels().min(sheet.tokens);
    let span = |index: usize| {
        index * sheet.tokens / pixels..((index + 1) * sheet.tokens / pixels).max(index * sheet.tokens / pixels + 1)
    };
    paint(canvas, pixels, pixels, |x, y| {
        let value = if pixels == sheet.tokens { sheet.at(y, x) } else { pool(sheet, span(y), span(x)) };
        palette.colour(scaling, value)
    });
}

/// The value of largest magnitude in a block; NaN when all of it is masked.
pub fn pool(sheet: &Sheet, queries: std::ops::Range<usize>, keys: std::ops::Range<usize>) -> f32 {
    let block = queries.flat_map(|query| keys.clone().map(move |key| sheet.at(query, key)));
    block.fold(f32::NAN, |most, value| if value.abs() > most.abs() || most.is_nan() { value } else { most })
}

fn placed(geometry: Geometry) -> String {
    let size = geometry.size();
    format!("left:{}px;top:{}px;width:{size}px;height:{size}px", geometry.left, geometry.top)
}

fn slot_placed(geometry: Geometry) -> String {
    match geometry.slot {
        Some((x, width)) => format!("left:{x}px;top:{}px;width:{width}px;height:{}px", geometry.top, geometry.size()),
        None => "display:none".into(),
    }
}

/// Why there is no map.
fn absent(scene: Scene, column: Column) -> String {
    let pane = match column {
        Column::A => Some(0),
        Column::B => scene.other.get(),
        Column::Difference => None,
    };
    let head = scene.head.get();
    let fetched = pane.map(|pane| scene.store.head(pane, head)).unwrap_or_default();
    match fetched.trouble {
        Some(trouble) => trouble.message,
        None if scene.store.outcome.with(Option::is_none) => "Not run yet.".into(),
        None if column == Column::Difference => "There as soon as both panes are.".into(),
        None => format!("{head} is being computed."),
    }
}

/// Badge and name of a column.
#[component]
fn Caption(column: Column) -> impl IntoView {
    let scene = Scene::here();
    move || match (column, scene.other.get()) {
        (Column::A, _) => view! { <span class="badge-a">"A"</span>{title(scene.store, 0)} }.into_any(),
        (Column::B, Some(pane)) => {
            view! { <span class="badge-b">{scene.name(column)}</span>{title(scene.store, pane)} }.into_any()
        }
        (Column::B, None) => ().into_any(),
        (Column::Difference, _) => scene.name(column).into_any(),
    }
}

fn sheet_sum(sheet: &Sheet, column: Column) -> f32 {
    match column {
        Column::Difference => sheet.values.iter().filter(|value| !value.is_nan()).map(|value| value.abs()).sum(),
        _ => sheet.sum(),
    }
}

fn summary(sheet: &Sheet, column: Column, quantity: Quantity, scene: Scene) -> String {
    match (column, quantity) {
        (Column::Difference, Quantity::Pattern) => {
            format!("Σ|{}| {}", scene.name(column).replace(' ', ""), format::fixed(sheet_sum(sheet, column), 2))
        }
        (_, Quantity::Pattern) => format!("Σ weights {}", format::fixed(sheet.sum(), 2)),
        _ => format!("largest {}", format::four(sheet.largest())),
    }
}

/// Names of the axes, and one label per token as far as they fit.
#[component]
fn Axes(column: Column) -> impl IntoView {
    let scene = Scene::here();
    let geometry = scene.geometries[column as usize];
    move || {
        let g = geometry.get();
        let labels = scene.labels.get();
        let shown = |index: &usize| index % g.every == 0;
        let columns = (0..labels.len()).filter(shown).map(|key| {
            let place = format!("translate({:.1} {:.1}) rotate(-90)", g.x(key) + g.letter * 0.35, g.top - 5.0);
            view! { <text transform=place style:font-size=format!("{}px", g.letter)>{labels[key].clone()}</text> }
        });
        let rows = (0..labels.len()).filter(shown).map(|query| {
            let y = g.y(query) + g.letter * 0.35;
            view! { <text x=g.gutter() - 5.0 y=y text-anchor="end" style:font-size=format!("{}px", g.letter)>{labels[query].clone()}</text> }
        });
        let slot = g.slot.map(|(x, width)| {
            let place = format!("translate({:.1} {:.1}) rotate(-90)", x + width / 2.0 + g.letter * 0.35, g.top - 5.0);
            view! { <text class="ax" transform=place>"slot"</text> }
        });
        view! {
            <svg class="axes" aria-hidden="true" width="100%" height="100%">
                <text class="ax" x=g.gutter() - 5.0 y=g.top - 7.0 text-anchor="end">"from key →"</text>
                <text class="ax" transform=format!("translate(2 {}) rotate(90)", g.top)>"to query →"</text>
                {slot}
                {columns.collect_view()}
                {rows.collect_view()}
            </svg>
        }
    }
}

/// The pair that is read, its two labels, and lines to them.
#[component]
fn Cross(column: Column) -> impl IntoView {
    let scene = Scene::here();
    let geometry = scene.geometries[column as usize];
    let place = Memo::new(move |_| {
        let g = geometry.get();
        scene.cell.get().filter(|_| g.tokens > 0).map(|cell| (g, cell))
    });
    // A cell of one pixel still needs a ring that can be seen.
    let ring = move |grow: f64, axis: fn(Geometry, crate::ui::store::Cell) -> f64| {
        place.get().map(|(g, cell)| axis(g, cell) - g.cell.max(4.0) / 2.0 - grow).unwrap_or(-99.0)
    };
    let x = |g: Geometry, cell: crate::ui::store::Cell| g.x(cell.key);
    let y = |g: Geometry, cell: crate::ui::store::Cell| g.y(cell.query);
    let edge = move || place.get().map_or(0.0, |(g, _)| g.cell.max(4.0) + 2.0);
    let with = move |read: fn(Geometry, crate::ui::store::Cell) -> f64| {
        move || place.get().map_or(0.0, |(g, cell)| read(g, cell))
    };
    let text = move |position: fn(crate::ui::store::Cell) -> usize| {
        move || place.get().and_then(|(_, cell)| scene.labels.with(|labels| labels.get(position(cell)).cloned()))
    };
    let size = move || place.get().map_or(String::new(), |(g, _)| format!("{}px", g.letter));
    let turned = move || {
        place.get().map(|(g, cell)| {
            format!("translate({:.1} {:.1}) rotate(-90)", g.x(cell.key) + g.letter * 0.35, g.top - 5.0)
        })
    };
    view! {
        <svg class="cross" aria-hidden="true" width="100%" height="100%">
            <line class="guide" x1=with(|g, _| g.left) x2=with(|g, c| g.x(c.key) - g.cell / 2.0 - 1.0) y1=with(|g, c| g.y(c.query)) y2=with(|g, c| g.y(c.query))/>
            <line class="guide" x1=with(|g, c| g.x(c.key)) x2=with(|g, c| g.x(c.key)) y1=with(|g, _| g.top) y2=with(|g, c| g.y(c.query) - g.cell / 2.0 - 1.0)/>
            <rect class="halo" x=move || ring(1.0, x) y=move || ring(1.0, y) width=edge height=edge/>
            <rect class="ring" x=move || ring(1.0, x) y=move || ring(1.0, y) width=edge height=edge/>
            <text class="hot" x=with(|g, _| g.gutter() - 5.0) y=with(|g, c| g.y(c.query) + g.letter * 0.35) text-anchor="end" style:font-size=size>{text(|cell| cell.query)}</text>
            <text class="hot" transform=turned style:font-size=size>{text(|cell| cell.key)}</text>
        </svg>
    }
}

fn bar_name(scene: Scene, column: Column) -> String {
    let name = quantity_name(scene.quantity());
    if column == Column::Difference {
        format!("{name}, {}, ochre: {} larger", scene.name(column), scene.name(Column::B))
    } else {
        name.into()
    }
}

/// A labelled colour bar: ends, quantity, mode, and the colour of masked pairs.
#[component]
pub fn ColourBar(
    /// What the ends stand for.
    #[prop(into)]
    scaling: Signal<Scaling>,
    /// The quantity.
    #[prop(into)]
    name: Signal<String>,
) -> impl IntoView {
    let scene = Scene::here();
    let bar = drawn(move |canvas| {
        let diverging = scaling.get().diverging;
        scene.palette.with(|palette| paint(&canvas, 256, 1, |x, _| palette.along(diverging, x as f32 / 255.0)));
    });
    let ticks = move || {
        let scaling = scaling.get();
        let edge =
            |value: f32| if scaling.clipped && value != 0.0 { if value < 0.0 { "≤ " } else { "≥ " } } else { "" };
        let words = |value: f32| {
            format!("{}{}{}", edge(value), if scaling.diverging && value > 0.0 { "+" } else { "" }, tick(value))
        };
        scaling.ticks().into_iter().map(|(_, value)| view! { <span>{words(value)}</span> }).collect_view()
    };
    view! {
        <div class="cbar" data-test="colour-bar" data-low=move || { let s = scaling.get(); if s.diverging { -s.high } else { 0.0 } } data-high=move || scaling.get().high>
            <div><canvas node_ref=bar aria-hidden="true"></canvas><div class="ticks">{ticks}</div></div>
            <span class="masked">"masked"</span>
            <div class="what">{move || format!("{}, {}", name.get(), scaling.get().words())}</div>
        </div>
    }
}

fn tick(value: f32) -> String {
    let text = if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{:.2}", value) };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text };
    text.replace('-', "−")
}

/// The reading beside the pointer.
#[component]
pub fn Tooltip() -> impl IntoView {
    let scene = Scene::here();
    let quantity = move || quantity_name(scene.quantity()).to_lowercase();
    let shown = move || scene.tip.get().zip(scene.cell.get());
    let label = move |position: usize| scene.labels.with(|labels: &Arc<Vec<String>>| labels.get(position).cloned());
    let place = move || {
        let Some(tip) = scene.tip.get() else { return "display:none".to_string() };
        let (width, height) = viewport();
        // The box keeps its size, so it can be turned to the other side of the pointer without being measured.
        let x = if tip.x + 16.0 + 236.0 > width { (tip.x - 16.0 - 232.0).max(8.0) } else { tip.x + 16.0 };
        let y = if tip.y + 16.0 + 200.0 > height { (tip.y - 16.0 - 196.0).max(8.0) } else { tip.y + 16.0 };
        format!("transform:translate({x}px,{y}px)")
    };
    let line = move |column: Column| {
        let value = move || {
            let (_, cell) = shown()?;
            scene.sheets[column as usize].with(|sheet| sheet.as_ref().map(|sheet| sheet.at(cell.query, cell.key)))
        };
        let hidden = move || column != Column::A && scene.other.get().is_none();
        view! {
            <tr hidden=hidden data-test="tip-value" data-pane=column.word() data-value=move || value().filter(|v| !v.is_nan()).map(|v| v.to_string())>
                <td>{move || format!("{} {}", scene.name(column), if column == Column::A { quantity() } else { String::new() })}</td>
                <td>{move || value().map_or_else(|| "not there yet".into(), or_masked)}</td>
            </tr>
        }
    };
    let score = move |column: Column| {
        let value = move || {
            let (_, cell) = shown()?;
            scene.scores[column as usize].with(|sheet| sheet.as_ref().map(|sheet| sheet.at(cell.query, cell.key)))
        };
        let hidden =
            move || scene.quantity() == Quantity::Scores || (column != Column::A && scene.other.get().is_none());
        view! {
            <tr hidden=hidden data-test="tip-score" data-pane=column.word()>
                <td class="muted">{move || format!("score in {}", scene.name(column))}</td>
                <td>{move || value().map_or_else(|| "…".into(), or_masked)}</td>
            </tr>
        }
    };
    view! {
        <div class="tip" data-test="tip" style=place>
            <div><span class="muted">"query "</span><b class="mono">{move || shown().and_then(|(_, cell)| label(cell.query))}</b><span class="muted">{move || shown().map(|(_, cell)| format!(" {} of {}", cell.query, scene.labels.with(|labels| labels.len())))}</span></div>
            <div><span class="muted">"key "</span><b class="mono">{move || shown().and_then(|(_, cell)| label(cell.key))}</b><span class="muted">{move || shown().map(|(_, cell)| format!(" {}", cell.key))}</span></div>
            <table><tbody>{Column::ALL.map(line)}{[Column::A, Column::B].map(score)}</tbody></table>
        </div>
    }
}

fn viewport() -> (f64, f64) {
    let size = |value: Result<wasm_bindgen::JsValue, _>| value.ok().and_then(|value| value.as_f64()).unwrap_or(1024.0);
    (size(window().inner_width()), size(window().inner_height()))
}
