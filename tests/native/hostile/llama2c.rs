//! llama2.c: sizes in the header that do not fit the file, and pieces that do not fit the model.

use super::{Case, code};
use crate::model::files::llama2c;
use attnscope::model::{Files, load};

fn case(name: impl Into<String>, expected: &'static str, model: Vec<u8>, pieces: Vec<u8>) -> Case {
    let bytes = model.len() + pieces.len();
    let files = Files::new().with("m.bin", model).with("tokenizer.bin", pieces);
    let read = Box::new(move || code(load("m", &files)));
    Case { kind: "llama2.c", name: name.into(), code: expected, bytes, read }
}

pub fn good() -> Result<(), String> {
    let (model, pieces) = llama2c();
    code(load("m", &Files::new().with("m.bin", model).with("tokenizer.bin", pieces)))
}

pub fn cases() -> Vec<Case> {
    let (model, pieces) = llama2c();
    let word = |bytes: &[u8], at: usize, value: i32| {
        let mut changed = bytes.to_vec();
        changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
        changed
    };
    let mut list = Vec::new();
    let names = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"];
    for (index, name) in names.into_iter().enumerate() {
        for value in [0, -1, i32::MIN, i32::MAX, 1 << 20] {
            let expected = match (name, value) {
                // A negative vocabulary means a head of its own.
                ("vocab_size", _) if value != 1 << 20 => "unsupported",
                ("dim" | "n_heads", i32::MAX) => "file",
                (_, i32::MAX) => "unsupported",
                ("hidden_dim" | "n_layers" | "n_kv_heads" | "dim", v) if v > 0 => "unsupported",
                _ => "file",
            };
            let changed = word(&model, 4 * index, value);
            list.push(case(format!("{name} {value}"), expected, changed, pieces.clone()));
        }
    }
    list.push(case("heads that do not divide dim", "file", word(&model, 12, 3), pieces.clone()));
    list.push(case("heads that kv heads do not divide", "unsupported", word(&model, 16, 3), pieces.clone()));
    for cut in [0, 1, 27, 28, 29, 5000, model.len() - 4, model.len() - 1] {
        list.push(case(format!("cut after {cut} bytes"), "file", model[..cut].to_vec(), pieces.clone()));
    }
    for more in [1, 4, 4096] {
        list.push(case(format!("{more} bytes more"), "file", [model.clone(), vec![0; more]].concat(), pieces.clone()));
    }
    for (bits, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let changed = word(&model, 4000, bits.to_bits().cast_signed());
        list.push(case(format!("{name} among the weights"), "tensor", changed, pieces.clone()));
    }
    for cut in [0, 3, 4, 9, 12, pieces.len() - 1] {
        list.push(case(format!("pieces cut after {cut} bytes"), "file", model.clone(), pieces[..cut].to_vec()));
    }
    for length in [-1, i32::MIN, i32::MAX, 1025, 5000] {
        list.push(case(format!("a piece of {length} bytes"), "file", model.clone(), word(&pieces, 8, length)));
    }
    for score in [f32::NAN, f32::INFINITY] {
        let changed = word(&pieces, 4, score.to_bits().cast_signed());
        list.push(case(format!("a score of {score}"), "file", model.clone(), changed));
    }
    list.push(case("bytes behind the pieces", "file", model.clone(), [pieces, vec![0]].concat()));
    let alone = Files::new().with("m.bin", model);
    let read = Box::new(move || code(load("m", &alone)));
    list.push(Case { kind: "llama2.c", name: "no pieces".into(), code: "file", bytes: 0, read });
    list
}
