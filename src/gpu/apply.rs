//! The attention step alone, on tensors given by the caller.

use super::device::Device;
use super::plan::{Attend, Past, Plan, Read, input_name};
use super::project::Unturned;
use super::run::{Buffers, Ready};
use super::weights::{TURNS, turns};
use crate::Result;
use crate::hook::Array;
use crate::mechanism::{Input, MASKED, Placed, Stack};
use crate::model::frequencies;
use crate::model::step::{self, Applied, Given};
use crate::spec;
use std::collections::BTreeMap;

/// Runs the attention step of `stack`; what [`step::apply`] computes, on the GPU.
///
/// # Errors
/// [`crate::Error::Shape`] when the tensors do not fit each other; [`crate::Error::Gpu`] and [`crate::Error::Kernel`] from
/// the device.
pub async fn apply(device: &Device, stack: &Stack, given: &Given) -> Result<Applied> {
    let sizes = given.sizes(stack)?;
    let rows = sizes.batch * sizes.heads * sizes.queries;
    let pairs = rows * sizes.keys;
    let outputs = [("maps", 2 * pairs + rows), ("z", rows * sizes.width)];
    let operands = [("q", &given.q), ("k", &given.k), ("v", &given.v)];

    let mut plan = Plan::default();
    for (name, words) in outputs {
        plan.storage(name, words);
        plan.reads.push(Read { buffer: name.into(), first: 0, words });
    }
    for (name, array) in operands {
        plan.storage(name, array.data.len());
    }
    plan.stack(stack, given.layer + 1, sizes.heads, sizes.kv_heads, sizes.width);
    let turns = (!stack.projection_mods.is_empty())
        .then(|| turns(&frequencies(step::THETA, sizes.width, sizes.width), sizes.keys));
    if let Some(turns) = &turns {
        plan.storage(TURNS, turns.len());
    }
    let unturned =
        Unturned { q: "q", k: "k", v: "v", turns: turns.as_ref().map(|_| TURNS), pairing: [1, sizes.width / 2] };
    plan.attend_projected(
        stack,
        &unturned,
        &Attend {
            q: "q",
            k: "k",
            v: "v",
            z: "z",
            capture: Some("maps"),
            state: None,
            held: None,
            past: Past::Whole,
            layer: given.layer,
            layers: given.layers,
            sizes,
            room: sizes,
            first_query: given.first_query,
            first_head: 0,
            shown: sizes.heads,
            scale: given.scale,
        },
    )?;

    let mut uploads = parameters(stack);
    // Outputs start as NaN, so that an entry the kernel does not write cannot pass for a result.
    uploads.extend(outputs.map(|(name, words)| (name.into(), vec![f32::NAN.to_bits(); words])));
    uploads.extend(operands.map(|(name, array)| (name.into(), bits(&array.data))));
    uploads.extend(inputs(stack, given.layer, &given.inputs));
    uploads.extend(turns.map(|turns| (TURNS.into(), bits(&turns))));

    let mut ready = Ready::new(device, &plan, &Buffers::new()).await?;
    let values = ready.run(device, &plan, &uploads).await;
    ready.destroy();
    let mut values = values?.into_iter();
    let mut next = || values.next().unwrap_or_default();
    let (mut maps, z) = (next(), next());
    let mut pattern = maps.split_off(pairs.min(maps.len()));
    let slots = pattern.split_off(pairs.min(pattern.len()));
    let row = [sizes.batch, sizes.heads, sizes.queries];
    let slot = step::has_slot(stack).then(|| Array::new(row, slots)).transpose()?;
    let map = [sizes.batch, sizes.heads, sizes.queries, sizes.keys];
    Ok(Applied {
        scores: Array::new(map, maps)?,
        pattern: Array::new(map, unmask(pattern))?,
        slot,
        z: Array::new([sizes.batch, sizes.heads, sizes.queries, sizes.width], z)?,
    })
}

/// Weights as hooks show them: zero where a pair is not kept.
pub(super) fn unmask(mut pattern: Vec<f32>) -> Vec<f32> {
    pattern.iter_mut().filter(|weight| **weight == MASKED).for_each(|weight| *weight = 0.0);
    pattern
}

/// The uniform words of every mechanism of a stack, by buffer.
pub(super) fn parameters(stack: &Stack) -> BTreeMap<String, Vec<u32>> {
    let one = |placed: &Placed| {
        let mut words = spec::words(&placed.values);
        words.resize(words.len().max(1), 0);
        (format!("{}_params", placed.mechanism.id), words)
    };
    stack.iter().map(one).collect()
}

/// The inputs of a stack at one layer, by buffer; `arrays` in the order of [`Stack::inputs`].
pub(super) fn inputs(stack: &Stack, layer: usize, arrays: &[Array]) -> Vec<(String, Vec<u32>)> {
    let named = stack.inputs().zip(arrays);
    let one = |((placed, input), array): ((&Placed, &Input), &Array)| {
        let mut words = bits(&array.data);
        if input.is_per_head() {
            words.resize(Input::MOST_HEADS, 0);
        }
        (input_name(placed.mechanism.id, input.name, layer), words)
    };
    named.map(one).collect()
}

pub(super) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
