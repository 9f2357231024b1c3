//! Whether a mechanism keeps its laws, measured on the burn twin.
//!
//! The same body serves the test, `attnscope check` and the live marks on the paper tab, so it is quick: four sizes up to
//! 33 tokens, two sequences, grouped heads, seeded noise. Beside its declared laws every mechanism must stay finite in
//! every corner of its parameters.

use super::{
    At, Fill, Grid, Input, Law, MASKED, Mechanism, Memories, Placed, Rotation, Rows, Stack, Tolerance, Twin, Vectors,
    Weighted,
};
use crate::api::LawReport;
use crate::experiment::Chip;
use crate::hook::Array;
use crate::model::attention::{self, Scored};
use crate::spec::{Domain, Value};
use crate::{Error, Result};
use burn::tensor::{Bool, Device, Tensor, TensorData};

const BATCH: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const WIDTH: usize = 8;
/// One token, two, an odd few, and one more than a power of two.
const SIZES: [usize; 4] = [1, 2, 7, 33];
/// Base of the wavelengths by which queries and keys turn.
const THETA: f64 = 100.0;
/// Adding a constant to f32 scores already rounds each of them.
const SHIFTED: f32 = 1e-5;
/// The same sums in another order: by another algorithm, or row by row.
const REORDERED: f32 = 5e-6;

/// Checks every law of `mechanism`, and that it stays finite.
///
/// # Errors
/// [`Error::Unknown`] or [`Error::Param`] when a law names a mechanism or a parameter that does not exist.
pub fn check(mechanism: &'static Mechanism) -> Result<Vec<LawReport>> {
    let cases: Vec<Case> = SIZES.iter().map(|tokens| Case::new(*tokens)).collect();
    let mut reports =
        vec![report("Weights are finite in every corner of the parameters".into(), 0.0, finite(mechanism, &cases)?)];
    for law in mechanism.laws {
        let (allowed, deviation) = match law {
            Law::RowsSumToOne(at) => (Tolerance::EXACT.abs, over(&cases, |case| sums(mechanism, at, case))?),
            Law::Causal => (
                0.0,
                corners(mechanism).try_fold(0.0f32, |worst, values| {
                    Ok::<_, Error>(worst.max(over(&cases, |case| causal(mechanism, &values, case))?))
                })?,
            ),
            Law::ShiftInvariant(at) => (SHIFTED, over(&cases, |case| shift(mechanism, at, case))?),
            Law::Prefix(at) => (REORDERED, over(&cases, |case| prefix(mechanism, at, case))?),
            Law::ReducesTo { other, at } => {
                let allowed = if *other == mechanism.id { REORDERED } else { Tolerance::EXACT.abs };
                (allowed, over(&cases, |case| reduces(mechanism, other, at, case))?)
            }
        };
        reports.push(report(law.in_words(mechanism.plug.spec), allowed, deviation));
    }
    Ok(reports)
}

fn report(law: String, allowed: f32, deviation: f32) -> LawReport {
    LawReport { law, holds: deviation <= allowed, deviation, allowed }
}

/// The worst case.
fn over(cases: &[Case], mut deviation: impl FnMut(&Case) -> Result<f32>) -> Result<f32> {
    cases.iter().try_fold(0.0f32, |worst, case| Ok(worst.max(deviation(case)?)))
}

/// Seeded q, k and v of one size.
struct Case {
    at: Grid,
    vectors: Vectors,
}

/// What one evaluation gives.
struct Step {
    /// True where a pair is kept, `[B,H,Q,K]`.
    keep: Tensor<4, Bool>,
    weighted: Weighted,
    z: Tensor<4>,
}

