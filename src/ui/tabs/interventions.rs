//! Interventions: heads taken out, and activations of one prompt put into another. The panes stay as they are; what an
//! intervention does is shown beside them.

mod grid;
mod patch;
mod paths;
mod remove;

use crate::experiment::Act;
use crate::ui::segment::segment;
use crate::ui::store::Store;
use leptos::prelude::*;
use patch::Patch;
use paths::Paths;
use remove::Remove;

/// The tab.
#[component]
pub fn InterventionsTab() -> impl IntoView {
    let store = Store::here();
    let act = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.act));
    let name = |act| match act {
        Act::Remove => "Take heads out",
        Act::Patch => "Patch a prompt",
        Act::Paths => "Head to head",
    };
    view! {
        <div class="stack" data-test="interventions">
            {segment("act", "Intervention", name, |set| set.act, |set, act| set.act = act)}
            {move || match act.get() {
                Act::Remove => view! { <Remove/> }.into_any(),
                Act::Patch => view! { <Patch/> }.into_any(),
                Act::Paths => view! { <Paths/> }.into_any(),
            }}
        </div>
    }
}

/// Whether the prompt on screen has at most this many tokens, so that many passes over it may start by themselves. The
/// newest outcome may still be that of an older prompt, so the text must be short too.
pub(super) fn is_short(store: Store, tokens: usize) -> bool {
    /// Letters of a long token.
    const LETTERS: usize = 8;
    let counted = store.outcome.with(|outcome| outcome.as_ref().is_some_and(|outcome| outcome.tokens.len() <= tokens));
    counted && store.experiment.with(|experiment| experiment.prompt.len() <= LETTERS * tokens)
}
