//! What the stage shows now, derived once and shared by matrices, tooltip, sentence and profiles.
//!
//! Three columns: pane A, the pane it is compared with, and the signed difference A − B. Everything here is a memo over
//! the store, so a change of the pointer touches only what depends on the pointer.

use super::colour::{Palette, Scaling};
use super::geometry::Geometry;
use super::maps::{self, Held, Sheet};
use crate::alignment::Alignment;
use crate::experiment::{Head, PANE_NAMES, Quantity};
use crate::outcome::{HeadMaps, STORED_TOKENS, Token};
use crate::ui::format;
use crate::ui::store::{Cell, Store};
use leptos::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// How long the pointer rests on a head before its maps are computed for a preview.
const PREVIEW_REST: Duration = Duration::from_millis(100);

/// A column of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Pane A.
    A,
    /// The pane that A is compared with.
    B,
    /// A − B.
    Difference,
}

impl Column {
    /// Left to right.
    pub const ALL: [Column; 3] = [Column::A, Column::B, Column::Difference];

    /// The word in `data-pane`.
    pub fn word(self) -> &'static str {
        ["a", "b", "d"][self as usize]
    }
}

/// The reading beside the pointer: where it stands, in CSS pixels of the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tip {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
}

/// Everything the stage's parts share. `Copy`, like the store.
#[derive(Clone, Copy)]
pub struct Scene {
    /// The page's store.
    pub store: Store,
    /// Colours of the theme.
    pub palette: Memo<Palette>,
    /// The head on the stage: the previewed one, else the pinned one.
    pub head: Memo<Head>,
    /// Index of the pane A is compared with, when there is one.
    pub other: Memo<Option<usize>>,
    /// The tokens of the newest run as labels; those of A, in whose places every pair is read and pinned.
    pub labels: Memo<Arc<Vec<String>>>,
    /// The labels of each column: B may have read another text.
    pub columns: [Memo<Arc<Vec<String>>>; 3],
    /// Where the places of column B lie in A's, while it read another text.
    pub aligned: Memo<Option<Arc<Alignment>>>,
    /// What each column shows.
    pub sheets: [Memo<Option<Sheet>>; 3],
    /// Patterns of A and B.
    pub patterns: [Memo<Option<Sheet>>; 2],
    /// Maps of A and B that were asked for.
    pub maps: [Memo<Held>; 2],
    /// Scores of A and B, when they have been computed.
    pub scores: [Memo<Option<Sheet>>; 2],
    /// Weight of the slot by query, where a column has one.
    pub slots: [Memo<Option<Arc<Vec<f32>>>>; 3],
    /// What each column's colours stand for.
    pub scalings: [Memo<Scaling>; 3],
    /// Width of each column's plot, in CSS pixels.
    pub widths: [RwSignal<f64>; 3],
    /// The layout of each column's plot.
    pub geometries: [Memo<Geometry>; 3],
    /// The pair that is read: under the pointer, else pinned, else the last query and its strongest key.
    pub cell: Memo<Option<Cell>>,
    /// The reading beside the pointer.
    pub tip: RwSignal<Option<Tip>>,
    /// What a screen reader is told: set on pin, never on hover.
    pub announced: RwSignal<String>,
    pending: StoredValue<Option<(Option<Cell>, Option<Tip>)>>,
}

