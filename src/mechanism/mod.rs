//! The contract of a mechanism, the registry, and how to add one.
//!
//! A mechanism changes one step of
//!
//! ```text
//! q, k, v = turn(project(x))        [B,·,Q,D]   a ProjectionMod changes vectors, and what a cache holds
//! scores  = scale · q·kᵀ            [B,H,Q,K]   a ScoreMod changes entries
//! keep    = causal ∧ …              [B,H,Q,K]   a MaskMod drops pairs, a Selector chooses among those that are left
//! pattern = normalize(scores)       [B,H,Q,K]   a Normalizer turns rows of scores into weights
//! pattern = rework(pattern)         [B,H,Q,K]   a PatternMod changes weights
//! z       = pattern·v               [B,H,Q,D]   a Mixer replaces everything from q, k, v to z
//! ```
//!
//! Plain softmax attention is itself a mechanism, so there is always something to reduce to. In one pane, mods stack in
//! order, at most one selector and one normalizer stand, and a mixer stands with projection mods only; [`Stack::new`]
//! refuses the rest by name.
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
//!    struct; the linker generates it. A selector, pattern mod or mixer also says which kernels it runs, as [`Stage`]s:
//!    the table there lists the skeletons and what each asks.
//! 6. Laws, at least one [`Law::ReducesTo`] or a golden file. A law and a `match` name a choice by its word
//!    ([`choice`](crate::spec::choice)), never by its index. [`laws::check`] measures them.
//! 7. The two lines: `mod x;` and `&x::MECHANISM` in [`ALL`], both alphabetical.
//! 8. What can be seen of it beyond the pattern: [`exhibits`], or none.
//! 9. `cargo task test --only laws,parity,shaders`, then bless the generated files:
//!    `ATTNSCOPE_BLESS=1 cargo task test --only fresh`.
//!
//! Controls with units and help, the link, the JSON schema, the README row, the catalogue entry, the uniform bytes, the
//! WGSL struct and the law, shader and parity tests follow without another line.

mod alibi;
mod alike;
mod attention_calibration;
mod attention_sink_operators;
mod duo_attention;
mod echo_att;
mod eigen;
pub mod exhibits;
mod feature_similarity;
mod gray;
mod grid;
mod halo_attention;
mod hyper_attention;
mod hyper_attention_blocks;
pub mod laws;
mod lightning_attention;
mod minference;
mod minference_shapes;
mod neighborhood_attention;
mod prefix_lm;
mod probed;
mod role;
mod routing_attention;
mod routing_attention_clusters;
mod s2_attention;
mod scatterbrain;
mod softmax;
mod softplus_reweighting;
mod stack;
mod stage;
mod streaming_window;
mod tidal_decode;
mod trans_mla;
mod trans_mla_maps;
mod trans_mla_values;

pub use alike::{Alike, Compared};
pub use eigen::{Eigen, eigen};
pub use grid::{Grid, Memories, Memory};
pub use probed::{Probed, Trial, places};
pub use role::{
    Corrected, Corrects, Cost, Fill, Input, MaskMod, Mixed, Mixer, Normalizer, PatternMod, Plug, Projected,
    ProjectionMod, Rotation, Rows, ScoreMod, Selected, Selector, Slot, Turned, Twin, Vectors, Weighted,
};
pub use stack::{Placed, Stack};
pub use stage::{Place, Side, Stage, Stages};

use crate::catalogue::{Control, Drawing, Entry, Neutral, Provenance};
use crate::spec::{Param, Value};
use crate::{Error, Result};

/// Every mechanism, alphabetical.
///
/// A static and no constant: every part of the program that names a constant gets a copy of all that hangs on it.
pub static ALL: &[&Mechanism] = &[
    &alibi::MECHANISM,
    &attention_calibration::MECHANISM,
    &attention_sink_operators::MECHANISM,
    &duo_attention::MECHANISM,
    &echo_att::MECHANISM,
    &feature_similarity::MECHANISM,
    &halo_attention::MECHANISM,
    &hyper_attention::MECHANISM,
    &lightning_attention::MECHANISM,
    &minference::MECHANISM,
    &neighborhood_attention::MECHANISM,
    &prefix_lm::MECHANISM,
    &routing_attention::MECHANISM,
    &s2_attention::MECHANISM,
    &scatterbrain::MECHANISM,
    &softmax::MECHANISM,
    &softplus_reweighting::MECHANISM,
    &streaming_window::MECHANISM,
    &tidal_decode::MECHANISM,
    &trans_mla::MECHANISM,
];

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
    /// Role, parameters and tensor code.
    pub plug: Plug,
    /// What it draws of a pass, see [`exhibits`].
    pub exhibits: &'static [exhibits::Offer],
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
    /// A row does not depend on how the tokens after it were cut off: the last row of a pass over the first q + 1 tokens,
    /// and row q decoded step by step, are row q of the whole pass.
    Prefix(At),
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

/// Stem and version of every file of `src/mechanism`.
const VERSIONS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mechanism_versions.rs"));

/// Stem and module comment of every file of `src/mechanism`. The page has them in `www/mechanisms.json`, so that neither it
/// nor the worker carries them in its code.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mechanism_pages.rs"));

impl Mechanism {
    /// Version of the definition: eight digits made of the text of both twins, so that it changes when they do.
    pub fn version(&self) -> &'static str {
        VERSIONS.iter().find(|(stem, _)| *stem == self.id).map_or("", |(_, version)| version)
    }

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
            exhibits: self
                .exhibits
                .iter()
                .map(|offer| Drawing { name: offer.name.into(), slow: offer.is_slow() })
                .collect(),
            page: self.page(),
        }
    }

    /// The module comment as Markdown.
    pub fn page(&self) -> String {
        PAGES.iter().find(|(stem, _)| *stem == self.id).map_or_else(String::new, |(_, page)| page.to_string())
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
            Law::Prefix(at) => format!("Cut off and decoded step by step, rows are those of the whole{}", setting(at)),
            Law::ReducesTo { other, at } => format!("Equals {other}{}", setting(at)),
        }
    }
}
