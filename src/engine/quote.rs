//! What one variant costs and is worth: the same text, the same number of tokens, the same device for every variant, so
//! that price and quality can stand in one plot.

use super::Engine;
use super::pane::{Ran, Setting};
use super::price::weights;
use crate::experiment::{Chip, Experiment, Pane};
use crate::model::sample::Sampling;
use crate::outcome::{LONG_TOKENS, Quote, Tier};
use crate::{Error, Result};

/// Tokens that are read before drawing is timed.
const READ: usize = 32;

impl Engine {
    /// Runs `stack` on the first `tokens` tokens of `text`, and draws `drawn` tokens behind its beginning.
    ///
    /// # Errors
    /// [`Error::Param`] when the text is shorter or the model's context holds fewer; those of the stack and of the passes.
    pub async fn quote(&mut self, stack: &[Chip], text: &str, tokens: usize, drawn: usize) -> Result<Quote> {
        let panes = vec![Pane { stack: stack.to_vec() }];
        let experiment = Experiment { prompt: text.into(), panes, ..Experiment::default() };
        let mut plan = self.plan(&experiment).await?;
        if !(2..=plan.tokens.len()).contains(&tokens) {
            return Err(Error::Param {
                who: "quote".into(),
                key: "tokens".into(),
                expected: format!("lie in 2..={}, what text and context hold", plan.tokens.len()),
                came: tokens.to_string(),
            });
        }
        plan.tokens.truncate(tokens);
        let stack = plan.stacks.swap_remove(0);
        let facts = self.facts();
        let time_twice = facts.tier > Tier::Cpu && !facts.software;
        let at = Setting { config: &self.config, grams: &self.grams, plan: &plan, time_twice };
        let ran = Ran::new(&mut self.runner, &at, "a", &stack).await?;
        let (price, loss) = ran.worth();
        let begin = plan.tokens.get(..READ.min(tokens)).unwrap_or(&plan.tokens);
        let mut generation = self.generate(stack, begin, Sampling::default(), plan.seed).await?;
        let mut millis = 0.0;
        while generation.drawn().len() < drawn && generation.end().is_none() {
            let left = drawn - generation.drawn().len();
            millis += self.burst(&mut generation, left).await?.millis;
        }
        let count = generation.drawn().len();
        let tokens_per_second = (count > 0).then(|| 1e3 * count as f32 / millis);
        let long = super::price(&self.config, &generation.stack, plan.seed, LONG_TOKENS);
        let products = weights(&self.config);
        let at = super::price(&self.config, &generation.stack, plan.seed, begin.len() + count);
        let bytes_per_token = products * self.weight_bytes() + at.kv_bytes;
        // Two products per pair and entry of a head: its score, and its share of z.
        let (c, causal) = (&self.config, tokens * (tokens + 1) / 2);
        let pairs = (c.layers * c.heads * causal) as f32 * price.score_share;
        let pass_flops = 2 * products * tokens + 4 * c.head_width * pairs as usize;
        Ok(Quote { tokens, price, long, loss, tokens_per_second, bytes_per_token, pass_flops })
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
