//! What the studies of circuits edit: planted cases whose answers are known by hand, and exact ends of every scale.

use super::circuits::{fact, sheet, whole};
use crate::model::lively;
use attnscope::hook::{ActivationCache, Array, HookPoint, Selection, Site};
use attnscope::lens::base::{Again, Base};
use attnscope::lens::circuits::Watched;
use attnscope::lens::circuits::anchors::edits::{Act, Edited};
use attnscope::lens::circuits::anchors::{Dimension, swap};
use attnscope::lens::circuits::letters::mutation::Mutation;
use attnscope::lens::circuits::letters::subspace::{From, Read, Subspace};
use attnscope::lens::circuits::retrieving::replay::{Made, Replay};
use attnscope::lens::circuits::safety::epsilon::FACTORS;
use attnscope::lens::evaluation::choices::{by_kin, synonyms};
use attnscope::lens::features::planted::{planted, recalled};
use attnscope::lens::features::{Features, Method};
use attnscope::lens::sink_set::causes::Causes;
use attnscope::model::config::Activation;
use attnscope::model::{Config, CpuModel};
use attnscope::train::circuits::Draw;

/// Keys of four options along four axes beside what they share, and a query for the right one.
fn question(right: usize) -> Read {
    let axis = |at: usize, size: f32| (0..8).map(|d| if d == at { size } else { 0.0 }).collect::<Vec<f32>>();
    let key = |option: usize| axis(option, 1.0).iter().zip(axis(7, 3.0)).map(|(x, mu)| x + mu).collect::<Vec<f32>>();
    Read { query: axis(right, 12.0), keys: (0..4).map(key).collect(), values: (0..4).map(key).collect() }
}

/// Softmax of q'·k' over the options, at the right one.
fn on_right(found: &Subspace, right: usize, rank: usize) -> f64 {
    let (query, keys) = found.keep(&question(right), rank);
    let scores: Vec<f64> = keys.iter().map(|key| key.iter().zip(&query).map(|(k, q)| k * q).sum()).collect();
    let all: f64 = scores.iter().map(|score| score.exp()).sum();
    scores[right].exp() / all
}

/// Paper 12, check 3: four items differ in three directions; three keep the weight on the right one, two lose it somewhere.
#[test]
fn three_directions_tell_four_options_apart() {
    let reads: Vec<Read> = (0..8).map(|at| question(at % 4)).collect();
    let found = Subspace::new(&reads, From::Keys);
    for from in [From::Keys, From::Queries] {
        let found = Subspace::new(&reads, from);
        for right in 0..4 {
            let (whole, three) = (on_right(&found, right, 8), on_right(&found, right, 3));
            assert!(whole > 0.99 && (whole - three).abs() < 0.01, "{right}: {whole} and {three}");
        }
        let lost = (0..4).filter(|right| on_right(&found, *right, 2) < on_right(&found, *right, 3) - 0.01).count();
        assert!(lost > 0, "two directions serve four options");
    }
    // All directions of any basis are everything, three random ones are not the three.
    let mut draw = Draw::new(1);
    let random = found.random(&mut draw);
    for right in 0..4 {
        assert!((on_right(&random, right, 8) - on_right(&found, right, 8)).abs() < 1e-9);
    }
    let worse = (0..20).filter(|_| {
        let random = found.random(&mut draw);
        (0..4).map(|right| on_right(&random, right, 3)).sum::<f64>() < 4.0 * 0.99
    });
    assert_eq!(worse.count(), 20);
    let length = |direction: &Vec<f64>| direction.iter().map(|x| x * x).sum::<f64>();
    assert!(random.directions.iter().all(|direction| (length(direction) - 1.0).abs() < 1e-9));
}

