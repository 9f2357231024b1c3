//! What lies over a map: names of the axes, labels of the tokens, and the crosshair of the pair that is read.

use super::geometry::Geometry;
use super::scene::{Column, Scene};
use crate::ui::store::Cell;
use leptos::prelude::*;

/// How far a label's baseline lies under its middle, as a share of its letters.
const BASELINE: f64 = 0.35;

impl Geometry {
    /// A key's label: upwards from the map's upper edge.
    fn key_label(&self, x: f64) -> String {
        format!("translate({:.1} {:.1}) rotate(-90)", x + self.letter * BASELINE, self.top - 5.0)
    }

    /// Where the labels of the queries end.
    fn label_edge(&self) -> f64 {
        self.gutter() - 5.0
    }

    /// Size of the letters as a style.
    fn letters(&self) -> String {
        format!("{}px", self.letter)
    }
}

/// Names of the axes, and one label per token as far as they fit.
#[component]
pub fn Axes(
    /// Which column of the stage.
    column: Column,
) -> impl IntoView {
    let scene = Scene::here();
    let geometry = scene.geometries[column as usize];
    move || {
        let g = geometry.get();
        let labels = scene.columns[column as usize].get();
        let shown = (0..labels.len()).filter(|at| at % g.every == 0);
        let keys = shown.clone().map(|key| {
            view! { <text transform=g.key_label(g.x(key)) style:font-size=g.letters()>{labels[key].clone()}</text> }
        });
        let queries = shown.map(|query| {
            let y = g.y(query) + g.letter * BASELINE;
            let label = labels[query].clone();
            view! { <text x=g.label_edge() y=y text-anchor="end" style:font-size=g.letters()>{label}</text> }
        });
        let slot = g.slot.map(|(x, width)| {
            view! { <text class="ax" transform=g.key_label(x + width / 2.0)>"slot"</text> }
        });
        view! {
            <svg class="axes" aria-hidden="true" width="100%" height="100%">
                <text class="ax" x=g.label_edge() y=g.top - 19.0 text-anchor="end">"from key →"</text>
                <text class="ax" x=g.label_edge() y=g.top - 6.0 text-anchor="end">"to query ↓"</text>
                {slot}
                {keys.collect_view()}
                {queries.collect_view()}
            </svg>
        }
    }
}

/// The pair that is read: a ring, lines to its labels, and the labels themselves even where the axis leaves them out.
#[component]
pub fn Cross(
    /// Which column of the stage.
    column: Column,
) -> impl IntoView {
    let scene = Scene::here();
    let geometry = scene.geometries[column as usize];
    let place = Memo::new(move |_| {
        let g = geometry.get();
        let cell = scene.cell.get().filter(|_| g.tokens > 0)?;
        scene.in_column(column, cell).map(|cell| (g, cell))
    });
    let read = move |what: fn(Geometry, Cell) -> f64| move || place.get().map_or(0.0, |(g, cell)| what(g, cell));
    let label = move |position: fn(Cell) -> usize| {
        let labels = scene.columns[column as usize];
        move || place.get().and_then(|(_, cell)| labels.with(|labels| labels.get(position(cell)).cloned()))
    };
    let (x, y) = (read(|g, cell| g.x(cell.key)), read(|g, cell| g.y(cell.query)));
    let ring_x = read(|g, cell| g.x(cell.key) - ring(g) / 2.0);
    let ring_y = read(|g, cell| g.y(cell.query) - ring(g) / 2.0);
    let edge = read(|g, _| ring(g));
    let letters = move || place.get().map(|(g, _)| g.letters()).unwrap_or_default();
    let turned = move || place.get().map(|(g, cell)| g.key_label(g.x(cell.key)));
    view! {
        <svg class="cross" aria-hidden="true" width="100%" height="100%" style:display=move || place.get().is_none().then_some("none")>
            <line class="guide" x1=read(|g, _| g.left) x2=ring_x y1=y y2=y></line>
            <line class="guide" x1=x x2=x y1=read(|g, _| g.top) y2=ring_y></line>
            <rect class="halo" x=ring_x y=ring_y width=edge height=edge></rect>
            <rect class="ring" x=ring_x y=ring_y width=edge height=edge></rect>
            <text
                class="hot" text-anchor="end" style:font-size=letters
                x=read(|g, _| g.label_edge()) y=read(|g, cell| g.y(cell.query) + g.letter * BASELINE)
            >
                {label(|cell| cell.query)}
            </text>
            <text class="hot" transform=turned style:font-size=letters>{label(|cell| cell.key)}</text>
        </svg>
    }
}

/// Edge of the ring: around the cell, and never too small to be seen.
fn ring(g: Geometry) -> f64 {
    g.cell.max(4.0) + 2.0
}
