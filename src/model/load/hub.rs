//! Hugging Face folders: `config.json`, the tokenizer and the weights of a GPT-2, Llama or GPT-NeoX model.
//!
//! Every key of `config.json` is either understood, known to change nothing at inference, or refused by name: a model
//! never runs with part of its definition ignored.

use super::{Files, Loaded, finish, limits, safetensors};
use crate::model::config::{Activation, Config, Family, Norm, Pairing, Positions};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use serde_json::{Map, Value, json};

const FILE: &str = "config.json";

/// Keys that say how a model was trained, saved or is served, or that concern heads this program does not use.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "hidden_dropout",
    "initializer_range",
    "max_length",
    "model_type",
    "n_ctx",
    "pad_token_id",
    "pretraining_tp",
    "resid_pdrop",
    "return_dict",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

/// Reads a folder.
pub(super) fn load(id: &str, files: &Files) -> Result<Loaded> {
    let config = config_from_json(files.need(FILE)?)?;
    let tokenizer = match (files.get("tokenizer.json"), files.get("vocab.json"), files.get("merges.txt")) {
        (Some(json), ..) => Tokenizer::from_hub_json("tokenizer.json", json)?,
        (None, Some(vocab), Some(merges)) => Tokenizer::from_gpt2_files(vocab, merges)?,
        _ => return Err(Error::file("tokenizer.json", "is missing, and so is vocab.json with merges.txt")),
    };
    let (weights, bytes) = safetensors::read(&config, files)?;
    let bos = config.bos;
    finish(id, config, weights, tokenizer.with_bos(bos), bytes)
}

/// The keys of a `config.json`, each taken at most once.
struct Keys(Map<String, Value>);

impl Keys {
    fn refuse<T>(&self, key: &str, expected: &str, came: &Value) -> Result<T> {
        let came = came.to_string();
        Err(Error::Unsupported { file: FILE.into(), key: key.into(), expected: expected.into(), came })
    }

    /// The value of a key that is there and not null.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    fn size(&mut self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => Ok(Some(size)),
            None => self.refuse(key, "a whole number that is not negative", &value),
        }
    }

    fn need_size(&mut self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| Error::file(FILE, format!("lacks {key}")))
    }

    fn real(&mut self, key: &str, default: f64) -> Result<f64> {
        let Some(value) = self.take(key) else { return Ok(default) };
        match value.as_f64() {
            Some(real) => Ok(real),
            None => self.refuse(key, "a number", &value),
        }
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.take(key) else { return Ok(default) };
        match value.as_bool() {
            Some(flag) => Ok(flag),
            None => self.refuse(key, "true or false", &value),
        }
    }

    /// A key that may only have the one value this program implements.
    fn only(&mut self, key: &str, value: Value) -> Result<()> {
        match self.take(key) {
            Some(came) if came != value => self.refuse(key, &value.to_string(), &came),
            _ => Ok(()),
        }
    }

    /// A token id; of several, the first.
    fn token(&mut self, key: &str) -> Result<Option<u32>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let one = value.as_array().and_then(|list| list.first()).unwrap_or(&value);
        match one.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(id) => Ok(Some(id)),
            None => self.refuse(key, "a token id", &value),
        }
    }

    fn activation(&mut self, key: &str, default: &str) -> Result<Activation> {
        let value = self.take(key).unwrap_or_else(|| default.into());
        match value.as_str() {
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("relu") => Ok(Activation::Relu),
            _ => self.refuse(key, "gelu, gelu_new, gelu_pytorch_tanh, silu, relu", &value),
        }
    }

    /// Base of the rotary wavelengths, and the part of each head that turns; anything but plain rotation is refused. The
    /// keys of older files are `base` and `part`; a family without the second turns whole heads.
    fn rotation(&mut self, base: &str, part: Option<&str>) -> Result<(f64, f64)> {
        let mut theta = self.real(base, 10_000.0)?;
        let mut turned = part.map_or(Ok(1.0), |part| self.real(part, 0.25))?;
        for key in ["rope_scaling", "rope_parameters"] {
            let Some(value) = self.take(key) else { continue };
            let kind = value.get("rope_type").or_else(|| value.get("type"));
            let known = |name: &str| match name {
                "rope_type" | "type" | "rope_theta" => true,
                "partial_rotary_factor" => part.is_some(),
                _ => false,
            };
            let plain = value.as_object().is_some_and(|map| map.keys().all(|name| known(name)));
            if !plain || kind.is_some_and(|kind| kind != "default") {
                return self.refuse(key, "plain rotary positions (rope_type default)", &value);
            }
            let number = |name: &str, other: f64| match value.get(name) {
                None => Ok(other),
                Some(number) => number.as_f64().ok_or(()),
            };
            let both = (number("rope_theta", theta), number("partial_rotary_factor", turned));
            let (Ok(base), Ok(share)) = both else { return self.refuse(key, "numbers", &value) };
            (theta, turned) = (base, share);
        }
        Ok((theta, turned))
    }

    /// Refuses what is left and asks for something.
    fn finish(self) -> Result<()> {
        let asks = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        let left = self.0.iter().find(|(key, value)| !HARMLESS.contains(&key.as_str()) && asks(value));
        match left {
            Some((key, value)) => self.refuse(key, "models that do not ask for it", value),
            None => Ok(()),
        }
    }
}

