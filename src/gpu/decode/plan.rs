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
//!              4 L + 2 where blocks are parallel
//! ```
//!
//! Where the feed-forward stands beside attention, one product makes its inner activations, too: both norms share the
//! statistics of one stream and differ in their gains, which a workgroup chooses by its columns. The two products that end
//! such a block stay apart, since matrices in bytes have scales of their own.
//!
//! Both read the same weights and fill the same cache of keys (rotated) and values per layer, `[G,room,D]` or what is
//! needed of it, or take a state on ([`super::cache`]). Positions come from the state, so that the commands of every token
//! are equal. Where tokens take the rows of others, those of a chunk lie apart until its queries have looked, beside a copy
//! of the cache: two dispatches more. A mixer's norm over all heads is one more; of a token, the product behind it does it.

use super::super::attend::{Mixing, mixing, unsupported};
use super::super::kernel::Kernel;
use super::super::layers::activation;
use super::super::plan::{Attend, Past, Plan, Product, Read, Size, constant};
use super::super::weights::{Format, Section, TURNS, ZEROS, first_bias, joined, pairing, split};
use super::cache::{Cache, ring_words};
use crate::catalogue::Role;
use crate::mechanism::{Law, Place, Placed, Stack};
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
    /// How it is computed.
    pub way: Way,
    /// What each layer keeps.
    pub caches: &'a [Cache],
}

/// How a continuation is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// How many lanes work on the outputs of a product of one row.
    pub lanes: Lanes,
    /// Whether the queries of all positions are kept, so that maps can be had of what was written. The programs are the same
    /// and queries only go to another place: nothing is computed more, and nothing otherwise.
    pub keep: bool,
}

/// How lanes share the outputs of a product of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// Many to few outputs, as hardware wants it: `shaders/shared/chunk.wgsl`.
    Shared,
    /// Each has outputs of its own, as a software adapter wants it: `shaders/shared/whole.wgsl`.
    Alone,
}

impl Lanes {
    /// Outputs of one workgroup.
    fn tile(self) -> Result<usize> {
        constant(self.piece(), "TILE")
    }

