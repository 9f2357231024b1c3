//! Instruments that need the model: lenses that add up, and heads that are taken out.

use attnscope::experiment::Head;
use attnscope::hook::{Ablation, ActivationCache, Array, HookPoint, Patch};
use attnscope::lens::attribution::{self, Part, attribute};
use attnscope::lens::causal::{Effects, Removal, effects, every_head, site, without};
use attnscope::lens::logit_lens::{self, LensNorm, Look, logit_lens};
use attnscope::lens::readout::Readout;
use attnscope::mechanism::Stack;
use attnscope::model::{Config, CpuModel, Weights};
use std::collections::BTreeMap;

pub const TOKENS: [u32; 9] = [0, 7, 31, 4, 31, 22, 7, 11, 40];

/// Every family, untied too, with weights and biases large enough to show mistakes.
pub fn models() -> Vec<(&'static str, Config, Weights)> {
    let llama = Config { context: 32, ..Config::llama(50, 24, 3, 6, 3, 40) };
    let gpt2 = Config::gpt2(50, 24, 3, 4, 32);
    let untied = Config { tied: false, ..gpt2.clone() };
    let neox = Config::neox(50, 32, 3, 4, 32);
    let make = |(name, config): (&'static str, Config)| {
        let mut weights = Weights::init(&config, 5);
        for (at, (name, array)) in weights.0.iter_mut().enumerate() {
            let gain = name.ends_with(".w");
            for (index, value) in array.data.iter_mut().enumerate() {
                match array.shape.len() {
                    1 => *value = f32::from(u8::from(gain)) + 0.1 * ((at * 7 + index) as f32).sin(),
                    _ => *value *= 12.0,
                }
            }
        }
        (name, config, weights)
    };
    [("llama", llama), ("gpt2", gpt2), ("gpt2 untied", untied), ("neox", neox)].into_iter().map(make).collect()
}

pub fn plain() -> Stack {
    Stack::new("a", &[]).unwrap()
}

fn pass(config: &Config, weights: &Weights, wanted: attnscope::hook::Selection) -> (Array, ActivationCache) {
    let model = CpuModel::new(config, weights).unwrap();
    let mut captures = ActivationCache::new(wanted);
    let logits = model.run(&[&TOKENS], &plain(), 0, &mut captures).unwrap();
    (Array::new(logits.shape[1..].to_vec(), logits.data).unwrap(), captures)
}

#[test]
fn the_lens_at_the_end_is_the_model() {
    for (name, config, weights) in models() {
        let (logits, captures) = pass(&config, &weights, logit_lens::wanted());
        let readout = Readout::new(&config, &weights).unwrap();
        let look = Look { first: 0, norm: LensNorm::Final, top: 50, answer: Some(22) };
        let lens = logit_lens(&readout, &captures, 3, &TOKENS, look).unwrap();
        assert_eq!((lens.depths, lens.tokens, lens.readings.len()), (4, 9, 36));
        for query in 0..9 {
            let row = logits.at(query);
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|logit| (logit - most).exp()).sum();
            let reading = &lens.readings[3 * 9 + query];
            assert_eq!(reading.divergence, 0.0);
            assert_eq!(reading.top.len(), 50);
            for (id, probability) in &reading.top {
                let expected = (row[*id as usize] - most).exp() / sum;
                assert!((probability - expected).abs() < 1e-5, "{name} {query}: {probability} is not {expected}");
            }
            assert!(reading.top.is_sorted_by(|a, b| a.1 >= b.1));
            let place = reading.top.iter().position(|(id, _)| *id == 22).unwrap();
            assert_eq!(reading.tracked, Some((reading.top[place].1, place)));
            let Some(next) = TOKENS.get(query + 1) else {
                assert_eq!((reading.loss, reading.rank), (None, None));
                continue;
            };
            let place = reading.top.iter().position(|(id, _)| id == next).unwrap();
            assert_eq!(reading.rank, Some(place));
            assert!((reading.loss.unwrap() + reading.top[place].1.ln()).abs() < 1e-4);
        }
        assert!(lens.readings[..9].iter().any(|reading| reading.divergence > 0.01), "{name} knows all at once");
        let late = logit_lens(&readout, &captures, 3, &TOKENS, Look { first: 7, ..look }).unwrap();
        assert_eq!((late.first, late.tokens, late.readings.len()), (7, 2, 8));
        assert_eq!(late.readings[2 * 2 + 1], lens.readings[2 * 9 + 8], "{name}: the same reading among fewer");
        let look = Look { norm: LensNorm::None, top: 1, ..look };
        let raw = logit_lens(&readout, &captures, 3, &TOKENS, look).unwrap();
        assert_ne!(raw.readings[30].entropy, lens.readings[30].entropy, "{name}: the norm changes nothing");
    }
}

#[test]
fn parts_add_up_to_the_logit() {
    for (name, config, weights) in models() {
        let (logits, captures) = pass(&config, &weights, attribution::wanted());
        let readout = Readout::new(&config, &weights).unwrap();
        for position in [0, 4, 8] {
            for (token, against) in [(31, None), (3, Some(17)), (49, Some(0))] {
                let found = attribute(&readout, &config, &weights, &captures, position, token, against).unwrap();
                let row = logits.at(position);
                let expected = row[token as usize] - against.map_or(0.0, |against| row[against as usize]);
                assert!((found.logit - expected).abs() < 1e-3, "{name}: {} is not {expected}", found.logit);
                assert!((found.sum() - expected).abs() < 1e-3, "{name}: {} is not {expected}", found.sum());
                let heads = found.parts.iter().filter(|(part, _)| matches!(part, Part::Head(_))).count();
                assert_eq!(heads, config.layers * config.heads);
            }
        }
        let refuse = |position, token| attribute(&readout, &config, &weights, &captures, position, token, None);
        assert_eq!(refuse(9, 1).unwrap_err().code(), "unknown");
        assert_eq!(refuse(0, 50).unwrap_err().code(), "unknown");
    }
}

