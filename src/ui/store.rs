//! What the page knows: one experiment, its newest outcome, and what was asked of the engine on demand.
//!
//! The experiment is the single source of truth. Controls change it with [`Store::edit`] (a step that the browser's back
//! button undoes) or [`Store::drag`] (many changes that are one step); the link follows by itself. When something that
//! matters for numbers has changed, the experiment runs; a change of the view never runs anything. The old outcome stays
//! on screen, marked stale, until the new one is there.

pub mod analyses;
pub mod continuing;
pub(super) mod drive;
pub mod grown;
mod history;

use super::models::library::Library;
use crate::alignment::Alignment;
use crate::api::LawReport;
use crate::api::client::{Client, Trouble};
use crate::catalogue::{self, Entry};
use crate::experiment::{Experiment, Head, Pane, View};
use crate::lens::roles::RoleReport;
use crate::outcome::{EngineFacts, HeadMaps, ModelFacts, Outcome, Verification};
use continuing::Continuing;
use history::History;
use leptos::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pair under the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cell {
    /// Query position.
    pub query: usize,
    /// Key position.
    pub key: usize,
}

/// How far the engine is.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// The worker is being started.
    Starting,
    /// The model is on its way.
    Loading {
        /// Bytes that have arrived.
        bytes: usize,
        /// Bytes in all, when the server says.
        total: Option<usize>,
    },
    /// It answers.
    Ready {
        /// What computes.
        engine: EngineFacts,
        /// What was loaded.
        model: ModelFacts,
    },
    /// It cannot be used.
    Failed(Trouble),
}

/// Something asked of the engine: the newest answer, kept while a newer one is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched<T> {
    /// The newest answer.
    pub value: Option<Arc<T>>,
    /// Whether one is being computed.
    pub pending: bool,
    /// Why the last request failed.
    pub trouble: Option<Trouble>,
}

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Self { value: None, pending: false, trouble: None }
    }
}

/// What decides the numbers of an experiment. While it is equal, nothing runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs {
    model: String,
    prompt: String,
    prompt_b: Option<String>,
    bos: bool,
    panes: Vec<Pane>,
    seed: u64,
}

impl From<&Experiment> for Inputs {
    fn from(experiment: &Experiment) -> Self {
        let Experiment { model, prompt, prompt_b, bos, panes, seed, .. } = experiment.clone();
        Self { model, prompt, prompt_b, bos, panes, seed }
    }
}

/// The key of a cached head: pane index and head.
pub type PaneHead = (usize, Head);