    /// The piece that has the sizes.
    fn piece(self) -> &'static str {
        match self {
            Lanes::Shared => "chunk",
            Lanes::Alone => "whole",
        }
    }

    /// The piece that sums products with a matrix that lies in rows or in columns.
    fn share(self, in_columns: bool) -> &'static str {
        match (self, in_columns) {
            (Lanes::Shared, false) => "share_rows",
            (Lanes::Shared, true) => "share_columns",
            (Lanes::Alone, false) => "whole_rows",
            (Lanes::Alone, true) => "whole_columns",
        }
    }
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
    let mut rows = Rows { form, rows: 1, plan: form.plan() };
    rows.cache()?;
    for (name, words) in
        [("logits", config.vocabulary), ("best", 2 * config.vocabulary.div_ceil(form.way.lanes.tile()?))]
    {
        rows.plan.storage(name, words);
    }
    for layer in 0..config.layers {
        rows.block(layer)?;
    }
    let w = Section::whole(if config.tied { "embed" } else { "unembed" }, config.vocabulary);
    let store = vec![("store", "store_logits"), ("close", "store_logits")];
    let head = Part { x: "stream", w, affine: "a_head", input: Input::Normed, inner: config.width };
    rows.decode_product(&head, config.tied, store, &[("logits", "logits"), ("best", "best")])?;
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
    let mut chunk = Rows { form, rows, plan: form.plan() };
    let config = form.config;
    let learned = config.positions == Positions::Learned;
    let width = config.width;
    let hidden = config.heads * config.head_width;
    for (name, words) in [("stream", width), ("mid", width), ("delta", width), ("normal", width), ("z", hidden)] {
        chunk.plan.storage(name, words * room);
    }
    if !form.way.keep {
        chunk.plan.storage("q", hidden * room);
    }
    let kept =
        form.caches.iter().filter(|cache| cache.is_ring()).map(|cache| cache.rows(config.kv_heads, form.room)).max();
    if kept.is_some() || form.caches.iter().any(|cache| cache.state().is_some()) {
        for own in OWN {
            chunk.plan.storage(own, (config.kv_heads * room + kept.unwrap_or(0)) * config.head_width);
        }
    }
    if form.norm().is_some() {
        chunk.plan.storage("raw", hidden * room);
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

/// Buffers of keys and values of the tokens that are computed, where these go to the cache later or never.
const OWN: [&str; 2] = ["own_k", "own_v"];

/// The buffer that says where the heads of a layer keep what.
pub(super) fn rings(layer: usize) -> String {
    format!("rings.{layer}")
}

/// The buffer of a layer's state `[H,D,D]`.
fn memory(layer: usize) -> String {
    format!("memory.{layer}")
}

/// The buffer of a layer's queries `[H,room,D]` where they are kept; else all layers share one `[H,rows,D]`.
fn queries(form: Form<'_>, layer: usize) -> String {
    if form.way.keep { format!("q.{layer}") } else { "q".into() }
}

/// Plans the maps of one head for `count` queries from position `first` on, of which all are in the cache: a buffer `maps` of
/// scores and pattern `[2,count,first + count]`, then slots `[count]`.
///
/// # Errors
/// [`Error::Unsupported`] for a mixer, [`Error::Internal`] where queries were not kept, and as [`step`].
pub fn maps(form: Form<'_>, layer: usize, head: usize, first: usize, count: usize) -> Result<Plan> {
    let config = form.config;
    if let Some(mixer) = &form.stack.mixer {
        return Err(unsupported(mixer.mechanism.id, "gpu, where a mixer leaves nothing to make maps of"));
    }
    if !form.way.keep {
        return Err(Error::Internal("maps of a continuation that keeps no queries".into()));
    }
    let sizes = Sizes {
        batch: 1,
        heads: config.heads,
        kv_heads: config.kv_heads,
        queries: count,
        keys: first + count,
        width: config.head_width,
    };
    let mut plan = form.plan();
    plan.storage("maps", count * (2 * sizes.keys + 1));
    plan.storage("z", count * config.head_width);
    let at = Attend {
        q: &queries(form, layer),
        k: &format!("k.{layer}"),
        v: &format!("v.{layer}"),
        z: "z",
        capture: Some("maps"),
        state: None,
        held: Some(form.room),
        past: Past::Whole,
        layer,
        layers: config.layers,
        sizes,
        room: sizes,
        first_query: first,
        first_head: head,
        shown: 1,
        scale: config.scale(),
    };
    plan.maps(form.stack, &at)?;
    plan.reads.push(Read { buffer: "maps".into(), first: 0, words: count * (2 * sizes.keys + 1) });
    Ok(plan)
}

impl Form<'_> {
    /// A plan without anything in it.
    fn plan(&self) -> Plan {
        Plan { alone: self.way.lanes == Lanes::Alone, ..Plan::default() }
    }

    /// How a mixer goes on behind the tokens so far.
    fn mixing(&self, mixer: &Placed) -> Option<Mixing> {
        let Config { layers, heads, kv_heads, head_width: width, .. } = *self.config;
        let place = Place { layer: 0, layers, heads, kv_heads, keys: self.room, width, measured: None, rotates: false };
        mixing(mixer, &place)
    }

    /// The mixer whose output goes through a norm over all heads, and its function.
    fn norm(&self) -> Option<(&Placed, &'static str)> {
        let mixer = self.stack.mixer.as_ref()?;
        Some((mixer, self.mixing(mixer)?.norm?))
    }

    /// Refuses roles whose decode state the kernels do not have, and masks under which a token sees those behind it: a
    /// prompt that is read in chunks has not got them yet.
    fn check(&self) -> Result<()> {
        let fault = |placed: &Placed| match placed.mechanism.plug.role {
            Role::MaskMod if !placed.mechanism.laws.iter().any(|law| matches!(law, Law::Causal)) => {
                Some("gpu, where a token cannot see those behind it")
            }
            Role::ScoreMod | Role::MaskMod | Role::Normalizer => None,
            Role::Mixer if self.mixing(placed).is_some() => None,
            _ => Some("gpu, where this mechanism has no decode state"),
        };
        match self.stack.iter().find_map(|placed| Some((placed.mechanism.id, fault(placed)?))) {
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
    w: Section,
    affine: &'a str,
    input: Input<'a>,
    inner: usize,
}

/// What a product does with x first.
#[derive(Clone, Copy)]
enum Input<'a> {
    Plain,
    /// The norm whose gains the affine buffer holds.
    Normed,
    /// The norm of a mixer, and its function.
    Rooted(&'a Placed, &'static str),
}

impl Input<'_> {
    fn is_normed(self) -> bool {
        matches!(self, Input::Normed)
    }
}

