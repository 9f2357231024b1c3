//! Composition scores against plain matrix products, random heads and a planted channel.

use super::instruments::models;
use attnscope::experiment::Head;
use attnscope::hook::Array;
use attnscope::lens::composition::{Composition, Score};
use attnscope::model::config::Norm;
use attnscope::model::{Config, Weights};

/// Columns or rows of one head as plain rows.
fn columns(w: &Array, head: usize, d: usize) -> Vec<Vec<f64>> {
    let width = w.shape[1];
    w.data.chunks(width).map(|row| row[head * d..(head + 1) * d].iter().map(|x| f64::from(*x)).collect()).collect()
}

pub fn times(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let cell = |row: &Vec<f64>, column: usize| row.iter().zip(b).map(|(x, other)| x * other[column]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|column| cell(row, column)).collect()).collect()
}

pub fn turned(a: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..a[0].len()).map(|column| a.iter().map(|row| row[column]).collect()).collect()
}

pub fn norm(a: &[Vec<f64>]) -> f64 {
    a.iter().flatten().map(|x| x * x).sum::<f64>().sqrt()
}

/// Whole `[M,M]` matrices, as the definition writes them: OV of the writer, QK and OV of the reader.
pub fn by_hand_parts(config: &Config, weights: &Weights, writer: Head, reader: Head) -> [Vec<Vec<f64>>; 3] {
    let d = config.head_width;
    let group = config.heads / config.kv_heads;
    let reads = |head: Head, name: &str, own: usize| {
        let gain = weights.get(&format!("blocks.{}.ln1.w", head.layer)).unwrap();
        let mut w = columns(weights.get(&format!("blocks.{}.attn.{name}", head.layer)).unwrap(), own, d);
        w.iter_mut().zip(&gain.data).for_each(|(row, gain)| row.iter_mut().for_each(|x| *x *= f64::from(*gain)));
        if config.norm == Norm::Layer {
            for column in 0..d {
                let mean = w.iter().map(|row| row[column]).sum::<f64>() / w.len() as f64;
                w.iter_mut().for_each(|row| row[column] -= mean);
            }
        }
        w
    };
    let writes = |head: Head| {
        let w = weights.get(&format!("blocks.{}.attn.w_o", head.layer)).unwrap();
        let own = w.data[head.head * d * config.width..(head.head + 1) * d * config.width].chunks(config.width);
        let plain = own.map(|row| row.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
        let centre = |row: Vec<f64>| {
            let mean = if config.norm == Norm::Layer { row.iter().sum::<f64>() / row.len() as f64 } else { 0.0 };
            row.into_iter().map(|x| x - mean).collect::<Vec<f64>>()
        };
        plain.map(centre).collect::<Vec<_>>()
    };
    let ov = |head: Head| times(&reads(head, "w_v", head.head / group), &writes(head));
    let qk = times(&reads(reader, "w_q", reader.head), &turned(&reads(reader, "w_k", reader.head / group)));
    [ov(writer), qk, ov(reader)]
}

/// Scores by them.
fn by_hand(config: &Config, weights: &Weights, writer: Head, reader: Head) -> [f64; 3] {
    let [a, qk, b] = by_hand_parts(config, weights, writer, reader);
    let score = |other: &[Vec<f64>]| norm(&times(&a, other)) / (norm(&a) * norm(other));
    [score(&qk), score(&turned(&qk)), score(&b)]
}

#[test]
fn scores_are_those_of_the_whole_matrices() {
    for (name, config, weights) in models() {
        let composition = Composition::new(&config, &weights).unwrap();
        for (writer, reader) in [((0, 1), (1, 2)), ((0, 3), (2, 0)), ((1, 0), (2, 3))] {
            let head = |(layer, head)| Head { layer, head };
            let Score { q, k, v } = composition.score(head(writer), head(reader)).unwrap();
            for (came, expected) in [q, k, v].into_iter().zip(by_hand(&config, &weights, head(writer), head(reader))) {
                assert!((f64::from(came) - expected).abs() < 1e-5 * expected, "{name}: {came} is not {expected}");
            }
        }
        assert_eq!(composition.score(Head { layer: 1, head: 0 }, Head { layer: 1, head: 1 }), None);
        assert_eq!(composition.score(Head { layer: 0, head: 9 }, Head { layer: 1, head: 1 }), None);
    }
}

/// Paper 1, check 3: random heads of width 16 in a model of width 128 score 0.088 ± 0.005.
#[test]
fn random_heads_score_the_baseline() {
    let config = Config::llama(50, 128, 2, 8, 8, 64);
    let composition = Composition::new(&config, &Weights::init(&config, 3)).unwrap();
    let pairs = (0..8).flat_map(|a| (0..8).map(move |b| (Head { layer: 0, head: a }, Head { layer: 1, head: b })));
    let scores: Vec<Score> = pairs.map(|(a, b)| composition.score(a, b).unwrap()).collect();
    for read in [|score: &Score| score.q, |score: &Score| score.k, |score: &Score| score.v] {
        let mean = scores.iter().map(read).sum::<f32>() / scores.len() as f32;
        assert!((mean - composition.baseline()).abs() < 5e-3, "{mean} is not {}", composition.baseline());
    }
    assert!((composition.baseline() - 0.0884).abs() < 1e-4);
}

/// A reader whose queries listen to exactly what one head writes stands out among all writers.
#[test]
fn a_planted_channel_is_found() {
    let config = Config::llama(50, 128, 2, 8, 8, 64);
    let mut weights = Weights::init(&config, 4);
    let (d, width) = (config.head_width, config.width);
    let writer = weights.get("blocks.0.attn.w_o").unwrap().data[5 * d * width..6 * d * width].to_vec();
    let w_q = weights.0.get_mut("blocks.1.attn.w_q").unwrap();
    let columns = w_q.shape[1];
    for row in 0..width {
        for column in 0..d {
            w_q.data[row * columns + 2 * d + column] = writer[column * width + row];
        }
    }
    let composition = Composition::new(&config, &weights).unwrap();
    let reader = Head { layer: 1, head: 2 };
    let q = |head| composition.score(Head { layer: 0, head }, reader).unwrap().q;
    let mut others: Vec<f32> = (0..8).filter(|head| *head != 5).map(q).collect();
    others.sort_by(f32::total_cmp);
    assert!(q(5) > 2.0 * others[3], "{} beside {others:?}", q(5));
    assert!(q(5) > *others.last().unwrap());
}