impl Case {
    fn new(tokens: usize) -> Self {
        let device = Device::flex();
        let noise = |name: &str, heads: usize| {
            let data = attention::normal(BATCH * heads * tokens * WIDTH, 1.0, name, tokens, 0);
            Tensor::from_data(TensorData::new(data, [BATCH, heads, tokens, WIDTH]), &device)
        };
        let (q, k, v) = (noise("laws.q", HEADS), noise("laws.k", KV_HEADS), noise("laws.v", KV_HEADS));
        let at = Grid {
            layer: 0,
            layers: 1,
            heads: HEADS,
            kv_heads: KV_HEADS,
            queries: tokens,
            keys: tokens,
            first_query: 0,
            device,
            inputs: Vec::new(),
        };
        Self { at, vectors: Vectors { q, k, v, scale: 1.0 / (WIDTH as f32).sqrt(), corrected: None } }
    }

    fn run(&self, stack: &Stack) -> Step {
        evaluate(stack, &self.at, self.vectors.clone(), |scores| scores, &mut Memories::default())
    }

    /// Queries `first..last` on the keys before `last`.
    fn part(&self, first: usize, last: usize) -> Self {
        let Vectors { q, k, v, scale, .. } = self.vectors.clone();
        let cut = |x: Tensor<4>, first: usize| x.slice_dim(2, first..last);
        let at = Grid { queries: last - first, keys: last, first_query: first, ..self.at.clone() };
        Self { at, vectors: Vectors { q: cut(q, first), k: cut(k, 0), v: cut(v, 0), scale, corrected: None } }
    }
}

/// The step of `stack`, with `change` applied to the raw scores; a mixer has none. The vectors are taken as projections of
/// a model that rotates.
fn evaluate(
    stack: &Stack,
    at: &Grid,
    vectors: Vectors,
    change: impl Fn(Tensor<4>) -> Tensor<4>,
    memories: &mut Memories,
) -> Step {
    let inputs = noisy_inputs(stack);
    let rotation = Rotation::whole(THETA, WIDTH, at.keys, &at.device);
    let (vectors, out) = attention::project_whole(stack, at, vectors, rotation, &inputs, memories);
    if let Some(mixer) = &stack.mixer {
        let mixed = attention::mix(stack, mixer, at, vectors, &inputs, memories);
        let pattern = (mixed.pattern)();
        let keep = at.causal().expand(pattern.dims());
        let z = attention::restore(mixed.z, out.as_ref());
        return Step { keep, weighted: Weighted { pattern, slot: None }, z };
    }
    let Scored { scores, keep } = attention::score(stack, at, &vectors, change(vectors.scores()), &inputs, memories);
    let scored = Scored { scores, keep: keep.clone() };
    let weighted = attention::weigh(stack, at, scored, vectors.clone(), &inputs, memories);
    let z = attention::sum(&weighted, &vectors, out.as_ref());
    Step { keep, weighted, z }
}

/// A law must hold for any learned input, so each is noise here whatever it is filled with elsewhere; even noise stands for
/// choices and stays even.
fn noisy_inputs(stack: &Stack) -> Vec<Array> {
    let shaped = attention::default_inputs(stack, 0, HEADS, KV_HEADS, WIDTH, 0).into_iter().zip(stack.inputs());
    let noise = |(index, (array, (_, input))): (usize, (Array, (&Placed, &Input)))| match input.fill {
        Fill::Uniform | Fill::Measured(_) => array,
        _ => Array { data: attention::normal(array.data.len(), 1.0, "laws.input", index, 0), shape: array.shape },
    };
    shaped.enumerate().map(noise).collect()
}

/// Defaults, with the values a law names.
fn values_at(mechanism: &Mechanism, at: At) -> Result<Vec<Value>> {
    let unknown = |key: &&(&str, Value)| !mechanism.plug.spec.iter().any(|param| param.key == key.0);
    if let Some((key, _)) = at.iter().find(unknown) {
        return Err(Error::Unknown {
            what: "parameter",
            name: format!("{}.{key}", mechanism.id),
            remedy: "a law must name a declared parameter".into(),
        });
    }
    let value = |param: &crate::spec::Param| {
        at.iter().find(|(key, _)| *key == param.key).map_or(param.default, |(_, value)| *value)
    };
    Ok(mechanism.plug.spec.iter().map(value).collect())
}

