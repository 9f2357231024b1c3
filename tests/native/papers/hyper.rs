//! Paper 38: what sorting and sampling must do beyond the laws.

use attnscope::experiment::Chip;
use attnscope::gpu::{Device, parity::check_stack};
use attnscope::hook::Array;
use attnscope::mechanism::{MASKED, Stack, Tolerance};
use attnscope::model::attention::{default_inputs, normal};
use attnscope::model::step::{Applied, Given, apply};
use attnscope::spec::Plain;

fn stack(values: &[(&str, Plain)]) -> Stack {
    let chip = values.iter().fold(Chip::new("hyper_attention"), |chip, (key, value)| chip.with(key, value.clone()));
    Stack::new("a", &[chip]).unwrap()
}

fn number(value: usize) -> Plain {
    Plain::Number(value as f64)
}

fn word(word: &str) -> Plain {
    Plain::Word(word.into())
}

fn given(q: Vec<f32>, k: Vec<f32>, v: Vec<f32>, width: usize) -> Given {
    let array = |data: Vec<f32>| Array { shape: vec![1, 1, data.len() / width, width], data };
    let scale = 1.0 / (width as f32).sqrt();
    let (q, k, v) = (array(q), array(k), array(v));
    Given { q, k, v, scale, first_query: 0, layer: 0, layers: 1, inputs: Vec::new() }
}

fn run(stack: &Stack, given: &Given, seed: u64) -> Applied {
    let width = given.q.shape[3];
    apply(stack, &Given { inputs: default_inputs(stack, 0, 1, 1, width, seed), ..given.clone() }).unwrap()
}

/// Scores of an exact pass.
fn exact(given: &Given) -> Applied {
    apply(&Stack::new("a", &[]).unwrap(), given).unwrap()
}

const TOKENS: usize = 128;
const HALF: usize = TOKENS / 2;

