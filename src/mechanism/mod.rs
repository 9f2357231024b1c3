//! The contract of a mechanism, the registry, and how to add one.
//!
//! A mechanism changes one step of
//!
//! ```text
//! scores  = scale · q·kᵀ            [B,H,Q,K]   a ScoreMod changes entries
//! keep    = causal ∧ …              [B,H,Q,K]   a MaskMod drops pairs
//! pattern = normalize(scores)       [B,H,Q,K]   a Normalizer turns rows of scores into weights
//! z       = pattern·v               [B,H,Q,D]
//! ```
//!
//! Plain softmax attention is itself a mechanism, so there is always something to reduce to. In one pane, mods stack in
//! order and at most one normalizer stands; [`Stack::new`] refuses the rest by name.
//!
//! # How to add one
//!
//! Two files and two lines.
//!
//! 1. Copy the nearest neighbour of the same role: `src/mechanism/x.rs` and `shaders/mechanism/x.wgsl`. The stem is the
//!    id in links, JSON and WGSL.
//! 2. Write the module page first (`# Name: what it changes`, then the headings Definition, Shapes, Neutral setting,
//!    Errors, Numerics, Source). The page, rustdoc and the in-app paper tab are this one text.
//! 3. [`params!`](crate::params): what will a visitor want to drag? Range, default and help stand here and nowhere else.
//! 4. The burn twin: implement the role's trait, as plain as the formula. It is the definition.
//! 5. The WGSL twin: functions named after the stem, the same local names in the same order. Never write the parameter
//!    struct; the linker generates it.
//! 6. Laws, at least one [`Law::ReducesTo`] or a golden file. A law and a `match` name a choice by its word
//!    ([`choice`](crate::spec::choice)), never by its index. [`laws::check`] measures them.
//! 7. The two lines: `mod x;` and `&x::MECHANISM` in [`ALL`], both alphabetical.
//! 8. `cargo task test --only laws,parity,shaders`, then bless the generated files:
//!    `ATTNSCOPE_BLESS=1 cargo task test --only fresh`.
//!
//! Controls with units and help, the link, the JSON schema, the README row, the catalogue entry, the uniform bytes, the
//! WGSL struct and the law, shader and parity tests follow without another line.

mod alibi;
mod attention_sink_operators;
pub mod laws;
mod softmax;
mod stack;
mod streaming_window;

pub use stack::{Placed, Stack};

use crate::catalogue::{Control, Entry, Neutral, Provenance, Role};
use crate::hook::Array;
use crate::spec::{Param, Params, Value};
use crate::{Error, Result};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// Every mechanism, alphabetical.
pub const ALL: &[&Mechanism] =
    &[&alibi::MECHANISM, &attention_sink_operators::MECHANISM, &softmax::MECHANISM, &streaming_window::MECHANISM];

/// What a removed score holds: far below any score, yet finite, so that arithmetic on it stays finite.
pub const MASKED: f32 = -1e30;

/// The mechanism with this id.
///
/// # Errors
/// [`Error::Unknown`] naming the ids there are.
pub fn by_id(id: &str) -> Result<&'static Mechanism> {
    ALL.iter().copied().find(|mechanism| mechanism.id == id).ok_or_else(|| Error::Unknown {
        what: "mechanism",
        name: id.into(),
        remedy: format!("there are {}", ALL.iter().map(|mechanism| mechanism.id).collect::<Vec<_>>().join(", ")),
    })
}

/// Facts about one paper, plus the plug that runs it.
pub struct Mechanism {
    /// snake_case id, equal to the file stem.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// One sentence, ends with a full stop.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: Paper,
    /// What must be true of it.
    pub laws: &'static [Law],
    /// How closely the GPU twin agrees with the burn twin.
    pub parity: Tolerance,
    /// The GPU twin, absent for pure analysis.
    pub wgsl: Option<&'static str>,
    /// The file itself, whose module comment is the mechanism's page.
    pub source: &'static str,
    /// Role, parameters and tensor code.
    pub plug: Plug,
}

