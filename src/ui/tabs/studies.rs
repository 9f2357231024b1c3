//! Studies: experiments of many small steps whose drawings grow while they run, that can be paused, and that go on from
//! where they were.

mod settings;

use super::wall_pane;
use crate::experiment::{Over, Study as Which, Through};
use crate::lens::analysis;
use crate::lens::exhibit::Exhibit;
use crate::lens::finding::Found;
use crate::lens::study::Study;
use crate::ui::exhibits::Figure;
use crate::ui::export::save;
use crate::ui::segment::segment;
use crate::ui::stage::canvas::follow_width;
use crate::ui::stage::scene::pane_letter;
use crate::ui::store::Store;
use crate::ui::store::analyses::Answered;
use leptos::html::Div;
use leptos::prelude::*;
use settings::Settings;
use std::sync::Arc;

/// The model that has learned what evaluations ask.
const LEARNED: &str = "circuits-2m";

fn name(study: Which) -> &'static str {
    match study {
        Which::Needles => "Needles",
        Which::Helmet => "HELMET-mini",
        Which::Choices => "Choices",
        Which::SinkSet => "Sinks over texts",
        Which::SinkActs => "First position",
        Which::SinkTracking => "Sink while writing",
        Which::Streaming => "Streaming",
        Which::Features => "Attributions",
        Which::Channels => "Channels",
        Which::Retrieval => "Retrieval heads",
        Which::Letters => "Letters",
        Which::Safety => "Ships and Sahara",
        Which::Recall => "Factual recall",
        Which::Anchors => "Anchored answers",
        Which::Calibration => "Calibration by head",
    }
}

fn through(through: Through) -> &'static str {
    match through {
        Through::Queries => "queries",
        Through::Keys => "keys",
        Through::Values => "values",
    }
}

/// Whether it asks items of a suite.
fn evaluates(study: Which) -> bool {
    matches!(study, Which::Needles | Which::Helmet | Which::Choices)
}

/// Whether it is about tasks that only a taught model knows.
fn on_tasks(study: Which) -> bool {
    let circuits = matches!(
        study,
        Which::Channels
            | Which::Retrieval
            | Which::Letters
            | Which::Safety
            | Which::Recall
            | Which::Anchors
            | Which::Calibration
    );
    circuits || evaluates(study)
}

/// The newest study of an answer.
fn study(answered: &Answered) -> Option<&Study> {
    match &answered.fetched.value.as_ref()?.found {
        Found::Study(study) => Some(study),
        _ => None,
    }
}

/// The tab.
#[component]
pub fn StudiesTab() -> impl IntoView {
    let store = Store::here();
    let pane = wall_pane(store);
    let which = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.study));
    let over = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.over));
    let answer = Memo::new(move |_| store.finding(pane.get(), which.get().word()));
    // What many subjects are asked waits for the visitor; the rest begins by itself.
    let running = RwSignal::new(true);
    Effect::new(move |_| {
        let waits = evaluates(which.get()) && over.get() != Over::Pane;
        running.set(!waits);
    });
    // Every answer holds a little more, until all is there.
    Effect::new(move |_| {
        store.experiment.track();
        let (id, pane) = (which.get().word(), pane.get());
        let asks = answer.with(|answered| {
            let failed = answered.fetched.trouble.as_ref().is_some_and(|trouble| trouble.code != "superseded");
            let whole = answered.fresh && study(answered).is_some_and(Study::is_whole);
            !(answered.fetched.pending || whole || failed && answered.fresh)
        });
        if running.get() && asks && store.ready() {
            store.request_finding(pane, id, true);
        }
    });
    let exhibits = Memo::new(move |_| {
        let all = answer.with(|answered| study(answered).map(|study| study.exhibits.clone()).unwrap_or_default());
        all.into_iter().map(Arc::new).collect::<Vec<Arc<Exhibit>>>()
    });
    // Drawings of another study are other drawings, also under the same name.
    let ids = move || {
        let own = which.get().word();
        exhibits.with(|all| all.iter().map(|exhibit| (own, exhibit.id.clone())).collect::<Vec<_>>())
    };
    let node = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(node, width);
    let one = move |(_, id): (&'static str, String)| {
        let exhibit = Memo::new(move |_| {
            exhibits.with(|all| all.iter().find(|exhibit| exhibit.id == id).cloned()).unwrap_or_default()
        });
        view! { <Figure exhibit width/> }
    };
    // The first sentence is the answer; what else was found stands behind it, smaller.
    let verdict = move || {
        let words = answer.with(|answered| study(answered).map(|study| study.verdict.clone())).unwrap_or_default();
        let (first, rest) = words.split_once(". ").map_or((words.as_str(), ""), |(first, rest)| (first, rest));
        let stop = if rest.is_empty() { "" } else { ". " };
        view! { {format!("{first}{stop}")}<span class="rest">{rest.to_owned()}</span> }
    };
    let trouble = move || {
        let trouble = answer.with(|answered| answered.fetched.trouble.clone());
        trouble.filter(|trouble| trouble.code != "superseded").map(|trouble| trouble.message)
    };
    let about = move || {
        let analysis = analysis::by_id(which.get().word()).ok()?;
        Some(view! { <p class="cap">{analysis.help}" After "{analysis.source}"."</p> })
    };
    let other = move || on_tasks(which.get()) && store.experiment.with(|experiment| experiment.model != LEARNED);
    // A model that does not know the task is no failure, and there is nothing to run.
    let told = move || match trouble() {
        Some(message) if other() => Some(view! { <p class="soft" data-test="trouble">{message}</p> }.into_any()),
        Some(message) => Some(view! { <p class="bad" role="alert" data-test="trouble">{message}</p> }.into_any()),
        None => None,
    };
    let pace = Memo::new(move |_| !(other() && trouble().is_some()));
    let elsewhere = move || {
        other().then(|| {
            view! {
                <p class="soft">
                    {format!("{LEARNED} was taught tasks of this kind. ")}
                    <button
                        type="button" class="btn" data-test="study-model"
                        on:click=move |_| store.edit(|experiment| experiment.model = LEARNED.into())
                    >{format!("Ask {LEARNED}")}</button>
                </p>
            }
        })
    };
    view! {
        <div
            class="stack" node_ref=node data-test="studies" data-study=move || which.get().word()
            data-whole=move || answer.with(|a| a.fresh && study(a).is_some_and(Study::is_whole)).to_string()
        >
            <div class="wide-seg">{segment("study", "Study", name, |set| set.study, |set, study| set.study = study)}</div>
            {move || evaluates(which.get()).then(|| view! { <Asked/> })}
            {move || (which.get() == Which::Channels).then(|| segment("through", "What of the head hears", through, |set| set.through, |set, through| set.through = through))}
            <Settings which/>
            <p class="verdict" data-test="study-verdict">{verdict}</p>
            {told}
            {elsewhere}
            {move || pace.get().then(|| view! { <Pace answer running pane which/> })}
            <div class="stack" class:waiting=move || answer.with(|answered| !answered.fresh)>
                <For each=ids key=Clone::clone children=one/>
            </div>
            {about}
        </div>
    }
}

