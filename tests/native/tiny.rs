//! A model small enough to make in a test: random weights, one token per letter. Native and browser tests share it.

use attnscope::model::load::{Precision, config_to_json, save_safetensors};
use attnscope::model::{Config, Files, Weights};

pub const LAYERS: usize = 2;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const WIDTH: usize = 16;
pub const HEAD_WIDTH: usize = 4;
pub const FFN: usize = 24;
pub const BOS: u32 = 0;

/// Printable ASCII, one token per letter, behind the token that begins a text.
fn tokenizer_json() -> (Vec<u8>, usize) {
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']);
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        letters.enumerate().map(|(index, letter)| (letter.to_string(), (index + 1).into())).collect();
    let count = vocabulary.len() + 1;
    let level =
        serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let mut vocabulary = vocabulary;
    vocabulary.insert("<|endoftext|>".into(), BOS.into());
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{ "id": BOS, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
                           "normalized": false, "special": true }],
        "pre_tokenizer": level, "decoder": level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [] },
    });
    (json.to_string().into_bytes(), count)
}

/// A model of a hundred tokens whose attention is far from uniform.
pub fn model() -> (Config, Weights, Files) {
    let (tokenizer, count) = tokenizer_json();
    let mut config = Config::llama(count, WIDTH, LAYERS, HEADS, KV_HEADS, FFN);
    config.context = 320;
    config.bos = Some(BOS);
    let mut weights = Weights::init(&config, 5);
    for (_, array) in weights.0.iter_mut().filter(|(_, array)| array.shape.len() == 2) {
        array.data.iter_mut().for_each(|value| *value *= 12.0);
    }
    let file = save_safetensors(&config, &weights, Precision::F32).unwrap();
    let files = Files::new()
        .with("config.json", config_to_json(&config))
        .with("tokenizer.json", tokenizer)
        .with("model.safetensors", file);
    (config, weights, files)
}
