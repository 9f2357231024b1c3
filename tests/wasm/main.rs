//! In the browser, inside a worker as the engine is: the same numbers as natively, on the processor and on WebGPU.

#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod engine;
mod plain;
mod structure;
#[allow(dead_code, reason = "the browser needs the model, not its sizes")]
#[path = "../native/tiny.rs"]
mod tiny;

use attnscope::catalogue::Role;
use attnscope::mechanism::{ALL, Mechanism};
use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// The first mechanism of each role: what one of a role can do here, all can.
fn one_per_role() -> Vec<&'static Mechanism> {
    let mut roles: Vec<Role> = ALL.iter().map(|mechanism| mechanism.plug.role).collect();
    roles.sort_unstable();
    roles.dedup();
    roles.iter().filter_map(|role| ALL.iter().copied().find(|mechanism| mechanism.plug.role == *role)).collect()
}
