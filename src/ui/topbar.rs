//! The top bar: what runs, where, whether it can be trusted; and the controls of the whole page.

use super::about::About;
use super::export::menu::ExportMenu;
use super::format;
use super::help::Help;
use super::icons::{Glyph, Icon};
use super::models::Models;
use super::route::Nav;
use super::store::{EngineState, Store};
use super::theme::{Choice, ThemeButton};
use crate::outcome::{EngineFacts, Tier};
use crate::shipped::Name;
use gloo::timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen_futures::JsFuture;

/// The bar.
#[component]
pub fn TopBar(
    /// Whether the help dialog is open.
    help: RwSignal<bool>,
) -> impl IntoView {
    let store = Store::here();
    let about = RwSignal::new(false);
    view! {
        <header class="top">
            <a class="brand" href="./" title="The default example"><Mark/>"attnscope"</a>
            <Nav/>
            <div class="tools">
                <ModelButton/>
                <EngineBadge about/>
                <Share/>
                <ExportMenu/>
                <ThemeButton choice=RwSignal::new(Choice::remembered()) dark=store.dark/>
                <button class="btn icon" data-test="help" aria-label="Help and keyboard map" on:click=move |_| help.set(true)><Glyph icon=Icon::Help/></button>
            </div>
        </header>
        <About open=about/>
        <Models/>
        <Help open=help/>
    }
}

/// The five squares of a causal pattern, the last one lit.
#[component]
pub fn Mark() -> impl IntoView {
    view! {
        <svg viewBox="0 0 20 20" aria-hidden="true">
            <g fill="currentColor">
                <rect x="1" y="1" width="5" height="5" rx="1"/>
                <rect x="1" y="7.5" width="5" height="5" rx="1" opacity=".35"/>
                <rect x="7.5" y="7.5" width="5" height="5" rx="1" opacity=".7"/>
                <rect x="1" y="14" width="5" height="5" rx="1" opacity=".7"/>
                <rect x="7.5" y="14" width="5" height="5" rx="1" opacity=".35"/>
            </g>
            <rect x="14" y="14" width="5" height="5" rx="1" fill="var(--accent)"/>
        </svg>
    }
}

#[component]
fn ModelButton() -> impl IntoView {
    let store = Store::here();
    let size = move || {
        store.engine.with(|engine| match engine {
            EngineState::Ready { model, .. } => {
                let heads = format!(" · {} × {} heads", model.layers, model.heads);
                Some(view! { <span class="size">{format::bytes(model.file_bytes)}<span class="wide">{heads}</span></span> })
            }
            _ => None,
        })
    };
    view! {
        <button class="model" data-test="model" aria-haspopup="dialog" title="Choose a model" on:click=move |_| store.library.open.set(true)>
            <span class="sr">"Model "</span>
            <span class="name">{move || store.experiment.with(|experiment| Name::of(&experiment.model).short())}</span>
            {size}
        </button>
    }
}

/// The tier in a word or two.
pub fn tier(engine: &EngineFacts) -> &'static str {
    match engine.tier {
        Tier::Cpu => "CPU",
        Tier::WebGpu => "WebGPU",
        Tier::WebGpuF16 => "WebGPU, f16",
    }
}

