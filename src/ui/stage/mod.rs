//! The instruments: the head wall, and the pinned head large in A, B and their difference.
//!
//! | Part | Idea |
//! |---|---|
//! | [`scene`] | what is shown now, derived once |
//! | [`maps`], [`colour`], [`geometry`] | numbers, what colour they have, where they stand; no drawing |
//! | [`canvas`] | drawing, and following an element's width |
//! | [`matrix`], [`cross`], [`tooltip`], [`grid`] | one matrix for the eye and the pointer; the same for keyboard and screen reader |
//! | [`sentence`], [`profiles`] | the pair that is read: in words, in both directions, in every head |
//! | [`wall`], [`tiles`], [`metric`] | every head at once, with a number each |

pub mod canvas;
pub mod colour;
pub mod colour_bar;
pub mod cross;
pub mod geometry;
pub mod grid;
pub mod maps;
pub mod matrix;
pub mod metric;
pub mod profiles;
pub mod scene;
pub mod sentence;
pub mod tiles;
pub mod tooltip;
pub mod wall;

use crate::experiment::{Quantity, Scale};
use crate::ui::store::Store;
use crate::ui::tabs::roles_in_words;
use leptos::prelude::*;
use matrix::Matrix;
use profiles::Profiles;
use scene::{Column, Scene};
use sentence::Sentence;
use tooltip::Tooltip;
use web_sys::KeyboardEvent;

/// Matrix bar, three matrices, sentence and profiles.
#[component]
pub fn Stage() -> impl IntoView {
    let scene = Scene::provide();
    let keys = window_event_listener(leptos::ev::keydown, move |event| press(scene.store, &event));
    on_cleanup(move || keys.remove());
    let shown =
        move || Column::ALL.into_iter().filter(move |column| *column == Column::A || scene.other.get().is_some());
    view! {
        <Bar/>
        <div class="three matrices">{move || shown().map(|column| view! { <Matrix column/> }).collect_view()}</div>
        <Sentence/>
        <div class="three profiles">{move || shown().map(|column| view! { <Profiles column/> }).collect_view()}</div>
        <Tooltip/>
    }
}

/// Which head, which quantity, which scale.
#[component]
fn Bar() -> impl IntoView {
    let scene = Scene::here();
    let store = scene.store;
    let previewed =
        move || store.experiment.with(|experiment| scene::within(store, experiment.view.pin)) != scene.head.get();
    // A role is shown only after probes have been run, which the tab of the roles asks for.
    let role = move || {
        let report = store.roles(0).value?;
        let (head, heads) = (scene.head.get(), store.outcome.with(|outcome| outcome.as_ref().map(|o| o.model.heads))?);
        Some(
            view! { <span class="tag" title="From probes, in pane A">{roles_in_words(&report, head.layer * heads + head.head)}</span> },
        )
    };
    let quantities = Quantity::ALL.iter().map(|quantity| {
        let quantity = *quantity;
        view! {
            <button
                type="button" title=quantity.help() data-test="quantity" data-quantity=quantity.word()
                aria-pressed=move || (scene.quantity() == quantity).to_string()
                on:click=move |_| store.look(|view| view.quantity = quantity)
            >{quantity_word(quantity)}</button>
        }
    });
    let scales = Scale::ALL.iter().map(|scale| {
        let scale = *scale;
        let selected = move || store.experiment.with(|experiment| experiment.view.scale) == scale;
        view! { <option value=scale.word() selected=selected>{move || scale_word(scale, scene)}</option> }
    });
    let set_scale = move |word: String| {
        if let Ok(scale) = word.parse() {
            store.look(|view| view.scale = scale);
        }
    };
    view! {
        <div class="mbar" data-test="matrix-bar">
            <h2 data-test="shown-head">{move || scene.head.get().to_string()}</h2>
            <span class="cap state">{move || if previewed() { "preview" } else { "pinned" }}</span>
            {role}
            <div class="seg end" role="group" aria-label="Quantity">{quantities.collect_view()}</div>
            <label>
                "Scale "
                <select
                    data-test="scale"
                    disabled=move || scene.quantity() == Quantity::Scores
                    prop:value=move || store.experiment.with(|experiment| experiment.view.scale.word())
                    on:change:target=move |event| set_scale(event.target().value())
                >{scales.collect_view()}</select>
            </label>
        </div>
    }
}

fn quantity_word(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Pattern => "Pattern",
        Quantity::Scores => "Scores",
        Quantity::ValueWeighted => "Value-weighted",
    }
}

/// A scale as the menu names it; the limits are those of the quantity that is shown.
fn scale_word(scale: Scale, scene: Scene) -> String {
    let high = scene.scalings[0].get().high;
    let limit = match scene.quantity() {
        Quantity::Pattern => "1".to_string(),
        _ => colour::tick(high),
    };
    match (scene.quantity(), scale) {
        (Quantity::Scores, _) => format!("± {limit}, linear"),
        (_, Scale::Linear) => format!("0 – {limit}"),
        (_, Scale::Sqrt) => format!("√, 0 – {limit}"),
        (_, Scale::Head) => "this head’s range".into(),
    }
}

/// Single keys: 1 2 3 choose the quantity, s the next scale. Off while typing.
fn press(store: Store, event: &KeyboardEvent) {
    if event.ctrl_key() || event.meta_key() || event.alt_key() || typing(event) {
        return;
    }
    let quantity = match event.key().as_str() {
        "1" => Quantity::Pattern,
        "2" => Quantity::Scores,
        "3" => Quantity::ValueWeighted,
        "s" => {
            store.look(|view| {
                let at = Scale::ALL.iter().position(|scale| *scale == view.scale).unwrap_or(0);
                view.scale = Scale::ALL[(at + 1) % Scale::ALL.len()];
            });
            return;
        }
        _ => return,
    };
    store.look(|view| view.quantity = quantity);
}

/// Whether a key belongs to a text field, a menu or a dialog.
pub fn typing(event: &KeyboardEvent) -> bool {
    let Some(target) =
        event.target().and_then(|target| wasm_bindgen::JsCast::dyn_into::<web_sys::Element>(target).ok())
    else {
        return false;
    };
    target
        .closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog, [contenteditable]")
        .ok()
        .flatten()
        .is_some()
}
