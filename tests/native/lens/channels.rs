//! Channels of heads against whole matrices, and edits of them against edited weights.

use super::composing::{by_hand_parts, norm, times, turned};
use super::instruments::{TOKENS, models, plain};
use attnscope::experiment::Head;
use attnscope::lens::base::{Again, Base};
use attnscope::lens::causal::{Removal, without};
use attnscope::lens::channels::{Channel, Scaled};
use attnscope::lens::composition::Composition;
use attnscope::model::{Config, CpuModel, Weights};

const WRITER: Head = Head { layer: 0, head: 1 };
const READER: Head = Head { layer: 2, head: 2 };

/// Paper 1, check 1: singular values and directions are those of the whole matrix, and nothing of it is left out.
#[test]
fn channels_are_the_singular_directions_of_the_whole_matrix() {
    for (name, config, weights) in models() {
        let composition = Composition::new(&config, &weights).unwrap();
        let channels = composition.channels(WRITER);
        assert_eq!(channels.len(), config.head_width, "{name}");
        let [ov, qk, ov_b] = by_hand_parts(&config, &weights, WRITER, READER);
        let all: f64 = channels.iter().map(|channel| channel.size * channel.size).sum::<f64>().sqrt();
        assert!((all - norm(&ov)).abs() < 1e-5 * norm(&ov), "{name}: {all} is not {}", norm(&ov));
        for (index, channel) in channels.iter().enumerate() {
            let column: Vec<Vec<f64>> = channel.writes.iter().map(|x| vec![*x]).collect();
            let read = norm(&times(&ov, &column));
            assert!((read - channel.size).abs() < 1e-5 * norm(&ov), "{name}: channel {index} is {read}");
            for (other, also) in channels.iter().enumerate() {
                let along: f64 = channel.writes.iter().zip(&also.writes).map(|(x, y)| x * y).sum();
                let expected = if index == other { 1.0 } else { 0.0 };
                assert!((along - expected).abs() < 1e-6, "{name}: channels {index} and {other}: {along}");
            }
            let row = [channel.writes.clone()];
            let score = composition.hears(channel, READER);
            for (came, matrix) in [(score.q, &qk), (score.k, &turned(&qk)), (score.v, &ov_b)] {
                let expected = norm(&times(&row, matrix)) / norm(matrix);
                assert!((f64::from(came) - expected).abs() < 1e-5, "{name}: heard {came}, not {expected}");
            }
        }
    }
}

fn scaled(model: &CpuModel, rows: Vec<Vec<(&Channel, f64)>>) -> Vec<Vec<f32>> {
    let stack = plain();
    let base = Base::new(model, &stack, 0, &TOKENS, &[]).unwrap();
    let again = Again { model, stack: &stack, seed: 0, base: &base };
    let count = rows.len();
    let logits = again.from(0, count, None, |_, _| {}, &mut Scaled { head: WRITER, rows }).unwrap();
    (0..count).map(|row| logits.at(row).to_vec()).collect()
}

/// log-probabilities, so that what shifts all logits alike does not count.
fn worst(a: &[f32], b: &[f32], vocabulary: usize) -> f32 {
    let logs = |row: &[f32]| {
        let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        row.iter().map(|x| f64::from(*x) - sum.ln()).collect::<Vec<_>>()
    };
    let rows = a.chunks(vocabulary).zip(b.chunks(vocabulary));
    let apart =
        rows.flat_map(|(a, b)| logs(a).into_iter().zip(logs(b)).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>());
    apart.fold(0.0, f64::max) as f32
}

