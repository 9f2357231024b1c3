//! Weight files: round trips, shards, and every way in which a file can be damaged.

use super::{lively, small_configs};
use attnscope::hook::Array;
use attnscope::model::config::{Config, Family, Pairing, Positions};
use attnscope::model::load::{Precision, config_to_json, save_safetensors};
use attnscope::model::{Files, Weights, load};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;

/// The models that Hugging Face's format can hold.
fn storable() -> impl Iterator<Item = (&'static str, Config)> {
    let adjacent = |config: &Config| matches!(config.positions, Positions::Rotary { pairing: Pairing::Adjacent, .. });
    small_configs().into_iter().map(move |(name, config)| match adjacent(&config) {
        true => (name, Config { positions: Positions::Rotary { theta: 10.0, pairing: Pairing::Half }, ..config }),
        false => (name, config),
    })
}

/// A folder without weights; its tokenizer is none of the model's.
pub fn folder(config: &Config) -> Files {
    Files::new().with("config.json", config_to_json(config)).with("tokenizer.json", TOKENIZER)
}

fn rounded(weights: &Weights, precision: Precision) -> Weights {
    let round = |value: &f32| match precision {
        Precision::F32 => *value,
        Precision::F16 => half::f16::from_f32(*value).to_f32(),
        Precision::Bf16 => half::bf16::from_f32(*value).to_f32(),
    };
    let array = |array: &Array| Array { shape: array.shape.clone(), data: array.data.iter().map(round).collect() };
    Weights(weights.0.iter().map(|(name, value)| (name.clone(), array(value))).collect())
}

#[test]
fn weights_survive_every_precision() {
    for (name, config) in storable() {
        let weights = lively(&config, 6);
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            let bytes = save_safetensors(&config, &weights, precision).unwrap();
            let loaded = load("m", &folder(&config).with("model.safetensors", bytes.clone())).unwrap();
            assert_eq!(loaded.config, config, "{name}");
            assert_eq!(loaded.weights, rounded(&weights, precision), "{name} {precision:?}");
            assert_eq!((loaded.facts.file_bytes, loaded.facts.parameters), (bytes.len(), config.parameters()));
        }
    }
}

/// The tensors of a file by name, to be changed and written again.
type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn tensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut all: Tensors =
        file.iter().map(|(n, v)| (n.into(), v.dtype(), v.shape().to_vec(), v.data().to_vec())).collect();
    all.sort();
    all
}

