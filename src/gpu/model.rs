//! A decoder model on the GPU.
//!
//! Weights are uploaded once. Buffers, bind groups and kernels are kept per kind of pass (mechanisms, captures, length
//! rounded up), so that a slider that moves rewrites a few uniform words and recompiles nothing.

use super::apply::{inputs, parameters, unmask};
use super::attend::unsupported;
use super::decode::Decode;
use super::decode::plan::{Lanes, Way};
use super::device::Device;
use super::layers::{self, rotated};
use super::plan::{Attend, Past, Plan, Read, Size};
use super::run::{Buffers, Ready, upload};
use super::source;
use super::weights::{Format, resident};
use crate::engine::{Forward, Pass, Request};
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site};
use crate::mechanism::Stack;
use crate::model::attention::default_inputs;
use crate::model::config::Config;
use crate::model::step::{Sizes, has_slot};
use crate::model::weights::Weights;
use crate::spec::Value;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Kinds of passes that are kept; two panes, with and without captures, take four.
const KEPT: usize = 4;

/// A model whose weights are on the device.
pub struct GpuModel {
    device: Rc<Device>,
    config: Config,
    format: Format,
    resident: Buffers,
    kept: Vec<Kept>,
}

/// Buffers of one kind of pass, and what last ran on them.
struct Kept {
    kind: Kind,
    ready: Ready,
    last: Option<Inputs>,
}

/// What decides over buffers and programs.
#[derive(Debug, Clone, PartialEq)]
struct Kind {
    mechanisms: Vec<&'static str>,
    capacity: usize,
    wants: Vec<HookPoint>,
    /// Programs and what they are bound to, which the values of a mechanism in stages decide.
    programs: Vec<(String, Vec<(String, String)>)>,
    buffers: BTreeMap<String, Size>,
}

/// What decides over the numbers in them.
#[derive(Debug, Clone, PartialEq)]
struct Inputs {
    tokens: Vec<u32>,
    seed: u64,
    values: Vec<Vec<Value>>,
}

/// One head in full.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadRows {
    /// Scores `[Q,K]`; removed entries hold [`MASKED`](crate::mechanism::MASKED).
    pub scores: Array,
    /// Weights `[Q,K]`; zero where a pair is not kept.
    pub pattern: Array,
    /// Weight of the slot `[Q]`, where the normalizer has one.
    pub slot: Option<Array>,
}

/// Refuses a head that the model does not have.
pub(super) fn check_head(config: &Config, layer: usize, head: usize) -> Result<()> {
    if layer < config.layers && head < config.heads {
        return Ok(());
    }
    Err(Error::Unknown {
        what: "head",
        name: format!("L{layer}H{head}"),
        remedy: format!("this model has {} layers of {} heads", config.layers, config.heads),
    })
}

impl HeadRows {
    /// From what the row kernel leaves: scores, pattern, slots.
    pub(super) fn of(mut maps: Vec<f32>, [queries, keys]: [usize; 2], slot: bool) -> Result<Self> {
        let pairs = queries * keys;
        let mut pattern = maps.split_off(pairs.min(maps.len()));
        let slots = pattern.split_off(pairs.min(pattern.len()));
        Ok(Self {
            scores: Array::new([queries, keys], maps)?,
            pattern: Array::new([queries, keys], unmask(pattern))?,
            slot: slot.then(|| Array::new([queries], slots)).transpose()?,
        })
    }
}

impl GpuModel {
    /// Uploads a model, in half precision where that changes no weight; a software adapter unpacks numbers no faster than it
    /// reads them, so there it stays as it is, unless it was rounded to bytes.
    ///
    /// # Errors
    /// As [`GpuModel::stored`].
    pub async fn new(device: Rc<Device>, config: &Config, weights: &Weights) -> Result<Self> {
        let format = match Format::lossless(weights) {
            Format::F16 if device.software => Format::F32,
            format => format,
        };
        Self::stored(device, config, weights, format).await
    }

    /// How its matrices are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Uploads a model with its matrices in `format`.
    ///
    /// # Errors
    /// [`Error::Gpu`] when something does not fit the device, and what [`Config::check`] and [`Weights::check`] refuse.
    pub async fn stored(device: Rc<Device>, config: &Config, weights: &Weights, format: Format) -> Result<Self> {
        config.check("config")?;
        weights.check(config, "weights")?;
        layers::check(config, &Stack::new("a", &[])?)?;
        let positions = config.context.min(source::kernel("attend_rows")?.constant("MOST_KEYS")? as usize);
        let resident = upload(&device, &resident(config, weights, positions, format)?).await?;
        Ok(Self { device, config: config.clone(), format, resident, kept: Vec::new() })
    }

