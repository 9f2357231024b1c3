//! The link: the experiment in the page's address, and the browser's history as undo.

use super::Store;
use crate::experiment::Experiment;
use crate::experiment::link::{self, Opened};
use crate::ui::embed;
use gloo::events::EventListener;
use gloo::timers::callback::Timeout;
use leptos::prelude::*;
use wasm_bindgen::JsValue;

/// Browsers refuse more than about a hundred address changes in half a minute, so that a drag is written at its rests.
const REST_MILLIS: u32 = 150;

/// Writes the address.
#[derive(Default)]
pub struct History {
    /// The drag that made the newest entry.
    drag: Option<String>,
    /// The hash that waits for a drag to rest, and what will write it; dropping that cancels it.
    resting: Option<(String, Timeout)>,
    listeners: Vec<EventListener>,
}

impl History {
    /// The experiment in the address; the default one when there is none or it cannot be read.
    pub fn open() -> (Self, Opened) {
        let opened = read_address().unwrap_or_else(|why| Opened {
            experiment: Experiment::default(),
            notices: vec![format!("{why}; the default example is shown")],
        });
        (Self::default(), opened)
    }

    /// Writes the experiment as a new entry, or over the newest one in the course of a drag.
    pub fn write(&mut self, experiment: &Experiment, drag: Option<&str>) {
        let hash = format!("#{}", link::write(experiment));
        if drag.is_some() && self.drag.as_deref() == drag {
            let later = hash.clone();
            self.resting = Some((hash, Timeout::new(REST_MILLIS, move || put(&later, true))));
            return;
        }
        // The step before ends where its drag ended, even if that has not been written yet.
        if let Some((end, _)) = self.resting.take() {
            put(&end, true);
        }
        self.drag = drag.map(str::to_owned);
        put(&hash, false);
    }
}

/// Reads the address, or says in one sentence why it cannot be read.
fn read_address() -> Result<Opened, String> {
    let hash = window().location().hash().unwrap_or_default();
    link::read(&hash).map_err(|error| error.to_string())
}

fn put(hash: &str, over: bool) {
    // The back button belongs to the page that holds a figure.
    let over = over || embed::framed();
    let Ok(history) = window().history() else { return };
    let (state, title) = (JsValue::NULL, "");
    // A browser may refuse in a sandboxed frame; the experiment on screen is unaffected.
    let _ = if over {
        history.replace_state_with_url(&state, title, Some(hash))
    } else {
        history.push_state_with_url(&state, title, Some(hash))
    };
}

impl Store {
    /// Sets the experiment when the visitor goes back, forward or edits the address.
    pub(super) fn follow_history(self) {
        let reread = move |_: &web_sys::Event| {
            self.history.update_value(|history| {
                history.resting = None;
                history.drag = None;
            });
            match read_address() {
                Ok(opened) => {
                    self.notices.set(opened.notices);
                    if self.experiment.with_untracked(|experiment| *experiment != opened.experiment) {
                        self.experiment.set(opened.experiment);
                    }
                }
                Err(why) => self.notices.set(vec![format!("{why}; the page stays as it was")]),
            }
        };
        let listeners = ["popstate", "hashchange"].map(|event| EventListener::new(&window(), event, reread));
        self.history.update_value(|history| history.listeners.extend(listeners));
    }
}
