//! Writing on: the bar that starts and stops it, and what each pane wrote.

use super::format;
use super::grown_map::GrownMap;
use super::icons::{Glyph, Icon};
use super::stage::scene::pane_letter;
use super::store::Store;
use crate::experiment::Draw;
use leptos::prelude::*;

/// Start, step, stop, and how tokens are drawn.
#[component]
pub fn WriteBar() -> impl IntoView {
    let store = Store::here();
    let many = move || store.experiment.with(|experiment| experiment.panes.len() > 1);
    let tokens = move || store.experiment.with(|experiment| experiment.draw.tokens);
    let go = move |_| {
        if store.is_writing() {
            store.stop_writing();
        } else {
            store.write_on(store.experiment.with_untracked(|experiment| experiment.draw.tokens));
        }
    };
    let words = move || match (store.is_writing(), many()) {
        (true, _) => "Stop",
        (false, true) => "Continue in every pane",
        (false, false) => "Continue",
    };
    let greedy = move || store.experiment.with(|experiment| experiment.draw.temperature == 0.0);
    view! {
        <div class="write" role="group" aria-label="Continuation" data-test="write" data-writing=move || store.is_writing().to_string()>
            <button type="button" class="btn" data-test="write-go" disabled=move || !store.ready() || tokens() == 0 on:click=go>
                {move || view! { <Glyph icon=if store.is_writing() { Icon::Stop } else { Icon::Play }/> }}
                {words}
            </button>
            <button
                type="button" class="btn" data-test="write-step" title="One more token in every pane"
                disabled=move || !store.ready() || store.is_writing() on:click=move |_| store.write_on(1)
            >"Step"</button>
            <Field name="Tokens" key="tokens" most=4096.0 step=1.0 help="Most tokens to add"
                read=|draw| draw.tokens as f64 write=|draw, value| draw.tokens = value as usize/>
            <Field name="Temperature" key="temperature" most=5.0 step=0.1 help="Divides the logits; 0 takes the likeliest token"
                read=|draw| f64::from(draw.temperature) write=|draw, value| draw.temperature = value as f32/>
            <span class="sampling" class:off=greedy>
                <Field name="Top-k" key="top-k" most=100_000.0 step=1.0 help="Only this many likeliest tokens; 0 keeps all"
                    read=|draw| draw.top_k as f64 write=|draw, value| draw.top_k = value as usize/>
                <Field name="Top-p" key="top-p" most=1.0 step=0.05 help="Only the likeliest tokens that together reach this probability; 1 keeps all"
                    read=|draw| f64::from(draw.top_p) write=|draw, value| draw.top_p = value as f32/>
                <label title="Seed of the draws, and of everything random in the experiment">
                    "Seed "
                    <input
                        type="number" min="0" step="1" data-test="write-seed"
                        prop:value=move || store.experiment.with(|experiment| experiment.seed).to_string()
                        on:change:target=move |event| if let Ok(seed) = event.target().value().parse() {
                            store.edit(|experiment| experiment.seed = seed)
                        }
                    />
                </label>
            </span>
        </div>
    }
}

/// One number of the sampling. What cannot be is put back.
#[component]
fn Field(
    name: &'static str,
    key: &'static str,
    most: f64,
    step: f64,
    help: &'static str,
    read: fn(&Draw) -> f64,
    write: fn(&mut Draw, f64),
) -> impl IntoView {
    let store = Store::here();
    // Six digits: 0.1 as f32 would read 0.10000000149.
    let shown = move || store.experiment.with(|experiment| (read(&experiment.draw) * 1e6).round() / 1e6).to_string();
    // Top-p of 0 would keep nothing.
    let least = if key == "top-p" { step } else { 0.0 };
    view! {
        <label title=help>
            {name}" "
            <input
                type="number" min=least max=most step=step data-test=format!("write-{key}") prop:value=shown
                on:change:target=move |event| {
                    match event.target().value().parse::<f64>() {
                        Ok(value) if value.is_finite() => {
                            store.edit(|experiment| write(&mut experiment.draw, value.clamp(least, most)));
                        }
                        _ => event.target().set_value(&shown()),
                    }
                }
            />
        </label>
    }
}

/// What one pane wrote, its speed, and a button that makes it the prompt.
#[component]
pub fn Written(
    /// Index of the pane.
    pane: usize,
) -> impl IntoView {
    let store = Store::here();
    let written = Memo::new(move |_| store.continuation(pane));
    let some = move || written.with(Option::is_some);
    let count = move || written.with(|written| written.as_ref().map_or(0, |written| written.tokens.len()));
    let speed = move || {
        written.with(|written| {
            let written = written.as_ref().filter(|written| !written.tokens.is_empty())?;
            let per_token = written.millis / written.tokens.len() as f32;
            Some((1e3 / per_token.max(1e-3), written.prompt_millis))
        })
    };
    let facts = move || match speed() {
        Some((rate, _)) => format!("{} tokens · {} tokens/s", count(), format::fixed(rate, 0)),
        None => String::new(),
    };
    let reading = move || {
        speed().map(|(_, prompt)| {
            format!("Measured on this device; reading the prompt took {} ms", format::millis(prompt))
        })
    };
    let tokens = move || {
        let tokens = written.with(|written| written.as_ref().map(|written| written.tokens.clone()).unwrap_or_default());
        let one = |token: crate::outcome::Token| {
            let title = format!("{}, id {}", format::plain(&token), token.id);
            // Paragraphs would push everything below out of sight, so a newline is its sign.
            view! { <span title=title>{token.text.replace('\n', "↵")}</span> }
        };
        tokens.into_iter().map(one).collect_view()
    };
    let notice = move || {
        written.with(|written| {
            let written = written.as_ref()?;
            let ended = || (written.ended && written.notice.is_none()).then(|| "the text ends here".to_string());
            written.trouble.as_ref().map(|trouble| trouble.message.clone()).or(written.notice.clone()).or_else(ended)
        })
    };
    let take = move |_| {
        if let Some(written) = written.get_untracked() {
            store.edit(|experiment| experiment.prompt += &written.text);
        }
    };
    // Rows follow the tokens and the pinned head.
    let basis = Memo::new(move |_| {
        let pin = store.experiment.with(|experiment| experiment.view.pin);
        (count(), store.is_writing(), pin)
    });
    Effect::new(move |_| {
        if basis.get().0 > 0 {
            store.grow(pane);
        }
    });
    let block = move || {
        view! {
            <div
                class="written" data-test="written" data-count=count data-text=move || written.with(|written| written.as_ref().map(|written| written.text.clone()))
                data-rate=move || speed().map(|(rate, _)| rate.to_string())
            >
                <div class="sub"><strong>"Continuation"</strong><span class="num" title=reading>{facts}</span></div>
                <p lang="en">{tokens}</p>
                {move || notice().map(|words| view! { <p class="cap" data-test="written-notice">{words}</p> })}
                <GrownMap pane/>
                <button
                    type="button" class="btn small" data-test="written-take" disabled=move || count() == 0 || store.is_writing()
                    title="Appends it to the prompt, so that its tokens can be looked at" on:click=take
                >{format!("Add {}’s to the prompt", pane_letter(pane))}</button>
            </div>
        }
    };
    move || some().then(block)
}
