//! The keyboard map, and the keys that work anywhere on the page.

use super::overlay::{Dialog, keep};
use super::stage::typing;
use gloo::events::{EventListener, EventListenerOptions, EventListenerPhase};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;

const SWITCH: &str = "attnscope.keys";

const MAP: &[(&[&str], &str)] = &[
    (&["Tab"], "next region; the wall, the tabs and each matrix are one stop"),
    (&["↑", "↓", "←", "→"], "move among token chips, heads, tabs and matrix cells"),
    (&["Home", "End"], "ends of the row; with Ctrl, corners of the matrix"),
    (&["Page ↑", "Page ↓"], "move in the matrix by a block"),
    (&["Enter", "Space"], "pin what has the focus"),
    (&["Esc"], "clear the pin, close, leave"),
];

const SINGLE: &[(&[&str], &str)] = &[
    (&["1", "2", "3"], "pattern, scores, value-weighted"),
    (&["S"], "next colour scale"),
    (&["["], "previous head in the wall's order"),
    (&["]"], "next head in the wall's order"),
    (&["?"], "this map"),
];

/// The dialog, and the listener for single keys.
#[component]
pub fn Help(
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let single = RwSignal::new(remembered());
    // In the capture phase, before anyone else hears of it.
    let capture = EventListenerOptions { phase: EventListenerPhase::Capture, passive: true };
    keep(EventListener::new_with_options(&window(), "keydown", capture, move |event| {
        let Some(event) = event.dyn_ref::<KeyboardEvent>() else { return };
        let key = event.key();
        if typing(event) || !SINGLE.iter().any(|(keys, _)| keys.iter().any(|known| known.eq_ignore_ascii_case(&key))) {
            return;
        }
        if !single.get_untracked() {
            event.stop_propagation();
        } else if key == "?" {
            open.set(true);
        }
    }));
    let switch = move |_| {
        single.update(|on| *on = !*on);
        if let Ok(Some(storage)) = window().local_storage() {
            let _ = storage.set_item(SWITCH, if single.get_untracked() { "on" } else { "off" });
        }
    };
    let table = |map: &'static [(&'static [&'static str], &'static str)]| {
        let row = |(keys, does): &(&'static [&'static str], &'static str)| {
            let keys = keys.iter().map(|key| view! { <kbd>{*key}</kbd>" " }).collect_view();
            view! { <dt>{keys}</dt><dd>{*does}</dd> }
        };
        view! { <dl class="facts">{map.iter().map(row).collect_view()}</dl> }
    };
    view! {
        <Dialog open title="Help" test="help-dialog">
            <p>"Type a prompt. Panes A and B run the same model on it with different attention; everything below compares the two. Point at anything to preview it, click to pin it. The address bar always holds a link to exactly this view."</p>
            <div><h3>"Keys"</h3>{table(MAP)}</div>
            <div>
                <h3>"Single keys, when not typing"</h3>
                {table(SINGLE)}
                <p class="row" style:margin-top="10px">
                    <button class="switch" role="switch" aria-labelledby="single-keys" aria-checked=move || single.get().to_string() on:click=switch></button>
                    <span id="single-keys">"Single keys work"</span>
                </p>
            </div>
            <p class="cap">"A weight is not an explanation, and one prompt is not a law. Numbers marked n/a were not computed; masked cells are drawn apart from zero."</p>
        </Dialog>
    }
}

fn remembered() -> bool {
    window().local_storage().ok().flatten().and_then(|storage| storage.get_item(SWITCH).ok().flatten()).as_deref()
        != Some("off")
}
