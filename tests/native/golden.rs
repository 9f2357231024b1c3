//! Layer `golden`: numbers that stand in papers, and mechanisms recomputed from their formulas in plain f64 loops.

mod outside;

use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::lens::Patterns;
use attnscope::lens::sinks::{Sinks, importance};
use attnscope::mechanism::{MASKED, Stack};
use attnscope::model::attention::normal;
use attnscope::model::step::{Applied, Given, apply};

const OPERATORS: &str = "attention_sink_operators";

fn array(shape: &[usize], data: Vec<f32>) -> Array {
    Array::new(shape, data).unwrap()
}

fn noise(name: &str, shape: &[usize]) -> Array {
    array(shape, normal(shape.iter().product(), 1.0, name, 0, 0))
}

/// One sequence of seeded noise.
fn given(heads: usize, tokens: usize, width: usize, inputs: Vec<Array>) -> Given {
    let shape = [1, heads, tokens, width];
    let scale = 1.0 / (width as f32).sqrt();
    Given {
        q: noise("q", &shape),
        k: noise("k", &shape),
        v: noise("v", &shape),
        scale,
        first_query: 0,
        layer: 0,
        layers: 1,
        inputs,
    }
}

/// One head whose scores are these, the same for every query.
fn given_scores(scores: &[f32], inputs: Vec<Array>) -> Given {
    let shape = [1, 1, scores.len(), 1];
    let (q, v) = (array(&shape, vec![1.0; scores.len()]), noise("v", &shape));
    Given { q, k: array(&shape, scores.to_vec()), v, scale: 1.0, first_query: 0, layer: 0, layers: 1, inputs }
}

fn run(chip: Chip, given: &Given) -> Applied {
    apply(&Stack::new("a", &[chip]).unwrap(), given).unwrap()
}

fn operator(word: &str) -> Chip {
    Chip::new(OPERATORS).with("operator", word)
}

fn no_bias(heads: usize, width: usize) -> Vec<Array> {
    vec![array(&[heads, width], vec![0.0; heads * width]); 2]
}

fn close(came: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(came.len(), expected.len());
    for (index, (came, expected)) in came.iter().zip(expected).enumerate() {
        assert!((came - expected).abs() <= tolerance, "at {index}: {came} is not {expected} within {tolerance}");
    }
}

/// Softmax attention of one sequence in f64 with keys and values in front that every query sees: the concatenated form of
/// the key biases. → weights over extra and ordinary keys [H][Q][E+K], and z [H,Q,D].
fn concatenated(given: &Given, extra: &[(Vec<f64>, Vec<f64>)]) -> (Vec<Vec<Vec<f64>>>, Vec<f32>) {
    let [_, heads, tokens, width] = given.q.shape[..] else { panic!("[1,H,Q,D]") };
    let row = |array: &Array, head: usize, at: usize| -> Vec<f64> {
        let start = (head * tokens + at) * width;
        array.data[start..start + width].iter().map(|value| f64::from(*value)).collect()
    };
    let (mut weights, mut mixed) = (vec![Vec::new(); heads], Vec::new());
    for (head, rows) in weights.iter_mut().enumerate() {
        for query in 0..tokens {
            let q = row(&given.q, head, query);
            let own = (0..=query).map(|key| (row(&given.k, head, key), row(&given.v, head, key)));
            let pairs: Vec<_> = extra.iter().cloned().chain(own).collect();
            let score = |k: &[f64]| q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() * f64::from(given.scale);
            let e: Vec<f64> = pairs.iter().map(|(k, _)| score(k).exp()).collect();
            let sum: f64 = e.iter().sum();
            let row: Vec<f64> = e.iter().map(|e| e / sum).collect();
            mixed.extend((0..width).map(|d| row.iter().zip(&pairs).map(|(w, (_, v))| w * v[d]).sum::<f64>() as f32));
            rows.push(row);
        }
    }
    (weights, mixed)
}

/// Paper 52, check (a): every row looks at the first token.
#[test]
fn one_bright_column_is_a_sink_and_nothing_else_is() {
    let rows = [1.0, 0.0, 0.0, 0.0].repeat(4);
    assert_eq!(importance(4, &rows), [1.0, 0.0, 0.0, 0.0]);
    let weights = array(&[1, 1, 4, 4], rows);
    let sinks = Sinks::new(&Patterns::new(&weights, None, None).unwrap());
    let rates: Vec<f32> = (0..4).map(|position| sinks.rate(position, 0.3)).collect();
    assert_eq!(rates, [1.0, 0.0, 0.0, 0.0]);
}