/// The defaults, then each parameter alone at each end of its range or at each of its words.
pub fn corners(mechanism: &Mechanism) -> impl Iterator<Item = Vec<Value>> {
    let spec = mechanism.plug.spec;
    let defaults: Vec<Value> = spec.iter().map(|param| param.default).collect();
    let one = |(index, value): (usize, Value)| {
        let mut values = defaults.clone();
        values[index] = value;
        values
    };
    let ends = spec.iter().enumerate().flat_map(|(index, param)| {
        let ends = match param.domain {
            Domain::Flag => vec![Value::Flag(false), Value::Flag(true)],
            Domain::Int { min, max, .. } => vec![Value::Int(min), Value::Int(max)],
            Domain::Real { min, max, .. } => vec![Value::Real(min), Value::Real(max)],
            Domain::Choice(words) => (0..words.len() as u32).map(Value::Choice).collect(),
        };
        ends.into_iter().map(move |value| (index, value))
    });
    let mut all = vec![defaults.clone()];
    for values in ends.map(one) {
        if !all.contains(&values) {
            all.push(values);
        }
    }
    all.into_iter()
}

fn host(tensor: Tensor<4>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec::<f32>().map_err(|error| Error::Internal(format!("laws: {error:?}")))
}

/// Largest difference of two tensors; infinite where either is not finite.
fn difference(a: Tensor<4>, b: Tensor<4>) -> Result<f32> {
    Ok(host(a)?
        .iter()
        .zip(host(b)?)
        .map(|(a, b)| if a.is_finite() && b.is_finite() { (a - b).abs() } else { f32::INFINITY })
        .fold(0.0, f32::max))
}

/// |Σ weights + slot - 1| over rows that keep a key.
fn sums(mechanism: &'static Mechanism, at: At, case: &Case) -> Result<f32> {
    let step = case.run(&Stack::alone(mechanism, values_at(mechanism, at)?)?);
    let pattern = host(step.weighted.pattern)?;
    let keep = host(step.keep.float())?;
    let slot = step.weighted.slot.map(|slot| host(slot.weight)).transpose()?;
    let mut worst = 0.0f32;
    for (index, (row, keep)) in pattern.chunks(case.at.keys).zip(keep.chunks(case.at.keys)).enumerate() {
        if keep.contains(&1.0) {
            let keys: f64 = row.iter().map(|weight| f64::from(*weight)).sum();
            let sum = keys + slot.as_ref().and_then(|slot| slot.get(index)).map_or(0.0, |weight| f64::from(*weight));
            // Not f32::max: it would drop a NaN.
            let deviation = (sum - 1.0).abs() as f32;
            worst = if deviation > worst || deviation.is_nan() { deviation } else { worst };
        }
    }
    Ok(if worst.is_nan() { f32::INFINITY } else { worst })
}

/// Weight on later keys, and what earlier rows notice when the last key and value change.
fn causal(mechanism: &'static Mechanism, values: &[Value], case: &Case) -> Result<f32> {
    let stack = Stack::alone(mechanism, values.to_vec())?;
    let step = case.run(&stack);
    let later = case.at.causal().bool_not().float();
    let zeros = step.weighted.pattern.zeros_like();
    let leaked = difference(step.weighted.pattern * later, zeros)?;
    let last = case.at.keys - 1;
    if last == 0 {
        return Ok(leaked);
    }
    let change =
        |x: Tensor<4>| Tensor::cat(vec![x.clone().slice_dim(2, 0..last), x.slice_dim(2, last..last + 1) + 1.0], 2);
    let mut changed = Case { at: case.at.clone(), vectors: case.vectors.clone() };
    (changed.vectors.k, changed.vectors.v) = (change(changed.vectors.k), change(changed.vectors.v));
    let changed = changed.run(&stack);
    let earlier = |z: Tensor<4>| z.slice_dim(2, 0..last);
    Ok(leaked.max(difference(earlier(step.z), earlier(changed.z))?))
}

