//! Everything on screen and nothing else, as one value.
//!
//! Link, undo, embedding, command line and tests all just set an [`Experiment`]. It is plain data: words and numbers, no
//! registry. It is checked when an engine turns it into a plan. [`link`] writes it into the URL's hash and back.

pub mod instruments;
mod limits;
pub mod link;

use crate::spec::Values;
use serde::{Deserialize, Serialize};

/// The pane names, in order; at most this many panes.
pub const PANE_NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Everything on screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(default, deny_unknown_fields)]
pub struct Experiment {
    /// Version of this format.
    pub version: u32,
    /// Id of a shipped model, or a path for the command line.
    pub model: String,
    /// The text.
    pub prompt: String,
    /// What pane B reads in its place; none is the same text.
    pub prompt_b: Option<String>,
    /// Whether the beginning-of-sequence token stands in front.
    pub bos: bool,
    /// What is compared; A first.
    pub panes: Vec<Pane>,
    /// What is looked at.
    pub view: View,
    /// What the instruments are set to.
    pub instruments: Instruments,
    /// How a continuation is drawn.
    pub draw: Draw,
    /// Seed of everything random.
    pub seed: u64,
}

/// How a continuation is drawn; the seed is the experiment's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(default, deny_unknown_fields)]
pub struct Draw {
    /// Most tokens to add.
    pub tokens: usize,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only this many likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
}

impl Default for Draw {
    /// Greedy, a few sentences.
    fn default() -> Self {
        Self { tokens: 48, temperature: 0.0, top_k: 0, top_p: 1.0 }
    }
}

/// One variant: mechanisms on the same model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(default, deny_unknown_fields)]
pub struct Pane {
    /// Mechanisms in order; empty is plain softmax attention.
    pub stack: Vec<Chip>,
}

/// One mechanism with the values that differ from its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// The mechanism's id.
    pub id: String,
    /// Values by key; absent keys stand for their defaults.
    #[serde(default)]
    pub values: Values,
}

impl Chip {
    /// A mechanism at its defaults.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), values: Values::new() }
    }

    /// The same with one value set.
    pub fn with(mut self, key: &str, value: impl Into<crate::spec::Plain>) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }
}

/// What is looked at. Nothing here changes what is computed for a pane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(default, deny_unknown_fields)]
pub struct View {
    /// The pinned head.
    pub pin: Head,
    /// The pinned query position.
    pub query: Option<usize>,
    /// The pinned key position.
    pub key: Option<usize>,
    /// What the matrices show.
    pub quantity: Quantity,
    /// How colours are scaled.
    pub scale: Scale,
    /// The open side tab.
    pub tab: Tab,
    /// The number under each head of the wall.
    pub metric: Metric,
    /// How the wall is ordered.
    pub order: Order,
    /// Which pane the wall shows, by index.
    pub wall: usize,
    /// Sink threshold ε.
    pub epsilon: f32,
    /// Position examined for sinks.
    pub position: usize,
    /// Mechanism on the paper tab; empty follows pane B.
    pub paper: String,
}

/// Zero-based layer and head, written `L5H1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Head {
    /// Layer.
    pub layer: usize,
    /// Head.
    pub head: usize,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "L{}H{}", self.layer, self.head)
    }
}

impl std::str::FromStr for Head {
    type Err = crate::Error;
    /// Accepts `L5H1`, `l5h1`, `5.1` and `5,1`.
    fn from_str(text: &str) -> crate::Result<Self> {
        let plain = text.to_ascii_lowercase();
        let pair = match plain.strip_prefix('l') {
            Some(rest) => rest.split_once('h'),
            None => plain.split_once(['.', ',']),
        };
        pair.and_then(|(layer, head)| Some(Self { layer: layer.parse().ok()?, head: head.parse().ok()? }))
            .ok_or_else(|| crate::Error::parse("head", format!("{text} is not like L5H1")))
    }
}

