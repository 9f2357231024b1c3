//! Which model runs: one of the shipped ones, the visitor's own files, one fetched from elsewhere, or a kept one.
//!
//! | Part | Idea |
//! |---|---|
//! | [`library`] | what is arriving, what is there, the files behind an id |
//! | [`keeper`] | the line to the worker that fetches and keeps |
//! | [`progress`] | what is said while a model comes, and what came of it |

pub mod keeper;
pub mod library;
mod progress;

use super::format;
use super::overlay::{Dialog, keep};
use super::store::Store;
use crate::shipped::{self, Elsewhere, Name, Shipped};
use gloo::events::EventListener;
use js_sys::{Array, Reflect};
use leptos::html;
use leptos::prelude::*;
use progress::Progress;
use wasm_bindgen::prelude::*;
use web_sys::Blob;

/// The dialog.
#[component]
pub fn Models() -> impl IntoView {
    let store = Store::here();
    let library = store.library;
    // What is kept is asked each time the dialog opens: another tab may have changed it.
    Effect::new(move |_| {
        if library.open.get() {
            library.look();
        }
    });
    view! {
        <Dialog open=library.open title="Models" test="models">
            <Progress/>
            <Choices/>
            <Keep/>
            <Own/>
            <Address/>
        </Dialog>
    }
}

/// The shipped models and the kept ones, with what choosing one would cost.
#[component]
fn Choices() -> impl IntoView {
    let choice = move |model: Shipped| {
        let Shipped { facts, summary } = model;
        let costs = format!(
            "{} to fetch, about {} of memory",
            format::bytes(facts.file_bytes),
            format::bytes(facts.loading_bytes())
        );
        let shape = format!("{} layers × {} heads, context {}", facts.layers, facts.heads, facts.context);
        view! {
            <label class="model-choice">
                <Radio id=facts.id.clone()/>
                <span><strong>{facts.id}</strong>" "{shape}<small>{costs}". "{summary}</small></span>
            </label>
        }
    };
    let shipped = shipped::all().unwrap_or_default().into_iter().map(choice).collect_view();
    view! {
        <div role="radiogroup" aria-label="Model">
            <h3>"Shipped with this page"</h3>
            {shipped}
            <Kept/>
        </div>
        <Rounded/>
    }
}

/// Whether the chosen model's matrices are rounded to bytes.
#[component]
fn Rounded() -> impl IntoView {
    let store = Store::here();
    let rounded = move || store.experiment.with(|experiment| Name::of(&experiment.model).int8);
    let round = move |int8| {
        store.edit(|experiment| experiment.model = Name { int8, ..Name::of(&experiment.model) }.id());
    };
    view! {
        <label class="keep"><input
                type="checkbox" data-test="int8" prop:checked=rounded
                on:change:target=move |event| round(event.target().checked())
        />"Round its matrices to 8 bits: a quarter of f32 on the GPU, and another model, whose loss says what that costs"</label>
    }
}

#[component]
fn Radio(id: String) -> impl IntoView {
    let store = Store::here();
    let this = StoredValue::new(id.clone());
    let chosen =
        move || store.experiment.with(|experiment| this.with_value(|id| Name::of(&experiment.model).files() == *id));
    view! {
        <input
            type="radio" name="model" data-test="model-choice" data-model=id prop:checked=chosen
            on:change=move |_| store.edit(|experiment| {
                let int8 = Name::of(&experiment.model).int8;
                experiment.model = Name { int8, ..Name::of(&this.get_value()) }.id();
            })
        />
    }
}

/// What this browser keeps.
#[component]
fn Kept() -> impl IntoView {
    let store = Store::here();
    let library = store.library;
    let row = move |kept: keeper::Kept| {
        let keeper::Kept { model, name, source, bytes, complete, busy } = kept;
        let place = match Name::of(&source) {
            of if of.is_local() => "from your files".to_owned(),
            _ => source.split_once(':').map_or("", |(_, place)| place).to_owned(),
        };
        let state = match (complete, busy) {
            (true, _) => String::new(),
            (false, true) => ", arriving".into(),
            (false, false) => ", not complete".into(),
        };
        let size = format!("{}{state}", format::bytes(bytes as usize));
        let hash = model.as_deref().and_then(|model| Name::of(model).hash).map(|hash| format!(", hash {hash}"));
        let (from, again) = (StoredValue::new(source.clone()), source.clone());
        let id = StoredValue::new(model.clone());
        let first = match model {
            Some(model) => view! { <Radio id=model/> }.into_any(),
            None => view! {
                <button
                    type="button" class="btn" data-test="resume" disabled=busy
                    on:click=move |_| store.fetch_model(again.clone())
                >"Go on"</button>
            }
            .into_any(),
        };
        view! {
            <div class="kept" data-test="kept" data-source=source data-complete=complete.to_string()>
                <label class="model-choice">{first}<span><strong>{name.clone()}</strong>" "{size}<small>{place}{hash}</small></span></label>
                <button
                    type="button" class="btn ghost" data-test="forget" aria-label=format!("Delete {name} from this browser")
                    disabled=busy on:click=move |_| library.forget(from.get_value(), id.get_value())
                >"Delete"</button>
            </div>
        }
    };
    move || {
        let stored = library.stored.get();
        if stored.models.is_empty() {
            return ().into_any();
        }
        let room = (stored.quota > 0.0).then(|| {
            format!(
                "This page uses {} of the {} that the browser lets it have.",
                format::bytes(stored.usage as usize),
                format::bytes(stored.quota as usize)
            )
        });
        view! {
            <h3 class="next">"Kept in this browser"</h3>
            {stored.models.into_iter().map(row).collect_view()}
            <p class="cap">{room}</p>
        }
        .into_any()
    }
}

