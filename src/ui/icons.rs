//! Small line icons, drawn in the colour of the text around them.

use leptos::prelude::*;

/// What an icon shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// A plus.
    Add,
    /// A cross.
    Close,
    /// An arrow out of a tray.
    Export,
    /// A question mark in a circle.
    Help,
    /// A triangle to the right.
    Play,
    /// Back to the default.
    Reset,
    /// Three linked points.
    Share,
    /// A square.
    Stop,
    /// A half-filled circle.
    ThemeAuto,
    /// A crescent.
    ThemeDark,
    /// A sun.
    ThemeLight,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Icon::Add => "M8 3.5v9M3.5 8h9",
            Icon::Close => "m4 4 8 8M12 4l-8 8",
            Icon::Export => "M8 10V2.5M5.2 5.2 8 2.4l2.8 2.8M3 9.5v4h10v-4",
            Icon::Help => "M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0M6.3 6.4A1.8 1.8 0 1 1 8.6 8c-.5.2-.6.5-.6 1M8 11.2v.1",
            Icon::Play => "M5 3.5v9l7-4.5z",
            Icon::Reset => "M3.2 6.2A5.2 5.2 0 1 1 2.8 9M3 2.8v3.6h3.6",
            Icon::Share => {
                "M6 8.2 10 6M6 9.6l4 2.4M6.3 9a1.9 1.9 0 1 1-3.8 0 1.9 1.9 0 0 1 3.8 0M13.5 5a1.9 1.9 0 1 1-3.8 0 1.9 1.9 0 0 1 3.8 0M13.5 13a1.9 1.9 0 1 1-3.8 0 1.9 1.9 0 0 1 3.8 0"
            }
            Icon::Stop => "M4.5 4.5h7v7h-7z",
            Icon::ThemeAuto => "M13.5 8A5.5 5.5 0 1 1 2.5 8a5.5 5.5 0 0 1 11 0M8 2.5v11M8 5l3.8-1M8 8h5.5M8 11l3.8 1",
            Icon::ThemeDark => "M13 9.6A5.6 5.6 0 0 1 6.4 3 5.6 5.6 0 1 0 13 9.6",
            Icon::ThemeLight => {
                "M10.8 8a2.8 2.8 0 1 1-5.6 0 2.8 2.8 0 0 1 5.6 0M8 1.8v1.4M8 12.8v1.4M1.8 8h1.4M12.8 8h1.4M3.6 3.6l1 1M11.4 11.4l1 1M12.4 3.6l-1 1M4.6 11.4l-1 1"
            }
        }
    }
}

/// An icon; the words beside it or on its button say what it means.
#[component]
pub fn Glyph(
    /// Which one.
    #[prop(into)]
    icon: Signal<Icon>,
) -> impl IntoView {
    view! {
        <svg class="ico" viewBox="0 0 16 16" aria-hidden="true"><path d=move || icon.get().path()/></svg>
    }
}
