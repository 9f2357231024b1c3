//! The engine behind the store: opening models, running the newest experiment, answering what is asked on demand.

use super::{EngineState, Fetched, Inputs, Store};
use crate::alignment::Alignment;
use crate::api::client::{Answer, Client, Trouble};
use crate::api::{Command, Reply};
use crate::experiment::Head;
use crate::hook::Array;
use crate::outcome::{EngineFacts, HeadMaps, Outcome, Token};
use crate::shipped::Name;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::sync::Arc;
use web_sys::Blob;

/// More crashes than this within [`PATIENCE_MILLIS`] are no accident; then the visitor decides.
const PATIENCE: usize = 2;
const PATIENCE_MILLIS: f64 = 60_000.0;

/// Where the conversation with the engine stands.
#[derive(Default)]
pub struct Driver {
    /// The model that was opened last.
    model: String,
    /// Whether a run is under way.
    running: bool,
    /// Whether the experiment changed since that run began.
    again: bool,
    /// When the worker died, in milliseconds; the newest last.
    crashes: Vec<f64>,
}

impl Store {
    /// Opens the model whenever it changes, and runs whenever the numbers could change.
    pub(super) fn drive(self) {
        self.client().on_death(move || self.recover());
        self.client().on_engine(move |facts| self.heard(facts));
        self.client().on_compiling(move |done, all| self.compiling.set((done < all).then_some((done, all))));
        let model = Memo::new(move |_| self.experiment.with(|experiment| experiment.model.clone()));
        Effect::new(move |_| self.open(model.get()));
        let inputs = Memo::new(move |_| self.experiment.with(|experiment| Inputs::from(experiment)));
        Effect::new(move |_| {
            // Read, not only tracked: a memo that nobody has read does not follow its sources.
            inputs.with(|_| ());
            self.stale.set(true);
            self.run_newest();
        });
    }

    /// Starts the engine afresh, after it failed.
    pub fn restart(self) {
        self.client().end();
        self.open(self.experiment.with_untracked(|experiment| experiment.model.clone()));
    }

    /// The line to the engine.
    pub(in crate::ui) fn client(self) -> Client {
        self.client.get_value()
    }

    fn open(self, model: String) {
        self.driver.update_value(|driver| driver.model.clone_from(&model));
        self.engine.set(EngineState::Starting);
        self.compiling.set(None);
        // The new worker knows nothing of what the old one wrote.
        self.continuing.set(Default::default());
        self.forget_grown();
        spawn_local(async move {
            if self.load(model.clone()).await {
                self.run_newest();
            }
        });
    }

    /// Loads a model; whether it is the one still wanted and now ready.
    async fn load(self, model: String) -> bool {
        let wanted = model.clone();
        let current = move || self.driver.with_value(|driver| driver.model == wanted);
        let (command, files) = match self.opening(model).await {
            Ok(opening) => opening,
            Err(trouble) => {
                if current() {
                    self.engine.set(EngineState::Failed(trouble));
                }
                return false;
            }
        };
        let still = current.clone();
        let progress = move |bytes, total| {
            if still() {
                self.engine.set(EngineState::Loading { bytes, total });
            }
        };
        let answer = self.client().call_with(&command, &files, progress).await;
        if !current() {
            return false;
        }
        let state = match answer {
            Ok(Answer { reply: Reply::Opened { engine, model }, .. }) => EngineState::Ready { engine, model },
            Ok(_) => EngineState::Failed(Trouble::unexpected()),
            Err(trouble) => EngineState::Failed(trouble),
        };
        let ready = matches!(state, EngineState::Ready { .. });
        self.engine.set(state);
        ready
    }

    /// The command that opens a model, and the files beside it.
    async fn opening(self, model: String) -> Result<(Command, Vec<Blob>), Trouble> {
        if Name::of(&model).is_shipped() {
            return Ok((Command::Open { model, base: base(), engine: wanted_engine() }, Vec::new()));
        }
        let (names, files) = self.library.files(&model).await?.into_iter().unzip();
        Ok((Command::OpenFiles { model, names, engine: wanted_engine() }, files))
    }

    /// Runs the newest experiment. While a run is under way it only notes that another is due: the newest wins, and
    /// whatever was changed in between is never computed.
    fn run_newest(self) {
        if !self.engine.with_untracked(|engine| matches!(engine, EngineState::Ready { .. })) {
            return;
        }
        let busy = self.driver.try_update_value(|driver| {
            driver.again = driver.running;
            std::mem::replace(&mut driver.running, true)
        });
        if busy == Some(false) {
            spawn_local(self.run_until_fresh());
        }
    }