struct Rows<'a> {
    form: Form<'a>,
    rows: usize,
    plan: Plan,
}

impl Rows<'_> {
    /// The buffers that one token needs, cache, state and tokens among them.
    fn cache(&mut self) -> Result<()> {
        let Form { config, stack, room, way: Way { lanes, keep }, .. } = self.form;
        // Padded to whole vectors, then two sums per tile: `shaders/shared/row_sums.wgsl`.
        let stream = config.width.next_multiple_of(4) + 2 * config.width.div_ceil(lanes.tile()?);
        let hidden = config.heads * config.head_width;
        for (name, words) in [
            ("state", STATE_WORDS),
            ("tokens", room),
            ("stream", stream),
            ("mid", stream),
            ("z", hidden),
            ("pre", config.ffn),
            ("post", config.ffn),
        ] {
            self.plan.storage(name, words);
        }
        for (layer, cache) in self.form.caches.iter().enumerate() {
            self.plan.storage(queries(self.form, layer), hidden * if keep { room } else { 1 });
            if let Some(numbers) = cache.state() {
                self.plan.storage(memory(layer), config.heads * numbers);
                for own in OWN {
                    self.plan.storage(own, config.kv_heads * config.head_width);
                }
                continue;
            }
            let cached = cache.rows(config.kv_heads, room) * config.head_width;
            self.plan.storage(format!("k.{layer}"), cached);
            self.plan.storage(format!("v.{layer}"), cached);
            if cache.is_ring() {
                self.plan.buffers.insert(rings(layer), Size { words: ring_words()?, uniform: true });
            }
        }
        self.plan.stack(stack, config.layers, config.heads, config.kv_heads, config.head_width);
        Ok(())
    }

    fn block(&mut self, layer: usize) -> Result<()> {
        let config = self.form.config;
        let name = |part: &str| format!("blocks.{layer}.{part}");
        let (q, k, v) = (queries(self.form, layer), format!("k.{layer}"), format!("v.{layer}"));
        // One product of a token makes everything that reads the stream, where blocks are parallel.
        let both = joined(config) && !self.is_chunk();
        let (w, affine, store) = match both {
            true => (Section::both(config, layer), name("a_both"), "store_both"),
            false => (Section::qkv(config, layer), name("attn.a_qkv"), "store_cached"),
        };
        let part = Part { x: "stream", w, affine: &affine, input: Input::Normed, inner: config.width };
        let rotary = matches!(config.positions, Positions::Rotary { .. });
        let turn = if rotary { "turn_pairs" } else { "turn_none" };
        let turns = rotary.then_some(("turns", TURNS));
        let cache = self.form.caches.get(layer);
        let is_ring = cache.is_some_and(Cache::is_ring);
        let has_state = cache.is_some_and(|cache| cache.state().is_some());
        let apart = has_state || is_ring && self.is_chunk();
        let [put_k, put_v] = if apart { OWN } else { [k.as_str(), v.as_str()] };
        let (ring_name, memory) = (rings(layer), memory(layer));
        let binds = [("q", q.as_str()), ("k", put_k), ("v", put_v)]
            .into_iter()
            .chain((is_ring && !self.is_chunk()).then_some(("rings", ring_name.as_str())))
            .chain(turns)
            .chain(both.then_some(("post", "post")));
        let activates = both.then_some(("activation", activation(config)));
        let places = match (apart, is_ring) {
            (true, _) => Some(("rows_whole", "rows_own")),
            (false, true) => Some(("rows_whole", "rows_ring")),
            (false, false) => None,
        };
        let pieces = [("store", store), ("turn", turn)].into_iter().chain(activates).chain(places).collect();
        self.product(&part, pieces, &binds.collect::<Vec<_>>())?;

        let sizes = Sizes {
            batch: 1,
            heads: config.heads,
            kv_heads: config.kv_heads,
            queries: self.rows,
            keys: self.form.room,
            width: config.head_width,
        };
        // Of a token, the product that follows goes through the norm itself.
        let form = self.form;
        let norm = form.norm();
        let raw = norm.filter(|_| self.is_chunk());
        if is_ring && self.is_chunk() {
            self.recall(&k, &v, cache.map_or(0, |cache| cache.rows(config.kv_heads, self.form.room)))?;
        }
        let past = match (has_state, is_ring) {
            (true, _) => Past::State(&memory),
            (false, true) => Past::Rings { rings: &ring_name, copied: self.is_chunk() },
            (false, false) => Past::Whole,
        };
        let at = Attend {
            q: &q,
            k: put_k,
            v: put_v,
            z: if raw.is_some() { "raw" } else { "z" },
            capture: None,
            state: Some("state"),
            held: self.held(),
            past,
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
        if let Some((mixer, function)) = raw {
            self.plan.normed(mixer, function, "raw", &Attend { z: "z", ..at })?;
        }
        if is_ring && self.is_chunk() {
            self.append(&k, &v, &ring_name)?;
        }

        let (w, affine) = (Section::whole(name("attn.w_o"), config.width), name("attn.a_o"));
        let input = norm.filter(|_| raw.is_none()).map_or(Input::Plain, |(mixer, norm)| Input::Rooted(mixer, norm));
        let part = Part { x: "z", w, affine: &affine, input, inner: config.heads * config.head_width };
        self.added(&part, "load_heads", "stream", "mid")?;

        if !both {
            let affine = name("ffn.a_inner");
            let store = if config.gated { "store_gated" } else { "store_activated" };
            let x = if config.parallel { "stream" } else { "mid" };
            let w = Section::inner(config, layer);
            let part = Part { x, w, affine: &affine, input: Input::Normed, inner: config.width };
            let pieces = vec![("store", store), ("activation", activation(config))];
            self.product(&part, pieces, &[("pre", "pre"), ("post", "post")])?;
        }

        let (w, affine) = (Section::whole(name("ffn.w_out"), config.width), name("ffn.a_out"));
        let part = Part { x: "post", w, affine: &affine, input: Input::Plain, inner: config.ffn };
        self.added(&part, "load_rows", "mid", "stream")
    }

    /// A copy of the `rows` rows of a cache goes behind the keys and values of a chunk.
    fn recall(&mut self, k: &str, v: &str, rows: usize) -> Result<()> {
        let config = self.form.config;
        let (first, count) = (self.rows * config.kv_heads * config.head_width, rows * config.head_width);
        let [own_k, own_v] = OWN.map(|own| (own, own));
        let shape = vec![("first", first.into()), ("count", count.into())];
        self.plan.flat("recall_rows", &[], count, &[("k", k), ("v", v), own_k, own_v], shape)
    }

    /// Keys and values of a chunk go to the cache.
    fn append(&mut self, k: &str, v: &str, rings: &str) -> Result<()> {
        let config = self.form.config;
        let shape =
            vec![("rows", self.rows.into()), ("kv_heads", config.kv_heads.into()), ("width", config.head_width.into())];
        let [own_k, own_v] = OWN.map(|own| (own, own));
        let binds = [own_k, own_v, ("k", k), ("v", v), ("state", "state"), ("rings", rings)];
        self.plan.flat("append_rows", &[], self.rows * config.kv_heads * config.head_width, &binds, shape)
    }

    /// A product that is added to the stream, which goes from one buffer to another.
    fn added(&mut self, part: &Part<'_>, load: &'static str, from: &str, to: &str) -> Result<()> {
        let binds = [("residual", from), ("y", to)];
        if self.is_chunk() {
            let binds: Vec<_> = binds.into_iter().chain([("delta", "delta")]).collect();
            return self.matmul(part, vec![("load", load), ("store", "store_residual")], &binds);
        }
        let store = vec![("store", "store_stream"), ("close", "store_stream")];
        self.decode_product(part, false, store, &binds)
    }

    /// Positions whose queries are held.
    fn held(&self) -> Option<usize> {
        self.form.way.keep.then_some(self.form.room)
    }

    /// Whether it is a chunk of a prompt, which may have one row.
    fn is_chunk(&self) -> bool {
        self.plan.buffers.contains_key("normal")
    }

    /// A product with a matrix that lies in rows, for one row or for many.
    fn product(&mut self, part: &Part<'_>, pieces: Pieces, binds: &[(&str, &str)]) -> Result<()> {
        if self.is_chunk() {
            return self.matmul(part, pieces, binds);
        }
        let pieces = pieces.into_iter().chain([("close", "close_none")]).collect();
        self.decode_product(part, false, pieces, binds)
    }

    fn matmul(&mut self, part: &Part<'_>, mut pieces: Pieces, binds: &[(&str, &str)]) -> Result<()> {
        let config = self.form.config;
        let mut x = part.x;
        if part.input.is_normed() {
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
            w: &part.w,
            b: part.affine,
            b_first: if part.input.is_normed() { first_bias(config) } else { 0 },
            rows: self.rows,
            inner: part.inner,
            heads: [config.heads, config.kv_heads],
            width: config.head_width,
            pairing: pairing(config),
            stride: if pieces.contains(&("rows_whole", "rows_own")) { self.rows } else { self.form.room },
            held: self.held(),
        };
        self.plan.matmul(&product, &pieces, &binds)
    }

    /// A product for one row; the matrix lies in rows or in columns.
    fn decode_product(
        &mut self,
        part: &Part<'_>,
        in_columns: bool,
        mut pieces: Pieces,
        binds: &[(&str, &str)],
    ) -> Result<()> {
        let config = self.form.config;
        let input = match (part.input, config.norm) {
            (Input::Plain, _) => "input_plain",
            (Input::Rooted(..), _) => "input_root",
            (Input::Normed, Norm::Rms) => "input_rms",
            (Input::Normed, Norm::Layer) => "input_layer",
        };
        let weight = if in_columns { "weight_columns" } else { "weight_rows" };
        let share = self.form.way.lanes.share(in_columns);
        let format = self.form.format.piece();
        pieces.extend([("weight", weight), ("share", share), ("format", format), ("input", input)]);
        let mut kernel = Kernel::new("decode_product", &[]);
        let mut parameters = None;
        if let Input::Rooted(mixer, function) = part.input {
            (kernel.mechanisms, kernel.function) = (vec![mixer.mechanism], function);
            parameters = Some(format!("{}_params", mixer.mechanism.id));
        }
        let parameters = parameters.as_deref().map(|name| (name, name));
        let own = [("state", "state"), ("x", part.x), ("w", &part.w.w), ("affine", part.affine)];
        let binds: Vec<_> = own.into_iter().chain(binds.iter().copied()).chain(parameters).collect();
        let [step, gap] = pairing(config);
        let columns = part.w.columns;
        let both = pieces.contains(&("store", "store_both"));
        let (split, second) = if both { (split(config), first_bias(config)) } else { (columns, 0) };
        let shape = vec![
            ("rows", 1.into()),
            ("inner", part.inner.into()),
            ("columns", columns.into()),
            ("w_first", part.w.first.into()),
            ("w_columns", part.w.of.into()),
            ("split", split.into()),
            ("second", second.into()),
            ("b_first", if part.input.is_normed() { second + first_bias(config) } else { 0 }.into()),
            ("epsilon", (config.norm_epsilon as f32).into()),
            ("heads", config.heads.into()),
            ("kv_heads", config.kv_heads.into()),
            ("width", config.head_width.into()),
            ("step", step.into()),
            ("gap", gap.into()),
            ("stride", if pieces.contains(&("rows_whole", "rows_own")) { 1 } else { self.form.room }.into()),
            ("q_stride", self.held().unwrap_or(1).into()),
            ("q_held", usize::from(self.form.way.keep).into()),
        ];
        let groups = [columns.div_ceil(self.form.way.lanes.tile()?), 1, 1];
        self.plan.step(Kernel { pieces, ..kernel }, &binds, shape, groups)
    }

    fn sample(&mut self) -> Result<()> {
        let config = self.form.config;
        let learned = config.positions == Positions::Learned;
        let shape = vec![
            ("vocabulary", config.vocabulary.into()),
            ("width", config.width.into()),
            ("take_position", usize::from(learned).into()),
            ("tile", self.form.way.lanes.tile()?.into()),
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
