//! What the visitor must know: trouble, notices of the run and of the link; and what a screen reader is told.

use super::format;
use super::icons::{Glyph, Icon};
use super::pane::blamed;
use super::stage::scene::other_pane;
use super::store::{EngineState, Store};
use crate::shipped::Name;
use gloo::timers::callback::Timeout;
use leptos::prelude::*;

/// How long results must rest before they are read out; a drag makes many.
const REST_MILLIS: u32 = 700;

/// Trouble first, then notices. Each says what happened and what helps.
#[component]
pub fn Notices() -> impl IntoView {
    let store = Store::here();
    let dismissed = RwSignal::new(Vec::<String>::new());
    let failure = move || {
        let EngineState::Failed(trouble) = store.engine.get() else { return None };
        if trouble.code == "absent" {
            return Some(view! { <Absent message=trouble.message/> }.into_any());
        }
        Some(
            view! {
                <div class="notice bad" role="alert" data-test="engine-trouble" data-code=trouble.code>
                    <span class="word">"Engine"</span><p>{trouble.message}</p>
                    <button class="btn" on:click=move |_| store.restart()>"Restart"</button>
                </div>
            }
            .into_any(),
        )
    };
    let refused = move || {
        // An engine that failed says so itself.
        let trouble = store.trouble.get().filter(|_| store.ready())?;
        let in_a_pane = store.experiment.with(|experiment| !blamed(&trouble.message, &experiment.panes).is_empty());
        // A pane's own trouble stands in that pane.
        (!in_a_pane).then(|| {
            view! {
                <div class="notice bad" role="alert" data-test="trouble" data-code=trouble.code>
                    <span class="word">"Not run"</span><p>{trouble.message}</p>
                </div>
            }
        })
    };
    let incidents = move || {
        let of_engine = store.engine.with(|engine| match engine {
            EngineState::Ready { engine, .. } => engine.incidents.clone(),
            _ => Vec::new(),
        });
        // The newest is what matters; the dialog about the engine has all of them.
        let newest = store.incidents.with(|own| own.last().cloned()).into_iter().chain(of_engine.last().cloned());
        let seen = move |text: &String| !dismissed.with(|dismissed| dismissed.contains(text));
        let row = |text: String| {
            let about = text.clone();
            view! {
                <div class="notice" role="status" data-test="incident">
                    <span class="word">"Engine"</span><p>{sentence(text)}</p>
                    <button class="btn icon ghost" aria-label="Dismiss" on:click=move |_| dismissed.update(|all| all.push(about.clone()))><Glyph icon=Icon::Close/></button>
                </div>
            }
        };
        newest.filter(seen).map(row).collect_view()
    };
    let partial = move || {
        let notices =
            store.outcome.with(|outcome| outcome.as_ref().map(|outcome| outcome.notices.clone()).unwrap_or_default());
        notices.into_iter().map(|text| view! { <div class="notice" data-test="notice"><span class="word">"Note"</span><p>{text}</p></div> }).collect_view()
    };
    let link = move || {
        let dismiss = move |_| store.notices.set(Vec::new());
        let row = |text: String| {
            view! {
                <div class="notice" data-test="link-notice">
                    <span class="word">"Link"</span><p>{text}</p>
                    <button class="btn icon ghost" aria-label="Dismiss" on:click=dismiss><Glyph icon=Icon::Close/></button>
                </div>
            }
        };
        store.notices.get().into_iter().map(row).collect_view()
    };
    view! { <div class="notices">{failure}{refused}{incidents}{link}{partial}</div> }
}

/// The experiment's model is not in this browser: what it is, and how it comes here. Nothing is fetched unasked.
#[component]
fn Absent(message: String) -> impl IntoView {
    let store = Store::here();
    let name = store.experiment.with_untracked(|experiment| Name::of(&experiment.model));
    let load = {
        let source = name.source.clone();
        move |_| {
            store.library.open.set(true);
            store.fetch_model(source.clone());
        }
    };
    let choose = move |_| store.library.open.set(true);
    let button = if name.is_local() {
        view! { <button class="btn" data-test="give-model" on:click=choose>"Give its files"</button> }.into_any()
    } else {
        view! { <button class="btn" data-test="load-model" on:click=load>"Fetch it"</button> }.into_any()
    };
    view! {
        <div class="notice" role="alert" data-test="model-absent">
            <span class="word">"Model"</span><p>{sentence(message)}</p>
            {button}
        </div>
    }
}

/// The same with a capital letter and a full stop.
fn sentence(text: String) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// One polite sentence when the engine is ready and when results have come to rest.
#[component]
pub fn Status() -> impl IntoView {
    let store = Store::here();
    let said = RwSignal::new(String::new());
    let rest = StoredValue::new_local(None::<Timeout>);
    Effect::new(move |_| {
        let sentence = match store.engine.get() {
            EngineState::Starting => "Starting the engine.".to_string(),
            EngineState::Loading { .. } => "Loading the model.".into(),
            EngineState::Failed(trouble) => format!("The engine failed: {}", trouble.message),
            EngineState::Ready { .. } if store.stale.get() => return,
            EngineState::Ready { .. } => {
                let other =
                    store.experiment.with(|experiment| other_pane(experiment.panes.len(), experiment.view.wall));
                let versus = other.and_then(|pane| store.with_pane(pane, |pane| pane.versus_a.clone()).flatten());
                match versus {
                    Some(versus) => {
                        let loss = versus
                            .delta_loss
                            .map(|delta| format!(", loss changed by {} nats", format::signed(delta, 3)));
                        format!(
                            "Computed. KL of the next token {} nats{}.",
                            format::fixed(versus.kl_next, 3),
                            loss.unwrap_or_default()
                        )
                    }
                    None => "Computed.".into(),
                }
            }
        };
        rest.set_value(Some(Timeout::new(REST_MILLIS, move || said.set(sentence))));
    });
    view! { <p class="sr" role="status" aria-live="polite" data-test="status">{move || said.get()}</p> }
}