/// Paper 12, checks 2 and 5: with all directions nothing changes; the found three lose less than random ones; labels matter.
#[test]
fn few_directions_of_the_letter_heads_suffice() {
    let study = whole("letters");
    let loss = &sheet(&study, "letters.rank", "loss").values;
    let (as_it_is, random) = (fact(&study, "letters.rank", "whole"), fact(&study, "letters.rank", "random"));
    for line in loss.chunks(6) {
        assert!((line[5] - as_it_is).abs() < 1e-3, "all directions: {line:?} instead of {as_it_is}");
    }
    let weight = &sheet(&study, "letters.rank", "weight").values;
    assert!((weight[2] - weight[5]).abs() < 0.1, "three directions of keys keep where heads look: {weight:?}");
    assert_eq!(loss[2] < random, fact(&study, "letters.rank", "worse") > 10.0, "{} and {random}", loss[2]);
    let labels = &sheet(&study, "letters.labels", "right").values;
    assert_eq!(labels.len(), 3 * Mutation::ALL.len(), "every mutation was asked");
    assert!(labels[0] > 90.0, "plain questions: {labels:?}");
    let unasked = labels[3 * (Mutation::ALL.len() - 1)];
    assert!(unasked < 60.0, "without the question the right option is not known: {unasked}");
    let probe = &sheet(&study, "letters.probe", "probe").values;
    assert!(probe.iter().all(|share| (0.0..=100.0).contains(share)));
}

/// Paper 39, check a: swapped twice, once each way, a row is itself; it keeps its sum; the smaller first weight stays.
#[test]
fn swapped_weights_come_back() {
    let plain = vec![0.5, 0.1, 0.2, 0.2];
    let mut row = plain.clone();
    swap(&mut row, [0, 2]);
    assert_eq!(row, [0.2, 0.1, 0.5, 0.2]);
    swap(&mut row, [0, 2]);
    assert_eq!(row, [0.2, 0.1, 0.5, 0.2], "the right letter has more already");
    swap(&mut row, [2, 0]);
    assert_eq!(row, plain);
}

/// Paper 29, check 1, step by step: a head on the very token copies; one token off, or beside the needle, it does not.
#[test]
fn a_replay_sees_who_copies() {
    // Tokens 7 and 8 are the needle at 2 and 3; both are made.
    let row = |at: usize, count: usize| (0..count).map(|key| f32::from(u8::from(key == at))).collect::<Vec<f32>>();
    let made = |token: u32, count: usize, at: [usize; 3]| Made { token, rows: at.map(|at| row(at, count)).to_vec() };
    let replay = Replay {
        tokens: vec![1, 5, 7, 8, 5, 6],
        needle: 2..4,
        made: vec![made(7, 6, [2, 0, 3]), made(8, 7, [3, 0, 6]), made(5, 8, [4, 0, 2])],
    };
    let places = |step: usize| (0..3).map(|head| replay.copies(&replay.made[step], head)).collect::<Vec<_>>();
    assert_eq!(places(0), [Some(2), None, None]);
    assert_eq!(places(1), [Some(3), None, None]);
    assert_eq!(places(2), [None, None, None], "token 5 stands outside the needle");
    let study = whole("retrieval");
    let copies = &sheet(&study, "retrieval.replay", "copies").values;
    let columns = copies.len() / 6;
    assert!(copies.iter().all(|weight| (0.0..=1.0).contains(weight)));
    assert!((0..6).any(|head| copies[head * columns] > 0.3), "the first word of the answer is copied: {copies:?}");
    assert!(study.verdict.contains("Asked once, it writes “"), "{}", study.verdict);
}

/// Paper 8, checks 1 and 5: at ε = 1 nothing changes; at its end it is looking everywhere alike; in between answers come.
#[test]
fn epsilon_goes_from_the_pattern_to_the_mean() {
    let study = whole("safety");
    let count = FACTORS.len();
    let ships = &sheet(&study, "safety.epsilon", "ships").values;
    assert!(ships[0] < 1e-9 && ships[count] < 1e-9, "{ships:?}");
    let name = &study.exhibits.iter().find(|one| one.id == "safety.epsilon").unwrap().name;
    let head = name.split(' ').next().unwrap();
    let (layer, head) = head[1..].split_once('H').unwrap();
    let at = layer.parse::<usize>().unwrap() * 6 + head.parse::<usize>().unwrap();
    let uniform = sheet(&study, "safety.heads", "ships").values[at];
    let zero = sheet(&study, "safety.heads", "ships_zero").values[at];
    assert!((ships[count - 1] - uniform).abs() < 1e-3 * uniform, "{} and {uniform}", ships[count - 1]);
    assert!((ships[2 * count - 1] - zero).abs() < 1e-3 * zero.max(1.0), "{} and {zero}", ships[2 * count - 1]);
}

