//! Sinks: how much weight rests on one position in A and B, against what an even causal row would put there.

mod norms;
mod positions;
mod views;

use super::chart::{Line, LineChart};
use super::epsilon::Epsilon;
use crate::lens::sinks::{self, Sinks, Without};
use crate::lens::{HeadRows, Patterns};
use crate::outcome::{HeadMaps, Outcome, STORED_TOKENS};
use crate::ui::format::fixed;
use crate::ui::stage::canvas::follow_width;
use crate::ui::stage::metric::{every, request_missing};
use crate::ui::stage::scene::{self, pane_letter};
use crate::ui::store::Store;
use leptos::html::Div;
use leptos::prelude::*;
use norms::Norms;
use positions::Positions;
use std::sync::Arc;
use views::Views;

/// A pane's sinks, when all its heads are there.
type Measured = Memo<Option<Arc<Sinks>>>;

/// What the tab's parts share.
#[derive(Clone, Copy)]
struct Shared {
    store: Store,
    /// The examined position.
    position: Memo<usize>,
    epsilon: Memo<f32>,
    /// Everything measured in A and in the pane beside it.
    a: Measured,
    b: Measured,
    /// The same without the examined position.
    without_a: Memo<Option<Without>>,
    without_b: Memo<Option<Without>>,
    /// Letter of the pane beside A.
    letter: Memo<String>,
    labels: Memo<Vec<String>>,
}

/// The tab.
#[component]
pub fn SinksTab() -> impl IntoView {
    let store = Store::here();
    let other = Memo::new(move |_| {
        store.experiment.with(|experiment| scene::other_pane(experiment.panes.len(), experiment.view.wall))
    });
    let position = Memo::new(move |_| {
        let last = store
            .outcome
            .with(|outcome| outcome.as_ref().map_or(usize::MAX, |outcome| outcome.tokens.len()))
            .saturating_sub(1);
        store.experiment.with(|experiment| experiment.view.position).min(last)
    });
    let source = [Memo::new(move |_| Source::of(store, 0)), Memo::new(move |_| Source::of(store, other.get()?))];
    let measured = move |index: usize, pane: Option<usize>| {
        source[index].with(|source| source.as_ref()?.measure(pane?)).map(Arc::new)
    };
    let without = move |index: usize, pane: Option<usize>| {
        source[index].with(|source| source.as_ref()?.without(pane?, position.get()))
    };
    let shared = Shared {
        store,
        position,
        epsilon: Memo::new(move |_| store.experiment.with(|experiment| experiment.view.epsilon)),
        a: Memo::new(move |_| measured(0, Some(0))),
        b: Memo::new(move |_| measured(1, other.get())),
        without_a: Memo::new(move |_| without(0, Some(0))),
        without_b: Memo::new(move |_| without(1, other.get())),
        letter: Memo::new(move |_| pane_letter(other.get().unwrap_or(1))),
        labels: Memo::new(move |_| scene::labels(store)),
    };
    // Beyond the stored size the heads of both panes come one after the other.
    Effect::new(move |_| {
        store.run.track();
        if !request_missing(store, 0)
            && let Some(pane) = other.get()
        {
            request_missing(store, pane);
        }
    });
    let frame = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(frame, width);

    let verdict = move || match shared.a.get() {
        Some(a) => {
            let text = shared.labels.with(|labels| labels.get(position.get()).cloned().unwrap_or_default());
            sinks::verdict(&a, shared.b.get().as_deref(), position.get(), &text, shared.epsilon.get())
        }
        None => waiting(store),
    };
    view! {
        <div class="stack live" node_ref=frame data-test="sinks">
            <p class="verdict" data-test="verdict">{verdict}</p>
            <Choosers shared/>
            <Views shared/>
            <Depth shared width/>
            <Positions shared width/>
            <Norms shared width/>
            <Foot shared/>
        </div>
    }
}

/// What a pane's sinks are measured on: the run, or beyond the stored size the maps of all its heads.
#[derive(Clone)]
struct Source {
    outcome: Arc<Outcome>,
    maps: Vec<Arc<HeadMaps>>,
}

impl PartialEq for Source {
    /// By identity: heads of the other pane that arrive must not measure this one again.
    fn eq(&self, other: &Self) -> bool {
        let same =
            self.maps.len() == other.maps.len() && self.maps.iter().zip(&other.maps).all(|(a, b)| Arc::ptr_eq(a, b));
        same && Arc::ptr_eq(&self.outcome, &other.outcome)
    }
}

impl Source {
    /// `None` while some of the heads are missing.
    fn of(store: Store, pane: usize) -> Option<Self> {
        let outcome = store.outcome.get()?;
        let long = outcome.tokens.len() > STORED_TOKENS;
        let heads = every(outcome.model.layers, outcome.model.heads).filter(|_| long);
        let maps = heads.map(|head| scene::fresh_maps(store, pane, head)).collect::<Option<_>>()?;
        Some(Self { outcome, maps })
    }

    fn measure(&self, pane: usize) -> Option<Sinks> {
        if let Some(patterns) = Patterns::of(self.outcome.panes.get(pane)?) {
            return Some(Sinks::new(&patterns));
        }
        let model = &self.outcome.model;
        (!self.maps.is_empty()).then(|| Sinks::of_heads(model.layers, model.heads, self.rows()))
    }

