//! A message of a page that holds a figure.
#![no_main]

use attnscope::api::protocol::{self, ToFigure};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Some(message)) = protocol::read(text)
        && let ToFigure::State(wish) = message.body
    {
        drop(wish.opened());
    }
});
