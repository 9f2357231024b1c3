//! What opens over the page: dialogs in the middle, and sheets under a button.

use super::icons::{Glyph, Icon};
use gloo::events::EventListener;
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{KeyboardEvent, Node};

/// A modal dialog with a title. Escape, its button and a click beside it close it; the browser gives the focus back.
#[component]
pub fn Dialog(
    /// Whether it is open.
    open: RwSignal<bool>,
    /// Its heading.
    title: &'static str,
    /// A stable name for tests.
    test: &'static str,
    children: Children,
) -> impl IntoView {
    let node = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = node.get() else { return };
        match (open.get(), dialog.open()) {
            // It fails only for a dialog that is open or not in the page, and neither is the case here.
            (true, false) => drop(dialog.show_modal()),
            (false, true) => dialog.close(),
            _ => {}
        }
    });
    let beside = move |event: web_sys::MouseEvent| {
        let target = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlDialogElement>().ok());
        if target.is_some() {
            open.set(false);
        }
    };
    view! {
        <dialog class="dialog" node_ref=node aria-label=title data-test=test on:close=move |_| open.set(false) on:click=beside>
            <header>
                <h2>{title}</h2>
                <button class="btn icon ghost" aria-label="Close" on:click=move |_| open.set(false)><Glyph icon=Icon::Close/></button>
            </header>
            <div class="body">{children()}</div>
        </dialog>
    }
}

/// A button with a sheet under it. Escape, a click elsewhere and moving the focus away close the sheet.
#[component]
pub fn Sheet(
    /// Whether it is open.
    open: RwSignal<bool>,
    /// Classes of the button.
    #[prop(into)]
    class: Signal<String>,
    /// The button's name when its content is not enough.
    #[prop(into)]
    label: Signal<String>,
    /// A stable name for tests.
    #[prop(into)]
    test: String,
    /// What stands on the button.
    #[prop(into)]
    button: ViewFn,
    /// What stands on the sheet; made afresh each time it opens.
    children: ChildrenFn,
) -> impl IntoView {
    let place = NodeRef::<html::Span>::new();
    let sheet = NodeRef::<html::Div>::new();
    let trigger = NodeRef::<html::Button>::new();
    let inside = move |node: Option<web_sys::EventTarget>| {
        let node = node.and_then(|target| target.dyn_into::<Node>().ok());
        node.is_some_and(|node| place.get_untracked().is_some_and(|place| place.contains(Some(&node))))
    };
    Effect::new(move |_| {
        if let (true, Some(sheet)) = (open.get(), sheet.get()) {
            keep_on_screen(&sheet);
            let _ = sheet.focus();
        }
    });
    let elsewhere = EventListener::new(&document(), "pointerdown", move |event| {
        if open.get_untracked() && !inside(event.target()) {
            open.set(false);
        }
    });
    keep(elsewhere);
    let key = move |event: KeyboardEvent| {
        if event.key() == "Escape" && open.get_untracked() {
            event.stop_propagation();
            open.set(false);
            if let Some(trigger) = trigger.get_untracked() {
                let _ = trigger.focus();
            }
        }
    };
    let leave = move |event: web_sys::FocusEvent| {
        // Without a related target the whole window lost the focus, or nothing focusable was clicked.
        if event.related_target().is_some() && !inside(event.related_target()) {
            open.set(false);
        }
    };
    view! {
        <span class="pop" node_ref=place on:keydown=key on:focusout=leave>
            <button
                type="button" node_ref=trigger class=move || class.get() data-test=test aria-haspopup="dialog"
                aria-expanded=move || open.get().to_string() aria-label=move || Some(label.get()).filter(|label| !label.is_empty())
                on:click=move |_| open.update(|open| *open = !*open)
            >{button.run()}</button>
            {move || open.get().then(|| view! { <div class="sheet" role="dialog" tabindex="-1" node_ref=sheet>{children()}</div> })}
        </span>
    }
}

/// Shifts a sheet to the left when it would stick out of the window.
fn keep_on_screen(sheet: &web_sys::HtmlElement) {
    let width = document().document_element().map_or(0, |root| root.client_width());
    let over = sheet.get_bounding_client_rect().right() + 12.0 - f64::from(width);
    if over > 0.0 {
        let _ = web_sys::HtmlElement::style(sheet).set_property("translate", &format!("-{over}px 0"));
    }
}

/// Keeps a listener as long as the component stands: what is stored goes with its owner.
pub fn keep<T: 'static>(kept: T) {
    StoredValue::new_local(kept);
}