/// An enum of words that are the same in JSON, links and `data-*` attributes.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[doc = $help:literal])+ $variant:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
        pub enum $name { $($(#[doc = $help])+ #[serde(rename = $word)] $variant,)* }
        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The word.
            pub fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }
            /// What it is, for tooltips.
            pub fn help(self) -> &'static str { match self { $(Self::$variant => concat!($($help),+).trim_ascii()),* } }
        }
        impl $crate::experiment::Word for $name {
            const ALL: &'static [Self] = Self::ALL;
            fn word(self) -> &'static str { self.word() }
            fn help(self) -> &'static str { self.help() }
        }
        impl Default for $name {
            /// The first one.
            fn default() -> Self { Self::ALL[0] }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::Error;
            fn from_str(text: &str) -> $crate::Result<Self> {
                Self::ALL.iter().copied().find(|v| v.word() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.word()).collect();
                    $crate::Error::parse(stringify!($name).to_ascii_lowercase(), format!("{text} is none of {}", known.join(", ")))
                })
            }
        }
    };
}

pub(crate) use words;

/// A choice among a few words, as [`words!`] makes them, for code that is the same for all of them.
pub trait Word: Copy + PartialEq + Send + Sync + 'static {
    /// Every variant.
    const ALL: &'static [Self];
    /// The word in links and files.
    fn word(self) -> &'static str;
    /// What it is, for tooltips.
    fn help(self) -> &'static str;
}

pub use instruments::{
    Act, Effect, Instruments, LensLayout, LensNorm, Over, PatchMetric, PatchSite, Removal, Study, Through,
};

words! {
    /// What the matrices show.
    Quantity {
        /// Weights after normalisation.
        Pattern = "pattern",
        /// Scores before normalisation.
        Scores = "scores",
        /// Weights times the norm of the value each key writes.
        ValueWeighted = "value_weighted",
    }
}
words! {
    /// How colours are scaled.
    Scale {
        /// 0 to 1, linear.
        Linear = "linear",
        /// 0 to 1, square root.
        Sqrt = "sqrt",
        /// This head's own range.
        Head = "head",
    }
}
words! {
    /// A side tab.
    Tab {
        /// Attention sinks.
        Sinks = "sinks",
        /// Head roles from probes.
        Roles = "roles",
        /// What the layers would say, and what each part adds to a logit.
        Lens = "lens",
        /// Heads taken out, activations put in from another prompt.
        Interventions = "interventions",
        /// Evaluations, sinks over many texts, streaming, attributions.
        Studies = "studies",
        /// The mechanism's page.
        Paper = "paper",
    }
}
words! {
    /// A number per head on the wall.
    Metric {
        /// Mean weight on the examined position over later queries.
        SinkMass = "sink_mass",
        /// Mean entropy of the rows, in nats.
        Entropy = "entropy",
        /// Mean distance between query and key, in tokens.
        Distance = "distance",
        /// Largest difference between this pane and A.
        Difference = "difference",
        /// Previous-token score on this prompt.
        Previous = "previous",
    }
}
words! {
    /// How the wall is ordered.
    Order {
        /// Layers down, heads across.
        Layer = "layer",
        /// By the metric, largest first.
        Sorted = "sorted",
    }
}

impl Default for View {
    fn default() -> Self {
        Self {
            pin: Head::default(),
            query: None,
            key: None,
            quantity: Quantity::default(),
            scale: Scale::default(),
            tab: Tab::default(),
            metric: Metric::default(),
            order: Order::default(),
            wall: 0,
            epsilon: 0.3,
            position: 0,
            paper: String::new(),
        }
    }
}

impl Default for Experiment {
    /// The finished example a visitor sees first: plain softmax against a short window without sink tokens, on a head with a sink.
    fn default() -> Self {
        Self {
            version: 1,
            model: "stories-3m".into(),
            prompt: "One day, a little girl named Lily found a big red ball in the garden. She wanted to play with the ball.".into(),
            prompt_b: None,
            bos: true,
            panes: vec![
                Pane { stack: vec![Chip::new("softmax")] },
                Pane { stack: vec![Chip::new("streaming_window").with("sinks", 0.0).with("window", 8.0), Chip::new("softmax")] },
            ],
            // The head of the shipped model that rests most on the first token.
            view: View { pin: Head { layer: 1, head: 5 }, ..View::default() },
            instruments: Instruments::default(),
            draw: Draw::default(),
            seed: 0,
        }
    }
}