/// Paper 45: λ_a = 1 is the model; Δ tells what a nudge does; an intercept knows its task or the page says that it does not.
#[test]
fn the_last_layer_is_scaled_and_taken_apart() {
    let study = whole("recall");
    let scaled = &sheet(&study, "recall.scaled", "probability").values;
    assert!((scaled[4] - scaled[7 + 4]).abs() < 1e-2, "at 1 both are the model: {scaled:?}");
    assert!((scaled[3] - scaled[7 + 3]).abs() > 1e-3, "heads and feed-forward are different parts");
    // The norm scales with what it reads, so that a nudge need not do what Δ under the held norm says.
    assert!((0.0..=100.0).contains(&fact(&study, "recall.scaled", "agreed")));
    let delta = &sheet(&study, "recall.waterfall", "delta").values;
    let parts = delta.len() / 2;
    assert!((delta[..parts - 1].iter().sum::<f32>() - delta[parts - 1]).abs() < 1e-3, "parts add up: {delta:?}");
    let rise = &sheet(&study, "recall.intercept", "rise").values;
    let (own, shuffled) = rise.split_at(rise.len() / 2);
    let aware = own.iter().zip(shuffled).any(|(own, shuffled)| *own > 1.0 && *shuffled < 0.3);
    assert_eq!(aware, study.verdict.contains("b is aware of its task"), "{own:?} {shuffled:?}: {}", study.verdict);
}

/// Paper 20, check 2: on linear and activated layers alone DeepLIFT's sum is what f changes by; against itself it is slopes.
#[test]
fn multipliers_add_up_where_activations_are_all_that_bends() {
    for (name, config) in crate::model::small_configs().into_iter().filter(|(_, config)| !config.gated) {
        for which in [Activation::Relu, Activation::GeluTanh] {
            // So large an ε leaves of a norm only a factor.
            let config = Config { norm_epsilon: 1e9, activation: which, ..config.clone() };
            let mut weights = lively(&config, 4);
            for layer in 0..config.layers {
                weights.0.get_mut(&format!("blocks.{layer}.attn.w_o")).unwrap().data.fill(0.0);
                weights.0.get_mut(&format!("blocks.{layer}.ln2.w")).unwrap().data.fill(3e4);
            }
            let model = CpuModel::new(&config, &weights).unwrap();
            let mut draw = Draw::new(5);
            let mut point = || {
                let data = (0..6 * config.width).map(|_| draw.below(2001) as f32 / 1000.0 - 1.0).collect::<Vec<f32>>();
                Array::new([1, 6, config.width], data).unwrap()
            };
            let (own, other) = (point(), point());
            let of = [(3, 1.0)];
            let value = |x: &Array| {
                let stack = attnscope::mechanism::Stack::new("a", &[]).unwrap();
                let mut nobody = ActivationCache::default();
                model.resume(x, 0, Some(5), &stack, 0, &mut nobody).unwrap().data[3]
            };
            let slopes = model.multipliers(&own, &other, 5, &of).unwrap().begin.swap_remove(0);
            let steps = own.data.iter().zip(&other.data).map(|(own, other)| own - other);
            let sum: f32 = steps.zip(&slopes.data).map(|(step, slope)| step * slope).sum();
            let change = value(&own) - value(&other);
            assert!((sum - change).abs() < 1e-4 * change.abs().max(1e-3), "{name} {which:?}: {sum} is not {change}");
            let plain = model.slopes(&own, 5, &of).unwrap().begin.swap_remove(0);
            assert_eq!(model.multipliers(&own, &own, 5, &of).unwrap().begin[0], plain, "{name}: no step, no line");
            assert_ne!(slopes, plain, "{name}: a line is no slope");
        }
    }
}

/// Paper 20: cues stand where the task says, and are found by a score that is large there alone.
#[test]
fn cues_are_planted_where_they_decide() {
    let loaded = taught();
    let circuits = attnscope::train::circuits::Circuits::new(&loaded.tokenizer).unwrap();
    let all = planted(&circuits, &[0], 200, 1);
    assert_eq!(all, planted(&circuits, &[0], 200, 1));
    for one in &all {
        let words: Vec<u32> = one.cues.iter().map(|at| one.tokens[*at]).collect();
        match one.task {
            0 => assert!(circuits.words.marked.contains(&words[0]) && words.len() == 1),
            1 => assert!(circuits.words.known.contains(&words[0]) && words.len() == 1),
            _ => assert!(words.len() == 3 && words[0] == words[2] && words[1] == one.answer, "{words:?}"),
        }
        let scores: Vec<f32> = (0..one.tokens.len()).map(|at| f32::from(u8::from(one.cues.contains(&at)))).collect();
        assert_eq!(recalled(&scores, &one.cues), 1.0);
        let turned: Vec<f32> = scores.iter().map(|score| 1.0 - score).collect();
        assert_eq!(recalled(&turned, &one.cues), 0.0);
    }
}

