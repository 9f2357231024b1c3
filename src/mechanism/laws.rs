//! Whether a mechanism keeps its laws, measured on the burn twin.
//!
//! The same body serves the test, `attnscope check` and the live marks on the paper tab, so it is quick: four sizes up to
//! 33 tokens, two sequences, grouped heads, seeded noise. Beside its declared laws every mechanism must stay finite in
//! every corner of its parameters.

use super::{At, Grid, Law, MASKED, Mechanism, Placed, Rows, Stack, Tolerance, Twin, Weighted};
use crate::api::LawReport;
use crate::experiment::Chip;
use crate::hook::Array;
use crate::model::attention::{self, Attended};
use crate::spec::{Domain, Value};
use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};

const BATCH: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const WIDTH: usize = 8;
/// One token, two, an odd few, and one more than a power of two.
const SIZES: [usize; 4] = [1, 2, 7, 33];
/// Adding a constant to f32 scores already rounds each of them.
const SHIFTED: f32 = 1e-5;

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
            Law::ReducesTo { other, at } => {
                (Tolerance::EXACT.abs, over(&cases, |case| reduces(mechanism, other, at, case))?)
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
    grid: Grid,
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
}

/// Weights and mix of one evaluation.
struct Step {
    attended: Attended,
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
        let grid =
            Grid { layer: 0, heads: HEADS, kv_heads: KV_HEADS, queries: tokens, keys: tokens, first_query: 0, device };
        Self { grid, q, k, v }
    }

    /// 1/√D
    fn scale() -> f32 {
        1.0 / (WIDTH as f32).sqrt()
    }

    fn scores(&self, k: Tensor<4>) -> Tensor<4> {
        attention::scores(self.q.clone(), k, Self::scale())
    }

    fn run(&self, stack: &Stack) -> Step {
        self.run_on(stack, self.scores(self.k.clone()), self.v.clone())
    }

    fn run_on(&self, stack: &Stack, scores: Tensor<4>, v: Tensor<4>) -> Step {
        let inputs = noisy_inputs(&stack.normalizer);
        let attended = attention::weigh(stack, &self.grid, scores, self.q.clone(), Self::scale(), inputs);
        let Weighted { pattern, slot } = &attended.weighted;
        let slot = slot.as_ref().map(|slot| super::Slot { weight: slot.weight.clone(), value: slot.value.clone() });
        let z = attention::mix(Weighted { pattern: pattern.clone(), slot }, v);
        Step { attended, z }
    }
}

/// A law must hold for any learned input, so each is noise here whatever it is filled with elsewhere.
fn noisy_inputs(placed: &Placed) -> Vec<Array> {
    let shaped = attention::default_inputs(placed, 0, HEADS, KV_HEADS, WIDTH, 0);
    let noise = |(index, input): (usize, Array)| Array {
        data: attention::normal(input.data.len(), 1.0, "laws.input", index, 0),
        shape: input.shape,
    };
    shaped.into_iter().enumerate().map(noise).collect()
}

/// The mechanism alone in a pane, with these values.
fn alone(mechanism: &'static Mechanism, values: Vec<Value>) -> Result<Stack> {
    let mut stack = Stack::new("a", &[Chip::new("softmax")])?;
    let placed = Placed { mechanism, values };
    match mechanism.plug.twin {
        Twin::Score(_) => stack.score_mods.push(placed),
        Twin::Mask(_) => stack.mask_mods.push(placed),
        Twin::Weigh(_) => stack.normalizer = placed,
    }
    Ok(stack)
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
    let step = case.run(&alone(mechanism, values_at(mechanism, at)?)?);
    let pattern = host(step.attended.weighted.pattern)?;
    let keep = host(step.attended.keep.float())?;
    let slot = step.attended.weighted.slot.map(|slot| host(slot.weight)).transpose()?;
    let mut worst = 0.0f32;
    for (index, (row, keep)) in pattern.chunks(case.grid.keys).zip(keep.chunks(case.grid.keys)).enumerate() {
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
    let stack = alone(mechanism, values.to_vec())?;
    let step = case.run(&stack);
    let later = case.grid.causal().bool_not().float();
    let leaked = difference(step.attended.weighted.pattern * later.clone(), step.attended.scores.zeros_like())?;
    let last = case.grid.keys - 1;
    let change = |x: &Tensor<4>| {
        Tensor::cat(vec![x.clone().slice_dim(2, 0..last), x.clone().slice_dim(2, last..last + 1) + 1.0], 2)
    };
    let changed = case.run_on(&stack, case.scores(change(&case.k)), change(&case.v));
    if last == 0 {
        return Ok(leaked);
    }
    let earlier = |z: Tensor<4>| z.slice_dim(2, 0..last);
    Ok(leaked.max(difference(earlier(step.z), earlier(changed.z))?))
}

/// What a constant added to each row of scores changes in the weights.
fn shift(mechanism: &'static Mechanism, at: At, case: &Case) -> Result<f32> {
    let stack = alone(mechanism, values_at(mechanism, at)?)?;
    let shifted = case.run_on(&stack, case.scores(case.k.clone()) + (case.grid.query() * 0.25 + 1.5), case.v.clone());
    difference(case.run(&stack).attended.weighted.pattern, shifted.attended.weighted.pattern)
}

/// Difference to the other mechanism in weights and in z.
fn reduces(mechanism: &'static Mechanism, other: &str, at: At, case: &Case) -> Result<f32> {
    let here = case.run(&alone(mechanism, values_at(mechanism, at)?)?);
    let there = case.run(&Stack::new("a", &[Chip::new(other)])?);
    Ok(difference(here.attended.weighted.pattern, there.attended.weighted.pattern)?.max(difference(here.z, there.z)?))
}

/// 0 when weights stay finite for large scores in every corner and a row that keeps no key is zero; what a row holds,
/// or infinity, when not.
fn finite(mechanism: &'static Mechanism, cases: &[Case]) -> Result<f32> {
    let mut worst = 0.0f32;
    for values in corners(mechanism) {
        let stack = alone(mechanism, values)?;
        for case in cases {
            for size in [1.0, 1e4] {
                let pattern =
                    case.run_on(&stack, case.scores(case.k.clone()) * size, case.v.clone()).attended.weighted.pattern;
                worst = worst.max(difference(pattern.clone(), pattern)?);
            }
            worst = worst.max(emptied(&stack, case)?);
        }
    }
    Ok(worst)
}

/// What the normalizer leaves in rows of which nothing is kept.
fn emptied(stack: &Stack, case: &Case) -> Result<f32> {
    let Twin::Weigh(weigh) = stack.normalizer.mechanism.plug.twin else { return Ok(f32::INFINITY) };
    let scores = case.scores(case.k.clone());
    let rows = Rows {
        scores: scores.full_like(MASKED),
        keep: scores.clone().greater_elem(f32::INFINITY),
        q: case.q.clone(),
        scale: Case::scale(),
        inputs: noisy_inputs(&stack.normalizer),
    };
    difference(weigh(&stack.normalizer.values, &case.grid, rows).pattern, scores.zeros_like())
}
