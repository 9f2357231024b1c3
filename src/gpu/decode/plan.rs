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
use super::super::plan::{Attend, Past, Plan, Read, constant};
use super::super::weights::{Format, Section, ZEROS};
use super::cache::Cache;
use super::rows::{Input, OWN, Part, Rows};
use crate::catalogue::Role;
use crate::mechanism::{Law, Place, Placed, Stack};
use crate::model::config::{Config, Positions};
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
    pub(super) fn tile(self) -> Result<usize> {
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
    pub(super) fn share(self, in_columns: bool) -> &'static str {
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

/// The buffer that says where the heads of a layer keep what.
pub(super) fn rings(layer: usize) -> String {
    format!("rings.{layer}")
}

/// The buffer of a layer's queries `[H,room,D]` where they are kept; else all layers share one `[H,rows,D]`.
pub(super) fn queries(form: Form<'_>, layer: usize) -> String {
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
    pub(super) fn norm(&self) -> Option<(&Placed, &'static str)> {
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