/// Everything the page knows, as a bundle of signals. It is `Copy`; take it with [`Store::here`].
#[derive(Clone, Copy)]
pub struct Store {
    /// Everything on screen. Change it with [`Store::edit`] or [`Store::drag`].
    pub experiment: RwSignal<Experiment>,
    /// The newest outcome.
    pub outcome: RwSignal<Option<Arc<Outcome>>>,
    /// Number of the outcome; grows with each.
    pub run: RwSignal<u64>,
    /// Whether the outcome belongs to an older experiment than the one on screen.
    pub stale: RwSignal<bool>,
    /// Why the newest run has no outcome.
    pub trouble: RwSignal<Option<Trouble>>,
    /// How far the engine is.
    pub engine: RwSignal<EngineState>,
    /// The pair under the pointer, in any matrix or on the token chips.
    pub hover: RwSignal<Option<Cell>>,
    /// The head under the pointer on the wall.
    pub preview: RwSignal<Option<Head>>,
    /// What in the link was not understood.
    pub notices: RwSignal<Vec<String>>,
    /// What went wrong behind the page and was put right; the engine's own incidents stand in its facts.
    pub incidents: RwSignal<Vec<String>>,
    /// Whether the dark theme is on; ramps are rebuilt when it changes.
    pub dark: RwSignal<bool>,
    /// Where the text of pane B lies in A's, while B has one of its own.
    pub aligned: RwSignal<Option<Arc<Alignment>>>,
    /// The visitor's own models.
    pub library: Library,
    heads: RwSignal<BTreeMap<PaneHead, (u64, Fetched<HeadMaps>)>>,
    roles: RwSignal<BTreeMap<usize, (Inputs, Fetched<RoleReport>)>>,
    laws: RwSignal<BTreeMap<String, Fetched<Vec<LawReport>>>>,
    analyses: RwSignal<BTreeMap<(usize, &'static str), analyses::Entry>>,
    /// By the number of the run.
    verified: RwSignal<(u64, Fetched<Verification>)>,
    continuing: RwSignal<Continuing>,
    grown: RwSignal<BTreeMap<usize, grown::Grown>>,
    /// Programs of the GPU that are ready, and how many there are, while some are being compiled.
    pub compiling: RwSignal<Option<(usize, usize)>>,
    catalogue: StoredValue<Arc<Vec<Entry>>>,
    client: StoredValue<Client, LocalStorage>,
    history: StoredValue<History, LocalStorage>,
    driver: StoredValue<drive::Driver, LocalStorage>,
}

impl Store {
    /// Makes the store from the link, starts the engine, and gives the store to everything below.
    pub fn provide() -> Self {
        let (history, opened) = History::open();
        let (entries, broken) = match catalogue::shipped() {
            Ok(entries) => (entries, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let store = Self {
            experiment: RwSignal::new(opened.experiment),
            outcome: RwSignal::new(None),
            run: RwSignal::new(0),
            stale: RwSignal::new(true),
            trouble: RwSignal::new(None),
            engine: RwSignal::new(EngineState::Starting),
            hover: RwSignal::new(None),
            preview: RwSignal::new(None),
            notices: RwSignal::new(opened.notices.into_iter().chain(broken).collect()),
            incidents: RwSignal::default(),
            dark: RwSignal::new(super::theme::is_dark()),
            aligned: RwSignal::new(None),
            library: Library::default(),
            heads: RwSignal::new(BTreeMap::new()),
            roles: RwSignal::new(BTreeMap::new()),
            laws: RwSignal::new(BTreeMap::new()),
            analyses: RwSignal::new(BTreeMap::new()),
            verified: RwSignal::default(),
            continuing: RwSignal::default(),
            grown: RwSignal::default(),
            compiling: RwSignal::default(),
            catalogue: StoredValue::new(Arc::new(entries)),
            client: StoredValue::new_local(super::embed::client()),
            history: StoredValue::new_local(history),
            driver: StoredValue::new_local(drive::Driver::default()),
        };
        provide_context(store);
        store.follow_history();
        store.drive();
        store
    }

    /// The store of the page this component stands in.
    pub fn here() -> Self {
        expect_context()
    }

    /// Changes the experiment in one deliberate step, which the back button undoes.
    pub fn edit(self, change: impl FnOnce(&mut Experiment)) {
        self.change(None, change);
    }

    /// Changes the experiment while a control moves. Changes in a row under the same name are one step for the back
    /// button.
    pub fn drag(self, name: &str, change: impl FnOnce(&mut Experiment)) {
        self.change(Some(name), change);
    }

    /// Changes what is looked at, in one deliberate step.
    pub fn look(self, change: impl FnOnce(&mut View)) {
        self.edit(|experiment| change(&mut experiment.view));
    }

    fn change(self, drag: Option<&str>, change: impl FnOnce(&mut Experiment)) {
        let before = self.experiment.get_untracked();
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            self.experiment.set(after.clone());
            self.history.update_value(|history| history.write(&after, drag));
        }
    }

    /// What is known about every mechanism.
    pub fn catalogue(self) -> Arc<Vec<Entry>> {
        self.catalogue.get_value()
    }

    /// What is known about one mechanism.
    pub fn entry(self, id: &str) -> Option<Entry> {
        self.catalogue.with_value(|entries| entries.iter().find(|entry| entry.id == id).cloned())
    }

    /// Whether the engine answers.
    pub fn ready(self) -> bool {
        self.engine.with(|engine| matches!(engine, EngineState::Ready { .. }))
    }

    /// A pane's answer in the newest outcome; `None` before the first run or when the outcome has fewer panes.
    pub fn with_pane<T>(self, pane: usize, read: impl FnOnce(&crate::outcome::PaneOutcome) -> T) -> Option<T> {
        self.outcome.with(|outcome| outcome.as_ref().and_then(|outcome| outcome.panes.get(pane)).map(read))
    }

    /// Maps of one head, as far as they were asked for with [`Store::request_head`]. Maps of an older run are shown
    /// while newer ones are computed, as long as the number of tokens is the same.
    pub fn head(self, pane: usize, head: Head) -> Fetched<HeadMaps> {
        self.heads.with(|heads| heads.get(&(pane, head)).map(|(_, fetched)| fetched.clone()).unwrap_or_default())
    }

    /// Whether the newest run's maps of one head have been asked for.
    pub fn asked(self, pane: usize, head: Head) -> bool {
        let run = self.run.get();
        self.heads.with(|heads| heads.get(&(pane, head)).is_some_and(|(of, _)| *of == run))
    }

    /// Head roles of one pane, as far as they were asked for with [`Store::request_roles`].
    pub fn roles(self, pane: usize) -> Fetched<RoleReport> {
        self.roles.with(|roles| roles.get(&pane).map(|(_, fetched)| fetched.clone()).unwrap_or_default())
    }

    /// The run on screen beside the definition, as far as that was asked for with [`Store::verify`].
    pub fn verification(self) -> Fetched<Verification> {
        let run = self.run.get();
        self.verified.with(|(of, fetched)| if *of == run { fetched.clone() } else { Fetched::default() })
    }

    /// Laws of one mechanism, as far as they were asked for with [`Store::request_laws`].
    pub fn laws(self, id: &str) -> Fetched<Vec<LawReport>> {
        self.laws.with(|laws| laws.get(id).cloned().unwrap_or_default())
    }
}