#[test]
fn a_part_that_writes_nothing_gets_nothing() {
    let (_, config, mut weights) = models().swap_remove(1);
    // Head 2 of layer 1 is silenced in the weights, the feed-forward of layer 2 altogether.
    let width = config.head_width * config.width;
    weights.0.get_mut("blocks.1.attn.w_o").unwrap().data[2 * width..3 * width].fill(0.0);
    weights.0.get_mut("blocks.2.ffn.w_out").unwrap().data.fill(0.0);
    weights.0.get_mut("blocks.2.ffn.b_out").unwrap().data.fill(0.0);
    let (_, captures) = pass(&config, &weights, attribution::wanted());
    let readout = Readout::new(&config, &weights).unwrap();
    let found = attribute(&readout, &config, &weights, &captures, 8, 31, None).unwrap();
    let of = |part: Part| found.parts.iter().find(|(other, _)| *other == part).unwrap().1;
    assert_eq!(of(Part::Head(Head { layer: 1, head: 2 })), 0.0);
    assert_eq!(of(Part::FeedForward(2)), 0.0);
    assert_ne!(of(Part::Head(Head { layer: 1, head: 1 })), 0.0);
    assert_ne!(of(Part::FeedForward(1)), 0.0);
}

fn effect(found: &Effects, config: &Config, head: Head) -> (f32, f32) {
    let index = head.layer * config.heads + head.head;
    (found.delta_loss[index], found.divergence[index])
}

#[test]
fn taking_out_what_does_nothing_changes_nothing() {
    let (_, config, mut weights) = models().swap_remove(1);
    let (silent, even) = (Head { layer: 1, head: 2 }, Head { layer: 2, head: 1 });
    let width = config.head_width * config.width;
    weights.0.get_mut("blocks.1.attn.w_o").unwrap().data[2 * width..3 * width].fill(0.0);
    // Without a query there are no scores, and the pattern is uniform already.
    let heads = config.heads * config.head_width;
    for row in weights.0.get_mut("blocks.2.attn.w_q").unwrap().data.chunks_mut(heads) {
        row[config.head_width..2 * config.head_width].fill(0.0);
    }
    weights.0.get_mut("blocks.2.attn.b_q").unwrap().data[config.head_width..2 * config.head_width].fill(0.0);
    let model = CpuModel::new(&config, &weights).unwrap();
    for how in Removal::ALL.iter().copied() {
        let found = effects(&model, &plain(), &TOKENS, how, 3).unwrap();
        assert_eq!((found.delta_loss.len(), found.divergence.len()), (12, 12));
        let (delta, divergence) = effect(&found, &config, silent);
        assert!(delta.abs() < 1e-6 && divergence < 1e-6, "{how:?}: a silent head matters by {delta}, {divergence}");
        let (_, divergence) = effect(&found, &config, even);
        assert_eq!(divergence < 1e-6, how == Removal::Uniform, "{how:?}: an even head matters by {divergence}");
        let (_, divergence) = effect(&found, &config, Head { layer: 0, head: 0 });
        assert!(divergence > 1e-5, "{how:?}: an ordinary head does not matter");
    }
}

#[test]
fn a_row_of_a_batch_is_a_pass_of_its_own() {
    let (_, config, weights) = models().swap_remove(0);
    let model = CpuModel::new(&config, &weights).unwrap();
    let pair = vec![Head { layer: 0, head: 1 }, Head { layer: 2, head: 5 }];
    // Two batches: 19 sets are more than one holds.
    let sets: Vec<Vec<Head>> =
        every_head(&model).into_iter().map(|head| vec![head]).chain([pair.clone(), Vec::new()]).collect();
    for (how, ablation) in
        [(Removal::Zero, Ablation::Scale(0.0)), (Removal::Mean, Ablation::Mean), (Removal::Uniform, Ablation::Uniform)]
    {
        let mut came = BTreeMap::new();
        without(&model, &plain(), &TOKENS, &sets, how, 0, |index, logits| {
            assert_eq!(logits.shape, [9, 50]);
            assert!(came.insert(index, logits.data.clone()).is_none(), "set {index} came twice");
        })
        .unwrap();
        assert_eq!(came.len(), 20);
        for (set, came) in sets.iter().zip(came.values()) {
            let edit = |patch: Patch, head: &Head| {
                patch.ablate(HookPoint::new(head.layer, site(how)), Some(head.head), ablation.clone())
            };
            let mut patch = set.iter().fold(Patch::default(), edit);
            let alone = model.run(&[&TOKENS], &plain(), 0, &mut patch).unwrap();
            let worst = alone.data.iter().zip(came).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{how:?} of {set:?} differs by {worst}");
        }
    }
}

/// Of two tokens the first keeps its place, so the other order is the same one, and its outputs are the head's own.
#[test]
fn resampling_from_the_same_prompt_changes_nothing() {
    let (_, config, weights) = models().swap_remove(0);
    let model = CpuModel::new(&config, &weights).unwrap();
    let found = effects(&model, &plain(), &TOKENS[..2], Removal::Resample, 9).unwrap();
    assert!(found.divergence.iter().all(|divergence| *divergence < 1e-6), "{:?}", found.divergence);
    let refused = effects(&model, &plain(), &TOKENS[..1], Removal::Zero, 0).unwrap_err();
    assert_eq!(refused.code(), "param");
    assert!(refused.to_string().contains("two"), "{refused}");
}
