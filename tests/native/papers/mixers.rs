//! Papers 56 and 61: mixers against their formulas in f64, and what the specifications say must show.

use super::synthetic::Numbers;
use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::mechanism::Stack;
use attnscope::model::attention::{default_inputs, normal};
use attnscope::model::step::{Applied, Given, apply};
use attnscope::spec::Plain;

fn stack(id: &str, values: &[(&str, Plain)]) -> Stack {
    let chip = values.iter().fold(Chip::new(id), |chip, (key, value)| chip.with(key, value.clone()));
    Stack::new("a", &[chip]).unwrap()
}

fn word(word: &str) -> Plain {
    Plain::Word(word.into())
}

/// One sequence of seeded q, k and v, with the inputs that a model of this seed would have.
fn given(stack: &Stack, [heads, tokens, width]: [usize; 3], seed: u64) -> Given {
    let noise = |name: &str| Array {
        shape: vec![1, heads, tokens, width],
        data: normal(heads * tokens * width, 1.0, name, 0, seed),
    };
    Given {
        q: noise("q"),
        k: noise("k"),
        v: noise("v"),
        scale: 1.0 / (width as f32).sqrt(),
        first_query: 0,
        layer: 0,
        layers: 2,
        inputs: default_inputs(stack, 0, heads, heads, width, seed),
    }
}

fn run(stack: &Stack, given: &Given) -> Applied {
    apply(stack, given).unwrap()
}