    async fn run_until_fresh(self) {
        loop {
            let experiment = self.experiment.get_untracked();
            let inputs = Inputs::from(&experiment);
            let answer = self.ask(Command::Run { experiment }).await;
            self.take(answer, &inputs);
            let again = self.driver.try_update_value(|driver| {
                driver.running = driver.again;
                std::mem::take(&mut driver.again)
            });
            if again != Some(true) {
                return;
            }
        }
    }

    /// Whether the engine answers for this model. While another one is on its way, the old one still may; what is asked then
    /// would be answered about the wrong model.
    pub(super) fn answers_for(self, model: &str) -> bool {
        self.engine.with_untracked(|engine| matches!(engine, EngineState::Ready { .. }))
            && self.driver.with_value(|driver| driver.model == model)
    }

    pub(super) async fn ask(self, command: Command) -> Result<Answer, Trouble> {
        self.client().call(&command, |_, _| {}).await
    }

    /// After the worker died: a fresh one, which runs the newest experiment. While a model is being opened, the failure
    /// of that call says enough.
    fn recover(self) {
        if !self.engine.with_untracked(|engine| matches!(engine, EngineState::Ready { .. })) {
            return;
        }
        let now = js_sys::Date::now();
        let patient = self.driver.try_update_value(|driver| {
            driver.crashes.retain(|crash| now - crash < PATIENCE_MILLIS);
            driver.crashes.push(now);
            driver.crashes.len() <= PATIENCE
        });
        if patient == Some(true) {
            let told = "The engine stopped unexpectedly. It was started afresh, and the experiment ran again.";
            self.incidents.update(|incidents| incidents.push(told.into()));
            self.restart();
        } else {
            self.engine.set(EngineState::Failed(Trouble::crashed()));
        }
    }

    /// Puts an answer on screen.
    fn take(self, answer: Result<Answer, Trouble>, inputs: &Inputs) {
        let current = self.experiment.with_untracked(|experiment| Inputs::from(experiment) == *inputs);
        match answer.and_then(outcome) {
            Ok(outcome) => {
                // A run with other tokens leaves nothing of the old maps to keep on screen.
                self.heads.update(|heads| {
                    heads.retain(|(pane, _), (_, fetched)| {
                        let tokens = outcome.tokens_of(*pane).len();
                        fetched.value.as_ref().is_some_and(|maps| maps.pattern.shape == [tokens; 2])
                    });
                });
                self.aligned.set(aligned(&outcome));
                self.trouble.set(None);
                self.stale.set(!current);
                self.run.update(|run| *run += 1);
                self.outcome.set(Some(Arc::new(outcome)));
            }
            // A newer run is under way or follows a restart, and will say more.
            Err(trouble) if trouble.code == "superseded" || trouble.is_crash() || !current => {}
            Err(trouble) => self.trouble.set(Some(trouble)),
        }
    }

    /// Asks for the maps of one head of one pane of the newest run; [`Store::head`] shows them when they are there.
    pub fn request_head(self, pane: usize, head: Head) {
        let run = self.run.get_untracked();
        let key = (pane, head);
        let known = self.heads.with_untracked(|heads| heads.get(&key).is_some_and(|(of, _)| *of == run));
        if known || run == 0 {
            return;
        }
        self.heads.update(|heads| {
            let slot = heads.entry(key).or_default();
            slot.0 = run;
            slot.1.pending = true;
        });
        spawn_local(async move {
            let answer = self.ask(Command::Head { pane, head }).await.and_then(head_maps);
            self.heads.update(|heads| {
                // A newer run has asked again or has dropped the head.
                if let Some((of, fetched)) = heads.get_mut(&key)
                    && *of == run
                {
                    fetched.settle(answer);
                }
            });
        });
    }

    /// Asks for the head roles of one pane; [`Store::roles`] shows them when they are there.
    pub fn request_roles(self, pane: usize) {
        let experiment = self.experiment.get_untracked();
        // Probes are made by the engine, so neither the prompt nor the other panes matter.
        let inputs = Inputs {
            prompt: String::new(),
            prompt_b: None,
            panes: experiment.panes.get(pane).cloned().into_iter().collect(),
            ..Inputs::from(&experiment)
        };
        let known = self.roles.with_untracked(|roles| roles.get(&pane).is_some_and(|(of, _)| *of == inputs));
        if known || !self.answers_for(&inputs.model) {
            return;
        }
        self.roles.update(|roles| {
            let slot = roles.entry(pane).or_default();
            slot.0 = inputs.clone();
            slot.1.pending = true;
        });
        spawn_local(async move {
            let answer = self.ask(Command::Roles { experiment, pane }).await.and_then(|answer| match answer.reply {
                Reply::Roles { report } => Ok(report),
                _ => Err(Trouble::unexpected()),
            });
            self.roles.update(|roles| {
                if let Some((of, fetched)) = roles.get_mut(&pane)
                    && *of == inputs
                {
                    fetched.settle(answer);
                }
            });
        });
    }