fn write(tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views =
        tensors.iter().map(|(n, dtype, shape, data)| (n, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn shards_are_read_as_one() {
    for (name, config) in storable() {
        let weights = lively(&config, 6);
        let all = tensors(&save_safetensors(&config, &weights, Precision::F32).unwrap());
        let (first, second) = all.split_at(all.len() / 2);
        let map = |part: &[_], file: &str| {
            let entry = |(name, ..): &(String, Dtype, Vec<usize>, Vec<u8>)| (name.clone(), serde_json::json!(file));
            part.iter().map(entry).collect::<serde_json::Map<_, _>>()
        };
        let mut weight_map = map(first, "model-1.safetensors");
        weight_map.extend(map(second, "model-2.safetensors"));
        let index = serde_json::json!({ "metadata": {}, "weight_map": weight_map }).to_string();
        let files =
            folder(&config).with("model.safetensors.index.json", index).with("model-1.safetensors", write(first));
        let error = load("m", &files).unwrap_err().to_string();
        assert!(error.starts_with("model-2.safetensors: is missing"), "{error}");
        let loaded = load("m", &files.with("model-2.safetensors", write(second))).unwrap();
        assert_eq!(loaded.weights, weights, "{name}");
    }
}

#[test]
fn prefixes_masks_and_tied_heads_of_other_writers() {
    for (name, config) in storable() {
        let weights = lively(&config, 6);
        let mut all = tensors(&save_safetensors(&config, &weights, Precision::F32).unwrap());
        let [prefix, buffer, head] = match config.family {
            Family::Gpt2 => ["transformer.", "h.0.attn.bias", "lm_head.weight"],
            Family::Llama => ["model.", "layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight"],
            Family::NeoX => ["gpt_neox.", "layers.0.attention.bias", "embed_out.weight"],
        };
        for (name, ..) in &mut all {
            *name = name.strip_prefix(prefix).unwrap_or(name).into();
        }
        all.push((buffer.into(), Dtype::U8, vec![1], vec![1]));
        if config.tied {
            let (_, dtype, shape, data) =
                all.iter().find(|(_, _, shape, _)| shape[0] == config.vocabulary).unwrap().clone();
            all.push((head.into(), dtype, shape, data));
        }
        let loaded = load("m", &folder(&config).with("model.safetensors", write(&all))).unwrap();
        assert_eq!(loaded.weights, weights, "{name}");
        if config.tied {
            all.last_mut().unwrap().3[0] ^= 1;
            let error = load("m", &folder(&config).with("model.safetensors", write(&all))).unwrap_err().to_string();
            assert!(error.contains(&format!("{head} differs from the embedding")), "{error}");
        }
    }
}

fn llama() -> (Config, Vec<u8>) {
    let (_, config) = small_configs().swap_remove(2);
    let bytes = save_safetensors(&config, &lively(&config, 6), Precision::F16).unwrap();
    (config, bytes)
}

#[test]
fn wrong_tensors_are_named() {
    let (config, bytes) = llama();
    let good = tensors(&bytes);
    let target = "model.layers.1.self_attn.k_proj.weight";
    let at = good.iter().position(|(name, ..)| name == target).unwrap();
    let refused = |all: &Tensors, said: &str| {
        let error = load("m", &folder(&config).with("model.safetensors", write(all))).unwrap_err();
        assert_eq!(error.code(), "tensor");
        assert!(error.to_string().contains(said), "{error} lacks {said}");
    };
    let mut all = good.clone();
    all.remove(at);
    refused(&all, "layers.1.self_attn.k_proj.weight is missing");
    let mut all = good.clone();
    all[at].2.reverse();
    refused(&all, "layers.1.self_attn.k_proj.weight should be [12, 24] but is [24, 12]");
    for (bits, value) in [(0x7C00u16, "inf"), (0xFE00, "NaN")] {
        let mut all = good.clone();
        all[at].3[20..22].copy_from_slice(&bits.to_le_bytes());
        refused(&all, &format!("layers.1.self_attn.k_proj.weight holds {value} at element 10"));
    }
    let mut all = good.clone();
    all.push(("model.layers.7.extra".into(), Dtype::F32, vec![1], vec![0; 4]));
    refused(&all, "layers.7.extra does not belong");
    let mut all = good.clone();
    all[at].1 = Dtype::I16;
    refused(&all, "is stored as I16");
    let mut all = good;
    let twin = all[at].clone();
    all.push((twin.0.strip_prefix("model.").unwrap().into(), twin.1, twin.2, twin.3));
    refused(&all, "k_proj.weight is there twice");
}

/// A file with this header and this much data.
fn raw(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn damaged_files_are_refused() {
    let (config, bytes) = llama();
    let one =
        |shape: &str, from: u64, to: u64| format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#);
    let mut announced = bytes.clone();
    announced[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("truncated header", bytes[..100].to_vec()),
        ("truncated data", bytes[..bytes.len() - 1].to_vec()),
        ("trailing bytes", [bytes.clone(), vec![0]].concat()),
        ("huge header", announced),
        ("2 MiB header", raw(&" ".repeat(2 << 20), 0)),
        ("not JSON", raw("safe", 0)),
        ("not UTF-8", [&4u64.to_le_bytes()[..], &[0xFF; 4]].concat()),
        ("overlap", raw(&format!(r#"{{"a":{},"b":{}}}"#, one("[2]", 0, 8), one("[2]", 4, 12)), 12)),
        ("hole", raw(&format!(r#"{{"a":{},"b":{}}}"#, one("[1]", 0, 4), one("[1]", 8, 12)), 12)),
        ("backwards", raw(&format!(r#"{{"a":{}}}"#, one("[1]", 4, 0)), 4)),
        ("overflow", raw(&format!(r#"{{"a":{}}}"#, one("[4294967296,4294967296,4294967296]", 0, 8)), 8)),
        ("negative size", raw(&format!(r#"{{"a":{}}}"#, one("[-1]", 0, 4)), 4)),
        ("beyond the end", raw(&format!(r#"{{"a":{}}}"#, one("[1]", 0, 4)), 0)),
        ("same name twice", raw(&format!(r#"{{"a":{},"a":{}}}"#, one("[1]", 0, 4), one("[1]", 4, 8)), 8)),
        ("no tensors", raw("{}", 0)),
        ("empty tensor", raw(&format!(r#"{{"model.norm.weight":{}}}"#, one("[0]", 0, 0)), 0)),
    ];
    for (name, bytes) in cases {
        let error = load("m", &folder(&config).with("model.safetensors", bytes)).unwrap_err();
        assert!(matches!(error.code(), "file" | "tensor" | "limit"), "{name}: {error}");
        assert!(error.to_string().starts_with("model.safetensors: "), "{name}: {error}");
    }
    let error = load("m", &folder(&config)).unwrap_err().to_string();
    assert!(error.starts_with("model.safetensors: is missing"), "{error}");
    assert!(load("m", &Files::new()).unwrap_err().to_string().starts_with("m: holds no model"));
}

#[test]
fn what_cannot_be_saved_is_refused() {
    let (_, config) = small_configs().swap_remove(3);
    let error = save_safetensors(&config, &lively(&config, 1), Precision::F32).unwrap_err();
    assert_eq!(error.code(), "unsupported");
    let (_, config) = small_configs().swap_remove(2);
    let mut weights = lively(&config, 1);
    weights.0.get_mut("ln_final.w").unwrap().data[3] = 1e6;
    let error = save_safetensors(&config, &weights, Precision::F16).unwrap_err().to_string();
    assert_eq!(error, "model.safetensors: tensor model.norm.weight holds 1000000, too large for F16");
    assert!(save_safetensors(&config, &weights, Precision::Bf16).is_ok());
}

/// A llama2.c file of a small model, with as many pieces as its tokenizer needs.
pub fn llama2c() -> (Vec<u8>, Vec<u8>) {
    let sizes: [i32; 7] = [8, 12, 2, 2, 1, 260, 16];
    let floats = 260 * 8 + 2 * (8 + 8 * 8 + 2 * 8 * 4 + 8 * 8 + 8 + 3 * 12 * 8) + 8 + 16 * 4;
    let mut model: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    model.extend((0..floats).flat_map(|index| ((index % 13) as f32 * 0.01).to_le_bytes()));
    let piece = |id: i32| [&0f32.to_le_bytes()[..], &4i32.to_le_bytes(), format!("{id:04}").as_bytes()].concat();
    (model, 4i32.to_le_bytes().into_iter().chain((0..260).flat_map(piece)).collect())
}

#[test]
fn damaged_llama2c_files_are_refused() {
    let (model, pieces) = llama2c();
    let read = |model: Vec<u8>| load("m", &Files::new().with("m.bin", model).with("tokenizer.bin", pieces.clone()));
    assert_eq!(read(model.clone()).unwrap().config.kv_heads, 1);
    for (index, value) in [(0, 0), (0, -8), (0, i32::MAX), (3, 3), (4, 3), (5, i32::MIN), (5, 1 << 19), (6, i32::MAX)] {
        let mut damaged = model.clone();
        damaged[4 * index..4 * index + 4].copy_from_slice(&i32::to_le_bytes(value));
        let error = read(damaged).unwrap_err().to_string();
        assert!(error.starts_with("m.bin: "), "{index} {value}: {error}");
    }
    for cut in [0, 27, 28, 1000, model.len() - 1] {
        assert!(read(model[..cut].to_vec()).unwrap_err().to_string().contains("ends inside"), "{cut}");
    }
    assert!(read([model.clone(), vec![0; 4]].concat()).unwrap_err().to_string().contains("4 bytes more"));
    let mut nan = model;
    nan[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read(nan).unwrap_err().to_string().contains("embed holds NaN at element 3"));
}

proptest! {
    #![proptest_config(crate::hostile::noise::steady(300))]

    /// Whatever is done to the bytes, there is a model or an error, never a panic.
    #[test]
    fn changed_bytes_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
        which in 0..5,
    ) {
        let (config, weights) = llama();
        let (model, pieces) = llama2c();
        let names = ["model.safetensors", "config.json", "tokenizer.json", "m.bin", "tokenizer.bin"];
        let sources = [weights, config_to_json(&config).into_bytes(), TOKENIZER.into(), model, pieces];
        let mut changed = sources[which as usize].clone();
        for (at, byte, early) in edits {
            // Half of the edits hit the first bytes, where headers are.
            let reach = if early { changed.len().min(64) } else { changed.len() };
            changed[at.index(reach)] = byte;
        }
        if truncate {
            changed.truncate(cut.index(changed.len()));
        }
        let group = if which < 3 { 0..3 } else { 3..5 };
        let mut files = Files::new();
        for index in group {
            files.insert(names[index], if index == which as usize { changed.clone() } else { sources[index].clone() });
        }
        if let Ok(loaded) = load("m", &files) {
            prop_assert!(loaded.weights.check(&loaded.config, "m").is_ok());
        }
    }

    /// Bytes that were never a file.
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400), header in 0u64..300) {
        let (config, _) = llama();
        let framed = [&header.to_le_bytes()[..], &noise].concat();
        for bytes in [noise.clone(), framed] {
            prop_assert!(load("m", &folder(&config).with("model.safetensors", bytes.clone())).is_err());
            prop_assert!(load("m", &Files::new().with("m.bin", bytes.clone()).with("tokenizer.bin", bytes)).is_err());
        }
    }
}
