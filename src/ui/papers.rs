//! The catalogue: 68 papers, searchable; those that work here open an experiment.

use super::measured;
use super::route::{Nav, PlainBar};
use super::theme;
use crate::catalogue::{self, Entry};
use crate::experiment::link;
use crate::papers::{self, Paper};
use leptos::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    State,
    Kind,
    Model,
    Training,
}

impl Facet {
    const ALL: [Facet; 4] = [Facet::State, Facet::Kind, Facet::Model, Facet::Training];

    fn name(self) -> &'static str {
        match self {
            Facet::State => "Here",
            Facet::Kind => "Kind",
            Facet::Model => "Runs on",
            Facet::Training => "Training needed",
        }
    }

    /// The words a card carries under this facet.
    fn words(self, card: &Card) -> Vec<String> {
        match self {
            Facet::State => vec![if card.works() { "works" } else { "not yet" }.into()],
            Facet::Kind => card.paper.kinds.clone(),
            Facet::Model => card.paper.models.clone(),
            Facet::Training => vec![card.paper.training.clone()],
        }
    }
}

/// A word as people read it.
fn plain(word: &str) -> &str {
    match word {
        "vlm" => "vision + language",
        "live" => "live training",
        word => word,
    }
}

/// A paper with what works of it.
#[derive(Clone)]
struct Card {
    paper: Paper,
    mechanisms: Vec<Entry>,
}

impl Card {
    fn works(&self) -> bool {
        self.paper.works(self.mechanisms.len())
    }
}

/// Every card; a broken list is a defect that a test excludes, and shows as an empty page.
fn cards() -> Arc<Vec<Card>> {
    let entries = catalogue::shipped().unwrap_or_default();
    let card = |paper: Paper| {
        let mechanisms = paper.mechanisms(&entries).into_iter().cloned().collect();
        Card { paper, mechanisms }
    };
    let mut cards: Vec<Card> = papers::all().unwrap_or_default().into_iter().map(card).collect();
    // What works comes first.
    cards.sort_by_key(|card| (!card.works(), card.paper.number));
    Arc::new(cards)
}

type Chosen = RwSignal<BTreeSet<(Facet, String)>>;

/// The page.
#[component]
pub fn Papers() -> impl IntoView {
    let dark = RwSignal::new(theme::is_dark());
    theme::follow_system(dark);
    document().set_title("attnscope: papers");
    let cards = StoredValue::new(cards());
    let query = RwSignal::new(String::new());
    let chosen: Chosen = RwSignal::new(BTreeSet::new());
    // Within a facet any word will do; every facet with a choice must agree.
    let shown = Memo::new(move |_| {
        let fits = |card: &Card| {
            let names: Vec<&Entry> = card.mechanisms.iter().collect();
            let agrees = |facet: Facet| {
                let words = facet.words(card);
                chosen.with(|chosen| {
                    let mut wanted = chosen.iter().filter(|(of, _)| *of == facet).peekable();
                    wanted.peek().is_none() || wanted.any(|(_, word)| words.contains(word))
                })
            };
            query.with(|query| card.paper.matches(query, &names)) && Facet::ALL.into_iter().all(agrees)
        };
        cards.with_value(|cards| {
            cards.iter().filter(|card| fits(card)).map(|card| card.paper.number).collect::<Vec<_>>()
        })
    });
    let works = cards.with_value(|cards| cards.iter().filter(|card| card.works()).count());
    let all = cards.with_value(|cards| cards.len());
    let list = move || {
        let card =
            |number: u32| cards.with_value(|cards| cards.iter().find(|card| card.paper.number == number).cloned());
        shown.get().into_iter().filter_map(card).map(|card| view! { <CardView card/> }).collect_view()
    };
    view! {
        <a class="skip" href="#main">"Skip to content"</a>
        <PlainBar dark/>
        <main id="main" class="page" tabindex="-1" data-test="papers">
            <div class="page-head">
                <div>
                    <h1>{format!("{all} papers, {works} of them running")}</h1>
                    <p>
                        "A card that works opens the playground with the paper’s mechanism beside softmax attention, on your \
                         own device. The others are listed as not yet there."
                    </p>
                </div>
                <label class="search">
                    <span class="sr">"Search titles and claims"</span>
                    <input
                        type="search" placeholder="Search titles and claims" data-test="paper-search"
                        prop:value=query on:input:target=move |event| query.set(event.target().value())
                    />
                </label>
            </div>
            <div class="cat">
                <Filters cards chosen/>
                <div>
                    <p class="soft" aria-live="polite" data-test="paper-count" data-count=move || shown.with(Vec::len)>
                        {move || match shown.with(Vec::len) {
                            0 => "No paper fits; take out a word or a filter.".to_string(),
                            1 => "1 paper".to_string(),
                            count => format!("{count} papers"),
                        }}
                    </p>
                    <div class="list">{list}</div>
                </div>
            </div>
        </main>
        <footer class="foot"><span class="grow">"attnscope "{env!("CARGO_PKG_VERSION")}</span><Nav/></footer>
    }
}

