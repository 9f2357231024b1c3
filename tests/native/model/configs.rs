//! config.json: what is understood, and that the rest is refused by name.

use super::small_configs;
use attnscope::model::config::{Activation, Config, Family, Norm, Pairing, Positions};
use attnscope::model::load::{config_from_json, config_to_json};
use serde_json::{Value, json};

fn gpt2() -> Value {
    json!({ "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new",
        "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
        "summary_type": "cls_index", "summary_use_proj": true, "vocab_size": 50257, "scale_attn_weights": true,
        "task_specific_params": { "text-generation": { "do_sample": true, "max_length": 50 } } })
}

fn llama() -> Value {
    json!({ "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008], "head_dim": 64,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
        "max_position_embeddings": 131072, "mlp_bias": false, "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
        "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
        "transformers_version": "4.45.0", "vocab_size": 128256 })
}

fn neox() -> Value {
    json!({ "architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu",
        "hidden_size": 512, "initializer_range": 0.02, "intermediate_size": 2048, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048, "model_type": "gpt_neox", "num_attention_heads": 8, "num_hidden_layers": 6,
        "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false, "torch_dtype": "float16",
        "transformers_version": "4.24.0", "use_cache": true, "use_parallel_residual": true, "vocab_size": 50304 })
}

fn read(value: &Value) -> attnscope::Result<Config> {
    config_from_json(value.to_string().as_bytes())
}

#[test]
fn published_configurations_are_understood() {
    let config = read(&gpt2()).unwrap();
    assert_eq!(config, Config { bos: Some(50256), eos: Some(50256), ..Config::gpt2(50257, 768, 12, 12, 1024) });
    assert_eq!(config.parameters(), 124_439_808);
    let config = read(&llama()).unwrap();
    assert_eq!((config.family, config.norm, config.kv_heads, config.head_width), (Family::Llama, Norm::Rms, 8, 64));
    assert_eq!(config.positions, Positions::Rotary { theta: 500_000.0, pairing: Pairing::Half });
    assert_eq!((config.bos, config.eos, config.tied), (Some(128_000), Some(128_001), true));
    assert_eq!(config.parameters(), 1_235_814_400);
    // The defaults of the family where a file is silent.
    let mut silent = llama();
    for key in ["head_dim", "num_key_value_heads", "rope_theta", "rms_norm_eps", "tie_word_embeddings", "hidden_act"] {
        silent.as_object_mut().unwrap().remove(key);
    }
    let config = read(&silent).unwrap();
    assert_eq!((config.kv_heads, config.norm_epsilon, config.tied), (32, 1e-6, false));
    assert_eq!(config.activation, Activation::Silu);
    let config = read(&neox()).unwrap();
    assert_eq!(config, Config { bos: Some(0), eos: Some(0), ..Config::neox(50_304, 512, 6, 8, 2048) });
    assert_eq!((config.parameters(), config.turned, config.parallel), (70_426_624, Some(16), true));
    let mut newer = neox();
    newer.as_object_mut().unwrap().remove("rotary_emb_base");
    newer["rotary_pct"] = Value::Null;
    newer["rope_parameters"] = json!({ "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25 });
    newer["use_parallel_residual"] = json!(false);
    assert_eq!(read(&newer).unwrap(), Config { parallel: false, ..config });
    let mut newer = llama();
    newer["rope_parameters"] = json!({ "rope_type": "default", "rope_theta": 1234.0 });
    assert_eq!(read(&newer).unwrap().positions, Positions::Rotary { theta: 1234.0, pairing: Pairing::Half });
}

#[test]
fn what_is_asked_for_and_not_here_is_refused_by_name() {
    let cases = [
        ("llama", "rope_scaling", json!({ "rope_type": "llama3", "factor": 8.0 })),
        ("llama", "rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
        ("llama", "rope_parameters", json!({ "rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0 })),
        ("llama", "sliding_window", json!(4096)),
        ("llama", "quantization_config", json!({ "bits": 4 })),
        ("llama", "partial_rotary_factor", json!(0.5)),
        ("llama", "hidden_act", json!("xielu")),
        ("llama", "something_nobody_knows", json!(true)),
        ("llama", "num_key_value_heads", json!(5)),
        ("llama", "head_dim", json!(63)),
        ("llama", "rope_theta", json!(-1.0)),
        ("llama", "rope_theta", json!("many")),
        ("llama", "bos_token_id", json!(200_000)),
        ("llama", "hidden_size", json!(-5)),
        ("llama", "vocab_size", json!(0)),
        ("llama", "vocab_size", json!(1e18 as u64)),
        ("llama", "tie_word_embeddings", json!("yes")),
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true)),
        ("gpt2", "scale_attn_weights", json!(false)),
        ("gpt2", "reorder_and_upcast_attn", json!(true)),
        ("gpt2", "add_cross_attention", json!(true)),
        ("gpt2", "activation_function", json!("quick_gelu")),
        ("gpt2", "n_head", json!(7)),
        ("gpt2", "n_head", json!(0)),
        ("gpt2", "model_type", json!("gpt_neox")),
        ("neox", "rotary_pct", json!(0.0)),
        ("neox", "rotary_pct", json!(1.5)),
        ("neox", "rotary_pct", json!(0.02)),
        ("neox", "rotary_pct", json!("a quarter")),
        ("neox", "rotary_emb_base", json!(0)),
        ("neox", "rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
        ("neox", "hidden_act", json!("gelu_fast")),
        ("neox", "use_parallel_residual", json!(1)),
        ("neox", "num_attention_heads", json!(7)),
        ("neox", "quantization_config", json!({ "bits": 8 })),
        ("neox", "tie_word_embeddings", json!("no")),
    ];
    for (family, key, value) in cases {
        let mut config = match family {
            "llama" => llama(),
            "neox" => neox(),
            _ => gpt2(),
        };
        config[key] = value.clone();
        let error = read(&config).unwrap_err();
        assert_eq!(error.code(), "unsupported", "{key}: {error}");
        let said = error.to_string();
        let named = match key {
            "num_key_value_heads" => "kv_heads",
            "head_dim" => "head_width",
            "vocab_size" => "vocabulary",
            "rotary_emb_base" => "rope_theta",
            key => key,
        };
        assert!(said.starts_with("config.json: ") && said.contains(named), "{key}: {said}");
    }
    let mut other = gpt2();
    other["architectures"] = json!(["GPT2ForSequenceClassification"]);
    assert!(read(&other).unwrap_err().to_string().contains("GPT2ForSequenceClassification"));
    let mut lacking = llama();
    lacking.as_object_mut().unwrap().remove("hidden_size");
    assert_eq!(read(&lacking).unwrap_err().to_string(), "config.json: lacks hidden_size");
    assert!(config_from_json(b"{").is_err());
    assert!(config_from_json(b"[]").is_err());
}

#[test]
fn a_written_configuration_reads_back() {
    for (name, config) in small_configs() {
        let Positions::Rotary { pairing: Pairing::Adjacent, .. } = config.positions else {
            assert_eq!(config_from_json(config_to_json(&config).as_bytes()).unwrap(), config, "{name}");
            continue;
        };
    }
}
