//! The two twins of a mechanism compared on one device.
//!
//! Each case runs the attention step of both engines on the same seeded tensors and compares scores, pattern, slot and z
//! under the mechanism's tolerance. Sizes sit on and beside the workgroup's 64 lanes; parameters are the defaults, every end
//! of a range alone, and each word of a choice with every other parameter's ends. Tests, `attnscope check` and the browser
//! run this one body.

use super::apply::apply;
use super::device::Device;
use crate::Result;
use crate::engine::fixture::given;
use crate::hook::Array;
use crate::mechanism::{MASKED, Mechanism, Placed, Stack, Tolerance};
use crate::model::step::{self, Applied};
use crate::spec::{Domain, Param, Value};

/// What a comparison found.
#[derive(Debug, Clone, PartialEq)]
pub struct ParityReport {
    /// Number of cases.
    pub cases: usize,
    /// Largest deviation as a share of what the tolerance allows; at most 1 when the twins agree.
    pub excess: f32,
    /// The case and tensor of that deviation.
    pub worst: String,
}

impl ParityReport {
    /// Whether the twins agree.
    pub fn agrees(&self) -> bool {
        self.cases > 0 && self.excess <= 1.0
    }

    fn note(&mut self, excess: f32, place: impl FnOnce() -> String) {
        // What is not a number agrees with nothing.
        let excess = if excess.is_nan() { f32::INFINITY } else { excess };
        if excess > self.excess {
            self.excess = excess;
            self.worst = place();
        }
    }
}

/// Batch, query heads, key–value heads, queries, keys before the first query, head width, and how large scores are.
struct Case {
    sizes: [usize; 6],
    loudness: f32,
}

const fn case(sizes: [usize; 6]) -> Case {
    Case { sizes, loudness: 1.0 }
}

/// Run at every setting.
const EVERYWHERE: Case = case([2, 4, 2, 7, 0, 8]);

/// Run at the defaults.
const SIZES: &[Case] = &[
    case([1, 1, 1, 1, 0, 4]),
    case([1, 2, 1, 2, 0, 16]),
    case([2, 6, 3, 63, 0, 32]),
    case([1, 4, 4, 64, 0, 48]),
    case([2, 4, 1, 65, 0, 64]),
    case([1, 2, 2, 3, 130, 80]),
];

/// Scores about this large must not become infinite or undefined.
const POISON: f32 = 1e4;

/// Compares the twins of `mechanism` on `device`.
///
/// # Errors
/// Those of the device; a disagreement is not an error but part of the report.
pub async fn check(device: &Device, mechanism: &'static Mechanism) -> Result<ParityReport> {
    let mut report = ParityReport { cases: 0, excess: 0.0, worst: String::new() };
    for values in settings(mechanism.plug.spec) {
        let stack = Stack::alone(mechanism, values)?;
        compare(device, &stack, &EVERYWHERE, mechanism.parity, &mut report).await?;
        poison(device, &stack, &mut report).await?;
    }
    let stack = Stack::alone(mechanism, mechanism.plug.spec.iter().map(|param| param.default).collect())?;
    for case in SIZES {
        compare(device, &stack, case, mechanism.parity, &mut report).await?;
    }
    Ok(report)
}

/// Compares the twins of a whole stack at every size.
///
/// # Errors
/// As [`check`].
pub async fn check_stack(device: &Device, stack: &Stack, tolerance: Tolerance) -> Result<ParityReport> {
    let mut report = ParityReport { cases: 0, excess: 0.0, worst: String::new() };
    for case in SIZES.iter().chain([&EVERYWHERE]) {
        compare(device, stack, case, tolerance, &mut report).await?;
    }
    Ok(report)
}

async fn compare(
    device: &Device,
    stack: &Stack,
    case: &Case,
    tolerance: Tolerance,
    report: &mut ParityReport,
) -> Result<()> {
    let given = given(stack, case.sizes, case.loudness);
    let (came, reference) = (apply(device, stack, &given).await?, step::apply(stack, &given)?);
    report.cases += 1;
    for (name, came, reference) in tensors(&came, &reference) {
        let excess = match (came, reference) {
            (Some(came), Some(reference)) if name == "scores" => scores_excess(&tolerance, &came.data, &reference.data),
            (Some(came), Some(reference)) => tolerance.excess(&came.data, &reference.data),
            (None, None) => 0.0,
            _ => f32::INFINITY,
        };
        report.note(excess, || format!("{name} at {}, sizes {:?}", describe(stack), case.sizes));
    }
    Ok(())
}

