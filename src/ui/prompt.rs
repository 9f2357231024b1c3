//! The prompt: the text, the tokens it became, and how many the model can hold.

use super::continuing::WriteBar;
use super::format::{self, Piece};
use super::icons::{Glyph, Icon};
use super::overlay::keep;
use super::stage::scene::tokens;
use super::store::{Cell, EngineState, Store};
use crate::outcome::Token;
use gloo::timers::callback::Timeout;
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;

/// How long typing must rest before the prompt runs.
const PAUSE_MILLIS: u32 = 400;

/// From this many tokens on, the chips stand closer.
const MANY: usize = 96;

/// Text, tokens, count.
#[component]
pub fn Prompt() -> impl IntoView {
    let ids = RwSignal::new(false);
    view! {
        <section class="prompt" aria-label="Prompt">
            <Entry pane=0/>
            <Count ids/>
            <Tokens ids/>
            <SecondPrompt ids/>
            <WriteBar/>
        </section>
    }
}

/// The text area. Enter runs, Shift+Enter makes a new line, and a pause runs too.
#[component]
fn Entry(
    /// Whose text: 0 for the prompt of all panes, 1 for pane B's own.
    pane: usize,
) -> impl IntoView {
    let store = Store::here();
    let area = NodeRef::<html::Textarea>::new();
    let pause = StoredValue::new_local(None::<Timeout>);
    let prompt = Memo::new(move |_| {
        store.experiment.with(|experiment| match pane {
            0 => experiment.prompt.clone(),
            _ => experiment.prompt_b.clone().unwrap_or_default(),
        })
    });
    let draft = RwSignal::new(prompt.get_untracked());
    // Set from elsewhere: a link, the back button.
    Effect::new(move |_| draft.set(prompt.get()));
    let run = move || {
        pause.set_value(None);
        let text = draft.get_untracked();
        match pane {
            0 => store.drag("prompt", |experiment| experiment.prompt = text),
            // It may have been taken away while this waited.
            _ => store.drag("prompt_b", |experiment| {
                experiment.prompt_b = experiment.prompt_b.is_some().then_some(text);
            }),
        }
    };
    let fit = move || {
        if let Some(area) = area.get_untracked() {
            // Where the browser cannot size the field by its content, the height follows here.
            let style = web_sys::HtmlElement::style(&area);
            let _ = style.set_property("height", "auto");
            let _ = style.set_property("height", &format!("{}px", area.scroll_height() + 2));
        }
    };
    Effect::new(move |_| {
        draft.track();
        area.track();
        // The text is put into the field by another effect, perhaps a later one.
        request_animation_frame(fit);
    });
    keep(gloo::events::EventListener::new(&window(), "resize", move |_| fit()));
    let key = move |event: KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            run();
        }
    };
    let typed = move |text: String| {
        draft.set(text);
        pause.set_value(Some(Timeout::new(PAUSE_MILLIS, run)));
    };
    view! {
        <div class="entry">
            <textarea
                node_ref=area rows="1" spellcheck="false" autocomplete="off"
                data-test=if pane == 0 { "prompt" } else { "prompt-b" } aria-label=if pane == 0 { "Prompt text" } else { "Prompt text of pane B" }
                aria-describedby="prompt-help" placeholder="Type a few words of a story"
                prop:value=move || draft.get() on:input:target=move |event| typed(event.target().value()) on:keydown=key
            ></textarea>
            <span class="sr" id="prompt-help">"Enter runs it, Shift and Enter make a new line. It also runs after a pause."</span>
        </div>
    }
}

/// A text of B's own, so that two prompts can be compared: its field, and the tokens it became.
#[component]
fn SecondPrompt(ids: RwSignal<bool>) -> impl IntoView {
    let store = Store::here();
    let has = Memo::new(move |_| store.experiment.with(|experiment| experiment.prompt_b.is_some()));
    let may = Memo::new(move |_| store.experiment.with(|experiment| experiment.panes.len() > 1));
    // A minimal pair begins as a copy.
    let begin = move |_| store.edit(|experiment| experiment.prompt_b = Some(experiment.prompt.clone()));
    let end = move |_| store.edit(|experiment| experiment.prompt_b = None);
    move || {
        match (may.get(), has.get()) {
        (false, _) => ().into_any(),
        (true, false) => view! {
            <button type="button" class="chip second" data-test="add-prompt" title="Compare two prompts: pane B reads a text of its own" on:click=begin>
                <Glyph icon=Icon::Add/>"Prompt for B"
            </button>
        }
        .into_any(),
        (true, true) => view! {
            <div class="own" role="group" aria-label="Prompt of pane B" data-test="second-prompt">
                <span class="badge-b">"B"</span>
                <Entry pane=1/>
                <button
                    type="button" class="btn icon ghost" data-test="remove-prompt" aria-label="Remove B's own prompt" title="B reads A's prompt again"
                    on:click=end
                ><Glyph icon=Icon::Close/></button>
                <OwnTokens ids/>
            </div>
        }
        .into_any(),
    }
    }
}

