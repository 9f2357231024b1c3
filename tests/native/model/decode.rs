//! Prefill ≡ step-by-step decoding, under every mechanism and in every corner of its parameters.

use super::{corner_stacks, lively, small_configs, some_tokens, stack};
use crate::fixtures::deviation;
use attnscope::experiment::Chip;
use attnscope::hook::{ActivationCache, Selection};
use attnscope::mechanism::{ALL, Law, Mechanism, Stack};
use attnscope::model::config::Config;
use attnscope::model::{CpuModel, Weights};
use attnscope::spec::Value;

fn check(config: &Config, weights: &Weights, stack: &Stack, name: &str) {
    let model = CpuModel::new(config, weights).unwrap();
    let tokens = some_tokens(config.vocabulary, 14);
    let mut nobody = ActivationCache::new(Selection::default());
    let whole = model.run(&[&tokens], stack, 5, &mut nobody).unwrap();
    let size = whole.data.iter().fold(1.0f32, |most, logit| most.max(logit.abs()));
    let mut decoder = model.decoder(stack, 5);
    // Three tokens at once, the rest one by one.
    for seen in 3..=tokens.len() {
        let step = decoder.logits(&tokens[..seen]).unwrap();
        let reference = &whole.data[(seen - 1) * config.vocabulary..seen * config.vocabulary];
        let off = deviation(&step, reference) / size;
        assert!(off <= 2e-5, "{name}: step {seen} deviates by {off} of the largest logit");
    }
}

#[test]
fn decoding_equals_prefill_for_every_model() {
    for (name, config) in small_configs() {
        check(&config, &lively(&config, 1), &stack(&[]), name);
    }
}

/// Where a mechanism claims to be causal that is every corner of its parameters, else where it claims that rows do not
/// depend on what follows.
#[test]
fn decoding_equals_prefill_under_every_mechanism() {
    let (_, config) = small_configs().swap_remove(2);
    let weights = lively(&config, 2);
    for mechanism in ALL {
        let causal = mechanism.laws.iter().any(|law| matches!(law, Law::Causal));
        let stacks: Vec<Stack> = if causal { corner_stacks(mechanism).collect() } else { prefix_stacks(mechanism) };
        for stack in stacks {
            let values = &stack.iter().find(|placed| placed.mechanism.id == mechanism.id).unwrap().values;
            check(&config, &weights, &stack, &format!("{} {values:?}", mechanism.id));
        }
    }
}

/// A mechanism alone at each setting of its [`Law::Prefix`].
fn prefix_stacks(mechanism: &'static Mechanism) -> Vec<Stack> {
    let settings = mechanism.laws.iter().filter_map(|law| match law {
        Law::Prefix(at) => Some(at),
        _ => None,
    });
    let chip = |at: &&[(&str, Value)]| {
        let written = at.iter().map(|(key, value)| {
            let param = mechanism.plug.spec.iter().find(|param| param.key == *key).unwrap();
            (key.to_string(), param.write(*value))
        });
        stack(&[Chip { id: mechanism.id.into(), values: written.collect() }])
    };
    settings.map(chip).collect()
}

/// The cache is really used: a decoder that has seen other tokens starts anew, and the context is a limit.
#[test]
fn a_decoder_follows_its_sequence() {
    let (_, config) = small_configs().swap_remove(0);
    let model = CpuModel::new(&config, &lively(&config, 3)).unwrap();
    let stack = stack(&[]);
    let tokens = some_tokens(config.vocabulary, config.context);
    let mut decoder = model.decoder(&stack, 0);
    let first = decoder.logits(&tokens[..5]).unwrap();
    let other = decoder.logits(&tokens[4..9]).unwrap();
    assert_eq!(decoder.logits(&tokens[..5]).unwrap(), first);
    assert_ne!(first, other);
    decoder.logits(&tokens).unwrap();
    let error = decoder.logits(&[tokens.clone(), vec![0]].concat()).unwrap_err().to_string();
    assert_eq!(error, "model: tokens is 33 tokens long but must fit the context of 32");
    assert!(decoder.logits(&[]).is_err());
    assert!(decoder.logits(&[23]).unwrap_err().to_string().contains("23"));
}