impl Scene {
    /// Derives the scene and gives it to everything below.
    pub fn provide() -> Self {
        let store = Store::here();
        let head = Memo::new(move |_| {
            let pin = store.experiment.with(|experiment| experiment.view.pin);
            within(store, store.preview.get().unwrap_or(pin))
        });
        let other = Memo::new(move |_| {
            store.experiment.with(|experiment| other_pane(experiment.panes.len(), experiment.view.wall))
        });
        let quantity = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.quantity));
        let scale = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.scale));
        let labels = Memo::new(move |_| Arc::new(labels(store)));

        // The pinned head's scores are read in the tooltip, so its maps are asked for at once. A previewed head asks only
        // for what is on screen, and only when the pointer rests: sweeping over the wall must not queue dozens of passes.
        Effect::new(move |_| {
            store.run.track();
            let (shown, previewed) = (head.get(), store.preview.with(Option::is_some));
            let long = labels.with(|labels| labels.len() > STORED_TOKENS);
            let other = other.get();
            let ask = move || {
                store.request_head(0, shown);
                if let Some(pane) = other {
                    store.request_head(pane, shown);
                }
            };
            if !previewed {
                ask();
            } else if long || quantity.get() == Quantity::Scores {
                let ask_if_resting = move || {
                    if head.try_get_untracked() == Some(shown) {
                        ask();
                    }
                };
                set_timeout(ask_if_resting, PREVIEW_REST);
            }
        });
        // Any head that arrives touches the store's cache; these two change only with the maps of the head on the stage.
        let held = move |pane: Option<usize>| Held(pane.and_then(|pane| fresh_maps(store, pane, head.get())));
        let maps = [Memo::new(move |_| held(Some(0))), Memo::new(move |_| held(other.get()))];
        let long = Memo::new(move |_| labels.with(|labels| labels.len() > STORED_TOKENS));
        let sheet_of = move |pane: Option<usize>, maps: Memo<Held>, quantity: Quantity| {
            let (pane, head) = (pane?, head.get());
            let maps = if long.get() || quantity == Quantity::Scores { maps.get().0 } else { None };
            store.outcome.with(|outcome| maps::sheet(outcome.as_ref()?, maps.as_deref(), pane, head, quantity))
        };
        let of_a = move |quantity: Quantity| sheet_of(Some(0), maps[0], quantity);
        let of_b = move |quantity: Quantity| sheet_of(other.get(), maps[1], quantity);
        let patterns = [Memo::new(move |_| of_a(Quantity::Pattern)), Memo::new(move |_| of_b(Quantity::Pattern))];
        let scores = [Memo::new(move |_| of_a(Quantity::Scores)), Memo::new(move |_| of_b(Quantity::Scores))];
        let a = Memo::new(move |_| match quantity.get() {
            Quantity::Pattern => patterns[0].get(),
            Quantity::Scores => scores[0].get(),
            quantity => of_a(quantity),
        });
        let b = Memo::new(move |_| match quantity.get() {
            Quantity::Pattern => patterns[1].get(),
            Quantity::Scores => scores[1].get(),
            quantity => of_b(quantity),
        });
        // Only B can have a text of its own, and what stands in its column may be another pane.
        let aligned = Memo::new(move |_| store.aligned.get().filter(|_| other.get() == Some(1)));
        let difference = Memo::new(move |_| {
            maps::difference(a.get().as_ref()?, b.get().as_ref()?, aligned.get().as_deref(), quantity.get())
        });

        let slot_of = move |pane: Option<usize>, maps: Memo<Held>| {
            // The slot carries weight; it has no key, so neither a score of its own kind nor a value norm is shown for it.
            let shown = quantity.get() == Quantity::Pattern;
            let head = head.get();
            let held = if long.get() { maps.get().0 } else { None };
            store.outcome.with(|outcome| {
                maps::slot(outcome.as_ref()?, held.as_deref(), pane.filter(|_| shown)?, head).map(<[f32]>::to_vec)
            })
        };
        let slot_a = Memo::new(move |_| slot_of(Some(0), maps[0]).map(Arc::new));
        let slot_b = Memo::new(move |_| slot_of(other.get(), maps[1]).map(Arc::new));
        let slot_difference = Memo::new(move |_| {
            let (a, b) = (slot_a.get(), slot_b.get());
            let of = |slot: &Option<Arc<Vec<f32>>>, query: usize| {
                slot.as_ref().and_then(|slot| slot.get(query)).copied().unwrap_or(0.0)
            };
            let rows = a.as_ref().or(b.as_ref()).map(|slot| slot.len())?;
            other.get()?;
            let aligned = aligned.get();
            let in_b = |query: usize| match &aligned {
                Some(aligned) => aligned.to_other(query).map_or(f32::NAN, |query| of(&b, query)),
                None => of(&b, query),
            };
            let rows = a.as_ref().map_or(rows, |slot| slot.len());
            Some(Arc::new((0..rows).map(|query| of(&a, query) - in_b(query)).collect::<Vec<_>>()))
        });

        // One scale for A and B, so that equal colours are equal numbers.
        let shared = Memo::new(move |_| {
            let (a, b) = (a.get(), b.get());
            Scaling::of(quantity.get(), scale.get(), false, &a.iter().chain(&b).collect::<Vec<_>>())
        });
        let signed = Memo::new(move |_| {
            Scaling::of(quantity.get(), scale.get(), true, &difference.get().iter().collect::<Vec<_>>())
        });

        let labels_b = Memo::new(move |_| match aligned.get() {
            Some(_) => Arc::new(labels_of(store, 1)),
            None => labels.get(),
        });
        let columns = [labels, labels_b, labels];
        // One gutter for all columns, so that equal letters stand under each other.
        let longest = Memo::new(move |_| {
            let longest = |labels: &Arc<Vec<String>>| labels.iter().map(|label| label.chars().count()).max();
            columns.iter().filter_map(|labels| labels.with(longest)).max().unwrap_or(1)
        });
        let has_slot = Memo::new(move |_| slot_a.with(Option::is_some) || slot_b.with(Option::is_some));
        let widths = Column::ALL.map(|_| RwSignal::new(0.0));
        let geometries = Column::ALL.map(|column| {
            let (width, labels) = (widths[column as usize], columns[column as usize]);
            Memo::new(move |_| {
                Geometry::fit(width.get(), labels.with(|labels| labels.len()), longest.get(), has_slot.get())
            })
        });

        let pinned =
            Memo::new(move |_| store.experiment.with(|experiment| (experiment.view.query, experiment.view.key)));
        let cell = Memo::new(move |_| {
            let last = labels.with(|labels| labels.len()).checked_sub(1)?;
            let inside = |cell: Cell| Cell { query: cell.query.min(last), key: cell.key.min(last) };
            if let Some(cell) = store.hover.get() {
                return Some(inside(cell));
            }
            let (query, key) = pinned.get();
            let query = query.unwrap_or(last);
            let key = key.or_else(|| a.with(|sheet| sheet.as_ref()?.strongest(query.min(last)))).unwrap_or(0);
            Some(inside(Cell { query, key }))
        });

        let scene = Self {
            store,
            palette: palette(store),
            head,
            other,
            labels,
            columns,
            aligned,
            sheets: [a, b, difference],
            patterns,
            maps,
            scores,
            slots: [slot_a, slot_b, slot_difference],
            scalings: [shared, shared, signed],
            widths,
            geometries,
            cell,
            tip: RwSignal::new(None),
            announced: RwSignal::new(String::new()),
            pending: StoredValue::new(None),
        };
        provide_context(scene);
        scene
    }

    /// The scene of the stage this component stands in.
    pub fn here() -> Self {
        expect_context()
    }

    /// A pair of A's places in the places of a column; none where the column's text has no such place.
    pub fn in_column(self, column: Column, cell: Cell) -> Option<Cell> {
        match self.aligned.get().filter(|_| column == Column::B) {
            Some(aligned) => Some(Cell { query: aligned.to_other(cell.query)?, key: aligned.to_other(cell.key)? }),
            None => Some(cell),
        }
    }

    /// A pair of a column's places in A's.
    pub fn from_column(self, column: Column, cell: Cell) -> Option<Cell> {
        match self.aligned.get_untracked().filter(|_| column == Column::B) {
            Some(aligned) => Some(Cell { query: aligned.to_a(cell.query)?, key: aligned.to_a(cell.key)? }),
            None => Some(cell),
        }
    }

    /// A column's number at a pair of A's places; none while the column is not there, NaN where it has no such pair.
    pub fn value(self, column: Column, cell: Cell) -> Option<f32> {
        let place = self.in_column(column, cell);
        self.sheets[column as usize].with(|sheet| {
            let sheet = sheet.as_ref()?;
            Some(place.map_or(f32::NAN, |cell| sheet.at(cell.query, cell.key)))
        })
    }

    /// What the matrices show.
    pub fn quantity(self) -> Quantity {
        self.store.experiment.with(|experiment| experiment.view.quantity)
    }

    /// Moves the pointer's pair and its reading, at most once a frame.
    pub fn point(self, cell: Option<Cell>, tip: Option<Tip>) {
        let waiting = self.pending.try_update_value(|pending| pending.replace((cell, tip)).is_some());
        if waiting != Some(false) {
            return;
        }
        request_animation_frame(move || {
            let Some(Some((cell, tip))) = self.pending.try_update_value(Option::take) else { return };
            if self.store.hover.get_untracked() != cell {
                self.store.hover.set(cell);
            }
            self.tip.set(tip);
        });
    }

    /// Pins a pair; a pinned pair pinned again is released.
    pub fn pin(self, cell: Cell) {
        let pair = (Some(cell.query), Some(cell.key));
        let same =
            self.store.experiment.with_untracked(|experiment| (experiment.view.query, experiment.view.key) == pair);
        if same {
            self.unpin();
            return;
        }
        self.store.look(|view| (view.query, view.key) = pair);
        self.announced.set(format!("Pinned: {}.", self.reading(cell)));
    }

    /// Releases the pinned pair.
    pub fn unpin(self) {
        self.store.look(|view| (view.query, view.key) = (None, None));
        self.announced.set("Pin cleared.".into());
    }

    /// A pair in words, with its value in every column: the reading of a matrix cell on pin.
    fn reading(self, cell: Cell) -> String {
        let values =
            Column::ALL.iter().filter(|column| **column != Column::Difference || self.other.get_untracked().is_some());
        let values = values.filter_map(|column| {
            let value = untrack(|| self.value(*column, cell))?;
            Some(format!("{} {}", self.name(*column), or_masked(value)))
        });
        format!("{}; {}", self.pair_words(cell), values.collect::<Vec<_>>().join(", "))
    }

    /// `query sat, 2 of 9; key cat, 1`
    pub fn pair_words(self, cell: Cell) -> String {
        self.pair_words_in(Column::A, cell)
    }

    /// The same for a pair of a column's own places.
    pub fn pair_words_in(self, column: Column, cell: Cell) -> String {
        self.columns[column as usize].with(|labels| {
            let label = |position: usize| labels.get(position).map_or("", String::as_str);
            format!(
                "query {}, {} of {}; key {}, {}",
                label(cell.query),
                cell.query,
                labels.len(),
                label(cell.key),
                cell.key
            )
        })
    }

    /// What a column is called in text: `A`, `B`, `A − B`.
    pub fn name(self, column: Column) -> String {
        let other = pane_letter(self.other.get().unwrap_or(1));
        match column {
            Column::A => "A".into(),
            Column::B => other,
            Column::Difference => format!("A − {other}"),
        }
    }
}

