//! What is on screen, gathered once: the pinned head in every column, with the colours' meaning.

use crate::experiment::{Experiment, Head, Quantity};
use crate::outcome::{Outcome, STORED_TOKENS};
use crate::ui::stage::colour::Scaling;
use crate::ui::stage::maps::{self, Sheet};
use crate::ui::stage::scene::{self, Column};
use crate::ui::store::Store;
use leptos::prelude::*;
use std::sync::Arc;

/// One matrix.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which column.
    pub column: Column,
    /// `A`, `B`, `A − B`.
    pub name: String,
    /// Its numbers.
    pub sheet: Sheet,
    /// What its colours stand for.
    pub scaling: Scaling,
}

/// Everything on screen.
#[derive(Debug, Clone)]
pub struct Screen {
    /// The experiment.
    pub experiment: Experiment,
    /// Its outcome.
    pub outcome: Arc<Outcome>,
    /// The pinned head.
    pub head: Head,
    /// What the matrices show.
    pub quantity: Quantity,
    /// The pane A is compared with.
    pub other: Option<usize>,
    /// The tokens as labels.
    pub labels: Vec<String>,
    /// The matrices that are there, left to right.
    pub matrices: Vec<Shown>,
}

impl Screen {
    /// What is on screen now; `None` before the first run and while numbers of an older experiment are shown.
    pub fn of(store: Store) -> Option<Self> {
        untrack(|| {
            if store.stale.get() {
                return None;
            }
            let experiment = store.experiment.get();
            let outcome = store.outcome.get()?;
            let head = scene::within(store, experiment.view.pin);
            let other = scene::other_pane(experiment.panes.len(), experiment.view.wall);
            let quantity = experiment.view.quantity;
            let long = outcome.tokens.len() > STORED_TOKENS;
            let sheet = |pane: usize| {
                let maps =
                    if long || quantity == Quantity::Scores { scene::fresh_maps(store, pane, head) } else { None };
                maps::sheet(&outcome, maps.as_deref(), pane, head, quantity)
            };
            let a = sheet(0);
            let b = other.and_then(sheet);
            let difference = a.as_ref().zip(b.as_ref()).and_then(|(a, b)| maps::difference(a, b, quantity));
            let scale = experiment.view.scale;
            let shared = Scaling::of(quantity, scale, false, &a.iter().chain(&b).collect::<Vec<_>>());
            let signed = Scaling::of(quantity, scale, true, &difference.iter().collect::<Vec<_>>());
            let letter = scene::pane_letter(other.unwrap_or(1));
            let parts = [
                (Column::A, "A".to_string(), a, shared),
                (Column::B, letter.clone(), b, shared),
                (Column::Difference, format!("A − {letter}"), difference, signed),
            ];
            let matrices = parts
                .into_iter()
                .filter_map(|(column, name, sheet, scaling)| Some(Shown { column, name, sheet: sheet?, scaling }))
                .collect();
            let labels = scene::labels(store);
            Some(Self { experiment, outcome, head, quantity, other, labels, matrices })
        })
    }

    /// One matrix; `None` while it is not there.
    pub fn matrix(&self, column: Column) -> Option<&Shown> {
        self.matrices.iter().find(|shown| shown.column == column)
    }
}
