//! The instruments under the panes.

pub mod wall;

use leptos::prelude::*;

/// Matrices, sentence and profiles.
#[component]
pub fn Stage() -> impl IntoView {}
