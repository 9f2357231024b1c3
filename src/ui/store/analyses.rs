//! What instruments found, asked for on demand.
//!
//! An answer depends on the pane, the tokens, the pinned query and the settings that the instrument reads. When these
//! change, the old answer stays on screen, marked as such, until the new one is there.

use super::{Fetched, Inputs, Store};
use crate::api::client::Trouble;
use crate::api::{Command, Reply};
use crate::experiment::{Experiment, Head, Instruments};
use crate::lens::analysis::{self, Analysis};
use crate::lens::finding::{Finding, View};
use leptos::prelude::*;
use leptos::task::spawn_local;

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Default)]
struct Basis {
    inputs: Inputs,
    query: Option<usize>,
    /// Of an instrument that is about the pinned head.
    pin: Option<Head>,
    /// Of drawings: whose they are.
    paper: String,
    /// Of an instrument that is about the examined position.
    position: Option<usize>,
    /// Of a study: bits of ε, and how many tokens are written.
    study: Option<(u32, usize)>,
    set: Instruments,
}

impl Basis {
    fn new(experiment: &Experiment, pane: usize, analysis: &Analysis) -> Self {
        let panes = experiment.panes.get(pane).cloned().into_iter().collect();
        Self {
            inputs: Inputs { panes, ..Inputs::from(experiment) },
            query: experiment.view.query,
            pin: analysis.of_pinned.then_some(experiment.view.pin),
            paper: if analysis.view == View::Exhibits { experiment.view.paper.clone() } else { String::new() },
            position: analysis.of_position.then_some(experiment.view.position),
            study: (analysis.view == View::Study).then(|| (experiment.view.epsilon.to_bits(), experiment.draw.tokens)),
            set: (analysis.reads)(&experiment.instruments),
        }
    }
}

/// The newest answer of an instrument about a pane.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answered {
    /// What was found.
    pub fetched: Fetched<Finding>,
    /// Whether it belongs to the experiment on screen.
    pub fresh: bool,
    /// Passes done and passes in all, while it is computed.
    pub progress: Option<(usize, usize)>,
}

/// An answer, what it depends on, and how far it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::ui) struct Entry {
    basis: Basis,
    fetched: Fetched<Finding>,
    progress: Option<(usize, usize)>,
}

impl Store {
    /// What an instrument says of a pane, as far as it was asked with [`Store::request_finding`].
    pub fn finding(self, pane: usize, id: &'static str) -> Answered {
        let Ok(analysis) = analysis::by_id(id) else { return Answered::default() };
        let basis = self.experiment.with(|experiment| Basis::new(experiment, pane, analysis));
        self.analyses.with(|all| {
            let answered = |entry: &Entry| Answered {
                fetched: entry.fetched.clone(),
                fresh: entry.basis == basis,
                progress: entry.progress,
            };
            all.get(&(pane, id)).map(answered).unwrap_or_default()
        })
    }

    /// Asks an instrument about a pane, unless it has been asked the same already; `again` asks also then.
    pub fn request_finding(self, pane: usize, id: &'static str, again: bool) {
        let Ok(analysis) = analysis::by_id(id) else { return };
        let experiment = self.experiment.get_untracked();
        let basis = Basis::new(&experiment, pane, analysis);
        let key = (pane, id);
        let known = self.analyses.with_untracked(|all| {
            all.get(&key).is_some_and(|entry| entry.basis == basis && (!again || entry.fetched.pending))
        });
        if known || !self.answers_for(&experiment.model) || pane >= experiment.panes.len() {
            return;
        }
        self.analyses.update(|all| {
            let entry = all.entry(key).or_default();
            entry.basis = basis.clone();
            entry.fetched.pending = true;
            entry.fetched.trouble = None;
            entry.progress = None;
        });
        spawn_local(async move {
            let command = Command::Analyse { experiment, pane, analysis: id.into() };
            let of = basis.clone();
            let hear = move |done, all: Option<usize>| {
                self.note(key, &of, |entry| entry.progress = all.map(|all| (done, all)));
            };
            let answer = self.client().call(&command, hear).await.and_then(|answer| match answer.reply {
                Reply::Analysed { finding } => Ok(*finding),
                _ => Err(Trouble::unexpected()),
            });
            self.note(key, &basis, |entry| {
                entry.progress = None;
                entry.fetched.settle(answer);
            });
        });
    }

    /// Notes something about a question, unless a newer one of this instrument has taken its place.
    fn note(self, key: (usize, &'static str), of: &Basis, change: impl FnOnce(&mut Entry)) {
        self.analyses.update(|all| {
            if let Some(entry) = all.get_mut(&key).filter(|entry| entry.basis == *of) {
                change(entry);
            }
        });
    }

    /// Forgets what an instrument said about a pane.
    pub fn drop_finding(self, pane: usize, id: &'static str) {
        self.analyses.update(|all| drop(all.remove(&(pane, id))));
    }

    /// Gives up every analysis that is under way.
    pub fn stop_findings(self) {
        spawn_local(async move {
            // What it ends answers for itself.
            let _ = self.ask(Command::Stop).await;
        });
    }
}
