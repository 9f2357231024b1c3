//! What plans of decoding are made of: buffers, one block, products of a row and of many, and the draw of a token.

use super::super::kernel::Kernel;
use super::super::layers::activation;
use super::super::plan::{Attend, Past, Plan, Product, Size};
use super::super::weights::{Section, TURNS, ZEROS, first_bias, joined, pairing, split};
use super::cache::{Cache, ring_words};
use super::plan::{Form, STATE_WORDS, Way, queries, rings};
use crate::Result;
use crate::mechanism::Placed;
use crate::model::config::{Norm, Positions};
use crate::model::step::Sizes;

/// Slot → piece.
type Pieces = Vec<(&'static str, &'static str)>;

/// Buffers of keys and values of the tokens that are computed, where these go to the cache later or never.
pub(super) const OWN: [&str; 2] = ["own_k", "own_v"];

/// One product: operands by buffer, and its sizes.
pub(super) struct Part<'a> {
    /// Buffer of x.
    pub x: &'a str,
    /// The matrix.
    pub w: Section,
    /// Buffer of the gains and biases.
    pub affine: &'a str,
    /// What happens to x first.
    pub input: Input<'a>,
    /// Entries of a row of x.
    pub inner: usize,
}

/// What a product does with x first.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
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

/// What plans of a token and of a chunk are made of.
pub(super) struct Rows<'a> {
    /// What it is made for.
    pub form: Form<'a>,
    /// Tokens at once.
    pub rows: usize,
    /// What has been planned.
    pub plan: Plan,
}

/// The buffer of a layer's state `[H,D,D]`.
fn memory(layer: usize) -> String {
    format!("memory.{layer}")
}

impl Rows<'_> {
    /// The buffers that one token needs, cache, state and tokens among them.
    pub fn cache(&mut self) -> Result<()> {
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

    /// The dispatches of one layer.
    pub fn block(&mut self, layer: usize) -> Result<()> {
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
    pub fn decode_product(
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

    /// Draws the next token and puts its row into the stream.
    pub fn sample(&mut self) -> Result<()> {
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