fn row(array: &Array, index: usize) -> Vec<f64> {
    let width = *array.shape.last().unwrap();
    array.data[index * width..(index + 1) * width].iter().map(|value| f64::from(*value)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Largest difference as a share of the largest reference.
fn deviation(came: &[f32], reference: &[f64]) -> f64 {
    let size = reference.iter().fold(1.0f64, |size, value| size.max(value.abs()));
    assert_eq!(came.len(), reference.len());
    came.iter().zip(reference).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max) / size
}

/// o_t = Σ_{s≤t} λ^(t-s) (q_t·k_s) v_s of every head, rates given.
fn fading(given: &Given, rates: &[f64]) -> Vec<f64> {
    let [_, heads, tokens, width] = given.q.shape[..] else { panic!("[1,H,Q,D]") };
    let mut o = Vec::new();
    for (head, rate) in rates.iter().enumerate().take(heads) {
        for t in 0..tokens {
            let q = row(&given.q, head * tokens + t);
            let mut sum = vec![0.0; width];
            for s in 0..=t {
                let weight = dot(&q, &row(&given.k, head * tokens + s)) * (-rate * (t - s) as f64).exp();
                let v = row(&given.v, head * tokens + s);
                sum.iter_mut().zip(v).for_each(|(sum, v)| *sum += weight * v);
            }
            o.extend(sum);
        }
    }
    o
}

/// Paper 61, check (a): left product, recurrence and blocks are the formula, for lengths that are no multiple of the block,
/// and for every decay. The released slopes of six heads are 1/4, 1/16, 1/64, 1/256, 1/2, 1/8.
#[test]
fn three_algorithms_are_one_sum() {
    let slopes = [1.0 / 4.0, 1.0 / 16.0, 1.0 / 64.0, 1.0 / 256.0, 1.0 / 2.0, 1.0 / 8.0];
    let code: Vec<f64> = slopes.iter().map(|slope| slope * (1.0 + 1e-5)).collect();
    let paper: Vec<f64> = (1..=6).map(|head| 8.0 * f64::from(head) / 6.0).collect();
    for (decay, rates) in [("code", code), ("paper", paper), ("none", vec![0.0; 6])] {
        for (algorithm, block) in [("left", 64.0), ("right", 64.0), ("block", 1.0), ("block", 16.0), ("block", 100.0)] {
            let stack = stack(
                "lightning_attention",
                &[
                    ("decay", word(decay)),
                    ("algorithm", word(algorithm)),
                    ("block", Plain::Number(block)),
                    ("srms_norm", Plain::Flag(false)),
                ],
            );
            let given = given(&stack, [6, 100, 8], 3);
            let came = run(&stack, &given);
            let off = deviation(&came.z.data, &fading(&given, &rates));
            assert!(off < 1e-5, "{decay} {algorithm} {block}: {off}");
            // The weights shown are signed and mix the values to what the algorithm gives.
            assert!(came.pattern.data.iter().any(|weight| *weight < 0.0));
        }
    }
}

/// Paper 61, check (c): how much the first token changes what is 42 tokens on and more, where the first head halves per
/// token and without a decay; and how many times as large the last row is after twice as many positive tokens, without the
/// norm and with it.
pub(super) fn memory() -> Numbers {
    // Of twelve heads the first one's λ is exp(-8/12) = 0.51 in the paper's first layer.
    let change = |decay: &str| {
        let stack = without_norm(decay);
        let mut given = given(&stack, [12, 60, 4], 1);
        let before = run(&stack, &given).z;
        given.v.data[0..4].iter_mut().for_each(|value| *value += 1.0);
        let after = run(&stack, &given).z;
        (42 * 4..60 * 4).map(|at| (before.data[at] - after.data[at]).abs()).fold(0.0, f32::max)
    };
    let size = |norm: bool, tokens: usize| {
        let stack = stack("lightning_attention", &[("decay", word("none")), ("srms_norm", Plain::Flag(norm))]);
        let mut given = given(&stack, [1, tokens, 4], 2);
        for array in [&mut given.q, &mut given.k, &mut given.v] {
            array.data.iter_mut().for_each(|value| *value = value.abs());
        }
        given.q.data[(tokens - 1) * 4..].fill(1.0);
        let z = run(&stack, &given).z;
        (z.data[(tokens - 1) * 4..].iter().map(|value| value * value).sum::<f32>() / 4.0).sqrt()
    };
    let growth = |norm: bool| size(norm, 256) / size(norm, 128);
    Numbers::from([
        ("change, decay of the paper".into(), vec![change("paper")]),
        ("change, no decay".into(), vec![change("none")]),
        ("growth, no norm".into(), vec![growth(false)]),
        ("growth, with the norm".into(), vec![growth(true)]),
    ])
}

fn without_norm(decay: &str) -> Stack {
    stack("lightning_attention", &[("decay", word(decay)), ("srms_norm", Plain::Flag(false))])
}

/// Paper 61, check (c): λ = 0.0003 over 2048 tokens stays finite.
#[test]
fn a_long_fast_decay_stays_finite() {
    let stack = without_norm("paper");
    let long = given(&stack, [1, 2048, 4], 4);
    let came = run(&stack, &long);
    assert!(came.z.data.iter().chain(&came.pattern.data).all(|value| value.is_finite()));
}

/// φ of a vector with both factors of the score folded in.
fn features(x: &[f64], w: &Array, pairs: usize) -> Vec<f64> {
    let sums: Vec<f64> = (0..pairs).map(|pair| dot(&row(w, pair), x)).collect();
    let size = (-dot(x, x) / 2.0).exp() / (2.0 * pairs as f64).sqrt();
    sums.iter().map(|sum| sum.exp() * size).chain(sums.iter().map(|sum| (-sum).exp() * size)).collect()
}

/// The linear-time form in f64: prefix sums of φ(k) and φ(k)·vᵀ, corrected where `support(head, query, key)` holds.
fn scatterbrain(
    given: &Given,
    pairs: usize,
    temperature: f64,
    support: impl Fn(usize, usize, usize) -> bool,
) -> Vec<f64> {
    let [_, heads, tokens, width] = given.q.shape[..] else { panic!("[1,H,Q,D]") };
    let factor = (temperature * f64::from(given.scale)).sqrt();
    let folded = |array: &Array, index: usize| -> Vec<f64> { row(array, index).iter().map(|x| x * factor).collect() };
    let mut z = Vec::new();
    for head in 0..heads {
        let (mut values, mut ones) = (vec![vec![0.0; width]; 2 * pairs], vec![0.0; 2 * pairs]);
        for t in 0..tokens {
            let at = head * tokens + t;
            let (q, phi_k) = (folded(&given.q, at), features(&folded(&given.k, at), &given.inputs[0], pairs));
            let v = row(&given.v, at);
            for (feature, weight) in phi_k.iter().enumerate() {
                ones[feature] += weight;
                values[feature].iter_mut().zip(&v).for_each(|(sum, v)| *sum += weight * v);
            }
            let phi_q = features(&q, &given.inputs[0], pairs);
            let mut sum = dot(&phi_q, &ones);
            let mut mixed: Vec<f64> =
                (0..width).map(|d| phi_q.iter().zip(&values).map(|(phi, row)| phi * row[d]).sum()).collect();
            for s in (0..=t).filter(|s| support(head, t, *s)) {
                let k = folded(&given.k, head * tokens + s);
                let delta = dot(&q, &k).exp() - dot(&phi_q, &features(&k, &given.inputs[0], pairs));
                sum += delta;
                mixed.iter_mut().zip(row(&given.v, head * tokens + s)).for_each(|(mixed, v)| *mixed += delta * v);
            }
            z.extend(mixed.iter().map(|mixed| mixed / sum));
        }
    }
    z
}

/// Paper 56, check (a): the entry-wise form is the linear-time form, with a support and without one (Performer).
#[test]
fn entries_are_the_linear_time_form() {
    for (support, window, temperature) in [("local", 5, 1.0), ("local", 1, 2.0), ("none", 0, 1.0)] {
        let stack = stack(
            "scatterbrain",
            &[
                ("support", word(support)),
                ("window", Plain::Number(f64::from(window.max(1)))),
                ("temperature", Plain::Number(temperature)),
            ],
        );
        let given = given(&stack, [2, 40, 8], 5);
        let came = run(&stack, &given);
        let off = deviation(&came.z.data, &scatterbrain(&given, 16, temperature, |_, t, s| t - s < window as usize));
        assert!(off < 1e-4, "{support} {window}: {off}");
    }
    // Pairs that share a bucket of eight in one of two hashes: the largest of four products with either sign.
    let values = [("support", word("lsh")), ("buckets", Plain::Number(8.0)), ("rounds", Plain::Number(2.0))];
    let stack = stack("scatterbrain", &values);
    let given = given(&stack, [2, 40, 8], 5);
    let bucket = |array: &Array, index: usize, round: usize| {
        let sums: Vec<f64> =
            (0..4).map(|at| dot(&row(array, index), &row(&given.inputs[2], round * 32 + at))).collect();
        let all: Vec<f64> = sums.iter().copied().chain(sums.iter().map(|sum| -sum)).collect();
        (0..8).max_by(|a, b| all[*a].total_cmp(&all[*b]))
    };
    let support = |head: usize, t: usize, s: usize| {
        (0..2).any(|round| bucket(&given.q, head * 40 + t, round) == bucket(&given.k, head * 40 + s, round))
    };
    let pairs = || (0..40).flat_map(|t| (0..=t).map(move |s| (t, s)));
    let exact = pairs().filter(|(t, s)| support(0, *t, *s)).count();
    assert!((100..400).contains(&exact), "{exact} of 820");
    let off = deviation(&run(&stack, &given).z.data, &scatterbrain(&given, 16, 1.0, support));
    assert!(off < 1e-4, "lsh: {off}");
}

/// Estimates of exp(q·k) for one pair outside the support, over seeds: the weight of key 0 over that of key 1, which is
/// exact in a window of one.
fn estimates(features: f64, seeds: u64) -> (Vec<f64>, f64) {
    let stack = stack(
        "scatterbrain",
        &[("window", Plain::Number(1.0)), ("features", Plain::Number(features)), ("orthogonal", Plain::Flag(false))],
    );
    let unit = |name: &str| {
        let mut values = normal(8, 1.0, name, 0, 0);
        let size = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.iter_mut().for_each(|value| *value /= size);
        values
    };
    let (q, k) = (unit("pair.q"), unit("pair.k"));
    let array = |first: &[f32], second: &[f32]| Array { shape: vec![1, 1, 2, 8], data: [first, second].concat() };
    let exact = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>().exp();
    let mut given = given(&stack, [1, 2, 8], 0);
    (given.q, given.k, given.scale) = (array(&q, &q), array(&k, &q), 1.0);
    let estimate = |seed: u64| {
        given.inputs = default_inputs(&stack, 0, 1, 1, 8, seed);
        let pattern = run(&stack, &given).pattern.data;
        f64::from(pattern[2]) / f64::from(pattern[3]) * exact(&q, &q)
    };
    ((0..seeds).map(estimate).collect(), exact(&q, &k))
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64)
}

