//! What `attnscope train` can be told.

use super::corpus;
use super::curriculum::Curriculum;
use super::optimizer::Rule;
use super::recall;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Where `stories-3m` lies.
const OUT: &str = "www/models/stories-3m";

/// Trains a shipped model. The defaults are what `stories-3m` was made with.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainArgs {
    /// What is learned.
    #[arg(long, value_enum, default_value_t = Curriculum::Stories)]
    pub curriculum: Curriculum,
    /// Tasks of the curriculum circuits and how often each is drawn; with --resume they may differ from before.
    #[arg(long, default_value = super::circuits::rows::SHARES)]
    pub tasks: String,
    /// Pairs in a text of the curriculum recall.
    #[arg(long, default_value_t = recall::MOST)]
    pub pairs: usize,
    /// Mechanisms to learn under, as they stand in a link, for example alibi,streaming_window(window:64); the model is then
    /// to be run under them, too.
    #[arg(long, default_value = "")]
    pub stack: String,
    /// Folder of the corpus: xz files and manifest.json.
    #[arg(long, default_value = "../shared/corpus")]
    pub corpus: PathBuf,
    /// Files to read and how often each is repeated in an epoch.
    #[arg(long, default_value = corpus::MIX)]
    pub mix: String,
    /// Folder of the run: tokenizer and checkpoints.
    #[arg(long, default_value = "target/train/stories-3m")]
    pub work: PathBuf,
    /// Folder the finished model is written to.
    #[arg(long, default_value = OUT)]
    pub out: PathBuf,
    /// Goes on from the newest checkpoint in the folder of the run.
    #[arg(long)]
    pub resume: bool,
    /// Writes the model of the newest checkpoint without training further.
    #[arg(long, requires = "resume")]
    pub export_only: bool,
    /// Tokens to learn from.
    #[arg(long, default_value_t = 10_600_000)]
    pub tokens: usize,
    /// Tokens at the end over which the learning rate falls to zero; with --resume it may differ from before.
    #[arg(long, default_value_t = 5_000_000)]
    pub decay_tokens: usize,
    /// Tokens at the beginning over which the learning rate rises.
    #[arg(long, default_value_t = 300_000)]
    pub warmup_tokens: usize,
    /// Highest learning rate.
    #[arg(long, default_value_t = 0.004)]
    pub rate: f64,
    /// What moves the matrices of the blocks.
    #[arg(long, value_enum, default_value_t = Rule::Muon)]
    pub rule: Rule,
    /// Tokens in one step.
    #[arg(long, default_value_t = 4096)]
    pub batch_tokens: usize,
    /// Before this many tokens, rows are cut in halves of 256 tokens, which are quicker to learn from.
    #[arg(long, default_value_t = 7_600_000)]
    pub halves_until: usize,
    /// Threads that compute gradients (flex only).
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Tokens in one thread's piece of a batch.
    #[arg(long, default_value_t = 1024)]
    pub piece_tokens: usize,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t = On::Flex)]
    pub device: On,
    /// Seed of weights and order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What else the card is to say of this run; may be given several times.
    #[arg(long)]
    pub note: Vec<String>,
    /// Minutes between checkpoints.
    #[arg(long, default_value_t = 3.0)]
    pub checkpoint_minutes: f64,
}

impl TrainArgs {
    /// Refuses to write another kind of model over the shipped one, and pairs that there are no keys for.
    ///
    /// # Errors
    /// [`Error::Param`].
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, expected: &str, came: String| {
            Err(Error::Param { who: "train".into(), key: key.into(), expected: expected.into(), came })
        };
        let shipped = matches!(self.curriculum, Curriculum::Stories | Curriculum::Circuits);
        if (!shipped || !self.stack.is_empty()) && self.out == Path::new(OUT) {
            return refuse("--out", "name a folder of its own for a model that is not stories-3m", OUT.into());
        }
        if !(1..=recall::MOST).contains(&self.pairs) {
            return refuse(
                "--pairs",
                &format!("be 1 to {}, as many as there are keys", recall::MOST),
                self.pairs.to_string(),
            );
        }
        Ok(())
    }
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    /// The processor.
    Flex,
    /// A GPU through wgpu, in a build with feature burn-gpu.
    Wgpu,
    /// A GPU through CUDA, in a build with feature burn-cuda.
    Cuda,
}
