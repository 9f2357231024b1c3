//! After the first result the page keeps itself and its model on this device, and says so.
//!
//! `www/sw.js` does the keeping. It starts late, so that it asks for nothing that the first result waits for; the bytes
//! it wants then are in the browser already.

use super::embed;
use super::store::{EngineState, Store};
use crate::shipped::Name;
use gloo::events::EventListener;
use js_sys::{Object, Reflect};
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageEvent, ServiceWorkerContainer, ServiceWorkerRegistration};

/// Says when everything works with the network off.
#[component]
pub fn Offline() -> impl IntoView {
    let store = Store::here();
    let kept = RwSignal::new(None::<String>);
    let model = Memo::new(move |_| {
        store.engine.with(|engine| match engine {
            EngineState::Ready { model, .. } if store.run.get() > 0 => Some(model.id.clone()),
            _ => None,
        })
    });
    Effect::new(move |_| {
        // A figure is kept by the page that holds it, if at all.
        if let (Some(model), Some(container)) = (model.get(), container().filter(|_| !embed::framed())) {
            spawn_local(async move {
                // A browser may refuse, in a private window for instance; then the page works as long as it is open.
                let _ = keep(&container, &model, kept).await;
            });
        }
    });
    // A model of the visitor's is there with the network off when the browser keeps it.
    let is_there = move |model: &str| Name::of(model).is_shipped() || store.library.keeps(model);
    let works = move || model.get().is_some_and(|model| kept.get().as_deref() == Some(&model) && is_there(&model));
    view! { <span data-test="offline" data-works=move || works().to_string()>{move || works().then_some(" Works offline.")}</span> }
}

/// Absent where the page is not served securely.
fn container() -> Option<ServiceWorkerContainer> {
    let navigator = window().navigator();
    Reflect::has(&navigator, &"serviceWorker".into()).is_ok_and(|has| has).then(|| navigator.service_worker())
}

async fn keep(container: &ServiceWorkerContainer, model: &str, kept: RwSignal<Option<String>>) -> Result<(), JsValue> {
    let heard = EventListener::new(container, "message", move |event| {
        let data = event.dyn_ref::<MessageEvent>().map(MessageEvent::data).unwrap_or_default();
        if let Some(model) = Reflect::get(&data, &"kept".into()).unwrap_or_default().as_string() {
            kept.set(Some(model));
        }
    });
    // For as long as the page lives.
    heard.forget();
    JsFuture::from(container.register("sw.js")).await?;
    let registration: ServiceWorkerRegistration = JsFuture::from(container.ready()?).await?.dyn_into()?;
    let wish = Object::new();
    Reflect::set(&wish, &"keep".into(), &model.into())?;
    match registration.active() {
        Some(worker) => worker.post_message(&wish),
        None => Ok(()),
    }
}
