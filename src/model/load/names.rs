//! How the Hugging Face families name and store the weights of [`Weights`](crate::model::Weights).

use crate::model::config::{Config, Family, Norm, Positions};

/// One stored tensor.
pub(super) struct Stored {
    /// Its name in the file, without the family's prefix.
    pub name: String,
    /// The canonical weights it holds, one after another along their last axis.
    pub parts: Vec<String>,
    /// Whether it is stored `[out, in]`.
    pub transposed: bool,
}

/// What a family's files put in front of the names of everything but the vocabulary head; some files leave it out.
pub(super) fn prefix(family: Family) -> &'static str {
    match family {
        Family::Gpt2 => "transformer.",
        Family::Llama => "model.",
    }
}

/// The name of the vocabulary head, which never has a prefix.
pub(super) fn head(family: Family) -> &'static str {
    match family {
        Family::Gpt2 | Family::Llama => "lm_head.weight",
    }
}

/// Whether a stored tensor is no weight: causal masks and rotation tables that older files carry along.
pub(super) fn is_buffer(family: Family, name: &str) -> bool {
    match family {
        Family::Gpt2 => name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"),
        Family::Llama => name.ends_with(".rotary_emb.inv_freq"),
    }
}

/// Every tensor a file of this configuration holds.
pub(super) fn stored(config: &Config) -> Vec<Stored> {
    let mut list = Vec::new();
    let mut put = |name: String, parts: Vec<String>, transposed: bool| list.push(Stored { name, parts, transposed });
    let norm = |put: &mut dyn FnMut(String, Vec<String>, bool), name: String, part: &str| {
        put(format!("{name}.weight"), vec![format!("{part}.w")], false);
        if config.norm == Norm::Layer {
            put(format!("{name}.bias"), vec![format!("{part}.b")], false);
        }
    };
    let gpt2 = config.family == Family::Gpt2;
    let (embed, block, last) = if gpt2 { ("wte", "h", "ln_f") } else { ("embed_tokens", "layers", "norm") };
    put(format!("{embed}.weight"), vec!["embed".into()], false);
    if config.positions == Positions::Learned {
        put("wpe.weight".into(), vec!["positions".into()], false);
    }
    for layer in 0..config.layers {
        let part = |name: &str| format!("blocks.{layer}.{name}");
        let (ln1, ln2) = if gpt2 { ("ln_1", "ln_2") } else { ("input_layernorm", "post_attention_layernorm") };
        norm(&mut put, format!("{block}.{layer}.{ln1}"), &part("ln1"));
        norm(&mut put, format!("{block}.{layer}.{ln2}"), &part("ln2"));
        // Stored name, group, canonical names, whether there is a bias.
        let maps: &[(&str, &str, &[&str], bool)] = if gpt2 {
            &[
                ("attn.c_attn", "attn", &["q", "k", "v"], config.attention_bias),
                ("attn.c_proj", "attn", &["o"], config.attention_bias),
                ("mlp.c_fc", "ffn", &["in"], config.ffn_bias),
                ("mlp.c_proj", "ffn", &["out"], config.ffn_bias),
            ]
        } else {
            &[
                ("self_attn.q_proj", "attn", &["q"], config.attention_bias),
                ("self_attn.k_proj", "attn", &["k"], config.attention_bias),
                ("self_attn.v_proj", "attn", &["v"], config.attention_bias),
                ("self_attn.o_proj", "attn", &["o"], config.attention_bias),
                ("mlp.gate_proj", "ffn", &["gate"], config.ffn_bias),
                ("mlp.up_proj", "ffn", &["in"], config.ffn_bias),
                ("mlp.down_proj", "ffn", &["out"], config.ffn_bias),
            ]
        };
        for (name, group, parts, bias) in maps {
            let of = |kind: &str| parts.iter().map(|p| part(&format!("{group}.{kind}_{p}"))).collect::<Vec<_>>();
            // GPT-2's files keep the layout of a 1×1 convolution, [in, out]; Llama's that of a linear layer.
            put(format!("{block}.{layer}.{name}.weight"), of("w"), !gpt2);
            if *bias {
                put(format!("{block}.{layer}.{name}.bias"), of("b"), false);
            }
        }
    }
    norm(&mut put, last.into(), "ln_final");
    if !config.tied {
        put(head(config.family).into(), vec!["unembed".into()], true);
    }
    list
}
