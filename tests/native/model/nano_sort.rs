//! gpt-nano-sort: every published intermediate tensor.

use crate::fixtures::{deviation, json};
use attnscope::engine::{Forward, Request};
use attnscope::hook::{Array, Selection, Site};
use attnscope::model::config::Config;
use attnscope::model::load::{Precision, save_safetensors};
use attnscope::model::{CpuModel, Weights, load};
use serde_json::Value;

/// A tensor of the fixtures: base64 of little-endian f32.
fn tensor(file: &Value, key: &str) -> Array {
    let entry = &file[key];
    let shape: Vec<usize> =
        entry["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{key}: {c} is not base64"),
    };
    let text = entry["data"].as_str().unwrap().trim_end_matches('=');
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let bits = group.iter().fold(0u32, |bits, c| bits << 6 | u32::from(digit(*c))) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    let data: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Array::new(shape, data).unwrap()
}

/// [out,in] rows `from..to` → [in,to - from].
fn columns(matrix: &Array, from: usize, to: usize) -> Array {
    let width = matrix.shape[1];
    let data = (0..width).flat_map(|i| (from..to).map(move |o| matrix.data[o * width + i])).collect();
    Array { shape: vec![width, to - from], data }
}

/// The minGPT model as ours.
pub fn loaded() -> Option<(Config, Weights)> {
    let file = json("gpt-nano-sort/gpt-nano-sort-model.json")?;
    let config = Config { tied: false, ..Config::gpt2(3, 48, 3, 3, 11) };
    let mut weights = Weights::default();
    let mut put = |name: String, array: Array| weights.0.insert(name, array);
    put("embed".into(), tensor(&file, "transformer.wte.weight"));
    put("positions".into(), tensor(&file, "transformer.wpe.weight"));
    put("unembed".into(), columns(&tensor(&file, "lm_head.weight"), 0, 3));
    let norms = (0..3).flat_map(|l| [1, 2].map(|n| (format!("h.{l}.ln_{n}"), format!("blocks.{l}.ln{n}"))));
    for (theirs, ours) in norms.chain([("ln_f".to_string(), "ln_final".to_string())]) {
        put(format!("{ours}.w"), tensor(&file, &format!("transformer.{theirs}.weight")));
        put(format!("{ours}.b"), tensor(&file, &format!("transformer.{theirs}.bias")));
    }
    for layer in 0..3 {
        let maps = [
            ("attn.c_attn", "attn", "q", 0..48),
            ("attn.c_attn", "attn", "k", 48..96),
            ("attn.c_attn", "attn", "v", 96..144),
            ("attn.c_proj", "attn", "o", 0..48),
            ("mlp.c_fc", "ffn", "in", 0..192),
            ("mlp.c_proj", "ffn", "out", 0..48),
        ];
        for (theirs, group, ours, rows) in maps {
            let name = |kind: &str| format!("blocks.{layer}.{group}.{kind}_{ours}");
            let weight = tensor(&file, &format!("transformer.h.{layer}.{theirs}.weight"));
            let bias = tensor(&file, &format!("transformer.h.{layer}.{theirs}.bias"));
            put(name("w"), columns(&weight, rows.start, rows.end));
            put(name("b"), Array { shape: vec![rows.len()], data: bias.data[rows].to_vec() });
        }
    }
    Some((config, weights))
}

/// [H,Q,D] → [Q,H·D].
fn join(heads: &Array) -> Vec<f32> {
    let [_, count, queries, width] = heads.shape[..] else { panic!("{:?} is not [1,H,Q,D]", heads.shape) };
    let entry = |q: usize, h: usize| heads.data[(h * queries + q) * width..][..width].to_vec();
    (0..queries).flat_map(|q| (0..count).flat_map(move |h| entry(q, h))).collect()
}

