//! A figure in a frame: the playground without its bars, driven by the page that holds it.
//!
//! `embed.html` is the same program with `data-frame` on its root. The words are in [`crate::api::protocol`]. The holder's
//! origin stands in the frame's address; what comes from another window or another origin is not even answered.

use super::about::About;
use super::export::shown::Screen;
use super::stage::scene::Column;
use super::store::{EngineState, Store};
use super::theme::{self, Choice};
use super::topbar::EngineBadge;
use crate::api::client::Client;
use crate::api::protocol::{self, Answer, Ask, FromFigure, Message, Panel, Part, Stage, State, Theme, ToFigure, Wish};
use crate::experiment::link;
use gloo::events::EventListener;
use leptos::prelude::*;
use percent_encoding::percent_decode_str;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, MessagePort, ResizeObserver};

/// Whether the page is a figure in a frame.
pub fn framed() -> bool {
    root().is_some_and(|root| root.has_attribute("data-frame"))
}

/// The engine's line: of its own, or of the holder's when the address says so.
pub fn client() -> Client {
    let client = Client::default();
    if framed() && told("engine").as_deref() == Some("shared") {
        client.share();
    }
    client
}

/// One word of the frame's address.
fn told(key: &str) -> Option<String> {
    let search = window().location().search().ok()?;
    let pairs = search.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(name, _)| *name == key)?.1.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

/// A figure and who holds it.
#[derive(Clone, Copy)]
struct Figure {
    store: Store,
    choice: RwSignal<Choice>,
    /// The holder's origin; without it nothing is heard or said.
    host: StoredValue<Option<String>>,
}

/// Listens to the holder and tells it what changes, as long as the page lives.
pub fn attend(store: Store) {
    let choice = RwSignal::new(told("theme").and_then(|word| choice_of(&word)).unwrap_or_default());
    let host = told("host").filter(|host| host.starts_with("http://") || host.starts_with("https://"));
    let figure = Figure { store, choice, host: StoredValue::new(host) };
    theme::follow(store.dark, move || choice.get_untracked());
    let (panels, unknown) = protocol::panels(&told("hide").unwrap_or_default());
    hide(&panels);
    store.notices.update(|notices| {
        notices.extend(unknown.into_iter().map(|word| format!("hide: {word} is no part of a figure")));
    });
    let listener = EventListener::new(&window(), "message", move |event| {
        if let Some(event) = event.dyn_ref::<MessageEvent>().filter(|event| figure.is_from_holder(event)) {
            figure.hear(event);
        }
    });
    listener.forget();
    figure.say(0, FromFigure::Ready { program: env!("CARGO_PKG_VERSION").into() });

    let last = StoredValue::new(None);
    Effect::new(move |_| {
        let state = figure.state();
        if last.with_value(|last| last.as_ref() != Some(&state)) {
            last.set_value(Some(state.clone()));
            figure.say(0, FromFigure::State(Box::new(state)));
        }
    });
    Effect::new(move |_| {
        let failed = store.engine.with(|engine| match engine {
            EngineState::Failed(trouble) => Some(trouble.clone()),
            _ => None,
        });
        if let Some(trouble) = failed.or_else(|| store.trouble.get()) {
            figure.say(0, FromFigure::Error { code: trouble.code, message: trouble.message });
        }
    });
    figure.follow_height();
}

impl Figure {
    fn is_from_holder(self, event: &MessageEvent) -> bool {
        let holder = window().parent().ok().flatten();
        let from = event.source().map(JsValue::from);
        let is_holder = holder.zip(from).is_some_and(|(holder, from)| JsValue::from(holder) == from);
        is_holder && self.host.with_value(|host| host.as_deref() == Some(event.origin().as_str()))
    }

    fn say(self, id: u32, body: FromFigure) {
        let Some(host) = self.host.get_value() else { return };
        let json = serde_json::to_string(&Message::new(id, body)).unwrap_or_default();
        if let (Ok(message), Ok(Some(holder))) = (js_sys::JSON::parse(&json), window().parent()) {
            // The browser drops it when the holder is not where the address says.
            let _ = holder.post_message(&message, &host);
        }
    }

    fn hear(self, event: &MessageEvent) {
        // What JSON cannot hold is no message of ours.
        let Ok(json) = js_sys::JSON::stringify(&event.data()) else { return };
        match protocol::read(&String::from(json)) {
            Ok(None) => {}
            Err(refusal) => self.say(refusal.id, refusal.answer),
            Ok(Some(message)) => {
                let answer = match message.body {
                    ToFigure::State(wish) => self.grant(&wish),
                    ToFigure::Command(ask) => self.answer(ask, event),
                };
                match answer {
                    Err(error) => self.say(message.id, error),
                    Ok(answer) if message.id != 0 => self.say(message.id, FromFigure::Result(answer)),
                    Ok(_) => {}
                }
            }
        }
    }

