//! What an engine makes of an experiment.
//!
//! Numbers and words are serialisable and travel as JSON; the large arrays of a pane travel beside them as buffers
//! ([`PaneOutcome::arrays`]).

use crate::hook::Array;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What computed it.
    pub engine: EngineFacts,
    /// The model's sizes.
    pub model: ModelFacts,
    /// What the model saw.
    pub tokens: Vec<Token>,
    /// One per pane.
    pub panes: Vec<PaneOutcome>,
    /// Partial trouble, each one sentence.
    pub notices: Vec<String>,
    /// Seed of everything drawn and of inputs nobody learned.
    #[serde(default)]
    pub seed: u64,
    /// Version of every mechanism in it by id: eight digits that change when its definition does.
    #[serde(default)]
    pub mechanisms: BTreeMap<String, String>,
}

/// What must be equal for numbers to be equal; every export carries it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// See [`crate::BUILD`].
    pub build: String,
    /// Id of the model.
    pub model: String,
    /// Hash of its files, see [`ModelFacts::sha256`].
    pub model_sha256: String,
    /// Versions of mechanisms, see [`Outcome::mechanisms`].
    pub mechanisms: BTreeMap<String, String>,
    /// Where it ran.
    pub engine: Tier,
    /// Adapter name, or `burn flex`.
    pub adapter: String,
    /// How it is reached.
    pub backend: String,
    /// Whether every part of the self-check passed.
    pub self_check_passed: Option<bool>,
    /// Seed of the experiment.
    pub seed: u64,
}

impl Outcome {
    /// What must be equal for these numbers to come again.
    pub fn record(&self) -> Record {
        Record {
            build: self.engine.build.clone(),
            model: self.model.id.clone(),
            model_sha256: self.model.sha256.clone(),
            mechanisms: self.mechanisms.clone(),
            engine: self.engine.tier,
            adapter: self.engine.adapter.clone(),
            backend: self.engine.backend.clone(),
            self_check_passed: self.engine.self_check_passed(),
            seed: self.seed,
        }
    }
}

impl Outcome {
    /// What a pane read.
    pub fn tokens_of(&self, pane: usize) -> &[Token] {
        let own = self.panes.get(pane).map(|pane| &pane.tokens).filter(|own| !own.is_empty());
        own.unwrap_or(&self.tokens)
    }
}

/// What computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Where it runs.
    pub tier: Tier,
    /// Adapter name, or `burn flex`.
    pub adapter: String,
    /// How the adapter is reached: `vulkan`, `metal`, `dx12`, `browser`; `cpu` on the processor.
    #[serde(default)]
    pub backend: String,
    /// Whether the adapter is software, so that its speed says nothing.
    pub software: bool,
    /// Why this tier and not a higher one, or empty.
    pub reason: String,
    /// Largest deviation of the start-up self-check from the stored reference; `None` before it ran.
    pub self_check: Option<f32>,
    /// Every part of the self-check so far: the model, its decoding, and each mechanism that was used.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What went wrong on this device and what was done about it, one sentence each.
    #[serde(default)]
    pub incidents: Vec<String>,
    /// How often the GPU device was opened again after it was lost.
    #[serde(default)]
    pub generation: usize,
    /// How rows are added up on a GPU that has subgroups, and what that was decided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<RowSums>,
    /// What the choice between processor and GPU was made by, where both were there to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Which build of this program, see [`crate::BUILD`].
    #[serde(default)]
    pub build: String,
}

impl Default for EngineFacts {
    fn default() -> Self {
        Self {
            tier: Tier::Cpu,
            adapter: String::new(),
            backend: String::new(),
            software: false,
            reason: String::new(),
            self_check: None,
            checks: Vec::new(),
            incidents: Vec::new(),
            generation: 0,
            sums: None,
            trial: None,
            build: crate::BUILD.into(),
        }
    }
}

/// Both engines at the same short work; milliseconds of reading and of writing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Tokens that were read in one pass.
    pub read: usize,
    /// Tokens that were written behind them; none for a large model.
    pub written: usize,
    /// The processor's times.
    pub processor: [f32; 2],
    /// The GPU's times, the answer included.
    pub gpu: [f32; 2],
}

impl Trial {
    /// Whether the GPU took less time in all.
    pub fn gpu_wins(&self) -> bool {
        self.gpu.iter().sum::<f32>() < self.processor.iter().sum()
    }

    /// The measurement in words.
    pub fn sentence(&self) -> String {
        let Self { read, written, processor: [cpu_reads, cpu_writes], gpu: [gpu_reads, gpu_writes] } = self;
        if *written == 0 {
            return format!(
                "reading {read} tokens takes the GPU {gpu_reads:.1} ms and the processor {cpu_reads:.1} ms"
            );
        }
        format!(
            "reading {read} tokens and writing {written} takes the GPU {gpu_reads:.1} + {gpu_writes:.1} ms and the processor \
             {cpu_reads:.1} + {cpu_writes:.1} ms"
        )
    }
}

