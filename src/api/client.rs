//! The page's end of the conversation with the engine worker.
//!
//! The worker says `{ id: 0 }` when it listens; until then calls wait. Each call gets a number and is answered with it
//! once; progress may come before. When the worker dies, every open call fails with the code `worker`, and the owner, who
//! hears of it through [`Client::on_death`], decides whether to start another.
//!
//! A figure in a frame computes with an engine that it shares with its neighbours, at the far end of a message port
//! ([`Client::share`], [`Client::connect`]); `www/engine.js` stands there.

use super::{Command, Reply};
use crate::outcome::EngineFacts;
use js_sys::{Array, ArrayBuffer, Float32Array, Function, Object, Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, ErrorEvent, MessageEvent, MessagePort, Worker, WorkerOptions, WorkerType};

/// The script that the bundler writes to start the engine.
const WORKER: &str = "./worker_loader.js";

/// A failure as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Stable word, see [`crate::Error::code`]; `worker` when the worker died.
    pub code: String,
    /// One sentence.
    pub message: String,
}

impl Trouble {
    /// The worker died.
    pub fn crashed() -> Self {
        Self {
            code: "worker".into(),
            message: "the engine stopped unexpectedly; restart it, or reload the page".into(),
        }
    }

    /// The worker answered something else than what was asked.
    pub fn unexpected() -> Self {
        Self::from(&crate::Error::Internal("the engine gave an answer of the wrong kind".into()))
    }

    /// Whether the worker died.
    pub fn is_crash(&self) -> bool {
        self.code == "worker"
    }
}

impl From<&crate::Error> for Trouble {
    fn from(error: &crate::Error) -> Self {
        Self { code: error.code().into(), message: error.to_string() }
    }
}

/// A reply with the arrays that came beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// Arrays, in the order the reply names them.
    pub buffers: Vec<Vec<f32>>,
}

/// Hears how many bytes have come and, where known, how many there are.
type Progress = Rc<dyn Fn(usize, Option<usize>)>;

/// What the browser calls.
type Handler = Closure<dyn Fn(JsValue)>;

/// Hears what computes, whenever that has changed.
type Tell = Rc<dyn Fn(EngineFacts)>;

/// A call under way.
struct Waiting {
    /// Resolves the caller's promise with the message; with `undefined` when the worker died.
    resolve: Function,
    progress: Progress,
}

/// What computes.
enum Engine {
    Own(Worker),
    /// Shared with other figures.
    Shared(MessagePort),
}

impl Engine {
    fn post(&self, message: &Object) {
        // Plain strings and numbers can always be posted.
        let _ = match self {
            Engine::Own(worker) => worker.post_message(message),
            Engine::Shared(port) => port.post_message(message),
        };
    }
}

#[derive(Default)]
struct Line {
    engine: RefCell<Option<Engine>>,
    /// Whether to wait for a port instead of starting a worker.
    shares: Cell<bool>,
    /// Whether the engine listens.
    listens: Cell<bool>,
    /// Messages that wait until it does.
    held: RefCell<Vec<Object>>,
    waiting: RefCell<HashMap<u32, Waiting>>,
    last_id: Cell<u32>,
    /// Keeps the handlers alive as long as their worker.
    handlers: RefCell<Vec<Handler>>,
    on_death: RefCell<Option<Rc<dyn Fn()>>>,
    on_engine: RefCell<Option<Tell>>,
    on_compiling: RefCell<Option<Rc<dyn Fn(usize, usize)>>>,
}

/// A worker to call. Clones share it.
#[derive(Clone, Default)]
pub struct Client(Rc<Line>);

impl Client {
    /// Sends a command and waits for its reply. The worker is started by the first call.
    ///
    /// # Errors
    /// What the worker answers with [`Reply::Failed`], or that it died.
    pub async fn call(
        &self,
        command: &Command,
        progress: impl Fn(usize, Option<usize>) + 'static,
    ) -> Result<Answer, Trouble> {
        self.call_with(command, &[], progress).await
    }

