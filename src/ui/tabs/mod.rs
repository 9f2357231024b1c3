//! The side tabs.

use leptos::prelude::*;

/// Sinks, head roles, paper.
#[component]
pub fn Tabs() -> impl IntoView {}
