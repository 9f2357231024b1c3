//! The plans of decoding: one token, and a chunk of a prompt.
//!
//! ```text
//! each block   norm · q,k,v · turn · append       1        norm, then one product        2
//!              attend                             1        attend                        1
//!              output + residual                  1        output + residual             1
//!              norm · inner + activation          1        norm, then one product        2
//!              outer + residual                   1        outer + residual              1
//! tail         final norm · logits · winners      1        —
//!              sample, feed back                  1        —                             (1 embed in front)
//! one token    5 L + 2                                     chunk of a prompt  7 L + 1
//! ```
//!
//! A block whose feed-forward stands beside attention takes as many, where four would do: its two norms have gains of their
//! own, so that one product for both would need weights with the gains multiplied in, which are no longer the file's.
//!
//! Both read the same weights and fill the same cache of keys (rotated) and values `[G,room,D]` per layer. Positions come
//! from the state, so that the commands of every token are equal.

use super::super::kernel::Kernel;
use super::super::layers::activation;
use super::super::plan::{Attend, Plan, Product};
use super::super::source;
use super::super::weights::{Format, TURNS, ZEROS, first_bias, pairing};
use crate::catalogue::Role;
use crate::mechanism::{Law, Mechanism, Stack};
use crate::model::config::{Config, Norm, Positions};
use crate::model::step::Sizes;
use crate::{Error, Result};

/// What a plan of decoding is made for.
#[derive(Clone, Copy)]
pub struct Form<'a> {
    /// The model.
    pub config: &'a Config,
    /// How its matrices are stored.
    pub format: Format,
    /// What stands in attention's steps.
    pub stack: &'a Stack,
    /// Tokens for which the cache has room.
    pub room: usize,
}

/// 32-bit words of the state; see `shaders/shared/state.wgsl`.
pub const STATE_WORDS: usize = 16;

/// Slot → piece.
type Pieces = Vec<(&'static str, &'static str)>;

/// Plans one token: its row is in the stream; afterwards that of the next one is.
///
/// # Errors
/// [`Error::Unsupported`] for a stack that decodes on the processor only, [`Error::Gpu`] when something does not fit a
/// kernel.
pub fn step(form: Form<'_>) -> Result<Plan> {
    let config = form.config;
    form.check()?;
    let mut rows = Rows { form, rows: 1, plan: Plan::default() };
    rows.cache();
    for (name, words) in [("logits", config.vocabulary), ("best", 2 * config.vocabulary.div_ceil(tile()?))] {
        rows.plan.storage(name, words);
    }
    for layer in 0..config.layers {
        rows.block(layer)?;
    }
    let (w, weight) = if config.tied { ("embed", "columns") } else { ("unembed", "rows") };
    let store = vec![("store", "store_logits"), ("close", "store_logits")];
    let head = Part { x: "stream", w, affine: "a_head", normed: true, inner: config.width, columns: config.vocabulary };
    rows.decode_product(&head, weight, store, &[("logits", "logits"), ("best", "best")])?;
    rows.sample()?;
    Ok(rows.plan)
}

/// Plans a chunk of `rows` tokens of a prompt, from the state's position on, which is also `first`. Its own buffers hold
/// `room` rows; cache, state and tokens are those of [`step`].
///
/// # Errors
/// As [`step`].
pub fn chunk(form: Form<'_>, first: usize, rows: usize, room: usize) -> Result<Plan> {
    form.check()?;
    let mut chunk = Rows { form, rows, plan: Plan::default() };
    let config = form.config;
    let learned = config.positions == Positions::Learned;
    let width = config.width;
    let hidden = config.heads * config.head_width;
    for (name, words) in
        [("stream", width), ("mid", width), ("delta", width), ("normal", width), ("q", hidden), ("z", hidden)]
    {
        chunk.plan.storage(name, words * room);
    }
    chunk.plan.storage("pre", config.ffn * room);
    chunk.plan.storage("post", config.ffn * room);
    let shape = vec![
        ("rows", rows.into()),
        ("columns", width.into()),
        ("first", first.into()),
        ("take_token", 1.into()),
        ("take_position", usize::from(learned).into()),
    ];
    let positions = if learned { "positions" } else { ZEROS };
    let binds = [("tokens", "tokens"), ("w", "embed"), ("positions", positions), ("y", "stream")];
    let pieces = [("format", form.format.piece()), ("store", "store_rows")];
    chunk.plan.flat("embed", &pieces, rows * width.div_ceil(4), &binds, shape)?;
    for layer in 0..config.layers {
        chunk.block(layer)?;
    }
    Ok(chunk.plan)
}

/// Outputs of one workgroup of a product.
fn tile() -> Result<usize> {
    Ok(source::kernel("decode_product")?.constant("TILE")? as usize)
}