    /// The same with files beside the command.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_with(
        &self,
        command: &Command,
        files: &[Blob],
        progress: impl Fn(usize, Option<usize>) + 'static,
    ) -> Result<Answer, Trouble> {
        let json = serde_json::to_string(command).map_err(|error| broken("command", error))?;
        if self.0.engine.borrow().is_none() && !self.0.shares.get() {
            self.start()?;
        }
        let id = self.0.last_id.get() + 1;
        self.0.last_id.set(id);
        let message = Object::new();
        set(&message, "id", &id.into());
        set(&message, "json", &json.into());
        set(&message, "buffers", &Array::new());
        set(&message, "files", &files.iter().collect::<Array>());

        let progress: Progress = Rc::new(progress);
        let promise = Promise::new(&mut |resolve, _| {
            self.0.waiting.borrow_mut().insert(id, Waiting { resolve, progress: progress.clone() });
        });
        self.0.held.borrow_mut().push(message);
        self.flush();
        let message = JsFuture::from(promise).await.unwrap_or_default();
        if message.is_undefined() {
            return Err(Trouble::crashed());
        }
        match reply(&message)? {
            Reply::Failed { code, message } => Err(Trouble { code, message }),
            reply => Ok(Answer { reply, buffers: buffers(&message) }),
        }
    }

    /// Ends the worker, which fails what was asked of it; the next call starts a fresh one.
    pub fn end(&self) {
        self.0.end();
    }

    /// Sets what is told when the worker dies by itself, whether anything was asked of it or not.
    pub fn on_death(&self, tell: impl Fn() + 'static) {
        *self.0.on_death.borrow_mut() = Some(Rc::new(tell));
    }

    /// Sets what is told when another engine computes than before, or when more of it was checked.
    pub fn on_engine(&self, tell: impl Fn(EngineFacts) + 'static) {
        *self.0.on_engine.borrow_mut() = Some(Rc::new(tell));
    }

    /// Sets what is told while programs of the GPU are compiled: how many are ready, and how many there are.
    pub fn on_compiling(&self, tell: impl Fn(usize, usize) + 'static) {
        *self.0.on_compiling.borrow_mut() = Some(Rc::new(tell));
    }

    /// From now on calls wait for [`Client::connect`], and no worker is started.
    pub fn share(&self) {
        self.0.shares.set(true);
    }

    /// Computes with the engine behind a port.
    pub fn connect(&self, port: MessagePort) {
        if self.0.engine.borrow().is_some() {
            self.0.end();
        }
        let hear = self.hearing();
        port.set_onmessage(Some(hear.as_ref().unchecked_ref()));
        *self.0.handlers.borrow_mut() = vec![hear];
        *self.0.engine.borrow_mut() = Some(Engine::Shared(port));
    }

    /// Hears what the engine says.
    fn hearing(&self) -> Handler {
        let line = Rc::downgrade(&self.0);
        Closure::new(move |event: JsValue| {
            if let (Some(line), Ok(event)) = (line.upgrade(), event.dyn_into::<MessageEvent>()) {
                Client(line).hear(&event.data());
            }
        })
    }

    fn start(&self) -> Result<(), Trouble> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(WORKER, &options).map_err(|error| Trouble {
            code: "worker".into(),
            message: format!("the engine cannot be started: {error:?}"),
        })?;
        let hear = self.hearing();
        let line = Rc::downgrade(&self.0);
        let fail = Closure::new(move |event: JsValue| {
            if let Some(event) = event.dyn_ref::<ErrorEvent>() {
                web_sys::console::error_2(&"the engine worker stopped:".into(), &event.message().into());
            }
            if let Some(line) = line.upgrade() {
                line.die();
            }
        });
        worker.set_onmessage(Some(hear.as_ref().unchecked_ref()));
        worker.set_onmessageerror(Some(fail.as_ref().unchecked_ref()));
        worker.set_onerror(Some(fail.as_ref().unchecked_ref()));
        *self.0.handlers.borrow_mut() = vec![hear, fail];
        *self.0.engine.borrow_mut() = Some(Engine::Own(worker));
        Ok(())
    }

    fn hear(&self, message: &JsValue) {
        let id = get(message, "id").as_f64().unwrap_or_default() as u32;
        let progress = match reply(message) {
            Ok(Reply::Progress { bytes, total }) => Some((bytes, total)),
            // Nobody asked: it tells that it died of something it cannot tell in an answer.
            Ok(Reply::Failed { message, .. }) if id == 0 => {
                web_sys::console::error_2(&"the engine worker stopped:".into(), &message.into());
                return self.0.die();
            }
            Ok(Reply::Engine { engine }) if id == 0 => {
                let tell = self.0.on_engine.borrow().clone();
                return tell.into_iter().for_each(|tell| tell(engine.clone()));
            }
            Ok(Reply::Compiling { done, all }) => {
                let tell = self.0.on_compiling.borrow().clone();
                return tell.into_iter().for_each(|tell| tell(done, all));
            }
            _ => None,
        };
        if id == 0 {
            self.0.listens.set(true);
            return self.flush();
        }
        if let Some((bytes, total)) = progress {
            let report = self.0.waiting.borrow().get(&id).map(|waiting| waiting.progress.clone());
            if let Some(report) = report {
                report(bytes, total);
            }
            return;
        }
        let waiting = self.0.waiting.borrow_mut().remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.resolve.call1(&JsValue::UNDEFINED, message);
        }
    }

    fn flush(&self) {
        if let (true, Some(engine)) = (self.0.listens.get(), self.0.engine.borrow().as_ref()) {
            self.0.held.borrow_mut().drain(..).for_each(|message| engine.post(&message));
        }
    }
}

