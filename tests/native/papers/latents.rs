//! Paper 11, TransMLA: keys and values as one latent.

use super::super::model::{lively, small_configs, some_tokens};
use crate::fixtures::deviation;
use attnscope::experiment::Chip;
use attnscope::hook::{ActivationCache, Array, Selection};
use attnscope::mechanism::{Grid, Memory, Placed, Probed, Projected, Stack, Turned, Twin};
use attnscope::model::attention::normal;
use attnscope::model::config::{Config, Positions};
use attnscope::model::{CpuModel, Weights};
use burn::tensor::{Device, Tensor, TensorData};

const TOKENS: usize = 20;

fn chip() -> Chip {
    Chip::new("trans_mla")
}

/// All that turns keeps its position and nothing is left out of the latent.
fn whole() -> Chip {
    chip().with("mode", "compressed").with("rope_heads", 16.0).with("rank", 2.0)
}

/// Second moments of seeded noise that is stronger in some directions than in others, as if measured.
fn probed(config: &Config, weights: &Weights) -> Probed {
    let entries = 2 * config.kv_heads * config.head_width;
    let moments = |layer: usize| {
        let x = normal(entries * 3 * entries, 1.0, "moments", layer, 9);
        let strength = |index: usize| 1.0 / (1.0 + (index * 7 % entries) as f32);
        let entry = |i: usize, j: usize| -> f32 {
            let sum: f32 = x.chunks(entries).enumerate().map(|(row, x)| x[i] * x[j] * strength(row % entries)).sum();
            sum / (3 * entries) as f32
        };
        let pairs = (0..entries).flat_map(|i| (0..entries).map(move |j| (i, j)));
        Array::new([entries, entries], pairs.map(|(i, j)| entry(i, j)).collect::<Vec<_>>()).unwrap()
    };
    Probed {
        layers: config.layers,
        heads: config.heads,
        kv_heads: config.kv_heads,
        width: config.head_width,
        rotates: config.positions != Positions::Learned,
        moments: (0..config.layers).map(moments).collect(),
        value_rows: (0..config.layers).map(|layer| value_rows(config, weights, layer)).collect(),
        ..Probed::default()
    }
}

/// Products of the rows of one layer's value projection with each other, head by head.
fn value_rows(config: &Config, weights: &Weights, layer: usize) -> Array {
    let (groups, width) = (config.kv_heads, config.head_width);
    let w = &weights.get(&format!("blocks.{layer}.attn.w_v")).unwrap().data; // [M,G·D]
    let product = |index: usize| -> f32 {
        let (head, a, b) = (index / width / width, index / width % width, index % width);
        w.chunks(groups * width).map(|row| row[head * width + a] * row[head * width + b]).sum()
    };
    Array::new([groups, width, width], (0..groups * width * width).map(product).collect::<Vec<_>>()).unwrap()
}

fn measured(config: &Config, weights: &Weights, chip: &Chip) -> Stack {
    let mut stack = Stack::new("a", std::slice::from_ref(chip)).unwrap();
    stack.measure(&probed(config, weights));
    stack
}

/// Largest difference of a logit to plain attention, in units of the largest logit: of a whole pass, and of steps.
fn off(config: &Config, weights: &Weights, chip: &Chip) -> (f32, f32) {
    let model = CpuModel::new(config, weights).unwrap();
    let tokens = some_tokens(config.vocabulary, TOKENS);
    let run =
        |stack: &Stack| model.run(&[&tokens], stack, 3, &mut ActivationCache::new(Selection::default())).unwrap().data;
    let plain = run(&Stack::new("a", &[]).unwrap());
    let stack = measured(config, weights, chip);
    let came = run(&stack);
    let size = plain.iter().fold(1.0f32, |most, logit| most.max(logit.abs()));
    let mut decoder = model.decoder(&stack, 3);
    let step = |seen: usize| {
        let row = &came[(seen - 1) * config.vocabulary..seen * config.vocabulary];
        deviation(&decoder.logits(&tokens[..seen]).unwrap(), row)
    };
    let steps = (1..=TOKENS).map(step).fold(0.0, f32::max);
    (deviation(&came, &plain) / size, steps / size)
}

