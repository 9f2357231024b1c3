//! The page: takes the place of the skeleton in `www/index.html`.

use attnscope::ui::app::App;
use leptos::mount::mount_to;
use leptos::prelude::document;
use wasm_bindgen::JsCast;

fn main() {
    console_error_panic_hook::set_once();
    let place = document().get_element_by_id("app").and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    let Some(place) = place else {
        web_sys::console::error_1(&"index.html lacks the element #app, into which the page is put".into());
        return;
    };
    place.set_inner_html("");
    // The page lives as long as its document.
    mount_to(place, App).forget();
}
