//! A safetensors file beside the configuration that its seed was made for.
#![no_main]

use attnscope::model::{Config, Files, load, load::config_to_json};
use libfuzzer_sys::fuzz_target;

const TOKENIZER: &str = r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;

fuzz_target!(|bytes: &[u8]| {
    let config = Config { context: 8, ..Config::llama(3, 4, 1, 2, 1, 4) };
    let files = Files::new()
        .with("config.json", config_to_json(&config))
        .with("tokenizer.json", TOKENIZER)
        .with("model.safetensors", bytes);
    if let Ok(loaded) = load("m", &files) {
        assert_eq!(loaded.weights.check(&loaded.config, "m"), Ok(()));
    }
});