impl Form<'_> {
    /// Refuses roles whose decode state the kernels do not have, and masks under which a token sees those behind it: a
    /// prompt that is read in chunks has not got them yet.
    fn check(&self) -> Result<()> {
        let fault = |mechanism: &Mechanism| match mechanism.plug.role {
            Role::MaskMod if !mechanism.laws.iter().any(|law| matches!(law, Law::Causal)) => {
                Some("gpu, where a token cannot see those behind it")
            }
            Role::ScoreMod | Role::MaskMod | Role::Normalizer => None,
            _ => Some("gpu, where this role has no decode state"),
        };
        match self.stack.iter().find_map(|placed| Some((placed.mechanism.id, fault(placed.mechanism)?))) {
            None => Ok(()),
            Some((id, came)) => Err(Error::Unsupported {
                file: id.into(),
                key: "decoding".into(),
                expected: "cpu".into(),
                came: came.into(),
            }),
        }
    }
}

/// One product: operands by buffer, and its sizes.
struct Part<'a> {
    x: &'a str,
    w: &'a str,
    affine: &'a str,
    /// Whether x goes through the norm whose gains the affine buffer holds.
    normed: bool,
    inner: usize,
    columns: usize,
}

struct Rows<'a> {
    form: Form<'a>,
    rows: usize,
    plan: Plan,
}

