//! safetensors files: lengths, headers, sizes, offsets, types and values that do not agree.

use super::{Case, code};
use crate::model::files::folder;
use crate::model::{lively, small_configs};
use attnscope::model::config::Config;
use attnscope::model::load::{Precision, save_safetensors};
use attnscope::model::{Files, load};
use serde_json::{Map, Value, json};

const TARGET: &str = "model.layers.1.self_attn.k_proj.weight";

fn model() -> (Config, Vec<u8>) {
    let (_, config) = small_configs().swap_remove(2);
    let bytes = save_safetensors(&config, &lively(&config, 6), Precision::F16).unwrap();
    (config, bytes)
}

/// Header and data.
fn parts(bytes: &[u8]) -> (Map<String, Value>, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn framed(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

fn case(name: impl Into<String>, code: &'static str, bytes: Vec<u8>) -> Case {
    named(name, code, vec![("model.safetensors".into(), bytes)])
}

/// The model's folder with these files of weights.
fn named(name: impl Into<String>, expected: &'static str, files: Vec<(String, Vec<u8>)>) -> Case {
    let (config, _) = model();
    let bytes = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut all = folder(&config);
    files.into_iter().for_each(|(name, bytes)| all.insert(name, bytes));
    let read = Box::new(move || code(load("m", &all)));
    Case { kind: "safetensors", name: name.into(), code: expected, bytes, read }
}

pub fn good() -> Result<(), String> {
    let (config, bytes) = model();
    code(load("m", &folder(&config).with("model.safetensors", bytes)))
}

pub fn cases() -> Vec<Case> {
    [lengths(), headers(), entries(), values(), shards()].into_iter().flatten().collect()
}

fn lengths() -> Vec<Case> {
    let (_, bytes) = model();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let announced = |length: u64| [&length.to_le_bytes()[..], &bytes[8..]].concat();
    let mut list: Vec<Case> = [0, 1, 7, 8, 9, header - 1, header, header + 1, bytes.len() / 2, bytes.len() - 1]
        .map(|cut| case(format!("cut after {cut} bytes"), "file", bytes[..cut].to_vec()))
        .into();
    list.extend(
        [1, 2, 5000]
            .map(|more| case(format!("{more} bytes behind its end"), "file", [bytes.clone(), vec![0; more]].concat())),
    );
    list.extend(
        [0, 1, 2, 1 << 20]
            .map(|length| case(format!("announces a header of {length} bytes"), "file", announced(length))),
    );
    list.extend(
        [(1 << 20) + 1, 1 << 32, 1 << 62, u64::MAX]
            .map(|length| case(format!("announces a header of {length} bytes"), "limit", announced(length))),
    );
    list
}

fn headers() -> Vec<Case> {
    let (_, bytes) = model();
    let (header, data) = parts(&bytes);
    let text = Value::Object(header.clone()).to_string();
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(5000), close.repeat(5000));
    let twice = text.replacen('{', &format!("{{\"{TARGET}\":{},", header[TARGET]), 1);
    [
        ("an array", "[]".to_string()),
        ("a number", "7".into()),
        ("a word", "\"model\"".into()),
        ("null", "null".into()),
        ("no JSON", "safetensors".into()),
        ("nothing but spaces", " ".repeat(64)),
        ("nested arrays", nested("[", "]")),
        ("nested objects", nested("{\"a\":", "}")),
        ("cut JSON", text[..text.len() - 1].into()),
        ("JSON with more behind it", format!("{text}}}")),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("a tensor twice", twice),
        ("metadata that are no words", text.replacen('{', "{\"__metadata__\":{\"a\":[1]},", 1)),
    ]
    .into_iter()
    .map(|(name, header)| case(format!("header is {name}"), "file", framed(header.as_bytes(), &data)))
    .chain([
        case("header is not UTF-8", "file", framed(&[0xFF; 16], &data)),
        case("header is NUL bytes", "file", framed(&[0; 16], &data)),
        case("no tensors", "tensor", framed(b"{}", b"")),
    ])
    .collect()
}

/// The file with one entry of its header changed.
fn changed(key: &str, value: Value) -> Vec<u8> {
    let (_, bytes) = model();
    let (mut header, data) = parts(&bytes);
    header[TARGET][key] = value;
    framed(Value::Object(header).to_string().as_bytes(), &data)
}

fn entries() -> Vec<Case> {
    let (_, bytes) = model();
    let (header, data) = parts(&bytes);
    let mut list = Vec::new();
    // Of the same size, so that only the type is wrong; then of others, then none at all.
    for (dtype, code) in [("I16", "tensor"), ("U16", "tensor"), ("F32", "file"), ("U8", "file"), ("BOOL", "file")] {
        list.push(case(format!("type {dtype}"), code, changed("dtype", dtype.into())));
    }
    for dtype in [json!("F99"), json!(""), json!("f16"), json!(7), json!(null), json!(["F16"])] {
        list.push(case(format!("type {dtype}"), "file", changed("dtype", dtype)));
    }
    for shape in [
        json!([]),
        json!([0]),
        json!([12, 24, 2]),
        json!([-12, 24]),
        json!([12.5, 24]),
        json!([u64::MAX, 2]),
        json!([1u64 << 32, 1u64 << 32]),
        json!("12x24"),
        json!(null),
        json!(vec![1u8; 3000]),
    ] {
        list.push(case(format!("sizes {:.40}", shape.to_string()), "file", changed("shape", shape)));
    }
    for shape in [json!([24, 12]), json!([288]), json!([1, 288]), json!([12, 24, 1])] {
        list.push(case(format!("sizes {shape}"), "tensor", changed("shape", shape)));
    }
    let [from, to] = [0, 1].map(|side| header[TARGET]["data_offsets"][side].as_u64().unwrap());
    for offsets in [
        json!([to, from]),
        json!([from + 2, to + 2]),
        json!([from - 2, to]),
        json!([from, to + 2]),
        json!([0, to]),
        json!([from, u64::MAX]),
        json!([u64::MAX, 1]),
        json!([-2, to]),
        json!([from]),
        json!([from, to, to]),
        json!(null),
        json!("0-8"),
    ] {
        list.push(case(format!("offsets {offsets}"), "file", changed("data_offsets", offsets)));
    }
    for key in ["dtype", "shape", "data_offsets"] {
        let mut header = header.clone();
        header[TARGET].as_object_mut().unwrap().remove(key);
        let bytes = framed(Value::Object(header).to_string().as_bytes(), &data);
        list.push(case(format!("an entry without {key}"), "file", bytes));
    }
    let renamed = |to: &str| {
        let mut header = header.clone();
        let entry = header.remove(TARGET).unwrap();
        header.insert(to.into(), entry);
        framed(Value::Object(header).to_string().as_bytes(), &data)
    };
    for to in [
        "",
        "model.",
        "model.layers.1.self_attn.k_proj.bias",
        "model.layers.99999999999999999999.self_attn.k_proj.weight",
        "../../model.layers.1.self_attn.k_proj.weight",
        "model.layers.1.self_attn.k_proj.weight\u{0}",
        "\u{202e}thgiew",
    ] {
        list.push(case(format!("a tensor called {to:?}"), "tensor", renamed(to)));
    }
    let long = renamed(&"n".repeat(100_000));
    list.push(case("a tensor with a name of 100,000 bytes", "tensor", long));
    let mut many = header.clone();
    for index in 0..8000 {
        let empty = json!({ "dtype": "F32", "shape": [0], "data_offsets": [data.len(), data.len()] });
        many.insert(format!("x.{index}"), empty);
    }
    list.push(case("8,000 empty tensors more", "tensor", framed(Value::Object(many).to_string().as_bytes(), &data)));
    list
}

fn values() -> Vec<Case> {
    let mut list = Vec::new();
    let (config, _) = model();
    for (precision, size, kinds) in [
        (Precision::F32, 4, [0x7F80_0000u32, 0xFF80_0000, 0x7FC0_0000]),
        (Precision::F16, 2, [0x7C00, 0xFC00, 0x7E00]),
        (Precision::Bf16, 2, [0x7F80, 0xFF80, 0x7FC0]),
    ] {
        let good = save_safetensors(&config, &lively(&config, 6), precision).unwrap();
        for (bits, word) in kinds.into_iter().zip(["inf", "-inf", "NaN"]) {
            let mut bytes = good.clone();
            let last = bytes.len() - size;
            bytes[last..].copy_from_slice(&bits.to_le_bytes()[..size]);
            list.push(case(format!("{word} in {precision:?}"), "tensor", bytes));
        }
    }
    list
}

fn shards() -> Vec<Case> {
    let (config, bytes) = model();
    let index = |map: Value| json!({ "metadata": {}, "weight_map": map }).to_string().into_bytes();
    let many = (0..300).map(|n| (format!("t{n}"), json!(format!("m-{n}.safetensors")))).collect::<Map<_, _>>();
    let only =
        |name: &str, code, index: Vec<u8>| named(name, code, vec![("model.safetensors.index.json".into(), index)]);
    let mut list = vec![
        only("an index that names a missing file", "file", index(json!({ "a": "b.safetensors" }))),
        only("an index that leaves the folder", "file", index(json!({ "a": "../../../etc/passwd" }))),
        only("an index that names itself", "limit", index(json!({ "a": "model.safetensors.index.json" }))),
        only("an index of nothing", "tensor", index(json!({}))),
        only("an index of lists", "file", index(json!({ "a": ["b"] }))),
        only("an index that is an array", "file", b"[]".to_vec()),
        only("an index without a map", "file", b"{}".to_vec()),
        only("an index of 300 files", "limit", index(Value::Object(many))),
        only("an index of 5 MB", "limit", vec![b' '; 5_000_000]),
    ];
    let twice = ["a.safetensors", "b.safetensors"].map(|name| (name.to_string(), bytes.clone()));
    let map = index(json!({ "a": "a.safetensors", "b": "b.safetensors" }));
    let files = twice.into_iter().chain([("model.safetensors.index.json".into(), map)]).collect();
    list.push(named("the same tensors in two files", "tensor", files));
    let crowd = (0..600).fold(folder(&config), |files, n| files.with(format!("{n}.safetensors"), bytes.clone()));
    let all = 600 * bytes.len();
    let read = Box::new(move || code(load("m", &crowd)));
    list.push(Case { kind: "safetensors", name: "600 files".into(), code: "limit", bytes: all, read });
    list.push(Case {
        kind: "safetensors",
        name: "no files".into(),
        code: "file",
        bytes: 0,
        read: Box::new(|| code(load("m", &Files::new()))),
    });
    list
}