/// Paper 52, check (a): even causal rows of 64 tokens give H_64 / 64 = 0.0741 at the first token (H_64 = 4.74389…), which
/// is no sink at the paper's ε = 0.3; the divisor of position k is T - k + 1, so the last one holds 1/64 and not 1/4096.
#[test]
fn even_rows_have_the_importance_of_the_harmonic_number() {
    let even = |(query, key): (usize, usize)| if key <= query { 1.0 / (query + 1) as f32 } else { 0.0 };
    let rows: Vec<f32> = (0..64).flat_map(|query| (0..64).map(move |key| (query, key))).map(even).collect();
    let alpha = importance(64, &rows);
    assert!((alpha[0] - 0.0741).abs() < 5e-5, "{}", alpha[0]);
    assert!((alpha[63] - 1.0 / 64.0).abs() < 1e-7, "{}", alpha[63]);
    let weights = array(&[1, 1, 64, 64], rows);
    assert_eq!(Sinks::new(&Patterns::new(&weights, None, None).unwrap()).rate(0, 0.3), 0.0);
}

/// Paper 52, check (b): a key bias of zero is softmax with one more logit of zero, the concatenated key.
#[test]
fn a_key_bias_of_zero_is_one_more_zero_logit() {
    let given = given(2, 9, 4, no_bias(2, 4));
    let came = run(operator("key_bias"), &given);
    let (weights, z) = concatenated(&given, &[(vec![0.0; 4], vec![0.0; 4])]);
    close(&came.z.data, &z, 1e-6);
    let slot = came.slot.unwrap();
    for (head, rows) in weights.iter().enumerate() {
        for (query, row) in rows.iter().enumerate() {
            let at = head * 9 + query;
            assert!((f64::from(slot.data[at]) - row[0]).abs() < 1e-6);
            let keys: Vec<f32> = row[1..].iter().map(|weight| *weight as f32).collect();
            close(&came.pattern.data[at * 9..at * 9 + keys.len()], &keys, 1e-6);
        }
    }
}

/// Paper 52, check (b): the fused form equals a concatenated key k* with value v* to 1e-5.
#[test]
fn a_key_value_bias_is_a_concatenated_key_and_value() {
    let (k_star, v_star) = (noise("k_star", &[1, 8]), noise("v_star", &[1, 8]));
    let extra = |array: &Array| array.data.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
    let pair = (extra(&k_star), extra(&v_star));
    let given = given(1, 12, 8, vec![k_star, v_star]);
    let (_, z) = concatenated(&given, &[pair]);
    close(&run(operator("key_value_bias"), &given).z.data, &z, 1e-5);
}

/// The value bias adds v* to plain softmax attention.
#[test]
fn a_value_bias_is_added_once() {
    let v_star = noise("v_star", &[1, 8]);
    let given = given(1, 12, 8, vec![array(&[1, 8], vec![0.0; 8]), v_star.clone()]);
    let (_, z) = concatenated(&given, &[]);
    let expected: Vec<f32> = z.iter().zip(v_star.data.iter().cycle()).map(|(z, v)| z + v).collect();
    close(&run(operator("value_bias"), &given).z.data, &expected, 1e-5);
}

/// The shared bias is that of head 0.
#[test]
fn shared_heads_use_the_first_bias() {
    let (k_star, v_star) = (noise("k_star", &[2, 4]), noise("v_star", &[2, 4]));
    let first = |array: &Array| self::array(&[2, 4], array.data[..4].repeat(2));
    let separate = given(2, 5, 4, vec![first(&k_star), first(&v_star)]);
    let shared = Given { inputs: vec![k_star, v_star], ..separate.clone() };
    let chip = || operator("key_value_bias");
    assert_ne!(run(chip(), &shared).z, run(chip(), &separate).z);
    assert_eq!(run(chip().with("head_shared", true), &shared).z, run(chip(), &separate).z);
}

