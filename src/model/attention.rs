//! One attention step under a stack of mechanisms: the place where roles become tensor operations.

use crate::hook::Array;
use crate::mechanism::{Fill, Grid, Input, MASKED, Placed, Rows, Stack, Twin, Weighted};
use burn::tensor::{Bool, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Everything one step produces.
pub struct Attended {
    /// Scores after mods and masks `[B,H,Q,K]`; removed entries hold [`MASKED`].
    pub scores: Tensor<4>,
    /// True where a pair is kept, `[B,H,Q,K]`.
    pub keep: Tensor<4, Bool>,
    /// Weights `[B,H,Q,K]` and the slot.
    pub weighted: Weighted,
}

/// Scores of rotated `q` `[B,H,Q,D]` on `k` `[B,G,K,D]`: scale · q·kᵀ → `[B,H,Q,K]`.
pub fn scores(q: Tensor<4>, k: Tensor<4>, scale: f32) -> Tensor<4> {
    let heads = q.dims()[1];
    (q * scale).matmul(share_heads(k, heads).swap_dims(2, 3))
}

/// Mods, masks and normaliser on raw `scores` `[B,H,Q,K]`; `inputs` are those of the normaliser, in its order.
pub fn weigh(stack: &Stack, at: &Grid, scores: Tensor<4>, q: Tensor<4>, scale: f32, inputs: Vec<Array>) -> Attended {
    let shape = scores.dims();
    let mut scores = scores;
    for placed in &stack.score_mods {
        if let Twin::Score(score) = placed.mechanism.plug.twin {
            scores = score(&placed.values, at, scores);
        }
    }
    // Expanded last: without head-dependent masks everything before is one [1,1,Q,K].
    let mut keep = at.causal();
    for placed in &stack.mask_mods {
        if let Twin::Mask(mask) = placed.mechanism.plug.twin {
            let mask = mask(&placed.values, at);
            let common: [usize; 4] = std::array::from_fn(|axis| keep.dims()[axis].max(mask.dims()[axis]));
            keep = keep.expand(common).bool_and(mask.expand(common));
        }
    }
    let drop = keep.clone().bool_not().expand(shape);
    let keep = keep.expand(shape);
    let scores = scores.mask_fill(drop, MASKED);
    normalize(stack, at, scores, keep, q, scale, inputs)
}

/// Only the normaliser, on `scores` to which mods and masks have been applied: what follows an edit of the scores.
pub fn normalize(
    stack: &Stack,
    at: &Grid,
    scores: Tensor<4>,
    keep: Tensor<4, Bool>,
    q: Tensor<4>,
    scale: f32,
    inputs: Vec<Array>,
) -> Attended {
    let rows = Rows { scores: scores.clone(), keep: keep.clone(), q, scale, inputs };
    let weighted = match stack.normalizer.mechanism.plug.twin {
        Twin::Weigh(weigh) => weigh(&stack.normalizer.values, at, rows),
        // Stack::new puts only normalizers there.
        Twin::Score(_) | Twin::Mask(_) => Weighted { pattern: scores.zeros_like(), slot: None },
    };
    Attended { scores, keep, weighted }
}

/// The mix of values `v` `[B,G,K,D]` under the weights → z `[B,H,Q,D]`.
pub fn mix(weighted: Weighted, v: Tensor<4>) -> Tensor<4> {
    let heads = weighted.pattern.dims()[1];
    let z = weighted.pattern.matmul(share_heads(v, heads));
    match weighted.slot {
        Some(slot) => z + slot.weight * slot.value,
        None => z,
    }
}

/// Repeats each key–value head for the query heads of its group: `[B,G,K,D]` → `[B,H,K,D]`.
fn share_heads(kv: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, kv_heads, keys, width] = kv.dims();
    let group = heads / kv_heads.max(1);
    if group == 1 {
        return kv;
    }
    kv.reshape([batch, kv_heads, 1, keys * width])
        .expand([batch, kv_heads, group, keys * width])
        .reshape([batch, heads, keys, width])
}

/// The inputs of a mechanism nobody learned, for one layer; the same on every device.
pub fn default_inputs(
    placed: &Placed,
    layer: usize,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    seed: u64,
) -> Vec<Array> {
    let make = |input: &Input| {
        let size = |letter| match letter {
            'H' => heads,
            'G' => kv_heads,
            _ => head_width,
        };
        let shape: Vec<usize> = input.axes.chars().map(size).collect();
        let count = shape.iter().product();
        let data = match input.fill {
            Fill::Zero => vec![0.0; count],
            Fill::Normal(deviation) => {
                normal(count, deviation, &format!("{}.{}", placed.mechanism.id, input.name), layer, seed)
            }
        };
        Array { shape, data }
    };
    placed.mechanism.plug.inputs.iter().map(make).collect()
}

/// Normal noise by Box–Muller from a counter generator keyed by name, layer and seed.
pub fn normal(count: usize, deviation: f32, name: &str, layer: usize, seed: u64) -> Vec<f32> {
    let key = name
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(key.wrapping_add(layer as u64));
    let mut uniform = || (rng.next_u32() as f32 + 0.5) / 4_294_967_296.0;
    (0..count).map(|_| deviation * (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos()).collect()
}