/// Check boxes with counts, most frequent word first.
#[component]
fn Filters(cards: StoredValue<Arc<Vec<Card>>>, chosen: Chosen) -> impl IntoView {
    let count = move |facet: Facet, word: &str| {
        cards.with_value(|cards| cards.iter().filter(|card| facet.words(card).iter().any(|w| w == word)).count())
    };
    let words = move |facet: Facet| {
        let mut words: Vec<String> = cards
            .with_value(|cards| cards.iter().flat_map(|card| facet.words(card)).collect::<BTreeSet<_>>())
            .into_iter()
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(count(facet, word)));
        words
    };
    let choice = move |facet: Facet, word: String| {
        let key = (facet, word.clone());
        let toggle = {
            let key = key.clone();
            move |_| {
                chosen.update(|chosen| {
                    if !chosen.remove(&key) {
                        chosen.insert(key.clone());
                    }
                })
            }
        };
        view! {
            <label>
                <input
                    type="checkbox" data-test="paper-filter" data-word=word.clone()
                    prop:checked=move || chosen.with(|chosen| chosen.contains(&key)) on:change=toggle
                />
                <span>{plain(&word).to_string()}</span>
                <span class="num">{count(facet, &word)}</span>
            </label>
        }
    };
    // On a narrow page the filters would push the papers out of sight.
    let wide = window().match_media("(min-width: 761px)").ok().flatten().is_some_and(|query| query.matches());
    let group = move |facet: Facet| {
        view! {
            <fieldset>
                <legend>{facet.name()}</legend>
                <div>{words(facet).into_iter().map(|word| choice(facet, word)).collect_view()}</div>
            </fieldset>
        }
    };
    view! {
        <details class="fold" open=wide>
            <summary>"Filters"</summary>
            <form class="filters" aria-label="Filters">{Facet::ALL.map(group).collect_view()}</form>
        </details>
    }
}

/// One paper.
#[component]
fn CardView(card: Card) -> impl IntoView {
    let Card { paper, mechanisms } = card;
    let works = paper.works(mechanisms.len());
    let open = paper.link(&mechanisms).filter(|_| works).map(|link| format!("./#{link}"));
    let claim = match &paper.show {
        Some(show) => view! { <p><strong>{show.takeaway.clone()}</strong></p> }.into_any(),
        None => ().into_any(),
    };
    let measured = measured::remembered(paper.number);
    let study = open.clone().filter(|_| mechanisms.is_empty());
    let title = match open {
        Some(href) => view! { <a href=href>{paper.title.clone()}</a> }.into_any(),
        None => paper.title.clone().into_any(),
    };
    let facts = paper.kinds.iter().chain(&paper.models).map(|word| plain(word)).collect::<Vec<_>>().join(" · ");
    let runs = mechanisms
        .iter()
        .map(|entry| {
            let href = format!("./#{}", link::write(&papers::beside_softmax(entry)));
            view! { <a class="runs" href=href data-test="paper-open" data-mechanism=entry.id.clone()>{entry.name.clone()}</a> }
        })
        .collect_view();
    // A study opens as the card does; a mechanism also by itself.
    let foot = match study {
        Some(href) => view! { <a class="runs" href=href data-test="paper-open">"Open the study"</a> }.into_any(),
        None if mechanisms.is_empty() => view! { <span class="soft">"Not yet here"</span> }.into_any(),
        None => runs.into_any(),
    };
    view! {
        <article class="paper" data-test="paper" data-number=paper.number data-works=works.to_string()>
            <div class="top-line"><span class="mono">{format!("{:02}", paper.number)}</span><span>{facts}</span></div>
            <h2>{title}</h2>
            <p>{paper.claim}</p>
            {claim}
            <div class="row">{foot}{measured.map(|number| view! { <span class="measured" data-test="paper-number" title="Measured on this device when you opened it">{number}</span> })}</div>
        </article>
    }
}
