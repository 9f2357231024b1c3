//! Worker side of the protocol: a queue of commands, one at a time, latest wins.
//!
//! Messages are heard between forward passes, since a pass never waits. A newer [`Command::Run`] answers an older one
//! that waits with `superseded` and stops one that runs before its next pane; head-role probes and analyses step aside for a
//! run and start over after it. A newer question of an instrument, or [`Command::Stop`], ends an older one for good. A panic
//! is told to the page as a [`Reply::Failed`] with id 0, and the page restarts the worker.

mod blobs;
mod browser;
mod fetch;

use super::{Command, LawReport, Reply, webgpu};
use crate::engine::{Choice, Engine, Generation, Written};
use crate::hook::Array;
use crate::mechanism;
use crate::model::{self, Files};
use crate::outcome::EngineFacts;
use crate::{Error, Result};
use gloo::timers::future::TimeoutFuture;
use js_sys::{Array as List, Float32Array, Object, Reflect};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Blob, DedicatedWorkerGlobalScope, MessageEvent};

/// A command that waits, with the number its reply must carry.
struct Waiting {
    id: u32,
    command: Command,
    /// Files beside the message.
    blobs: Vec<Blob>,
}

struct Server {
    scope: DedicatedWorkerGlobalScope,
    queue: RefCell<VecDeque<Waiting>>,
    busy: Cell<bool>,
    engine: RefCell<Option<Engine>>,
    /// What the page knows of it.
    told: RefCell<Option<EngineFacts>>,
    /// The instrument that is being asked, of which pane, and how many questions were given up so far.
    asked: RefCell<Option<(String, usize)>>,
    given_up: Cell<u64>,
    /// How often prompts that were being read were given up.
    unread: Cell<u64>,
    /// Continuations under way, by pane.
    continuations: RefCell<BTreeMap<usize, Generation>>,
}

/// A reply and the arrays beside it.
type Answer = (Reply, Vec<Array>);

/// Listens to the page; called once, when the worker starts.
pub fn start() {
    let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() else {
        return web_sys::console::error_1(&"the engine must run in a dedicated worker".into());
    };
    tell_panics(scope.clone());
    let teller = scope.clone();
    webgpu::install(move |done, all| post(&teller, 0, &Reply::Compiling { done, all }, Vec::new()));
    let server = Rc::new(Server {
        scope: scope.clone(),
        queue: RefCell::default(),
        busy: Cell::new(false),
        engine: RefCell::new(None),
        told: RefCell::new(None),
        asked: RefCell::default(),
        given_up: Cell::new(0),
        unread: Cell::new(0),
        continuations: RefCell::default(),
    });
    let hear = server.clone();
    let listener = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| hear.hear(&event.data()));
    scope.set_onmessage(Some(listener.as_ref().unchecked_ref()));
    // The worker listens as long as it lives.
    listener.forget();
    server.post(0, &Reply::Ready, Vec::new());
}

/// A panic traps the instance, and the page must hear of it before that: nothing else reports a trap inside a promise.
fn tell_panics(scope: DedicatedWorkerGlobalScope) {
    std::panic::set_hook(Box::new(move |info| {
        console_error_panic_hook::hook(info);
        let reply = Reply::failed(&Error::Internal(info.to_string()));
        post(&scope, 0, &reply, Vec::new());
    }));
}

