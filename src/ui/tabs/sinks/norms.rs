//! What a sink is made of: how large the stream is at the examined position, how quiet its key and value, and where queries
//! point; a table of A and the pane beside it, and the shown pane by layer and head.
//!
//! It takes a pass of its own on the processor, so it is asked for.

use super::Shared;
use crate::lens::exhibit::Exhibit;
use crate::lens::finding::Found;
use crate::ui::exhibits::Figure;
use crate::ui::format::fixed;
use crate::ui::stage::scene::{other_pane, pane_letter};
use crate::ui::store::analyses::Answered;
use crate::ui::tabs::wall_pane;
use leptos::prelude::*;
use std::sync::Arc;

/// Rows: the id of a fact, what it is called, and what it is.
const ROWS: [(&str, &str, &str); 5] = [
    ("massive", "Stream", "its norm over the median of all tokens, behind the layer where that is largest"),
    ("key", "Key", "the same of the key, mean over heads"),
    ("value", "Value", "the same of the value, mean over heads"),
    ("cosine", "cos(key, query)", "with later queries, mean over heads"),
    ("others", "… other keys", "the same of all other keys before those queries"),
];

fn exhibits(answered: &Answered) -> &[Exhibit] {
    match answered.fetched.value.as_deref().map(|finding| &finding.found) {
        Some(Found::Exhibits(all)) => &all.exhibits,
        _ => &[],
    }
}

fn fact(answered: &Answered, id: &str) -> Option<f32> {
    exhibits(answered).iter().flat_map(|exhibit| &exhibit.grid.facts).find(|fact| fact.id == id).map(|fact| fact.value)
}

/// The button, and what it opens.
#[component]
pub fn Norms(
    /// The tab.
    shared: Shared,
    /// Width of the panel, in CSS pixels.
    width: RwSignal<f64>,
) -> impl IntoView {
    let store = shared.store;
    let open = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.norms));
    let other = Memo::new(move |_| {
        store.experiment.with(|experiment| other_pane(experiment.panes.len(), experiment.view.wall))
    });
    Effect::new(move |_| {
        store.experiment.track();
        if open.get() && store.ready() {
            std::iter::once(0).chain(other.get()).for_each(|pane| store.request_finding(pane, "norms", false));
        }
    });
    view! {
        <button
            type="button" class="btn" data-test="norms-open" aria-expanded=move || open.get().to_string()
            on:click=move |_| store.edit(|experiment| experiment.instruments.norms = !open.get_untracked())
        >
            {move || if open.get() { "Hide norms of stream, keys and values" } else { "Norms of stream, keys and values" }}
        </button>
        {move || open.get().then(|| view! { <Opened shared width other/> })}
    }
}

#[component]
fn Opened(shared: Shared, width: RwSignal<f64>, other: Memo<Option<usize>>) -> impl IntoView {
    let store = shared.store;
    let wall = wall_pane(store);
    let a = Memo::new(move |_| store.finding(0, "norms"));
    let b = Memo::new(move |_| other.get().map(|pane| store.finding(pane, "norms")).unwrap_or_default());
    let shown = Memo::new(move |_| {
        let answered = if wall.get() == 0 { a.get() } else { b.get() };
        exhibits(&answered).iter().cloned().map(Arc::new).collect::<Vec<_>>()
    });
    let ids = move || shown.with(|all| all.iter().map(|exhibit| exhibit.id.clone()).collect::<Vec<_>>());
    let one = move |id: String| {
        let exhibit = Memo::new(move |_| {
            shown.with(|all| all.iter().find(|exhibit| exhibit.id == id).cloned()).unwrap_or_default()
        });
        view! { <Figure exhibit width/> }
    };
    let trouble = move || {
        let of = |answered: &Answered| answered.fetched.trouble.as_ref().map(|trouble| trouble.message.clone());
        a.with(of).or_else(|| b.with(of))
    };
    let row = move |(id, name, note): (&'static str, &'static str, &'static str)| {
        let [in_a, in_b] = [a, b].map(|answered| Memo::new(move |_| answered.with(|answered| fact(answered, id))));
        let text = |value: Option<f32>| value.map_or_else(|| "–".into(), |value| fixed(value, 2));
        view! {
            <tr data-test="norm" data-norm=id data-a=move || in_a.get() data-b=move || in_b.get()>
                <th scope="row">{name}<small>{note}</small></th>
                <td class="num">{move || text(in_a.get())}</td>
                <td class="num">{move || text(in_b.get())}</td>
            </tr>
        }
    };
    let fresh =
        move || a.with(|answered| answered.fresh && !answered.fetched.pending && !exhibits(answered).is_empty());
    view! {
        <div
            class="stack" data-test="norms" data-fresh=move || fresh().to_string()
            class:waiting=move || !fresh() && trouble().is_none()
        >
            {move || trouble().map(|message| view! { <p class="bad" role="alert">{message}</p> })}
            <table class="tbl">
                <thead>
                    <tr>
                        <th scope="col">{move || format!("At token {}", shared.position.get())}</th>
                        <th scope="col">"A"</th>
                        <th scope="col">{move || shared.letter.get()}</th>
                    </tr>
                </thead>
                <tbody>{ROWS.map(row).collect_view()}</tbody>
            </table>
            <p class="cap">{move || format!("Below, pane {} by layer and head, on the processor.", pane_letter(wall.get()))}</p>
            <For each=ids key=Clone::clone children=one/>
        </div>
    }
}
