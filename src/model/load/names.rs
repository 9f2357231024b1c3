//! How the Hugging Face families name and store the weights of [`Weights`](crate::model::Weights).

use crate::model::config::{Config, Family, Norm, Positions};

/// One stored tensor.
pub(super) struct Stored {
    /// Its name in the file, without the family's prefix.
    pub name: String,
    /// The canonical weights it holds, beside one another along their last axis.
    pub parts: Vec<String>,
    /// In how many stretches the parts lie: 1 when each is whole, as many as heads when each head has all parts side by side.
    pub stretches: usize,
    /// Whether it is stored `[out, in]`.
    pub transposed: bool,
}

/// What tells the families' files apart.
struct Layout {
    /// In front of the names of everything but the vocabulary head; some files leave it out.
    prefix: &'static str,
    head: &'static str,
    embed: &'static str,
    block: &'static str,
    /// Norms before attention, before the feed-forward, and at the end.
    norms: [&'static str; 3],
    /// Stored name, group, canonical names.
    maps: &'static [(&'static str, &'static str, &'static [&'static str])],
    /// Whether queries, keys and values of a head lie side by side.
    by_head: bool,
    /// GPT-2's files keep the layout of a 1×1 convolution, `[in, out]`; the others' that of a linear layer.
    transposed: bool,
    /// Endings of tensors that are no weights: causal masks and rotation tables that older files carry along.
    buffers: &'static [&'static str],
}

fn layout(family: Family) -> Layout {
    match family {
        Family::Gpt2 => Layout {
            prefix: "transformer.",
            head: "lm_head.weight",
            embed: "wte",
            block: "h",
            norms: ["ln_1", "ln_2", "ln_f"],
            maps: &[
                ("attn.c_attn", "attn", &["q", "k", "v"]),
                ("attn.c_proj", "attn", &["o"]),
                ("mlp.c_fc", "ffn", &["in"]),
                ("mlp.c_proj", "ffn", &["out"]),
            ],
            by_head: false,
            transposed: false,
            buffers: &[".attn.bias", ".attn.masked_bias"],
        },
        Family::Llama => Layout {
            prefix: "model.",
            head: "lm_head.weight",
            embed: "embed_tokens",
            block: "layers",
            norms: ["input_layernorm", "post_attention_layernorm", "norm"],
            maps: &[
                ("self_attn.q_proj", "attn", &["q"]),
                ("self_attn.k_proj", "attn", &["k"]),
                ("self_attn.v_proj", "attn", &["v"]),
                ("self_attn.o_proj", "attn", &["o"]),
                ("mlp.gate_proj", "ffn", &["gate"]),
                ("mlp.up_proj", "ffn", &["in"]),
                ("mlp.down_proj", "ffn", &["out"]),
            ],
            by_head: false,
            transposed: true,
            buffers: &[".rotary_emb.inv_freq"],
        },
        Family::NeoX => Layout {
            prefix: "gpt_neox.",
            head: "embed_out.weight",
            embed: "embed_in",
            block: "layers",
            norms: ["input_layernorm", "post_attention_layernorm", "final_layer_norm"],
            maps: &[
                ("attention.query_key_value", "attn", &["q", "k", "v"]),
                ("attention.dense", "attn", &["o"]),
                ("mlp.dense_h_to_4h", "ffn", &["in"]),
                ("mlp.dense_4h_to_h", "ffn", &["out"]),
            ],
            by_head: true,
            transposed: true,
            buffers: &[".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"],
        },
    }
}

/// What a family's files put in front of the names of everything but the vocabulary head.
pub(super) fn prefix(family: Family) -> &'static str {
    layout(family).prefix
}

/// The name of the vocabulary head, which never has a prefix.
pub(super) fn head(family: Family) -> &'static str {
    layout(family).head
}

/// The name in `file`, as [`Stored::name`] has it.
pub(super) fn plain(family: Family, file: &str) -> &str {
    // Newer programs call the head of every family so.
    if file == "lm_head.weight" { head(family) } else { file.strip_prefix(prefix(family)).unwrap_or(file) }
}

/// Whether a stored tensor is no weight.
pub(super) fn is_buffer(family: Family, name: &str) -> bool {
    layout(family).buffers.iter().any(|ending| name.ends_with(ending))
}

/// Every tensor a file of this configuration holds.
pub(super) fn stored(config: &Config) -> Vec<Stored> {
    let Layout { head, embed, block, norms, maps, by_head, transposed, .. } = layout(config.family);
    let mut list = Vec::new();
    let mut put = |name: String, parts: Vec<String>, transposed: bool| {
        let stretches = if by_head && parts.len() > 1 { config.heads } else { 1 };
        list.push(Stored { name, parts, stretches, transposed });
    };
    let norm = |put: &mut dyn FnMut(String, Vec<String>, bool), name: String, part: &str| {
        put(format!("{name}.weight"), vec![format!("{part}.w")], false);
        if config.norm == Norm::Layer {
            put(format!("{name}.bias"), vec![format!("{part}.b")], false);
        }
    };
    put(format!("{embed}.weight"), vec!["embed".into()], false);
    if config.positions == Positions::Learned {
        put("wpe.weight".into(), vec!["positions".into()], false);
    }
    for layer in 0..config.layers {
        let part = |name: &str| format!("blocks.{layer}.{name}");
        norm(&mut put, format!("{block}.{layer}.{}", norms[0]), &part("ln1"));
        norm(&mut put, format!("{block}.{layer}.{}", norms[1]), &part("ln2"));
        for (name, group, parts) in maps {
            let of = |kind: &str| parts.iter().map(|p| part(&format!("{group}.{kind}_{p}"))).collect::<Vec<_>>();
            put(format!("{block}.{layer}.{name}.weight"), of("w"), transposed);
            let bias = if *group == "attn" { config.attention_bias } else { config.ffn_bias };
            if bias {
                put(format!("{block}.{layer}.{name}.bias"), of("b"), false);
            }
        }
    }
    norm(&mut put, norms[2].into(), "ln_final");
    if !config.tied {
        put(head.into(), vec!["unembed".into()], true);
    }
    list
}

/// Whether a canonical weight makes queries or keys, whose entries turn.
pub(super) fn turns(part: &str) -> bool {
    ["attn.w_q", "attn.b_q", "attn.w_k", "attn.b_k"].iter().any(|name| part.ends_with(name))
}

/// Where each entry of a head stands in a file. Files of a family that turns the first entries of a head pair those R among
/// themselves, (j, j + R/2); here every pair is (j, j + D/2), those that do not turn last. Scores do not change, since queries
/// and keys are ordered alike.
pub(super) fn places(config: &Config) -> Option<Vec<usize>> {
    let (width, turned) = (config.head_width, config.turned.filter(|turned| *turned < config.head_width)?);
    let (pairs, turning) = (width / 2, turned / 2);
    let place = |entry: usize| {
        let (side, pair) = (entry / pairs, entry % pairs);
        match pair < turning {
            true => side * turning + pair,
            false => turned + side * (pairs - turning) + pair - turning,
        }
    };
    Some((0..width).map(place).collect())
}
