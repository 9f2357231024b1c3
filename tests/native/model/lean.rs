//! The model without tensors ≡ the definition, over every boundary at which it works differently: tiles and rows of
//! products, blocks of queries, chunks of a prompt, room for keys.

use super::{lively, small_configs, some_tokens, stack};
use crate::fixtures::deviation;
use attnscope::experiment::Chip;
use attnscope::hook::{ActivationCache, Selection};
use attnscope::model::CpuModel;
use attnscope::model::config::Config;

const CONTEXT: usize = 300;

#[test]
fn a_long_plain_continuation_equals_the_definition() {
    for (name, config) in small_configs() {
        let config = Config { context: CONTEXT, ..config };
        let model = CpuModel::new(&config, &lively(&config, 1)).unwrap();
        let (plain, tokens) = (stack(&[]), some_tokens(config.vocabulary, CONTEXT));
        let mut nobody = ActivationCache::new(Selection::default());
        let whole = model.run(&[&tokens], &plain, 0, &mut nobody).unwrap();
        let size = whole.data.iter().fold(1.0f32, |most, logit| most.max(logit.abs()));
        for steps in [vec![1, 64, 65, 66, 129, 130, 257, 299, 300], vec![300], vec![31, 34, 97, 225], vec![128, 256]] {
            let mut decoder = model.decoder(&plain, 0);
            for seen in steps {
                let step = decoder.logits(&tokens[..seen]).unwrap();
                let reference = &whole.data[(seen - 1) * config.vocabulary..seen * config.vocabulary];
                let off = deviation(&step, reference) / size;
                assert!(off <= 2e-5, "{name}: after {seen} tokens logits deviate by {off} of the largest");
            }
        }
    }
}

/// A stack that does something is not taken for a plain one: softmax off its defaults continues as the definition does.
#[test]
fn softmax_off_its_defaults_is_no_plain_stack() {
    let (_, config) = small_configs().swap_remove(2);
    let model = CpuModel::new(&config, &lively(&config, 1)).unwrap();
    let tokens = some_tokens(config.vocabulary, 20);
    let logits = |chips: &[Chip]| {
        let stack = stack(chips);
        model.decoder(&stack, 0).logits(&tokens).unwrap()
    };
    let plain = logits(&[]);
    assert_eq!(logits(&[Chip::new("softmax")]), plain);
    assert!(deviation(&logits(&[Chip::new("softmax").with("temperature", 2.0)]), &plain) > 1e-3);
}
