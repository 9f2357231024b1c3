//! A link: what is read is written as something that reads the same.
#![no_main]

use attnscope::experiment::link;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(opened) = link::read(text) {
        let again = link::read(&link::write(&opened.experiment));
        assert_eq!(again.map(|again| again.experiment.prompt), Ok(opened.experiment.prompt));
    }
});
