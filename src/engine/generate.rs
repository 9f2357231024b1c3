//! Continuations, burst by burst: the streaming side of the engine.
//!
//! ```text
//! let mut generation = engine.generate(stack, &prompt, sampling, seed).await?;   reads the prompt
//! loop {
//!     let burst = engine.burst(&mut generation, 16).await?;                      at most 16 tokens, at most about a frame
//!     show(burst.tokens, burst.millis);
//!     if burst.end.is_some() { break }                                           end.notice(): one sentence, or none
//! }
//! ```
//!
//! A [`Generation`] does not borrow the engine, so a worker keeps both and drives it between messages: *stop* is to ask for
//! no further burst, *step* is to ask for a burst of one. What a burst has computed is never lost: the next one goes on
//! behind it, on the GPU from its cache, on the processor from its own. When the GPU fails, a new device or the processor
//! reads the tokens so far and goes on; since a draw depends on seed and position alone, the continuation is the same.

#[cfg(feature = "gpu")]
use super::runner::is_failure;
use super::{Engine, Request};
#[cfg(feature = "gpu")]
use crate::gpu::decode::plan::Way;
#[cfg(feature = "gpu")]
use crate::gpu::decode::{Decode, Done, Drawn};
use crate::hook::Selection;
use crate::mechanism::Stack;
use crate::model::sample::{Sampler, Sampling};
use crate::model::{Seen, is_plain};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use web_time::Instant;

/// A burst is made for this time, two frames: what a visitor sees as flowing, and what a stop may cost at most.
const BURST_MILLIS: f32 = 33.0;

/// Tokens of a prompt that the processor reads before it asks whether it should go on.
const PART: usize = 128;

/// A continuation under way.
pub struct Generation {
    pub(super) stack: Stack,
    pub(super) seed: u64,
    sampler: Sampler,
    /// Tokens of the prompt, then those drawn.
    tokens: Vec<u32>,
    prompt: usize,
    prompt_millis: f32,
    end: Option<End>,
    /// Whether somebody may look at what it reads, see [`Engine::written`].
    keep: bool,
    pub(super) on: On,
}

/// What computes a continuation, with what it has kept.
pub(super) enum On {
    /// The burn model; logits behind the last token, where they are known already.
    Processor(Box<Seen>, Option<Vec<f32>>),
    /// The WGSL engine, and how many tokens the next burst may have.
    #[cfg(feature = "gpu")]
    Gpu(Box<Decode>, usize),
}

/// Tokens that came together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// The tokens, without the one that ends a document.
    pub tokens: Vec<u32>,
    /// Measured time from the call to its answer, the draws and the readback included.
    pub millis: f32,
    /// Why nothing follows, where nothing does.
    pub end: Option<End>,
}

/// Why a continuation ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The model drew the token that ends a document, or the one that begins another.
    Document,
    /// The context holds no further token.
    Full {
        /// Tokens it holds.
        context: usize,
    },
}

impl End {
    /// What the visitor is told, where it is not the natural end.
    pub fn notice(&self) -> Option<String> {
        match self {
            End::Document => None,
            End::Full { context } => {
                Some(format!("the context of {context} tokens is full, so the continuation stops here"))
            }
        }
    }
}

impl Generation {
    /// Tokens of the prompt, then those drawn so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens drawn so far.
    pub fn drawn(&self) -> &[u32] {
        self.tokens.get(self.prompt..).unwrap_or(&[])
    }

    /// Measured time of reading the prompt.
    pub fn prompt_millis(&self) -> f32 {
        self.prompt_millis
    }

    /// Whether the GPU computes it. Some stacks decode on the processor only, and a GPU that fails leaves it the rest.
    pub fn on_gpu(&self) -> bool {
        !matches!(self.on, On::Processor(..))
    }

    /// Why it ended, where it did.
    pub fn end(&self) -> Option<End> {
        self.end
    }
}

impl Engine {
    /// Begins a continuation of `prompt` under `stack`; `seed` fills inputs nobody learned. The prompt is read here.
    ///
    /// # Errors
    /// [`Error::Param`] for sampling that makes no sense and for a prompt that is empty, longer than the context or of
    /// unknown tokens; those of the engine.
    pub async fn generate(
        &mut self,
        stack: Stack,
        prompt: &[u32],
        sampling: Sampling,
        seed: u64,
    ) -> Result<Generation> {
        self.generate_unless(stack, prompt, sampling, seed, false, async || false).await
    }

