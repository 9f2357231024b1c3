//! An experiment, parsed: what will run, and what had to be left out.

use crate::experiment::{Experiment, PANE_NAMES};
use crate::mechanism::Stack;
use crate::model::Config;
use crate::spec::Value;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Most tokens of one pass: as many as a row of attention holds on a GPU, and a head's map in a browser's memory. A model may
/// claim any context.
const MOST_TOKENS: usize = 2048;

/// A checked experiment on a loaded model.
pub(super) struct Plan {
    /// Token ids, BOS among them, at most the context.
    pub tokens: Vec<u32>,
    /// Those of pane B, where it reads a text of its own.
    pub tokens_b: Option<Vec<u32>>,
    /// One per pane.
    pub stacks: Vec<Stack>,
    /// Seed of inputs nobody learned.
    pub seed: u64,
    /// What was left out, one sentence each.
    pub notices: Vec<String>,
}

/// What a pane's answer depends on; equal keys mean an equal answer.
#[derive(Clone, PartialEq)]
pub(super) struct Key {
    tokens: Vec<u32>,
    seed: u64,
    stack: Vec<(&'static str, Vec<Value>)>,
}

impl Plan {
    /// Tokenises the prompt and types every mechanism.
    ///
    /// # Errors
    /// Those of [`Experiment::check`], [`Error::Parse`] for a prompt that cannot run, [`Error::Stack`] and [`Error::Param`]
    /// from the panes.
    pub fn new(experiment: &Experiment, config: &Config, tokenizer: &Tokenizer) -> Result<Self> {
        experiment.check()?;
        let mut notices = Vec::new();
        if experiment.bos && tokenizer.bos().is_none() {
            notices.push("this model has no token for the beginning of a text, so none was put in front".into());
        }
        let mut read = |what: &str, text: &str| {
            let mut tokens = tokenizer.encode(text, experiment.bos)?;
            if tokens.is_empty() {
                return Err(Error::parse(what, "there is no token to run; type some text"));
            }
            let kept = config.context.min(MOST_TOKENS);
            if tokens.len() > kept {
                let came = tokens.len();
                let why = if kept == config.context { "the model's context" } else { "the most that is run at once" };
                notices.push(format!("the {what} has {came} tokens and was cut to the first {kept}, {why}"));
                tokens.truncate(kept);
            }
            Ok(tokens)
        };
        let tokens = read("prompt", &experiment.prompt)?;
        let own =
            experiment.prompt_b.as_deref().filter(|text| experiment.panes.len() > 1 && *text != experiment.prompt);
        let tokens_b = own.map(|text| read("prompt of pane B", text)).transpose()?;
        let stacks = PANE_NAMES
            .iter()
            .zip(&experiment.panes)
            .map(|(name, pane)| Stack::new(name, &pane.stack))
            .collect::<Result<_>>()?;
        Ok(Self { tokens, tokens_b, stacks, seed: experiment.seed, notices })
    }

    /// What a pane reads.
    pub fn tokens_of(&self, pane: usize) -> &[u32] {
        self.tokens_b.as_ref().filter(|_| pane == 1).unwrap_or(&self.tokens)
    }

    /// Whether some pane's answer is the one of this key.
    pub fn needs(&self, key: &Key) -> bool {
        self.stacks.iter().enumerate().any(|(pane, stack)| self.key(pane, stack) == *key)
    }

    /// What the answer of one pane's stack depends on.
    pub fn key(&self, pane: usize, stack: &Stack) -> Key {
        Key::new(self.tokens_of(pane), self.seed, stack)
    }
}

impl Key {
    /// What the answer of these tokens under a stack depends on.
    pub fn new(tokens: &[u32], seed: u64, stack: &Stack) -> Self {
        let placed = |placed: &crate::mechanism::Placed| (placed.mechanism.id, placed.values.clone());
        Self { tokens: tokens.into(), seed, stack: stack.iter().map(placed).collect() }
    }
}