/// Paper 56, check (b): features are unbiased, and four times as many have a quarter of the variance.
#[test]
fn features_are_unbiased_and_their_variance_falls() {
    let (few, exact) = estimates(16.0, 2000);
    let (mean, variance) = mean_and_variance(&few);
    let error = (variance / few.len() as f64).sqrt();
    assert!((mean - exact).abs() < 3.0 * error, "{mean} instead of {exact}, standard error {error}");
    let (_, less) = mean_and_variance(&estimates(64.0, 2000).0);
    let ratio = variance / less;
    assert!((2.6..5.4).contains(&ratio), "{ratio}");
}

/// Paper 56, check (c): 16 clusters of 256 points, exact scores times 0.5, 1, 2, 4 and 8; relative error of the map for the
/// support alone, the features alone, and both, the mean of five seeds; for 8 buckets in 4 rounds, and for 16 in 2.
pub(super) fn regimes() -> Numbers {
    let mut numbers = Numbers::new();
    for (buckets, rounds) in [(8.0, 4.0), (16.0, 2.0)] {
        for (name, support, features) in [("sparse", "lsh", 0.0), ("low rank", "none", 32.0), ("combined", "lsh", 32.0)]
        {
            let errors = SCALES.map(|scale| {
                (0..5).map(|seed| regime_error(support, features, scale, [buckets, rounds], seed)).sum::<f64>() as f32
                    / 5.0
            });
            numbers.insert(format!("{buckets} buckets, {rounds} rounds, {name}"), errors.to_vec());
        }
    }
    numbers
}

