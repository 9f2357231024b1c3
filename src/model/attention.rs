//! One attention step under a stack of mechanisms: the place where roles become tensor operations.

use super::run::Run;
use crate::hook::{Array, Site};
use crate::mechanism::{
    Fill, Grid, Input, MASKED, Memories, Mixed, Placed, Projected, Rotation, Rows, Selected, Stack, Turned, Twin,
    Vectors, Weighted,
};
use burn::tensor::{Bool, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Everything one step produces.
pub struct Attended {
    /// Scores after mods, masks and selector `[B,H,Q,K]`; removed entries hold [`MASKED`]. Under a mixer the plain causal
    /// scores, which it does not use, and only where somebody looks.
    pub scores: Option<Tensor<4>>,
    /// Weights `[B,H,Q,K]` and the slot; of a mixer those it stands for, and only where somebody looks.
    pub weighted: Option<Weighted>,
    /// `[B,H,Q,D]`
    pub z: Tensor<4>,
}

/// Scores of a stack without a mixer.
pub struct Scored {
    /// After mods, masks and selector `[B,H,Q,K]`; removed entries hold [`MASKED`].
    pub scores: Tensor<4>,
    /// True where a pair is kept, `[B,H,Q,K]`.
    pub keep: Tensor<4, Bool>,
}

/// Projections of the new tokens → vectors as attention takes them, of the new tokens.
pub fn project(stack: &Stack, at: &Grid, given: Projected, inputs: &[Array], memories: &mut Memories) -> Turned {
    // Mods of one step would each turn; the first one is the step, and the rest see what it leaves.
    let mut mods = stack.projection_mods.iter();
    let Some(placed) = mods.next() else { return given.turn() };
    let mut turned = projected(stack, placed, at, given, inputs, memories);
    for placed in mods {
        let given = Projected { q: turned.q, k: turned.k, v: turned.v, rotation: None };
        let out = turned.out;
        turned = projected(stack, placed, at, given, inputs, memories);
        turned.out = turned.out.or(out);
    }
    turned
}

/// [`project`] of whole sequences of which only the last queries are asked: what has no cache, laws and the step alone.
/// `rotation` begins at position 0.
pub fn project_whole(
    stack: &Stack,
    at: &Grid,
    given: Vectors,
    rotation: Rotation,
    inputs: &[Array],
    memories: &mut Memories,
) -> (Vectors, Option<Tensor<4>>) {
    let [batch, heads, _, width] = given.q.dims();
    let whole = Grid { queries: at.keys, first_query: 0, ..at.clone() };
    let q = match at.first_query {
        0 => given.q,
        before => Tensor::cat(vec![Tensor::zeros([batch, heads, before, width], &at.device), given.q], 2),
    };
    let projected = Projected { q, k: given.k, v: given.v, rotation: Some(rotation) };
    let Turned { q, k, v, out, .. } = project(stack, &whole, projected, inputs, memories);
    let q = q.slice_dim(2, at.first_query..at.keys);
    (Vectors { q, k, v, scale: given.scale, corrected: None }, out)
}

fn projected(
    stack: &Stack,
    placed: &Placed,
    at: &Grid,
    given: Projected,
    inputs: &[Array],
    memories: &mut Memories,
) -> Turned {
    match placed.mechanism.plug.twin {
        Twin::Project(project, ..) => {
            project(&placed.values, &at.with(stack.inputs_of(placed, inputs)), given, memories.of(placed.mechanism.id))
        }
        _ => given.turn(),
    }
}

/// One step under the run's stack, every activation between vectors and z offered to its tap; `out` is that of
/// [`Turned`], `inputs` are those of [`Stack::inputs`].
pub fn attend(
    run: &Run<'_>,
    at: &Grid,
    given: Vectors,
    out: Option<&Tensor<4>>,
    inputs: &[Array],
    memories: &mut Memories,
) -> Attended {
    let (stack, layer) = (run.stack, at.layer);
    if let Some(mixer) = &stack.mixer {
        let attended = mixed(run, mixer, at, given, inputs, memories);
        return Attended { z: restore(attended.z, out), ..attended };
    }
    let mut scored = score(stack, at, &given, given.scores(), inputs, memories);
    scored.scores = run.offer(layer, Site::Scores, scored.scores);
    let scores = scored.scores.clone();
    let mut weighted = weigh(stack, at, scored, given.clone(), inputs, memories);
    weighted.pattern = run.offer(layer, Site::Pattern, weighted.pattern);
    if let Some(slot) = weighted.slot.as_mut() {
        let weight = slot.weight.clone().squeeze_dim::<3>(3);
        if let Some(weight) = run.offer_edit(layer, Site::Slot, &weight) {
            slot.weight = weight.unsqueeze_dim(3);
        }
    }
    let z = sum(&weighted, &given, out);
    Attended { scores: Some(scores), weighted: Some(weighted), z }
}

/// The step of a mixer. Who edits its pattern gets the sum of values under the edited one; scores it has none to edit.
fn mixed(
    run: &Run<'_>,
    mixer: &Placed,
    at: &Grid,
    given: Vectors,
    inputs: &[Array],
    memories: &mut Memories,
) -> Attended {
    let layer = at.layer;
    let scores = run.wants(layer, Site::Scores).then(|| {
        let scores = given.scores();
        let drop = at.causal().bool_not().expand(scores.dims());
        scores.mask_fill(drop, MASKED)
    });
    if let Some(scores) = &scores
        && run.offer_edit(layer, Site::Scores, scores).is_some()
    {
        run.refuse(layer, Site::Scores, format!("no edit: {} makes no scores", mixer.mechanism.id));
    }
    let values = given.values();
    let Mixed { mut z, pattern } = mix(run.stack, mixer, at, given, inputs, memories);
    let weighted = run.wants(layer, Site::Pattern).then(|| {
        let mut pattern = pattern();
        if let Some(edited) = run.offer_edit(layer, Site::Pattern, &pattern) {
            z = edited.clone().matmul(values);
            pattern = edited;
        }
        Weighted { pattern, slot: None }
    });
    Attended { scores, weighted, z }
}

/// The mixer of a stack on whole vectors.
pub fn mix(
    stack: &Stack,
    mixer: &Placed,
    at: &Grid,
    given: Vectors,
    inputs: &[Array],
    memories: &mut Memories,
) -> Mixed {
    match mixer.mechanism.plug.twin {
        Twin::Mix(mix, ..) => {
            mix(&mixer.values, &at.with(stack.inputs_of(mixer, inputs)), given, memories.of(mixer.mechanism.id))
        }
        // Stack puts only mixers there.
        _ => Mixed { z: given.q.zeros_like(), pattern: Box::new(move || given.scores().zeros_like()) },
    }
}

/// Mods, masks and selector on raw `scores` `[B,H,Q,K]` of `vectors`.
pub fn score(
    stack: &Stack,
    at: &Grid,
    vectors: &Vectors,
    scores: Tensor<4>,
    inputs: &[Array],
    memories: &mut Memories,
) -> Scored {
    let shape = scores.dims();
    let at_mod = |placed: &Placed| at.with(stack.inputs_of(placed, inputs));
    let mut scores = scores;
    for placed in &stack.score_mods {
        if let Twin::Score(score) = placed.mechanism.plug.twin {
            scores = score(&placed.values, &at_mod(placed), scores);
        }
    }
    // Expanded last: without head-dependent masks everything before is one [1,1,Q,K].
    let mut keep = at.causal();
    for placed in &stack.mask_mods {
        if let Twin::Mask(mask) = placed.mechanism.plug.twin {
            keep = both(keep, mask(&placed.values, &at_mod(placed)));
        }
    }
    let mut scored = masked(scores, open(keep, at, stack.reach()).expand(shape));
    if let Some(placed) = &stack.selector
        && let Twin::Select(select, ..) = placed.mechanism.plug.twin
    {
        let rows = Rows { scores: scored.scores, keep: scored.keep, vectors: vectors.clone() };
        let Selected { keep, bias } = select(&placed.values, &at_mod(placed), &rows, memories.of(placed.mechanism.id));
        let scores = match bias {
            Some(bias) => rows.scores + bias,
            None => rows.scores,
        };
        scored = masked(scores, both(rows.keep, keep));
    }
    scored
}

fn masked(scores: Tensor<4>, keep: Tensor<4, Bool>) -> Scored {
    Scored { scores: scores.mask_fill(keep.clone().bool_not(), MASKED), keep }
}

/// What is kept, and the first `reach` keys for every query.
pub fn open(keep: Tensor<4, Bool>, at: &Grid, reach: usize) -> Tensor<4, Bool> {
    if reach == 0 {
        return keep;
    }
    let first = at.key().lower_elem(reach as f32).expand([1, 1, at.queries, at.keys]);
    keep.clone().bool_or(first.expand(keep.dims()))
}

/// Both conditions, each broadcast along the axes it lacks.
pub fn both(a: Tensor<4, Bool>, b: Tensor<4, Bool>) -> Tensor<4, Bool> {
    let common: [usize; 4] = std::array::from_fn(|axis| a.dims()[axis].max(b.dims()[axis]));
    a.expand(common).bool_and(b.expand(common))
}

/// Normalizer and pattern mods on scores.
pub fn weigh(
    stack: &Stack,
    at: &Grid,
    scored: Scored,
    vectors: Vectors,
    inputs: &[Array],
    memories: &mut Memories,
) -> Weighted {
    let at_mod = |placed: &Placed| at.with(stack.inputs_of(placed, inputs));
    let rows = Rows { scores: scored.scores, keep: scored.keep, vectors };
    let mut weighted = match stack.normalizer.mechanism.plug.twin {
        Twin::Weigh(weigh) => weigh(&stack.normalizer.values, &at_mod(&stack.normalizer), rows),
        // Stack puts only normalizers there.
        _ => Weighted { pattern: rows.scores.zeros_like(), slot: None },
    };
    for placed in &stack.pattern_mods {
        if let Twin::Rework(rework, ..) = placed.mechanism.plug.twin {
            weighted = rework(&placed.values, &at_mod(placed), weighted, memories.of(placed.mechanism.id));
        }
    }
    weighted
}

/// What heads mixed `[B,H,Q,F]` → z `[B,H,Q,D]`, through the map of each where there is one.
pub fn restore(mixed: Tensor<4>, out: Option<&Tensor<4>>) -> Tensor<4> {
    match out {
        Some(out) => mixed.matmul(out.clone()),
        None => mixed,
    }
}

/// The sum of values under the weights → z `[B,H,Q,D]`; `out` is that of [`Turned`].
pub fn sum(weighted: &Weighted, vectors: &Vectors, out: Option<&Tensor<4>>) -> Tensor<4> {
    let z = restore(vectors.mix(weighted.pattern.clone()), out);
    match &weighted.slot {
        Some(slot) => z + slot.weight.clone() * slot.value.clone(),
        None => z,
    }
}

/// The inputs of a stack that nobody learned, for one layer, in the order of [`Stack::inputs`]; the same on every device.
pub fn default_inputs(
    stack: &Stack,
    layer: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    seed: u64,
) -> Vec<Array> {
    let make = |(placed, input): (&Placed, &Input)| {
        let shape = input.shape(heads, kv_heads, head_width);
        let name = format!("{}.{}", placed.mechanism.id, input.name);
        let count = shape.iter().product();
        let data = match input.fill {
            Fill::Zero => vec![0.0; count],
            Fill::Normal(deviation) => normal(count, deviation, &name, layer, seed),
            Fill::Uniform => uniform(count, &name, layer, seed),
            Fill::Measured(_) => match stack.measured(placed, input, layer, count) {
                Some(measured) => measured.to_vec(),
                None => uniform(count, &name, layer, seed),
            },
            Fill::Orthogonal => orthogonal(count, shape.last().copied().unwrap_or(1), &name, layer, seed),
        };
        Array { shape, data }
    };
    stack.inputs().map(make).collect()
}

fn generator(name: &str, layer: usize, seed: u64) -> impl FnMut() -> f32 {
    let key = name
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(key.wrapping_add(layer as u64));
    move || (rng.next_u32() as f32 + 0.5) / 4_294_967_296.0
}

/// Even noise in 0..1, never 1, from a counter generator keyed by name, layer and seed.
pub fn uniform(count: usize, name: &str, layer: usize, seed: u64) -> Vec<f32> {
    let mut next = generator(name, layer, seed);
    // The largest f32 below one; rounding of a large draw must not reach one.
    (0..count).map(|_| next().min(1.0 - f32::EPSILON / 2.0)).collect()
}

/// Normal noise by Box–Muller from a counter generator keyed by name, layer and seed.
pub fn normal(count: usize, deviation: f32, name: &str, layer: usize, seed: u64) -> Vec<f32> {
    let mut uniform = generator(name, layer, seed);
    (0..count).map(|_| deviation * (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos()).collect()
}

/// Rows of `width` normal values, made orthogonal in blocks of `width` rows by Gram–Schmidt in f64 and stretched to the
/// lengths of rows drawn anew.
fn orthogonal(count: usize, width: usize, name: &str, layer: usize, seed: u64) -> Vec<f32> {
    let directions = normal(count, 1.0, name, layer, seed);
    let lengths = normal(count, 1.0, &format!("{name}.lengths"), layer, seed);
    let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let wide = |row: &[f32]| -> Vec<f64> { row.iter().map(|x| f64::from(*x)).collect() };
    let mut block: Vec<Vec<f64>> = Vec::new();
    let mut made = Vec::with_capacity(count);
    for (row, other) in directions.chunks(width.max(1)).zip(lengths.chunks(width.max(1))) {
        if block.len() == width {
            block.clear();
        }
        let mut row = wide(row);
        for earlier in &block {
            let along: f64 = row.iter().zip(earlier).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(earlier).for_each(|(a, b)| *a -= along * b);
        }
        let size = length(&row).max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|x| *x /= size);
        let size = length(&wide(other));
        made.extend(row.iter().map(|x| (x * size) as f32));
        block.push(row);
    }
    made
}
