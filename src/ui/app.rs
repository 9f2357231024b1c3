//! The frame of the page.

use super::stage::Stage;
use super::stage::wall::HeadWall;
use super::store::Store;
use super::tabs::Tabs;
use leptos::prelude::*;

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    Store::provide();
    view! { <Stage/> <HeadWall/> <Tabs/> }
}