/// Two ways of adding up a row on one GPU; microseconds of the row kernel of attention.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RowSums {
    /// Whether rows are added up by subgroups.
    pub chosen: bool,
    /// Through the memory of workgroups.
    pub plain: f32,
    /// By subgroups; none where that was refused or gave other numbers.
    pub by_subgroups: Option<f32>,
}

impl RowSums {
    /// The choice in words.
    pub fn sentence(&self) -> String {
        let Self { chosen, plain, by_subgroups } = self;
        match (by_subgroups, chosen) {
            (Some(by), true) => format!("by subgroups: {by:.0} µs, through workgroup memory {plain:.0} µs"),
            (Some(by), false) => format!("through workgroup memory: {plain:.0} µs, by subgroups {by:.0} µs"),
            (None, _) => "through workgroup memory: by subgroups the numbers are others here".into(),
        }
    }
}

/// One part of the self-check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was run: `model`, `decoding`, or a mechanism's id.
    pub part: String,
    /// Deviation from the stored numbers: of logits the largest absolute one, of a mechanism as a share of its tolerance;
    /// the largest number where something is not finite.
    pub deviation: f32,
    /// Largest deviation that passes.
    pub allowed: f32,
}

impl Check {
    /// Whether the stored numbers came out.
    pub fn passed(&self) -> bool {
        self.deviation <= self.allowed
    }
}

/// Largest absolute difference of a logit that the start-up self-check allows: f32 sums in another order stay a hundred
/// times below, a wrong kernel or a damaged weight lands far above.
pub const SELF_CHECK_ALLOWED: f32 = 5e-3;

impl EngineFacts {
    /// The processor.
    pub fn processor() -> Self {
        Self { adapter: "burn flex".into(), backend: "cpu".into(), ..Self::default() }
    }

    /// Whether every part of the self-check that ran has passed; `None` before any ran.
    pub fn self_check_passed(&self) -> Option<bool> {
        let model = self.self_check.map(|deviation| deviation <= SELF_CHECK_ALLOWED);
        let parts = (!self.checks.is_empty()).then(|| self.checks.iter().all(Check::passed));
        [model, parts].into_iter().flatten().reduce(|all, part| all && part)
    }
}

/// How well the device is supported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The burn model on the processor.
    #[default]
    Cpu,
    /// The WGSL engine.
    WebGpu,
    /// The WGSL engine on a device with f16 arithmetic.
    WebGpuF16,
}

/// Sizes of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Id or file name.
    pub id: String,
    /// Family, `llama` or `gpt2`.
    pub family: String,
    /// L.
    pub layers: usize,
    /// H.
    pub heads: usize,
    /// G.
    pub kv_heads: usize,
    /// D.
    pub head_width: usize,
    /// M.
    pub width: usize,
    /// V.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Number of weights.
    pub parameters: usize,
    /// Size of the weight file in bytes.
    pub file_bytes: usize,
    /// SHA-256 of the model's files, one behind the other in alphabetical order and without the self-check: what
    /// `cat config.json model.safetensors tokenizer.json | sha256sum` prints. Empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
}

/// One token of the prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Id.
    pub id: u32,
    /// Text as it stands in the prompt; bytes that are not UTF-8 on their own show as `<0x..>`.
    pub text: String,
    /// Whether it is a control token such as BOS.
    pub special: bool,
}

/// The newest run compared with the definition, which the processor computes anew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// What was compared with what, as words.
    pub what: String,
    /// One per pane.
    pub panes: Vec<Verified>,
}

/// How far a pane is from the definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Largest difference of the residual stream behind each layer, as a share of the largest entry there.
    pub layers: Vec<f32>,
    /// Largest difference of a logit, as a share of the largest.
    pub logits: f32,
    /// Largest share that passes.
    pub allowed: f32,
}

impl Verified {
    /// Whether run and definition agree.
    pub fn agrees(&self) -> bool {
        self.layers.iter().chain([&self.logits]).all(|share| *share <= self.allowed)
    }
}

/// A continuation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Token id.
    pub id: u32,
    /// Token text.
    pub text: String,
    /// Probability here.
    pub probability: f32,
    /// Probability in pane A.
    pub probability_a: f32,
}

