//! Drawings of a mechanism: everything it shows of the pane's pass beyond its pattern.
//!
//! They are asked for when the paper tab shows a mechanism that stands in a pane; those of many passes when somebody
//! presses Run. [`drawing`] makes the picture, which is the same on the page and in a file.

mod drawing;
mod figure;
mod ways;

use crate::catalogue::{Entry, Role};
use crate::experiment::{Chip, Pane};
use crate::lens::exhibit::Exhibit;
use crate::lens::finding::Found;
use crate::ui::stage::canvas::follow_width;
use crate::ui::stage::scene::pane_letter;
use crate::ui::store::Store;
use crate::ui::store::analyses::Answered;
use crate::ui::tabs::asked::Progress;
pub use figure::Figure;
use leptos::html::Div;
use leptos::prelude::*;
use std::sync::Arc;

/// Drawings of the mechanism on the paper tab.
#[component]
pub fn Exhibits(
    /// The mechanism.
    entry: Entry,
) -> impl IntoView {
    let store = Store::here();
    let id = StoredValue::new(entry.id.clone());
    let slow: Vec<_> =
        entry.exhibits.iter().filter(|drawing| drawing.slow).map(|drawing| drawing.name.clone()).collect();
    let (any, fast) = (!entry.exhibits.is_empty(), slow.len() < entry.exhibits.len());
    let slow = StoredValue::new(slow);
    // The pane that uses it, B first.
    let pane = Memo::new(move |_| {
        store.experiment.with(|experiment| {
            let uses =
                |pane: &usize| id.with_value(|id| experiment.panes[*pane].stack.iter().any(|chip| chip.id == *id));
            (1..experiment.panes.len()).chain([0]).find(uses)
        })
    });
    Effect::new(move |_| {
        store.experiment.track();
        if let (true, true, Some(pane)) = (store.ready(), fast, pane.get()) {
            store.request_finding(pane, "exhibits", false);
        }
    });
    let normalizes = entry.role.excludes(Role::Normalizer);
    let add = move |_| {
        store.edit(|experiment| {
            let below = (!normalizes).then(|| Chip::new("softmax"));
            let stack = [Chip::new(&id.get_value())].into_iter().chain(below).collect();
            let pane = Pane { stack };
            match experiment.panes.get_mut(1) {
                Some(b) => *b = pane,
                None => experiment.panes.push(pane),
            }
        });
    };
    let heading =
        move || pane.get().map_or("Drawings".into(), |pane| format!("Drawings of pane {}", pane_letter(pane)));
    let shown = move || {
        if pane.get().is_none() {
            return view! {
                <p class="row wrap">
                    <span class="soft">"No pane uses it; what it draws is of a pane’s pass."</span>
                    <button type="button" class="btn" data-test="exhibits-add" on:click=add>"Show it in B"</button>
                </p>
            }
            .into_any();
        }
        let asked = slow.with_value(|slow| (!slow.is_empty()).then(|| slow.join(", "))).map(|names| {
            let again = move |()| pane.get_untracked().into_iter().for_each(|pane| store.request_finding(pane, "exhibits_slow", true));
            view! {
                <div class="row wrap spread" data-test="exhibits-slow">
                    <p class="soft">{format!("By passes of their own: {names}.")}</p>
                    <Progress answered=Signal::derive(move || answered(store, pane, "exhibits_slow")) again=Callback::new(again)/>
                </div>
                <Gallery id pane analysis="exhibits_slow"/>
            }
        });
        view! {
            {fast.then(|| view! { <Gallery id pane analysis="exhibits"/> })}
            {asked}
        }
        .into_any()
    };
    any.then(|| {
        view! {
            <section class="stack exhibits" data-test="exhibits" data-pane=move || pane.get()>
                <h3>{heading}</h3>
                {shown}
            </section>
        }
    })
}

fn answered(store: Store, pane: Memo<Option<usize>>, analysis: &'static str) -> Answered {
    pane.get().map(|pane| store.finding(pane, analysis)).unwrap_or_default()
}

/// The drawings of one answer that are the mechanism's own.
#[component]
fn Gallery(id: StoredValue<String>, pane: Memo<Option<usize>>, analysis: &'static str) -> impl IntoView {
    let store = Store::here();
    let node = NodeRef::<Div>::new();
    let width = RwSignal::new(0.0);
    follow_width(node, width);
    let answer = Memo::new(move |_| answered(store, pane, analysis));
    let all = Memo::new(move |_| {
        let finding = answer.with(|answer| answer.fetched.value.clone());
        let Some(Found::Exhibits(found)) = finding.as_ref().map(|finding| &finding.found) else { return Vec::new() };
        let prefix = format!("{}.", id.get_value());
        let own = found.exhibits.iter().filter(|exhibit| exhibit.id.starts_with(&prefix));
        own.cloned().map(Arc::new).collect::<Vec<Arc<Exhibit>>>()
    });
    let ids = move || all.with(|all| all.iter().map(|exhibit| exhibit.id.clone()).collect::<Vec<_>>());
    let one = move |id: String| {
        let exhibit = Memo::new(move |_| {
            all.with(|all| all.iter().find(|exhibit| exhibit.id == id).cloned()).unwrap_or_default()
        });
        view! { <Figure exhibit width/> }
    };
    let note = move || {
        let finding = answer.with(|answer| answer.fetched.value.clone())?;
        let Found::Exhibits(found) = &finding.found else { return None };
        let cut = found.tokens
            < store
                .outcome
                .with(|outcome| outcome.as_ref().map_or(0, |outcome| outcome.tokens_of(pane.get().unwrap_or(0)).len()));
        cut.then(|| format!("Drawn of the first {} tokens, so that maps of all heads fit.", found.tokens))
    };
    let trouble = move || answer.with(|answer| answer.fetched.trouble.clone().map(|trouble| trouble.message));
    let waiting = move || answer.with(|answer| !answer.fresh || answer.fetched.pending);
    view! {
        <div
            class="stack" node_ref=node class:waiting=waiting data-test="gallery" data-analysis=analysis
            data-fresh=move || (!waiting() && answer.with(|answer| answer.fetched.value.is_some())).to_string()
        >
            {move || trouble().filter(|_| analysis == "exhibits").map(|message| view! { <p class="bad" role="alert">{message}</p> })}
            {move || note().map(|note| view! { <p class="cap">{note}</p> })}
            <For each=ids key=Clone::clone children=one/>
        </div>
    }
}