/// Reads a `config.json`.
///
/// # Errors
/// [`Error::File`] when it is not JSON or lacks a size, [`Error::Unsupported`] naming the first key that asks for
/// something this program does not have.
pub fn config_from_json(json: &[u8]) -> Result<Config> {
    let keys = Keys(limits::object(FILE, json)?);
    let (kind, class) = (keys.0.get("model_type").cloned(), keys.0.get("architectures").cloned());
    if let Some(kind) = kind.as_ref().filter(|kind| !kind.is_string() && !kind.is_null()) {
        return keys.refuse("model_type", "a word", kind);
    }
    let class = class.as_ref().and_then(|list| list.get(0)).cloned().unwrap_or(Value::Null);
    let family = match (kind.as_ref().and_then(Value::as_str), class.as_str()) {
        (Some("gpt2") | None, Some("GPT2LMHeadModel" | "GPT2Model")) | (Some("gpt2"), None) => Family::Gpt2,
        (Some("llama") | None, Some("LlamaForCausalLM" | "LlamaModel")) | (Some("llama"), None) => Family::Llama,
        (Some("gpt_neox") | None, Some("GPTNeoXForCausalLM" | "GPTNeoXModel")) | (Some("gpt_neox"), None) => {
            Family::NeoX
        }
        (kind, class) => {
            let came = format!("{} ({})", kind.unwrap_or("no model_type"), class.unwrap_or("no architecture"));
            let expected = "gpt2 (GPT2LMHeadModel), llama (LlamaForCausalLM) and gpt_neox (GPTNeoXForCausalLM)".into();
            return Err(Error::Unsupported { file: FILE.into(), key: "model_type".into(), expected, came });
        }
    };
    let config = match family {
        Family::Gpt2 => gpt2(keys)?,
        Family::Llama => llama(keys)?,
        Family::NeoX => neox(keys)?,
    };
    config.check(FILE)?;
    Ok(config)
}

fn gpt2(mut keys: Keys) -> Result<Config> {
    let width = keys.need_size("n_embd")?;
    let heads = keys.need_size("n_head")?;
    keys.only("scale_attn_weights", json!(true))?;
    let config = Config {
        layers: keys.need_size("n_layer")?,
        ffn: keys.size("n_inner")?.unwrap_or(4 * width),
        norm_epsilon: keys.real("layer_norm_epsilon", 1e-5)?,
        activation: keys.activation("activation_function", "gelu_new")?,
        tied: keys.flag("tie_word_embeddings", true)?,
        bos: keys.token("bos_token_id")?,
        eos: keys.token("eos_token_id")?,
        ..Config::gpt2(keys.need_size("vocab_size")?, width, 0, heads, keys.need_size("n_positions")?)
    };
    whole_heads(&keys, "n_head", width, heads)?;
    keys.finish()?;
    Ok(config)
}

fn llama(mut keys: Keys) -> Result<Config> {
    let width = keys.need_size("hidden_size")?;
    let heads = keys.need_size("num_attention_heads")?;
    let kv_heads = keys.size("num_key_value_heads")?.unwrap_or(heads);
    let head_width = match keys.size("head_dim")? {
        Some(head_width) => head_width,
        None => {
            whole_heads(&keys, "num_attention_heads", width, heads)?;
            width / heads.max(1)
        }
    };
    let layers = keys.need_size("num_hidden_layers")?;
    let ffn = keys.need_size("intermediate_size")?;
    let config = Config {
        head_width,
        context: keys.need_size("max_position_embeddings")?,
        norm: Norm::Rms,
        norm_epsilon: keys.real("rms_norm_eps", 1e-6)?,
        positions: Positions::Rotary { theta: keys.rotation("rope_theta", None)?.0, pairing: Pairing::Half },
        activation: keys.activation("hidden_act", "silu")?,
        tied: keys.flag("tie_word_embeddings", false)?,
        attention_bias: keys.flag("attention_bias", false)?,
        ffn_bias: keys.flag("mlp_bias", false)?,
        bos: keys.token("bos_token_id")?,
        eos: keys.token("eos_token_id")?,
        ..Config::llama(keys.need_size("vocab_size")?, width, layers, heads, kv_heads, ffn)
    };
    keys.finish()?;
    Ok(config)
}

