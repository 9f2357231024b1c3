//! What one variant costs and is worth: the same text, the same number of tokens, the same device for every variant, so
//! that price and quality can stand in one plot.
//!
//! Nothing but the logits is brought back from the pass that is timed. Beyond the context a model was trained for, the
//! same weights run with a longer one where their positions allow it: time and bytes are real there, the loss says nothing
//! and is left out.

use super::price::{state, weights};
use super::share::share;
use super::{Choice, Engine, Forward, Request, measure};
use crate::experiment::Chip;
use crate::hook::{Array, Selection};
use crate::mechanism::Stack;
use crate::model::Loaded;
use crate::model::config::Positions;
use crate::model::sample::Sampling;
use crate::outcome::{Quote, Tier};
use crate::{Error, Result};
use web_time::Instant;

/// Seed of inputs nobody learned; quotes are compared with each other only.
const SEED: u64 = 0;

impl Engine {
    /// Runs `stack` on the first `tokens` tokens of `text`, read again from its beginning as often as needed, and times the
    /// last `drawn` tokens of such a length one at a time.
    ///
    /// # Errors
    /// [`Error::Param`] for fewer than two tokens, an empty text, and more than the context where positions are learned;
    /// [`Error::Stack`] when numbers are not finite; those of the stack and of the passes.
    pub async fn quote(&mut self, stack: &[Chip], text: &str, tokens: usize, drawn: usize) -> Result<Quote> {
        let ids = self.tokenizer().encode(text, self.tokenizer().bos().is_some())?;
        if tokens < 2 || ids.is_empty() {
            return Err(refuse("hold at least two tokens of a text that is not empty", tokens));
        }
        let ids: Vec<u32> = ids.iter().copied().cycle().take(tokens).collect();
        let stack = self.measured(Stack::new("a", stack)?, SEED).await?;
        if tokens <= self.config.context {
            return self.quoted(stack, &ids, drawn).await;
        }
        let mut long = self.stretched(tokens).await?;
        let quote = long.quoted(stack, &ids, drawn).await;
        self.long = Some(long);
        quote.map(|quote| Quote { loss: None, plain_loss: None, ..quote })
    }

    async fn quoted(&mut self, stack: Stack, tokens: &[u32], drawn: usize) -> Result<Quote> {
        let request = || Request { tokens, stack: &stack, seed: SEED, wants: Selection::default() };
        let mut start = Instant::now();
        let mut pass = self.runner.forward(request()).await?;
        // The first pass of a stack compiles kernels.
        if self.facts().tier > Tier::Cpu {
            start = Instant::now();
            pass = self.runner.forward(request()).await?;
        }
        let millis = start.elapsed().as_secs_f32() * 1e3;
        if pass.logits.data.iter().any(|logit| !logit.is_finite()) {
            let problem = "its numbers grew beyond what f32 holds".into();
            return Err(Error::Stack { pane: "a".into(), problem });
        }
        let foreseen = stack.reach().saturating_sub(1);
        let judged = |logits: &Array| {
            let losses = measure::token_losses(&measure::log_probabilities(logits), tokens);
            measure::mean(losses.get(foreseen..).unwrap_or(&[]))
        };
        let loss = judged(&pass.logits);
        drop(pass);
        let mut plain_loss = None;
        if foreseen > 0 {
            let plain = Stack::new("a", &[])?;
            let request = Request { tokens, stack: &plain, seed: SEED, wants: Selection::default() };
            plain_loss = judged(&self.runner.forward(request).await?.logits);
        }

        let mut price = super::price(&self.config, &stack, SEED, tokens.len());
        price.millis = millis;
        let shared = share(&self.runner.cpu, &stack, SEED, tokens)?;
        price.score_share = Some(shared);
        let products = weights(&self.config);
        let bytes_per_token = products * self.weight_bytes() + price.kv_bytes;
        let pass_flops = if state(&stack, self.config.head_width).is_some() {
            price.flops_per_token * tokens.len()
        } else {
            // Two products per pair and entry of a head: its score, and its share of z.
            let (c, causal) = (&self.config, tokens.len() * (tokens.len() + 1) / 2);
            let pairs = (c.layers * c.heads * causal) as f32 * shared;
            2 * products * tokens.len() + 4 * c.head_width * pairs as usize
        };
        let (tokens_per_second, drawn_on_gpu) = self.pace(stack, tokens, drawn).await?;
        let tokens = tokens.len();
        Ok(Quote { tokens, price, loss, plain_loss, tokens_per_second, drawn_on_gpu, bytes_per_token, pass_flops })
    }

    /// Tokens drawn per second behind the others, `None` when nothing was drawn, and whether the GPU drew the last of them.
    async fn pace(&mut self, stack: Stack, tokens: &[u32], drawn: usize) -> Result<(Option<f32>, bool)> {
        let begin = tokens.get(..tokens.len().saturating_sub(drawn).max(1)).unwrap_or(tokens);
        let mut generation = self.generate(stack, begin, Sampling::default(), SEED).await?;
        let mut millis = 0.0;
        while generation.drawn().len() < drawn && generation.end().is_none() {
            let left = drawn - generation.drawn().len();
            millis += self.burst(&mut generation, left).await?.millis;
        }
        let count = generation.drawn().len();
        Ok(((count > 0).then(|| 1e3 * count as f32 / millis), generation.on_gpu()))
    }

    /// The same weights with room for this many tokens.
    async fn stretched(&mut self, context: usize) -> Result<Box<Engine>> {
        if let Some(long) = self.long.take().filter(|long| long.config.context >= context) {
            return Ok(long);
        }
        if self.config.positions == Positions::Learned {
            let most = format!("be at most {}, for which this model has learned positions", self.config.context);
            return Err(refuse(&most, context));
        }
        let mut config = self.config.clone();
        config.context = context;
        let choice = if self.facts().tier == Tier::Cpu { Choice::Cpu } else { Choice::Gpu };
        let (weights, tokenizer) = (self.runner.cpu.weights(), self.tokenizer().clone());
        let loaded = Loaded { config, weights, tokenizer, facts: self.model().clone(), self_check: None };
        Ok(Box::new(Box::pin(Engine::new(loaded, choice)).await?))
    }

    /// Bytes of one weight where it computes.
    fn weight_bytes(&self) -> usize {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.runner.gpu {
            return gpu.format().bytes();
        }
        4
    }
}

fn refuse(expected: &str, came: usize) -> Error {
    Error::Param { who: "quote".into(), key: "tokens".into(), expected: expected.into(), came: came.to_string() }
}