/// Paper 65, check (c): choices, synonyms and the rest are 1, a word of two choices' kind counts once, and SFC is never less.
#[test]
fn mass_on_synonyms_is_within_the_bound() {
    let logs: Vec<f64> = [0.4, 0.2, 0.1, 0.1, 0.05, 0.15f64].map(f64::ln).to_vec();
    // Words 0 and 1 are choices, of one kind with 2 and 3.
    let kin = [vec![2, 3], vec![2, 3]];
    assert!((by_kin(&logs, &kin)[0] - 0.2).abs() < 1e-9 && (synonyms(&logs, &kin) - 0.2).abs() < 1e-9);
    let study = whole("choices");
    let mass = &sheet(&study, "mass", "mass").values;
    for row in mass.chunks(4) {
        assert!((row.iter().sum::<f32>() - 100.0).abs() < 1e-2 && row.iter().all(|share| *share > -1e-3), "{row:?}");
        let (sfc, known) = (100.0 - row[0], row[1] + row[2]);
        assert!(sfc >= known - 1e-3, "{row:?}");
    }
    // Letters have no synonyms.
    assert!(mass[6 * 4..].chunks(4).all(|row| row[1] == 0.0));
}

/// Paper 37: the head is chosen on one half and judged on the other, and what the page says of it is what was measured.
#[test]
fn a_head_is_calibrated_on_one_half_and_judged_on_the_other() {
    let study = whole("calibration");
    let chosen = &sheet(&study, "calibration.heads", "gain").values;
    let judged = &sheet(&study, "calibration.judged", "gain").values;
    assert_eq!((chosen.len(), judged.len()), (24, 6));
    let other = &sheet(&study, "calibration.heads", "judged").values;
    assert!(chosen.iter().zip(other).any(|(a, b)| a != b), "both halves are one");
    let half = sheet(&study, "calibration.judged", "half").values[3];
    assert_eq!(judged[3] - half > 0.0, study.verdict.contains("it helps here"), "{}", study.verdict);
    assert!(judged[4].abs() > judged[3].abs() * 0.1, "all heads do something: {judged:?}");
}

/// Paper 52: a token whose embedding is loud makes the stream large at its position and nowhere else; numbers are those of the
/// captures, counted here.
#[test]
fn a_planted_massive_activation_is_seen() {
    let (config, mut weights, _) = crate::tiny::model();
    let tokens: Vec<u32> = (0..16).map(|at| 1 + (at * 29 + 3) % 90).collect();
    let row = tokens[0] as usize * config.width;
    weights.0.get_mut("embed").unwrap().data[row..row + config.width].iter_mut().for_each(|x| *x *= 500.0);
    let model = CpuModel::new(&config, &weights).unwrap();
    let stack = attnscope::mechanism::Stack::new("a", &[]).unwrap();
    let at = |position: usize| Causes::new(&model, &stack, 0, &tokens, position).unwrap();
    let (loud, quiet) = (at(0), at(3));
    assert!(loud.stream[0] > 20.0 && quiet.stream[0] < 5.0, "{loud:?} {quiet:?}");
    let mut captures = ActivationCache::new(Selection::sites(&[Site::V]));
    model.run(&[&tokens], &stack, 0, &mut captures).unwrap();
    let values = &captures.get(1, Site::V).unwrap();
    let width = config.head_width;
    let norms: Vec<f32> =
        values.data[..16 * width].chunks(width).map(|value| value.iter().map(|x| x * x).sum::<f32>().sqrt()).collect();
    let below = norms.iter().filter(|norm| **norm < norms[3] / quiet.heads[1][config.heads]).count();
    assert!(below == 8 || below == 7, "{below} of 16 are below the median");
    assert!(loud.heads[2].iter().chain(&loud.heads[3]).all(|cosine| cosine.abs() <= 1.0 + 1e-5));
}

fn taught() -> attnscope::model::Loaded {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/circuits-2m");
    attnscope::model::load("circuits-2m", &attnscope::model::Files::read(&folder).unwrap()).unwrap()
}