fn neox(mut keys: Keys) -> Result<Config> {
    let width = keys.need_size("hidden_size")?;
    let heads = keys.need_size("num_attention_heads")?;
    whole_heads(&keys, "num_attention_heads", width, heads)?;
    // Published files say rotary_emb_base, newer ones rope_theta; whichever is there is the base.
    let base = if keys.0.contains_key("rotary_emb_base") { "rotary_emb_base" } else { "rope_theta" };
    let (theta, part) = keys.rotation(base, Some("rotary_pct"))?;
    if !(part > 0.0 && part <= 1.0) {
        return keys.refuse("rotary_pct", "a part above 0 and not above 1", &part.into());
    }
    let layers = keys.need_size("num_hidden_layers")?;
    let context = keys.need_size("max_position_embeddings")?;
    let config = Config {
        ffn: keys.need_size("intermediate_size")?,
        norm_epsilon: keys.real("layer_norm_eps", 1e-5)?,
        positions: Positions::Rotary { theta, pairing: Pairing::Half },
        // Cut to a whole number, as the family's code does.
        turned: Some(((width / heads) as f64 * part) as usize),
        parallel: keys.flag("use_parallel_residual", true)?,
        activation: keys.activation("hidden_act", "gelu")?,
        tied: keys.flag("tie_word_embeddings", false)?,
        attention_bias: keys.flag("attention_bias", true)?,
        bos: keys.token("bos_token_id")?,
        eos: keys.token("eos_token_id")?,
        ..Config::neox(keys.need_size("vocab_size")?, width, layers, heads, context)
    };
    keys.finish()?;
    Ok(config)
}

/// The smallest part of a head whose cut product with the width is `turned`.
fn part_of_head(turned: usize, width: usize) -> f64 {
    let part = turned as f64 / width as f64;
    if (width as f64 * part) as usize == turned { part } else { part.next_up() }
}

/// Heads that do not divide the width would silently lose entries.
fn whole_heads(keys: &Keys, key: &str, width: usize, heads: usize) -> Result<()> {
    if heads == 0 || !width.is_multiple_of(heads) {
        return keys.refuse(key, &format!("a divisor of the width {width}"), &heads.into());
    }
    Ok(())
}

/// The `config.json` of a model saved by [`save_safetensors`](super::save_safetensors).
pub fn config_to_json(config: &Config) -> String {
    let activation = match config.activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Silu => "silu",
        Activation::Relu => "relu",
    };
    let value = match config.family {
        Family::Gpt2 => json!({
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": config.vocabulary,
            "n_positions": config.context,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.ffn,
            "activation_function": activation,
            "layer_norm_epsilon": config.norm_epsilon,
            "tie_word_embeddings": config.tied,
            "bos_token_id": config.bos,
            "eos_token_id": config.eos,
        }),
        Family::Llama => json!({
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": config.vocabulary,
            "max_position_embeddings": config.context,
            "hidden_size": config.width,
            "intermediate_size": config.ffn,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_width,
            "hidden_act": activation,
            "rms_norm_eps": config.norm_epsilon,
            "rope_theta": match config.positions {
                Positions::Rotary { theta, .. } => Some(theta),
                Positions::Learned => None,
            },
            "attention_bias": config.attention_bias,
            "mlp_bias": config.ffn_bias,
            "tie_word_embeddings": config.tied,
            "bos_token_id": config.bos,
            "eos_token_id": config.eos,
        }),
        Family::NeoX => json!({
            "model_type": "gpt_neox",
            "architectures": ["GPTNeoXForCausalLM"],
            "vocab_size": config.vocabulary,
            "max_position_embeddings": config.context,
            "hidden_size": config.width,
            "intermediate_size": config.ffn,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "hidden_act": activation,
            "layer_norm_eps": config.norm_epsilon,
            "rotary_emb_base": match config.positions {
                Positions::Rotary { theta, .. } => Some(theta),
                Positions::Learned => None,
            },
            "rotary_pct": part_of_head(config.turned.unwrap_or(config.head_width), config.head_width),
            "use_parallel_residual": config.parallel,
            "attention_bias": config.attention_bias,
            "tie_word_embeddings": config.tied,
            "bos_token_id": config.bos,
            "eos_token_id": config.eos,
        }),
    };
    format!("{value:#}\n")
}
