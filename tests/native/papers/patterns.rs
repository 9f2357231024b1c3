//! Mechanisms that change weights after the normalizer: the checks of their specifications.

use super::super::model::{lively, small_configs, some_tokens};
use attnscope::experiment::Chip;
use attnscope::hook::{ActivationCache, Array, Selection, Site};
use attnscope::mechanism::{Grid, Memory, Placed, Stack, Twin, Weighted};
use attnscope::model::attention::normal;
use attnscope::model::{Config, CpuModel, Weights};
use burn::tensor::{Device, Tensor, TensorData};

mod calibration;
mod echo;
pub mod planted;

/// One head of n tokens.
fn grid(n: usize) -> Grid {
    Grid {
        layer: 0,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        queries: n,
        keys: n,
        first_query: 0,
        device: Device::flex(),
        inputs: Vec::new(),
    }
}

/// What a pattern mod makes of one map `[Q,K]`.
fn rework(chip: &Chip, at: &Grid, map: &[f32]) -> Vec<f32> {
    let placed = Placed::new(chip).unwrap();
    let Twin::Rework(rework, ..) = placed.mechanism.plug.twin else { panic!("{} is no pattern mod", chip.id) };
    let pattern = Tensor::from_data(TensorData::new(map.to_vec(), [1, 1, at.queries, at.keys]), &at.device);
    let weighted = rework(&placed.values, at, Weighted { pattern, slot: None }, &mut Memory::default());
    weighted.pattern.into_data().try_to_vec().unwrap()
}

/// A causal map `[n,n]` of seeded positive weights whose columns in `boosted` weigh `boost` times as much; rows sum to one.
fn causal_map(n: usize, boosted: &[usize], boost: f32) -> Vec<f32> {
    let noise = normal(n * n, 1.0, "map", n, 0);
    let weight = |query: usize, key: usize| {
        let boost = if boosted.contains(&key) { boost } else { 1.0 };
        if key <= query { noise[query * n + key].exp() * boost } else { 0.0 }
    };
    let row = |query: usize| {
        let row: Vec<f32> = (0..n).map(|key| weight(query, key)).collect();
        let sum: f32 = row.iter().sum();
        row.into_iter().map(move |weight| weight / sum)
    };
    (0..n).flat_map(row).collect()
}

/// A small model that rotates and shares key–value heads.
fn small_model() -> (Config, Weights) {
    let (_, config) = small_configs().swap_remove(2);
    let weights = lively(&config, 4);
    (config, weights)
}

/// Logits under a stack, and patterns, layer by layer.
fn run((config, weights): &(Config, Weights), stack: &Stack) -> (Vec<f32>, Vec<Array>) {
    let model = CpuModel::new(config, weights).unwrap();
    let tokens = some_tokens(config.vocabulary, 24);
    let mut patterns = ActivationCache::new(Selection::sites(&[Site::Pattern]));
    let logits = model.run(&[&tokens], stack, 0, &mut patterns).unwrap();
    (logits.data, patterns.values.into_values().collect())
}

/// The same of the small model under chips.
fn model_run(chips: &[Chip]) -> (Vec<f32>, Vec<Array>) {
    run(&small_model(), &Stack::new("a", chips).unwrap())
}
