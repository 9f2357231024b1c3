//! The self-check of one mechanism: a tiny attention step whose results are stored.
//!
//! `mechanisms.selfcheck.json` holds what the definition computes in f64 for every mechanism at two settings, on seeded
//! tensors of a few rows. A device runs the same step before a mechanism is used on it for the first time; that takes
//! milliseconds, and shows a miscompiled kernel or a wrong driver before a number of it is on screen.
//! `tests/native/trust.rs` writes the file and keeps it fresh.

use crate::hook::Array;
use crate::mechanism::{Fill, Input, Mechanism, Placed, Stack, Tolerance, by_id};
use crate::model::attention::{normal, uniform};
use crate::model::step::{Applied, Given};
use crate::spec::{Domain, Param, Value};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Batch, query heads, key–value heads, queries, keys before the first query, head width.
const SIZES: [usize; 6] = [1, 2, 1, 6, 0, 4];

#[cfg(feature = "gpu")]
const LONG: [usize; 6] = [1, 2, 1, 38, 0, 16];

/// Where a whole number of keys or tokens is moved to, so that masks and choices act on the few rows there are.
const FEW: i32 = 2;

/// Seeded tensors of an attention step; inputs nobody learned are noise here, so that they matter. Queries, and so scores,
/// are about `loudness` large.
pub fn given(stack: &Stack, sizes: [usize; 6], loudness: f32) -> Given {
    let [batch, heads, kv_heads, queries, before, width] = sizes;
    let keys = before + queries;
    let noise = |name: &str, shape: [usize; 4], deviation: f32| {
        let count = shape.iter().product();
        Array { shape: shape.into(), data: normal(count, deviation, name, keys, 1) }
    };
    let input = |(_, input): (&Placed, &Input)| {
        let shape = input.shape(heads, kv_heads, width);
        let (count, name) = (shape.iter().product(), input.name);
        // Even noise stays even: it stands for choices, not for vectors.
        let data = match input.fill {
            Fill::Uniform | Fill::Measured(_) => uniform(count, name, keys, 1),
            _ => normal(count, 1.0, name, keys, 1),
        };
        Array { shape, data }
    };
    Given {
        q: noise("parity.q", [batch, heads, queries, width], loudness),
        k: noise("parity.k", [batch, kv_heads, keys, width], 1.0),
        v: noise("parity.v", [batch, kv_heads, keys, width], 1.0),
        scale: 1.0 / (width as f32).sqrt(),
        first_query: before,
        layer: 1,
        layers: 4,
        inputs: stack.inputs().map(input).collect(),
    }
}

/// The defaults, and values at which something happens on six rows.
fn settings(spec: &[Param]) -> [Vec<Value>; 2] {
    let moved = |param: &Param| match (param.domain, param.default) {
        (Domain::Int { min, max, .. }, _) => Value::Int(FEW.clamp(min, max)),
        (Domain::Real { max, .. }, Value::Real(default)) => Value::Real((default + max) / 2.0),
        (Domain::Flag, Value::Flag(flag)) => Value::Flag(!flag),
        (_, default) => default,
    };
    [spec.iter().map(|param| param.default).collect(), spec.iter().map(moved).collect()]
}

/// The steps that are run for `mechanism`.
///
/// # Errors
/// None that a test of the registry would not find.
pub fn steps(mechanism: &'static Mechanism) -> Result<Vec<(Stack, Given)>> {
    let step = |values| {
        let stack = Stack::alone(mechanism, values)?;
        let given = given(&stack, SIZES, 1.0);
        Ok((stack, given))
    };
    settings(mechanism.plug.spec).into_iter().map(step).collect()
}

/// A step of more rows than a tile of a kernel holds, which the processor computes beside the GPU: what goes on from tile to
/// tile shows in no short one. Nothing is stored of it; the processor has shown its own numbers by the others.
///
/// # Errors
/// As [`steps`].
#[cfg(feature = "gpu")]
pub fn long(mechanism: &'static Mechanism) -> Result<(Stack, Given)> {
    let stack = Stack::alone(mechanism, mechanism.plug.spec.iter().map(|param| param.default).collect())?;
    let given = given(&stack, LONG, 1.0);
    Ok((stack, given))
}

/// What is compared of a step: pattern and mixed values. They follow from everything before them.
pub fn numbers(applied: &Applied) -> Vec<f32> {
    [applied.pattern.data.as_slice(), &applied.z.data].concat()
}

/// The stored numbers of every mechanism, step by step.
///
/// # Errors
/// [`Error::Parse`] when the file is not valid, which the tests exclude.
pub fn stored() -> Result<BTreeMap<String, Vec<Vec<f32>>>> {
    serde_json::from_str(include_str!("mechanisms.selfcheck.json"))
        .map_err(|error| Error::parse("mechanisms.selfcheck.json", error))
}

/// The stored numbers of one mechanism; empty where there are none.
///
/// # Errors
/// As [`stored`].
pub fn stored_of(id: &str) -> Result<Vec<Vec<f32>>> {
    Ok(stored()?.remove(id).unwrap_or_default())
}

/// Deviation of one step as a share of the mechanism's tolerance; the largest number where something is not finite.
///
/// # Errors
/// [`Error::Unknown`] for a mechanism that does not exist.
pub fn deviation(id: &str, came: &Applied, stored: &[f32]) -> Result<f32> {
    let Tolerance { rms, abs, rel } = by_id(id)?.parity;
    // Twice the tolerance of two computations in f32: one of them may lie on each side of the f64 between them.
    let tolerance = Tolerance { rms: 2.0 * rms, abs: 2.0 * abs, rel: 2.0 * rel };
    let excess = tolerance.excess(&numbers(came), stored);
    Ok(if excess.is_finite() { excess } else { f32::MAX })
}