/// Whom an evaluation asks, and how much.
#[component]
fn Asked() -> impl IntoView {
    let store = Store::here();
    let over = |over| match over {
        Over::Pane => "This pane",
        Over::Heads => "Without each head",
        Over::Variants => "Every variant",
    };
    let items = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.items));
    let choice = move |count: usize| {
        let words = if count == 0 { "as many as it takes".to_string() } else { count.to_string() };
        view! { <option value=count.to_string() selected=move || items.get() == count>{words}</option> }
    };
    let choose = move |value: String| {
        if let Ok(count) = value.parse() {
            store.edit(|experiment| experiment.instruments.items = count);
        }
    };
    view! {
        <div class="row wrap">
            {segment("over", "Whom it asks", over, |set| set.over, |set, over| set.over = over)}
            <label>
                "Items of each cell "
                <select data-test="study-items" on:change:target=move |event| choose(event.target().value())>
                    {[0, 2, 4, 8, 16, 32, 64].map(choice)}
                </select>
            </label>
        </div>
    }
}

/// How far it is, and what can be done about that.
#[component]
fn Pace(answer: Memo<Answered>, running: RwSignal<bool>, pane: Memo<usize>, which: Memo<Which>) -> impl IntoView {
    let store = Store::here();
    let far = Memo::new(move |_| {
        answer.with(|answered| study(answered).filter(|_| answered.fresh).map(|study| (study.done, study.all)))
    });
    let whole = move || far.get().is_some_and(|(done, all)| done >= all);
    let works = move || running.get() && !whole();
    let words = move || {
        let letter = pane_letter(pane.get());
        match far.get() {
            Some((done, all)) if done >= all => format!("All {all} steps, pane {letter}, on the processor"),
            Some((done, all)) if works() => format!("{done} of {all} steps"),
            Some((done, all)) => format!("Paused: {done} of {all} steps are kept"),
            None if works() => "Beginning…".into(),
            None => "Not run yet".into(),
        }
    };
    let press = move |_| {
        let goes = works();
        running.set(!goes);
        if goes {
            store.stop_findings();
        }
    };
    let cancel = move |_| {
        running.set(false);
        store.stop_findings();
        store.drop_finding(pane.get_untracked(), which.get_untracked().word());
    };
    let save_json = move |_| {
        let json = answer.with_untracked(|answered| serde_json::to_vec_pretty(answered.fetched.value.as_deref()?).ok());
        if let Some(json) = json
            && let Ok(blob) = save::blob(&json, "application/json")
        {
            // A browser may refuse downloads in a sandboxed frame; nothing else is lost.
            let _ = save::save(&blob, &format!("attnscope-{}.json", which.get_untracked().word()));
        }
    };
    view! {
        <div class="row progress wrap" data-test="pace" data-done=move || far.get().map(|(done, _)| done)>
            <progress
                hidden=whole max=move || far.get().map_or(1, |(_, all)| all) value=move || far.get().map_or(0, |(done, _)| done)
                aria-label="Steps taken"
            ></progress>
            <span class="soft num" data-test="study-far">{words}</span>
            <button type="button" class="btn" hidden=whole data-test="study-go" on:click=press>
                {move || match (works(), far.get()) {
                    (true, _) => "Pause",
                    (false, Some(_)) => "Resume",
                    (false, None) => "Run",
                }}
            </button>
            <button type="button" class="btn ghost" hidden=move || whole() || far.get().is_none() data-test="study-cancel" on:click=cancel>
                "Cancel"
            </button>
            <button type="button" class="btn ghost" hidden=move || far.get().is_none() data-test="study-json" on:click=save_json>"JSON"</button>
        </div>
    }
}