/// Where a mechanism comes from.
pub struct Paper {
    /// Number in this project's list.
    pub number: Option<u32>,
    /// Title.
    pub title: &'static str,
    /// Authors.
    pub authors: &'static str,
    /// Year.
    pub year: u32,
    /// Link.
    pub url: &'static str,
    /// Section or equation.
    pub place: &'static str,
    /// How the definition was obtained.
    pub provenance: Provenance,
}

/// Parameter values at which a law holds; the others stay at their defaults.
pub type At = &'static [(&'static str, Value)];

/// What must be true of a mechanism; checked on the burn twin and, where cheap, on the GPU.
#[derive(Debug, Clone, Copy)]
pub enum Law {
    /// Weights over keys, with the slot where there is one, sum to one in every row that keeps a key.
    RowsSumToOne(At),
    /// No weight on later keys.
    Causal,
    /// Adding a constant to a row of scores changes nothing.
    ShiftInvariant(At),
    /// At these values the mechanism is exactly another one: a free oracle.
    ReducesTo {
        /// Id of the other mechanism, at its defaults.
        other: &'static str,
        /// Values of this one.
        at: At,
    },
}

/// How closely two computations of one thing must agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Largest root mean square of the difference over that of the reference.
    pub rms: f32,
    /// Absolute part of the largest difference of one element.
    pub abs: f32,
    /// Relative part of the largest difference of one element.
    pub rel: f32,
}

impl Tolerance {
    /// f32 on both sides, in another order of summation.
    pub const F32: Self = Self { rms: 2e-5, abs: 2e-5, rel: 1e-4 };
    /// The same arithmetic by another path: laws.
    pub const EXACT: Self = Self { rms: 1e-6, abs: 1e-6, rel: 1e-5 };

    /// The largest excess over the tolerance as a ratio (≤ 1 agrees), or infinity where a value is not finite.
    pub fn excess(&self, came: &[f32], reference: &[f32]) -> f32 {
        if came.len() != reference.len() || came.iter().any(|value| !value.is_finite()) {
            return f32::INFINITY;
        }
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let difference = square(&mut came.iter().zip(reference).map(|(a, b)| f64::from(a - b)));
        let size = square(&mut reference.iter().map(|b| f64::from(*b)));
        let rms = difference / (f64::from(self.rms) * size + f64::from(self.abs) * (reference.len() as f64).sqrt());
        let element = came.iter().zip(reference).map(|(a, b)| (a - b).abs() / (self.abs + self.rel * b.abs()));
        element.fold(rms as f32, f32::max)
    }
}

/// A tensor a mechanism reads besides q, k and v, one per layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Input {
    /// snake_case name in npz files and WGSL.
    pub name: &'static str,
    /// Axis letters, for example `HD`.
    pub axes: &'static str,
    /// How it is filled when nobody learned it.
    pub fill: Fill,
}

/// How an [`Input`] is filled when nobody learned it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// Zeros.
    Zero,
    /// Normal noise of this standard deviation, seeded by experiment, mechanism, layer and name.
    Normal(f32),
}

/// Role, parameters and tensor code of a mechanism.
pub struct Plug {
    /// What it changes.
    pub role: Role,
    /// Its parameters.
    pub spec: &'static [Param],
    /// The name of its parameter struct, in Rust and WGSL.
    pub params: &'static str,
    /// Extra tensors it reads.
    pub inputs: &'static [Input],
    /// Its tensor code.
    pub twin: Twin,
}

/// The tensor code of a mechanism, its parameter type erased.
#[derive(Clone, Copy)]
pub enum Twin {
    /// See [`ScoreMod`].
    Score(fn(&[Value], &Grid, Tensor<4>) -> Tensor<4>),
    /// See [`MaskMod`].
    Mask(fn(&[Value], &Grid) -> Tensor<4, Bool>),
    /// See [`Normalizer`].
    Weigh(fn(&[Value], &Grid, Rows) -> Weighted),
}

