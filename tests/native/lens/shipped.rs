//! Instruments on the shipped model whose circuits are known, and on models that have none.

use attnscope::experiment::Head;
use attnscope::hook::{ActivationCache, Array};
use attnscope::lens::attribution::{self, attribute};
use attnscope::lens::causal::{Removal, every_head};
use attnscope::lens::logit_lens::{self, LensNorm, Look, logit_lens};
use attnscope::lens::readout::Readout;
use attnscope::lens::roles::RoleReport;
use attnscope::lens::suite::{self, Tokens};
use attnscope::mechanism::Stack;
use attnscope::model::{Config, CpuModel, Files, Loaded, Weights, load};
use attnscope::train::card::Card;
use attnscope::train::circuits::score::{Scores, held_out};
use attnscope::train::circuits::{Circuits, Draw, Given, Task, ablate, retrieve};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/circuits-2m")
}

fn loaded() -> Loaded {
    load("circuits-2m", &Files::read(&folder()).unwrap()).unwrap()
}

fn plain() -> Stack {
    Stack::new("a", &[]).unwrap()
}

fn report(config: &Config, weights: &Weights, tokens: &Tokens, seed: u64) -> RoleReport {
    let mut model = CpuModel::new(config, weights).unwrap();
    pollster::block_on(suite::report(&mut model, config, Some(weights), &plain(), tokens, seed, async || false))
        .unwrap()
}

fn tokens_of(loaded: &Loaded) -> Tokens {
    let tokenizer = &loaded.tokenizer;
    let ids = (0..loaded.config.vocabulary as u32).filter(|id| !tokenizer.special(*id));
    Tokens::new(ids.map(|id| (id, tokenizer.token_text(id))), tokenizer.bos())
}

/// Accuracy of a task without each set of heads.
fn accuracy(loaded: &Loaded, task: Task, items: usize, sets: &[Vec<Head>], how: Removal) -> Vec<f64> {
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let circuits = Circuits::new(&loaded.tokenizer).unwrap();
    let items = held_out(&circuits, task, items, 100);
    let scores = ablate::without(&model, &plain(), task, &items, sets, how).unwrap();
    scores.iter().map(|scores: &Scores| scores.accuracy).collect()
}

#[test]
fn held_out_items_are_answered_as_the_card_says() {
    let loaded = loaded();
    let card: Card = serde_json::from_slice(&std::fs::read(folder().join("card.json")).unwrap()).unwrap();
    assert_eq!(card.tasks.len(), Task::ALL.len());
    for (task, said) in Task::ALL.into_iter().zip(&card.tasks) {
        assert_eq!(said.task, task.id());
        let came = accuracy(&loaded, task, 30, &[Vec::new()], Removal::Zero)[0];
        // 30 items against the card's 200: within four standard errors and the rounding of f16.
        let slack = 4.0 * (said.accuracy * (1.0 - said.accuracy) / 30.0).sqrt() + 0.04;
        assert!((came - said.accuracy).abs() <= slack, "{}: {came} here, {} on the card", said.task, said.accuracy);
    }
}

/// Without training no head has a role: fewer than one in twenty passes any threshold.
#[test]
fn heads_of_random_models_have_no_roles() {
    let tokens = Tokens { ordinary: (20..400).collect(), delimiters: (5..15).collect(), bos: Some(0) };
    let (mut labelled, mut all) = (0, 0);
    for seed in 0..3 {
        for config in [Config::llama(400, 192, 4, 6, 6, 384), Config::gpt2(400, 96, 4, 6, 128)] {
            let config = Config { bos: Some(0), ..config };
            for scale in [1.0, 4.0] {
                let mut weights = Weights::init(&config, seed);
                for array in weights.0.values_mut().filter(|array| array.shape.len() == 2) {
                    array.data.iter_mut().for_each(|value| *value *= scale);
                }
                let report = report(&config, &weights, &tokens, seed);
                assert!(report.roles.iter().any(|role| role.role == "copy_suppression"));
                assert!(report.roles.iter().any(|role| role.role == "delimiter"));
                for head in 0..24 {
                    all += 1;
                    labelled += usize::from(!report.labels(head).is_empty());
                }
            }
        }
    }
    assert!(labelled * 20 < all, "{labelled} of {all} heads of random models have a role");
}

/// Where controls are shuffled, few heads of the trained model keep their label.
#[test]
fn shuffled_probes_give_few_labels() {
    let loaded = loaded();
    let report = report(&loaded.config, &loaded.weights, &tokens_of(&loaded), 0);
    for role in &report.roles {
        assert!(role.false_positive_rate < 0.05, "{}: {} pass on shuffled probes", role.role, role.false_positive_rate);
    }
}