/// Check 1: the exact form gives the logits of the model it was made from, for a whole pass, for cached steps, absorbed and
/// not, for every family.
#[test]
fn the_exact_form_is_exact() {
    for (name, config) in small_configs() {
        let weights = lively(&config, 6);
        for absorbed in [true, false] {
            let (whole, steps) = off(&config, &weights, &chip().with("absorbed", absorbed));
            assert!(whole < 2e-6 && steps < 2e-6, "{name}, absorbed {absorbed}: {whole} {steps}");
        }
    }
}

/// Check 1: orthogonal factors of the values have the same product, absorbed or not, and the latent is another one: its
/// entries are as strong as the factors that bring them back.
#[test]
fn the_orthogonal_start_is_exact() {
    for (name, config) in small_configs() {
        let weights = lively(&config, 6);
        for absorbed in [true, false] {
            let chip = chip().with("absorbed", absorbed).with("values", "orthogonal");
            let (whole, steps) = off(&config, &weights, &chip);
            assert!(whole < 1e-4 && steps < 1e-4, "{name}, absorbed {absorbed}: {whole} {steps}");
        }
        let latent = config.kv_heads * config.head_width;
        let stack = measured(&config, &weights, &chip().with("values", "orthogonal"));
        let inputs =
            attnscope::model::attention::default_inputs(&stack, 0, config.heads, config.kv_heads, config.head_width, 3);
        let w = &weights.get("blocks.0.attn.w_v").unwrap().data;
        // ‖row of √S·Bᵀ‖ = ‖column of A·√S‖, over the query heads of a group.
        for row in 0..latent {
            let to = &inputs[1].data[row * latent..(row + 1) * latent];
            let back = &inputs[1].data[(latent + row) * latent..(latent + row + 1) * latent];
            let made: f32 =
                w.chunks(latent).map(|w| w.iter().zip(to).map(|(w, x)| w * x).sum::<f32>().powi(2)).sum::<f32>().sqrt();
            let shared = (config.heads / config.kv_heads) as f32;
            let read = (shared * back.iter().map(|x| x * x).sum::<f32>()).sqrt();
            assert!((made / read - 1.0).abs() < 1e-2, "{name}: latent entry {row}: {made} and {read}");
        }
    }
}

/// Check 2: turning heads into each other frequency by frequency, with positions everywhere, keeps the scores; one turn of
/// two frequencies together breaks them. Check 4: nothing is lost at full rank.
#[test]
fn turned_heads_keep_their_scores() {
    for (name, config) in small_configs() {
        let weights = lively(&config, 6);
        for absorbed in [true, false] {
            let (whole, steps) = off(&config, &weights, &whole().with("absorbed", absorbed));
            assert!(whole < 1e-4 && steps < 1e-4, "{name}, absorbed {absorbed}: {whole} {steps}");
        }
        if config.positions != Positions::Learned && (config.head_width / 2).is_multiple_of(2) {
            let (folded, _) = off(&config, &weights, &whole().with("freq_fold", 2.0));
            assert!(folded > 1e-2, "{name}: {folded}");
        }
    }
}

/// Absorbed or not, a compressed latent gives the same logits, and so does decoding from it; fewer positions and a smaller
/// rank each cost something.
#[test]
fn a_compressed_latent_decodes() {
    let (_, config) = small_configs().swap_remove(2);
    let weights = lively(&config, 6);
    let small = chip().with("mode", "compressed").with("rank", 0.75);
    let mut losses = Vec::new();
    for rope_heads in [0.0, 0.5, 1.0, 2.0] {
        let small = small.clone().with("rope_heads", rope_heads);
        let (absorbed, steps) = off(&config, &weights, &small);
        let (plain, _) = off(&config, &weights, &small.clone().with("absorbed", false));
        assert!(steps < 1e-5 && (absorbed - plain).abs() < 1e-4, "{rope_heads}: {steps} {absorbed} {plain}");
        losses.push(absorbed);
    }
    assert!(losses.iter().all(|loss| *loss > 1e-3), "{losses:?}");
}

