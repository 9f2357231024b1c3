//! Continuations: every pane writes on from the same prompt, burst by burst, in turn.
//!
//! The page drives: it asks for a burst, shows it, and asks for the next, so that stopping is not to ask again and a step
//! is to ask for one token. While the tab is hidden nothing is asked for. What was drawn stays and is written on, until prompt, panes, seed or sampling change.

use super::{Inputs, Store};
use crate::api::client::Trouble;
use crate::api::{Command, Reply};
use crate::experiment::{Draw, Experiment};
use crate::outcome::Token;
use gloo::timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos::task::spawn_local;

/// Tokens asked for at once; the engine sends fewer where they would take longer than a frame or two.
const BURST: usize = 16;

/// How often a hidden tab looks whether it is seen again.
const HIDDEN_MILLIS: u32 = 200;

/// What a continuation depends on. The number of tokens is left out: more of them write on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Basis {
    inputs: Inputs,
    draw: Draw,
}

impl From<&Experiment> for Basis {
    fn from(experiment: &Experiment) -> Self {
        Self { inputs: Inputs::from(experiment), draw: Draw { tokens: 0, ..experiment.draw.clone() } }
    }
}

/// What one pane has written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Continuation {
    /// The tokens.
    pub tokens: Vec<Token>,
    /// The same as text.
    pub text: String,
    /// Measured time of reading the prompt.
    pub prompt_millis: f32,
    /// Measured time of drawing the tokens.
    pub millis: f32,
    /// Whether nothing follows.
    pub ended: bool,
    /// Why it ended, where that is not the natural end.
    pub notice: Option<String>,
    /// Why it failed.
    pub trouble: Option<Trouble>,
}

/// All panes' continuations, and whether they are being written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Continuing {
    pub(super) basis: Basis,
    /// Counts the times writing was started, so that an older start stops asking.
    start: u64,
    /// Whether tokens are being drawn.
    pub running: bool,
    panes: Vec<Option<Continuation>>,
}

impl Store {
    /// What a pane has written from the prompt on screen.
    pub fn continuation(self, pane: usize) -> Option<Continuation> {
        let basis = self.experiment.with(|experiment| Basis::from(experiment));
        self.continuing.with(|continuing| {
            (continuing.basis == basis).then(|| continuing.panes.get(pane).cloned().flatten()).flatten()
        })
    }

    /// How many tokens a pane has written from the prompt on screen.
    pub(super) fn written_so_far(self, pane: usize) -> usize {
        untrack(|| self.continuation(pane)).map_or(0, |written| written.tokens.len())
    }

    /// Whether tokens are being drawn.
    pub fn is_writing(self) -> bool {
        self.continuing.with(|continuing| continuing.running)
    }

    /// Draws no further tokens.
    pub fn stop_writing(self) {
        self.continuing.update(|continuing| {
            continuing.running = false;
            continuing.start += 1;
        });
        spawn_local(async move {
            // What is drawn comes in bursts and ends by itself; a long prompt has to be told.
            let _ = self.ask(Command::StopReading).await;
        });
    }

    /// Draws `most` more tokens in every pane.
    pub fn write_on(self, most: usize) {
        let experiment = self.experiment.get_untracked();
        let basis = Basis::from(&experiment);
        let started = self.continuing.try_update(|continuing| {
            if continuing.basis != basis {
                *continuing = Continuing { basis: basis.clone(), start: continuing.start, ..Continuing::default() };
                self.forget_grown();
            }
            continuing.panes.resize(experiment.panes.len(), None);
            continuing.running = true;
            continuing.start += 1;
            continuing.start
        });
        let Some(start) = started else { return };
        spawn_local(async move {
            let mut left = vec![most; experiment.panes.len()];
            while left.iter().any(|left| *left > 0) {
                for (pane, left) in left.iter_mut().enumerate().filter(|(_, left)| **left > 0) {
                    let current = || {
                        self.continuing.with_untracked(|continuing| continuing.start == start)
                            && self.experiment.with_untracked(|experiment| Basis::from(experiment) == basis)
                    };
                    // A tab that nobody sees leaves the device to those that are seen.
                    while current() && document().hidden() {
                        TimeoutFuture::new(HIDDEN_MILLIS).await;
                    }
                    if !current() {
                        return self.rest(start);
                    }
                    let drawn = self.burst(&experiment, pane, (*left).min(BURST)).await;
                    *left = if drawn == 0 { 0 } else { left.saturating_sub(drawn) };
                }
            }
            self.rest(start);
        });
    }

    fn rest(self, start: u64) {
        self.continuing.update(|continuing| continuing.running &= continuing.start != start);
    }

    /// The next tokens of one pane; how many came, 0 when nothing follows.
    async fn burst(self, experiment: &Experiment, pane: usize, most: usize) -> usize {
        let known = self.continuing.with_untracked(|continuing| continuing.panes.get(pane).cloned().flatten());
        if known.as_ref().is_some_and(|known| known.ended || known.trouble.is_some()) {
            return 0;
        }
        let mut so_far = match known {
            Some(known) => known,
            None => match self.ask(Command::Begin { experiment: experiment.clone(), pane }).await {
                Ok(answer) => match answer.reply {
                    Reply::Begun { millis } => Continuation { prompt_millis: millis, ..Continuation::default() },
                    _ => Continuation { trouble: Some(Trouble::unexpected()), ..Continuation::default() },
                },
                // The visitor has stopped it.
                Err(trouble) if trouble.code == "superseded" => return 0,
                Err(trouble) => Continuation { trouble: Some(trouble), ..Continuation::default() },
            },
        };
        let mut count = 0;
        if so_far.trouble.is_none() {
            match self.ask(Command::Burst { pane, most }).await.map(|answer| answer.reply) {
                Ok(Reply::Burst { tokens, text, millis, ended, notice }) => {
                    count = tokens.len();
                    so_far.tokens.extend(tokens);
                    so_far.millis += millis;
                    (so_far.text, so_far.ended, so_far.notice) = (text, ended, notice);
                }
                Ok(_) => so_far.trouble = Some(Trouble::unexpected()),
                Err(trouble) => so_far.trouble = Some(trouble),
            }
        }
        let basis = Basis::from(experiment);
        self.continuing.update(|continuing| {
            if continuing.basis == basis
                && let Some(place) = continuing.panes.get_mut(pane)
            {
                *place = Some(so_far);
            }
        });
        count
    }
}
