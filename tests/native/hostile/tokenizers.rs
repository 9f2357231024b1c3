//! tokenizer.json, vocab.json and merges.txt: parts that panic, draw or grow, ids beyond the model, broken files.

use super::{Case, code};
use crate::model::files::folder;
use crate::model::{lively, small_configs};
use attnscope::model::load;
use attnscope::model::load::{Precision, save_safetensors};
use attnscope::tokenizer::Tokenizer;
use serde_json::{Value, json};

fn file() -> Value {
    json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null, "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
        "use_regex": true },
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": ["a b"] } })
}

fn case(name: impl Into<String>, expected: &'static str, json: Vec<u8>) -> Case {
    let bytes = json.len();
    let read = Box::new(move || code(Tokenizer::from_hub_json("tokenizer.json", &json)));
    Case { kind: "tokenizer.json", name: name.into(), code: expected, bytes, read }
}

/// The file with the value at a path changed.
fn with(path: &str, value: Value) -> Vec<u8> {
    let mut changed = file();
    *changed.pointer_mut(path).unwrap() = value;
    changed.to_string().into_bytes()
}

fn added(key: &str, value: Value) -> Vec<u8> {
    let mut changed = file();
    changed["model"][key] = value;
    changed.to_string().into_bytes()
}

pub fn good() -> Result<(), String> {
    let padded = with(
        "/padding",
        json!({ "strategy": { "Fixed": 1u64 << 40 }, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "a" }),
    );
    let tokenizer = Tokenizer::from_hub_json("tokenizer.json", &padded).map_err(|error| error.to_string())?;
    // A padding of a terabyte is not carried out.
    assert_eq!(tokenizer.encode("ab", false).map_err(|error| error.to_string())?, [2]);
    Ok(())
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({ "type": "Replace", "pattern": pattern, "content": content })
}

