//! What a decoder model is made of: sizes and the choices that tell the families apart.
//!
//! A [`Config`] is checked once, where a file is read; the model trusts it afterwards. [`Config::manifest`] is the one
//! list of weights a configuration needs, with their shapes; initialisation, loading, saving and counting all walk it.

use super::rotary::frequencies;
use crate::outcome::ModelFacts;
use crate::{Error, Result};
pub use attnscope_loops::steps::{Activation, Norm, Pairing};

/// Which family's files and naming a model follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Learned positions, LayerNorm, biases.
    Gpt2,
    /// Rotary positions, RMSNorm, gated feed-forward.
    Llama,
    /// Rotary positions in a part of each head, LayerNorm, biases, attention and feed-forward side by side (Pythia).
    NeoX,
}

/// How the model knows positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Positions {
    /// A learned vector per position, added to the embedding.
    Learned,
    /// Queries and keys turn with their position.
    Rotary {
        /// Base of the geometric series of wavelengths.
        theta: f64,
        /// Which entries rotate together.
        pairing: Pairing,
    },
}

/// Sizes and choices of a decoder model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Whose files and naming.
    pub family: Family,
    /// L.
    pub layers: usize,
    /// H.
    pub heads: usize,
    /// G; divides H.
    pub kv_heads: usize,
    /// D.
    pub head_width: usize,
    /// M.
    pub width: usize,
    /// Inner width F of the feed-forward.
    pub ffn: usize,
    /// V.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Norm of every sublayer.
    pub norm: Norm,
    /// Added to the variance under the root.
    pub norm_epsilon: f64,
    /// Positions.
    pub positions: Positions,
    /// Entries of each query and key that turn with the position; absent, all of them. The others belong to pairs that turn
    /// by nothing, see [`Config::frequencies`].
    pub turned: Option<usize>,
    /// Whether the feed-forward reads the same residual stream as attention, and both add to it: x + attention(ln1(x)) +
    /// ffn(ln2(x)). There is no stream between them then.
    pub parallel: bool,
    /// Nonlinearity of the feed-forward.
    pub activation: Activation,
    /// Whether the feed-forward multiplies activation(x·W_gate) with x·W_in.
    pub gated: bool,
    /// Whether the vocabulary head is the embedding, transposed.
    pub tied: bool,
    /// Whether q, k, v and the output projection have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward has biases.
    pub ffn_bias: bool,
    /// Token that stands at the beginning of a document.
    pub bos: Option<u32>,
    /// Token that ends a document.
    pub eos: Option<u32>,
}

impl Config {
    /// A Llama-family model as trained here: Hugging Face rotary pairing, RMSNorm, SwiGLU, tied head, no biases.
    pub fn llama(vocabulary: usize, width: usize, layers: usize, heads: usize, kv_heads: usize, ffn: usize) -> Self {
        Self {
            family: Family::Llama,
            layers,
            heads,
            kv_heads,
            head_width: width / heads.max(1),
            width,
            ffn,
            vocabulary,
            context: 512,
            norm: Norm::Rms,
            norm_epsilon: 1e-5,
            positions: Positions::Rotary { theta: 10_000.0, pairing: Pairing::Half },
            turned: None,
            parallel: false,
            activation: Activation::Silu,
            gated: true,
            tied: true,
            attention_bias: false,
            ffn_bias: false,
            bos: None,
            eos: None,
        }
    }

    /// A GPT-2-family model: learned positions, LayerNorm, tanh GELU, tied head, biases.
    pub fn gpt2(vocabulary: usize, width: usize, layers: usize, heads: usize, context: usize) -> Self {
        Self {
            family: Family::Gpt2,
            layers,
            heads,
            kv_heads: heads,
            head_width: width / heads.max(1),
            width,
            ffn: 4 * width,
            vocabulary,
            context,
            norm: Norm::Layer,
            norm_epsilon: 1e-5,
            positions: Positions::Learned,
            turned: None,
            parallel: false,
            activation: Activation::GeluTanh,
            gated: false,
            tied: true,
            attention_bias: true,
            ffn_bias: true,
            bos: None,
            eos: None,
        }
    }

    /// A GPT-NeoX-family model as Pythia's are: a quarter of each head turns, parallel blocks, exact GELU, a head of its own.
    pub fn neox(vocabulary: usize, width: usize, layers: usize, heads: usize, context: usize) -> Self {
        Self {
            family: Family::NeoX,
            positions: Positions::Rotary { theta: 10_000.0, pairing: Pairing::Half },
            turned: Some(width / heads.max(1) / 4),
            parallel: true,
            activation: Activation::Gelu,
            tied: false,
            ..Self::gpt2(vocabulary, width, layers, heads, context)
        }
    }

    /// How fast each pair of entries of a head turns, in radians per token `[D/2]`: the pairs of [`Config::turned`] entries
    /// along a geometric series, the others not at all. Empty where positions are learned.
    pub fn frequencies(&self) -> Vec<f64> {
        match self.positions {
            Positions::Learned => Vec::new(),
            Positions::Rotary { theta, .. } => {
                frequencies(theta, self.turned.unwrap_or(self.head_width), self.head_width)
            }
        }
    }

