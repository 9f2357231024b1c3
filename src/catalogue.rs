//! What is known about every mechanism, as plain data.
//!
//! The registry with its tensor code lives in the worker and the command line; this is what they tell the page, and what
//! `attnscope mechanisms --json` prints. The page carries a copy generated from the registry, so that controls are there
//! before the worker is; `tests/native/fresh.rs` keeps it fresh.

use crate::spec::{Domain, Param, Plain, Value, Values};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What part of attention a mechanism changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Changes queries, keys and values before scores.
    ProjectionMod,
    /// Changes one score.
    ScoreMod,
    /// Keeps or drops one query–key pair by positions.
    MaskMod,
    /// Chooses pairs by looking at scores or vectors.
    Selector,
    /// Turns a row of scores into weights.
    Normalizer,
    /// Changes weights after the normalizer.
    PatternMod,
    /// Replaces the whole step from vectors to mixed values.
    Mixer,
}

impl Role {
    /// Every role, in the order in which they act.
    pub const ALL: &'static [Role] = &[
        Role::ProjectionMod,
        Role::ScoreMod,
        Role::MaskMod,
        Role::Selector,
        Role::Normalizer,
        Role::PatternMod,
        Role::Mixer,
    ];

    /// The role in words, for headings.
    pub fn title(self) -> &'static str {
        match self {
            Role::ProjectionMod => "changes vectors",
            Role::ScoreMod => "changes scores",
            Role::MaskMod => "masks pairs",
            Role::Selector => "chooses pairs",
            Role::Normalizer => "turns scores into weights",
            Role::PatternMod => "changes weights",
            Role::Mixer => "replaces the whole step",
        }
    }

    /// Whether a pane holds at most one.
    pub fn single(self) -> bool {
        self.excludes(self)
    }

    /// Whether mechanisms of these two roles cannot stand in one pane: two that would give the same thing, or one that
    /// would change what a mixer never makes.
    pub fn excludes(self, other: Role) -> bool {
        match (self, other) {
            (Role::Mixer, Role::ProjectionMod) | (Role::ProjectionMod, Role::Mixer) => false,
            (Role::Mixer, _) | (_, Role::Mixer) => true,
            (Role::Selector, Role::Selector) | (Role::Normalizer, Role::Normalizer) => true,
            _ => false,
        }
    }
}

/// How a definition was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Read from the paper's text.
    Text,
    /// Read from the authors' code.
    Code,
    /// Reconstructed by us where text and code were silent.
    Reconstruction,
}

/// Facts about one mechanism.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// snake_case id: file stem, link key, JSON key.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// Number of the paper in this project's list, when it is one of them.
    pub number: Option<u32>,
    /// Title of the paper.
    pub title: String,
    /// Authors of the paper.
    pub authors: String,
    /// Year.
    pub year: u32,
    /// Where to read it.
    pub url: String,
    /// Section or equation.
    pub place: String,
    /// How the definition was obtained.
    pub provenance: Provenance,
    /// What it changes.
    pub role: Role,
    /// Its controls.
    pub params: Vec<Control>,
    /// Names of learned or random inputs it reads besides q, k and v.
    pub inputs: Vec<String>,
    /// What must be true of it, in words.
    pub laws: Vec<String>,
    /// The setting at which it is exactly another mechanism, when a law names one.
    #[serde(default)]
    pub neutral: Option<Neutral>,
    /// Whether it has a GPU twin.
    pub has_wgsl: bool,
    /// What it draws of a pass.
    #[serde(default)]
    pub exhibits: Vec<Drawing>,
    /// Its page, in Markdown.
    pub page: String,
}

/// A drawing that a mechanism offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drawing {
    /// Its name.
    pub name: String,
    /// Whether it takes many passes, and so waits to be asked for.
    pub slow: bool,
}

/// A setting at which a mechanism is exactly another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neutral {
    /// Id of the other mechanism, at its defaults.
    pub other: String,
    /// Values of this one.
    pub values: Values,
}

/// One parameter as the page and JSON see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// snake_case key.
    pub key: String,
    /// Tooltip.
    pub help: String,
    /// Unit, or empty.
    pub unit: String,
    /// Value when nothing is said.
    pub default: Plain,
    /// Allowed values.
    #[serde(flatten)]
    pub range: Range,
}

/// Allowed values of a [`Control`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Range {
    /// A switch.
    Flag,
    /// Whole numbers.
    Int {
        /// Smallest.
        min: i32,
        /// Largest.
        max: i32,
        /// Step of the control.
        step: i32,
    },
    /// Real numbers.
    Real {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Step of the control.
        step: f64,
    },
    /// One of these words.
    Choice {
        /// The words.
        words: Vec<String>,
    },
}

impl From<&Param> for Control {
    fn from(param: &Param) -> Self {
        // Through the shortest decimal, so that 0.1f32 stays 0.1.
        let real = |value: f32| match param.write(Value::Real(value)) {
            Plain::Number(number) => number,
            _ => f64::from(value),
        };
        Self {
            key: param.key.into(),
            help: param.help.into(),
            unit: param.unit.into(),
            default: param.write(param.default),
            range: match param.domain {
                Domain::Flag => Range::Flag,
                Domain::Int { min, max, step } => Range::Int { min, max, step },
                Domain::Real { min, max, step } => Range::Real { min: real(min), max: real(max), step: real(step) },
                Domain::Choice(words) => Range::Choice { words: words.iter().map(|word| word.to_string()).collect() },
            },
        }
    }
}

/// The catalogue generated from the registry.
///
/// # Errors
/// [`Error::Parse`] when the generated file is not valid, which the `fresh` test excludes.
pub fn shipped() -> Result<Vec<Entry>> {
    serde_json::from_str(include_str!("../www/mechanisms.json"))
        .map_err(|error| Error::parse("www/mechanisms.json", error))
}
