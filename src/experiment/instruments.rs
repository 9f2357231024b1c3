//! What the instruments are set to: which token is explained, which heads are taken out, what is patched from where.
//!
//! None of it changes what a pane computes; an instrument computes something beside the panes. The position whose
//! prediction is explained is the pinned query of the view, else the last one.

use super::{Head, words};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Answered examples that may stand before a question of a study.
pub const SHOTS: RangeInclusive<usize> = 0..=3;
/// Options a lettered question may have: there are five letters among the words of the tasks.
pub const OPTIONS: RangeInclusive<usize> = 2..=5;
/// Sentences there are for each relation between a person and a fact.
pub const TEMPLATES: RangeInclusive<usize> = 0..=2;
/// What may be added to the score of a position, and taken from it.
pub const BIAS: RangeInclusive<f32> = 0.0..=16.0;
/// By what a part of the last layer may be multiplied.
pub const LAMBDA: RangeInclusive<f32> = 0.0..=1.5;

/// Settings of every instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(default, deny_unknown_fields)]
pub struct Instruments {
    /// Id of the token that is explained; none is the one the model finds likeliest.
    pub answer: Option<u32>,
    /// Id of the token it is compared with; none is the likeliest one under the corrupted prompt, or nothing.
    pub against: Option<u32>,
    /// What the logit lens puts before the vocabulary head.
    pub norm: LensNorm,
    /// How the lens is laid out.
    pub layout: LensLayout,
    /// Which intervention is on screen.
    pub act: Act,
    /// Heads that are taken out together.
    pub ablate: Vec<Head>,
    /// What stands in their place.
    pub how: Removal,
    /// The number a sweep over heads shows.
    pub effect: Effect,
    /// The prompt that activations are patched into; the experiment's own is the clean one they come from.
    pub corrupted: String,
    /// What is patched.
    pub site: PatchSite,
    /// The number a patch is judged by.
    pub by: PatchMetric,
    /// What of the pinned head reads the heads before it.
    pub through: Through,
    /// Which study is on screen.
    pub study: Study,
    /// Whom an evaluation asks.
    pub over: Over,
    /// Items that an evaluation asks of each cell; 0 leaves it to the evaluation.
    pub items: usize,
    /// Answered examples before each question of a study of letters or facts, in [`SHOTS`].
    pub shots: usize,
    /// Options of each lettered question, in [`OPTIONS`].
    pub options: usize,
    /// Which sentence of its relation a fact is asked in, in [`TEMPLATES`].
    pub template: usize,
    /// By what the last layer's heads are multiplied in the study of facts, in [`LAMBDA`].
    pub lambda_a: f32,
    /// By what the last layer's feed-forward is multiplied there, in [`LAMBDA`].
    pub lambda_m: f32,
    /// What is added to the score of the examined position in the study of sinks, and taken from it, in [`BIAS`].
    pub bias: f32,
    /// Whether that study is of the prompt, and not of a set of texts.
    pub own: bool,
    /// Whether the norms of stream, key and value at the examined position are shown.
    pub norms: bool,
}

impl Default for Instruments {
    fn default() -> Self {
        Self {
            answer: None,
            against: None,
            norm: LensNorm::default(),
            layout: LensLayout::default(),
            act: Act::default(),
            ablate: Vec::new(),
            how: Removal::default(),
            effect: Effect::default(),
            corrupted: String::new(),
            site: PatchSite::default(),
            by: PatchMetric::default(),
            through: Through::default(),
            study: Study::default(),
            over: Over::default(),
            items: 0,
            shots: 0,
            // The questions that `circuits-2m` was taught.
            options: 4,
            template: 0,
            // Halved, as the mitigation of paper 45 has it.
            lambda_a: 0.5,
            lambda_m: 0.5,
            bias: 2.0,
            own: false,
            norms: false,
        }
    }
}