/// The pane A is compared with: the one on the wall, or B.
pub fn other_pane(panes: usize, wall: usize) -> Option<usize> {
    (panes > 1).then(|| if (1..panes).contains(&wall) { wall } else { 1 })
}

/// A pane's letter.
pub fn pane_letter(pane: usize) -> String {
    PANE_NAMES.get(pane).copied().unwrap_or("?").to_uppercase()
}

/// The head, or the nearest one the model has: a link may name more layers than this model.
pub fn within(store: Store, head: Head) -> Head {
    let (layers, heads) =
        store.outcome.with(|outcome| outcome.as_ref().map_or((0, 0), |o| (o.model.layers, o.model.heads)));
    if layers == 0 || heads == 0 {
        return head;
    }
    Head { layer: head.layer.min(layers - 1), head: head.head.min(heads - 1) }
}

/// A head's maps if they fit the newest run's tokens.
pub fn fresh_maps(store: Store, pane: usize, head: Head) -> Option<Arc<HeadMaps>> {
    let tokens = store.outcome.with(|outcome| outcome.as_ref().map(|outcome| outcome.tokens_of(pane).len()))?;
    store.head(pane, head).value.filter(|maps| maps.pattern.shape == [tokens; 2])
}

/// The tokens of the newest run.
pub fn tokens(store: Store) -> Vec<Token> {
    store.outcome.with(|outcome| outcome.as_ref().map(|outcome| outcome.tokens.clone()).unwrap_or_default())
}