/// The eight heads that score as induction heads back each other up: one alone is hardly missed, all together are. Of as
/// many others those are missed that feed them, the previous-token heads and the ones of layer 0 that copy their own token.
#[test]
fn induction_heads_by_score_are_those_that_induction_needs() {
    let loaded = loaded();
    let report = report(&loaded.config, &loaded.weights, &tokens_of(&loaded), 0);
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let all = every_head(&model);
    let with = |roles: &[&str]| -> Vec<Head> {
        let has = |index: usize| report.labels(index).iter().any(|label| roles.contains(label));
        all.iter().enumerate().filter(|(index, _)| has(*index)).map(|(_, head)| *head).collect()
    };
    let (found, feeding) = (with(&["induction"]), with(&["previous_token", "self"]));
    assert!((2..=all.len() / 3).contains(&found.len()), "{found:?} are induction heads");
    // As many others, drawn ten times: any, and any that do not feed.
    let mut draw = Draw::new(1);
    let mut as_many = |unless: &[Head]| -> Vec<Vec<Head>> {
        let others: Vec<Head> =
            all.iter().filter(|head| !found.contains(head) && !unless.contains(head)).copied().collect();
        assert!(others.len() >= found.len(), "{} others are too few", others.len());
        let one = |_| {
            let mut pool = others.clone();
            draw.shuffle(&mut pool);
            pool.truncate(found.len());
            pool
        };
        (0..10).map(one).collect()
    };
    let (any, apart) = (as_many(&[]), as_many(&feeding));
    let sets = [vec![Vec::new(), found.clone()], any, apart].concat();
    for how in [Removal::Mean, Removal::Uniform] {
        let came = accuracy(&loaded, Task::Induction, 16, &sets, how);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(came[0] > 0.95, "{how:?}: the whole model is right at {}", came[0]);
        assert!(came[1] < 0.1, "{how:?}: without induction heads {} are still right", came[1]);
        assert!(mean(&came[2..12]) > 0.4, "{how:?}: without as many others only {} are right", mean(&came[2..12]));
        assert!(mean(&came[12..]) > 0.9, "{how:?}: without as many apart only {} are right", mean(&came[12..]));
        // What is in the weights does not need them.
        let facts = accuracy(&loaded, Task::Facts, 16, &sets[1..2], how)[0];
        assert!(facts > 0.9, "{how:?}: without induction heads only {facts} of the facts are known");
    }
}

/// What the lens and attribution say of a real model is what the model says.
#[test]
fn lens_and_parts_agree_with_the_trained_model() {
    let loaded = loaded();
    let (config, weights) = (&loaded.config, &loaded.weights);
    let model = CpuModel::new(config, weights).unwrap();
    let tokens = loaded.tokenizer.encode("When Mary and John went to the park, John gave the ball to", true).unwrap();
    let [mary, john] = [" Mary", " John"].map(|name| loaded.tokenizer.encode(name, false).unwrap()[0]);
    let readout = Readout::new(config, weights).unwrap();
    let last = tokens.len() - 1;
    let pass = |wanted| {
        let mut captures = ActivationCache::new(wanted);
        let logits = model.run(&[&tokens], &plain(), 0, &mut captures).unwrap();
        (Array::new(logits.shape[1..].to_vec(), logits.data).unwrap(), captures)
    };
    let (logits, captures) = pass(attribution::wanted());
    let row = logits.at(last);
    let lead = row[mary as usize] - row[john as usize];
    assert!(lead > 3.0, "Mary leads by {lead} only");
    let found = attribute(&readout, config, weights, &captures, last, mary, Some(john)).unwrap();
    assert!((found.sum() - lead).abs() < 1e-3 && (found.logit - lead).abs() < 1e-3, "{} is not {lead}", found.sum());
    let (_, captures) = pass(logit_lens::wanted());
    let look = Look { first: 0, norm: LensNorm::Final, top: 3, answer: None };
    let lens = logit_lens(&readout, &captures, config.layers, &tokens, look).unwrap();
    let at = |depth: usize| &lens.readings[depth * tokens.len() + last];
    assert_eq!(at(config.layers).top[0].0, mary);
    assert_ne!(at(0).top[0].0, mary, "nothing knows the answer before the first layer");
}

#[test]
fn heads_that_retrieve_are_those_that_needles_need() {
    let loaded = loaded();
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let circuits = Circuits::new(&loaded.tokenizer).unwrap();
    let given = Given { words: &circuits.words, longest: 200 };
    let mut draw = Draw::new(11);
    let mut passage = |at: usize| circuits.needle.item(&given, &mut draw, 60 + 20 * (at % 4), (at % 5) as f32 / 4.0);
    let halves: [Vec<_>; 2] = [(0..20).map(&mut passage).collect(), (20..40).map(&mut passage).collect()];
    let [one, two] = halves.map(|half| retrieve::retrieval(&model, &plain(), &half).unwrap());
    assert!(one.right.0 >= 16 && two.right.0 >= 16, "{:?} and {:?} passages are answered", one.right, two.right);
    let correlation = correlation(&one.scores, &two.scores);
    assert!(correlation > 0.9, "scores of two halves correlate by {correlation}");
    // A third of the heads, against the paper's twentieth: in this model every induction head retrieves.
    let heads = every_head(&model);
    let found: Vec<Head> =
        heads.iter().zip(&one.scores).filter(|(_, score)| **score >= 0.1).map(|(head, _)| *head).collect();
    assert!((2..=heads.len() / 3).contains(&found.len()), "{found:?} retrieve");
    let others: Vec<Head> = heads.into_iter().filter(|head| !found.contains(head) && head.layer > 1).collect();
    let sets = [found, others];
    let needle = accuracy(&loaded, Task::Needle, 16, &sets, Removal::Uniform);
    assert!(
        needle[0] < 0.2 && needle[1] > 0.8,
        "needles: {} without those that retrieve, {} without others",
        needle[0],
        needle[1]
    );
    let facts = accuracy(&loaded, Task::Facts, 16, &sets, Removal::Uniform);
    assert!(facts[0] > 0.9, "facts: {} without those that retrieve", facts[0]);
}

/// Pearson's.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let (x, y) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f32, f32) -> f32| a.iter().zip(b).map(|(a, b)| f(a - x, b - y)).sum::<f32>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}
