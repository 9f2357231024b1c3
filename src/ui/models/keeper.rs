//! The line to `www/keeper.js`, the worker that fetches models from elsewhere and keeps them in this browser.

use crate::api::client::Trouble;
use js_sys::{Array, Function, Object, Promise, Reflect};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, MessageEvent, Worker, WorkerOptions, WorkerType};

const SCRIPT: &str = "./keeper.js";

/// What is asked of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// What is kept.
    List,
    /// The files of a kept model.
    Open {
        /// Its id.
        model: String,
    },
    /// Removes a model, finished or not.
    Forget {
        /// Where it came from.
        source: String,
        /// Its id, when it is finished.
        model: Option<String>,
    },
    /// Brings a model from elsewhere.
    Fetch {
        /// What the visitor typed, or the source in an id.
        source: String,
        /// Whether to keep it.
        keep: bool,
        /// Where its tokenizer is, when not beside it.
        tokenizer: Option<String>,
    },
    /// Names the visitor's own files, which come beside the message.
    Take {
        /// Their paths.
        names: Vec<String>,
        /// Whether to keep copies.
        keep: bool,
    },
    /// Goes on after a sample.
    Go {
        /// Number of the call.
        of: u32,
    },
    /// Stops a download; what has arrived stays.
    Stop {
        /// Number of the call.
        of: u32,
    },
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Said {
    /// Bytes so far, and in all where every server said how many.
    Progress {
        /// So far.
        bytes: f64,
        /// In all.
        total: Option<f64>,
    },
    /// Small files that tell what the model is; it waits for [`Ask::Go`].
    Sample {
        /// What the model is called.
        name: String,
        /// Names of the files.
        names: Vec<String>,
    },
    /// The model is there.
    Done(Arrived),
    /// What is kept.
    Stored(Stored),
    /// It failed.
    Problem {
        /// A stable word.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// A model that is there, with its files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Arrived {
    /// Its id: source and hash.
    pub model: String,
    /// What it is called.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Bytes of all files.
    pub bytes: f64,
    /// SHA-256 of each file; empty where the browser computes none.
    pub sha256: HashMap<String, String>,
    /// Names of the files.
    pub names: Vec<String>,
    /// Whether this browser keeps it.
    pub kept: bool,
    /// Why it does not, and the like.
    pub notes: Vec<String>,
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Stored {
    /// Each model.
    pub models: Vec<Kept>,
    /// Bytes this page uses in this browser.
    pub usage: f64,
    /// Bytes the browser would let it use.
    pub quota: f64,
}

/// A model in this browser's storage.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Kept {
    /// Its id; none as long as it is not complete.
    pub model: Option<String>,
    /// What it is called.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Bytes that are here.
    pub bytes: f64,
    /// Whether all of it is.
    pub complete: bool,
    /// Whether it is arriving now.
    pub busy: bool,
}

type Handler = Closure<dyn Fn(JsValue)>;

type Hear = Rc<dyn Fn(u32, Said, Vec<Blob>)>;

struct Waiting {
    resolve: Function,
    hear: Hear,
}

#[derive(Default)]
struct Line {
    worker: RefCell<Option<Worker>>,
    waiting: RefCell<HashMap<u32, Waiting>>,
    last_id: Cell<u32>,
    handlers: RefCell<Vec<Handler>>,
}

/// The keeper; clones share it. Its worker starts with the first question.
#[derive(Clone, Default)]
pub struct Keeper(Rc<Line>);

impl Keeper {
    /// Asks and waits for the end of the answer; `hear` is told what comes before it, with the number of the call.
    ///
    /// # Errors
    /// What the keeper answers with [`Said::Problem`], or that it does not run.
    pub async fn call(
        &self,
        ask: &Ask,
        files: &[Blob],
        hear: impl Fn(u32, Said, Vec<Blob>) + 'static,
    ) -> Result<(Said, Vec<Blob>), Trouble> {
        let id = self.0.last_id.get() + 1;
        self.0.last_id.set(id);
        let hear: Hear = Rc::new(hear);
        let promise = Promise::new(&mut |resolve, _| {
            self.0.waiting.borrow_mut().insert(id, Waiting { resolve, hear: hear.clone() });
        });
        self.post(id, ask, files)?;
        let message = JsFuture::from(promise).await.unwrap_or_default();
        match read(&message) {
            Some((Said::Problem { code, message }, _)) => Err(Trouble { code, message }),
            Some(answer) => Ok(answer),
            None => Err(Trouble {
                code: "worker".into(),
                message: "the worker that fetches models stopped; reload the page".into(),
            }),
        }
    }

    /// Says something that has no answer.
    pub fn tell(&self, ask: &Ask) {
        // A worker that does not run has nothing to stop or go on with.
        let _ = self.post(0, ask, &[]);
    }

    fn post(&self, id: u32, ask: &Ask, files: &[Blob]) -> Result<(), Trouble> {
        if self.0.worker.borrow().is_none() {
            self.start()?;
        }
        let json =
            serde_json::to_string(ask).map_err(|error| Trouble::from(&crate::Error::parse("question", error)))?;
        let message = Object::new();
        let files: Array = files.iter().collect();
        for (key, value) in [("id", JsValue::from(id)), ("json", json.into()), ("files", files.into())] {
            // Setting a property of a plain object of our own cannot fail.
            let _ = Reflect::set(&message, &key.into(), &value);
        }
        if let Some(worker) = &*self.0.worker.borrow() {
            let _ = worker.post_message(&message);
        }
        Ok(())
    }

    fn start(&self) -> Result<(), Trouble> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(SCRIPT, &options).map_err(|error| Trouble {
            code: "worker".into(),
            message: format!("the worker that fetches models cannot be started: {error:?}"),
        })?;
        let line = Rc::downgrade(&self.0);
        let hear = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
            if let (Some(line), Ok(event)) = (line.upgrade(), event.dyn_into::<MessageEvent>()) {
                line.hear(&event.data());
            }
        });
        let line = Rc::downgrade(&self.0);
        let fail = Closure::<dyn Fn(JsValue)>::new(move |_| {
            if let Some(line) = line.upgrade() {
                *line.worker.borrow_mut() = None;
                let waiting = std::mem::take(&mut *line.waiting.borrow_mut());
                for call in waiting.into_values() {
                    let _ = call.resolve.call0(&JsValue::UNDEFINED);
                }
            }
        });
        worker.set_onmessage(Some(hear.as_ref().unchecked_ref()));
        worker.set_onerror(Some(fail.as_ref().unchecked_ref()));
        *self.0.handlers.borrow_mut() = vec![hear, fail];
        *self.0.worker.borrow_mut() = Some(worker);
        Ok(())
    }
}

impl Line {
    fn hear(&self, message: &JsValue) {
        let id = Reflect::get(message, &"id".into()).unwrap_or_default().as_f64().unwrap_or_default() as u32;
        match read(message) {
            Some((said @ (Said::Progress { .. } | Said::Sample { .. }), files)) => {
                let hear = self.waiting.borrow().get(&id).map(|waiting| waiting.hear.clone());
                if let Some(hear) = hear {
                    hear(id, said, files);
                }
            }
            _ => {
                let waiting = self.waiting.borrow_mut().remove(&id);
                if let Some(waiting) = waiting {
                    let _ = waiting.resolve.call1(&JsValue::UNDEFINED, message);
                }
            }
        }
    }
}

fn read(message: &JsValue) -> Option<(Said, Vec<Blob>)> {
    let json = Reflect::get(message, &"json".into()).unwrap_or_default().as_string()?;
    let files = Reflect::get(message, &"files".into()).unwrap_or_default().dyn_into::<Array>().unwrap_or_default();
    let files = files.iter().filter_map(|file| file.dyn_into::<Blob>().ok()).collect();
    serde_json::from_str(&json).ok().map(|said| (said, files))
}