/// Keys of every head `[H,Q,D]` under a chip that is not absorbed, of seeded projections.
fn keys(chip: &Chip, config: &Config) -> Vec<Vec<f64>> {
    let placed = Placed::new(chip).unwrap();
    let Twin::Project(project, ..) = placed.mechanism.plug.twin else { panic!("a projection mod") };
    let device = Device::flex();
    let (heads, kv_heads, width) = (config.heads, config.kv_heads, config.head_width);
    let noise = |name: &str, heads: usize| -> Tensor<4> {
        let data = normal(heads * TOKENS * width, 1.0, name, 0, 2);
        Tensor::from_data(TensorData::new(data, [1, heads, TOKENS, width]), &device)
    };
    let stack = Stack::new("a", std::slice::from_ref(chip)).unwrap();
    let inputs = attnscope::model::attention::default_inputs(&stack, 0, heads, kv_heads, width, 4);
    let at = Grid {
        layer: 0,
        layers: 1,
        heads,
        kv_heads,
        queries: TOKENS,
        keys: TOKENS,
        first_query: 0,
        device: device.clone(),
        inputs: inputs[..2].to_vec(),
    };
    let given = Projected { q: noise("q", heads), k: noise("k", kv_heads), v: noise("v", kv_heads), rotation: None };
    let Turned { k, .. } = project(&placed.values, &at, given, &mut Memory::default());
    let values: Vec<f32> = k.into_data().try_to_vec().unwrap();
    values.chunks(TOKENS * width).map(|head| head.iter().map(|x| f64::from(*x)).collect()).collect()
}

/// Check 3: heads of one group have the same keys; with noise of 10 % on their up-projections they do not, and the best keys
/// a group could share, the mean, are off by more than a hundredth.
#[test]
fn noisy_up_projections_are_beyond_grouped_queries() {
    let (_, config) = small_configs().swap_remove(2);
    let group = config.heads / config.kv_heads;
    assert!(group > 1);
    let exact = chip().with("absorbed", false);
    let same = keys(&exact, &config);
    assert_eq!(same[0], same[1]);
    let noisy = keys(&exact.with("noise", 0.1), &config);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for heads in noisy.chunks(group) {
        let cosine = dot(&heads[0], &heads[1]) / (dot(&heads[0], &heads[0]) * dot(&heads[1], &heads[1])).sqrt();
        assert!(cosine < 0.999, "{cosine}");
        let mean: Vec<f64> =
            (0..heads[0].len()).map(|i| heads.iter().map(|head| head[i]).sum::<f64>() / group as f64).collect();
        let error: f64 =
            heads.iter().flat_map(|head| head.iter().zip(&mean)).map(|(x, mean)| (x - mean) * (x - mean)).sum();
        let size: f64 = heads.iter().map(|head| dot(head, head)).sum();
        assert!((error / size).sqrt() > 1e-2, "{}", (error / size).sqrt());
    }
}

/// What a token leaves in the cache: 2ℓ numbers, or d_R + r.
#[test]
fn the_cache_holds_what_it_says() {
    let (_, config) = small_configs().swap_remove(2);
    let latent = config.kv_heads * config.head_width;
    let cached = |chip: Chip| {
        let placed = Placed::new(&chip).unwrap();
        let Twin::Project(_, cost, _) = placed.mechanism.plug.twin else { panic!("a projection mod") };
        let at = Grid {
            layer: 0,
            layers: config.layers,
            heads: config.heads,
            kv_heads: config.kv_heads,
            queries: 1,
            keys: 1,
            first_query: 0,
            device: Device::flex(),
            inputs: Vec::new(),
        };
        cost(&placed.values, &at, config.head_width, true).cached
    };
    assert_eq!(cached(chip()), 2 * latent);
    assert_eq!(cached(whole()), 2 * latent);
    let half = chip().with("mode", "compressed").with("rank", 0.5);
    assert_eq!(cached(half.clone()), config.head_width + latent / 2);
    assert_eq!(cached(half.with("rope_heads", 0.0)), latent / 2);
}
