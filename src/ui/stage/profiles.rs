//! Both directions of the pair that is read, and the same pair in every head.
//!
//! The bars stand on the matrix's own x positions, so that a column of the matrix can be followed down into them. They
//! are redrawn with every move of the pointer, hence on canvases: 3 × 512 rectangles in the document would be too many.

use super::canvas::{drawn, paint, sharp};
use super::colour::{Palette, Scaling};
use super::geometry::Geometry;
use super::maps::of_head;
use super::scene::{Column, Scene, fresh_maps};
use crate::experiment::Head;
use crate::outcome::{Outcome, arrays};
use crate::ui::format;
use crate::ui::store::{Cell, Store};
use leptos::prelude::*;
use web_sys::CanvasRenderingContext2d;

/// Height of the bars and of the marker under them, in CSS pixels.
const BARS: f64 = 64.0;
const MARKER: f64 = 12.0;
/// Height of one layer in the every-head map, in CSS pixels.
const LAYER: f64 = 18.0;

/// Row profile, column profile, and every head, for one column of the stage.
#[component]
pub fn Profiles(
    /// Which column.
    column: Column,
) -> impl IntoView {
    let scene = Scene::here();
    let labels = scene.columns[column as usize];
    let token = move |position: Option<usize>| {
        position.and_then(|position| labels.with(|labels| labels.get(position).cloned())).unwrap_or_default()
    };
    let place = move || scene.in_column(column, scene.cell.get()?);
    let query = move || place().map(|cell| cell.query);
    let key = move || place().map(|cell| cell.key);
    view! {
        <figure class="prof live" data-test="profiles" data-pane=column.word()>
            <div class="sub">
                <strong>"Row: "<span class="mono">{move || token(query())}</span>" reads"</strong>
                <span>"by key"</span>
            </div>
            <Bars column along=Along::Row/>
            <div class="sub">
                <strong>"Column: "<span class="mono">{move || token(key())}</span>" is read by"</strong>
                <span>"by query"</span>
            </div>
            <Bars column along=Along::Column/>
            <div class="sub">
                <strong>
                    <span class="mono">{move || token(query())}</span> " → "
                    <span class="mono">{move || token(key())}</span> " in every head"
                </strong>
                <span>"weight, layers × heads"</span>
            </div>
            <EveryHead column/>
        </figure>
    }
}

/// Which way a profile runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// What the query reads, by key.
    Row,
    /// What reads the key, by query.
    Column,
}

#[component]
fn Bars(column: Column, along: Along) -> impl IntoView {
    let scene = Scene::here();
    let at = column as usize;
    let values = Memo::new(move |_| {
        let cell = scene.in_column(column, scene.cell.get()?)?;
        scene.sheets[at].with(|sheet| {
            let sheet = sheet.as_ref()?;
            let values: Vec<f32> = match along {
                Along::Row => sheet.row(cell.query).collect(),
                Along::Column => sheet.column(cell.key).collect(),
            };
            // Values are compared for equality by the memo, and NaN would never be equal: masked pairs become `None`.
            Some(values.into_iter().map(|value| (!value.is_nan()).then_some(value)).collect::<Vec<_>>())
        })
    });
    let hot = move || {
        let cell = scene.in_column(column, scene.cell.get()?)?;
        Some(if along == Along::Row { cell.key } else { cell.query })
    };
    let canvas = drawn(move |canvas| {
        let (g, width) = (scene.geometries[at].get(), scene.widths[at].get());
        let Some(context) = sharp(&canvas, width, BARS + MARKER) else { return };
        if let Some(values) = values.get() {
            scene.palette.with(|palette| draw(&context, palette, g, scene.scalings[at].get(), column, &values, hot()));
        }
    });
    let described = move || {
        let Some(values) = values.get() else { return "not there yet".to_string() };
        let mut seen: Vec<_> = values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))).collect();
        seen.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        let name =
            |at: usize| scene.columns[column as usize].with(|labels| labels.get(at).cloned().unwrap_or_default());
        let top: Vec<_> =
            seen.iter().take(3).map(|(at, value)| format!("{} ({at}) {}", name(*at), format::four(*value))).collect();
        format!("largest: {}", if top.is_empty() { "all masked".into() } else { top.join(", ") })
    };
    let test = if along == Along::Row { "row-profile" } else { "column-profile" };
    view! {
        <canvas
            class="bars" node_ref=canvas role="img" data-test=test
            aria-label=described style=format!("height:{}px", BARS + MARKER)
        ></canvas>
    }
}

