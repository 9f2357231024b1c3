//! What the browser knows about its GPU and wgpu does not pass on: why there is none, and what it is called.

use crate::engine::Choice;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// What the browser says.
pub struct Browser {
    /// The adapter's vendor, architecture and description, where it tells.
    pub adapter: Option<String>,
    /// Why there is no adapter.
    pub missing: Option<String>,
}

/// Asks for an adapter and looks what it is, in the order in which things fail: an insecure page is not offered the API at
/// all, a browser without the API has no adapters.
pub async fn look(choice: Choice) -> Browser {
    let missing = |why: &str| Browser { adapter: None, missing: Some(why.into()) };
    if choice == Choice::Cpu {
        return Browser { adapter: None, missing: None };
    }
    let scope = js_sys::global();
    let get = |of: &JsValue, key: &str| Reflect::get(of, &key.into()).unwrap_or_default();
    let gpu = get(&get(&scope, "navigator"), "gpu");
    if gpu.is_falsy() {
        return missing(if get(&scope, "isSecureContext").is_falsy() {
            "browsers offer WebGPU to secure pages only; open this page over https or from localhost"
        } else {
            "this browser has no WebGPU or has it switched off; a current Chrome, Edge, Safari or Firefox has it"
        });
    }
    // The engine asks for the same one.
    let wish = Object::new();
    let _ = Reflect::set(&wish, &"powerPreference".into(), &"high-performance".into());
    let asked = get(&gpu, "requestAdapter").dyn_into::<Function>().and_then(|ask| ask.call1(&gpu, &wish));
    let adapter = match asked {
        Ok(promise) => JsFuture::from(Promise::resolve(&promise)).await.unwrap_or_default(),
        Err(_) => JsValue::UNDEFINED,
    };
    if adapter.is_falsy() {
        return missing(
            "this browser has WebGPU but found no graphics adapter it accepts; update the graphics driver, or allow \
             hardware acceleration in the browser's settings",
        );
    }
    let info = get(&adapter, "info");
    let words = ["vendor", "architecture", "description"].map(|key| get(&info, key).as_string().unwrap_or_default());
    let mut names: Vec<String> = Vec::new();
    for word in words.into_iter().filter(|word| !word.is_empty()) {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&word)) {
            names.push(word);
        }
    }
    Browser { adapter: (!names.is_empty()).then(|| names.join(" ")), missing: None }
}