impl Server {
    fn hear(self: &Rc<Self>, message: &JsValue) {
        let get = |key: &str| Reflect::get(message, &key.into()).unwrap_or_default();
        let id = get("id").as_f64().unwrap_or_default() as u32;
        let command = match serde_json::from_str::<Command>(&get("json").as_string().unwrap_or_default()) {
            Ok(command) => command,
            Err(error) => return self.fail(id, &Error::parse("command", error)),
        };
        match &command {
            Command::Run { .. } => self.supersede(|waiting| matches!(waiting, Command::Run { .. })),
            Command::Analyse { analysis, pane, .. } => self.give_up(Some((analysis.clone(), *pane))),
            // Answered at once, since what it ends may be what it would wait for.
            Command::Stop => {
                self.give_up(None);
                return self.post(id, &Reply::Stopped, Vec::new());
            }
            Command::StopReading => {
                self.supersede(|waiting| matches!(waiting, Command::Begin { .. }));
                self.unread.set(self.unread.get() + 1);
                return self.post(id, &Reply::Stopped, Vec::new());
            }
            _ => {}
        }
        let blobs = get("files").dyn_into::<List>().unwrap_or_default();
        let blobs = blobs.iter().filter_map(|blob| blob.dyn_into::<Blob>().ok()).collect();
        self.queue.borrow_mut().push_back(Waiting { id, command, blobs });
        if !self.busy.replace(true) {
            let server = self.clone();
            spawn_local(async move { server.work().await });
        }
    }

    /// Answers what waits and is `old` now.
    fn supersede(&self, old: impl Fn(&Command) -> bool) {
        let (old, kept): (Vec<_>, Vec<_>) =
            self.queue.borrow_mut().drain(..).partition(|waiting| old(&waiting.command));
        self.queue.borrow_mut().extend(kept);
        old.iter().for_each(|waiting| self.fail(waiting.id, &Error::Superseded));
    }

    /// Ends the questions of one instrument about one pane, or all: those that wait, and the one under way before its next
    /// pass.
    fn give_up(&self, question: Option<(String, usize)>) {
        let is_old = |analysis: &str, pane: usize| {
            question.as_ref().is_none_or(|(id, of)| (id.as_str(), *of) == (analysis, pane))
        };
        self.supersede(|waiting| matches!(waiting, Command::Analyse { analysis, pane, .. } if is_old(analysis, *pane)));
        if self.asked.borrow().as_ref().is_some_and(|(id, pane)| is_old(id, *pane)) {
            self.given_up.set(self.given_up.get() + 1);
        }
    }

    /// Works until nothing waits.
    async fn work(self: Rc<Self>) {
        loop {
            let Some(next) = self.queue.borrow_mut().pop_front() else { break };
            let given_up = self.given_up.get();
            let answer = self.answer(&next).await;
            match answer {
                Ok((reply, arrays)) => self.post(next.id, &reply, arrays),
                // What stepped aside starts over, behind the run it made way for.
                Err(Error::Superseded) if matches!(next.command, Command::Roles { .. }) => {
                    self.queue.borrow_mut().push_back(next);
                }
                Err(Error::Superseded)
                    if matches!(next.command, Command::Analyse { .. }) && self.given_up.get() == given_up =>
                {
                    self.queue.borrow_mut().push_back(next);
                }
                Err(error) => self.fail(next.id, &error),
            }
        }
        self.busy.set(false);
    }

    async fn answer(&self, Waiting { id, command, blobs }: &Waiting) -> Result<Answer> {
        // Only the one command under way uses the engine; it is put back whatever comes of it.
        let mut engine = self.engine.take();
        let answer = match command {
            Command::Open { model, engine: choice, .. } | Command::OpenFiles { model, engine: choice, .. } => {
                // The old model goes before the new one comes, so that both never stand in memory.
                engine = None;
                self.continuations.borrow_mut().clear();
                let progress = |bytes, total| self.post(*id, &Reply::Progress { bytes, total }, Vec::new());
                let files = match command {
                    Command::Open { base, .. } => fetch::model(&self.scope, base, model, progress).await,
                    Command::OpenFiles { names, .. } => blobs::read(names, blobs, progress).await,
                    _ => Err(Error::Internal("a command went astray".into())),
                };
                let opened = match files {
                    Ok(files) => self.open(model, files, choice).await,
                    Err(error) => Err(error),
                };
                match opened {
                    Ok(opened) => {
                        let reply = Reply::Opened { engine: opened.facts(), model: opened.model().clone() };
                        engine = Some(opened);
                        Ok((reply, Vec::new()))
                    }
                    Err(error) => Err(error),
                }
            }
            Command::Laws { mechanism } => laws(mechanism).map(|laws| (Reply::Laws { laws }, Vec::new())),
            Command::Judge { model, names } => blobs::read(names, blobs, |_, _| {})
                .await
                .and_then(|files| Ok((Reply::Judged { model: model::load::facts(model, &files)? }, Vec::new()))),
            command => match &mut engine {
                Some(engine) => self.ask(engine, *id, command).await,
                None => Err(Error::Unknown {
                    what: "model",
                    name: "in this worker".into(),
                    remedy: "open one first".into(),
                }),
            },
        };
        self.tell_changes(engine.as_ref(), command);
        self.engine.replace(engine);
        answer
    }