/// Changes one score.
pub trait ScoreMod {
    /// Its parameters.
    type Params: Params;
    /// scores `[B,H,Q,K]` → scores `[B,H,Q,K]`
    fn score(p: &Self::Params, at: &Grid, scores: Tensor<4>) -> Tensor<4>;
}

/// Keeps or drops one pair. The causal mask is applied beside it.
pub trait MaskMod {
    /// Its parameters.
    type Params: Params;
    /// → keep, broadcastable to `[B,H,Q,K]`
    fn keep(p: &Self::Params, at: &Grid) -> Tensor<4, Bool>;
}

/// Turns rows of scores into weights.
pub trait Normalizer {
    /// Its parameters.
    type Params: Params;
    /// Extra tensors it reads, per layer.
    const INPUTS: &'static [Input] = &[];
    /// rows of scores `[B,H,Q,K]` → weights `[B,H,Q,K]`; a row that keeps no key yields zeros, never NaN.
    fn weigh(p: &Self::Params, at: &Grid, rows: Rows) -> Weighted;
}

/// Masked scores and what a normalizer may need beside them.
pub struct Rows {
    /// `[B,H,Q,K]`; entries that are not kept hold [`MASKED`].
    pub scores: Tensor<4>,
    /// `[B,H,Q,K]`, true where a pair is kept.
    pub keep: Tensor<4, Bool>,
    /// Rotated queries `[B,H,Q,D]`.
    pub q: Tensor<4>,
    /// What q·k was multiplied by, usually 1/√D.
    pub scale: f32,
    /// The mechanism's own inputs, in the order of its declaration.
    pub inputs: Vec<Array>,
}

impl Rows {
    /// The input declared at `index` as a tensor on the device of the scores; an input nobody declared is a bug of the
    /// mechanism and yields zeros of one element, which fails its laws.
    pub fn input<const D: usize>(&self, index: usize) -> Tensor<D> {
        let device = self.scores.device();
        match self.inputs.get(index) {
            Some(array) => Tensor::from_data(TensorData::new(array.data.clone(), array.shape.clone()), &device),
            None => Tensor::zeros([1; D], &device),
        }
    }
}

/// What a normalizer makes of its rows.
pub struct Weighted {
    /// Weights over keys `[B,H,Q,K]`; zero where a pair is not kept.
    pub pattern: Tensor<4>,
    /// Weight that goes elsewhere than to a key.
    pub slot: Option<Slot>,
}

/// A place beside the keys that takes weight.
pub struct Slot {
    /// `[B,H,Q,1]`
    pub weight: Tensor<4>,
    /// What it adds to z per unit of weight, `[1,H,1,D]`.
    pub value: Tensor<4>,
}

impl Plug {
    /// The plug of a [`ScoreMod`].
    pub const fn score_mod<M: ScoreMod>() -> Self {
        Self::new::<M::Params>(
            Role::ScoreMod,
            &[],
            Twin::Score(|values, at, s| M::score(&M::Params::from_values(values), at, s)),
        )
    }

    /// The plug of a [`MaskMod`].
    pub const fn mask_mod<M: MaskMod>() -> Self {
        Self::new::<M::Params>(
            Role::MaskMod,
            &[],
            Twin::Mask(|values, at| M::keep(&M::Params::from_values(values), at)),
        )
    }

    /// The plug of a [`Normalizer`].
    pub const fn normalizer<M: Normalizer>() -> Self {
        let twin = Twin::Weigh(|values, at, rows| M::weigh(&M::Params::from_values(values), at, rows));
        Self::new::<M::Params>(Role::Normalizer, M::INPUTS, twin)
    }

    const fn new<P: Params>(role: Role, inputs: &'static [Input], twin: Twin) -> Self {
        Self { role, spec: P::SPEC, params: P::NAME, inputs, twin }
    }
}