/// All published tensors within 1e-4.
pub async fn check(model: &mut impl Forward) {
    let file = json("gpt-nano-sort/gpt-nano-sort-t0-partials.json").unwrap();
    let idx = tensor(&file, "idx");
    let stack = super::stack(&[]);
    let hooks = [
        ("tok_emb", 0, Site::Embed),
        ("pos_emb", 0, Site::PosEmbed),
        ("x", 0, Site::ResidPre),
        ("ln1", 0, Site::Ln1),
        ("q", 0, Site::Q),
        ("k", 0, Site::K),
        ("v", 0, Site::V),
        ("att", 0, Site::Scores),
        ("attSm", 0, Site::Pattern),
        ("yProj", 0, Site::AttnOut),
        ("attnResid", 0, Site::ResidMid),
        ("ln2", 0, Site::Ln2),
        ("fc", 0, Site::MlpPre),
        ("gelu", 0, Site::MlpPost),
        ("mlp", 0, Site::MlpOut),
        ("mlpResid", 0, Site::ResidPost),
        ("block0", 0, Site::ResidPost),
        ("block1", 1, Site::ResidPost),
        ("block2", 2, Site::ResidPost),
        ("ln_f", 0, Site::LnFinal),
        ("lm_head", 0, Site::Logits),
    ];
    let sites: Vec<Site> = hooks.iter().map(|(.., site)| *site).chain([Site::Z]).collect();
    for row in 0..3 {
        let tokens: Vec<u32> = idx.at(row).iter().map(|id| *id as u32).collect();
        let wants = Selection::sites(&sites);
        let pass = model.forward(Request { tokens: &tokens, stack: &stack, seed: 0, wants }).await.unwrap();
        let close = |key: &str, came: &[f32], reference: &[f32]| {
            let off = deviation(came, reference);
            assert!(off <= 1e-4, "row {row}: {key} deviates by {off}");
        };
        for (key, layer, site) in hooks {
            let whole = tensor(&file, key);
            let shared_by_rows = whole.shape[0] == 1;
            // What a mask removes is −∞ there and MASKED here.
            let masked = |value: &f32| if value.is_finite() { *value } else { attnscope::mechanism::MASKED };
            let reference: Vec<f32> = whole.at(if shared_by_rows { 0 } else { row }).iter().map(masked).collect();
            close(key, &pass.captures.get(layer, site).unwrap().data, &reference);
        }
        let [q, k, v, z] = [Site::Q, Site::K, Site::V, Site::Z].map(|site| join(pass.captures.get(0, site).unwrap()));
        close("y", &z, tensor(&file, "y").at(row));
        let rows = |part: &[f32], q: usize| part[q * 48..(q + 1) * 48].to_vec();
        let qkv: Vec<f32> = (0..11).flat_map(|t| [rows(&q, t), rows(&k, t), rows(&v, t)].concat()).collect();
        close("qkv", &qkv, tensor(&file, "qkv").at(row));
        let probs = pass.logits.data.chunks(3).flat_map(|logits| {
            let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
            logits.iter().map(move |logit| logit.exp() / sum)
        });
        close("probs", &probs.collect::<Vec<_>>(), tensor(&file, "probs").at(row));
    }
}

#[test]
fn every_published_tensor_on_the_processor() {
    let Some((config, weights)) = loaded() else { return };
    // Its description says 85,296, having taken the three biases of c_attn (432 numbers) for masks.
    assert_eq!(config.parameters(), 85_296 + 432);
    let mut model = CpuModel::new(&config, &weights).unwrap();
    pollster::block_on(check(&mut model));
}

#[test]
fn every_published_tensor_after_a_detour_through_hugging_face() {
    let Some((config, weights)) = loaded() else { return };
    let bytes = save_safetensors(&config, &weights, Precision::F32).unwrap();
    let again = load("m", &super::files::folder(&config).with("model.safetensors", bytes)).unwrap();
    let mut model = CpuModel::new(&again.config, &again.weights).unwrap();
    pollster::block_on(check(&mut model));
}

#[test]
fn it_sorts() {
    let Some((config, weights)) = loaded() else { return };
    let model = CpuModel::new(&config, &weights).unwrap();
    let stack = super::stack(&[]);
    let mut decoder = model.decoder(&stack, 0);
    let mut tokens = vec![2, 0, 1, 1, 0, 2];
    for _ in 0..6 {
        let next = attnscope::model::sample::likeliest(&decoder.logits(&tokens).unwrap());
        tokens.push(next);
    }
    assert_eq!(tokens[6..], [0, 0, 1, 1, 2, 2]);
}
