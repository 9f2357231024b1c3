//! One pane: its stack and controls, what it makes of the prompt, what it costs.

use super::continuing::Written;
use super::controls::Params;
use super::format::{self, Piece};
use super::icons::{Glyph, Icon};
use super::stack::Chips;
use super::stage::scene::{pane_letter, title};
use super::store::Store;
use crate::experiment::{Chip, PANE_NAMES, Pane};
use crate::outcome::{Candidate, PaneOutcome, Price};
use leptos::prelude::*;

/// How many continuations are shown.
const SHOWN: usize = 10;

/// One pane of the experiment.
#[component]
pub fn PaneView(
    /// Its index.
    pane: usize,
) -> impl IntoView {
    let store = Store::here();
    let letter = pane_letter(pane);
    let badge = letter.clone();
    let word = letter.to_lowercase();
    let refusal = Memo::new(move |_| refusal(store, pane));
    let number = move |read: fn(&PaneOutcome) -> Option<f32>| {
        move || store.with_pane(pane, read).flatten().map(|value| value.to_string())
    };
    let column = if pane == 0 { "pane col-a" } else { "pane col-b" };
    view! {
        <section
            class=column aria-label=format!("Pane {letter}") data-test="pane" data-pane=word
            data-loss=number(|pane| pane.loss) data-kl=number(|pane| pane.versus_a.as_ref().map(|versus| versus.kl_next))
            data-delta-loss=number(|pane| pane.versus_a.as_ref().and_then(|versus| versus.delta_loss))
        >
            <header>
                <span class=if pane == 0 { "badge-a" } else { "badge-b" }>{badge}</span>
                <h2 data-test="pane-name">{move || title(store, pane)}</h2>
                <span class="grow"></span>
                <span class="cap">{move || changes(store, pane)}</span>
                {(pane > 0).then(|| view! { <RemovePane pane/> })}
            </header>
            <Chips pane/>
            <Params pane/>
            {move || refusal.get().map(|words| view! { <p class="refusal" role="alert" data-test="refusal">{words}</p> })}
            <Next pane/>
            <Written pane/>
            <Cost pane/>
        </section>
    }
}

/// Adds a pane that starts as a copy of the last one, as long as there is a letter for it.
#[component]
pub fn AddPane() -> impl IntoView {
    let store = Store::here();
    let count = Memo::new(move |_| store.experiment.with(|experiment| experiment.panes.len()));
    let add = move |_| {
        store.edit(|experiment| {
            let copy = experiment.panes.last().cloned().unwrap_or_default();
            experiment.panes.push(copy);
        });
    };
    let button = move || {
        view! {
            <button type="button" class="chip" data-test="add-pane" on:click=add>
                <Glyph icon=Icon::Add/>{format!("Pane {}", pane_letter(count.get()))}
            </button>
        }
    };
    move || (count.get() < PANE_NAMES.len()).then(button)
}

#[component]
fn RemovePane(pane: usize) -> impl IntoView {
    let store = Store::here();
    let remove = move |_| {
        store.edit(|experiment| {
            if pane >= experiment.panes.len() {
                return;
            }
            experiment.panes.remove(pane);
            // The wall stays with the pane it showed, or goes back to A.
            experiment.view.wall = match experiment.view.wall {
                wall if wall > pane => wall - 1,
                wall if wall == pane => 0,
                wall => wall,
            };
        });
    };
    view! {
        <button
            type="button" class="btn icon ghost small" data-test="remove-pane" title="Remove this pane"
            aria-label=format!("Remove pane {}", pane_letter(pane)) on:click=remove
        ><Glyph icon=Icon::Close/></button>
    }
}

/// Why the newest run was refused, when it was because of this pane.
fn refusal(store: Store, pane: usize) -> Option<String> {
    let trouble = store.trouble.get()?;
    blamed(&trouble.message, &store.experiment.with(|experiment| experiment.panes.clone()))
        .contains(&pane)
        .then_some(trouble.message)
}

/// The panes a failure names: `pane b: …`, or the panes that hold the mechanism it begins with.
pub fn blamed(message: &str, panes: &[Pane]) -> Vec<usize> {
    let named =
        (0..panes.len()).find(|pane| message.starts_with(&format!("pane {}:", pane_letter(*pane).to_lowercase())));
    match named {
        Some(pane) => vec![pane],
        None => {
            let about = |chip: &Chip| {
                message.starts_with(&format!("{}:", chip.id))
                    || message.starts_with(&format!("mechanism {} ", chip.id))
                    || message.starts_with(&format!("parameter {}.", chip.id))
            };
            (0..panes.len()).filter(|pane| panes[*pane].stack.iter().any(about)).collect()
        }
    }
}

