//! What earlier heads tell the pinned one: composition of the weights, and paths patched from another prompt.

use super::grid::{Drawn, Effects, of};
use super::patch::{Corrupted, Metrics};
use crate::experiment::{Head, Through};
use crate::lens::analysis;
use crate::ui::format::fixed;
use crate::ui::segment::segment;
use crate::ui::stage::scene::within;
use crate::ui::store::Store;
use crate::ui::tabs::asked::{AskedFor, Progress};
use crate::ui::tabs::wall_pane;
use leptos::prelude::*;

/// The part of the tab.
#[component]
pub fn Paths() -> impl IntoView {
    let store = Store::here();
    let pane = wall_pane(store);
    let set = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.clone()));
    let given = move || set.with(|set| !set.corrupted.is_empty());
    let pin = Memo::new(move |_| within(store, store.experiment.with(|experiment| experiment.view.pin)));
    let reads = move || pin.get().layer > 0;
    Effect::new(move |_| {
        store.experiment.track();
        if store.ready() && store.outcome.with(Option::is_some) && reads() {
            store.request_finding(pane.get(), "composition", false);
            if given() {
                store.request_finding(pane.get(), "paths", false);
            }
        }
    });
    let composed = Memo::new(move |_| store.finding(pane.get(), "composition"));
    let patched = Memo::new(move |_| store.finding(pane.get(), "paths"));
    let composition = Signal::derive(move || composed.with(|answered| answered.fetched.value.clone()));
    let paths = Signal::derive(move || patched.with(|answered| answered.fetched.value.clone()));
    let drawn = move |finding, sheet, test| Drawn {
        finding,
        sheet,
        turned: Signal::stored(false),
        chosen: Callback::new(|_| false),
        choose: Callback::new(move |(layer, head)| store.look(|view| view.pin = Head { layer, head })),
        test,
    };
    let by_weights =
        drawn(composition, Signal::derive(move || set.with(|set| set.through.word())), "composition-table");
    let by_paths = drawn(paths, Signal::derive(move || set.with(|set| set.by.word())), "paths-table");
    let baseline = move || {
        let finding = composition.get()?;
        let fact = of(&finding)?.facts.first()?.clone();
        Some(view! {
            <span data-test="baseline" data-value=fact.value>{format!("{} score about {}.", fact.name, fixed(fact.value, 3))}</span>
        })
    };
    let verdict = move || match reads() {
        true => format!("What heads before {} tell its {}.", pin.get(), set.with(|set| through_name(set.through))),
        false => {
            format!("{} stands in the first layer and reads no head; pin one of a later layer on the wall.", pin.get())
        }
    };
    let source = |id: &str| analysis::by_id(id).map(|analysis| analysis.source).unwrap_or_default();
    view! {
        <p class="verdict" data-test="paths-verdict">{verdict}</p>
        {segment("through", "What of the head reads", through_name, |set| set.through, |set, through| set.through = through)}
        <div class="stack" hidden=move || !reads()>
            <figure
                class:waiting=move || composed.with(|answered| !answered.fresh)
                data-test="composition" data-fresh=move || composed.with(|a| a.fresh && a.fetched.value.is_some()).to_string()
            >
                <figcaption class="sub"><strong>"Composition, from the weights"</strong><span>"click a head to pin it"</span></figcaption>
                <Effects drawn=by_weights/>
            </figure>
            <p class="cap">{baseline}" Queries and keys are compared at the same position. "{format!("After {}.", source("composition"))}</p>
            <p class="sub"><strong>"Paths, patched from another prompt"</strong></p>
            <Corrupted/>
            <div class="stack" hidden=move || !given()>
                <AskedFor finding=paths compared=true/>
                <Metrics/>
                <Progress
                    answered=Signal::derive(move || patched.get())
                    again=Callback::new(move |()| store.request_finding(pane.get_untracked(), "paths", true))
                />
                <figure
                    class:waiting=move || patched.with(|answered| !answered.fresh || answered.fetched.pending)
                    data-test="paths"
                    data-fresh=move || patched.with(|a| a.fresh && !a.fetched.pending && a.fetched.value.is_some()).to_string()
                >
                    <Effects drawn=by_paths/>
                </figure>
                <p class="cap">
                    "Only the direct path from the one head to the other carries the clean prompt; what stands between them is held. "
                    {format!("After {}.", source("paths"))}
                </p>
            </div>
        </div>
    }
}

fn through_name(through: Through) -> &'static str {
    match through {
        Through::Queries => "queries",
        Through::Keys => "keys",
        Through::Values => "values",
    }
}
