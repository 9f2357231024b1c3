//! Light, dark, or as the system says; the choice is remembered on this device.
//!
//! `www/theme.js` applies it before the first paint; this changes it afterwards.

use super::icons::{Glyph, Icon};
use gloo::events::EventListener;
use leptos::prelude::*;

/// What the visitor chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// As the system says.
    #[default]
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

const KEY: &str = "attnscope.theme";

impl Choice {
    /// The word, also in storage.
    pub fn word(self) -> &'static str {
        match self {
            Choice::Auto => "auto",
            Choice::Light => "light",
            Choice::Dark => "dark",
        }
    }

    /// The remembered choice.
    pub fn remembered() -> Self {
        let word = storage().and_then(|storage| storage.get_item(KEY).ok().flatten());
        match word.as_deref() {
            Some("light") => Choice::Light,
            Some("dark") => Choice::Dark,
            _ => Choice::Auto,
        }
    }

    /// Remembers and applies it.
    pub fn apply(self, dark: RwSignal<bool>) {
        // Storage may be closed to us, in a private window or a frame; then the choice lasts as long as the page.
        if let Some(storage) = storage() {
            let _ = storage.set_item(KEY, self.word());
        }
        show(dark, self);
    }
}

/// Whether the page is dark now.
pub fn is_dark() -> bool {
    root().is_some_and(|root| root.get_attribute("data-theme").as_deref() == Some("dark"))
}

/// Follows the system as long as the visitor has chosen nothing.
pub fn follow_system(dark: RwSignal<bool>) {
    follow(dark, Choice::remembered);
}

/// Follows the system as long as that is what `choice` says.
pub fn follow(dark: RwSignal<bool>, choice: impl Fn() -> Choice + 'static) {
    let Ok(Some(query)) = window().match_media(QUERY) else { return };
    let listener = EventListener::new(&query, "change", move |_| show(dark, choice()));
    // For as long as the page lives.
    listener.forget();
}

const QUERY: &str = "(prefers-color-scheme: dark)";

/// Sets the colours.
pub fn show(dark: RwSignal<bool>, choice: Choice) {
    let is_dark = match choice {
        Choice::Auto => window().match_media(QUERY).ok().flatten().is_some_and(|query| query.matches()),
        Choice::Light => false,
        Choice::Dark => true,
    };
    if let Some(root) = root() {
        let _ = root.set_attribute("data-theme", if is_dark { "dark" } else { "light" });
    }
    dark.set(is_dark);
}

fn root() -> Option<web_sys::Element> {
    document().document_element()
}

/// What is kept on this device; `None` where it is closed to us.
pub fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}

/// Goes round the three choices.
#[component]
pub fn ThemeButton(
    /// What the visitor chose.
    choice: RwSignal<Choice>,
    /// Whether the page is dark.
    dark: RwSignal<bool>,
) -> impl IntoView {
    let next = move |_| {
        choice.update(|choice| {
            *choice = match *choice {
                Choice::Auto => Choice::Light,
                Choice::Light => Choice::Dark,
                Choice::Dark => Choice::Auto,
            }
        });
        choice.get_untracked().apply(dark);
    };
    let icon = Signal::derive(move || match choice.get() {
        Choice::Auto => Icon::ThemeAuto,
        Choice::Light => Icon::ThemeLight,
        Choice::Dark => Icon::ThemeDark,
    });
    let label = move || match choice.get() {
        Choice::Auto => "Theme: as the system. Switch to light.",
        Choice::Light => "Theme: light. Switch to dark.",
        Choice::Dark => "Theme: dark. Switch to the system's.",
    };
    view! {
        <button class="btn icon" data-test="theme" data-choice=move || choice.get().word() title=label aria-label=label on:click=next><Glyph icon/></button>
    }
}