/// `baseline`, or how much the stack differs from A's.
fn changes(store: Store, pane: usize) -> String {
    if pane == 0 {
        return "baseline".into();
    }
    let differing = store.experiment.with(|experiment| {
        let (Some(a), Some(this)) = (experiment.panes.first(), experiment.panes.get(pane)) else { return 0 };
        let missing = |from: &Pane, to: &Pane| {
            from.stack.iter().filter(|chip| !to.stack.iter().any(|other| other.id == chip.id)).count()
        };
        let altered =
            this.stack.iter().filter(|chip| a.stack.iter().any(|other| other.id == chip.id && other != *chip)).count();
        // A normalizer in place of another is one change, not an addition and a removal.
        missing(this, a).max(missing(a, this)) + altered
    });
    match differing {
        0 => "same as A".into(),
        1 => "1 change from A".into(),
        many => format!("{many} changes from A"),
    }
}

/// The likeliest continuations. Other panes mark what A says.
#[component]
fn Next(pane: usize) -> impl IntoView {
    let store = Store::here();
    let rows = move || {
        let next = store.with_pane(pane, |pane| {
            let mut next = pane.next.clone();
            next.sort_by(|a, b| b.probability.total_cmp(&a.probability));
            next.truncate(SHOWN);
            next
        });
        next.unwrap_or_default().into_iter().map(|candidate| row(candidate, pane > 0)).collect_view()
    };
    let scale = if pane == 0 { "probability, 0 to 1" } else { "0 to 1, line marks A" };
    view! {
        <div class="sub"><strong>"Next token"</strong><span>{scale}</span></div>
        <ol class="dist live" data-test="next">{rows}</ol>
    }
}

fn row(candidate: Candidate, marked: bool) -> impl IntoView {
    let token =
        crate::outcome::Token { id: candidate.id, text: candidate.text.clone(), special: is_special(&candidate.text) };
    let word = format::plain(&token);
    let pieces = format::pieces(&token)
        .into_iter()
        .map(
            |Piece { text, mark }| {
                if mark { view! { <span class="mark">{text}</span> }.into_any() } else { text.into_any() }
            },
        )
        .collect_view();
    let percent = |probability: f32| format!("{:.2}%", 100.0 * probability.clamp(0.0, 1.0));
    let mark = marked.then(|| view! { <b style:left=percent(candidate.probability_a)></b> });
    view! {
        <li
            data-test="candidate" data-token-id=candidate.id data-prob=candidate.probability data-prob-a=candidate.probability_a
            title=format!("{word}, id {}: {}{}", candidate.id, format::four(candidate.probability), if marked { format!("; A {}", format::four(candidate.probability_a)) } else { String::new() })
        >
            <span class="word">{pieces}</span>
            <span class="bar" aria-hidden="true"><i style:width=percent(candidate.probability)></i>{mark}</span>
            <span class="num">{format::fixed(candidate.probability, 4)}</span>
        </li>
    }
}

/// A candidate carries no flag for control tokens; their texts are the usual ones in angle brackets.
fn is_special(text: &str) -> bool {
    text.len() > 2 && text.starts_with('<') && text.ends_with('>') && !text.starts_with("<0x")
}

/// What the pane costs.
#[component]
fn Cost(pane: usize) -> impl IntoView {
    let store = Store::here();
    let price = move || store.with_pane(pane, |pane| pane.price.clone());
    let tokens =
        move || store.outcome.with(|outcome| outcome.as_ref().map_or(0, |outcome| outcome.tokens_of(pane).len()));
    let figure = move |read: fn(&Price) -> (String, String)| {
        move || match price().as_ref().map(read) {
            Some((number, unit)) => view! { {number}" "<span class="unit">{unit}</span> }.into_any(),
            None => "–".into_any(),
        }
    };
    let of = |n: usize| if n == 0 { String::new() } else { format!(", {n} tokens") };
    view! {
        <dl
            class="price live" data-test="price" data-kv-bytes=move || price().map(|price| price.kv_bytes.to_string())
            data-flops=move || price().map(|price| price.flops_per_token.to_string()) data-millis=move || price().map(|price| price.millis.to_string())
        >
            <div title="Bytes of keys and values a decode holds for these tokens, after what masks let it forget">
                <dt>"KV"{move || of(tokens())}</dt><dd>{figure(|price| format::scaled(price.kv_bytes as f64, "B"))}</dd>
            </div>
            <div title="Floating-point operations of one decode step at this length">
                <dt>"per token"</dt><dd>{figure(|price| format::scaled(price.flops_per_token as f64, "FLOP"))}</dd>
            </div>
            <div title="Measured time of this pane's pass over the whole prompt, on this device">
                <dt>"measured pass"</dt><dd>{figure(|price| (format::millis(price.millis), "ms".into()))}</dd>
            </div>
        </dl>
    }
}