    /// Sizes and choices.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Buffers and kernels for continuations under `stack`, whose inputs `seed` fills.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a stack that decodes on the processor only, [`Error::Gpu`] from the device.
    pub async fn decode(&self, stack: Stack, seed: u64) -> Result<Decode> {
        self.decode_with(stack, seed, self.way()).await
    }

    /// How continuations are computed on this device.
    pub fn way(&self) -> Way {
        Way { lanes: if self.device.software { Lanes::Alone } else { Lanes::Shared }, keep: false }
    }

    /// The same in a way that need not be the one that suits the device; queries that are kept make [`Decode::maps`].
    ///
    /// # Errors
    /// As [`GpuModel::decode`].
    pub async fn decode_with(&self, stack: Stack, seed: u64, way: Way) -> Result<Decode> {
        Decode::new(self.device.clone(), &self.config, self.format, &self.resident, stack, seed, way).await
    }

    /// The device it lives on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Maps of one head under the request's stack, for any length: recomputed from the rotated queries and keys of the
    /// last pass, or of a new one when the last was another.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a head the model does not have, and those of the pass.
    pub async fn head_maps(&mut self, request: &Request<'_>, layer: usize, head: usize) -> Result<HeadRows> {
        check_head(&self.config, layer, head)?;
        if request.stack.acts_in_stages() {
            return self.head_of_pass(request, layer, head).await;
        }
        let inputs_now = Inputs::of(request);
        let mechanisms = mechanisms(request.stack);
        let same = |kept: &Kept| kept.kind.mechanisms == mechanisms && kept.last.as_ref() == Some(&inputs_now);
        let index = match self.kept.iter().position(same) {
            Some(index) => index,
            None => {
                self.pass(request, &Selection::default()).await?;
                self.kept.len() - 1
            }
        };
        let n = request.tokens.len();
        let [rot_q, rot_k] = rotated(&self.config, layer);
        let slot = has_slot(request.stack);
        let mut plan = Plan::default();
        plan.storage("maps", 2 * n * n + n);
        plan.storage("z", n * self.config.head_width);
        plan.stack(request.stack, layer + 1, self.config.heads, self.config.kv_heads, self.config.head_width);
        let sizes = Sizes {
            batch: 1,
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            queries: n,
            keys: n,
            width: self.config.head_width,
        };
        let at = Attend {
            q: &rot_q,
            k: &rot_k,
            // Only the maps are wanted; keys stand in for values, which have their shape.
            v: &rot_k,
            z: "z",
            capture: Some("maps"),
            state: None,
            held: None,
            past: Past::Whole,
            layer,
            layers: self.config.layers,
            sizes,
            room: sizes,
            first_query: 0,
            first_head: head,
            shown: 1,
            scale: self.config.scale(),
        };
        plan.maps(request.stack, &at)?;
        plan.reads.push(Read { buffer: "maps".into(), first: 0, words: 2 * n * n + n });
        let mut uploads = parameters(request.stack);
        uploads.extend(self.inputs_at(request, layer));
        let mut ready = match self.kept.get(index) {
            Some(kept) => Ready::new(&self.device, &plan, kept.ready.buffers()).await?,
            None => return Err(Error::Internal("a pass left no buffers".into())),
        };
        let maps = ready.run(&self.device, &plan, &uploads).await;
        ready.destroy();
        HeadRows::of(maps?.into_iter().next().unwrap_or_default(), [n, n], slot)
    }

    /// The same from a pass that captures every head of the layer: stages need all of them, and their values.
    async fn head_of_pass(&mut self, request: &Request<'_>, layer: usize, head: usize) -> Result<HeadRows> {
        let wants = [Site::Scores, Site::Pattern, Site::Slot].map(|site| HookPoint::new(layer, site));
        let wants = wants.into_iter().fold(Selection::default(), Selection::with);
        let again = Request { wants: wants.clone(), ..*request };
        let captures = self.pass(&again, &wants).await?.captures;
        let n = request.tokens.len();
        let part = |site: Site, shape: Vec<usize>| {
            let all = captures.get(layer, site)?;
            let count: usize = shape.iter().product();
            Array::new(shape, all.data.get(head * count..(head + 1) * count).unwrap_or(&[]).to_vec())
        };
        let slot = has_slot(request.stack).then(|| part(Site::Slot, vec![n])).transpose()?;
        Ok(HeadRows { scores: part(Site::Scores, vec![n, n])?, pattern: part(Site::Pattern, vec![n, n])?, slot })
    }

