//! An experiment, parsed: what will run, and what had to be left out.

use crate::experiment::{Experiment, PANE_NAMES};
use crate::mechanism::Stack;
use crate::model::Config;
use crate::spec::Value;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// A checked experiment on a loaded model.
pub(super) struct Plan {
    /// Token ids, BOS among them, at most the context.
    pub tokens: Vec<u32>,
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
        let mut tokens = tokenizer.encode(&experiment.prompt, experiment.bos)?;
        if tokens.is_empty() {
            return Err(Error::parse("prompt", "there is no token to run; type some text"));
        }
        if tokens.len() > config.context {
            notices.push(format!(
                "the prompt has {} tokens and was cut to the first {}, the model's context",
                tokens.len(),
                config.context
            ));
            tokens.truncate(config.context);
        }
        let stacks = PANE_NAMES
            .iter()
            .zip(&experiment.panes)
            .map(|(name, pane)| Stack::new(name, &pane.stack))
            .collect::<Result<_>>()?;
        Ok(Self { tokens, stacks, seed: experiment.seed, notices })
    }

    /// Whether some pane's answer is the one of this key.
    pub fn needs(&self, key: &Key) -> bool {
        self.stacks.iter().any(|stack| self.key(stack) == *key)
    }

    /// What the answer of one stack depends on.
    pub fn key(&self, stack: &Stack) -> Key {
        Key::new(&self.tokens, self.seed, stack)
    }
}

impl Key {
    /// What the answer of these tokens under a stack depends on.
    pub fn new(tokens: &[u32], seed: u64, stack: &Stack) -> Self {
        let placed = |placed: &crate::mechanism::Placed| (placed.mechanism.id, placed.values.clone());
        Self { tokens: tokens.into(), seed, stack: stack.iter().map(placed).collect() }
    }
}
