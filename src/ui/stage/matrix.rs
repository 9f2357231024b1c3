//! One matrix: the map on a canvas, its axes, the crosshair over it, and its colour bar.
//!
//! The map is painted only when its numbers or colours change. The pointer moves a few SVG attributes in a layer above,
//! so sweeping over 262,144 cells costs no more than over nine.

use super::canvas::{drawn, follow_width, paint};
use super::colour::{Palette, Scaling, quantity_name};
use super::colour_bar::ColourBar;
use super::cross::{Axes, Cross};
use super::geometry::Geometry;
use super::grid::Reach;
use super::maps::Sheet;
use super::scene::{Column, Scene, Tip, title};
use crate::experiment::Quantity;
use crate::ui::format;
use crate::ui::store::Cell;
use leptos::html::Div;
use leptos::prelude::*;
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
        let cell = cell.and_then(|cell| scene.from_column(column, cell));
        let tip = cell.map(|_| Tip { x: f64::from(event.client_x()), y: f64::from(event.client_y()) });
        scene.point(cell, tip);
    };
    let pin = move |event: web_sys::MouseEvent| {
        let Some(plot) = plot.get_untracked() else { return };
        let cell = under(&plot, geometry.get_untracked(), event.client_x(), event.client_y());
        if let Some(cell) = cell.and_then(|cell| scene.from_column(column, cell)) {
            scene.pin(cell);
        }
    };
    // In the column's own places, which are A's unless B read another text.
    let place = move || scene.in_column(column, scene.cell.get()?);
    let value = move || scene.value(column, scene.cell.get()?).filter(|value| !value.is_nan());

    let height = move || {
        let (geometry, width) = (geometry.get(), scene.widths[at].get());
        // Before the first run, room for a prompt that fills the column, so that little moves when it is there.
        let map = if geometry.tokens == 0 { (width - 80.0).max(120.0) } else { geometry.size().max(120.0) };
        format!("{}px", geometry.top + map)
    };
    let missing = move || {
        let words = move || absent(scene, column);
        sheet.with(Option::is_none).then(|| view! { <p class="absent">{words}</p> })
    };
    let note = move || {
        let pooled = geometry.with(|geometry| geometry.tokens > geometry.pixels());
        let own = scene.aligned.with(Option::is_some);
        match (pooled, column) {
            (true, _) => Some("More tokens than pixels: each pixel shows the largest value it covers."),
            (false, Column::B) if own => Some("Its own text; the pointer is linked where the texts are aligned."),
            (false, Column::Difference) if own => Some("On A's text; masked where B has no such pair."),
            _ => None,
        }
    };
    view! {
        <figure
            class="mx live" data-test="matrix" data-pane=column.word()
            data-head=move || scene.head.get().to_string()
            data-quantity=move || scene.quantity().word()
            data-tokens=move || geometry.with(|geometry| geometry.tokens)
            data-sum=move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet_sum(sheet, column).to_string()))
            data-largest=move || sheet.with(|sheet| sheet.as_ref().map(|sheet| sheet.largest().to_string()))
            data-query=move || place().map(|cell| cell.query)
            data-key=move || place().map(|cell| cell.key)
            data-value=move || value().map(|value| value.to_string())
            data-high=move || scaling.get().high.to_string()
        >
            <figcaption><Caption column/><span class="num muted" data-test="total">{total}</span></figcaption>
            <div
                class="plot" node_ref=plot style:height=height
                on:pointermove=point on:pointerdown=point on:pointerleave=move |_| scene.point(None, None)
                on:click=pin
            >
                <canvas class="map" node_ref=map aria-hidden="true" style=move || placed(geometry.get())></canvas>
                <canvas class="map" node_ref=slot_map aria-hidden="true" style=move || slot(geometry.get())></canvas>
                <Axes column/>
                <Cross column/>
                <Reach column/>
                {missing}
            </div>
            <ColourBar scaling name=Signal::derive(move || bar_name(scene, column))/>
            <p class="cap note">{note}</p>
        </figure>
    }
}

/// The cell under a point of the window.
fn under(plot: &Element, geometry: Geometry, x: i32, y: i32) -> Option<Cell> {
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

fn slot(geometry: Geometry) -> String {
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
        Column::Difference => sheet.total(f32::abs),
        _ => sheet.total(|value| value),
    }
}

fn summary(sheet: &Sheet, column: Column, quantity: Quantity, scene: Scene) -> String {
    match (column, quantity) {
        (Column::Difference, Quantity::Pattern) => {
            format!("Σ|{}| {}", scene.name(column).replace(' ', ""), format::fixed(sheet_sum(sheet, column), 2))
        }
        (_, Quantity::Pattern) => format!("Σ weights {}", format::fixed(sheet_sum(sheet, column), 2)),
        _ => format!("largest {}", format::four(sheet.largest())),
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
