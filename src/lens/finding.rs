//! What instruments find, as plain data: the worker computes it, the page draws it, the command line prints it.

use super::exhibit::Exhibits;
use super::study::Study;
use crate::experiment::{Head, Removal};
use crate::outcome::{Candidate, Token};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The answer of an [`Analysis`](super::analysis::Analysis).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Id of the analysis.
    pub analysis: String,
    /// The position whose prediction is explained, and which token.
    pub asked: Asked,
    /// What was found.
    pub found: Found,
    /// Measured time, in milliseconds.
    pub millis: f32,
    /// What the model saw.
    pub tokens: Vec<Token>,
    /// Tokens that are named by id, as the page shows them.
    pub names: Vec<Token>,
}

impl Finding {
    /// A token that is named by its id.
    pub fn name(&self, id: u32) -> Option<&Token> {
        self.names.iter().find(|token| token.id == id)
    }
}

/// Which prediction is explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The query; it predicts the token after it.
    pub query: usize,
    /// The token.
    pub answer: u32,
    /// The token it is compared with.
    pub against: Option<u32>,
}

/// Findings by their view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// What each layer would say at each position.
    Readings(LogitLens),
    /// A logit in parts.
    Parts(Attribution),
    /// The model with and without some heads.
    Ablated(Ablated),
    /// Numbers in rows and columns.
    Grid(Grid),
    /// Drawings of a mechanism.
    Exhibits(Exhibits),
    /// A study as far as it has come.
    Study(Study),
}

impl Found {
    /// The view it is drawn in.
    pub fn view(&self) -> View {
        match self {
            Found::Readings(_) => View::Readings,
            Found::Parts(_) => View::Parts,
            Found::Ablated(_) => View::Ablated,
            Found::Grid(_) => View::Grid,
            Found::Exhibits(_) => View::Exhibits,
            Found::Study(_) => View::Study,
        }
    }
}

/// How a finding is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Tokens in cells, shaded by probability.
    Readings,
    /// One bar for each part, with their sum.
    Parts,
    /// Two distributions side by side.
    Ablated,
    /// A heat map.
    Grid,
    /// Drawings, each in a way of its own.
    Exhibits,
    /// Drawings that grow.
    Study,
}

/// The logit lens over one prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogitLens {
    /// Layers + 1: before each layer, and after the last.
    pub depths: usize,
    /// Positions that were read.
    pub tokens: usize,
    /// The first of them.
    pub first: usize,
    /// `[depths,Q]`, depth by depth.
    pub readings: Vec<Reading>,
}

/// What one vector says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Likeliest tokens with their probabilities, likeliest first.
    pub top: Vec<(u32, f32)>,
    /// Entropy in nats.
    pub entropy: f32,
    /// −ln P of the token that really comes next; none at the last position.
    pub loss: Option<f32>,
    /// How many tokens are likelier than the one that really comes next.
    pub rank: Option<usize>,
    /// KL(end of the model ‖ this reading), in nats.
    pub divergence: f32,
    /// Probability of the explained token, and how many are likelier.
    pub tracked: Option<(f32, usize)>,
}

/// Something that writes into the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The token embedding.
    Embedding,
    /// The position embedding.
    Position,
    /// One head.
    Head(Head),
    /// The bias of a layer's output projection.
    AttentionBias(usize),
    /// A layer's feed-forward, its bias included.
    FeedForward(usize),
    /// The bias of the final norm.
    FinalBias,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Embedding => f.write_str("embedding"),
            Part::Position => f.write_str("position"),
            Part::Head(head) => head.fmt(f),
            Part::AttentionBias(layer) => write!(f, "attention bias {layer}"),
            Part::FeedForward(layer) => write!(f, "feed-forward {layer}"),
            Part::FinalBias => f.write_str("final bias"),
        }
    }
}

/// A logit, or the difference of two, and its parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Position whose prediction is explained.
    pub position: usize,
    /// Each part and what it adds, in the order of the pass.
    pub parts: Vec<(Part, f32)>,
    /// The logit, or difference, as the end of the residual stream gives it.
    pub logit: f32,
}

