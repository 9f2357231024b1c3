//! Continuing a prompt on the GPU: caches of keys and values that stay in place, and one pass for one or many tokens.
//!
//! Everything is made when a continuation begins. A token is then [`plan::step`]: 5 L + 2 dispatches in one pass (4 L + 2
//! where the halves of blocks are parallel), which end with the next token's row in the stream, drawn and fed back without
//! the host. So any number of tokens stand behind each other in one submit, and the host reads 16 bytes and the tokens. Once
//! a continuation has ended, what is left of a burst does nothing.
//!
//! Who wants to look keeps the queries, too: the same programs write them to where those of all positions stand, and the map
//! of any head is recomputed from queries and keys when it is asked for ([`Decode::maps`]).

pub mod cache;
pub mod plan;
mod rows;

use super::apply::{inputs, parameters};
use super::device::Device;
use super::model::{HeadRows, check_head};
use super::plan::{Plan, Read};
use super::run::{Buffers, Ready, staging};
use super::source;
use super::weights::Format;
use crate::mechanism::Stack;
use crate::model::attention::default_inputs;
use crate::model::config::Config;
use crate::model::sample::Sampler;
use crate::model::step::has_slot;
use crate::{Error, Result};
use cache::Cache;
use plan::{Form, STATE_WORDS, Way, rings};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most tokens of one burst, which is what one readback has room for.
pub const MOST_BURST: usize = 64;

/// Rows of a prompt that are computed together.
const CHUNK: usize = 128;

/// Words of the state that are read back: position, given, done, context.
const HEADER: usize = 4;

/// One continuation on the GPU.
pub struct Decode {
    device: Rc<Device>,
    config: Config,
    format: Format,
    stack: Stack,
    way: Way,
    caches: Vec<Cache>,
    resident: Buffers,
    room: usize,
    plan: Plan,
    ready: Ready,
    staging: wgpu::Buffer,
    /// Position of the token whose row is in the stream.
    position: usize,
    /// Whether the last token of the prompt still has to be fed.
    unfed: bool,
}

/// What a burst came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Tokens drawn, or taken from those given.
    pub tokens: Vec<u32>,
    /// Whether it ended, and why.
    pub done: Option<Done>,
}

/// Why a continuation ended on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A token was drawn before which continuations stop.
    Document,
    /// The sequence is as long as [`Decode::room`].
    Full,
    /// A logit was not finite.
    Fault,
}

impl Decode {
    /// Buffers and kernels for continuations of `config` under `stack`, whose inputs `seed` fills; `way` is how.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a stack that decodes on the processor only; [`Error::Gpu`] when the cache does not fit
    /// the device, with both sizes, before anything is allocated.
    pub(super) async fn new(
        device: Rc<Device>,
        config: &Config,
        format: Format,
        resident: &Buffers,
        stack: Stack,
        seed: u64,
        way: Way,
    ) -> Result<Self> {
        let room = config.context.min(source::kernel("attend_rows")?.constant("MOST_KEYS")? as usize);
        // A mixer forgets keys, so that queries are of no use.
        let way = Way { keep: way.keep && stack.mixer.is_none(), ..way };
        let caches = Cache::of_layers(config, &stack, seed, room, way.keep);
        let plan = plan::step(Form { config, format, stack: &stack, room, way, caches: &caches })?;
        let ready = Ready::new(&device, &plan, resident).await?;
        ready.settle(&device, &plan)?;
        for (name, words) in parameters(&stack) {
            ready.write(&device, &name, 0, &words)?;
        }
        for (layer, cache) in caches.iter().enumerate().filter(|(_, cache)| cache.is_ring()) {
            ready.write(&device, &rings(layer), 0, &cache.words()?)?;
        }
        if stack.inputs().next().is_some() {
            for layer in 0..config.layers {
                let (heads, kv_heads, width) = (config.heads, config.kv_heads, config.head_width);
                let arrays = default_inputs(&stack, layer, heads, kv_heads, width, seed);
                for (name, words) in inputs(&stack, layer, &arrays) {
                    ready.write(&device, &name, 0, &words)?;
                }
            }
        }
        let staging = staging(&device, HEADER + MOST_BURST).await?;
        let (config, resident) = (config.clone(), resident.clone());
        let (position, unfed) = (0, false);
        Ok(Self { device, config, format, stack, way, caches, resident, room, plan, ready, staging, position, unfed })
    }

    /// Most tokens of a sequence.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Bytes that hold keys, values or states of the tokens so far, as the device was asked for them.
    pub fn cache_bytes(&self) -> u64 {
        let is_cache = |name: &str| ["k.", "v.", "memory."].iter().any(|kind| name.starts_with(kind));
        self.ready.buffers().iter().filter(|(name, _)| is_cache(name)).map(|(_, buffer)| buffer.size()).sum()
    }

    /// Dispatches of one token.
    pub fn dispatches(&self) -> usize {
        self.plan.steps.len()
    }

    /// Reads a prompt: all but its last token go into the cache. Tokens of `sequence` behind the first `prompt` are taken
    /// as they are, where they would be drawn.
    ///
    /// # Errors
    /// [`Error::Gpu`] from the device.
    pub async fn read(&mut self, sequence: &[u32], prompt: usize, sampler: &Sampler) -> Result<()> {
        self.read_unless(sequence, prompt, sampler, async || false).await
    }

