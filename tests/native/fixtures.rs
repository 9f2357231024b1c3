//! Reference data that nobody here computed: the folder `shared` beside the checkout.
//!
//! `ATTNSCOPE_SHARED` names another place, or `none` where there is no such folder; tests then say what they leave out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "test support")]

use std::path::{Path, PathBuf};

/// A file or folder under `shared/fixtures`, or `None` where the tests were told that there is none.
pub fn fixture(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("ATTNSCOPE_SHARED") {
        Some(none) if none == "none" => {
            eprintln!("left out: {name}, since ATTNSCOPE_SHARED=none");
            return None;
        }
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let path = root.join("fixtures").join(name);
    assert!(
        path.exists(),
        "{} is missing; set ATTNSCOPE_SHARED to the folder that holds fixtures/, or to none to leave these tests out",
        path.display()
    );
    Some(path)
}

/// A JSON file under `shared/fixtures`.
pub fn json(name: &str) -> Option<serde_json::Value> {
    let text = std::fs::read(fixture(name)?).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

/// All numbers of a nested JSON list, in order.
pub fn numbers(value: &serde_json::Value) -> Vec<f32> {
    match value {
        serde_json::Value::Array(list) => list.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap_or_else(|| panic!("{number} is no number")) as f32],
    }
}

/// Token ids of a JSON list.
pub fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// The largest difference, or infinity where a value is not finite or the lengths differ.
pub fn deviation(came: &[f32], reference: &[f32]) -> f32 {
    if came.len() != reference.len() || came.iter().any(|value| !value.is_finite()) {
        return f32::INFINITY;
    }
    came.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
