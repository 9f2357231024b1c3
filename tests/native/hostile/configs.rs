//! config.json: keys that are missing, of another kind, out of range, or ask for what is not here.

use super::{Case, code};
use attnscope::model::load::config_from_json;
use attnscope::model::{Files, load};
use serde_json::{Value, json};

fn gpt2() -> Value {
    json!({ "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 24, "n_head": 3, "n_layer": 2,
        "n_positions": 32, "vocab_size": 23 })
}

fn llama() -> Value {
    json!({ "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 24, "intermediate_size": 40,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3, "vocab_size": 29,
        "max_position_embeddings": 32 })
}

fn neox() -> Value {
    json!({ "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "hidden_size": 24,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 31,
        "max_position_embeddings": 32, "rotary_pct": 0.25 })
}

fn bases() -> [(&'static str, Value, &'static [&'static str]); 3] {
    [
        ("gpt2", gpt2(), &["n_embd", "n_head", "n_layer", "n_positions", "vocab_size"]),
        (
            "llama",
            llama(),
            &[
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "vocab_size",
                "max_position_embeddings",
            ],
        ),
        (
            "neox",
            neox(),
            &[
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "vocab_size",
                "max_position_embeddings",
            ],
        ),
    ]
}

fn case(name: String, expected: &'static str, json: Vec<u8>) -> Case {
    let bytes = json.len();
    Case { kind: "config.json", name, code: expected, bytes, read: Box::new(move || code(config_from_json(&json))) }
}

pub fn good() -> Result<(), String> {
    bases().into_iter().try_for_each(|(_, base, _)| code(config_from_json(base.to_string().as_bytes())))
}

pub fn cases() -> Vec<Case> {
    let mut list = texts();
    for (family, base, sizes) in bases() {
        let with = |key: &str, value: Value| {
            let mut changed = base.clone();
            changed[key] = value;
            changed.to_string().into_bytes()
        };
        for key in sizes {
            let mut changed = base.clone();
            changed.as_object_mut().unwrap().remove(*key);
            list.push(case(format!("{family} without {key}"), "file", changed.to_string().into()));
            list.push(case(format!("{family} with null for {key}"), "file", with(key, Value::Null)));
            for value in [json!(0), json!(-1), json!(2.5), json!("24"), json!([24]), json!({}), json!(true)] {
                list.push(case(format!("{family}, {key} {value}"), "unsupported", with(key, value)));
            }
            for value in [json!(u64::MAX), json!(1u64 << 40), json!(i64::MIN), json!(1e300)] {
                list.push(case(format!("{family}, {key} {value}"), "unsupported", with(key, value)));
            }
        }
        for (key, value) in [
            ("model_type", json!("mamba")),
            ("model_type", json!(7)),
            ("architectures", json!(["BertModel"])),
            ("architectures", json!([])),
            ("tie_word_embeddings", json!("yes")),
            ("bos_token_id", json!(-1)),
            ("bos_token_id", json!(1000)),
            ("eos_token_id", json!(u64::MAX)),
            ("eos_token_id", json!("end")),
            ("quantization_config", json!({ "bits": 4 })),
            ("auto_map", json!({ "AutoModel": "modeling.Model" })),
            ("\u{202e}yek", json!(1)),
        ] {
            let code = if key == "architectures" && value == json!([]) { continue } else { "unsupported" };
            list.push(case(format!("{family}, {key} {value}"), code, with(key, value)));
        }
    }
    for (base, key, value) in [
        (gpt2(), "n_head", json!(5)),
        (gpt2(), "activation_function", json!("selu")),
        (gpt2(), "layer_norm_epsilon", json!(-1e-5)),
        (gpt2(), "scale_attn_weights", json!(false)),
        (gpt2(), "scale_attn_by_inverse_layer_idx", json!(true)),
        (gpt2(), "add_cross_attention", json!(true)),
        (llama(), "num_key_value_heads", json!(4)),
        (llama(), "num_key_value_heads", json!(0)),
        (llama(), "head_dim", json!(5)),
        (llama(), "head_dim", json!(4096)),
        (llama(), "rms_norm_eps", json!("small")),
        (llama(), "rope_theta", json!(0)),
        (llama(), "rope_theta", json!(-1e4)),
        (llama(), "rope_theta", json!([1e4])),
        (llama(), "rope_scaling", json!({ "type": "linear", "factor": 2 })),
        (llama(), "rope_scaling", json!("linear")),
        (llama(), "rope_parameters", json!({ "rope_type": "yarn" })),
        (llama(), "hidden_act", json!(null_free())),
        (llama(), "sliding_window", json!(8)),
        (llama(), "attention_bias", json!(1)),
        (neox(), "rotary_pct", json!(0)),
        (neox(), "rotary_pct", json!(-0.25)),
        (neox(), "rotary_pct", json!(1e9)),
        (neox(), "rotary_pct", json!(0.4)),
        (neox(), "rotary_emb_base", json!("many")),
        (neox(), "use_parallel_residual", json!("yes")),
        (neox(), "rope_parameters", json!({ "rope_type": "default", "partial_rotary_factor": "half" })),
        (neox(), "rope_parameters", json!({ "rope_type": "dynamic" })),
    ] {
        let mut changed = base;
        changed[key] = value;
        list.push(case(format!("{key} {:.40}", changed[key].to_string()), "unsupported", changed.to_string().into()));
    }
    list
}

/// A word that is no activation.
fn null_free() -> String {
    "gelu\u{0}".into()
}

fn texts() -> Vec<Case> {
    let text = llama().to_string();
    let twice = text.replacen('{', "{\"hidden_size\":48,", 1);
    let mut list: Vec<Case> = [
        ("nothing", String::new()),
        ("a word", "\"llama\"".into()),
        ("an array", "[]".into()),
        ("null", "null".into()),
        ("no JSON", "hidden_size: 24".into()),
        ("cut JSON", text[..text.len() - 2].into()),
        ("JSON with more behind it", format!("{text} {{}}")),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("a key twice", twice),
        ("a number that is none", text.replacen("24", "NaN", 1)),
        ("a number beyond all", text.replacen("24", "1e999", 1)),
        ("nested arrays", format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("a lone surrogate", "{\"model_type\":\"\\ud800\"}".into()),
    ]
    .into_iter()
    .map(|(name, text)| case(name.into(), "file", text.into_bytes()))
    .collect();
    list.push(case("not UTF-8".into(), "file", vec![b'{', b'"', 0xFF, b'"', b':', b'1', b'}']));
    list.push(case("no family".into(), "unsupported", b"{}".to_vec()));
    let long = Files::new().with("config.json", vec![b' '; (1 << 20) + 1]);
    list.push(Case {
        kind: "config.json",
        name: "more than a megabyte".into(),
        code: "limit",
        bytes: (1 << 20) + 1,
        read: Box::new(move || code(load("m", &long))),
    });
    list
}