    fn inputs_at(&self, request: &Request<'_>, layer: usize) -> Vec<(String, Vec<u32>)> {
        let config = &self.config;
        let (heads, kv_heads, width) = (config.heads, config.kv_heads, config.head_width);
        inputs(request.stack, layer, &default_inputs(request.stack, layer, heads, kv_heads, width, request.seed))
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let refuse = |key: &str, expected: String, came: String| {
            Err(Error::Param { who: "model".into(), key: key.into(), expected, came })
        };
        if tokens.is_empty() || tokens.len() > self.config.context {
            let expected = format!("have 1..={} tokens, the model's context", self.config.context);
            return refuse("sequence", expected, format!("{} long", tokens.len()));
        }
        match tokens.iter().find(|token| **token as usize >= self.config.vocabulary) {
            Some(token) => {
                refuse("token", format!("lie below the vocabulary of {}", self.config.vocabulary), token.to_string())
            }
            None => Ok(()),
        }
    }

    /// Runs a pass; its buffers are the last of `kept` afterwards.
    async fn pass(&mut self, request: &Request<'_>, wants: &Selection) -> Result<Pass> {
        self.check_tokens(request.tokens)?;
        if request.stack.corrects().is_some() {
            let ids: Vec<_> = request.stack.iter().map(|placed| placed.mechanism.id).collect();
            return Err(unsupported(&ids.join(" "), "gpu, but a cache is corrected on the processor only"));
        }
        let slot = has_slot(request.stack);
        let tokens = request.tokens.len();
        let capacity = tokens.next_power_of_two().max(16);
        let now = layers::pass(&self.config, self.format, request.stack, wants, slot, tokens, capacity)?;
        let kind = Kind {
            mechanisms: mechanisms(request.stack),
            capacity,
            wants: now.captures.iter().map(|(at, _)| *at).collect(),
            programs: now.plan.steps.iter().map(|step| (step.kernel.id(), step.binds.clone())).collect(),
            buffers: now.plan.buffers.clone(),
        };
        let mut kept = match self.kept.iter().position(|kept| kept.kind == kind) {
            Some(index) => self.kept.remove(index),
            None => {
                let ready = Ready::new(&self.device, &now.plan, &self.resident).await?;
                Kept { kind, ready, last: None }
            }
        };
        let mut uploads = parameters(request.stack);
        uploads.insert("tokens".into(), request.tokens.to_vec());
        if request.stack.inputs().next().is_some() {
            (0..self.config.layers).for_each(|layer| uploads.extend(self.inputs_at(request, layer)));
        }
        kept.last = None;
        let values = kept.ready.run(&self.device, &now.plan, &uploads).await?;
        kept.last = Some(Inputs::of(request));
        self.kept.push(kept);
        if self.kept.len() > KEPT {
            self.kept.remove(0).ready.destroy();
        }
        let mut values = values.into_iter();
        let logits = Array::new([tokens, self.config.vocabulary], values.next().unwrap_or_default())?;
        let mut captures = ActivationCache::new(request.wants.clone());
        let mut recorded = BTreeMap::new();
        for ((at, shape), data) in now.captures.into_iter().zip(values) {
            let data = if at.site == Site::Pattern { unmask(data) } else { data };
            recorded.insert(at, Array::new(shape, data)?);
        }
        captures.values = recorded;
        Ok(Pass { logits, captures })
    }
}

impl Drop for GpuModel {
    /// A browser gives memory back when it is told to, and else when it likes.
    fn drop(&mut self) {
        self.kept.iter().for_each(|kept| kept.ready.destroy());
        self.resident.values().for_each(wgpu::Buffer::destroy);
    }
}

impl Inputs {
    fn of(request: &Request<'_>) -> Self {
        let values = request.stack.iter().map(|placed| placed.values.clone()).collect();
        Self { tokens: request.tokens.to_vec(), seed: request.seed, values }
    }
}

fn mechanisms(stack: &Stack) -> Vec<&'static str> {
    stack.iter().map(|placed| placed.mechanism.id).collect()
}

impl Forward for GpuModel {
    async fn forward(&mut self, request: Request<'_>) -> Result<Pass> {
        let wants = request.wants.clone();
        self.pass(&request, &wants).await
    }
}