/// Whether to keep what comes, from files or from elsewhere.
#[component]
fn Keep() -> impl IntoView {
    let library = Store::here().library;
    view! {
        <label class="keep"><input
                type="checkbox" data-test="keep-model" prop:checked=move || library.keep.get()
                on:change:target=move |event| library.keep.set(event.target().checked())
        />"Keep a copy of added models in this browser, so that a link to one opens again"</label>
    }
}

/// Files of the visitor's.
#[component]
fn Own() -> impl IntoView {
    let store = Store::here();
    let place = NodeRef::<html::Div>::new();
    // `www/files.js` gathers what was dropped or chosen, folders too, and says so with one event.
    Effect::new(move |_| {
        let Some(place) = place.get() else { return };
        keep(EventListener::new(&place, "files", move |event| {
            let list =
                Reflect::get(event, &"detail".into()).unwrap_or_default().dyn_into::<Array>().unwrap_or_default();
            let file = |item: JsValue| {
                let path = Reflect::get(&item, &"path".into()).ok()?.as_string()?;
                Some((path, Reflect::get(&item, &"file".into()).ok()?.dyn_into::<Blob>().ok()?))
            };
            store.offer_files(list.iter().filter_map(file).collect());
        }));
    });
    view! {
        <div>
            <h3>"Your own files"</h3>
            <div class="drop" node_ref=place data-files="" data-test="drop">
                <p>"Drop a folder or files here, or "
                    <label class="btn">"choose files"<input class="sr" type="file" multiple data-test="choose-files"/></label>" "
                    <label class="btn">"choose a folder"<input class="sr" type="file" webkitdirectory="" data-test="choose-folder"/></label>
                </p>
                <p class="cap">
                    "GPT-2, GPT-NeoX and Llama models as Hugging Face saves them: config.json, tokenizer.json (or vocab.json and merges.txt) and
                    model.safetensors, in several files too. Or a llama2.c .bin with its tokenizer. They are read in this tab; nothing is sent anywhere."
                </p>
            </div>
        </div>
    }
}

/// A model elsewhere, by name or address.
#[component]
fn Address() -> impl IntoView {
    let store = Store::here();
    let library = store.library;
    let fetch = move || {
        let source = library.typed.get_untracked();
        if !source.trim().is_empty() {
            store.fetch_model(source);
        }
    };
    let busy = Memo::new(move |_| library.state.with(|state| matches!(state, library::State::Coming(_))));
    view! {
        <div>
            <h3>"From Hugging Face or another address"</h3>
            <form class="fetch" on:submit=move |event| { event.prevent_default(); fetch(); }>
                <input
                    type="text" data-test="model-address" aria-label="Name on Hugging Face, or address" placeholder="owner/name or https://…" spellcheck="false"
                    autocapitalize="off" autocomplete="off" prop:value=move || library.typed.get() on:input:target=move |event| library.typed.set(event.target().value())
                />
                <button type="submit" class="btn" data-test="fetch-model" disabled=move || busy.get()>"Fetch"</button>
            </form>
            <p class="cap">"This asks huggingface.co, or the host you name, and nobody else; that host sees your network address, as with any download. Nothing about your text is sent."</p>
            <table class="known">
                <thead><tr><th scope="col">"Small models elsewhere"</th><th scope="col" class="num">"about"</th><th scope="col">"Licence"</th><th scope="col">"Here"</th></tr></thead>
                <tbody>{shipped::elsewhere().into_iter().map(|model| view! { <Known model busy/> }).collect_view()}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Known(model: Elsewhere, busy: Memo<bool>) -> impl IntoView {
    let store = Store::here();
    let Elsewhere { name, source, megabytes, licence, tried_by, refused, sha256, .. } = model;
    let size = if megabytes < 10.0 { format!("{megabytes:.1} MB") } else { format!("{megabytes:.0} MB") };
    let hash = if sha256.is_some() { "hash on record" } else { "no hash on record" };
    let state = match (refused, tried_by) {
        (Some(why), _) => view! { <span class="muted">"No. "{why}</span> }.into_any(),
        (None, tried) => {
            let tried =
                if tried.is_some() { "known good: checked against numbers of its author" } else { "not tried here" };
            let label = format!("Fetch {name}");
            view! {
                <button
                    type="button" class="btn" data-test="fetch-known" data-source=source.clone() aria-label=label
                    disabled=move || busy.get() on:click=move |_| store.fetch_model(source.clone())
                >"Fetch"</button>
                <small>{format!("{tried}; {hash}")}</small>
            }
            .into_any()
        }
    };
    view! { <tr><th scope="row">{name}</th><td class="num">{size}</td><td>{licence}</td><td>{state}</td></tr> }
}