/// Factors on the scores.
const SCALES: [f32; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];

fn regime_error(support: &str, features: f64, scale: f32, [buckets, rounds]: [f64; 2], seed: u64) -> f64 {
    let (tokens, width) = (256, 16);
    let centres = normal(16 * width, 1.0, "centres", 0, seed);
    let points = normal(tokens * width, 0.4, "points", 0, seed);
    let side = |name: &str| {
        let noise = normal(tokens * width, 0.2, name, 0, seed);
        let mut data = Vec::new();
        for token in 0..tokens {
            // Clusters stand in no order.
            let centre = (token * 7 + token / 16) % 16;
            let x: Vec<f32> = (0..width)
                .map(|d| centres[centre * width + d] + points[token * width + d] + noise[token * width + d])
                .collect();
            let size = x.iter().map(|x| x * x).sum::<f32>().sqrt() / scale.sqrt();
            data.extend(x.iter().map(|x| x / size));
        }
        Array { shape: vec![1, 1, tokens, width], data }
    };
    let values = [
        ("support", word(support)),
        ("features", Plain::Number(features)),
        ("buckets", Plain::Number(buckets)),
        ("rounds", Plain::Number(rounds)),
    ];
    let estimated = stack("scatterbrain", &values);
    let mut given = given(&estimated, [1, tokens, width], seed);
    (given.q, given.k, given.scale) = (side("side.q"), side("side.k"), 1.0);
    let came = run(&estimated, &given).pattern.data;
    let softmax = stack("softmax", &[]);
    let exact = run(&softmax, &Given { inputs: Vec::new(), ..given }).pattern.data;
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    square(&mut came.iter().zip(&exact).map(|(a, b)| a - b)) / square(&mut exact.iter().copied())
}
