//! Normalizers of the papers: each rule written out a second time in plain f64 loops, and the checks of its specification.

use super::synthetic::Numbers;
use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::mechanism::Stack;
use attnscope::model::attention::normal;
use attnscope::model::step::{Applied, Given, apply};

fn noise(name: &str, shape: &[usize], deviation: f32) -> Array {
    Array::new(shape, normal(shape.iter().product(), deviation, name, 0, 0)).unwrap()
}

fn given(heads: usize, tokens: usize, width: usize) -> Given {
    let shape = [1, heads, tokens, width];
    let (q, k, v) = (noise("q", &shape, 1.0), noise("k", &shape, 1.0), noise("v", &shape, 1.0));
    Given { q, k, v, scale: 1.0 / (width as f32).sqrt(), first_query: 0, layer: 0, layers: 1, inputs: Vec::new() }
}

fn run(chips: &[Chip], given: &Given) -> Applied {
    apply(&Stack::new("a", chips).unwrap(), given).unwrap()
}

fn softplus_chip(operator: &str) -> Chip {
    Chip::new("softplus_reweighting").with("operator", operator)
}

fn close(came: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(came.len(), expected.len());
    for (index, (came, expected)) in came.iter().zip(expected).enumerate() {
        assert!((came - expected).abs() <= tolerance, "at {index}: {came} is not {expected} within {tolerance}");
    }
}

/// Row sums of a pattern.
fn sums(applied: &Applied) -> Vec<f32> {
    let keys = *applied.pattern.shape.last().unwrap();
    applied.pattern.data.chunks(keys).map(|row| row.iter().sum()).collect()
}

