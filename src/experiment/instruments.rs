//! What the instruments are set to: which token is explained, which heads are taken out, what is patched from where.
//!
//! None of it changes what a pane computes; an instrument computes something beside the panes. The position whose
//! prediction is explained is the pinned query of the view, else the last one.

use super::{Head, words};
use serde::{Deserialize, Serialize};

/// Settings of every instrument.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
