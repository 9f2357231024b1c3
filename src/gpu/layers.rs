//! The plan of a forward pass.
//!
//! ```text
//! embed                                                        1
//! each block   norm · q,k,v · (rotate) · attend · output       4 + rotate, + residual in the epilogue
//!              norm · inner + activation · outer               3, + residual in the epilogue
//! final norm · logits                                          2
//! ```
//!
//! That is 8 L + 3 dispatches with rotary and 7 L + 3 with learned positions, in one pass and one submit: 51 for the shipped
//! model. Captures cost a dispatch for each part of the embedding, and per layer one for maps and one for results of heads: what
//! the pass itself computes is the same to the bit whether or not somebody looks. An activation that is asked for gets a
//! buffer of its own; all others share one per kind, layer after layer. Rotated queries and keys always stay, so that the
//! maps of a head can be computed later.

use super::kernel::Kernel;
use super::plan::{Attend, Past, Plan, Product, Read};
use super::project::Unturned;
use super::weights::{Format, Section, TURNS, ZEROS, first_bias, pairing};
use crate::hook::{HookPoint, Selection, Site};
use crate::mechanism::Stack;
use crate::model::config::{Activation, Config, Norm, Positions};
use crate::model::step::Sizes;
use crate::{Error, Result};

/// A forward pass as a plan, and where each wanted activation lies.
pub struct Pass {
    /// Buffers, dispatches, reads; the first read is the logits.
    pub plan: Plan,
    /// Hook point and sizes of each further read.
    pub captures: Vec<(HookPoint, Vec<usize>)>,
}

/// Buffers of the rotated queries and keys of a layer.
pub fn rotated(config: &Config, layer: usize) -> [String; 2] {
    match config.positions {
        Positions::Rotary { .. } => [format!("rot_q.{layer}"), format!("rot_k.{layer}")],
        Positions::Learned => [format!("q.{layer}"), format!("k.{layer}")],
    }
}

/// Plans a pass of `tokens` tokens; `capacity` sizes the buffers.
///
/// # Errors
/// [`Error::Gpu`] when something does not fit a kernel.
pub fn pass(
    config: &Config,
    format: Format,
    stack: &Stack,
    wants: &Selection,
    has_slot: bool,
    tokens: usize,
    capacity: usize,
) -> Result<Pass> {
    let plan = Plan::default();
    let mut layers = Layers { config, format, stack, wants, has_slot, tokens, capacity, plan, captures: Vec::new() };
    let logits = config.vocabulary;
    layers.plan.storage("logits", capacity * logits);
    layers.plan.reads.push(Read { buffer: "logits".into(), first: 0, words: tokens * logits });
    layers.plan.stack(stack, config.layers, config.heads, config.kv_heads, config.head_width);
    layers.plan.storage("tokens", capacity);
    let mut stream = layers.embed()?;
    for layer in 0..config.layers {
        stream = layers.block(layer, stream)?;
    }
    layers.head(&stream)?;
    Ok(Pass { plan: layers.plan, captures: layers.captures })
}

struct Layers<'a> {
    config: &'a Config,
    format: Format,
    stack: &'a Stack,
    wants: &'a Selection,
    has_slot: bool,
    tokens: usize,
    capacity: usize,
    plan: Plan,
    captures: Vec<(HookPoint, Vec<usize>)>,
}