/// Paper 1, checks 1 and 2: at 1 nothing changes, all at 0 is the head taken out, and one channel at s is the edited output
/// projection, whose singular values are the same but for that one.
#[test]
fn an_edited_channel_is_an_edited_output_projection() {
    for (name, config, weights) in models() {
        let model = CpuModel::new(&config, &weights).unwrap();
        let composition = Composition::new(&config, &weights).unwrap();
        let channels = composition.channels(WRITER);
        let all = |scale: f64| channels.iter().map(|channel| (channel, scale)).collect::<Vec<_>>();
        let (second, scale) = (&channels[1], 2.5);
        let rows = scaled(&model, vec![all(1.0), all(0.0), vec![(second, scale)], vec![(second, 0.0)]]);
        let whole = Base::new(&model, &plain(), 0, &TOKENS, &[]).unwrap().logits.data;
        let vocabulary = config.vocabulary;
        assert!(worst(&rows[0], &whole, vocabulary) < 1e-5, "{name}: at 1 something changes");
        let mut silent = Vec::new();
        let sets = [vec![WRITER]];
        without(&model, &plain(), &TOKENS, &sets, Removal::Zero, 0, |_, logits| silent = logits.data.clone()).unwrap();
        assert!(worst(&rows[1], &silent, vocabulary) < 2e-4, "{name}: {}", worst(&rows[1], &silent, vocabulary));
        for (row, scale) in [(2, scale), (3, 0.0)] {
            let edited = edited(&config, &weights, second, scale);
            let again = Base::new(&CpuModel::new(&config, &edited).unwrap(), &plain(), 0, &TOKENS, &[]).unwrap();
            let apart = worst(&rows[row], &again.logits.data, vocabulary);
            assert!(apart < 5e-4, "{name}: at {scale} apart by {apart}");
            assert!(worst(&again.logits.data, &whole, vocabulary) > 1e-3, "{name}: the edit says nothing");
            let sizes = |channels: &[Channel]| channels.iter().map(|channel| channel.size).collect::<Vec<_>>();
            let mut expected = sizes(&channels);
            expected[1] *= scale;
            expected.sort_by(|a, b| b.total_cmp(a));
            let came = sizes(&Composition::new(&config, &edited).unwrap().channels(WRITER));
            for (came, expected) in came.iter().zip(&expected) {
                assert!((came - expected).abs() < 1e-4 * channels[0].size, "{name}: {came}, {expected}");
            }
        }
    }
}

/// W_O·(I + (s − 1)·u·uᵀ) in the rows of the head.
fn edited(config: &Config, weights: &Weights, channel: &Channel, scale: f64) -> Weights {
    let mut edited = weights.clone();
    let (d, width) = (config.head_width, config.width);
    let w_o = edited.0.get_mut("blocks.0.attn.w_o").unwrap();
    for row in w_o.data[WRITER.head * d * width..(WRITER.head + 1) * d * width].chunks_mut(width) {
        let along: f64 = row.iter().zip(&channel.writes).map(|(x, u)| f64::from(*x) * u).sum();
        row.iter_mut().zip(&channel.writes).for_each(|(x, u)| *x += ((scale - 1.0) * along * u) as f32);
    }
    edited
}

/// Paper 1, check 4: a reader whose queries listen to one direction hears the channel that writes it at least twice as well
/// as the middle one.
#[test]
fn a_planted_direction_is_the_channel_heard_best() {
    let config = Config::llama(50, 128, 2, 8, 8, 64);
    let mut weights = Weights::init(&config, 4);
    let head = Head { layer: 0, head: 3 };
    let direction = Composition::new(&config, &weights).unwrap().channels(head)[2].writes.clone();
    let d = config.head_width;
    let w_q = weights.0.get_mut("blocks.1.attn.w_q").unwrap();
    let columns = w_q.shape[1];
    for (row, x) in direction.iter().enumerate() {
        w_q.data[row * columns + 2 * d] = *x as f32;
    }
    let composition = Composition::new(&config, &weights).unwrap();
    let reader = Head { layer: 1, head: 2 };
    let heard: Vec<f32> =
        composition.channels(head).iter().map(|channel| composition.hears(channel, reader).q).collect();
    let mut sorted = heard.clone();
    sorted.sort_by(f32::total_cmp);
    assert_eq!(heard[2], *sorted.last().unwrap(), "{heard:?}");
    assert!(heard[2] > 2.0 * sorted[sorted.len() / 2], "{} beside {}", heard[2], sorted[sorted.len() / 2]);
}
