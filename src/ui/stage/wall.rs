//! The head wall.

use leptos::prelude::*;

/// Every layer and head.
#[component]
pub fn HeadWall() -> impl IntoView {}
