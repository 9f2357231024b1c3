//! Settings of single studies: threshold and position of sinks, options and examples of questions, sentence and factors of
//! facts. Ranges are those that an experiment is checked by.

use crate::experiment::instruments::{OPTIONS, SHOTS, TEMPLATES};
use crate::experiment::{Instruments, Study};
use crate::ui::store::Store;
use crate::ui::tabs::epsilon::Epsilon;
use leptos::prelude::*;

/// By what parts of the last layer may be multiplied here; a link may say any number between.
const FACTORS: [f32; 7] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5];

/// What may be added to a score here, likewise.
const BIASES: [f32; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];

/// Those of the chosen study; nothing where there are none.
#[component]
pub fn Settings(
    /// The chosen study.
    which: Memo<Study>,
) -> impl IntoView {
    let counts = |range: std::ops::RangeInclusive<usize>| range.map(|count| (count, count.to_string())).collect();
    let shots = move || choice("shots", "Examples before it", counts(SHOTS), |set| set.shots, |set, to| set.shots = to);
    let factor = |test, label, get, set| {
        choice(test, label, FACTORS.map(|factor| (factor, factor.to_string())).to_vec(), get, set)
    };
    move || {
        match which.get() {
        Study::SinkSet => view! { <div class="choosers"><Position/><Epsilon/></div> }.into_any(),
        Study::SinkActs => view! {
            <div class="choosers">
                <Position/>
                <Epsilon/>
                {choice("bias", "Score changed by", BIASES.map(|bias| (bias, bias.to_string())).to_vec(), |set| set.bias, |set, to| set.bias = to)}
                <Own/>
            </div>
        }
        .into_any(),
        Study::Letters => view! {
            <div class="row wrap">
                {choice("options", "Options", counts(OPTIONS), |set| set.options, |set, to| set.options = to)}
                {shots()}
            </div>
        }
        .into_any(),
        Study::Recall => {
            let names = TEMPLATES.map(|at| (at, (at + 1).to_string())).collect();
            view! {
                <div class="row wrap">
                    {choice("template", "Sentence", names, |set| set.template, |set, to| set.template = to)}
                    {shots()}
                    {factor("lambda_a", "Last heads times", |set| set.lambda_a, |set, to| set.lambda_a = to)}
                    {factor("lambda_m", "Last feed-forward times", |set| set.lambda_m, |set, to| set.lambda_m = to)}
                </div>
            }
            .into_any()
        }
        _ => ().into_any(),
    }
    }
}

/// One of a few numbers; one that only a link can say stands among them while it is set.
fn choice<T: Copy + PartialEq + PartialOrd + ToString + std::str::FromStr + Send + Sync + 'static>(
    test: &'static str,
    label: &'static str,
    mut all: Vec<(T, String)>,
    get: fn(&Instruments) -> T,
    set: fn(&mut Instruments, T),
) -> impl IntoView {
    let store = Store::here();
    let own = Memo::new(move |_| store.experiment.with(|experiment| get(&experiment.instruments)));
    let now = own.get_untracked();
    if !all.iter().any(|(value, _)| *value == now) {
        all.push((now, now.to_string()));
        all.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    }
    let option = move |(value, name): (T, String)| {
        view! { <option value=value.to_string() selected=move || own.get() == value>{name}</option> }
    };
    view! {
        <label>
            {label}" "
            <select
                data-test=format!("study-{test}")
                on:change:target=move |event| if let Ok(to) = event.target().value().parse() {
                    store.edit(|experiment| set(&mut experiment.instruments, to))
                }
            >
                {all.into_iter().map(option).collect_view()}
            </select>
        </label>
    }
}

/// Whether the prompt is asked, and not the set of texts.
#[component]
fn Own() -> impl IntoView {
    let store = Store::here();
    let own = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.own));
    view! {
        <label>
            <input
                type="checkbox" data-test="study-own" prop:checked=move || own.get()
                on:change:target=move |event| store.edit(|experiment| experiment.instruments.own = event.target().checked())
            />
            " On the prompt"
        </label>
    }
}

/// The position that sinks are counted at.
#[component]
fn Position() -> impl IntoView {
    let store = Store::here();
    view! {
        <label>
            "Position "
            <input
                type="number" min="0" step="1" data-test="study-position"
                prop:value=move || store.experiment.with(|experiment| experiment.view.position.to_string())
                on:change:target=move |event| if let Ok(to) = event.target().value().parse() {
                    store.look(|view| view.position = to)
                }
            />
        </label>
    }
}
