//! The takeaway of a paper's experiment with its live number, while that experiment is on screen; the number is remembered
//! on this device for the paper's card.

use super::store::Store;
use super::theme::storage;
use crate::lens::finding::Found;
use crate::papers::{self, Paper, shown_by};
use leptos::prelude::*;
use std::sync::Arc;

fn key(paper: u32) -> String {
    format!("attnscope.paper.{paper}")
}

/// What was last measured here for a paper.
pub fn remembered(paper: u32) -> Option<String> {
    storage()?.get_item(&key(paper)).ok().flatten()
}

/// The strip under the bar.
#[component]
pub fn Takeaway() -> impl IntoView {
    let store = Store::here();
    let list: Arc<Vec<Paper>> = Arc::new(papers::all().unwrap_or_default());
    let shown = Memo::new(move |_| {
        store.experiment.with(|experiment| {
            shown_by(&list, experiment).map(|(paper, show)| {
                (paper.number, paper.title.clone(), show.takeaway.clone(), (show.number, show.cell.clone()))
            })
        })
    });
    let wall = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.wall));
    let number = Memo::new(move |_| {
        let (.., (number, cell)) = shown.get()?;
        if let Some(cell) = cell {
            let study = store.experiment.with(|experiment| experiment.instruments.study.word());
            let answered = store.finding(wall.get(), study);
            return match &answered.fetched.value.filter(|_| answered.fresh)?.found {
                Found::Study(study) => cell.read(study),
                _ => None,
            };
        }
        // An older experiment's number is none of this one's.
        let fresh = !store.stale.get();
        store.outcome.with(|outcome| number.read(outcome.as_ref()?)).filter(|_| fresh)
    });
    Effect::new(move |_| {
        // Storage may be closed to us; then the card says nothing.
        if let (Some((paper, ..)), Some(number)) = (shown.get(), number.get())
            && let Some(storage) = storage()
        {
            let _ = storage.set_item(&key(paper), &number);
        }
    });
    move || {
        shown.get().map(|(paper, title, takeaway, _)| {
            view! {
                <div class="takeaway" data-test="takeaway" data-paper=paper>
                    <span class="mono">{paper}</span>
                    <p><strong>{takeaway}</strong>" "<span class="soft">{title}</span></p>
                    <output class="num" data-test="takeaway-number">{move || number.get().unwrap_or_else(|| "measuring…".into())}</output>
                </div>
            }
        })
    }
}
