//! What is on screen, gathered once: the pinned head in every column with the colours' meaning, and the head wall.

use super::figure;
use crate::alignment::Alignment;
use crate::api::protocol::{Matrix, Next, Numbers, PaneNumbers};
use crate::experiment::{Experiment, Head, Metric, Quantity};
use crate::outcome::{Candidate, Outcome, PaneOutcome, STORED_TOKENS};
use crate::ui::format;
use crate::ui::stage::colour::{Scaling, quantity_of_one};
use crate::ui::stage::maps::{self, Held, Sheet};
use crate::ui::stage::metric::{self, Measured};
use crate::ui::stage::scene::{self, Column, or_masked};
use crate::ui::store::Store;
use leptos::prelude::*;
use std::sync::Arc;

/// Likeliest next tokens of each pane that leave the page.
const NEXT: usize = 10;

/// One matrix.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which column.
    pub column: Column,
    /// `A`, `B`, `A − B`.
    pub name: String,
    /// What the pane is called; a difference has no name of its own.
    pub title: Option<String>,
    /// Its numbers.
    pub sheet: Sheet,
    /// Weight of the normalizer's slot by query, where the column has one.
    pub slot: Option<Vec<f32>>,
    /// What its colours stand for.
    pub scaling: Scaling,
    /// The tokens it stands on, as labels.
    pub labels: Vec<String>,
    /// Where its places lie in A's, when its pane read another text.
    pub aligned: Option<Arc<Alignment>>,
}

impl Shown {
    /// Its number at a pair of A's places; NaN where it has no such pair.
    pub fn at(&self, query: usize, key: usize) -> f32 {
        let place = match &self.aligned {
            Some(aligned) => aligned.to_other(query).zip(aligned.to_other(key)),
            None => Some((query, key)),
        };
        place.map_or(f32::NAN, |(query, key)| self.sheet.at(query, key))
    }
}

/// The head wall.
#[derive(Debug, Clone)]
pub struct Wall {
    /// The pane it shows.
    pub letter: String,
    /// The number of each head.
    pub metric: Metric,
    /// The position that sink mass is read at.
    pub position: usize,
    /// The patterns of all heads, layer by layer, as far as they have been computed.
    pub heads: Vec<Option<Sheet>>,
    /// Their numbers; NaN where there is none.
    pub values: Vec<f32>,
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
    /// The tokens as labels.
    pub labels: Vec<String>,
    /// The matrices that are there, left to right.
    pub matrices: Vec<Shown>,
    /// The head wall.
    pub wall: Wall,
    /// What each pane is called.
    pub titles: Vec<String>,
}

impl Screen {
    /// What is on screen now; `None` before the first run and while numbers of an older experiment are shown.
    pub fn of(store: Store) -> Option<Self> {
        untrack(|| if store.stale.get() { None } else { Self::gather(store) })
    }

