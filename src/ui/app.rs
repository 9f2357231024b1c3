//! The frame of the page: bar, notices, prompt, panes, stage, side column, footer.

use super::bench::BenchPage;
use super::difference::Difference;
use super::embed;
use super::learn::{Learn, LessonStrip};
use super::measured::Takeaway;
use super::models::Models;
use super::notices::{Notices, Status};
use super::offline::Offline;
use super::pane::{AddPane, PaneView};
use super::papers::Papers;
use super::prompt::Prompt;
use super::route::Page;
use super::stage::Stage;
use super::stage::scene::{other_pane, pane_letter};
use super::stage::wall::HeadWall;
use super::store::{EngineState, Store};
use super::tabs::Tabs;
use super::theme;
use super::topbar::TopBar;
use leptos::prelude::*;

/// The page of the address.
#[component]
pub fn App() -> impl IntoView {
    match Page::here() {
        Page::Playground => view! { <Playground/> }.into_any(),
        Page::Papers => view! { <Papers/> }.into_any(),
        Page::Bench => view! { <BenchPage/> }.into_any(),
        Page::Learn => view! { <Learn/> }.into_any(),
    }
}

/// One prompt, several variants.
#[component]
fn Playground() -> impl IntoView {
    let store = Store::provide();
    let framed = embed::framed();
    if framed {
        embed::attend(store);
    } else {
        theme::follow_system(store.dark);
    }
    let help = RwSignal::new(false);
    // What a narrow page shows of the columns; it belongs to the device, not to the experiment.
    let shown = RwSignal::new("a");
    let panes = Memo::new(move |_| store.experiment.with(|experiment| experiment.panes.len()));
    let other = Memo::new(move |_| other_pane(panes.get(), store.experiment.with(|experiment| experiment.view.wall)));
    // Four columns would be too narrow for their controls: they stand in two rows.
    let columns = move || match panes.get() {
        1 => "2",
        3 => "2",
        _ => "3",
    };
    let several = move || panes.get() > 2;
    let stale = Memo::new(move |_| store.stale.get() && store.trouble.with(Option::is_none));
    view! {
        {(!framed).then(|| view! {
            <a class="skip" href="#main" on:click=focus_main>"Skip to content"</a>
            <TopBar help/>
        })}
        // A figure has no bar, and the notice about a missing model opens the same dialog.
        {framed.then(|| view! { <Models/> })}
        <Notices/>
        <Takeaway/>
        {(!framed).then(|| view! { <LessonStrip/> })}
        <main id="main" tabindex="-1">
            <h1 class="sr">"attnscope: attention variants compared on one prompt"</h1>
            <Prompt/>
            <div
                class="work" data-test="work" data-show=move || shown.get() data-stale=move || stale.get().to_string()
                aria-busy=move || stale.get().to_string() data-run=move || store.run.get()
            >
                <section class="stage" aria-label="Comparison">
                    <Switch shown other/>
                    <div class="three panes" class:rows=several style=("--columns", columns)>
                        <For each=move || 0..panes.get() key=|pane| *pane let(pane)><PaneView pane/></For>
                        {move || match other.get() {
                            Some(_) => view! { <Difference other/> }.into_any(),
                            None => view! { <Alone/> }.into_any(),
                        }}
                    </div>
                    <Stage/>
                </section>
                <aside class="side" aria-label="Heads and analysis">
                    <HeadWall/>
                    <Tabs/>
                </aside>
            </div>
        </main>
        {if framed { view! { <embed::Foot/> }.into_any() } else { view! { <Foot/> }.into_any() }}
        <Status/>
    }
}

/// In place of the difference, when there is only A.
#[component]
fn Alone() -> impl IntoView {
    view! {
        <section class="pane col-d" aria-label="Difference">
            <header><h2>"Difference"</h2><span class="grow"></span><AddPane/></header>
            <p class="soft">"There is nothing to compare A with."</p>
        </section>
    }
}

/// The link would change the address, which belongs to the experiment.
fn focus_main(event: web_sys::MouseEvent) {
    event.prevent_default();
    let main = document()
        .get_element_by_id("main")
        .and_then(|main| wasm_bindgen::JsCast::dyn_into::<web_sys::HtmlElement>(main).ok());
    if let Some(main) = main {
        let _ = main.focus();
    }
}

/// On a narrow page one column is shown at a time.
#[component]
fn Switch(shown: RwSignal<&'static str>, other: Memo<Option<usize>>) -> impl IntoView {
    let letter = move || other.get().map(pane_letter).unwrap_or_default();
    let button = move |word: &'static str, name: Signal<String>| {
        view! {
            <button type="button" data-test=format!("show-{word}") aria-pressed=move || (shown.get() == word).to_string() on:click=move |_| shown.set(word)>{name}</button>
        }
    };
    view! {
        <div class="show" hidden=move || other.get().is_none()>
            <div class="seg" role="group" aria-label="Column shown">
                {button("a", Signal::stored("A".into()))}
                {button("b", Signal::derive(letter))}
                {button("d", Signal::derive(move || format!("A − {}", letter())))}
            </div>
        </div>
    }
}

#[component]
fn Foot() -> impl IntoView {
    let store = Store::here();
    let facts = move || {
        let seed = store.experiment.with(|experiment| experiment.seed);
        let tokens = store.outcome.with(|outcome| outcome.as_ref().map(|outcome| outcome.tokens.len()));
        let context = store.engine.with(|engine| match engine {
            EngineState::Ready { model, .. } => Some(model.context),
            _ => None,
        });
        let used =
            tokens.zip(context).map(|(tokens, context)| format!(" · {tokens} of {context} tokens")).unwrap_or_default();
        format!("seed {seed}{used} · link v1")
    };
    view! {
        <footer class="foot">
            <span class="grow">"attnscope "{env!("CARGO_PKG_VERSION")}". Every number is computed on this device; nothing is sent anywhere."<Offline/></span>
            <span class="mono">{facts}</span>
        </footer>
    }
}