impl Attribution {
    /// Σ parts; equals [`Attribution::logit`] up to rounding.
    pub fn sum(&self) -> f32 {
        self.parts.iter().map(|(_, logit)| f64::from(*logit)).sum::<f64>() as f32
    }
}

/// A prompt with and without some heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablated {
    /// The heads that were taken out.
    pub heads: Vec<Head>,
    /// How.
    pub how: Removal,
    /// The layer from which the pass was computed again; what comes before it is not touched by these heads.
    pub from_layer: usize,
    /// log P of the explained token, whole and without, in nats.
    pub log_prob: (f32, f32),
    /// KL(whole ‖ without) of the explained position, in nats.
    pub divergence: f32,
    /// The same, mean over positions.
    pub mean_divergence: f32,
    /// Mean loss on the prompt, whole and without, in nats per token; none for a single token.
    pub loss: Option<(f32, f32)>,
    /// Likeliest tokens of the explained position without the heads, and those of the whole model
    /// ([`Candidate::probability_a`]).
    pub next: Vec<Candidate>,
}

/// Id of the sheet of a patching grid that holds the estimates by slopes.
pub const ESTIMATE: &str = "estimate";

/// Numbers in rows and columns, in one or several sheets over the same cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// What rows are.
    pub down: Axis,
    /// What columns are.
    pub across: Axis,
    /// Numbers of each cell.
    pub sheets: Vec<Sheet>,
    /// Numbers beside the cells, such as what the whole model does.
    pub facts: Vec<Fact>,
    /// What was left out or cannot be said, one sentence each.
    pub notes: Vec<String>,
}

/// An axis of a [`Grid`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// `layer`, `head`, `position`, …
    pub name: String,
    /// One name for each row or column.
    pub labels: Vec<String>,
}

/// One number for each cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// Its id; of sweeps and patches a word of [`crate::experiment::Effect`] or [`crate::experiment::PatchMetric`].
    pub id: String,
    /// What it is, as a label.
    pub name: String,
    /// Its unit, or empty.
    pub unit: String,
    /// Row by row; NaN where there is nothing, which JSON writes as null.
    #[serde(with = "numbers")]
    pub values: Vec<f32>,
    /// What the largest possible effect is, where there is one: a cell of this value does all of it.
    pub total: Option<f32>,
}

/// A number with a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Its id.
    pub id: String,
    /// What it is, as a label.
    pub name: String,
    /// The number.
    pub value: f32,
    /// Its unit, or empty.
    pub unit: String,
}

impl Fact {
    /// A number with a name.
    pub fn new(id: &str, name: &str, value: f32, unit: &str) -> Self {
        Self { id: id.into(), name: name.into(), value, unit: unit.into() }
    }
}

impl Axis {
    /// An axis with its labels.
    pub fn new(name: &str, labels: impl IntoIterator<Item = String>) -> Self {
        Self { name: name.into(), labels: labels.into_iter().collect() }
    }
}

impl Grid {
    /// One line per cell: both labels, then the number of each sheet.
    pub fn csv(&self) -> String {
        let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_string(),
        };
        let ids: Vec<_> = self.sheets.iter().map(|sheet| sheet.id.clone()).collect();
        let mut out = format!("{},{},{}\r\n", quoted(&self.down.name), quoted(&self.across.name), ids.join(","));
        for (row, down) in self.down.labels.iter().enumerate() {
            for (column, across) in self.across.labels.iter().enumerate() {
                let at = row * self.across.labels.len() + column;
                let number = |sheet: &Sheet| match sheet.values.get(at) {
                    Some(value) if value.is_finite() => value.to_string(),
                    _ => String::new(),
                };
                let numbers: Vec<_> = self.sheets.iter().map(number).collect();
                out += &format!("{},{},{}\r\n", quoted(down), quoted(across), numbers.join(","));
            }
        }
        out
    }
}

/// JSON has no NaN.
mod numbers {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f32], to: S) -> Result<S::Ok, S::Error> {
        let plain: Vec<Option<f32>> = values.iter().map(|value| value.is_finite().then_some(*value)).collect();
        plain.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        let plain: Vec<Option<f32>> = Vec::deserialize(from)?;
        Ok(plain.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect())
    }
}
