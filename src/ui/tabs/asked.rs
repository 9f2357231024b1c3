//! What instruments explain: the prediction after one token, and which token there; and how far an answer is.

use crate::lens::finding::{Finding, Found};
use crate::ui::format::{self, plain};
use crate::ui::store::Store;
use crate::ui::store::analyses::Answered;
use leptos::prelude::*;
use std::sync::Arc;

/// A token at a place, as people read it.
pub fn place(finding: &Finding, at: usize) -> String {
    let token = finding.tokens.get(at);
    let text = match token {
        Some(token) if at == 0 && token.special => format::BOS.into(),
        token => token.map(plain).unwrap_or_default(),
    };
    format!("{at} {text}")
}

/// A token that is named by its id.
pub fn name(finding: &Finding, id: u32) -> String {
    finding.name(id).map_or_else(|| id.to_string(), plain)
}

/// Tokens that may be explained: the likeliest at the explained position, as far as the finding knows them.
fn choices(finding: &Finding) -> Vec<(u32, String, Option<f32>)> {
    let mut all: Vec<(u32, String, Option<f32>)> = match &finding.found {
        Found::Readings(lens) => {
            let at = finding.asked.query.saturating_sub(lens.first);
            let reading = lens.readings.get((lens.depths - 1) * lens.tokens + at);
            let top = reading.map(|reading| reading.top.as_slice()).unwrap_or(&[]);
            top.iter().map(|(id, share)| (*id, name(finding, *id), Some(*share))).collect()
        }
        Found::Ablated(ablated) => {
            let mut next = ablated.next.clone();
            next.sort_by(|a, b| b.probability_a.total_cmp(&a.probability_a));
            let token = |text: &str| plain(&crate::outcome::Token { text: text.into(), ..Default::default() });
            next.iter().map(|next| (next.id, token(&next.text), Some(next.probability_a))).collect()
        }
        _ => Vec::new(),
    };
    for id in finding.asked.against.into_iter().chain([finding.asked.answer]) {
        if !all.iter().any(|(known, ..)| *known == id) {
            all.push((id, name(finding, id), None));
        }
    }
    if let Some(next) = finding.tokens.get(finding.asked.query + 1)
        && !all.iter().any(|(known, ..)| *known == next.id)
    {
        all.push((next.id, plain(next), None));
    }
    all
}

/// Which position's prediction is explained, and which token of it.
#[component]
pub fn AskedFor(
    /// The newest finding.
    #[prop(into)]
    finding: Signal<Option<Arc<Finding>>>,
    /// Whether a second token to compare with can be chosen.
    #[prop(optional)]
    compared: bool,
) -> impl IntoView {
    let store = Store::here();
    let pinned = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.query.is_some()));
    let at = move || {
        finding.with(|finding| finding.as_ref().map_or(String::new(), |finding| place(finding, finding.asked.query)))
    };
    let options = Memo::new(move |_| finding.with(|finding| finding.as_ref().map(|f| choices(f)).unwrap_or_default()));
    let chosen = Memo::new(move |_| store.experiment.with(|e| (e.instruments.answer, e.instruments.against)));
    let list = move |own: Option<u32>| {
        let option = move |(id, text, share): (u32, String, Option<f32>)| {
            let share = share.map(|share| format!(" {:.1}%", 100.0 * share)).unwrap_or_default();
            view! { <option value=id.to_string() selected=own == Some(id)>{format!("{text}{share}")}</option> }
        };
        options.get().into_iter().map(option).collect_view()
    };
    let id = |value: String| value.parse::<u32>().ok();
    view! {
        <div class="choosers" data-test="asked" data-query=move || finding.with(|f| f.as_ref().map(|f| f.asked.query))>
            <span>"Explains the token after "<span class="mono">{at}</span></span>
            <button
                type="button" class="btn" hidden=move || !pinned.get() data-test="asked-last"
                on:click=move |_| store.look(|view| (view.query, view.key) = (None, None))
            >
                "Take the last"
            </button>
            <label>
                "Token "
                <select
                    data-test="answer"
                    on:change:target=move |event| {
                        let answer = id(event.target().value());
                        store.edit(|experiment| experiment.instruments.answer = answer);
                    }
                >
                    <option value="" selected=move || chosen.get().0.is_none()>"likeliest"</option>
                    {move || list(chosen.get().0)}
                </select>
            </label>
            {compared.then(|| view! {
                <label>
                    "against "
                    <select
                        data-test="against"
                        on:change:target=move |event| {
                            let against = id(event.target().value());
                            store.edit(|experiment| experiment.instruments.against = against);
                        }
                    >
                        <option value="" selected=move || chosen.get().1.is_none()>"likeliest, corrupted"</option>
                        {move || list(chosen.get().1)}
                    </select>
                </label>
            })}
        </div>
    }
}

/// Where an answer of many passes stands.
#[derive(Debug, Clone, PartialEq)]
enum State {
    /// It is being computed.
    Pending,
    /// The visitor or a newer question stopped it.
    Stopped,
    /// It failed, and why.
    Failed(String),
    /// There is none for what is set now; whether there is one for something else.
    Missing(bool),
    /// It is there; measured milliseconds.
    Done(f32),
}

impl From<&Answered> for State {
    fn from(answered: &Answered) -> Self {
        let Answered { fetched, fresh, .. } = answered;
        match &fetched.trouble {
            _ if fetched.pending => State::Pending,
            Some(trouble) if trouble.code == "superseded" => State::Stopped,
            Some(trouble) => State::Failed(trouble.message.clone()),
            None if !fresh || fetched.value.is_none() => State::Missing(fetched.value.is_some()),
            None => State::Done(fetched.value.as_ref().map_or(0.0, |finding| finding.millis)),
        }
    }
}

/// How far an answer of many passes is, with a way to stop it, and what went wrong.
#[component]
pub fn Progress(
    /// The answer.
    #[prop(into)]
    answered: Signal<Answered>,
    /// Asks again.
    #[prop(into)]
    again: Callback<()>,
) -> impl IntoView {
    let store = Store::here();
    let state = Memo::new(move |_| answered.with(|answered| State::from(answered)));
    // Apart from the state, so that the button stays where it is while the bar moves.
    let progress = Memo::new(move |_| answered.with(|answered| answered.progress));
    let words = move || progress.get().map_or("waiting".into(), |(done, all)| format!("{done} of {all} passes"));
    let run = move |word: &'static str| {
        view! { <button type="button" class="btn" data-test="again" on:click=move |_| again.run(())>{word}</button> }
    };
    let line = move || {
        match state.get() {
        State::Pending => view! {
            <progress
                max=move || progress.get().map_or(1, |(_, all)| all) value=move || progress.get().map_or(0, |(done, _)| done)
                aria-label="Passes done"
            ></progress>
            <span class="soft num">{words}</span>
            <button type="button" class="btn" data-test="stop" on:click=move |_| store.stop_findings()>"Cancel"</button>
        }
        .into_any(),
        State::Stopped => view! { <span class="soft">"Stopped."</span> {run("Run")} }.into_any(),
        State::Failed(message) => {
            view! { <span class="bad" role="alert" data-test="trouble">{message}</span> {run("Try again")} }.into_any()
        }
        State::Missing(other) => {
            let words = if other { "Computed for other settings." } else { "Not computed yet." };
            view! { <span class="soft">{words}</span> {run("Run")} }.into_any()
        }
        State::Done(millis) => {
            let words = format!("{} ms on the processor", format::millis(millis));
            view! { <span class="soft" data-test="millis" data-millis=millis>{words}</span> }.into_any()
        }
    }
    };
    view! { <div class="row progress">{line}</div> }
}
