//! The attention step alone, on tensors given by the caller.

use super::device::Device;
use super::plan::{Attend, Plan, Read, input_name};
use super::run::{Buffers, Ready};
use crate::hook::Array;
use crate::mechanism::{MASKED, Stack};
use crate::shape::Axes;
use crate::spec;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// What the attention step is given.
pub struct Given<'a> {
    /// Rotated queries [B,H,Q,D].
    pub q: &'a Array,
    /// Rotated keys [B,G,K,D].
    pub k: &'a Array,
    /// Values [B,G,K,D].
    pub v: &'a Array,
    /// What q·k is multiplied by, usually 1/√D.
    pub scale: f32,
    /// Position of the first query.
    pub first_query: usize,
    /// Zero-based layer.
    pub layer: usize,
    /// Inputs of the normalizer, in its order.
    pub inputs: &'a [Array],
}

/// What it computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// [B,H,Q,K]; removed entries hold [`MASKED`].
    pub scores: Array,
    /// [B,H,Q,K]; zero where a pair is not kept.
    pub pattern: Array,
    /// Weight of the slot [B,H,Q]; zero where the normalizer has none.
    pub slot: Array,
    /// [B,H,Q,D]
    pub z: Array,
    /// Largest score of each row, the slot's included [B,H,Q].
    pub max_score: Array,
    /// Sum of each row before the last step of the normalizer [B,H,Q].
    pub total: Array,
}

/// Runs the attention step of `stack`.
///
/// # Errors
/// [`Error::Shape`] when the tensors do not fit each other; [`Error::Gpu`] and [`Error::Kernel`] from the device.
pub async fn apply(device: &Device, stack: &Stack, given: &Given<'_>) -> Result<Applied> {
    let who = stack.normalizer.mechanism.id;
    let mut axes = Axes::new(who);
    axes.bind("q", "BHQD", &given.q.shape)?;
    axes.bind("k", "BGKD", &given.k.shape)?;
    axes.bind("v", "BGKD", &given.v.shape)?;
    let [batch, heads, queries, width] = [axes.size('B')?, axes.size('H')?, axes.size('Q')?, axes.size('D')?];
    let [kv_heads, keys] = [axes.size('G')?, axes.size('K')?];
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(Error::Shape {
            who: who.into(),
            tensor: "k".into(),
            expected: format!("as many heads as divide the {heads} of q"),
            came: kv_heads.to_string(),
        });
    }
    for (input, array) in stack.normalizer.mechanism.plug.inputs.iter().zip(given.inputs) {
        axes.bind(input.name, input.axes, &array.shape)?;
    }

    let rows = batch * heads * queries;
    let pairs = rows * keys;
    let mut plan = Plan::default();
    for (name, words) in [
        ("q", given.q.data.len()),
        ("k", given.k.data.len()),
        ("v", given.v.data.len()),
        ("z", rows * width),
        ("maps", 2 * pairs),
        ("rows", 3 * rows),
    ] {
        plan.storage(name, words);
    }
    plan.stack(stack, given.layer + 1, heads, kv_heads, width);
    plan.attend(
        stack,
        &Attend {
            q: "q",
            k: "k",
            v: "v",
            z: "z",
            capture: Some(("maps", "rows")),
            layer: given.layer,
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            width,
            first_query: given.first_query,
            first_head: 0,
            shown: heads,
            scale: given.scale,
        },
    )?;
    for (buffer, words) in [("maps", 2 * pairs), ("rows", 3 * rows), ("z", rows * width)] {
        plan.reads.push(Read { buffer: buffer.into(), first: 0, words });
    }

    let mut uploads = parameters(stack);
    for (name, array) in [("q", given.q), ("k", given.k), ("v", given.v)] {
        uploads.insert(name.into(), bits(&array.data));
    }
    for (input, array) in stack.normalizer.mechanism.plug.inputs.iter().zip(given.inputs) {
        uploads.insert(input_name(who, input.name, given.layer), bits(&array.data));
    }
    // Outputs start as NaN, so that an entry the kernel does not write cannot pass for a result.
    for (name, words) in [("maps", 2 * pairs), ("rows", 3 * rows), ("z", rows * width)] {
        uploads.insert(name.into(), vec![f32::NAN.to_bits(); words]);
    }
    let mut ready = Ready::new(device, &plan, &Buffers::new()).await?;
    let mut values = ready.run(device, &plan, &uploads).await?.into_iter();
    let mut next = || values.next().unwrap_or_default();
    let (mut maps, rows, z) = (next(), next(), next());
    let pattern = maps.split_off(pairs.min(maps.len()));
    let row = [batch, heads, queries];
    let of_rows = |index: usize| Array::new(row, rows.iter().skip(index).step_by(3).copied().collect::<Vec<_>>());
    Ok(Applied {
        scores: Array::new([batch, heads, queries, keys], maps)?,
        pattern: Array::new([batch, heads, queries, keys], unmask(pattern))?,
        slot: of_rows(0)?,
        z: Array::new([batch, heads, queries, width], z)?,
        max_score: of_rows(1)?,
        total: of_rows(2)?,
    })
}

/// Weights as hooks show them: zero where a pair is not kept.
pub(super) fn unmask(mut pattern: Vec<f32>) -> Vec<f32> {
    pattern.iter_mut().filter(|weight| **weight == MASKED).for_each(|weight| *weight = 0.0);
    pattern
}

/// The uniform words of every mechanism of a stack.
pub(super) fn parameters(stack: &Stack) -> BTreeMap<String, Vec<u32>> {
    let one = |placed: &crate::mechanism::Placed| {
        let mut words = spec::words(&placed.values);
        words.resize(words.len().max(1), 0);
        (format!("{}_params", placed.mechanism.id), words)
    };
    stack.iter().map(one).collect()
}

pub(super) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