    /// The same; `stop` is asked whenever a part of the prompt has been read. Under mechanisms the processor reads it as a
    /// whole, since some of them choose by what all of it holds. With `keep` the GPU keeps the queries of all positions, so
    /// that [`Engine::written`] needs no second pass.
    ///
    /// # Errors
    /// [`Error::Superseded`] when stopped; those of [`Engine::generate`].
    pub async fn generate_unless(
        &mut self,
        stack: Stack,
        prompt: &[u32],
        sampling: Sampling,
        seed: u64,
        keep: bool,
        stop: impl AsyncFn() -> bool,
    ) -> Result<Generation> {
        let sampler = Sampler::new(sampling)?;
        self.runner.cpu.check_tokens(prompt, 0)?;
        let stack = self.measured(stack, seed).await?;
        let start = Instant::now();
        let on = match self.on_gpu(&stack, seed, &sampler, prompt, keep, &stop).await? {
            Some(on) => on,
            None => self.on_processor(&stack, seed, prompt, &stop).await?,
        };
        let prompt_millis = start.elapsed().as_secs_f32() * 1e3;
        let (tokens, length) = (prompt.to_vec(), prompt.len());
        Ok(Generation { stack, seed, sampler, tokens, prompt: length, prompt_millis, end: None, keep, on })
    }

    /// The next tokens, at most `most`, fewer where that would take longer than a frame or two, at least one unless it has
    /// ended.
    ///
    /// # Errors
    /// [`Error::Tensor`] when a logit is not finite, naming the layer where that began; those of the engine.
    pub async fn burst(&mut self, generation: &mut Generation, most: usize) -> Result<Burst> {
        let start = Instant::now();
        let millis = || start.elapsed().as_secs_f32() * 1e3;
        let first = generation.tokens.len();
        #[cfg(feature = "gpu")]
        while generation.on_gpu() && generation.end.is_none() && generation.tokens.len() == first && most > 0 {
            self.burst_on_gpu(generation, most).await?;
        }
        while matches!(generation.on, On::Processor(..))
            && generation.end.is_none()
            && generation.tokens.len() < first + most
        {
            self.step_on_processor(generation).await?;
            if millis() > BURST_MILLIS {
                break;
            }
        }
        let tokens = generation.tokens.get(first..).unwrap_or(&[]).to_vec();
        Ok(Burst { tokens, millis: millis(), end: generation.end })
    }

    /// The GPU with the prompt in its cache; `None` where there is none, where it has just failed, and where the stack
    /// decodes on the processor only.
    #[cfg(feature = "gpu")]
    async fn on_gpu(
        &mut self,
        stack: &Stack,
        seed: u64,
        sampler: &Sampler,
        tokens: &[u32],
        keep: bool,
        stop: &impl AsyncFn() -> bool,
    ) -> Result<Option<On>> {
        self.runner.trust(stack).await?;
        while let Some(gpu) = &self.runner.gpu {
            let begun = async {
                let mut decode = gpu.decode_with(stack.clone(), seed, Way { keep, ..gpu.way() }).await?;
                decode.read_unless(tokens, tokens.len(), sampler, stop).await?;
                Ok(Some(On::Gpu(Box::new(decode), 1)))
            };
            match begun.await {
                Err(Error::Unsupported { .. }) => break,
                Err(error) if is_failure(&error) => self.runner.recover(&error).await?,
                begun => return begun,
            }
        }
        Ok(None)
    }

    /// This build has no GPU engine.
    #[cfg(not(feature = "gpu"))]
    async fn on_gpu(
        &mut self,
        _: &Stack,
        _: u64,
        _: &Sampler,
        _: &[u32],
        _: bool,
        _: &impl AsyncFn() -> bool,
    ) -> Result<Option<On>> {
        Ok(None)
    }

