//! The dialog about model and engine: sizes, adapter, self-check, and why this engine and not another.

use super::format;
use super::overlay::Dialog;
use super::store::drive::wanted_engine;
use super::store::{EngineState, Store};
use super::topbar::tier;
use super::trust::Trust;
use crate::outcome::{EngineFacts, ModelFacts};
use crate::shipped::Name;
use leptos::prelude::*;

/// The dialog.
#[component]
pub fn About(
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let store = Store::here();
    let body = move || match store.engine.get() {
        EngineState::Ready { engine, model } => view! { <Ready engine model/> }.into_any(),
        EngineState::Failed(trouble) => view! {
            <p class="refusal">{trouble.message}</p>
            <button class="btn" on:click=move |_| store.restart()>"Restart the engine"</button>
            <Forced/>
        }
        .into_any(),
        EngineState::Starting | EngineState::Loading { .. } => view! { <p>"The engine is starting."</p> }.into_any(),
    };
    view! { <Dialog open title="Model and engine" test="about">{body}</Dialog> }
}

#[component]
fn Ready(engine: EngineFacts, model: ModelFacts) -> impl IntoView {
    let check = match (engine.self_check, engine.self_check_passed()) {
        (Some(error), Some(false)) => format!("failed; logits deviate from the stored ones by {}", format::four(error)),
        (Some(error), _) => format!("passed; logits deviate from the stored ones by {}", format::four(error)),
        (None, Some(false)) => "failed".into(),
        (None, _) => "not run: this model has no stored numbers".into(),
    };
    let heads = format!(
        "{} layers × {} heads, {} key–value heads of width {}",
        model.layers, model.heads, model.kv_heads, model.head_width
    );
    let (parameters, unit) = format::scaled(model.parameters as f64, "");
    let name = Name::of(&model.id);
    let card = name.is_shipped().then(|| format!("models/{}/card.json", name.files()));
    let card = card.map(|card| view! { <dt>"Card"</dt><dd><a href=card target="_blank" rel="noopener">"data, licences, training"</a></dd> });
    let adapter = if engine.software {
        format!("{} (software: its speed says nothing)", engine.adapter)
    } else {
        engine.adapter.clone()
    };
    view! {
        <div>
            <h3>"Engine"</h3>
            <dl class="facts">
                <dt>"Runs on"</dt><dd>{tier(&engine)}</dd>
                <dt>"Adapter"</dt><dd>{adapter}</dd>
                <dt>"Backend"</dt><dd>{engine.backend.clone()}</dd>
                {engine.sums.map(|sums| view! { <dt>"Rows"</dt><dd data-test="sums">"added up "{sums.sentence()}</dd> })}
                <dt>"Build"</dt><dd class="mono">{engine.build.clone()}</dd>
                <dt>"Self-check"</dt><dd>{check}</dd>
                {(!engine.reason.is_empty()).then(|| view! { <dt>"Why this one"</dt><dd data-test="reason">{engine.reason.clone()}</dd> })}
            </dl>
            <Forced/>
        </div>
        <div>
            <h3>"Model"</h3>
            <dl class="facts">
                <dt>"Name"</dt><dd>{model.id.clone()}", "{model.family.clone()}" family"</dd>
                <dt>"Attention"</dt><dd>{heads}</dd>
                <dt>"Width"</dt><dd>{model.width}", vocabulary "{model.vocabulary}</dd>
                <dt>"Context"</dt><dd>{model.context}" tokens"</dd>
                <dt>"Size"</dt><dd>{parameters}" "{unit}" weights, "{format::bytes(model.file_bytes)}</dd>
                {(!model.sha256.is_empty()).then(|| view! { <dt>"SHA-256"</dt><dd class="mono hash" data-test="sha256">{model.sha256.clone()}</dd> })}
                {card}
            </dl>
        </div>
        <Trust engine=engine.clone()/>
        <p class="cap">"Everything is computed in this tab. No text and no result leaves this device."</p>
    }
}

/// Which engine computes, where the visitor knows better than the measurement. The page starts anew with it, since the
/// choice stands in its address.
#[component]
fn Forced() -> impl IntoView {
    let now = wanted_engine();
    let button = move |(word, name, help): (&'static str, &'static str, &'static str)| {
        let choose = move |_| {
            let search = if word == "auto" { String::new() } else { format!("?engine={word}") };
            // A browser that refuses to load a page of its own address leaves everything as it is.
            let _ = window().location().set_search(&search);
        };
        let pressed = now == word;
        view! { <button type="button" title=help data-test="forced" data-word=word aria-pressed=pressed.to_string() on:click=choose>{name}</button> }
    };
    let choices = [
        ("auto", "Measured", "The faster one of those whose numbers are right"),
        ("cpu", "Processor", "Always the processor"),
        ("gpu", "GPU", "Always the GPU, also a slow one; an error where there is none"),
    ];
    view! { <div class="seg" role="group" aria-label="Which engine computes">{choices.map(button).collect_view()}</div> }
}