/// The colours of the theme, read again when it changes.
pub fn palette(store: Store) -> Memo<Palette> {
    Memo::new(move |_| {
        store.dark.track();
        Palette::read()
    })
}

/// The tokens of the newest run as labels; the token that begins every sequence goes by its role.
pub fn labels(store: Store) -> Vec<String> {
    labels_of(store, 0)
}

/// The tokens of one pane as labels.
pub fn labels_of(store: Store, pane: usize) -> Vec<String> {
    let name = |(at, token): (usize, &Token)| if at == 0 && token.special { format::BOS.into() } else { label(token) };
    store.outcome.with(|outcome| {
        let tokens = outcome.as_ref().map(|outcome| outcome.tokens_of(pane)).unwrap_or_default();
        tokens.iter().enumerate().map(name).collect()
    })
}

/// Letters an axis label may have before its middle is left out; the tooltip has the whole token.
const LABEL_LETTERS: usize = 18;

/// A token as an axis label.
fn label(token: &Token) -> String {
    let text: Vec<char> = format::plain(token).chars().collect();
    if text.len() <= LABEL_LETTERS {
        return text.into_iter().collect();
    }
    let half = LABEL_LETTERS / 2 - 1;
    text[..half].iter().chain(&['…']).chain(&text[text.len() - half..]).collect()
}

/// Four significant digits, or that there is nothing to read.
pub fn or_masked(value: f32) -> String {
    if value.is_nan() { "masked, n/a".into() } else { format::four(value) }
}

/// A pane's name: what its mechanisms are called; plain softmax goes without saying beside others.
pub fn title(store: Store, pane: usize) -> String {
    let ids: Vec<String> = store.experiment.with(|experiment| {
        experiment
            .panes
            .get(pane)
            .map(|pane| pane.stack.iter().map(|chip| chip.id.clone()).collect())
            .unwrap_or_default()
    });
    let telling: Vec<_> = ids.iter().filter(|id| *id != "softmax").collect();
    if telling.is_empty() {
        return "Softmax attention".into();
    }
    let name = |id: &&String| store.entry(id).map_or_else(|| (*id).clone(), |entry| entry.name);
    telling.iter().map(name).collect::<Vec<_>>().join(" + ")
}