impl Layers<'_> {
    fn wants(&self, layer: usize, site: Site) -> bool {
        self.wants.has(HookPoint::new(layer, site))
    }

    /// Sizes of an activation of `tokens` tokens.
    fn sizes(&self, site: Site, tokens: usize) -> Vec<usize> {
        let size = |letter| match letter {
            'H' => self.config.heads,
            'G' => self.config.kv_heads,
            'D' => self.config.head_width,
            'M' => self.config.width,
            'F' => self.config.ffn,
            'V' => self.config.vocabulary,
            'Q' | 'K' => tokens,
            _ => 1,
        };
        site.axes().chars().map(size).collect()
    }

    fn words(&self, site: Site, tokens: usize) -> usize {
        self.sizes(site, tokens).iter().product()
    }

    /// The buffer of an activation: its own when it is wanted, `shared` otherwise.
    fn place(&mut self, layer: usize, site: Site, shared: &str) -> String {
        let words = self.words(site, self.capacity);
        if !self.wants(layer, site) {
            return self.plan.storage(shared, words);
        }
        let at = HookPoint::new(layer, site);
        let name = self.plan.storage(at.to_string(), words);
        self.capture(at, &name, 0);
        name
    }

    /// Reads an activation that lies in `buffer` from word `first` on.
    fn capture(&mut self, at: HookPoint, buffer: &str, first: usize) {
        let words = self.words(at.site, self.tokens);
        self.plan.reads.push(Read { buffer: buffer.into(), first, words });
        self.captures.push((at, self.sizes(at.site, self.tokens)));
    }

    fn embed(&mut self) -> Result<String> {
        let learned = self.config.positions == Positions::Learned;
        let positions = if learned { "positions" } else { ZEROS };
        let stream = self.plan.storage("stream", self.words(Site::ResidPre, self.capacity));
        let mut parts = vec![(stream.clone(), true, learned)];
        for (site, token, position) in [(Site::Embed, true, false), (Site::PosEmbed, false, true)] {
            if self.wants(0, site) && (token || learned) {
                parts.push((self.place(0, site, ""), token, position));
            }
        }
        let count = self.tokens * self.config.width.div_ceil(4);
        for (x, token, position) in parts {
            let shape = vec![
                ("rows", self.tokens.into()),
                ("columns", self.config.width.into()),
                ("first", 0.into()),
                ("take_token", usize::from(token).into()),
                ("take_position", usize::from(position).into()),
            ];
            let pieces = [("format", self.format.piece()), ("store", "store_rows")];
            let binds = [("tokens", "tokens"), ("w", "embed"), ("positions", positions), ("y", &x)];
            self.plan.flat("embed", &pieces, count, &binds, shape)?;
        }
        Ok(stream)
    }

    fn norm(&mut self, affine: &str, x: &str, y: &str) -> Result<()> {
        let shape = vec![("width", self.config.width.into()), ("epsilon", (self.config.norm_epsilon as f32).into())];
        let groups = [self.tokens, 1, 1];
        let kernel = match self.config.norm {
            Norm::Rms => "rms_norm",
            Norm::Layer => "layer_norm",
        };
        self.plan.step(Kernel::new(kernel, &[]), &[("x", x), ("affine", affine), ("y", y)], shape, groups)
    }

    /// A product whose biases begin at `b_first` of `b`.
    fn product<'a>(&self, x: &'a str, w: &'a Section, b: (&'a str, usize), inner: usize) -> Product<'a> {
        let (b, b_first) = b;
        let heads = [self.config.heads, self.config.kv_heads];
        let (width, pairing) = (self.config.head_width, pairing(self.config));
        Product { x, w, b, b_first, rows: self.tokens, inner, heads, width, pairing, stride: self.tokens, held: None }
    }

    fn block(&mut self, layer: usize, stream: String) -> Result<String> {
        if self.wants(layer, Site::ResidPre) {
            // Whoever wrote the stream has given it a buffer of its own for this.
            self.capture(HookPoint::new(layer, Site::ResidPre), &stream, 0);
        }
        let normal = self.place(layer, Site::Ln1, "normal");
        self.norm(&format!("blocks.{layer}.attn.a_qkv"), &stream, &normal)?;
        let z = self.attend(layer, &normal)?;
        let mid = match self.config.parallel {
            // What both parts add to is no activation of the model, only half of a sum.
            true => self.plan.storage("stream_mid", self.words(Site::ResidPre, self.capacity)),
            false => self.place(layer, Site::ResidMid, "stream_mid"),
        };
        self.output(layer, &z, &stream, &mid)?;
        let read = if self.config.parallel { &stream } else { &mid };
        self.feed_forward(layer, read, &mid)
    }

    /// Normalised x → z.
    fn attend(&mut self, layer: usize, x: &str) -> Result<String> {
        let config = self.config;
        let [rot_q, rot_k] = rotated(config, layer);
        let rotary = matches!(config.positions, Positions::Rotary { .. });
        let (shared_q, shared_k) = if rotary { ("q", "k") } else { (rot_q.as_str(), rot_k.as_str()) };
        let kept = |layers: &mut Self, site: Site, shared: &str| {
            let name = layers.plan.storage(shared, layers.words(site, layers.capacity));
            if layers.wants(layer, site) {
                layers.capture(HookPoint::new(layer, site), &name, 0);
            }
            name
        };
        // With learned positions the buffers that stay are q and k themselves.
        let (q, k) = match rotary {
            true => (self.place(layer, Site::Q, shared_q), self.place(layer, Site::K, shared_k)),
            false => (kept(self, Site::Q, shared_q), kept(self, Site::K, shared_k)),
        };
        let v = self.place(layer, Site::V, "v");
        let (w, b) = (Section::qkv(config, layer), format!("blocks.{layer}.attn.a_qkv"));
        let format = ("format", self.format.piece());
        let pieces = [("load", "load_rows"), ("weight", "weight_rows"), format, ("store", "store_heads")];
        let product = self.product(x, &w, (&b, first_bias(config)), config.width);
        self.plan.matmul(&product, &pieces, &[("q", &q), ("k", &k), ("v", &v)])?;
        if rotary {
            kept(self, Site::RotQ, &rot_q);
            kept(self, Site::RotK, &rot_k);
            let [step, gap] = pairing(config);
            let shape = vec![
                ("heads", config.heads.into()),
                ("kv_heads", config.kv_heads.into()),
                ("rows", self.tokens.into()),
                ("width", config.head_width.into()),
                ("step", step.into()),
                ("gap", gap.into()),
            ];
            let count = (config.heads + config.kv_heads) * self.tokens * config.head_width / 2;
            let binds = [("q", q.as_str()), ("k", &k), ("turns", TURNS), ("rot_q", &rot_q), ("rot_k", &rot_k)];
            self.plan.flat("rotate", &[], count, &binds, shape)?;
        }
        let z = self.place(layer, Site::Z, "z");
        let maps = self.maps(layer);
        let sizes = Sizes {
            batch: 1,
            heads: config.heads,
            kv_heads: config.kv_heads,
            queries: self.tokens,
            keys: self.tokens,
            width: config.head_width,
        };
        let capture = maps.as_deref();
        let at = Attend {
            q: &rot_q,
            k: &rot_k,
            v: &v,
            z: &z,
            capture,
            state: None,
            held: None,
            past: Past::Whole,
            layer,
            layers: config.layers,
            sizes,
            room: Sizes { queries: self.capacity, keys: self.capacity, ..sizes },
            first_query: 0,
            first_head: 0,
            shown: config.heads,
            scale: config.scale(),
        };
        let turns = rotary.then_some(TURNS);
        let given = Unturned { q: &q, k: &k, v: &v, turns, pairing: pairing(config) };
        self.plan.attend_projected(self.stack, &given, &at)?;
        Ok(z)
    }

    /// The buffer of maps, where a layer's scores, pattern or slot are wanted.
    fn maps(&mut self, layer: usize) -> Option<String> {
        let slot = self.has_slot && self.wants(layer, Site::Slot);
        let (scores, pattern) = (self.wants(layer, Site::Scores), self.wants(layer, Site::Pattern));
        if !(slot || scores || pattern) {
            return None;
        }
        let words = 2 * self.words(Site::Pattern, self.capacity) + self.words(Site::Slot, self.capacity);
        let maps = self.plan.storage(format!("maps.{layer}"), words);
        let map = self.words(Site::Scores, self.tokens);
        for (wanted, site, first) in
            [(scores, Site::Scores, 0), (pattern, Site::Pattern, map), (slot, Site::Slot, 2 * map)]
        {
            if wanted {
                self.capture(HookPoint::new(layer, site), &maps, first);
            }
        }
        Some(maps)
    }

    /// Mixes of values → the residual stream, and alone.
    fn output(&mut self, layer: usize, z: &str, stream: &str, mid: &str) -> Result<()> {
        let w = Section::whole(format!("blocks.{layer}.attn.w_o"), self.config.width);
        let b = format!("blocks.{layer}.attn.a_o");
        let delta = self.place(layer, Site::AttnOut, "delta");
        let inner = self.config.heads * self.config.head_width;
        let format = ("format", self.format.piece());
        let pieces = [("load", "load_heads"), ("weight", "weight_rows"), format, ("store", "store_residual")];
        let product = self.product(z, &w, (&b, 0), inner);
        self.plan.matmul(&product, &pieces, &[("residual", stream), ("y", mid), ("delta", &delta)])?;
        if self.wants(layer, Site::Result) {
            let result = self.place(layer, Site::Result, "");
            let shape = vec![
                ("heads", self.config.heads.into()),
                ("rows", self.tokens.into()),
                ("width", self.config.head_width.into()),
                ("columns", self.config.width.into()),
            ];
            let count = self.config.heads * self.tokens * self.config.width.div_ceil(4);
            self.plan.flat("result", &[format], count, &[("z", z), ("w", &w.w), ("result", &result)], shape)?;
        }
        Ok(())
    }

    /// The stream that the feed-forward reads, and the one it adds to → the stream behind the layer.
    fn feed_forward(&mut self, layer: usize, read: &str, mid: &str) -> Result<String> {
        let config = self.config;
        let ffn = format!("blocks.{layer}.ffn");
        let normal = self.place(layer, Site::Ln2, "normal");
        self.norm(&format!("{ffn}.a_inner"), read, &normal)?;
        let pre = self.place(layer, Site::MlpPre, "pre");
        let post = self.place(layer, Site::MlpPost, "post");
        let store = if config.gated { "store_gated" } else { "store_activated" };
        let (w, b) = (Section::inner(config, layer), format!("{ffn}.a_inner"));
        let format = ("format", self.format.piece());
        let activation = ("activation", activation(config));
        let pieces = [("load", "load_rows"), ("weight", "weight_rows"), format, ("store", store), activation];
        let product = self.product(&normal, &w, (&b, first_bias(config)), config.width);
        self.plan.matmul(&product, &pieces, &[("pre", &pre), ("post", &post)])?;
        let delta = self.place(layer, Site::MlpOut, "delta");
        // The next block's first activation is this one's last.
        let wanted = self.wants(layer, Site::ResidPost) || self.wants(layer + 1, Site::ResidPre);
        let out = if wanted { HookPoint::new(layer, Site::ResidPost).to_string() } else { "stream_out".into() };
        let out = self.plan.storage(out, self.words(Site::ResidPost, self.capacity));
        if self.wants(layer, Site::ResidPost) {
            self.capture(HookPoint::new(layer, Site::ResidPost), &out, 0);
        }
        let (w, b) = (Section::whole(format!("{ffn}.w_out"), config.width), format!("{ffn}.a_out"));
        let pieces = [("load", "load_rows"), ("weight", "weight_rows"), format, ("store", "store_residual")];
        let product = self.product(&post, &w, (&b, 0), config.ffn);
        self.plan.matmul(&product, &pieces, &[("residual", mid), ("y", &out), ("delta", &delta)])?;
        Ok(out)
    }

    fn head(&mut self, stream: &str) -> Result<()> {
        let normal = self.place(0, Site::LnFinal, "normal");
        self.norm("a_head", stream, &normal)?;
        if self.wants(0, Site::Logits) {
            self.capture(HookPoint::new(0, Site::Logits), "logits", 0);
        }
        let (w, weight) = if self.config.tied { ("embed", "weight_columns") } else { ("unembed", "weight_rows") };
        let format = ("format", self.format.piece());
        let pieces = [("load", "load_rows"), ("weight", weight), format, ("store", "store_rows")];
        let b = ("a_head", first_bias(self.config));
        let w = Section::whole(w, self.config.vocabulary);
        let product = self.product(&normal, &w, b, self.config.width);
        self.plan.matmul(&product, &pieces, &[("y", "logits")])
    }
}

/// The piece that applies a model's activation.
pub(super) fn activation(config: &Config) -> &'static str {
    match config.activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Silu => "silu",
        Activation::Relu => "relu",
    }
}

/// Refuses a configuration that the kernels cannot run, before any weight is uploaded.
///
/// # Errors
/// [`Error::Gpu`] naming what is too large.
pub fn check(config: &Config, stack: &Stack) -> Result<()> {
    pass(config, Format::F32, stack, &Selection::default(), false, 1, 1).map(|_| ()).map_err(|error| match error {
        Error::Gpu { problem } => Error::Gpu { problem: format!("this model cannot run here: {problem}") },
        other => other,
    })
}