/// Paper 52, section 7, by hand: σ(0) = 1/2, σ(ln 3) = 3/4; elu(-ln 2) + 1 = 1/2, elu(2) + 1 = 3.
#[test]
fn similarities_have_their_values_by_hand() {
    let last_row = |word: &str, scores: &[f32]| {
        let came = run(operator(word), &given_scores(scores, no_bias(1, 1)));
        came.pattern.data[scores.len() * (scores.len() - 1)..].to_vec()
    };
    let three = 3f32.ln();
    close(&last_row("sigmoid", &[0.0, three, -three]), &[0.5, 0.75, 0.25], 1e-6);
    close(&last_row("sigmoid_normalised", &[0.0, three, -three]), &[1.0 / 3.0, 0.5, 1.0 / 6.0], 1e-6);
    let half = -(2f32.ln());
    close(&last_row("elu", &[0.0, half, 2.0]), &[1.0, 0.5, 3.0], 1e-6);
    close(&last_row("elu_normalised", &[0.0, half, 2.0]), &[1.0 / 4.5, 0.5 / 4.5, 3.0 / 4.5], 1e-6);
}

/// Paper 52, check (b): un-normalised rows do not sum to one (|sum - 1| > 0.05 somewhere).
#[test]
fn un_normalised_rows_do_not_sum_to_one() {
    for word in ["sigmoid", "elu"] {
        let came = run(operator(word), &given(2, 9, 4, no_bias(2, 4)));
        let worst = came.pattern.data.chunks(9).map(|row| (row.iter().sum::<f32>() - 1.0).abs()).fold(0.0, f32::max);
        assert!(worst > 0.05, "{word}: {worst}");
    }
}

/// Press, Smith, Lewis, section 3: for 8 heads the slopes are 1/2¹, 1/2², …, 1/2⁸; for 16 heads 1/2^0.5, 1/2¹, …, 1/2⁸.
#[test]
fn alibi_has_the_slopes_of_the_paper() {
    for (heads, first, ratio) in [(8, 0.5f32, 0.5f32), (16, 0.5f32.sqrt(), 0.5f32.sqrt())] {
        let zero = array(&[1, heads, 3, 4], vec![0.0; heads * 12]);
        let given = Given { q: zero.clone(), k: zero.clone(), v: zero, ..given(1, 3, 4, Vec::new()) };
        let scores = run(Chip::new("alibi"), &given).scores;
        let mut slope = first;
        for head in 0..heads {
            // Row 2 of each head: distances 2, 1, 0.
            close(&scores.data[head * 9 + 6..head * 9 + 9], &[-2.0 * slope, -slope, 0.0], 1e-6);
            slope *= ratio;
        }
        assert!((slope / ratio - 1.0 / 256.0).abs() < 1e-8, "the last slope is 1/2⁸");
    }
}

/// Paper 25, definition of the streaming mask, by hand: s = 1, w = 2 over five tokens.
#[test]
fn the_streaming_window_keeps_its_pairs() {
    let chip = Chip::new("streaming_window").with("sinks", 1.0).with("window", 2.0);
    let scores = run(chip, &given(1, 5, 4, Vec::new())).scores;
    let kept: Vec<String> = scores
        .data
        .chunks(5)
        .map(|row| row.iter().map(|score| if *score == MASKED { '.' } else { 'x' }).collect())
        .collect();
    assert_eq!(kept, ["x....", "xx...", "xxx..", "x.xx.", "x..xx"]);
}

/// Paper 25, check 1: with s + w ≥ n the mask drops nothing; one token fewer and it does.
#[test]
fn a_window_as_long_as_the_text_is_dense() {
    let given = given(2, 12, 4, Vec::new());
    let dense = run(Chip::new("softmax"), &given).z;
    let windowed = |window: f64| run(Chip::new("streaming_window").with("sinks", 4.0).with("window", window), &given).z;
    close(&windowed(8.0).data, &dense.data, 1e-5);
    assert_ne!(windowed(7.0), dense);
}

/// Miller, "Attention Is Off By One": one more zero logit; rows of equal scores s sum to n / (n + e^-s).
#[test]
fn off_by_one_leaves_weight_unspent() {
    let chip = Chip::new("softmax").with("off_by_one", true);
    let came = run(chip, &given_scores(&[0.0; 4], Vec::new()));
    let sums: Vec<f32> = came.pattern.data.chunks(4).map(|row| row.iter().sum()).collect();
    close(&sums, &[1.0 / 2.0, 2.0 / 3.0, 3.0 / 4.0, 4.0 / 5.0], 1e-6);
}