    /// Tells the page when another engine computes than it was told, or when more of it was checked.
    fn tell_changes(&self, engine: Option<&Engine>, command: &Command) {
        let now = engine.map(Engine::facts);
        let known = self.told.replace(now.clone());
        let opens = matches!(command, Command::Open { .. } | Command::OpenFiles { .. });
        if let Some(engine) = now.filter(|now| known.as_ref() != Some(now) && !opens) {
            self.post(0, &Reply::Engine { engine }, Vec::new());
        }
    }

    async fn open(&self, id: &str, files: Files, choice: &str) -> Result<Engine> {
        let choice: Choice = choice.parse()?;
        let browser = browser::look(choice).await;
        if let (Choice::Gpu, Some(problem)) = (choice, &browser.missing) {
            return Err(Error::Gpu { problem: problem.clone() });
        }
        let loaded = model::load(id, &files)?;
        // The weights are out of them; both never stand in memory longer than it takes.
        drop(files);
        let mut engine = Engine::new(loaded, choice).await?;
        engine.correct(browser.adapter, browser.missing);
        Ok(engine)
    }

    /// What needs a model.
    async fn ask(&self, engine: &mut Engine, call: u32, command: &Command) -> Result<Answer> {
        // Waiting even for no time lets the browser deliver what the page has sent meanwhile.
        let newer_run = async || {
            TimeoutFuture::new(0).await;
            self.queue.borrow().iter().any(|waiting| matches!(waiting.command, Command::Run { .. }))
        };
        match command {
            Command::Run { experiment } => {
                let mut outcome = engine.run(experiment, newer_run).await?;
                let (mut named, mut arrays) = (Vec::new(), Vec::new());
                for (index, pane) in outcome.panes.iter_mut().enumerate() {
                    for (name, array) in std::mem::take(&mut pane.arrays) {
                        named.push((index, name, array.shape.clone()));
                        arrays.push(array);
                    }
                }
                Ok((Reply::Ran { outcome, arrays: named }, arrays))
            }
            Command::Capture { experiment, pane, hooks } => {
                let pass = engine.pass(experiment, *pane, hooks.parse()?).await?;
                let named = pass.captures.values.into_iter().map(|(at, array)| (at.to_string(), array));
                let (named, arrays): (Vec<_>, Vec<_>) =
                    named.map(|(name, array)| ((name, array.shape.clone()), array)).unzip();
                Ok((Reply::Captured { arrays: named }, arrays))
            }
            Command::Head { pane, head } => {
                let maps = engine.head(*pane, *head).await?;
                let tokens = maps.pattern.shape.first().copied().unwrap_or(0);
                Ok((Reply::Head { tokens }, vec![maps.scores, maps.pattern, maps.slot, maps.value_norms]))
            }
            Command::Roles { experiment, pane } => {
                Ok((Reply::Roles { report: engine.roles(experiment, *pane, newer_run).await? }, Vec::new()))
            }
            Command::Analyse { experiment, pane, analysis } => {
                self.asked.replace(Some((analysis.clone(), *pane)));
                let given_up = self.given_up.get();
                let step = async |done, all| {
                    self.post(call, &Reply::Progress { bytes: done, total: Some(all) }, Vec::new());
                    newer_run().await || self.given_up.get() != given_up
                };
                let finding = engine.analyse(experiment, *pane, analysis, step).await;
                self.asked.take();
                Ok((Reply::Analysed { finding: Box::new(finding?) }, Vec::new()))
            }
            Command::Ceilings => Ok((Reply::Ceilings { ceilings: engine.ceilings().await? }, Vec::new())),
            Command::Quote { stack, text, tokens, drawn } => {
                Ok((Reply::Quote { quote: engine.quote(stack, text, *tokens, *drawn).await? }, Vec::new()))
            }
            Command::Needles { stack, items } => {
                Ok((Reply::Needles { scores: engine.needles(stack, *items).await? }, Vec::new()))
            }
            Command::Begin { experiment, pane } => {
                self.continuations.borrow_mut().remove(pane);
                let unread = self.unread.get();
                let stop = async || {
                    TimeoutFuture::new(0).await;
                    self.unread.get() != unread
                };
                let begun = engine.continuation(experiment, *pane, stop).await?;
                let millis = begun.prompt_millis();
                self.continuations.borrow_mut().insert(*pane, begun);
                Ok((Reply::Begun { millis }, Vec::new()))
            }
            Command::Burst { pane, most } => {
                let mut continuation = self.take_continuation(*pane)?;
                let burst = engine.burst(&mut continuation, *most).await?;
                let reply = Reply::Burst {
                    tokens: burst.tokens.iter().map(|id| engine.token(*id)).collect(),
                    text: engine.tokenizer().decode(continuation.drawn())?,
                    millis: burst.millis,
                    ended: burst.end.is_some(),
                    notice: burst.end.and_then(|end| end.notice()),
                };
                self.continuations.borrow_mut().insert(*pane, continuation);
                Ok((reply, Vec::new()))
            }
            Command::Written { pane, head, first } => {
                let continuation = self.take_continuation(*pane)?;
                let written = engine.written(&continuation, *head, *first).await;
                self.continuations.borrow_mut().insert(*pane, continuation);
                let Written { pattern, kept, .. } = written?;
                let [queries, keys] = pattern.shape[..] else {
                    return Err(Error::Internal("a map has no rows and columns".into()));
                };
                Ok((Reply::Written { queries, keys, kept }, vec![pattern]))
            }
            Command::Verify => Ok((Reply::Verified { verification: engine.verify(newer_run).await? }, Vec::new())),
            Command::Open { .. }
            | Command::OpenFiles { .. }
            | Command::Judge { .. }
            | Command::Laws { .. }
            | Command::Stop
            | Command::StopReading => Err(Error::Internal("a command went astray".into())),
        }
    }

