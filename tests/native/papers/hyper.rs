//! Paper 38: what sorting and sampling must do beyond the laws.

use super::synthetic::Numbers;
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

/// Paper 38, check (c): of three rows, what their sampled part sums to outside their block, the mean of 400 draws and its
/// standard error, and the true sum; then what counting in-block samples again adds, its standard error, and the block's
/// own sum. The second half's rows on the first half's keys.
pub(super) fn sampled_sums() -> Numbers {
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
    let sum = |scores: &[f32], row: usize, keep: &dyn Fn(usize) -> bool| -> f64 {
        let cells = scores[row * TOKENS..row * TOKENS + HALF].iter().enumerate();
        cells
            .filter(|(key, score)| **score > MASKED / 2.0 && keep(*key))
            .map(|(_, score)| f64::from(*score).exp())
            .sum()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let error = |values: &[f64]| {
        let mean = mean(values);
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (square / (values.len() - 1) as f64 / values.len() as f64).sqrt()
    };
    let of_row = |row: usize| {
        let in_block = |key: usize| own[row * TOKENS + key] > MASKED / 2.0;
        let truth = sum(&true_scores, row, &|key| !in_block(key));
        let block = sum(&true_scores, row, &in_block);
        assert_eq!((0..HALF).filter(|key| in_block(*key)).count(), 16);
        let (mut outside, mut excess) = (Vec::new(), Vec::new());
        for seed in 1..=400 {
            let with = |stack: &Stack| {
                apply(stack, &Given { inputs: inputs(seed, stack), ..given.clone() }).unwrap().scores.data
            };
            let came = with(&masked);
            outside.push(sum(&came, row, &|key| !in_block(key)));
            excess.push(sum(&with(&counted), row, &|_| true) - sum(&came, row, &|_| true));
        }
        let numbers = [mean(&outside), error(&outside), truth, mean(&excess), error(&excess), block];
        (format!("row {row}"), numbers.map(|number| number as f32).to_vec())
    };
    [64, 90, 127].map(of_row).into_iter().collect()
}

/// Paper 38, check (d), causal: sixteen clusters, blocks of 32. The relative error of the late rows with 64 and 256
/// samples, and the share of a late row's exact weight on the early keys that its block holds; for the hash and for the
/// same budget in random order.
pub(super) fn planted_clusters() -> Numbers {
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
    let came = |samples: usize, order: &str| {
        let samples = ("samples", number(samples));
        run(&stack(&[("n_min", number(512)), ("block", number(32)), samples, ("order", word(order))]), &given, 1)
    };
    let error = |samples: usize, order: &str| {
        let late = |applied: &Applied| applied.z.data[tokens / 2 * width..].to_vec();
        let (came, reference) = (late(&came(samples, order)), late(&reference));
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        (square(&mut came.iter().zip(&reference).map(|(a, b)| a - b)) / square(&mut reference.iter().copied())) as f32
    };
    let mass = |order: &str| {
        // Without samples nothing but the block is kept of the early keys.
        let kept = came(0, order).scores.data;
        let (mut inside, mut all) = (0.0, 0.0);
        for pair in (tokens / 2..tokens).flat_map(|row| row * tokens..row * tokens + tokens / 2) {
            let weight = f64::from(reference.pattern.data[pair]);
            all += weight;
            inside += if kept[pair] > MASKED / 2.0 { weight } else { 0.0 };
        }
        (inside / all) as f32
    };
    let of = |order: &str| [64, 256].map(|samples| error(samples, order)).into_iter().chain([mass(order)]).collect();
    ["hash", "random"].map(|order| (order.into(), of(order))).into_iter().collect()
}

/// Paper 38, check (a): a query's block and the rest of the keys, each attended to alone, merge by their log-sum-exps to
/// attention over both.
#[test]
fn two_disjoint_parts_merge_to_their_union() {
    let noise = |name: &str| normal(TOKENS * 8, 1.0, name, 0, 0);
    let given = given(noise("q"), noise("k"), noise("v"), 8);
    let whole = exact(&given);
    let blocks = stack(&[("n_min", number(64)), ("block", number(16)), ("samples", number(0))]);
    let block = run(&blocks, &given, 0);
    for row in HALF..TOKENS {
        let kept = |key: usize| block.scores.data[row * TOKENS + key] > MASKED / 2.0;
        // Log-sum-exp and mean value of the keys of this row that are kept by the step, or are not.
        let part = |wanted: bool| {
            let keys = (0..=row).filter(|key| kept(*key) == wanted);
            let (mut sum, mut z) = (0.0, [0.0; 8]);
            for key in keys {
                let weight = f64::from(whole.scores.data[row * TOKENS + key]).exp();
                sum += weight;
                z.iter_mut().zip(&given.v.data[key * 8..]).for_each(|(z, v)| *z += weight * f64::from(*v));
            }
            (sum.ln(), z.map(|z| z / sum))
        };
        let ((inner, z_inner), (outer, z_outer)) = (part(true), part(false));
        let c = 1.0 / (1.0 + (outer - inner).exp());
        for d in 0..8 {
            let near = |a: f64, b: f32| (a - f64::from(b)).abs() < 1e-5;
            assert!(near(z_inner[d], block.z.data[row * 8 + d]), "row {row}: what the step keeps");
            assert!(near(c * z_inner[d] + (1.0 - c) * z_outer[d], whole.z.data[row * 8 + d]), "row {row}: the union");
        }
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
