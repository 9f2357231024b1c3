//! Which page the address names.
//!
//! All pages are one bundle under several names: `papers.html`, `bench.html` and `learn.html` are copies of `index.html`, so that every address stands
//! in the same folder and any static host serves it. An address nobody knows is the playground.

use super::theme::{Choice, ThemeButton};
use super::topbar::Mark;
use leptos::prelude::*;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// One prompt, several variants.
    Playground,
    /// The catalogue of papers.
    Papers,
    /// Every variant's quality against its price.
    Bench,
    /// Ten lessons.
    Learn,
}

impl Page {
    /// All pages, in the order of the navigation.
    pub const ALL: [Page; 4] = [Page::Playground, Page::Papers, Page::Bench, Page::Learn];

    /// The page of the address.
    pub fn here() -> Self {
        let path = window().location().pathname().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".html");
        Self::ALL.into_iter().find(|page| page.href() == last).unwrap_or(Page::Playground)
    }

    /// Its address, relative to every page.
    fn href(self) -> &'static str {
        match self {
            Page::Playground => "./",
            Page::Papers => "papers",
            Page::Bench => "bench",
            Page::Learn => "learn",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Page::Playground => "Playground",
            Page::Papers => "Papers",
            Page::Bench => "Bench",
            Page::Learn => "Learn",
        }
    }
}

/// Links to every page.
#[component]
pub fn Nav() -> impl IntoView {
    let here = Page::here();
    let link = move |page: Page| {
        let current = (page == here).then_some("page");
        view! { <a href=page.href() aria-current=current>{page.name()}</a> }
    };
    view! { <nav class="nav" aria-label="Pages">{Page::ALL.map(link).collect_view()}</nav> }
}

/// The bar of pages that run no engine.
#[component]
pub fn PlainBar(
    /// Whether the dark theme is on.
    dark: RwSignal<bool>,
) -> impl IntoView {
    view! {
        <header class="top">
            <a class="brand" href="./"><Mark/>"attnscope"</a>
            <Nav/>
            <div class="tools"><ThemeButton choice=RwSignal::new(Choice::remembered()) dark/></div>
        </header>
    }
}