/// Kept pairs under the tolerance; removed pairs must be the same, and would drown the others in a common norm.
fn scores_excess(tolerance: &Tolerance, came: &[f32], reference: &[f32]) -> f32 {
    if came.len() != reference.len() || came.iter().zip(reference).any(|(a, b)| (*a == MASKED) != (*b == MASKED)) {
        return f32::INFINITY;
    }
    let kept = |values: &[f32]| values.iter().copied().filter(|value| *value != MASKED).collect::<Vec<_>>();
    let (came, reference) = (kept(came), kept(reference));
    if reference.is_empty() { 0.0 } else { tolerance.excess(&came, &reference) }
}

/// Loud scores: rounding of the scores alone moves a softmax by more than any tolerance, so what is compared is what stays
/// true: everything is finite, and rows sum to what the twin's rows sum to.
async fn poison(device: &Device, stack: &Stack, report: &mut ParityReport) -> Result<()> {
    let case = Case { sizes: EVERYWHERE.sizes, loudness: POISON };
    let given = given(stack, case.sizes, case.loudness);
    let (came, reference) = (apply(device, stack, &given).await?, step::apply(stack, &given)?);
    report.cases += 1;
    let finite = [Some(&came.z), Some(&came.pattern), Some(&came.scores), came.slot.as_ref()];
    let finite = finite.into_iter().flatten().all(|array| array.data.iter().all(|value| value.is_finite()));
    let sums = |applied: &Applied| -> Vec<f32> {
        let keys = applied.pattern.shape.last().copied().unwrap_or(1).max(1);
        let slots = applied.slot.as_ref().map(|slot| slot.data.clone()).unwrap_or_default();
        let row = |(index, row): (usize, &[f32])| row.iter().sum::<f32>() + slots.get(index).copied().unwrap_or(0.0);
        applied.pattern.data.chunks(keys).enumerate().map(row).collect()
    };
    // Sums of un-normalised rows are as large as the scores, hence the relative part.
    let tolerance = Tolerance { rms: 1e-4, abs: 1e-4, rel: 1e-3 };
    let excess = if finite { tolerance.excess(&sums(&came), &sums(&reference)) } else { f32::INFINITY };
    report.note(excess, || format!("loud scores at {}", describe(stack)));
    Ok(())
}

fn tensors<'a>(came: &'a Applied, reference: &'a Applied) -> [(&'static str, Option<&'a Array>, Option<&'a Array>); 4] {
    [
        ("scores", Some(&came.scores), Some(&reference.scores)),
        ("pattern", Some(&came.pattern), Some(&reference.pattern)),
        ("slot", came.slot.as_ref(), reference.slot.as_ref()),
        ("z", Some(&came.z), Some(&reference.z)),
    ]
}

/// Defaults, every corner alone, and each word of a choice with every other corner.
fn settings(spec: &[Param]) -> Vec<Vec<Value>> {
    let mut bases: Vec<Vec<Value>> = vec![spec.iter().map(|param| param.default).collect()];
    for (index, param) in spec.iter().enumerate() {
        if let Domain::Choice(words) = param.domain {
            let with = |base: &Vec<Value>| {
                let base = base.clone();
                (0..words.len() as u32).map(move |word| replaced(&base, index, Value::Choice(word))).collect::<Vec<_>>()
            };
            bases = bases.iter().flat_map(with).collect();
        }
    }
    let mut all = bases.clone();
    for base in &bases {
        for (index, param) in spec.iter().enumerate() {
            let corners = match param.domain {
                Domain::Flag => vec![Value::Flag(false), Value::Flag(true)],
                Domain::Int { min, max, .. } => vec![Value::Int(min), Value::Int(max)],
                Domain::Real { min, max, .. } => vec![Value::Real(min), Value::Real(max)],
                Domain::Choice(_) => Vec::new(),
            };
            for corner in corners {
                let setting = replaced(base, index, corner);
                if !all.contains(&setting) {
                    all.push(setting);
                }
            }
        }
    }
    all
}

fn replaced(values: &[Value], index: usize, value: Value) -> Vec<Value> {
    let mut values = values.to_vec();
    if let Some(place) = values.get_mut(index) {
        *place = value;
    }
    values
}

fn describe(stack: &Stack) -> String {
    let one = |placed: &Placed| {
        let params = placed.mechanism.plug.spec.iter().zip(&placed.values);
        let values: Vec<_> = params.map(|(param, value)| format!("{}:{}", param.key, param.write(*value))).collect();
        format!("{}({})", placed.mechanism.id, values.join(","))
    };
    stack.iter().map(one).collect::<Vec<_>>().join(" ")
}