/// Where in the model and the sequence a mechanism is asked, with positions as tensors.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Zero-based layer.
    pub layer: usize,
    /// Number of query heads H.
    pub heads: usize,
    /// Number of key–value heads G.
    pub kv_heads: usize,
    /// Number of query rows Q.
    pub queries: usize,
    /// Number of keys K.
    pub keys: usize,
    /// Position of the first query row: 0 in a forward pass, the cache length in a decode step.
    pub first_query: usize,
    /// Where tensors live.
    pub device: Device,
}

impl Grid {
    fn count(&self, from: usize, count: usize) -> Tensor<1> {
        Tensor::<1, Int>::arange(from as i64..(from + count) as i64, &self.device).float()
    }

    /// H as a real number.
    pub fn heads(&self) -> f32 {
        self.heads as f32
    }

    /// 1, 2, … H as `[1,H,1,1]`.
    pub fn head_ordinal(&self) -> Tensor<4> {
        self.count(1, self.heads).reshape([1, self.heads, 1, 1])
    }

    /// Query positions as `[1,1,Q,1]`.
    pub fn query(&self) -> Tensor<4> {
        self.count(self.first_query, self.queries).reshape([1, 1, self.queries, 1])
    }

    /// Key positions as `[1,1,1,K]`.
    pub fn key(&self) -> Tensor<4> {
        self.count(0, self.keys).reshape([1, 1, 1, self.keys])
    }

    /// Query position minus key position as `[1,1,Q,K]`; negative for later keys.
    pub fn distance(&self) -> Tensor<4> {
        self.query() - self.key()
    }

    /// True where the key is not later than the query, `[1,1,Q,K]`.
    pub fn causal(&self) -> Tensor<4, Bool> {
        self.distance().greater_equal_elem(0.0)
    }
}

impl Mechanism {
    /// The facts, as plain data for page and JSON.
    pub fn entry(&self) -> Entry {
        Entry {
            id: self.id.into(),
            name: self.name.into(),
            summary: self.summary.into(),
            number: self.paper.number,
            title: self.paper.title.into(),
            authors: self.paper.authors.into(),
            year: self.paper.year,
            url: self.paper.url.into(),
            place: self.paper.place.into(),
            provenance: self.paper.provenance,
            role: self.plug.role,
            params: self.plug.spec.iter().map(Control::from).collect(),
            inputs: self.plug.inputs.iter().map(|input| input.name.into()).collect(),
            laws: self.laws.iter().map(|law| law.in_words(self.plug.spec)).collect(),
            neutral: self.laws.iter().find_map(|law| law.neutral(self.plug.spec)),
            has_wgsl: self.wgsl.is_some(),
            page: self.page(),
        }
    }

    /// The module comment as Markdown.
    pub fn page(&self) -> String {
        let lines = self.source.lines().take_while(|line| line.starts_with("//!"));
        lines
            .map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Law {
    /// The neutral setting that the law names, as plain data.
    pub fn neutral(&self, spec: &[Param]) -> Option<Neutral> {
        let Law::ReducesTo { other, at } = self else { return None };
        let plain = |(key, value): &(&str, Value)| {
            let param = spec.iter().find(|param| param.key == *key)?;
            Some((param.key.to_string(), param.write(*value)))
        };
        Some(Neutral { other: other.to_string(), values: at.iter().filter_map(plain).collect() })
    }

    /// The law as a sentence; `spec` gives choices their words.
    pub fn in_words(&self, spec: &[Param]) -> String {
        let setting = |at: At| {
            let one = |(key, value): &(&str, Value)| match spec.iter().find(|param| param.key == *key) {
                Some(param) => format!("{key} = {}", param.write(*value)),
                None => format!("{key} = {value:?}"),
            };
            if at.is_empty() {
                String::new()
            } else {
                format!(" at {}", at.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        };
        match self {
            Law::RowsSumToOne(at) => format!("Rows sum to one{}", setting(at)),
            Law::Causal => "No weight on later keys".into(),
            Law::ShiftInvariant(at) => format!("Adding a constant to a row of scores changes nothing{}", setting(at)),
            Law::ReducesTo { other, at } => format!("Equals {other}{}", setting(at)),
        }
    }
}