/// The answer of one pane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PaneOutcome {
    /// What this pane read, where it is not what A read; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// Likeliest next tokens, likeliest first.
    pub next: Vec<Candidate>,
    /// Logits at the last position, `[V]`.
    pub logits: Vec<f32>,
    /// Loss of each token given those before it, in nats; one shorter than the tokens.
    pub token_loss: Vec<f32>,
    /// Mean of `token_loss`; `None` for a single token.
    pub loss: Option<f32>,
    /// Difference to pane A; `None` in A itself.
    pub versus_a: Option<Versus>,
    /// What it costs.
    pub price: Price,
    /// Named large arrays, see [`arrays`].
    #[serde(skip)]
    pub arrays: BTreeMap<String, Array>,
}

/// Names of the arrays a pane carries.
pub mod arrays {
    /// Weights `[L,H,Q,K]`; NaN where a pair is masked. Only up to [`super::STORED_TOKENS`] tokens.
    pub const PATTERN: &str = "pattern";
    /// Weight of the normalizer's slot `[L,H,Q]`, where there is one.
    pub const SLOT: &str = "slot";
    /// ‖v·W_O‖ for each key `[L,H,K]`.
    pub const VALUE_NORMS: &str = "value_norms";
}

/// Up to this many tokens the patterns of all heads are stored; beyond, a head's maps are recomputed when looked at.
pub const STORED_TOKENS: usize = 256;

/// How a pane differs from pane A.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Versus {
    /// KL(A ‖ this) of the next-token distribution, in nats.
    pub kl_next: f32,
    /// Mean KL over all positions, in nats.
    pub kl_mean: f32,
    /// Loss here minus loss in A, in nats per token.
    pub delta_loss: Option<f32>,
}

/// What a variant costs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Bytes of keys and values a decode would hold for these tokens (f32), after what masks let it forget.
    pub kv_bytes: usize,
    /// FLOPs of one decode step at this length.
    pub flops_per_token: usize,
    /// Share of the causal query–key pairs whose score is computed, over all layers and heads; 0 where a state stands for
    /// all of them, `None` where it was not counted.
    #[serde(default)]
    pub score_share: Option<f32>,
    /// Measured time of this pane's pass.
    pub millis: f32,
}

/// What a device can do at most, measured by programs that do nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Bytes it reads in a second.
    pub bytes_per_second: f64,
    /// Multiplications and additions in f32 it makes in a second.
    pub flops_per_second: f64,
}

/// What a variant costs and is worth on one text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Tokens it was run on.
    pub tokens: usize,
    /// What it costs at this length.
    pub price: Price,
    /// Mean loss in nats per token; `None` beyond the context that the model was trained for.
    pub loss: Option<f32>,
    /// Loss of plain attention over the same tokens, where the variant foresees some and is judged by fewer than all.
    #[serde(default)]
    pub plain_loss: Option<f32>,
    /// Tokens drawn per second, one at a time; `None` when nothing was drawn.
    pub tokens_per_second: Option<f32>,
    /// Whether the GPU drew them. Some variants are drawn by the processor, though their passes run on the GPU.
    #[serde(default)]
    pub drawn_on_gpu: bool,
    /// Bytes that drawing one token has to read at least: every weight once, and the cache.
    pub bytes_per_token: usize,
    /// Operations of the whole pass: the matrices for every token, and the pairs whose score is computed.
    pub pass_flops: usize,
}

impl Quote {
    /// Loss beyond that of plain attention over the same tokens; `softmax` is its quote of the same run.
    pub fn loss_beyond(&self, softmax: &Quote) -> Option<f32> {
        Some(self.loss? - self.plain_loss.or(softmax.loss)?)
    }

    /// How many times as many tokens are drawn per second as under `softmax`; `None` where two engines drew, whose speeds
    /// say nothing about the mechanism.
    pub fn speed_beside(&self, softmax: &Quote) -> Option<f32> {
        let ratio = self.tokens_per_second? / softmax.tokens_per_second?;
        (self.drawn_on_gpu == softmax.drawn_on_gpu).then_some(ratio)
    }
}

/// How well the questions of some items were answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The task's id.
    pub task: String,
    /// Items asked.
    pub items: usize,
    /// Questions in them.
    pub questions: usize,
    /// Share of questions whose likeliest next token is a right answer.
    pub accuracy: f64,
    /// 95 % interval of the accuracy over items, by Wilson's formula with the items as trials.
    pub interval: [f64; 2],
    /// Share of questions at which the likeliest right answer is likelier than every distractor.
    pub preference: f64,
    /// Mean of −ln P(any right answer), in nats.
    pub nats: f64,
}

/// One head in full, on demand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadMaps {
    /// Scores `[Q,K]`; NaN where masked.
    pub scores: Array,
    /// Weights `[Q,K]`; NaN where masked.
    pub pattern: Array,
    /// Weight of the normalizer's slot `[Q]`; empty where there is none.
    pub slot: Array,
    /// ‖v·W_O‖ for each key `[K]`.
    pub value_norms: Array,
}
