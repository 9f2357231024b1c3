//! `attnscope apply`: one mechanism's attention step on given tensors.

use super::{npz, print};
use attnscope::engine::Choice;
use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::mechanism::{Fill, Input, MASKED, Placed, Stack};
use attnscope::model::attention::default_inputs;
use attnscope::model::step::{self, Applied, Given};
use attnscope::outcome::{EngineFacts, Tier};
use attnscope::shape::Axes;
use attnscope::{Error, Result, gpu};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// What `apply` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// The mechanism's id; a mod acts on plain softmax attention.
    mechanism: String,
    /// A parameter, `key=value`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// npz file with `q` `[B,H,Q,D]`, `k` and `v` `[B,G,K,D]`, and the mechanism's own inputs by name. q and k are already
    /// rotated; what changes projections is given them before, and turns them in halves with base 10000.
    #[arg(long)]
    input: PathBuf,
    /// `auto` and `cpu` compute in burn tensors, `gpu` with the WGSL twin.
    #[arg(long, default_value = "auto")]
    engine: Choice,
    /// npz file for `z`, `pattern`, `scores`, `mask` and, where there is one, `slot`.
    #[arg(long)]
    out: PathBuf,
    /// What q·k is multiplied by; 1/√D when not given.
    #[arg(long)]
    scale: Option<f32>,
    /// Position of the first query; by default the last query stands at the last key.
    #[arg(long)]
    first_query: Option<usize>,
    /// Zero-based layer, for mechanisms that differ by layer.
    #[arg(long, default_value_t = 0)]
    layer: usize,
    /// Seed of inputs that are random and not in the file.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the step, writes the arrays and prints statistics.
pub fn command(args: &Args) -> Result<()> {
    let mut chip = Chip::new(&args.mechanism);
    for set in &args.set {
        let (key, value) =
            set.split_once('=').ok_or_else(|| Error::parse("--set", format!("{set} is not like key=value")))?;
        let Ok(value) = value.parse();
        chip.values.insert(key.into(), value);
    }
    let stack = Stack::new("a", &[chip])?;
    let mut arrays = npz::read(&args.input)?;
    let mut take = |name: &str| {
        arrays.remove(name).ok_or_else(|| Error::Tensor {
            file: args.input.display().to_string(),
            tensor: name.into(),
            problem: "is missing; q, k and v are needed".into(),
        })
    };
    let (q, k, v) = (take("q")?, take("k")?, take("v")?);
    let mut axes = Axes::new(args.mechanism.as_str());
    axes.bind("q", "BHQD", &q.shape)?;
    axes.bind("k", "BGKD", &k.shape)?;
    let (queries, keys, width) = (axes.size('Q')?, axes.size('K')?, axes.size('D')?);
    let defaults = default_inputs(&stack, args.layer, axes.size('H')?, axes.size('G')?, width, args.seed);
    let (inputs, mut notices) = inputs(&stack, defaults, &mut arrays);
    let given = Given {
        q,
        k,
        v,
        scale: args.scale.unwrap_or(1.0 / (width as f32).sqrt()),
        first_query: args.first_query.unwrap_or(keys.saturating_sub(queries)),
        layer: args.layer,
        layers: args.layer + 1,
        inputs,
    };
    notices.extend(arrays.keys().map(|name| format!("{name} is none of this mechanism's inputs and was left out")));

    let start = Instant::now();
    let (applied, engine) = match args.engine {
        Choice::Auto | Choice::Cpu => {
            let facts = EngineFacts { tier: Tier::Cpu, adapter: "burn flex".into(), ..EngineFacts::default() };
            (step::apply(&stack, &given)?, facts)
        }
        Choice::Gpu => on_gpu(&stack, &given)?,
    };
    let millis = start.elapsed().as_secs_f32() * 1e3;
    // Either engine marks a removed pair in its scores.
    let mask = applied.scores.data.iter().map(|score| f32::from(*score != MASKED)).collect();
    let mask = Array::new(applied.scores.shape.clone(), mask)?;
    let named = [("scores", &applied.scores), ("mask", &mask), ("pattern", &applied.pattern), ("z", &applied.z)];
    let named = named.into_iter().chain(applied.slot.as_ref().map(|slot| ("slot", slot)));
    let versions = stack.iter().map(|placed| (placed.mechanism.id, placed.mechanism.version()));
    let record =
        json!({ "build": engine.build, "adapter": engine.adapter, "mechanisms": versions.collect::<BTreeMap<_, _>>() });
    npz::write(&args.out, named.map(|(name, array)| (name.into(), array)), &record.to_string())?;
    print::json(&json!({
        "mechanism": args.mechanism,
        "values": values(&stack, &args.mechanism),
        "engine": engine,
        "scale": given.scale,
        "first_query": given.first_query,
        "statistics": statistics(&applied, &mask),
        "notices": notices,
        "millis": millis,
    }))
}

/// The inputs of the mechanism in its order: from the file, else made up, which is said.
fn inputs(stack: &Stack, defaults: Vec<Array>, arrays: &mut BTreeMap<String, Array>) -> (Vec<Array>, Vec<String>) {
    let mut notices = Vec::new();
    let mut one = |((_, input), default): ((&Placed, &Input), Array)| {
        arrays.remove(input.name).unwrap_or_else(|| {
            let filled = match input.fill {
                Fill::Measured(_) => "is even noise, since there is no model to measure",
                _ => "was filled as for a loaded model",
            };
            notices.push(format!("{} is not in the file and {filled}", input.name));
            default
        })
    };
    let inputs = stack.inputs().zip(defaults).map(&mut one).collect();
    (inputs, notices)
}

fn on_gpu(stack: &Stack, given: &Given) -> Result<(Applied, EngineFacts)> {
    let device = pollster::block_on(gpu::Device::open())?;
    let applied = pollster::block_on(gpu::apply(&device, stack, given))?;
    let facts = EngineFacts {
        tier: device.tier,
        adapter: device.adapter.clone(),
        software: device.software,
        ..EngineFacts::default()
    };
    Ok((applied, facts))
}

/// The values the mechanism ran with, defaults included.
fn values(stack: &Stack, id: &str) -> Value {
    let placed = stack.iter().find(|placed| placed.mechanism.id == id);
    let pairs = placed.into_iter().flat_map(|placed| placed.mechanism.plug.spec.iter().zip(&placed.values));
    pairs
        .map(|(param, value)| (param.key, param.write(*value)))
        .map(|(key, value)| (key.to_string(), json!(value)))
        .collect()
}

fn statistics(applied: &Applied, mask: &Array) -> Value {
    let keys = applied.pattern.shape.last().copied().unwrap_or(1).max(1);
    let sums: Vec<f64> =
        applied.pattern.data.chunks(keys).map(|row| row.iter().map(|weight| f64::from(*weight)).sum()).collect();
    let mean = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64;
    let norm = applied.z.data.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    json!({
        "z_shape": applied.z.shape,
        "pattern_shape": applied.pattern.shape,
        "z_mean": mean(&applied.z.data),
        "z_norm": norm,
        "row_sum_min": sums.iter().copied().fold(f64::INFINITY, f64::min),
        "row_sum_max": sums.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "kept_share": mean(&mask.data),
        "slot_mean": applied.slot.as_ref().map(|slot| mean(&slot.data)),
    })
}