    /// One burst on the GPU. When the GPU fails, or its numbers do, a new device or the processor stands ready afterwards.
    #[cfg(feature = "gpu")]
    async fn burst_on_gpu(&mut self, generation: &mut Generation, most: usize) -> Result<()> {
        let Generation { stack, seed, tokens, end, on, .. } = generation;
        let On::Gpu(decode, able) = on else { return Ok(()) };
        let start = Instant::now();
        let error = match decode.burst(most.min(*able)).await {
            Ok(Drawn { tokens: drawn, done }) => {
                // As many as the last burst shows to fit the time, at most twice as many.
                let each = start.elapsed().as_secs_f32() * 1e3 / drawn.len().max(1) as f32;
                *able = ((BURST_MILLIS / each) as usize).clamp(1, 2 * drawn.len().max(1));
                tokens.extend(drawn);
                match done {
                    Some(Done::Fault) => match self.not_finite(stack, *seed, tokens).await {
                        Ok(problem) => return Err(problem),
                        Err(error) => error,
                    },
                    Some(Done::Full) => {
                        *end = Some(End::Full { context: decode.room() });
                        return Ok(());
                    }
                    Some(Done::Document) => {
                        *end = Some(End::Document);
                        return Ok(());
                    }
                    None => return Ok(()),
                }
            }
            Err(error) if is_failure(&error) => error,
            Err(error) => return Err(error),
        };
        self.runner.recover(&error).await?;
        // What was drawn is read again; draws depend on seed and position alone, so the text goes on as it would have.
        let (stack, tokens, seed) = (generation.stack.clone(), generation.tokens.clone(), generation.seed);
        let (sampler, keep) = (generation.sampler, generation.keep);
        let on = self.on_gpu(&stack, seed, &sampler, &tokens, keep, &async || false).await?;
        generation.on = on.unwrap_or_else(|| On::Processor(Box::default(), None));
        Ok(())
    }

    async fn on_processor(
        &self,
        stack: &Stack,
        seed: u64,
        tokens: &[u32],
        stop: &impl AsyncFn() -> bool,
    ) -> Result<On> {
        let mut seen = Box::new(Seen::default());
        let plain = is_plain(stack);
        for end in (PART..tokens.len()).step_by(PART).filter(|_| plain) {
            self.runner.cpu.decode(&mut seen, stack, seed, &tokens[..end])?;
            if stop().await {
                return Err(Error::Superseded);
            }
        }
        let logits = self.runner.cpu.decode(&mut seen, stack, seed, tokens)?;
        Ok(On::Processor(seen, Some(logits)))
    }

    /// Draws one token, or says why there is none.
    async fn step_on_processor(&mut self, generation: &mut Generation) -> Result<()> {
        let Generation { stack, seed, sampler, tokens, end, on, .. } = generation;
        if tokens.len() >= self.config.context {
            *end = Some(End::Full { context: self.config.context });
            return Ok(());
        }
        #[cfg_attr(not(feature = "gpu"), expect(irrefutable_let_patterns))]
        let On::Processor(seen, known) = on else {
            return Err(Error::Internal("a continuation on the GPU came to the processor".into()));
        };
        let logits = match known.take() {
            Some(logits) => logits,
            None => self.runner.cpu.decode(seen, stack, *seed, tokens)?,
        };
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(self.not_finite(stack, *seed, tokens).await?);
        }
        let next = sampler.pick(&logits, tokens.len());
        match self.config.ends(next) {
            true => *end = Some(End::Document),
            false => tokens.push(next),
        }
        Ok(())
    }

    /// Where numbers stopped being finite: one more pass that looks at the residual stream of every layer.
    ///
    /// # Errors
    /// [`Error::Gpu`] when they are finite on the processor, so that the GPU alone is wrong.
    async fn not_finite(&mut self, stack: &Stack, seed: u64, tokens: &[u32]) -> Result<Error> {
        let request = Request { tokens, stack, seed, wants: Selection::default() };
        match self.runner.first_not_finite(request).await? {
            Some(at) => {
                let problem = format!("is the first that is not finite, {} tokens in; generation stops", tokens.len());
                Ok(Error::Tensor { file: "model".into(), tensor: at.to_string(), problem })
            }
            None => Err(Error::Gpu { problem: "a logit is not finite that is finite on the processor".into() }),
        }
    }
}