pub fn cases() -> Vec<Case> {
    let text = file().to_string();
    let mut list: Vec<Case> = [
        ("nothing", String::new()),
        ("an array", "[]".into()),
        ("null", "null".into()),
        ("an empty object", "{}".into()),
        ("cut JSON", text[..text.len() - 3].into()),
        ("nested arrays", format!("{{\"normalizer\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("a section twice", text.replacen('{', "{\"decoder\":null,", 1)),
        ("another version", text.replacen("1.0", "2.0", 1)),
    ]
    .into_iter()
    .map(|(name, text)| case(name, "file", text.into_bytes()))
    .collect();
    for (path, value) in [
        ("/model", json!(null)),
        ("/model", json!("BPE")),
        ("/model", json!({ "type": "BPE" })),
        ("/model/vocab", json!([["a", 0]])),
        ("/model/vocab", json!({ "a": -1 })),
        ("/model/vocab", json!({ "a": 1.5 })),
        ("/model/vocab", json!({ "a": 1u64 << 32 })),
        ("/model/vocab", json!({ "a": "0" })),
        ("/model/vocab", json!({})),
        ("/model/merges", json!(["a"])),
        ("/model/merges", json!(["a c"])),
        ("/model/merges", json!(["b a"])),
        ("/model/merges", json!([["a", "b", "a"]])),
        ("/model/merges", json!(7)),
        ("/added_tokens", json!([{ "id": -1, "content": "x" }])),
        ("/added_tokens", json!([{ "content": "x" }])),
        ("/added_tokens", json!("x")),
    ] {
        list.push(case(format!("{path} is {value}"), "file", with(path, value)));
    }
    list.extend(parts());
    for (key, value) in [
        ("dropout", json!(0.1)),
        ("dropout", json!("often")),
        ("continuing_subword_prefix", json!("##")),
        ("continuing_subword_prefix", json!("a prefix that is longer than every half of a merge")),
        ("type", json!("Unigram")),
        ("type", json!("WordPiece")),
        ("type", json!("WordLevel")),
        ("type", json!(3)),
    ] {
        list.push(case(format!("model.{key} {value}"), "unsupported", added(key, value)));
    }
    list.extend(beside_a_model());
    list.extend(gpt2_files());
    list
}

fn parts() -> Vec<Case> {
    let mut list = Vec::new();
    for (section, kind) in [
        ("normalizer", "Precompiled"),
        ("normalizer", "BertNormalizer"),
        ("normalizer", "Nmt"),
        ("normalizer", "ByteLevel"),
        ("normalizer", "Exploding"),
        ("pre_tokenizer", "BertPreTokenizer"),
        ("pre_tokenizer", "UnicodeScripts"),
        ("pre_tokenizer", "Sequences"),
        ("decoder", "WordPiece"),
        ("decoder", "CTC"),
        ("decoder", "BPEDecoder"),
    ] {
        let part = json!({ "type": kind, "precompiled_charsmap": "AAAA" });
        list.push(case(format!("{section} {kind}"), "unsupported", with(&format!("/{section}"), part)));
    }
    for part in [json!("NFC"), json!(1), json!([]), json!({}), json!({ "type": 5 })] {
        list.push(case(format!("normalizer is {part}"), "unsupported", with("/normalizer", part)));
    }
    let strip = json!({ "type": "Strip", "content": " ", "start": 1, "stop": 1 });
    list.push(case("a decoder that strips ends", "unsupported", with("/decoder", strip)));
    let sequence = |parts: Vec<Value>| json!({ "type": "Sequence", "normalizers": parts });
    let doubling = sequence(vec![replace(json!({ "String": "a" }), "aa"); 40]);
    list.push(case("replacements that double 40 times", "limit", with("/normalizer", doubling)));
    let long = replace(json!({ "String": "" }), &"x".repeat(100_000));
    list.push(case("a replacement of 100,000 bytes", "limit", with("/normalizer", long.clone())));
    list.push(case("a decoder's replacement of 100,000 bytes", "limit", with("/decoder", long)));
    let prepend = json!({ "type": "Prepend", "prepend": "x".repeat(100_000) });
    list.push(case("100,000 bytes in front", "limit", with("/normalizer", prepend)));
    list.push(case("100 parts", "limit", with("/normalizer", sequence(vec![json!({ "type": "NFC" }); 100]))));
    let nested = (0..30).fold(json!({ "type": "Exploding" }), |part, _| sequence(vec![part]));
    list.push(case("a strange part far inside", "unsupported", with("/normalizer", nested)));
    let split = |regex: &str| json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
    for regex in [r"(a+)+$", r"((a|b)*c)*\1", r"(?:\s*x)+(?!y)", "([a-z]+ ){1,1000}"] {
        list.push(case(format!("the pattern {regex}"), "unsupported", with("/pre_tokenizer", split(regex))));
    }
    for regex in ["(", "[", "*", "(?<name", r"\p{Nonsense}", "a{99999999999}"] {
        list.push(case(format!("the pattern {regex}"), "file", with("/pre_tokenizer", split(regex))));
    }
    let long = split(&"a".repeat(2000));
    list.push(case("a pattern of 2,000 bytes", "limit", with("/pre_tokenizer", long)));
    list
}

/// Good tokenizers that do not fit the model beside them.
fn beside_a_model() -> Vec<Case> {
    let (_, config) = small_configs().swap_remove(2);
    let weights = save_safetensors(&config, &lively(&config, 6), Precision::F16).unwrap();
    let special = |id: u32| {
        json!([{ "id": id, "content": "<x>", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true }])
    };
    let many: Value = (0..70_000).map(|id| special(id)[0].clone()).collect();
    let model = |vocab: Value| json!({ "type": "BPE", "vocab": vocab, "merges": [] });
    [
        ("an id beyond the model", "tokenizer", with("/model", model(json!({ "a": 0, "b": 29 })))),
        ("the largest id", "tokenizer", with("/model", model(json!({ "a": u32::MAX })))),
        ("an added id beyond the model", "tokenizer", with("/added_tokens", special(4_000_000_000))),
        ("70,000 added tokens", "limit", with("/added_tokens", many)),
        ("more than 32 MB", "limit", vec![b' '; (32 << 20) + 1]),
    ]
    .into_iter()
    .map(|(name, expected, json)| {
        let bytes = json.len();
        let files = folder(&config).with("model.safetensors", weights.clone()).with("tokenizer.json", json);
        let read = Box::new(move || code(load("m", &files)));
        Case { kind: "tokenizer.json", name: name.into(), code: expected, bytes, read }
    })
    .collect()
}

fn gpt2_files() -> Vec<Case> {
    let vocab = r#"{"a":0,"b":1,"ab":2}"#;
    [
        ("no vocabulary", "", "a b"),
        ("a list as vocabulary", "[]", "a b"),
        ("negative ids", r#"{"a":-1}"#, ""),
        ("ids beyond 32 bits", r#"{"a":4294967296}"#, ""),
        ("nested ids", r#"{"a":{"b":1}}"#, ""),
        ("one piece in a line", vocab, "ab"),
        ("three pieces in a line", vocab, "a b a"),
        ("unknown pieces", vocab, "x y"),
        ("unknown join", vocab, "b a"),
        ("an empty piece", vocab, " b"),
        ("a cut line", vocab, "a b\na"),
    ]
    .into_iter()
    .map(|(name, vocab, merges)| Case {
        kind: "vocab.json and merges.txt",
        name: name.into(),
        code: "file",
        bytes: vocab.len() + merges.len(),
        read: Box::new(move || code(Tokenizer::from_gpt2_files(vocab.as_bytes(), merges.as_bytes()))),
    })
    .chain([Case {
        kind: "vocab.json and merges.txt",
        name: "merges that are not UTF-8".into(),
        code: "file",
        bytes: 2,
        read: Box::new(|| code(Tokenizer::from_gpt2_files(b"{}", &[0xFF, 0xFE]))),
    }])
    .collect()
}