impl Line {
    fn die(&self) {
        self.end();
        let tell = self.on_death.borrow().clone();
        if let Some(tell) = tell {
            tell();
        }
    }

    /// Ends the worker and fails every open call. The handlers of the dead worker live on until the next one starts,
    /// since this may be running inside one of them. A shared engine is not this figure's to end; it is told to forget
    /// what was asked of it.
    fn end(&self) {
        let mut engine = self.engine.borrow_mut();
        match &*engine {
            Some(Engine::Own(worker)) => {
                worker.set_onmessage(None);
                worker.set_onerror(None);
                worker.terminate();
                *engine = None;
                self.listens.set(false);
            }
            Some(shared) => {
                let forget = Object::new();
                set(&forget, "forget", &true.into());
                shared.post(&forget);
            }
            None => {}
        }
        drop(engine);
        self.held.borrow_mut().clear();
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for call in waiting.into_values() {
            let _ = call.resolve.call1(&JsValue::UNDEFINED, &JsValue::UNDEFINED);
        }
    }
}

fn reply(message: &JsValue) -> Result<Reply, Trouble> {
    let json = get(message, "json").as_string().unwrap_or_default();
    serde_json::from_str(&json).map_err(|error| broken("reply", error))
}

/// The arrays beside a reply; a transferred buffer or a view on one.
fn buffers(message: &JsValue) -> Vec<Vec<f32>> {
    let list = get(message, "buffers").dyn_into::<Array>().unwrap_or_default();
    let view = |item: JsValue| match item.dyn_into::<ArrayBuffer>() {
        Ok(buffer) => Float32Array::new(&buffer).to_vec(),
        Err(item) => item.dyn_into::<Float32Array>().map(|array| array.to_vec()).unwrap_or_default(),
    };
    list.iter().map(view).collect()
}

fn broken(what: &str, error: serde_json::Error) -> Trouble {
    Trouble::from(&crate::Error::Internal(format!("a {what} cannot be written or read: {error}")))
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or_default()
}

fn set(object: &Object, key: &str, value: &JsValue) {
    // Setting a property of a plain object of our own cannot fail.
    let _ = Reflect::set(object, &key.into(), value);
}