/// Paper 39, checks a and c: a row that has a vector added is the weight with it added, layer by layer, and by hand in the last
/// one; nothing added is nothing changed.
#[test]
fn an_edited_row_is_an_edited_weight() {
    let loaded = taught();
    let (config, stack) = (&loaded.config, attnscope::mechanism::Stack::new("a", &[]).unwrap());
    let tokens = loaded.tokenizer.encode("Lily has the ball. Tom has the cup. So Lily has the", true).unwrap();
    let model = CpuModel::new(config, &loaded.weights).unwrap();
    let base = Base::new(&model, &stack, 0, &tokens, &[Site::MlpPost]).unwrap();
    let query = tokens.len() - 1;
    let vector: Vec<f32> = (0..config.width).map(|at| (at as f32 * 0.7).sin()).collect();
    let again = Again { model: &model, stack: &stack, seed: 0, base: &base };
    for layer in 0..config.layers {
        let one = Dimension { layer, at: 17 };
        let acts = [Act::Nothing, Act::Add(one, vector.clone()), Act::Add(one, vec![0.0; config.width])];
        let tap = Edited { acts: acts.iter().collect(), query, letters: Vec::new(), anchor: &[], post: None };
        let mut seen = Watched::new(tap, &[HookPoint::new(config.layers - 1, Site::ResidPost)]);
        let logits = again.from(0, 3, Some(query), |_, _| {}, &mut seen).unwrap();
        let mut weights = loaded.weights.clone();
        let row = &mut weights.0.get_mut(&format!("blocks.{layer}.ffn.w_out")).unwrap().data[17 * config.width..];
        row.iter_mut().zip(&vector).for_each(|(x, y)| *x += y);
        let edited = CpuModel::new(config, &weights).unwrap();
        let expected = Base::new(&edited, &stack, 0, &tokens, &[]).unwrap();
        let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far(logits.at(1), expected.logits.at(query)) < 1e-3, "L{layer}");
        assert!(far(logits.at(1), base.logits.at(query)) > 1e-2, "L{layer}: nothing happened");
        assert!(far(logits.at(0), base.logits.at(query)) < 1e-4 && far(logits.at(2), logits.at(0)) < 1e-6);
        if layer + 1 == config.layers {
            let m = base.captures.get(layer, Site::MlpPost).unwrap().data[query * config.ffn + 17];
            let end = seen.seen.get(layer, Site::ResidPost).unwrap();
            let at = |row: usize| &end.data[(row * tokens.len() + query) * config.width..][..config.width];
            let changes = at(1).iter().zip(at(0)).map(|(a, b)| a - b);
            assert!(changes.zip(&vector).all(|(change, y)| (change - m * y).abs() < 1e-4 * m.abs().max(1.0)));
        }
    }
}

/// Paper 20, check 3: where f is a linear map of the embeddings, every method along a line from e₀ says the same.
#[test]
fn methods_agree_on_a_linear_function() {
    let (config, mut weights, _) = crate::tiny::model();
    // So large an ε leaves of a norm only a factor; neither half of a layer writes.
    let config = Config { norm_epsilon: 1e9, ..config };
    for layer in 0..config.layers {
        for name in ["attn.w_o", "ffn.w_out"] {
            weights.0.get_mut(&format!("blocks.{layer}.{name}")).unwrap().data.fill(0.0);
        }
    }
    weights.0.get_mut("ln_final.w").unwrap().data.fill(3e4);
    let model = CpuModel::new(&config, &weights).unwrap();
    let tokens: Vec<u32> = (0..12).map(|at| 1 + (at * 29 + 3) % 90).collect();
    let labels = vec![tokens.iter().map(ToString::to_string).collect()];
    let stack = attnscope::mechanism::Stack::new("a", &[]).unwrap();
    let mut features = Features::new(stack, 0, vec![tokens], labels, 2, None);
    for at in 0..features.all() {
        features.step(&model, at).unwrap();
    }
    let of = |method: Method| {
        let at = Method::ALL.iter().position(|other| *other == method).unwrap();
        features.found()[0].scores[at].clone().unwrap()
    };
    let expected = of(Method::Integrated);
    assert!(expected[11] > 1e-3, "{expected:?}");
    for method in [Method::Shap, Method::DeepLift, Method::LeaveOut] {
        let far = of(method).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4 * expected[11].max(1.0), "{}: {far}", method.name());
    }
}
