//! Commands and replies between page and worker: JSON, with large arrays beside it as transferred buffers.
//!
//! A message is `{ id, json, buffers }`. Every command gets exactly one reply with its id; progress messages carry the
//! id too. A newer [`Command::Run`] makes an older one that has not started pointless: it is answered with the error
//! `superseded` (latest wins).

#[cfg(feature = "web")]
pub mod client;
pub mod protocol;
#[cfg(feature = "worker")]
pub mod server;
#[cfg(feature = "worker")]
pub mod webgpu;

use crate::experiment::{Chip, Experiment, Head};
use crate::lens::finding::Finding;
use crate::lens::roles::RoleReport;
use crate::outcome::{Ceilings, EngineFacts, ModelFacts, Outcome, Quote, Scores, Token, Verification};
use serde::{Deserialize, Serialize};

/// What the page asks of the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Starts the engine and loads a shipped model. `engine` forces `cpu` or `gpu`; `auto` decides.
    Open {
        /// Model id under `models/`.
        model: String,
        /// Base URL of the page, to which `models/` is relative.
        base: String,
        /// `auto`, `cpu` or `gpu`.
        engine: String,
    },
    /// Runs an experiment.
    Run {
        /// The experiment.
        experiment: Experiment,
    },
    /// Maps of one head of one pane of the last run.
    Head {
        /// Pane index.
        pane: usize,
        /// Which head.
        head: Head,
    },
    /// Head roles of one pane's stack, from probes.
    Roles {
        /// The experiment whose pane is probed.
        experiment: Experiment,
        /// Pane index.
        pane: usize,
    },
    /// What an instrument says about one pane, as the experiment has it set. A newer question of the same instrument makes
    /// an older one pointless.
    Analyse {
        /// The experiment.
        experiment: Experiment,
        /// Pane index.
        pane: usize,
        /// Id of the analysis, see [`crate::lens::analysis::ALL`].
        analysis: String,
    },
    /// Every analysis that waits or runs is given up and answered with `superseded`.
    Stop,
    /// Begins a continuation of one pane; an older one of that pane is forgotten.
    Begin {
        /// The experiment whose prompt is continued.
        experiment: Experiment,
        /// Pane index.
        pane: usize,
    },
    /// Prompts that are being read for a continuation, or wait for it, are given up; `begin` answers `superseded`.
    StopReading,
    /// The next tokens of the continuation of one pane.
    Burst {
        /// Pane index.
        pane: usize,
        /// At most this many; fewer when they would take longer than a frame or two.
        most: usize,
    },
    /// What the continuation of one pane has read so far: rows of the map of one head.
    Written {
        /// Pane index.
        pane: usize,
        /// Which head.
        head: Head,
        /// Position of the first query that is wanted.
        first: usize,
    },
    /// What this device can do at most.
    Ceilings,
    /// What one variant costs and is worth.
    Quote {
        /// Its mechanisms.
        stack: Vec<Chip>,
        /// The text it reads.
        text: String,
        /// How many tokens of it.
        tokens: usize,
        /// How many tokens to draw for the speed of decoding.
        drawn: usize,
    },
    /// Starts the engine and loads a model whose files come beside the message.
    OpenFiles {
        /// What the model is called.
        model: String,
        /// Names of the files, in their order.
        names: Vec<String>,
        /// `auto`, `cpu` or `gpu`.
        engine: String,
    },
    /// Sizes of a model from the small files beside the message, before its weights are there: a `config.json`, or the
    /// first bytes of a llama2.c file.
    Judge {
        /// What the model is called.
        model: String,
        /// Names of the files beside the message.
        names: Vec<String>,
    },
    /// How many needles one variant finds, on a model that has learned to.
    Needles {
        /// Its mechanisms.
        stack: Vec<Chip>,
        /// How many passages.
        items: usize,
    },
    /// Activations of one pane by hook name, `*` for every layer: `blocks.*.attn.hook_pattern,logits`.
    Capture {
        /// The experiment.
        experiment: Experiment,
        /// Pane index.
        pane: usize,
        /// Which activations.
        hooks: String,
    },
    /// Checks the laws of one mechanism on this device.
    Laws {
        /// Mechanism id.
        mechanism: String,
    },
    /// Compares the newest run with the definition on the processor.
    Verify,
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The worker listens; sent once, with id 0.
    Ready,
    /// The engine runs and the model is loaded.
    Opened {
        /// What computes.
        engine: EngineFacts,
        /// What was loaded.
        model: ModelFacts,
    },
    /// Answer to [`Command::Run`]; buffers hold each pane's arrays in the order of `arrays`.
    Ran {
        /// The outcome, without arrays.
        outcome: Outcome,
        /// Per buffer: pane index, array name, shape.
        arrays: Vec<(usize, String, Vec<usize>)>,
    },
    /// Answer to [`Command::Judge`].
    Judged {
        /// Its sizes; the bytes of its files are not known yet.
        model: ModelFacts,
    },
    /// Answer to [`Command::Head`]; buffers are scores, pattern, slot, value norms.
    Head {
        /// Number of tokens.
        tokens: usize,
    },
    /// Answer to [`Command::Roles`].
    Roles {
        /// Scores per head.
        report: RoleReport,
    },
    /// Answer to [`Command::Analyse`].
    Analysed {
        /// What was found.
        finding: Box<Finding>,
    },
    /// Answer to [`Command::Stop`] and [`Command::StopReading`].
    Stopped,
    /// Answer to [`Command::Begin`].
    Begun {
        /// Measured time of reading the prompt.
        millis: f32,
    },
    /// Answer to [`Command::Burst`].
    Burst {
        /// The new tokens.
        tokens: Vec<Token>,
        /// Everything drawn so far as text.
        text: String,
        /// Measured time of these tokens.
        millis: f32,
        /// Whether nothing follows.
        ended: bool,
        /// Why it ended, where that is not the natural end.
        notice: Option<String>,
    },
    /// Answer to [`Command::Written`]; the buffer is the pattern `[Q,K]`.
    Written {
        /// Rows: queries from the first one that was wanted on.
        queries: usize,
        /// Columns: every token that was read.
        keys: usize,
        /// Whether the rows come from what the continuation kept, and not from a pass of their own.
        kept: bool,
    },
    /// Answer to [`Command::Ceilings`].
    Ceilings {
        /// What was measured.
        ceilings: Ceilings,
    },
    /// Answer to [`Command::Quote`].
    Quote {
        /// The quote.
        quote: Quote,
    },
    /// Answer to [`Command::Needles`].
    Needles {
        /// What was found.
        scores: Scores,
    },
    /// Answer to [`Command::Capture`]; buffers in the order of `arrays`.
    Captured {
        /// Per buffer: hook name, shape.
        arrays: Vec<(String, Vec<usize>)>,
    },
    /// Answer to [`Command::Laws`].
    Laws {
        /// One line per law.
        laws: Vec<LawReport>,
    },
    /// Answer to [`Command::Verify`].
    Verified {
        /// What was found.
        verification: Verification,
    },
    /// What computes has changed or checked more of itself; sent with id 0 whenever it has.
    Engine {
        /// What computes now.
        engine: EngineFacts,
    },
    /// Programs of the GPU are being compiled; sent with id 0 where that takes longer than a moment.
    Compiling {
        /// So many are ready.
        done: usize,
        /// In all.
        all: usize,
    },
    /// Bytes of the model that have arrived, or passes of an analysis that are done; not the final reply.
    Progress {
        /// So far.
        bytes: usize,
        /// In all, when the server says.
        total: Option<usize>,
    },
    /// It failed.
    Failed {
        /// Stable word, see [`crate::Error::code`].
        code: String,
        /// One sentence.
        message: String,
    },
}

impl Reply {
    /// The reply for an error.
    pub fn failed(error: &crate::Error) -> Self {
        Reply::Failed { code: error.code().into(), message: error.to_string() }
    }
}

/// The live check of one law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawReport {
    /// The law in words.
    pub law: String,
    /// Whether it holds.
    pub holds: bool,
    /// Largest deviation found.
    pub deviation: f32,
    /// Largest deviation allowed.
    pub allowed: f32,
}