    /// Checks sizes that must be positive, fit each other and stay within what a browser can hold.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the key; `file` is where the configuration came from.
    pub fn check(&self, file: &str) -> Result<()> {
        let refuse = |key: &str, expected: &str, came: String| {
            Err(Error::Unsupported { file: file.into(), key: key.into(), expected: expected.into(), came })
        };
        // Bounds far above any model this program can run; they keep the products below inside u64.
        for (key, value, most) in [
            ("layers", self.layers, 256),
            ("heads", self.heads, 1024),
            ("kv_heads", self.kv_heads, 1024),
            ("head_width", self.head_width, 1024),
            ("width", self.width, 1 << 15),
            ("ffn", self.ffn, 1 << 17),
            ("vocabulary", self.vocabulary, 1 << 20),
            ("context", self.context, 1 << 20),
        ] {
            if value == 0 || value > most {
                return refuse(key, &format!("1..={most}"), value.to_string());
            }
        }
        let count = |(_, shape): &(String, Vec<usize>)| shape.iter().map(|size| *size as u64).product::<u64>();
        let parameters: u64 = self.manifest().iter().map(count).sum();
        if parameters > (usize::MAX / 4) as u64 {
            return refuse("parameters", "what this machine can address as f32", parameters.to_string());
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return refuse("kv_heads", &format!("a divisor of the {} heads", self.heads), self.kv_heads.to_string());
        }
        if let Positions::Rotary { theta, .. } = self.positions {
            if !self.head_width.is_multiple_of(2) {
                return refuse(
                    "head_width",
                    "an even width, since entries rotate in pairs",
                    self.head_width.to_string(),
                );
            }
            if let Some(turned) = self.turned
                && (turned == 0 || turned > self.head_width || !turned.is_multiple_of(2))
            {
                let expected = format!("an even number of entries in 2..={}", self.head_width);
                return refuse("rotary_pct", &expected, turned.to_string());
            }
            if !(theta.is_finite() && theta > 0.0) {
                return refuse("rope_theta", "a positive number", theta.to_string());
            }
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon >= 0.0) {
            return refuse("norm_epsilon", "a number that is not negative", self.norm_epsilon.to_string());
        }
        for (key, id) in [("bos_token_id", self.bos), ("eos_token_id", self.eos)] {
            if let Some(id) = id.filter(|id| *id as usize >= self.vocabulary) {
                return refuse(key, &format!("a token below the vocabulary of {}", self.vocabulary), id.to_string());
            }
        }
        Ok(())
    }

    /// Whether a continuation stops before this token.
    pub fn ends(&self, token: u32) -> bool {
        Some(token) == self.eos || Some(token) == self.bos
    }

    /// What scores are multiplied by: 1/√D.
    pub fn scale(&self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    /// Every weight by its canonical name, with its shape; the names are explained at
    /// [`Weights`](super::weights::Weights).
    pub fn manifest(&self) -> Vec<(String, Vec<usize>)> {
        let (m, f, v) = (self.width, self.ffn, self.vocabulary);
        let (hd, gd) = (self.heads * self.head_width, self.kv_heads * self.head_width);
        let mut list: Vec<(String, Vec<usize>)> = vec![("embed".into(), vec![v, m])];
        if self.positions == Positions::Learned {
            list.push(("positions".into(), vec![self.context, m]));
        }
        let norm = |list: &mut Vec<_>, name: String| {
            list.push((format!("{name}.w"), vec![m]));
            if self.norm == Norm::Layer {
                list.push((format!("{name}.b"), vec![m]));
            }
        };
        for layer in 0..self.layers {
            let at = |name: &str| format!("blocks.{layer}.{name}");
            norm(&mut list, at("ln1"));
            for (name, sizes) in [("q", [m, hd]), ("k", [m, gd]), ("v", [m, gd]), ("o", [hd, m])] {
                list.push((at(&format!("attn.w_{name}")), sizes.to_vec()));
                if self.attention_bias {
                    list.push((at(&format!("attn.b_{name}")), vec![sizes[1]]));
                }
            }
            norm(&mut list, at("ln2"));
            for (name, sizes) in [("gate", [m, f]), ("in", [m, f]), ("out", [f, m])] {
                if name == "gate" && !self.gated {
                    continue;
                }
                list.push((at(&format!("ffn.w_{name}")), sizes.to_vec()));
                if self.ffn_bias {
                    list.push((at(&format!("ffn.b_{name}")), vec![sizes[1]]));
                }
            }
        }
        norm(&mut list, "ln_final".into());
        if !self.tied {
            list.push(("unembed".into(), vec![m, v]));
        }
        list
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.manifest().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// The sizes as the page and the command line show them.
    pub fn facts(&self, id: &str, file_bytes: usize) -> ModelFacts {
        ModelFacts {
            id: id.into(),
            family: match self.family {
                Family::Gpt2 => "gpt2".into(),
                Family::Llama => "llama".into(),
                Family::NeoX => "gpt_neox".into(),
            },
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_width: self.head_width,
            width: self.width,
            vocabulary: self.vocabulary,
            context: self.context,
            parameters: self.parameters(),
            file_bytes,
            sha256: String::new(),
        }
    }
}