    fn take_continuation(&self, pane: usize) -> Result<Generation> {
        self.continuations.borrow_mut().remove(&pane).ok_or_else(|| Error::Unknown {
            what: "continuation",
            name: format!("of pane {}", pane + 1),
            remedy: "begin one first".into(),
        })
    }

    fn fail(&self, id: u32, error: &Error) {
        self.post(id, &Reply::failed(error), Vec::new());
    }

    fn post(&self, id: u32, reply: &Reply, arrays: Vec<Array>) {
        post(&self.scope, id, reply, arrays);
    }
}

fn laws(id: &str) -> Result<Vec<LawReport>> {
    mechanism::laws::check(mechanism::by_id(id)?)
}

/// Posts `{ id, json, buffers }`; the buffers change hands without a copy.
fn post(scope: &DedicatedWorkerGlobalScope, id: u32, reply: &Reply, arrays: Vec<Array>) {
    let json = serde_json::to_string(reply)
        .unwrap_or_else(|_| r#"{"reply":"failed","code":"internal","message":"a reply cannot be written"}"#.into());
    let buffers = List::new();
    for array in arrays {
        buffers.push(&Float32Array::from(array.data.as_slice()).buffer());
    }
    let message = Object::new();
    for (key, value) in [("id", JsValue::from(id)), ("json", json.into()), ("buffers", buffers.clone().into())] {
        // Setting a property of a plain object of our own cannot fail.
        let _ = Reflect::set(&message, &key.into(), &value);
    }
    if let Err(error) = scope.post_message_with_transfer(&message, &buffers) {
        web_sys::console::error_2(&"a reply cannot be posted:".into(), &error);
    }
}