/// Paper 68 in f64: cosines of one row over its keys → weights. `shift` is O where more than three keys are seen.
fn reweighted(cosines: &[f64], scale: f64, power: i32, shift: f64) -> Vec<f64> {
    let n = cosines.len() as f64;
    let b: Vec<f64> = cosines.iter().map(|cos| (1.0 + (scale * cos).exp()).ln()).collect();
    let sum: f64 = b.iter().sum();
    let o = if cosines.len() > 3 { shift } else { 0.0 };
    let e: Vec<f64> = b.iter().map(|b| (n * b / sum - o).max(0.0).powi(power)).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

fn row(array: &Array, index: usize, width: usize) -> Vec<f64> {
    array.data[index * width..(index + 1) * width].iter().map(|value| f64::from(*value)).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Paper 68, definition, undivided in f64, for p = 3 (check (a): the division by the row's largest changes nothing).
#[test]
fn reweighted_rows_are_those_of_the_formula() {
    let (tokens, width) = (40, 16);
    let given = given(1, tokens, width);
    for (power, shift) in [(1, 1.0), (3, 1.0), (3, 0.0), (15, 1.0)] {
        let chip = softplus_chip("lssar").with("power", f64::from(power)).with("shift", shift == 1.0);
        let came = run(&[chip], &given).pattern;
        for query in 0..tokens {
            let q = row(&given.q, query, width);
            let cosines: Vec<f64> = (0..=query).map(|key| cosine(&q, &row(&given.k, key, width))).collect();
            let scale = (width as f64).ln() * (cosines.len() as f64).ln();
            let expected: Vec<f32> = reweighted(&cosines, scale, power, shift).iter().map(|w| *w as f32).collect();
            close(&came.data[query * tokens..=query * tokens + query], &expected, 1e-5);
        }
    }
}

/// Paper 68, check (a): p = 1 without the shift returns A of LSSA; row 1 is exactly one.
#[test]
fn a_power_of_one_without_shift_changes_nothing() {
    let given = given(2, 20, 8);
    let plain = run(&[softplus_chip("lssa")], &given).pattern;
    let chip = softplus_chip("lssar").with("power", 1.0).with("shift", false);
    let same = run(&[chip], &given).pattern;
    close(&same.data, &plain.data, 1e-6);
    assert_eq!(run(&[softplus_chip("lssar")], &given).pattern.data[0], 1.0);
    let shifted = run(&[softplus_chip("lssar").with("power", 1.0)], &given).pattern;
    assert!(
        shifted.data.iter().zip(&plain.data).any(|(a, b)| (a - b).abs() > 0.05),
        "check (d): the shift changes rows"
    );
}

/// One query that looks along the first axis; keys with these cosines to it.
fn with_cosines(cosines: &[f32]) -> Given {
    let keys = cosines.iter().flat_map(|cos| [*cos, (1.0 - cos * cos).max(0.0).sqrt()]).collect();
    let n = cosines.len();
    let (k, v) = (Array::new([1, 1, n, 2], keys).unwrap(), noise("v", &[1, 1, n, 2], 1.0));
    let q = Array::new([1, 1, 1, 2], vec![1.0, 0.0]).unwrap();
    Given { q, k, v, scale: 0.5f32.sqrt(), first_query: n - 1, layer: 0, layers: 1, inputs: Vec::new() }
}

/// Paper 68, check (a): p = 15 at N = 4096 with one cosine of 1 and the rest -1 stays finite; nearly equal keys still give
/// rows that sum to one, where the undivided form with 1e-8 gives about nothing.
#[test]
fn long_and_flat_rows_stay_whole() {
    let mut cosines = vec![-1.0; 4096];
    cosines[1000] = 1.0;
    let came = run(&[softplus_chip("lssar")], &with_cosines(&cosines));
    assert!((came.pattern.data[1000] - 1.0).abs() < 1e-5 && came.pattern.data.iter().all(|weight| weight.is_finite()));

    let cosines: Vec<f32> = (0..40).map(|index| 0.5 + 0.0004 * index as f32).collect();
    let given = with_cosines(&cosines);
    let came = run(&[softplus_chip("lssar")], &given);
    close(&sums(&came), &[1.0], 1e-5);
    let a = run(&[softplus_chip("lssa")], &given).pattern.data;
    let e: Vec<f64> = a.iter().map(|a| (40.0 * f64::from(*a) - 1.0).max(0.0)).collect();
    let largest = e.iter().copied().fold(0.0, f64::max);
    let undivided: f64 = e.iter().map(|e| e.powi(15)).sum();
    assert!((0.005..0.05).contains(&largest) && undivided / (undivided + 1e-8) < 1e-3, "{largest} {undivided}");
    // All equal: nothing is above average, and the row keeps A.
    close(&run(&[softplus_chip("lssar")], &with_cosines(&[0.5; 10])).pattern.data, &[0.1; 10], 1e-6);
}

/// Paper 68, check (b): LSSAR does not see the length of queries and keys; softmax does.
#[test]
fn only_directions_count() {
    let given = given(2, 20, 8);
    let louder = |array: &Array| Array { data: array.data.iter().map(|value| value * 10.0).collect(), ..array.clone() };
    let loud = Given { q: louder(&given.q), ..given.clone() };
    let z = |operator: &str, given: &Given| run(&[softplus_chip(operator)], given).z.data;
    for operator in ["lssa", "lssar"] {
        close(&z(operator, &loud), &z(operator, &given), 1e-5);
        close(&z(operator, &Given { k: louder(&given.k), ..given.clone() }), &z(operator, &given), 1e-5);
    }
    assert!(z("softmax", &loud).iter().zip(z("softmax", &given)).any(|(a, b)| (a - b).abs() > 0.1));
}

/// Paper 68, check (b): at p = 60 and N = 16 a row is its largest key when that is 1.2 times the next.
#[test]
fn a_high_power_leaves_the_largest() {
    let mut cosines = vec![-0.8f32; 16];
    (cosines[3], cosines[9]) = (0.9, 0.6);
    let given = with_cosines(&cosines);
    let a = run(&[softplus_chip("lssa")], &given).pattern.data;
    let e = |index: usize| 16.0 * a[index] - 1.0;
    assert!(e(3) / e(9) >= 1.2, "{}", e(3) / e(9));
    assert!(run(&[softplus_chip("lssar").with("power", 60.0)], &given).pattern.data[3] > 0.999);
}

/// Paper 68, check (d): the shift makes between 0.3 and 0.8 of the weights exactly zero, its absence none.
#[test]
fn the_shift_makes_exact_zeros() {
    let given = given(2, 64, 16);
    let zeros = |chip: Chip| {
        let pattern = run(&[chip], &given).pattern;
        let causal = pattern.data.chunks(64).enumerate().flat_map(|(row, weights)| weights[..=row % 64].to_vec());
        let (zeros, all) = causal.fold((0, 0), |(zeros, all), weight| (zeros + usize::from(weight == 0.0), all + 1));
        zeros as f32 / all as f32
    };
    let with = zeros(softplus_chip("lssar").with("power", 3.0));
    assert!((0.3..0.8).contains(&with), "{with}");
    assert_eq!(zeros(softplus_chip("lssar").with("power", 3.0).with("shift", false)), 0.0);
}

/// The number of keys is that of the row: under a window of four, every row of LSSAR is the row of a text of four.
#[test]
fn masks_change_the_number_of_keys() {
    let full = given(1, 30, 8);
    let window = Chip::new("streaming_window").with("sinks", 0.0).with("window", 4.0);
    let came = run(&[window, softplus_chip("lssar").with("power", 2.0)], &full).pattern;
    for query in 3..30 {
        let q = row(&full.q, query, 8);
        let cosines: Vec<f64> = (query - 3..=query).map(|key| cosine(&q, &row(&full.k, key, 8))).collect();
        let expected = reweighted(&cosines, 8f64.ln() * 4f64.ln(), 2, 1.0);
        let expected: Vec<f32> = expected.iter().map(|w| *w as f32).collect();
        close(&came.data[query * 30 + query - 3..=query * 30 + query], &expected, 1e-5);
    }
}

/// Paper 68, check (c): the weight on a planted key among 128, 512, 2048 and 8192 keys. D = 64, Gaussian keys, 20 queries
/// each with one key = q + 0.3 noise; and with a weak one, 0.5 q + 0.87 noise, among 128 and 8192.
pub(super) fn sharpness_against_length() -> Numbers {
    let width = 64;
    let planted = |n: usize, own: f32, other: f32, chip: &Chip| -> f32 {
        let mean = (0..20u64).map(|seed| {
            let draw = |name: &str, count: usize| normal(count * width, 1.0, name, n, seed);
            let (q, mut keys, noise) = (draw("q", 1), draw("k", n), draw("noise", 1));
            for d in 0..width {
                keys[d] = own * q[d] + other * noise[d];
            }
            let array = |rows: usize, data: Vec<f32>| Array::new([1, 1, rows, width], data).unwrap();
            let (k, v) = (array(n, keys), array(n, vec![0.0; n * width]));
            let q = array(1, q);
            let scale = 1.0 / (width as f32).sqrt();
            let given = Given { q, k, v, scale, first_query: n - 1, layer: 0, layers: 1, inputs: Vec::new() };
            run(std::slice::from_ref(chip), &given).pattern.data[0]
        });
        mean.sum::<f32>() / 20.0
    };
    let lssar = |power: f64| softplus_chip("lssar").with("power", power);
    let (softmax, sharp) = (softplus_chip("softmax"), lssar(15.0));
    let strong = [("softmax", &softmax), ("lssa", &softplus_chip("lssa")), ("p = 3", &lssar(3.0)), ("p = 15", &sharp)]
        .map(|(name, chip)| (name.into(), [128, 512, 2048, 8192].map(|n| planted(n, 1.0, 0.3, chip)).to_vec()));
    let weak = [("weak key, softmax", &softmax), ("weak key, p = 15", &sharp)]
        .map(|(name, chip)| (name.into(), [128, 8192].map(|n| planted(n, 0.5, 0.87, chip)).to_vec()));
    strong.into_iter().chain(weak).collect()
}

/// Paper 52, kernel form, in plain f64 loops: products of features, with the two ways to divide a row.
#[test]
fn feature_similarities_are_those_of_the_formula() {
    let (tokens, width) = (9, 4);
    let (w_in, w_out) = (noise("w_in", &[width, width], 1.0), noise("w_out", &[width, width], 1.0));
    let given = Given { inputs: vec![w_in.clone(), w_out.clone()], ..given(1, tokens, width) };
    let times = |w: &Array, x: &[f64]| -> Vec<f64> {
        (0..width).map(|e| row(w, e, width).iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    };
    let elu = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| if *x > 0.0 { x + 1.0 } else { x.exp() }).collect() };
    let mlp = |x: &[f64]| -> Vec<f64> {
        let hidden: Vec<f64> = times(&w_in, x).iter().map(|x| x.max(0.0)).collect();
        times(&w_out, &hidden).iter().map(|x| x * 2f64.sqrt() / width as f64).collect()
    };
    let identity = |x: &[f64]| x.to_vec();
    type Features<'a> = &'a dyn Fn(&[f64]) -> Vec<f64>;
    let forms: [(&str, Features<'_>); 3] = [("linear", &identity), ("elu", &elu), ("mlp", &mlp)];
    for (name, f) in forms {
        let plain = run(&[Chip::new("feature_similarity").with("operator", name)], &given).pattern.data;
        let chip = Chip::new("feature_similarity").with("operator", format!("{name}_normalised").as_str());
        let divided = run(&[chip], &given).pattern.data;
        for query in 0..tokens {
            let q = f(&row(&given.q, query, width));
            let product = |key: usize| q.iter().zip(f(&row(&given.k, key, width))).map(|(a, b)| a * b).sum::<f64>();
            let x: Vec<f64> = (0..=query).map(|key| 0.5 * product(key)).collect();
            let sum: f64 = x.iter().sum();
            let by = if name == "elu" { sum + 1e-8 } else { sum.abs().max(1.0) };
            let at = query * tokens..=query * tokens + query;
            close(&plain[at.clone()], &x.iter().map(|x| *x as f32).collect::<Vec<_>>(), 1e-4);
            close(&divided[at], &x.iter().map(|x| (x / by) as f32).collect::<Vec<_>>(), 1e-4);
        }
    }
}

/// A bias on the scores comes along: the similarity of features takes the place of q·k and of nothing else.
#[test]
fn mods_on_scores_come_along() {
    let given = Given { inputs: vec![noise("a", &[4, 4], 1.0), noise("b", &[4, 4], 1.0)], ..given(1, 6, 4) };
    for operator in ["linear", "elu", "mlp"] {
        let chip = || Chip::new("feature_similarity").with("operator", operator);
        let alone = run(&[chip()], &given).pattern;
        let both = run(&[Chip::new("alibi"), chip()], &given).pattern;
        for (index, (with, without)) in both.data.iter().zip(&alone.data).enumerate() {
            let (query, key) = (index / 6, index % 6);
            let penalty = if key <= query { (query - key) as f32 / 256.0 } else { 0.0 };
            assert!((without - with - penalty).abs() < 1e-5, "{operator} at {query}, {key}: {with} and {without}");
        }
    }
}
