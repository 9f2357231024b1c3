//! A `tokenizer.json`: whatever is read encodes and decodes without a panic, within its ids.
#![no_main]

use attnscope::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_hub_json("tokenizer.json", bytes) else { return };
    let ids = tokenizer.encode("ab cb  <x> \u{0}é\u{202e}👩‍👩‍👧", true).unwrap_or_default();
    assert!(ids.iter().all(|id| *id <= tokenizer.largest_id()));
    drop(tokenizer.decode(&ids));
    (0..8).for_each(|id| drop(tokenizer.token_text(id)));
});