impl Rows<'_> {
    /// The buffers that one token needs, cache, state and tokens among them.
    fn cache(&mut self) {
        let Form { config, stack, room, .. } = self.form;
        let (hidden, cached) = (config.heads * config.head_width, config.kv_heads * config.head_width * room);
        for (name, words) in [
            ("state", STATE_WORDS),
            ("tokens", room),
            ("stream", config.width),
            ("mid", config.width),
            ("delta", config.width),
            ("q", hidden),
            ("z", hidden),
            ("pre", config.ffn),
            ("post", config.ffn),
        ] {
            self.plan.storage(name, words);
        }
        for layer in 0..config.layers {
            self.plan.storage(format!("k.{layer}"), cached);
            self.plan.storage(format!("v.{layer}"), cached);
        }
        self.plan.stack(stack, config.layers, config.heads, config.kv_heads, config.head_width);
    }

    fn block(&mut self, layer: usize) -> Result<()> {
        let config = self.form.config;
        let name = |part: &str| format!("blocks.{layer}.{part}");
        let (hidden, kv) = (config.heads * config.head_width, config.kv_heads * config.head_width);
        let (k, v) = (format!("k.{layer}"), format!("v.{layer}"));

        let (w, affine) = (name("attn.w_qkv"), name("attn.a_qkv"));
        let part =
            Part { x: "stream", w: &w, affine: &affine, normed: true, inner: config.width, columns: hidden + 2 * kv };
        let rotary = matches!(config.positions, Positions::Rotary { .. });
        let turn = if rotary { "turn_pairs" } else { "turn_none" };
        let turns = rotary.then_some(("turns", TURNS));
        let binds: Vec<_> = [("q", "q"), ("k", &k), ("v", &v)].into_iter().chain(turns).collect();
        self.product(&part, vec![("store", "store_cached"), ("turn", turn)], &binds)?;

        let sizes = Sizes {
            batch: 1,
            heads: config.heads,
            kv_heads: config.kv_heads,
            queries: self.rows,
            keys: self.form.room,
            width: config.head_width,
        };
        let at = Attend {
            q: "q",
            k: &k,
            v: &v,
            z: "z",
            capture: None,
            state: Some("state"),
            layer,
            layers: config.layers,
            sizes,
            room: sizes,
            first_query: 0,
            first_head: 0,
            shown: config.heads,
            scale: config.scale(),
        };
        self.plan.attend(self.form.stack, &at)?;

        let (w, affine) = (name("attn.w_o"), name("attn.a_o"));
        let part = Part { x: "z", w: &w, affine: &affine, normed: false, inner: hidden, columns: config.width };
        let residual = vec![("load", "load_heads"), ("store", "store_residual")];
        self.product(&part, residual, &[("residual", "stream"), ("y", "mid"), ("delta", "delta")])?;

        let (w, affine) = (name("ffn.w_inner"), name("ffn.a_inner"));
        let (store, columns) =
            if config.gated { ("store_gated", 2 * config.ffn) } else { ("store_activated", config.ffn) };
        let x = if config.parallel { "stream" } else { "mid" };
        let part = Part { x, w: &w, affine: &affine, normed: true, inner: config.width, columns };
        let pieces = vec![("store", store), ("activation", activation(config))];
        self.product(&part, pieces, &[("pre", "pre"), ("post", "post")])?;

        let (w, affine) = (name("ffn.w_out"), name("ffn.a_out"));
        let part = Part { x: "post", w: &w, affine: &affine, normed: false, inner: config.ffn, columns: config.width };
        let binds = [("residual", "mid"), ("y", "stream"), ("delta", "delta")];
        self.product(&part, vec![("load", "load_rows"), ("store", "store_residual")], &binds)
    }

    /// A product with a matrix that lies in rows, for one row or for many.
    fn product(&mut self, part: &Part<'_>, pieces: Pieces, binds: &[(&str, &str)]) -> Result<()> {
        if self.rows > 1 || self.plan.buffers.contains_key("normal") {
            return self.matmul(part, pieces, binds);
        }
        let pieces = pieces.into_iter().filter(|(slot, _)| *slot != "load").chain([("close", "close_none")]).collect();
        self.decode_product(part, "rows", pieces, binds)
    }

    fn matmul(&mut self, part: &Part<'_>, mut pieces: Pieces, binds: &[(&str, &str)]) -> Result<()> {
        let config = self.form.config;
        let mut x = part.x;
        if part.normed {
            let kernel = match config.norm {
                Norm::Rms => "rms_norm",
                Norm::Layer => "layer_norm",
            };
            let shape = vec![("width", config.width.into()), ("epsilon", (config.norm_epsilon as f32).into())];
            let binds = [("x", x), ("affine", part.affine), ("y", "normal")];
            self.plan.step(Kernel::new(kernel, &[]), &binds, shape, [self.rows, 1, 1])?;
            x = "normal";
            pieces.push(("load", "load_rows"));
        }
        pieces.extend([("weight", "weight_rows"), ("format", self.form.format.piece())]);
        let mut binds = binds.to_vec();
        if pieces.contains(&("store", "store_cached")) {
            binds.push(("state", "state"));
        }
        let product = Product {
            x,
            w: part.w,
            b: part.affine,
            b_first: if part.normed { first_bias(config) } else { 0 },
            rows: self.rows,
            inner: part.inner,
            columns: part.columns,
            heads: [config.heads, config.kv_heads],
            width: config.head_width,
            pairing: pairing(config),
            stride: self.form.room,
        };
        self.plan.matmul(&product, &pieces, &binds)
    }

    /// A product for one row; `weight` says whether the matrix lies in rows or in columns.
    fn decode_product(
        &mut self,
        part: &Part<'_>,
        weight: &'static str,
        mut pieces: Pieces,
        binds: &[(&str, &str)],
    ) -> Result<()> {
        let config = self.form.config;
        let input = match (part.normed, config.norm) {
            (false, _) => "input_plain",
            (true, Norm::Rms) => "input_rms",
            (true, Norm::Layer) => "input_layer",
        };
        let [weight, share] = match weight {
            "columns" => ["weight_columns", "share_columns"],
            _ => ["weight_rows", "share_rows"],
        };
        let format = self.form.format.piece();
        pieces.extend([("weight", weight), ("share", share), ("format", format), ("input", input)]);
        let own = [("state", "state"), ("x", part.x), ("w", part.w), ("affine", part.affine)];
        let binds: Vec<_> = own.into_iter().chain(binds.iter().copied()).collect();
        let [step, gap] = pairing(config);
        let shape = vec![
            ("rows", 1.into()),
            ("inner", part.inner.into()),
            ("columns", part.columns.into()),
            ("b_first", if part.normed { first_bias(config) } else { 0 }.into()),
            ("epsilon", (config.norm_epsilon as f32).into()),
            ("heads", config.heads.into()),
            ("kv_heads", config.kv_heads.into()),
            ("width", config.head_width.into()),
            ("step", step.into()),
            ("gap", gap.into()),
            ("stride", self.form.room.into()),
        ];
        let groups = [part.columns.div_ceil(tile()?), 1, 1];
        self.plan.step(Kernel::new("decode_product", &pieces), &binds, shape, groups)
    }

    fn sample(&mut self) -> Result<()> {
        let config = self.form.config;
        let learned = config.positions == Positions::Learned;
        let shape = vec![
            ("vocabulary", config.vocabulary.into()),
            ("width", config.width.into()),
            ("take_position", usize::from(learned).into()),
        ];
        let binds = [
            ("state", "state"),
            ("tokens", "tokens"),
            ("logits", "logits"),
            ("best", "best"),
            ("positions", if learned { "positions" } else { ZEROS }),
            ("x", "stream"),
            ("w", "embed"),
        ];
        let kernel = Kernel::new("sample", &[("format", self.form.format.piece())]);
        self.plan.step(kernel, &binds, shape, [1, 1, 1])
    }
}
