//! The choice between processor and GPU: both read the same few tokens and write some behind them; the faster one computes.
//!
//! A GPU is not always the faster one: small models are bound by what a submit costs, and an old GPU may be slower than
//! SIMD. What is measured is what a visitor waits for. The first round compiles kernels and fills caches, so it does not count.

use super::runner::Runner;
use super::{Forward, Request};
use crate::Result;
use crate::gpu::GpuModel;
use crate::hook::Selection;
use crate::mechanism::Stack;
use crate::model::sample::{Sampler, Sampling};
use crate::model::{Config, Seen};
use crate::outcome::Trial;
use web_time::Instant;

/// Multiplications after which the trial of a large model stops adding tokens: about a tenth of a second of the processor.
const MOST_WORK: usize = 500_000_000;
const MOST_TOKENS: usize = 64;
const WRITTEN: usize = 4;
/// Weights of a model from which on nothing is written: the processor would hold them a second time to do so.
const LARGE: usize = 32_000_000;
const ROUNDS: usize = 3;

/// Measures both engines with the plain model.
///
/// # Errors
/// Those of the engines.
pub(super) async fn measure(config: &Config, runner: &mut Runner, gpu: &mut GpuModel) -> Result<Trial> {
    let written = if config.parameters() < LARGE { WRITTEN } else { 0 };
    let room = MOST_TOKENS.min(config.context.saturating_sub(WRITTEN)).max(1);
    let read = (MOST_WORK / config.parameters().max(1)).clamp(1, room);
    let tokens: Vec<u32> = (0..read).map(|index| (index % config.vocabulary) as u32).collect();
    let stack = Stack::new("a", &[])?;
    let request = || Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
    let sampler = Sampler::new(Sampling { temperature: 0.0, ..Sampling::default() })?;

    let mut trial = Trial { read, written, processor: [f32::MAX; 2], gpu: [f32::MAX; 2] };
    for round in 0..ROUNDS {
        let reading = timed(async { runner.cpu.forward(request()).await }).await?;
        let writing = if written > 0 { write(runner, &stack, &sampler, &tokens, written).await? } else { 0.0 };
        note(&mut trial.processor, round, [reading, writing]);
    }
    let mut decode = if written > 0 { Some(gpu.decode(stack.clone(), 0).await?) } else { None };
    for round in 0..ROUNDS {
        let reading = timed(async { gpu.forward(request()).await }).await?;
        let mut writing = 0.0;
        if let Some(decode) = &mut decode {
            decode.read(&tokens, tokens.len(), &sampler).await?;
            writing = timed(async { decode.burst(written).await }).await?;
        }
        note(&mut trial.gpu, round, [reading, writing]);
    }
    Ok(trial)
}

/// Milliseconds that the processor takes to write behind `tokens`, which it reads before.
async fn write(runner: &Runner, stack: &Stack, sampler: &Sampler, tokens: &[u32], written: usize) -> Result<f32> {
    let (mut sequence, mut seen) = (tokens.to_vec(), Seen::default());
    let mut logits = runner.cpu.decode(&mut seen, stack, 0, &sequence)?;
    timed(async {
        for _ in 0..written {
            sequence.push(sampler.pick(&logits, sequence.len()));
            logits = runner.cpu.decode(&mut seen, stack, 0, &sequence)?;
        }
        Ok(())
    })
    .await
}

/// Milliseconds that `work` takes, its answer included.
async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<f32> {
    let start = Instant::now();
    work.await?;
    Ok(start.elapsed().as_secs_f32() * 1e3)
}

/// Keeps the best of all rounds but the first.
fn note(best: &mut [f32; 2], round: usize, came: [f32; 2]) {
    if round > 0 {
        best.iter_mut().zip(came).for_each(|(best, came)| *best = best.min(came));
    }
}