/// What computes, how far it is, and whether it can be trusted; opens the details.
#[component]
pub fn EngineBadge(
    /// Whether the details are open.
    about: RwSignal<bool>,
) -> impl IntoView {
    let store = Store::here();
    let state = move || {
        store.engine.with(|engine| match engine {
            EngineState::Starting => "starting",
            EngineState::Loading { .. } => "loading",
            EngineState::Ready { .. } => "ready",
            EngineState::Failed(_) => "failed",
        })
    };
    let compiling = move || {
        let (done, all) = store.compiling.get()?;
        Some(view! { <span data-test="compiling">{format!("Compiling GPU programs, {done} of {all}")}</span> })
    };
    let content = move || match store.engine.get() {
        EngineState::Loading { .. } | EngineState::Ready { .. } if store.compiling.with(Option::is_some) => {
            compiling().into_any()
        }
        EngineState::Starting => view! { <span>"Starting the engine"</span> }.into_any(),
        // All bytes are here; weights are unpacked and kernels compiled.
        EngineState::Loading { bytes, total } if total == Some(bytes) => {
            view! { <span>"Preparing the engine"</span> }.into_any()
        }
        EngineState::Loading { bytes, total } => {
            let words = match total {
                Some(total) => format!("{} of {}", format::bytes(bytes), format::bytes(total)),
                None => format::bytes(bytes),
            };
            let total = total.filter(|total| *total > 0);
            let bar = total.map(|total| view! { <progress max=total value=bytes aria-label="Model bytes that have arrived"></progress> });
            view! { <span>"Model "{words}</span>{bar} }.into_any()
        }
        EngineState::Ready { engine, model } => {
            let check = match engine.self_check {
                Some(error) => {
                    let passed = engine.self_check_passed() != Some(false);
                    let (class, mark) = if passed { ("check", " ✓") } else { ("check bad", " failed ✗") };
                    view! { <span class=class>"self-check"<span class="err">" "{format::four(error)}</span>{mark}</span> }.into_any()
                }
                None => view! { <span class="check none">"self-check not run"</span> }.into_any(),
            };
            let hash = model.sha256.get(..8).map(|digits| view! { <span class="wide mono" title="SHA-256 of the model's files">{digits.to_owned()}</span> });
            view! { <span>{tier(&engine)}<span class="adapter">" · "{engine.adapter.clone()}</span></span>{check}{hash} }
                .into_any()
        }
        EngineState::Failed(trouble) if trouble.code == "absent" => view! { <span>"Model missing"</span> }.into_any(),
        EngineState::Failed(_) => view! { <span>"Engine failed"</span> }.into_any(),
    };
    let fact = move |read: fn(&EngineFacts) -> Option<String>| {
        move || {
            store.engine.with(|engine| match engine {
                EngineState::Ready { engine, .. } => read(engine),
                _ => None,
            })
        }
    };
    view! {
        <button
            class="engine" data-test="engine" data-state=state aria-haspopup="dialog" title="Open details of model and engine"
            data-tier=fact(|engine| Some(tier(engine).to_lowercase())) data-self-check=fact(|engine| engine.self_check.map(|error| error.to_string()))
            data-passed=fact(|engine| engine.self_check_passed().map(|passed| passed.to_string())) data-generation=fact(|engine| Some(engine.generation.to_string()))
            on:click=move |_| about.set(true)
        ><span class="dot"></span>{content}</button>
    }
}

#[component]
fn Share() -> impl IntoView {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Rest,
        Copied,
        Refused,
    }
    let state = RwSignal::new(State::Rest);
    let copy = move |_| {
        let address = window().location().href().unwrap_or_default();
        spawn_local(async move {
            state.set(if copy_text(&address).await { State::Copied } else { State::Refused });
            TimeoutFuture::new(2500).await;
            state.set(State::Rest);
        });
    };
    let words = move || match state.get() {
        State::Rest => "Share",
        State::Copied => "Copied",
        State::Refused => "Copy the address bar",
    };
    view! {
        <button class="btn" data-test="share" title="Copy a link to this view" aria-label="Share: copy a link to this view" on:click=copy>
            <Glyph icon=Icon::Share/>
            <span class=move || if state.get() == State::Rest { "wide" } else { "" } style:min-width="3.4em" aria-live="polite">{words}</span>
        </button>
    }
}

/// Copies to the clipboard; false where the page has none, which is so outside secure contexts, or may not write to it.
pub async fn copy_text(text: &str) -> bool {
    let clipboard = window().navigator().clipboard();
    !clipboard.is_undefined() && JsFuture::from(clipboard.write_text(text)).await.is_ok()
}