    /// The same; `stop` is asked between chunks.
    ///
    /// # Errors
    /// [`Error::Superseded`] when stopped, [`Error::Gpu`] from the device.
    pub async fn read_unless(
        &mut self,
        sequence: &[u32],
        prompt: usize,
        sampler: &Sampler,
        stop: impl AsyncFn() -> bool,
    ) -> Result<()> {
        let before = prompt.clamp(1, sequence.len().max(1)) - 1;
        self.ready.write(&self.device, "tokens", 0, sequence)?;
        let sampling = sampler.sampling();
        let none = u32::MAX;
        let mut state = [0; STATE_WORDS];
        let words = [
            0,
            sequence.len() as u32,
            0,
            self.room as u32,
            sampling.temperature.to_bits(),
            u32::try_from(sampling.top_k).unwrap_or(none),
            sampling.top_p.to_bits(),
            sampling.seed as u32,
            (sampling.seed >> 32) as u32,
            self.config.eos.unwrap_or(none),
            self.config.bos.unwrap_or(none),
        ];
        state.iter_mut().zip(words).for_each(|(word, value)| *word = value);
        self.ready.write(&self.device, "state", 0, &state)?;
        self.chunks(before, stop).await?;
        // Sampling goes on to the position behind, where the prompt's last token is given.
        self.ready.write(&self.device, "state", 0, &[(before as u32).wrapping_sub(1)])?;
        self.position = before;
        self.unfed = true;
        Ok(())
    }

    /// Keys and values of the first `count` tokens.
    async fn chunks(&mut self, count: usize, stop: impl AsyncFn() -> bool) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let form = self.form();
        let rows = CHUNK.min(count);
        let mut ready = Ready::new(&self.device, &plan::chunk(form, 0, rows, rows)?, &self.known()).await?;
        for first in (0..count).step_by(rows) {
            if first > 0 && stop().await {
                ready.destroy();
                return Err(Error::Superseded);
            }
            let plan = plan::chunk(form, first, rows.min(count - first), rows)?;
            self.ready.write(&self.device, "state", 0, &[first as u32])?;
            let read = ready.run(&self.device, &plan, &BTreeMap::new()).await;
            if read.is_err() {
                ready.destroy();
            }
            read?;
        }
        ready.destroy();
        Ok(())
    }

    /// Scores and weights of one head for the queries from position `first` on `[count,keys]`, of every token that was fed:
    /// recomputed from the queries and keys that are there, under the stack. Empty where `first` is not behind them.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a head the model does not have, [`Error::Unsupported`] for a mixer, which keeps no keys,
    /// [`Error::Internal`] where queries are not kept, [`Error::Gpu`] from the device.
    pub async fn maps(&self, layer: usize, head: usize, first: usize) -> Result<HeadRows> {
        check_head(&self.config, layer, head)?;
        let count = self.position.saturating_sub(first);
        let keys = first + count;
        let mut maps = vec![Vec::new()];
        if count > 0 {
            let plan = plan::maps(self.form(), layer, head, first, count)?;
            let mut ready = Ready::new(&self.device, &plan, &self.known()).await?;
            let read = ready.run(&self.device, &plan, &BTreeMap::new()).await;
            ready.destroy();
            maps = read?;
        }
        HeadRows::of(maps.into_iter().next().unwrap_or_default(), [count, keys], has_slot(&self.stack))
    }

    fn form(&self) -> Form<'_> {
        let Self { config, format, stack, room, way, caches, .. } = self;
        Form { config, format: *format, stack, room: *room, way: *way, caches }
    }

    /// Every buffer that another plan may read.
    fn known(&self) -> Buffers {
        self.resident.iter().chain(self.ready.buffers()).map(|(name, buffer)| (name.clone(), buffer.clone())).collect()
    }

    /// The next `count` tokens, at most [`MOST_BURST`], fewer where the continuation ends.
    ///
    /// # Errors
    /// [`Error::Gpu`] from the device.
    pub async fn burst(&mut self, count: usize) -> Result<Drawn> {
        let count = count.clamp(1, MOST_BURST).min(self.room.saturating_sub(self.position + 1).max(1));
        let all = self.plan.steps.len();
        let feed = self.unfed.then_some(all.saturating_sub(1));
        let steps = feed.into_iter().chain((0..count).flat_map(|_| 0..all));
        let first = (self.position + 1).min(self.room.saturating_sub(count));
        let reads = [
            Read { buffer: "state".into(), first: 0, words: HEADER },
            Read { buffer: "tokens".into(), first, words: count },
        ];
        self.ready.submit(&self.device, &self.plan, steps, &reads, &self.staging)?;
        let bytes = (HEADER + count) as u64 * 4;
        let words: Vec<u32> = self.device.read(&self.staging, bytes).await?;
        self.unfed = false;
        let [position, _, done, _, tokens @ ..] = &words[..] else {
            return Err(Error::Internal("a burst came back empty".into()));
        };
        let reached = *position as usize;
        let tokens = tokens.get(self.position + 1 - first..(reached + 1).saturating_sub(first)).unwrap_or(&[]).to_vec();
        self.position = reached;
        let done = match done {
            0 => None,
            1 => Some(Done::Document),
            2 => Some(Done::Full),
            _ => Some(Done::Fault),
        };
        Ok(Drawn { tokens, done })
    }

    /// The logits behind the position before the last: those the last token was drawn from `[V]`.
    ///
    /// # Errors
    /// [`Error::Gpu`] from the device.
    pub async fn logits(&self) -> Result<Vec<f32>> {
        let words = self.config.vocabulary;
        let staging = staging(&self.device, words).await?;
        let read = [Read { buffer: "logits".into(), first: 0, words }];
        self.ready.submit(&self.device, &self.plan, std::iter::empty(), &read, &staging)?;
        let logits = self.device.read(&staging, words as u64 * 4).await;
        staging.destroy();
        logits
    }
}

impl Drop for Decode {
    fn drop(&mut self) {
        self.ready.destroy();
        self.staging.destroy();
    }
}