    fn without(&self, pane: usize, removed: usize) -> Option<Without> {
        match Patterns::of(self.outcome.panes.get(pane)?) {
            Some(patterns) => Without::new(&patterns, removed),
            None => Without::of_heads(self.rows(), removed),
        }
    }

    fn rows(&self) -> impl Iterator<Item = HeadRows<'_>> {
        self.maps.iter().map(|maps| HeadRows::of(maps))
    }
}

/// Why there are no numbers yet.
fn waiting(store: Store) -> String {
    store.outcome.with(|outcome| match outcome {
        None => "Not run yet.".into(),
        Some(outcome) if outcome.tokens.len() > STORED_TOKENS => {
            let all = outcome.model.layers * outcome.model.heads;
            let heads = every(outcome.model.layers, outcome.model.heads);
            let there = heads.filter(|head| scene::fresh_maps(store, 0, *head).is_some()).count();
            format!("Long prompt: {there} of {all} heads of A have been computed.")
        }
        Some(_) => "This run carries no patterns.".into(),
    })
}

/// Which position is examined, and from where on a head counts as a sink.
#[component]
fn Choosers(shared: Shared) -> impl IntoView {
    let Shared { store, position, .. } = shared;
    let choose = move |to: usize| store.look(|view| view.position = to);
    let strongest = move || shared.a.with(|sinks| sinks.as_ref().and_then(|sinks| sinks.strongest()));
    view! {
        <div class="choosers">
            <label>
                "Position "
                <input
                    type="number" min="0" step="1" data-test="sink-position"
                    max=move || shared.labels.with(|labels| labels.len().saturating_sub(1))
                    prop:value=move || position.get().to_string()
                    on:change:target=move |event| if let Ok(to) = event.target().value().parse() { choose(to) }
                />
                <span class="mono">{move || shared.labels.with(|labels| labels.get(position.get()).cloned())}</span>
            </label>
            <button
                type="button" class="btn" data-test="sink-strongest"
                disabled=move || strongest().is_none_or(|at| at == position.get())
                on:click=move |_| if let Some(at) = strongest() { choose(at) }
            >
                {move || strongest().map_or_else(|| "Strongest".into(), |at| format!("Strongest in A: {at}"))}
            </button>
            <Epsilon/>
        </div>
    }
}

/// Mass by layer.
#[component]
fn Depth(shared: Shared, width: RwSignal<f64>) -> impl IntoView {
    let Shared { position, a, b, letter, .. } = shared;
    let by_layer = move |sinks: Memo<Option<Arc<Sinks>>>| {
        sinks.with(|sinks| sinks.as_ref().map(|sinks| sinks.by_layer(position.get())))
    };
    let steps = Signal::derive(move || {
        (0..a.with(|a| a.as_ref().map_or(0, |a| a.layers))).map(|layer| format!("L{layer}")).collect::<Vec<_>>()
    });
    let lines = Signal::derive(move || {
        let last = |values: &[f32]| {
            values.last().copied().filter(|v| v.is_finite()).map_or(String::new(), |v| format!(" {}", fixed(v, 2)))
        };
        let line = |name: String, class, values: Option<Vec<f32>>| {
            values.map(|values| Line { name: format!("{name}{}", last(&values)), class, values })
        };
        let null = a.with(|a| a.as_ref().and_then(|a| Some(vec![sinks::null(a.tokens, position.get())?; a.layers])));
        [line("A".into(), "a", by_layer(a)), line(letter.get(), "b", by_layer(b)), line("null".into(), "n", null)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    });
    let label = Signal::derive(move || {
        let words = lines.with(|lines| {
            lines
                .iter()
                .map(|line| {
                    let values: Vec<_> = line.values.iter().map(|v| fixed(*v, 2)).collect();
                    format!("{}: {}", line.name.split(' ').next().unwrap_or_default(), values.join(", "))
                })
                .collect::<Vec<_>>()
        });
        format!("Mass on token {} by layer. {}", position.get(), words.join("; "))
    });
    let heads = move || a.with(|a| a.as_ref().map_or(0, |a| a.heads));
    view! {
        <figure data-test="sink-depth">
            <figcaption class="sub">
                <strong>{move || format!("Mass on token {}, by layer", position.get())}</strong>
                <span>{move || format!("mean over later queries, {} heads", heads())}</span>
            </figcaption>
            <LineChart label width steps lines/>
        </figure>
    }
}

/// What the null is, and what none of this proves.
#[component]
fn Foot(shared: Shared) -> impl IntoView {
    let Shared { position, a, .. } = shared;
    let null = move || {
        let tokens = a.with(|a| a.as_ref().map(|a| a.tokens))?;
        Some((tokens, sinks::null(tokens, position.get())?))
    };
    let mean = move || {
        null().map(|(tokens, null)| {
            let (from, to) = (position.get() + 1, tokens - 1);
            format!("; the mean over queries t = {from}…{to} is {}", fixed(null, 4))
        })
    };
    view! {
        <p class="cap">
            "Null: a causal row that spreads evenly gives every key it sees 1/(t+1)"
            {mean}
            ". A weight is not an explanation; one prompt is not a law."
        </p>
    }
}
