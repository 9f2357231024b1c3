//! What the bench measures: one quote after the other on an engine of its own, softmax first, so that every ratio is one
//! of the same run; then how many needles each variant finds on the model that has learned to.

use crate::api::client::{Client, Trouble};
use crate::api::{Command, Reply};
use crate::catalogue::{self, Entry};
use crate::experiment::{Chip, Experiment};
use crate::outcome::Scores;
use crate::outcome::{Ceilings, EngineFacts, Quote};
use crate::papers::STORY;
use crate::ui::store::drive::{base, wanted_engine};
use leptos::prelude::*;
use leptos::task::spawn_local;

/// Lengths that are measured: those within the context of the model at once, the last one when it is asked for.
pub const LENGTHS: [usize; 3] = [128, 512, 2048];
/// Index of the length beyond the context.
pub const LONG: usize = 2;
/// Tokens drawn for the speed of decoding.
const DRAWN: usize = 16;
/// The model that has learned to find needles, and passages it is asked.
pub const FINDER: &str = "circuits-2m";
const PASSAGES: usize = 24;

/// A variant with what was found.
#[derive(Clone, PartialEq)]
pub struct Row {
    pub entry: Entry,
    /// One per length, as far as they have come.
    pub quotes: [Option<Quote>; LENGTHS.len()],
    pub needles: Option<Scores>,
    pub trouble: Option<String>,
}

impl Row {
    /// The loss beyond that of `softmax` at the longest length that the model was trained for, as far as it was measured.
    pub fn loss_beyond(&self, softmax: &Row, at: usize) -> Option<f32> {
        let mut pairs = self.quotes.iter().zip(&softmax.quotes).take(at + 1).rev();
        pairs.find_map(|(own, softmax)| own.as_ref()?.loss_beyond(softmax.as_ref()?))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Rest,
    Loading,
    /// So many of so many are done.
    Running(usize, usize),
    Failed(String),
}

/// Everything the page shows.
#[derive(Clone, Copy)]
pub struct Bench {
    pub rows: RwSignal<Vec<Row>>,
    pub state: RwSignal<State>,
    pub engine: RwSignal<Option<EngineFacts>>,
    pub ceilings: RwSignal<Option<Ceilings>>,
    /// Index of the length shown.
    pub length: RwSignal<usize>,
    /// Seconds that the quotes of the longest length within the context took together.
    pub seconds: RwSignal<Option<f64>>,
}

impl Bench {
    pub fn new() -> Self {
        let mut entries = catalogue::shipped().unwrap_or_default();
        entries.sort_by_key(|entry| (entry.id != "softmax", entry.number, entry.id.clone()));
        let row = |entry| Row { entry, quotes: Default::default(), needles: None, trouble: None };
        Self {
            rows: RwSignal::new(entries.into_iter().map(row).collect()),
            state: RwSignal::new(State::Rest),
            engine: RwSignal::new(None),
            ceilings: RwSignal::new(None),
            length: RwSignal::new(0),
            seconds: RwSignal::new(None),
        }
    }

    pub fn runs(self) -> bool {
        self.state.with(|state| matches!(state, State::Loading | State::Running(..)))
    }

    pub fn is_long(self) -> bool {
        self.length.get() == LONG
    }

    /// Measures the length beyond the context where that one is looked at, else the others and the needles.
    pub fn start(self) {
        let long = self.length.get_untracked() == LONG;
        self.state.set(State::Loading);
        self.rows.update(|rows| {
            for row in rows {
                row.trouble = None;
                if long {
                    row.quotes[LONG] = None;
                } else {
                    row.quotes[..LONG].fill(None);
                    row.needles = None;
                }
            }
        });
        spawn_local(async move {
            let client = Client::default();
            if let Err(trouble) = self.measure(&client, long).await {
                self.state.set(State::Failed(trouble.message));
            }
            client.end();
        });
    }

    /// Every variant at every length. A variant that fails says why and leaves the others alone.
    async fn measure(self, client: &Client, long: bool) -> Result<(), Trouble> {
        self.open(client, Experiment::default().model).await?;
        if let Reply::Ceilings { ceilings } = client.call(&Command::Ceilings, |_, _| {}).await?.reply {
            self.ceilings.set(Some(ceilings));
        }
        let lengths: &[usize] = if long { &[LONG] } else { &[0, 1] };
        let ids: Vec<String> = self.rows.with_untracked(|rows| rows.iter().map(|row| row.entry.id.clone()).collect());
        let all = ids.len() * if long { 1 } else { lengths.len() + 1 };
        // The first pass of an engine is slower than all others; it is not counted.
        self.quote(client, "softmax", LENGTHS[0]).await.ok();
        let mut done = 0;
        for at in lengths {
            let start = js_sys::Date::now();
            for (index, id) in ids.iter().enumerate() {
                if !self.goes_on(&mut done, all) {
                    return Ok(());
                }
                let answer = self.quote(client, id, LENGTHS[*at]).await;
                self.note(index, answer, |row, quote| row.quotes[*at] = Some(quote));
            }
            if *at + 1 == LONG {
                self.seconds.set(Some((js_sys::Date::now() - start) / 1e3));
            }
        }
        if !long {
            self.open(client, FINDER.into()).await?;
            for (index, id) in ids.iter().enumerate() {
                if !self.goes_on(&mut done, all) {
                    return Ok(());
                }
                let command = Command::Needles { stack: vec![Chip::new(id)], items: PASSAGES };
                let answer = match client.call(&command, |_, _| {}).await {
                    Ok(answer) => match answer.reply {
                        Reply::Needles { scores } => Ok(scores),
                        _ => Err(Trouble::unexpected()),
                    },
                    Err(trouble) => Err(trouble),
                };
                self.note(index, answer, |row, scores| row.needles = Some(scores));
            }
        }
        self.state.set(State::Rest);
        Ok(())
    }

    /// Whether the visitor wants the next one.
    fn goes_on(self, done: &mut usize, all: usize) -> bool {
        let runs = self.state.with_untracked(|state| matches!(state, State::Loading | State::Running(..)));
        if runs {
            self.state.set(State::Running(*done, all));
            *done += 1;
        }
        runs
    }

    fn note<T>(self, index: usize, answer: Result<T, Trouble>, put: impl FnOnce(&mut Row, T)) {
        self.rows.update(|rows| match (answer, rows.get_mut(index)) {
            (Ok(answer), Some(row)) => put(row, answer),
            (Err(trouble), Some(row)) => row.trouble = Some(trouble.message),
            _ => {}
        });
    }

    async fn open(self, client: &Client, model: String) -> Result<(), Trouble> {
        let open = Command::Open { model, base: base(), engine: wanted_engine() };
        match client.call(&open, |_, _| {}).await?.reply {
            Reply::Opened { engine, .. } => self.engine.set(Some(engine)),
            _ => return Err(Trouble::unexpected()),
        }
        Ok(())
    }

    async fn quote(self, client: &Client, id: &str, tokens: usize) -> Result<Quote, Trouble> {
        let command = Command::Quote { stack: vec![Chip::new(id)], text: STORY.into(), tokens, drawn: DRAWN };
        match client.call(&command, |_, _| {}).await?.reply {
            Reply::Quote { quote } => Ok(quote),
            _ => Err(Trouble::unexpected()),
        }
    }
}