/// Paper 38, check (c): over draws, the sampled part of a row sums to the true sum outside its block within three standard
/// errors; counting in-block samples again adds the block's share. The second half's rows on the first half's keys.
#[test]
fn samples_stand_for_the_rest_of_the_row() {
    let noise = |name: &str| normal(TOKENS * 8, 1.0, name, 0, 0);
    let given = given(noise("q"), noise("k"), noise("v"), 8);
    let true_scores = exact(&given).scores.data;
    let values = |own: &str| {
        stack(&[("n_min", number(64)), ("block", number(16)), ("samples", number(32)), ("own_block", word(own))])
    };
    // With one shared hash the blocks stay, while draws change with the seed.
    let inputs = |seed: u64, stack: &Stack| {
        let mut inputs = default_inputs(stack, 0, 1, 1, 8, seed);
        inputs[0] = default_inputs(stack, 0, 1, 1, 8, 0).swap_remove(0);
        inputs
    };
    let blocks_only = stack(&[("n_min", number(64)), ("block", number(16)), ("samples", number(0))]);
    let own = run(&blocks_only, &given, 0).scores.data;
    let (masked, counted) = (values("masked"), values("counted"));
    let rows = [64usize, 90, 127];
    let sum = |scores: &[f32], row: usize, keep: &dyn Fn(usize) -> bool| -> f64 {
        let cells = scores[row * TOKENS..row * TOKENS + HALF].iter().enumerate();
        cells
            .filter(|(key, score)| **score > MASKED / 2.0 && keep(*key))
            .map(|(_, score)| f64::from(*score).exp())
            .sum()
    };
    for row in rows {
        let in_block = |key: usize| own[row * TOKENS + key] > MASKED / 2.0;
        let truth = sum(&true_scores, row, &|key| !in_block(key));
        let block = sum(&true_scores, row, &in_block);
        assert_eq!((0..HALF).filter(|key| in_block(*key)).count(), 16);
        let mut outside = Vec::new();
        let mut excess = Vec::new();
        for seed in 1..=400 {
            let with = |stack: &Stack| {
                apply(stack, &Given { inputs: inputs(seed, stack), ..given.clone() }).unwrap().scores.data
            };
            let came = with(&masked);
            outside.push(sum(&came, row, &|key| !in_block(key)));
            excess.push(sum(&with(&counted), row, &|_| true) - sum(&came, row, &|_| true));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let error = |values: &[f64]| {
            let mean = mean(values);
            let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (square / (values.len() - 1) as f64 / values.len() as f64).sqrt()
        };
        assert!((mean(&outside) - truth).abs() < 3.0 * error(&outside), "{} for {truth}", mean(&outside));
        // Biased upward by the in-block share.
        assert!((mean(&excess) - block).abs() < 3.0 * error(&excess), "{} for {block}", mean(&excess));
    }
}

/// Paper 38, check (d), causal: sixteen clusters; the hash must bring a query's own cluster into its block, and with that
/// come closer to exact attention than the same budget in random order.
#[test]
fn the_hash_finds_clusters_that_chance_does_not() {
    let (tokens, width) = (1024, 32);
    let mut centres = normal(16 * width, 1.0, "centres", 0, 0);
    for centre in centres.chunks_mut(width) {
        let size = centre.iter().map(|x| x * x).sum::<f32>().sqrt();
        centre.iter_mut().for_each(|x| *x *= 7.0 / size);
    }
    let side = |name: &str| -> Vec<f32> {
        let noise = normal(tokens * width, 0.1, name, 0, 0);
        let centre = |token: usize| (token * 5 + token / 16 * 3) % 16;
        (0..tokens * width).map(|at| centres[centre(at / width) * width + at % width] + noise[at]).collect()
    };
    let given = given(side("q"), side("k"), normal(tokens * width, 1.0, "v", 0, 0), width);
    let reference = exact(&given);
    let late = |applied: &Applied| applied.z.data[tokens / 2 * width..].to_vec();
    let error = |samples: usize, order: &str| {
        let stack = stack(&[
            ("n_min", number(512)),
            ("block", number(32)),
            ("samples", number(samples)),
            ("order", word(order)),
        ]);
        let came = late(&run(&stack, &given, 1));
        let reference = late(&reference);
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        square(&mut came.iter().zip(&reference).map(|(a, b)| a - b)) / square(&mut reference.iter().copied())
    };
    for samples in [64, 256] {
        let (hash, random) = (error(samples, "hash"), error(samples, "random"));
        println!("{samples} samples: hash {hash:.3}, random {random:.3}");
        assert!(hash < 0.7 * random, "{samples} samples: hash {hash}, random {random}");
    }
}

/// Paper 38, check (a): up to n_min tokens are exact, and so is a pass of 2·n_min - 2, whose halves are below n_min.
#[test]
fn short_passes_are_exact() {
    for tokens in [32, 62] {
        let noise = |name: &str| normal(tokens * 8, 1.0, name, 0, 0);
        let given = given(noise("q"), noise("k"), noise("v"), 8);
        let came = run(&stack(&[("n_min", number(32)), ("block", number(2)), ("samples", number(0))]), &given, 0);
        assert_eq!(came.z.data, exact(&given).z.data, "{tokens}");
    }
    let noise = |name: &str| normal(64 * 8, 1.0, name, 0, 0);
    let given = given(noise("q"), noise("k"), noise("v"), 8);
    let came = run(&stack(&[("n_min", number(32)), ("block", number(2)), ("samples", number(0))]), &given, 0);
    assert_ne!(came.z.data, exact(&given).z.data);
}

/// Twins at settings under which prompts of 33 tokens and more are hashed; the common corners are exact for short ones.
#[test]
fn hashed_passes_agree_on_the_gpu() {
    let device = pollster::block_on(Device::open()).expect("a Vulkan driver, such as lavapipe");
    let small = [("n_min", number(16)), ("block", number(4)), ("samples", number(8))];
    for more in [
        ("order", word("hash")),
        ("order", word("random")),
        ("gray", word("reference")),
        ("own_block", word("counted")),
        ("samples", number(0)),
        ("bits", number(0)),
    ] {
        let values: Vec<_> = small.iter().cloned().chain([more.clone()]).collect();
        let report = pollster::block_on(check_stack(&device, &stack(&values), Tolerance::F32)).unwrap();
        assert!(report.agrees(), "{more:?}: {report:?}");
    }
}