    fn gather(store: Store) -> Option<Self> {
        let experiment = store.experiment.get();
        let outcome = store.outcome.get()?;
        let head = scene::within(store, experiment.view.pin);
        let other = scene::other_pane(experiment.panes.len(), experiment.view.wall);
        let quantity = experiment.view.quantity;
        let long = outcome.tokens.len() > STORED_TOKENS;
        let titles: Vec<_> = (0..experiment.panes.len()).map(|pane| scene::title(store, pane)).collect();
        let held =
            |pane: usize, head: Head, wanted: bool| wanted.then(|| scene::fresh_maps(store, pane, head)).flatten();
        let sheet = |pane: usize| {
            let maps = held(pane, head, long || quantity == Quantity::Scores);
            maps::sheet(&outcome, maps.as_deref(), pane, head, quantity)
        };
        let slot = |pane: usize| {
            let maps = held(pane, head, long);
            let slot = maps::slot(&outcome, maps.as_deref(), pane, head);
            slot.filter(|_| quantity == Quantity::Pattern).map(<[f32]>::to_vec)
        };
        let aligned = store.aligned.get().filter(|_| other == Some(1));
        let (a, b) = (sheet(0), other.and_then(sheet));
        let difference =
            a.as_ref().zip(b.as_ref()).and_then(|(a, b)| maps::difference(a, b, aligned.as_deref(), quantity));
        let scale = experiment.view.scale;
        let shared = Scaling::of(quantity, scale, false, &a.iter().chain(&b).collect::<Vec<_>>());
        let signed = Scaling::of(quantity, scale, true, &difference.iter().collect::<Vec<_>>());
        let letter = scene::pane_letter(other.unwrap_or(1));
        let title = |pane: Option<usize>| titles.get(pane?).cloned();
        let parts = [
            (Column::A, "A".to_string(), title(Some(0)), a, slot(0), shared),
            (Column::B, letter.clone(), title(other), b, other.and_then(slot), shared),
            (Column::Difference, format!("A − {letter}"), None, difference, None, signed),
        ];
        let matrices = parts
            .into_iter()
            .filter_map(|(column, name, title, sheet, slot, scaling)| {
                let own = aligned.clone().filter(|_| column == Column::B);
                let labels = scene::labels_of(store, usize::from(own.is_some()));
                Some(Shown { column, name, title, sheet: sheet?, slot, scaling, labels, aligned: own })
            })
            .collect();
        let pane = experiment.view.wall.min(experiment.panes.len().saturating_sub(1));
        let (metric, position) = (experiment.view.metric, experiment.view.position);
        let wall = Wall {
            letter: scene::pane_letter(pane),
            metric,
            position,
            heads: figure::sheets(&outcome, pane, |head| Held(held(pane, head, long))),
            values: metric::numbers(store, pane, metric, position, &mut Measured::default()),
        };
        Some(Self { labels: scene::labels(store), experiment, outcome, head, quantity, matrices, wall, titles })
    }

    /// One matrix; `None` while it is not there.
    pub fn matrix(&self, column: Column) -> Option<&Shown> {
        self.matrices.iter().find(|shown| shown.column == column)
    }

    /// Numbers of the run.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            tokens: self.outcome.tokens.iter().map(|token| token.text.clone()).collect(),
            panes: self.outcome.panes.iter().map(numbers).collect(),
        }
    }

    /// A matrix as plain data.
    pub fn values(&self, shown: &Shown) -> Matrix {
        Matrix {
            head: self.head.to_string(),
            quantity: self.quantity.word().into(),
            tokens: shown.sheet.tokens as u32,
            values: shown.sheet.values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect(),
        }
    }

    /// The pair that is pinned, or the last query with its strongest key.
    pub fn pair(&self) -> Option<(usize, usize)> {
        let last = self.labels.len().checked_sub(1)?;
        let query = self.experiment.view.query.unwrap_or(last).min(last);
        let strongest = || self.matrix(Column::A)?.sheet.strongest(query);
        Some((query, self.experiment.view.key.or_else(strongest)?.min(last)))
    }

    /// The pinned pair in words, with its value in every column.
    pub fn sentence(&self) -> String {
        let Some((query, key)) = self.pair() else { return String::new() };
        let values = self.matrices.iter().map(|shown| format!("{} {}", shown.name, or_masked(shown.at(query, key))));
        format!(
            "{}, {} of query {} ({query}) for key {} ({key}): {}.",
            self.head,
            quantity_of_one(self.quantity),
            self.labels[query],
            self.labels[key],
            values.collect::<Vec<_>>().join(", ")
        )
    }

    /// What each pane is, with its numbers.
    pub fn panes_in_words(&self) -> String {
        let pane = |(index, pane): (usize, &PaneOutcome)| {
            let loss = pane.loss.map_or(String::new(), |loss| format!(", loss {}", format::fixed(loss, 4)));
            let versus = pane.versus_a.as_ref();
            let kl = versus.map_or(String::new(), |versus| format!(", KL {}", format::fixed(versus.kl_next, 4)));
            format!("{}: {}{loss}{kl}", scene::pane_letter(index), self.titles.get(index).cloned().unwrap_or_default())
        };
        self.outcome.panes.iter().enumerate().map(pane).collect::<Vec<_>>().join("; ")
    }
}

fn numbers(pane: &PaneOutcome) -> PaneNumbers {
    let next = |candidate: &Candidate| Next { text: candidate.text.clone(), probability: candidate.probability };
    PaneNumbers {
        loss: pane.loss,
        kl_next: pane.versus_a.as_ref().map(|versus| versus.kl_next),
        delta_loss: pane.versus_a.as_ref().and_then(|versus| versus.delta_loss),
        next: pane.next.iter().take(NEXT).map(next).collect(),
    }
}