    /// What computes has changed, or more of it was checked.
    fn heard(self, facts: EngineFacts) {
        self.engine.update(|state| {
            if let EngineState::Ready { engine, .. } = state {
                *engine = facts;
            }
        });
    }

    /// Compares the run on screen with the definition; [`Store::verification`] shows the result when it is there.
    pub fn verify(self) {
        let run = self.run.get_untracked();
        self.verified.set((run, Fetched { pending: true, ..Fetched::default() }));
        spawn_local(async move {
            let answer = self.ask(Command::Verify).await.and_then(|answer| match answer.reply {
                Reply::Verified { verification } => Ok(verification),
                _ => Err(Trouble::unexpected()),
            });
            self.verified.update(|(of, fetched)| {
                if *of == run {
                    fetched.settle(answer);
                }
            });
        });
    }

    /// Asks for a live check of a mechanism's laws; [`Store::laws`] shows the result when it is there.
    pub fn request_laws(self, id: &str) {
        let known = self.laws.with_untracked(|laws| laws.contains_key(id));
        if known || !self.engine.with_untracked(|engine| matches!(engine, EngineState::Ready { .. })) {
            return;
        }
        let id = id.to_owned();
        self.laws.update(|laws| laws.entry(id.clone()).or_default().pending = true);
        spawn_local(async move {
            let command = Command::Laws { mechanism: id.clone() };
            let answer = self.ask(command).await.and_then(|answer| match answer.reply {
                Reply::Laws { laws } => Ok(laws),
                _ => Err(Trouble::unexpected()),
            });
            self.laws.update(|laws| laws.entry(id).or_default().settle(answer));
        });
    }
}

impl<T> Fetched<T> {
    pub(super) fn settle(&mut self, answer: Result<T, Trouble>) {
        self.pending = false;
        match answer {
            Ok(value) => (self.value, self.trouble) = (Some(Arc::new(value)), None),
            Err(trouble) => self.trouble = Some(trouble),
        }
    }
}

/// Where pane B's text lies in A's; none while it is the same.
fn aligned(outcome: &Outcome) -> Option<Arc<Alignment>> {
    let ids = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect::<Vec<_>>();
    let own = outcome.panes.get(1).map(|pane| ids(&pane.tokens)).filter(|own| !own.is_empty())?;
    Some(Arc::new(Alignment::new(&ids(&outcome.tokens), &own)))
}

/// The outcome with its arrays put back in their places.
fn outcome(answer: Answer) -> Result<Outcome, Trouble> {
    let Reply::Ran { mut outcome, arrays } = answer.reply else { return Err(Trouble::unexpected()) };
    for ((pane, name, shape), data) in arrays.into_iter().zip(answer.buffers) {
        let array = Array::new(shape, data).map_err(|error| Trouble::from(&error))?;
        if let Some(pane) = outcome.panes.get_mut(pane) {
            pane.arrays.insert(name, array);
        }
    }
    Ok(outcome)
}

/// The maps of a head from its four buffers.
fn head_maps(answer: Answer) -> Result<HeadMaps, Trouble> {
    let Reply::Head { tokens } = answer.reply else { return Err(Trouble::unexpected()) };
    let Ok([scores, pattern, slot, value_norms]) = <[Vec<f32>; 4]>::try_from(answer.buffers) else {
        return Err(Trouble::unexpected());
    };
    let array = |shape: &[usize], data| Array::new(shape, data).map_err(|error| Trouble::from(&error));
    Ok(HeadMaps {
        scores: array(&[tokens, tokens], scores)?,
        pattern: array(&[tokens, tokens], pattern)?,
        slot: array(&[slot.len()], slot)?,
        value_norms: array(&[tokens], value_norms)?,
    })
}

/// The folder of the page, to which `models/` is relative.
pub(in crate::ui) fn base() -> String {
    let uri = document().base_uri().ok().flatten().unwrap_or_default();
    let path = uri.split(['#', '?']).next().unwrap_or_default();
    path.rfind('/').map_or("", |end| &path[..=end]).to_owned()
}

/// `?engine=cpu` or `?engine=gpu` in the address forces one; otherwise the worker decides.
pub(in crate::ui) fn wanted_engine() -> String {
    let search = window().location().search().unwrap_or_default();
    let wanted = search.trim_start_matches('?').split('&').find_map(|pair| pair.strip_prefix("engine="));
    wanted.filter(|word| ["cpu", "gpu"].contains(word)).unwrap_or("auto").to_owned()
}