/// B's tokens. Those that stand at no place of A's text, or for another token there, are marked.
#[component]
fn OwnTokens(ids: RwSignal<bool>) -> impl IntoView {
    let store = Store::here();
    let chips = move || {
        let aligned = store.aligned.get();
        let tokens = store.outcome.with(|outcome| {
            outcome
                .as_ref()
                .and_then(|outcome| outcome.panes.get(1))
                .map(|pane| pane.tokens.clone())
                .unwrap_or_default()
        });
        let chip = |(at, token): (usize, Token)| {
            let place = aligned.as_ref().and_then(|aligned| aligned.to_a(at));
            let same = aligned.as_ref().zip(place).is_some_and(|(aligned, place)| aligned.is_same(place));
            let (state, words) = match (place, same) {
                (_, true) => ("same", String::new()),
                (Some(place), false) => ("other", format!(", where A has position {place}")),
                (None, _) => ("alone", ", which A has not".into()),
            };
            let shown = if at == 0 && token.special { format::BOS.into() } else { format::plain(&token) };
            let label = format!("{shown}, id {}, position {at} of B{words}", token.id);
            let id = token.id;
            view! {
                <button
                    type="button" class="tok" data-test="token-b" data-position-b=at data-aligned=state data-place=place title=label.clone() aria-label=label
                    disabled=place.is_none() on:click=move |_| if let Some(place) = place { pin(store, place) }
                    on:pointerenter=move |_| if let Some(place) = place { preview(store, place) }
                >{pieces(at, &token)}{move || ids.get().then(|| view! { <sub>{id}</sub> })}</button>
            }
        };
        tokens.into_iter().enumerate().map(chip).collect_view()
    };
    view! { <div class="tokens own live" data-test="tokens-b" on:pointerleave=move |_| store.hover.set(None)>{chips}</div> }
}

/// A token's text with the marks of what cannot be seen.
fn pieces(at: usize, token: &Token) -> impl IntoView + use<> {
    let begins = at == 0 && token.special;
    let pieces = if begins { vec![Piece { text: format::BOS.into(), mark: false }] } else { format::pieces(token) };
    let piece = |Piece { text, mark }| match mark {
        true => view! { <span class="mark">{text}</span> }.into_any(),
        false => text.into_any(),
    };
    pieces.into_iter().map(piece).collect_view()
}

const NO_BOS: &str = "The sequence starts without BOS";

/// Chips of what the model saw; the first is BOS with its switch.
#[component]
fn Tokens(ids: RwSignal<bool>) -> impl IntoView {
    let store = Store::here();
    let shown = Memo::new(move |_| tokens(store));
    let bos = Memo::new(move |_| store.experiment.with(|experiment| experiment.bos));
    // The newest run may have been with the other setting of the switch.
    let has_bos = Memo::new(move |_| shown.with(|tokens| tokens.first().is_some_and(|token| token.special)));
    let toggle = move |_| store.edit(|experiment| experiment.bos = !experiment.bos);
    // A pin beyond the end, from a longer prompt, is kept in the experiment but stands on no chip.
    let pins = Memo::new(move |_| {
        let count = shown.with(Vec::len);
        let within = |at: Option<usize>| at.filter(|at| *at < count);
        store.experiment.with(|experiment| (within(experiment.view.query), within(experiment.view.key)))
    });
    Effect::new(move |before: Option<Option<Cell>>| {
        mark(before.flatten(), false);
        let now = store.hover.get();
        mark(now, true);
        now
    });
    let chips = move || {
        let first = usize::from(has_bos.get());
        let tokens = shown.get();
        if tokens.is_empty() {
            return ghosts(store).into_any();
        }
        tokens
            .into_iter()
            .enumerate()
            .skip(first)
            .map(|(at, token)| view! { <Chip at token ids pins/> })
            .collect_view()
            .into_any()
    };
    let bos_chip = move || match shown.with(|tokens| tokens.first().cloned()).filter(|token| token.special) {
        Some(token) => view! { <Chip at=0 token ids pins/> }.into_any(),
        None => view! { <span class="tok" aria-disabled="true" title=NO_BOS>{format::BOS}</span> }.into_any(),
    };
    view! {
        <div
            class="tokens live" class:many=move || shown.with(|tokens| tokens.len() > MANY) role="group" aria-label="Tokens: click pins the query, a second click the key"
            data-test="tokens" data-count=move || shown.with(Vec::len)
            on:keydown=move_focus on:pointerleave=move |_| store.hover.set(None)
        >
            <span class="bos">
                {bos_chip}
                <button
                    class="switch" role="switch" data-test="bos" aria-label="Start with BOS, the token that begins every sequence"
                    aria-checked=move || bos.get().to_string() on:click=toggle
                ></button>
            </span>
            {chips}
        </div>
    }
}

