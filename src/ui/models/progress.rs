//! What is said while a model of the visitor's comes, and what came of it.

use super::library::{Coming, State};
use crate::outcome::ModelFacts;
use crate::ui::format;
use crate::ui::store::Store;
use leptos::prelude::*;

/// One block at the top of the dialog; nothing when nothing happens.
#[component]
pub fn Progress() -> impl IntoView {
    let store = Store::here();
    let library = store.library;
    let word = move || {
        library.state.with(|state| match state {
            State::Rest => "rest",
            State::Looking => "looking",
            State::Offered(_) => "offered",
            State::Coming(coming) if coming.waits => "waits",
            State::Coming(_) => "coming",
            State::Arrived { .. } => "arrived",
            State::Failed { .. } => "failed",
        })
    };
    let block = move || {
        match library.state.get() {
        State::Rest => ().into_any(),
        State::Looking => view! { <p>"Looking at the files."</p> }.into_any(),
        State::Offered(facts) => view! {
            <p><strong>{facts.id.clone()}</strong>": "{sizes(&facts)}". "{format!("{} of files, ", format::bytes(facts.file_bytes))}<Memory facts=facts.clone()/></p>
            <div class="row">
                <button type="button" class="btn primary" data-test="load-files" on:click=move |_| store.load_files()>"Load it"</button>
                <button type="button" class="btn" on:click=move |_| library.put_aside()>"Put aside"</button>
            </div>
        }
        .into_any(),
        State::Coming(coming) => view! { <Bytes coming/> }.into_any(),
        State::Arrived { name, hash, notes } => {
            let hash = if hash.is_empty() {
                "The page is not served securely, so that the browser computes no hash of it.".to_owned()
            } else {
                format!("SHA-256 of its files: {hash}…")
            };
            view! {
                <p><strong>{name}</strong>" is the model now. "<span class="mono" data-test="arrived-hash">{hash}</span></p>
                {notes.into_iter().map(|note| view! { <p class="soft">{note}</p> }).collect_view()}
            }
            .into_any()
        }
        State::Failed { trouble, source } => {
            let again = source.map(|source| view! {
                <div class="row"><button type="button" class="btn" data-test="fetch-again" on:click=move |_| store.fetch_model(source.clone())>"Fetch again"</button></div>
            });
            let code = trouble.code.clone();
            view! { <p class="refusal" role="alert" data-test="model-refusal" data-code=code>{trouble.message}</p>{again} }.into_any()
        }
    }
    };
    view! { <div class="arriving" data-test="arriving" data-state=word hidden=move || word() == "rest">{block}</div> }
}

/// Bytes, a bar, and how to stop.
#[component]
fn Bytes(coming: Coming) -> impl IntoView {
    let library = Store::here().library;
    let Coming { source, bytes, total, facts, waits, .. } = coming;
    let place = source.split_once(':').map_or(source.as_str(), |(_, place)| place).to_owned();
    let so_far = match total {
        Some(total) => format!("{} of {}", format::bytes(bytes as usize), format::bytes(total as usize)),
        None => format::bytes(bytes as usize),
    };
    let what = facts.clone().map(|facts| view! { <p>{sizes(&facts)}". "<Memory facts/></p> });
    let go = waits.then(|| {
        view! { <button type="button" class="btn primary" data-test="fetch-on" on:click=move |_| library.go()>"Fetch it all the same"</button> }
    });
    view! {
        <p class="soft">{place}</p>
        {what}
        <p class="row">
            <progress max=total.unwrap_or(1.0) value=total.map(|_| bytes) aria-label="Model bytes that have arrived"></progress>
            <span class="num" data-test="arriving-bytes" data-bytes=bytes data-total=total>{so_far}</span>
        </p>
        <div class="row">{go}<button type="button" class="btn" data-test="stop-model" on:click=move |_| library.stop()>"Stop"</button></div>
    }
}

fn sizes(facts: &ModelFacts) -> String {
    let (parameters, unit) = format::scaled(facts.parameters as f64, "");
    format!(
        "{} family, {} layers × {} heads, width {}, context {}, {parameters} {unit} weights",
        facts.family, facts.layers, facts.heads, facts.width, facts.context
    )
}

/// What loading takes, and whether that is much.
#[component]
fn Memory(facts: ModelFacts) -> impl IntoView {
    let bytes = facts.loading_bytes();
    let words = format!("Loading takes about {} of memory.", format::bytes(bytes));
    // A program in a browser has four gigabytes at most, and a phone gives a page one or two.
    let much = match bytes {
        bytes if bytes > 3 << 30 => Some(" That is more than a page can have; it will very likely fail."),
        bytes if bytes > 1 << 30 => Some(" That is much: a phone will not give it."),
        _ => None,
    };
    view! { <span data-test="memory" data-bytes=bytes>{words}{much}</span> }
}