words! {
    /// A study: an experiment of many small steps. Its word is the id of its analysis.
    Study {
        /// A sentence hidden in passages of several lengths, at several depths.
        Needles = "needles",
        /// Seven categories of long-context tasks.
        Helmet = "helmet",
        /// Probability on the choices of a question.
        Choices = "choices",
        /// Sinks over many texts.
        SinkSet = "sink_set",
        /// What the first position is worth.
        SinkActs = "sink_acts",
        /// Whether the sink stays while a text is written.
        SinkTracking = "sink_tracking",
        /// Loss as a text streams through a window.
        Streaming = "streaming",
        /// Which tokens a prediction rests on.
        Features = "features",
        /// Channels between heads, and list recall with them edited.
        Channels = "channels",
        /// Retrieval heads, and needles without them.
        Retrieval = "retrieval",
        /// From the right option to its letter.
        Letters = "letters",
        /// Heads a refusal rests on.
        Safety = "safety",
        /// Recall of facts, and what the last layer takes back.
        Recall = "recall",
        /// Which letter is chosen when nothing says which.
        Anchors = "anchors",
        /// Which heads are better with their sinks turned down.
        Calibration = "calibration",
    }
}
words! {
    /// Whom an evaluation asks.
    Over {
        /// The pane alone.
        Pane = "pane",
        /// The pane, and the pane without each head alone.
        Heads = "heads",
        /// Every mechanism of the catalogue at its defaults.
        Variants = "variants",
    }
}

words! {
    /// What stands between the residual stream and the vocabulary head.
    LensNorm {
        /// The final norm, with the statistics of the vector it reads.
        Final = "final",
        /// Nothing; logits grow with the stream.
        None = "none",
    }
}
words! {
    /// How the logit lens is laid out.
    LensLayout {
        /// Positions down, layers across.
        Positions = "positions",
        /// Layers down, positions across.
        Layers = "layers",
        /// One position, one row for each pane.
        Compact = "compact",
    }
}
words! {
    /// An intervention.
    Act {
        /// Take heads out.
        Remove = "remove",
        /// Put activations of one prompt into another.
        Patch = "patch",
        /// What earlier heads tell the pinned one.
        Paths = "paths",
    }
}
words! {
    /// What stands in the place of a head that is taken out.
    Removal {
        /// Its own output averaged over positions: what it always says stays.
        Mean = "mean",
        /// Nothing.
        Zero = "zero",
        /// Its output on the same tokens in another order.
        Resample = "resample",
        /// The mean of the values of all earlier tokens: it looks everywhere alike.
        Uniform = "uniform",
    }
}
words! {
    /// The number by which taking out a head is judged.
    Effect {
        /// What the loss on the prompt rises by, in nats per token.
        Loss = "loss",
        /// Mean KL(whole ‖ without) over positions, in nats.
        Divergence = "divergence",
        /// What log P of the explained token changes by, in nats.
        LogProb = "log_prob",
    }
}
words! {
    /// What is patched.
    PatchSite {
        /// The residual stream before a layer, at one position.
        ResidPre = "resid_pre",
        /// What attention of a layer adds, at one position.
        AttnOut = "attn_out",
        /// What the feed-forward of a layer adds, at one position.
        MlpOut = "mlp_out",
        /// The output of one head, at every position.
        Heads = "heads",
    }
}
words! {
    /// What of a head reads the heads before it.
    Through {
        /// Its queries: where it looks from.
        Queries = "q",
        /// Its keys: what it finds.
        Keys = "k",
        /// Its values: what it moves.
        Values = "v",
    }
}
words! {
    /// The number a patch is judged by.
    PatchMetric {
        /// Logit of the answer less that of the token it is compared with.
        LogitDifference = "logit_difference",
        /// log P of the answer, in nats.
        LogProb = "log_prob",
        /// KL(clean ‖ patched) of the explained position, in nats.
        Divergence = "divergence",
    }
}
