//! A llama2.c model and its pieces, one behind the other; the first four bytes say where the second begins.
#![no_main]

use attnscope::model::{Files, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let (model, pieces) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
    if let Ok(loaded) = load("m", &Files::new().with("m.bin", model).with("tokenizer.bin", pieces)) {
        let ids = loaded.tokenizer.encode("ab cb é", true).unwrap_or_default();
        assert!(ids.iter().all(|id| (*id as usize) < loaded.config.vocabulary));
        drop(loaded.tokenizer.decode(&ids));
    }
});