/// What a constant added to each row of scores changes in the weights.
fn shift(mechanism: &'static Mechanism, at: At, case: &Case) -> Result<f32> {
    let stack = Stack::alone(mechanism, values_at(mechanism, at)?)?;
    let constant = case.at.query() * 0.25 + 1.5;
    let add = |scores: Tensor<4>| scores + constant.clone();
    let shifted = evaluate(&stack, &case.at, case.vectors.clone(), add, &mut Memories::default());
    difference(case.run(&stack).weighted.pattern, shifted.weighted.pattern)
}

/// Difference to row q of the whole pass: of the last row of a pass over q + 1 tokens, and of that row decoded alone with
/// what the rows before it left in memory.
fn prefix(mechanism: &'static Mechanism, at: At, case: &Case) -> Result<f32> {
    let stack = Stack::alone(mechanism, values_at(mechanism, at)?)?;
    let whole = case.run(&stack).z;
    let mut memories = Memories::default();
    let mut worst = 0.0f32;
    for q in 0..case.at.keys {
        let row = whole.clone().slice_dim(2, q..q + 1);
        let cut = case.part(0, q + 1).run(&stack).z.slice_dim(2, q..q + 1);
        let Case { at, vectors } = case.part(q, q + 1);
        let decoded = evaluate(&stack, &at, vectors, |scores| scores, &mut memories).z;
        worst = worst.max(difference(row.clone(), cut)?).max(difference(row, decoded)?);
    }
    Ok(worst)
}

/// Difference to the other mechanism in weights and in z.
fn reduces(mechanism: &'static Mechanism, other: &str, at: At, case: &Case) -> Result<f32> {
    let here = case.run(&Stack::alone(mechanism, values_at(mechanism, at)?)?);
    let there = case.run(&Stack::new("a", &[Chip::new(other)])?);
    Ok(difference(here.weighted.pattern, there.weighted.pattern)?.max(difference(here.z, there.z)?))
}

/// 0 when weights and z stay finite for large queries in every corner and a row that keeps no key is zero; what a row
/// holds, or infinity, when not.
fn finite(mechanism: &'static Mechanism, cases: &[Case]) -> Result<f32> {
    let mut worst = 0.0f32;
    for values in corners(mechanism) {
        let stack = Stack::alone(mechanism, values)?;
        for case in cases {
            for size in [1.0, 1e4] {
                let mut vectors = case.vectors.clone();
                vectors.q = vectors.q * size;
                let step = evaluate(&stack, &case.at, vectors, |scores| scores, &mut Memories::default());
                for tensor in [step.weighted.pattern, step.z] {
                    worst = worst.max(difference(tensor.clone(), tensor)?);
                }
            }
            worst = worst.max(emptied(&stack, case)?);
        }
    }
    Ok(worst)
}

/// What the normalizer leaves in rows of which nothing is kept; a mixer keeps what it likes.
fn emptied(stack: &Stack, case: &Case) -> Result<f32> {
    if stack.mixer.is_some() {
        return Ok(0.0);
    }
    let Twin::Weigh(weigh) = stack.normalizer.mechanism.plug.twin else { return Ok(f32::INFINITY) };
    let scores = case.vectors.scores();
    let rows = Rows {
        scores: scores.full_like(MASKED),
        keep: scores.clone().greater_elem(f32::INFINITY),
        vectors: case.vectors.clone(),
    };
    let at = case.at.with(stack.inputs_of(&stack.normalizer, &noisy_inputs(stack)));
    difference(weigh(&stack.normalizer.values, &at, rows).pattern, scores.zeros_like())
}
