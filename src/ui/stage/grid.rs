//! The matrix for the keyboard and for screen readers: a real grid, one tab stop, without one element per cell.
//!
//! Two grid cells take turns. A move fills the one that rests with the new pair and gives it the focus, so every move is
//! a real change of focus, which screen readers announce, and NVDA stays in its focus mode because the focus is on the
//! cell itself. Row and column counts say how large the grid really is.

use super::colour::quantity_of_one;
use super::scene::{Column, Scene, Tip, or_masked};
use crate::ui::store::Cell;
use leptos::html::Div;
use leptos::prelude::*;
use web_sys::KeyboardEvent;

/// How far the page keys go.
const BLOCK: usize = 8;

/// The grid of one column.
#[component]
pub fn Reach(
    /// Which column.
    column: Column,
) -> impl IntoView {
    let scene = Scene::here();
    let at = column as usize;
    let geometry = scene.geometries[at];
    let tokens = move || geometry.with(|geometry| geometry.tokens);
    let cells = [NodeRef::<Div>::new(), NodeRef::<Div>::new()];
    let turn = RwSignal::new(0usize);
    // Where the keyboard is, while it is here; otherwise the pair that is read.
    let own = RwSignal::new(None::<Cell>);
    let read = move || scene.cell.get().and_then(|cell| scene.in_column(column, cell));
    let here = Memo::new(move |_| own.get().or_else(read).unwrap_or(Cell { query: 0, key: 0 }));

    let pinned = Memo::new(move |_| {
        let (query, key) = scene.store.experiment.with(|experiment| (experiment.view.query, experiment.view.key));
        query.zip(key).and_then(|(query, key)| scene.in_column(column, Cell { query, key }))
    });

    let show = move |cell: Cell| {
        let g = geometry.get_untracked();
        let origin = cells[turn.get_untracked()]
            .get_untracked()
            .and_then(|node| node.offset_parent())
            .map(|plot| plot.get_bounding_client_rect());
        let tip = origin.map(|origin| Tip { x: origin.left() + g.x(cell.key), y: origin.top() + g.y(cell.query) });
        let cell = scene.from_column(column, cell);
        scene.point(cell, tip.filter(|_| cell.is_some()));
    };
    let go = move |to: Cell| {
        own.set(Some(to));
        let next = 1 - turn.get_untracked();
        turn.set(next);
        show(to);
        // After the cell has its new place and label.
        request_animation_frame(move || {
            if let Some(node) = cells[next].get_untracked() {
                // The page scrolls only when the cell would be out of sight.
                let _ = node.focus();
            }
        });
    };
    let press = move |event: KeyboardEvent| {
        let Some(last) = tokens().checked_sub(1) else { return };
        let at = own.get_untracked().or_else(|| untrack(read)).unwrap_or(Cell { query: last, key: 0 });
        match event.key().as_str() {
            "Enter" | " " => scene.from_column(column, at).into_iter().for_each(|cell| scene.pin(cell)),
            "Escape" => {
                scene.unpin();
                scene.point(None, None);
            }
            key => match moved(at, key, event.ctrl_key() || event.meta_key(), last) {
                Some(to) => go(to),
                None => return,
            },
        }
        event.prevent_default();
    };
    let cell = move |index: usize| {
        let mine = move || turn.get() == index;
        let label = move || {
            // The cell that rests is empty, so that browsing past the grid does not read a pair twice.
            if !mine() {
                return String::new();
            }
            let cell = here.get();
            let value = scene.sheets[at].with(|sheet| sheet.as_ref().map(|sheet| sheet.at(cell.query, cell.key)));
            let value = value.map_or_else(|| "not there yet".into(), or_masked);
            format!("{}; {} {value}", scene.pair_words_in(column, cell), quantity_of_one(scene.quantity()))
        };
        let place = move || {
            let (g, cell) = (geometry.get(), here.get());
            let (x, y) = (g.x(cell.key) - g.cell / 2.0, g.y(cell.query) - g.cell / 2.0);
            format!("left:{x}px;top:{y}px;width:{0}px;height:{0}px", g.cell)
        };
        view! {
            <div
                role="gridcell" class="reach-cell" node_ref=cells[index] data-test="grid-cell"
                tabindex=move || if mine() { "0" } else { "-1" }
                aria-colindex=move || here.get().key + 1
                aria-selected=move || (mine() && pinned.get() == Some(here.get())).to_string()
                aria-label=label
                style=place
            ></div>
        }
    };
    let name = move || format!("{}, {}: rows are queries, columns are keys", scene.name(column), scene.head.get());
    view! {
        <div
            role="grid" class="reach" data-test="grid"
            aria-label=name aria-rowcount=tokens aria-colcount=tokens aria-readonly="true"
            on:keydown=press
            on:focusin=move |_| if own.get_untracked().is_none() {
                let cell = untrack(read);
                own.set(cell);
                if let Some(cell) = cell { show(cell) }
            }
            on:focusout=move |event| {
                let stays = event.related_target().is_some_and(|to| cells.iter().any(|cell| {
                    cell.get_untracked().is_some_and(|cell| *AsRef::<web_sys::EventTarget>::as_ref(&cell) == to)
                }));
                if !stays {
                    own.set(None);
                    scene.point(None, None);
                }
            }
        >
            <div role="row" aria-rowindex=move || here.get().query + 1>{cell(0)}{cell(1)}</div>
        </div>
    }
}

/// Where a key leads; `None` when it is not ours.
fn moved(from: Cell, key: &str, control: bool, last: usize) -> Option<Cell> {
    let Cell { query, key: at } = from;
    let to = match (key, control) {
        ("ArrowUp", _) => Cell { query: query.saturating_sub(1), key: at },
        ("ArrowDown", _) => Cell { query: query + 1, key: at },
        ("ArrowLeft", _) => Cell { query, key: at.saturating_sub(1) },
        ("ArrowRight", _) => Cell { query, key: at + 1 },
        ("Home", false) => Cell { query, key: 0 },
        ("End", false) => Cell { query, key: last },
        ("Home", true) => Cell { query: 0, key: 0 },
        ("End", true) => Cell { query: last, key: last },
        ("PageUp", _) => Cell { query: query.saturating_sub(BLOCK), key: at },
        ("PageDown", _) => Cell { query: query + BLOCK, key: at },
        _ => return None,
    };
    Some(Cell { query: to.query.min(last), key: to.key.min(last) })
}
