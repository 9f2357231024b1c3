//! A choice among a few words as a row of buttons, one of them pressed.

use super::store::Store;
use crate::experiment::{Instruments, Word};
use leptos::prelude::*;

/// One setting of the instruments.
///
/// `test` and the word of each button name them for tests (`[data-test=site][data-word=heads]`), `label` names the group
/// for those who do not see it.
pub fn segment<W: Word>(
    test: &'static str,
    label: &'static str,
    name: fn(W) -> &'static str,
    get: fn(&Instruments) -> W,
    set: fn(&mut Instruments, W),
) -> impl IntoView {
    let store = Store::here();
    let chosen = Memo::new(move |_| store.experiment.with(|experiment| get(&experiment.instruments)));
    let button = move |choice: &W| {
        let choice = *choice;
        view! {
            <button
                type="button" title=choice.help() data-test=test data-word=choice.word()
                aria-pressed=move || (chosen.get() == choice).to_string()
                on:click=move |_| store.edit(|experiment| set(&mut experiment.instruments, choice))
            >
                {name(choice)}
            </button>
        }
    };
    view! { <div class="seg" role="group" aria-label=label>{W::ALL.iter().map(button).collect_view()}</div> }
}
