//! The side tabs: what is measured on all heads at once, and where the mechanisms come from.
//!
//! The open tab is part of the link. Only the open one exists, so that a closed one costs nothing.

pub mod asked;
pub mod chart;
mod epsilon;
pub mod heat;
mod interventions;
mod lens;
mod paper;
mod roles;
mod sinks;
mod studies;

pub use roles::roles_in_words;

use crate::experiment::Tab;
use crate::ui::store::Store;
use leptos::prelude::*;
use web_sys::KeyboardEvent;

/// Sinks, head roles, lens, interventions, studies, paper.
#[component]
pub fn Tabs() -> impl IntoView {
    let store = Store::here();
    let open = Memo::new(move |_| store.experiment.with(|experiment| experiment.view.tab));
    let choose = move |tab: Tab| store.look(|view| view.tab = tab);
    let press = move |event: KeyboardEvent| {
        let at = Tab::ALL.iter().position(|tab| *tab == open.get_untracked()).unwrap_or(0);
        let last = Tab::ALL.len() - 1;
        let to = match event.key().as_str() {
            "ArrowRight" => (at + 1) % Tab::ALL.len(),
            "ArrowLeft" => (at + last) % Tab::ALL.len(),
            "Home" => 0,
            "End" => last,
            _ => return,
        };
        event.prevent_default();
        choose(Tab::ALL[to]);
        let button = document().get_element_by_id(&tab_id(Tab::ALL[to]));
        if let Some(button) =
            button.and_then(|button| wasm_bindgen::JsCast::dyn_into::<web_sys::HtmlElement>(button).ok())
        {
            // A button that is on screen takes the focus.
            let _ = button.focus();
        }
    };
    let tab = move |tab: Tab| {
        view! {
            <button
                type="button"
                role="tab"
                id=tab_id(tab)
                aria-controls="panel"
                data-test="tab"
                data-tab=tab.word()
                title=tab.help()
                aria-selected=move || (open.get() == tab).to_string()
                tabindex=move || if open.get() == tab { "0" } else { "-1" }
                on:click=move |_| choose(tab)
            >
                {tab_word(tab)}
            </button>
        }
    };
    view! {
        <section class="analysis">
            <div class="tabs" role="tablist" aria-label="Analysis" on:keydown=press>
                {Tab::ALL.iter().map(|each| tab(*each)).collect_view()}
            </div>
            <div
                class="panel"
                id="panel"
                role="tabpanel"
                tabindex="0"
                aria-labelledby=move || tab_id(open.get())
                data-test="panel"
                data-tab=move || open.get().word()
            >
                {move || match open.get() {
                    Tab::Sinks => view! { <sinks::SinksTab/> }.into_any(),
                    Tab::Roles => view! { <roles::RolesTab/> }.into_any(),
                    Tab::Lens => view! { <lens::LensTab/> }.into_any(),
                    Tab::Interventions => view! { <interventions::InterventionsTab/> }.into_any(),
                    Tab::Studies => view! { <studies::StudiesTab/> }.into_any(),
                    Tab::Paper => view! { <paper::PaperTab/> }.into_any(),
                }}
            </div>
        </section>
    }
}

fn tab_id(tab: Tab) -> String {
    format!("tab-{}", tab.word())
}

fn tab_word(tab: Tab) -> &'static str {
    match tab {
        Tab::Sinks => "Sinks",
        Tab::Roles => "Head roles",
        Tab::Lens => "Lens",
        Tab::Interventions => "Interventions",
        Tab::Studies => "Studies",
        Tab::Paper => "Paper",
    }
}

/// The pane that the head wall shows; the tabs that look at one pane look at this one.
fn wall_pane(store: Store) -> Memo<usize> {
    Memo::new(move |_| {
        store.experiment.with(|experiment| experiment.view.wall.min(experiment.panes.len().saturating_sub(1)))
    })
}
