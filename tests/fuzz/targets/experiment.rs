//! An experiment as JSON: one that passes its check survives its link.
#![no_main]

use attnscope::experiment::{Experiment, link};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(experiment) = serde_json::from_slice::<Experiment>(bytes) else { return };
    if experiment.check().is_ok() {
        drop(link::read(&link::write(&experiment)));
    }
});
