//! A `config.json`: what is read passes the checks and is written as something that reads the same.
#![no_main]

use attnscope::model::load::{config_from_json, config_to_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = config_from_json(bytes) {
        assert_eq!(config.check("config.json"), Ok(()));
        assert_eq!(config_from_json(config_to_json(&config).as_bytes()), Ok(config));
    }
});