    /// Sets what is wished.
    fn grant(self, wish: &Wish) -> Result<Answer, FromFigure> {
        if let Some(opened) = wish.opened().map_err(|error| FromFigure::from(&error))? {
            self.store.notices.set(opened.notices);
            self.store.edit(|experiment| *experiment = opened.experiment);
        }
        if let Some(panels) = &wish.hide {
            hide(panels);
        }
        if let Some(theme) = wish.theme {
            self.choice.set(choice_of(theme.word()).unwrap_or_default());
            theme::show(self.store.dark, self.choice.get_untracked());
        }
        Ok(Answer::Done)
    }

    fn answer(self, ask: Ask, event: &MessageEvent) -> Result<Answer, FromFigure> {
        let refuse = |message: &str| FromFigure::Error { code: "message".into(), message: message.into() };
        match ask {
            Ask::Engine => {
                let port = event.ports().get(0).dyn_into::<MessagePort>();
                let port = port.map_err(|_| refuse("the command engine comes with a message port; none came"))?;
                self.store.client().connect(port);
                Ok(Answer::Done)
            }
            Ask::State => Ok(Answer::State { state: Box::new(untrack(|| self.state())) }),
            Ask::Numbers => {
                let screen = Screen::of(self.store).ok_or_else(|| refuse(NOT_YET))?;
                Ok(Answer::Numbers(screen.numbers()))
            }
            Ask::Matrix { column } => {
                let screen = Screen::of(self.store).ok_or_else(|| refuse(NOT_YET))?;
                let column = match column {
                    Part::A => Column::A,
                    Part::B => Column::B,
                    Part::Difference => Column::Difference,
                };
                let shown = screen.matrix(column).ok_or_else(|| refuse("this figure has no such matrix yet"))?;
                Ok(Answer::Matrix(screen.values(shown)))
            }
        }
    }

    fn state(self) -> State {
        let store = self.store;
        let experiment = store.experiment.get();
        let (stage, bytes, total) = store.engine.with(|engine| match engine {
            EngineState::Starting => (Stage::Starting, None, None),
            EngineState::Loading { bytes, total } => {
                (Stage::Loading, Some(*bytes as u32), total.map(|total| total as u32))
            }
            EngineState::Ready { .. } => (Stage::Ready, None, None),
            EngineState::Failed(_) => (Stage::Failed, None, None),
        });
        State { stage, bytes, total, fresh: !store.stale.get(), link: link::write(&experiment), experiment }
    }

    /// Tells the height of the content, which does not depend on that of the frame.
    fn follow_height(self) {
        let Some(content) = document().get_element_by_id("app") else { return };
        let measured = content.clone();
        let last = StoredValue::new(0);
        let closure = Closure::<dyn FnMut()>::new(move || {
            let height = measured.get_bounding_client_rect().height().ceil() as u32;
            if height > 0 && last.get_value() != height {
                last.set_value(height);
                self.say(0, FromFigure::Resize { height });
            }
        });
        if let Ok(observer) = ResizeObserver::new(closure.as_ref().unchecked_ref()) {
            observer.observe(&content);
            // Both for as long as the page lives.
            closure.forget();
            std::mem::forget(observer);
        }
    }
}

const NOT_YET: &str = "the numbers of this experiment are not there yet; wait for a state that is fresh";

/// The style sheet hides what the root names.
fn hide(panels: &[Panel]) {
    let words: Vec<_> = panels.iter().map(|panel| panel.word()).collect();
    if let Some(root) = root() {
        let _ = root.set_attribute("data-hide", &words.join(" "));
    }
}

fn choice_of(word: &str) -> Option<Choice> {
    match word.parse().ok()? {
        Theme::Auto => Some(Choice::Auto),
        Theme::Light => Some(Choice::Light),
        Theme::Dark => Some(Choice::Dark),
    }
}

fn root() -> Option<web_sys::Element> {
    document().document_element()
}

/// Under a figure: what computes, and the way to the whole page.
#[component]
pub fn Foot() -> impl IntoView {
    let store = Store::here();
    let about = RwSignal::new(false);
    let whole = move || store.experiment.with(|experiment| format!("./#{}", link::write(experiment)));
    view! {
        <footer class="foot">
            <EngineBadge about/>
            <a class="whole" data-test="whole" target="_blank" rel="noopener" href=whole>"Open in attnscope"</a>
        </footer>
        <About open=about/>
    }
}