fn draw(
    context: &CanvasRenderingContext2d,
    palette: &Palette,
    g: Geometry,
    scaling: Scaling,
    column: Column,
    values: &[Option<f32>],
    hot: Option<usize>,
) {
    let (top, high) = (5.0, f64::from(scaling.high));
    let floor = if scaling.diverging { top + (BARS - top) / 2.0 } else { BARS };
    let unit = floor - top;
    // Half a pixel in, so that hairlines fill whole pixels.
    let y = |value: f64| (floor - value.clamp(-1.0, 1.0) * unit).round() + 0.5;
    let ticks: &[f64] = if scaling.diverging { &[1.0, 0.0, -1.0] } else { &[1.0, 0.5, 0.0] };
    context.set_font("10px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace");
    context.set_text_align("right");
    for &at in ticks {
        let words = scaling.tick_words(at as f32 * scaling.high);
        context.set_fill_style_str(palette.css(if at == 0.0 { "--line-strong" } else { "--line" }));
        context.fill_rect(g.left, y(at).floor(), g.size(), 1.0);
        context.set_fill_style_str(palette.css("--ink-3"));
        // Fails only for a context that is gone.
        let _ = context.fill_text(&words, g.left - 6.0, y(at) + 3.0);
    }
    // Masked runs as one rectangle each: fractional edges between cells would shimmer.
    context.set_fill_style_str(palette.css("--masked"));
    for run in masked_runs(values) {
        context.fill_rect(g.left + run.start as f64 * g.cell, top, run.len() as f64 * g.cell, BARS - top);
    }
    let gap = if g.cell >= 6.0 { 1.0 } else { 0.0 };
    let base = y(0.0).floor();
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let edge = y(f64::from(*value) / high).floor();
        let larger_in_b = if column == Column::Difference { *value < 0.0 } else { column == Column::B };
        context.set_fill_style_str(palette.css(if larger_in_b { "--pane-b" } else { "--pane-a" }));
        let x = g.left + index as f64 * g.cell + gap;
        context.fill_rect(x, edge.min(base), (g.cell - 2.0 * gap).max(0.75), (edge - base).abs().max(1.0));
    }
    if let Some(hot) = hot {
        let x = g.left + (hot as f64 + 0.5) * g.cell;
        context.set_fill_style_str(palette.css("--ink"));
        context.begin_path();
        context.move_to(x - 3.5, BARS + 9.0);
        context.line_to(x + 3.5, BARS + 9.0);
        context.line_to(x, BARS + 3.0);
        context.fill();
    }
}

/// Where values are missing, as runs.
fn masked_runs(values: &[Option<f32>]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..values.len()).filter(|at| values[*at].is_none()) {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// The weight of the pair in every head: `None` where it has not been computed, NaN where it is masked.
fn weight(store: Store, outcome: &Outcome, pane: usize, head: Head, cell: Cell) -> Option<f32> {
    let tokens = outcome.tokens_of(pane).len();
    let index = cell.query * tokens + cell.key;
    let stored = outcome.panes.get(pane)?.arrays.get(arrays::PATTERN).and_then(|array| of_head(array, head));
    match stored {
        Some(pattern) => pattern.get(index).copied(),
        None => fresh_maps(store, pane, head)?.pattern.data.get(index).copied(),
    }
}

#[component]
fn EveryHead(column: Column) -> impl IntoView {
    let scene = Scene::here();
    let store = scene.store;
    let at = column as usize;
    let size = Memo::new(move |_| {
        store.outcome.with(|outcome| outcome.as_ref().map_or((0, 0), |o| (o.model.layers, o.model.heads)))
    });
    let scaling =
        Scaling { diverging: column == Column::Difference, high: 1.0, root: false, clipped: false, fitted: false };
    let canvas = drawn(move |canvas| {
        let ((layers, heads), Some(cell)) = (size.get(), scene.cell.get()) else { return };
        let other = scene.other.get();
        let cell_b = scene.in_column(Column::B, cell);
        store.outcome.with(|outcome| {
            let Some(outcome) = outcome else { return };
            scene.palette.with(|palette| {
                paint(&canvas, heads, layers, |head, layer| {
                    let head = Head { layer, head };
                    let a = || weight(store, outcome, 0, head, cell);
                    let b = || weight(store, outcome, other?, head, cell_b?);
                    let value = match column {
                        Column::A => a(),
                        Column::B => b(),
                        Column::Difference => a().zip(b()).map(|(a, b)| match (a.is_nan(), b.is_nan()) {
                            (true, true) => f32::NAN,
                            (true, false) => -b,
                            (false, true) => a,
                            (false, false) => a - b,
                        }),
                    };
                    value.map_or(palette.ground(), |value| palette.colour(scaling, value))
                });
            });
        });
    });
    let pick = move |event: web_sys::MouseEvent| {
        let (layers, heads) = size.get_untracked();
        let size = scene.geometries[at].get_untracked().size();
        let along =
            |offset: i32, unit: f64, count: usize| ((f64::from(offset) / unit) as usize).min(count.saturating_sub(1));
        let head = Head {
            layer: along(event.offset_y(), LAYER, layers),
            head: along(event.offset_x(), size / heads.max(1) as f64, heads),
        };
        store.look(|view| view.pin = head);
    };
    let ring = move || {
        let (g, (_, heads), head) = (scene.geometries[at].get(), size.get(), scene.head.get());
        let width = g.size() / heads.max(1) as f64;
        format!(
            "left:{}px;top:{}px;width:{width}px;height:{LAYER}px",
            g.left + head.head as f64 * width,
            16.0 + head.layer as f64 * LAYER
        )
    };
    let geometry = scene.geometries[at];
    let beside = move || geometry.with(|g| format!("margin-left:{}px;width:{}px", g.left, g.size()));
    let across = move || (0..size.get().1).map(|head| view! { <span>{format!("H{head}")}</span> }).collect_view();
    let down = move || (0..size.get().0).map(|layer| view! { <span>{format!("L{layer}")}</span> }).collect_view();
    view! {
        <div class="heads" aria-hidden="true">
            <div class="hx" style=beside>{across}</div>
            <div class="hy" style=move || geometry.with(|g| format!("width:{}px", g.left - 6.0))>{down}</div>
            <canvas node_ref=canvas on:click=pick style=move || format!("{};height:{}px", beside(), LAYER * size.get().0 as f64)></canvas>
            <i style=ring></i>
        </div>
    }
}