/// How many tokens the text became and how many fit, and whether the chips show ids.
#[component]
fn Count(ids: RwSignal<bool>) -> impl IntoView {
    let store = Store::here();
    let shown = Memo::new(move |_| tokens(store));
    let has_bos = move || shown.with(|tokens| tokens.first().is_some_and(|token| token.special));
    let count = move || {
        let count = shown.with(Vec::len);
        let context = store.engine.with(|engine| match engine {
            EngineState::Ready { model, .. } => Some(model.context),
            _ => None,
        });
        match (count, context) {
            (0, _) => String::new(),
            (count, context) => {
                let with = if has_bos() { "with" } else { "without" };
                let fit = context.map(|context| format!(", {context} fit")).unwrap_or_default();
                format!("{count} token{} {with} BOS{fit}", if count == 1 { "" } else { "s" })
            }
        }
    };
    view! {
        <div class="count cap">
            <label><input type="checkbox" data-test="show-ids" prop:checked=move || ids.get() on:change:target=move |event| ids.set(event.target().checked())/>"show ids"</label>
            <span class="number" data-test="count">{count}</span>
        </div>
    }
}

/// Before the first run: the words of the prompt as empty chips, so that nothing moves when the tokens arrive.
fn ghosts(store: Store) -> impl IntoView {
    let words = store.experiment.with_untracked(|experiment| {
        experiment.prompt.split_inclusive(' ').map(|word| format!("·{}", word.trim())).take(256).collect::<Vec<_>>()
    });
    words.into_iter().map(|word| view! { <span class="tok ghost" aria-hidden="true">{word}</span> }).collect_view()
}

/// The pinned query and key.
type Pins = (Option<usize>, Option<usize>);

#[component]
fn Chip(at: usize, token: Token, ids: RwSignal<bool>, pins: Memo<Pins>) -> impl IntoView {
    let store = Store::here();
    let id = token.id;
    let (query, key) = (move || pins.get().0 == Some(at), move || pins.get().1 == Some(at));
    let begins = at == 0 && token.special;
    // A name must begin with what is shown.
    let shown = if begins { format!("{}, {}", format::BOS, format::plain(&token)) } else { format::plain(&token) };
    let label = format!("{shown}, id {id}, position {at}");
    let pieces = pieces(at, &token);
    view! {
        <button
            type="button" class="tok" class:query=query class:key=key
            data-test="token" data-position=at data-token-id=id title=label.clone() aria-label=label
            aria-pressed=move || (query() || key()).to_string()
            tabindex=move || if at == pins.get().0.unwrap_or(0) { "0" } else { "-1" }
            on:click=move |_| pin(store, at) on:pointerenter=move |_| preview(store, at)
        >{pieces}{move || ids.get().then(|| view! { <sub>{id}</sub> })}</button>
    }
}

/// Marks the chips of the pair under the pointer. The two chips are found and marked here; five hundred chips that each
/// look at the pointer would cost more than a frame.
fn mark(cell: Option<Cell>, on: bool) {
    let Some(Cell { query, key }) = cell else { return };
    for at in [query, key] {
        let selector = format!(".tokens [data-position='{at}']");
        if let Ok(Some(chip)) = document().query_selector(&selector) {
            let _ = chip.class_list().toggle_with_force("hover", on);
        }
    }
}

/// A click pins the query; the next click on another token pins the key, or the other way round when that token comes
/// later, since a query reads only what lies before it. A click on a pinned pair starts anew.
fn pin(store: Store, at: usize) {
    store.look(|view| {
        (view.query, view.key) = match (view.query, view.key) {
            (Some(query), None) if query == at => (None, None),
            (Some(query), None) => (Some(query.max(at)), Some(query.min(at))),
            _ => (Some(at), None),
        };
    });
}

/// A chip under the pointer reads as the key of the pinned query, else as a query that looks at itself.
fn preview(store: Store, at: usize) {
    let query = store.experiment.with_untracked(|experiment| experiment.view.query).filter(|query| at <= *query);
    store.hover.set(Some(Cell { query: query.unwrap_or(at), key: at }));
}

/// Arrows, Home and End move among the chips.
fn move_focus(event: KeyboardEvent) {
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlElement>().ok());
    let Some(at) =
        target.and_then(|target| target.get_attribute("data-position")).and_then(|at| at.parse::<usize>().ok())
    else {
        return;
    };
    let to = match event.key().as_str() {
        "ArrowLeft" => Some(at.saturating_sub(1)),
        "ArrowRight" => Some(at + 1),
        "Home" => Some(0),
        "End" => None,
        _ => return,
    };
    event.prevent_default();
    let selector =
        to.map_or("[data-test=token]:last-of-type".into(), |to| format!("[data-test=token][data-position='{to}']"));
    let found = document().query_selector(&format!(".tokens {selector}")).ok().flatten();
    if let Some(chip) = found.and_then(|chip| chip.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = chip.focus();
    }
}
