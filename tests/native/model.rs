//! Layer `model`: numbers against references nobody here wrote, and laws of the model itself.
//!
//! The bodies of [`llama2c`] and [`nano_sort`] take any [`Forward`](attnscope::engine::Forward), so that both engines
//! answer the same questions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod configs;
mod decode;
mod edits;
pub mod files;
mod lean;
pub mod llama2c;
pub mod nano_sort;
mod sampling;
mod tokens;

use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::mechanism::{Mechanism, Stack, laws};
use attnscope::model::config::{Activation, Config, Pairing, Positions};
use attnscope::model::{Weights, attention};

/// The stack of a pane with these chips.
pub fn stack(chips: &[Chip]) -> Stack {
    Stack::new("a", chips).unwrap()
}

/// A mechanism in every corner of its parameters, alone.
pub fn corner_stacks(mechanism: &'static Mechanism) -> impl Iterator<Item = Stack> {
    laws::corners(mechanism).map(|values| {
        let written =
            mechanism.plug.spec.iter().zip(&values).map(|(param, value)| (param.key.to_string(), param.write(*value)));
        stack(&[Chip { id: mechanism.id.into(), values: written.collect() }])
    })
}

/// Small models that between them have every part: every family, both pairings, grouped heads, heads that turn in part,
/// parallel blocks, an untied head, biases, and each activation.
pub fn small_configs() -> Vec<(&'static str, Config)> {
    let rotary = |pairing| Positions::Rotary { theta: 100.0, pairing };
    vec![
        ("gpt2", Config::gpt2(23, 24, 2, 3, 32)),
        (
            "gpt2 untied, exact gelu",
            Config { tied: false, activation: Activation::Gelu, ..Config::gpt2(23, 16, 1, 2, 32) },
        ),
        ("llama", Config { context: 32, ..Config::llama(29, 24, 2, 6, 3, 40) }),
        (
            "llama adjacent, untied, biases, relu",
            Config {
                context: 32,
                positions: rotary(Pairing::Adjacent),
                tied: false,
                attention_bias: true,
                ffn_bias: true,
                activation: Activation::Relu,
                ..Config::llama(29, 24, 2, 2, 1, 20)
            },
        ),
        (
            "llama wide heads",
            Config {
                context: 32,
                head_width: 10,
                positions: rotary(Pairing::Half),
                ..Config::llama(17, 16, 1, 4, 2, 12)
            },
        ),
        ("neox", Config { positions: rotary(Pairing::Half), ..Config::neox(31, 24, 2, 3, 32) }),
        (
            "neox in sequence, tied, no biases of attention, tanh gelu",
            Config {
                positions: rotary(Pairing::Half),
                turned: Some(6),
                parallel: false,
                tied: true,
                attention_bias: false,
                activation: Activation::GeluTanh,
                ffn: 20,
                ..Config::neox(31, 20, 2, 2, 32)
            },
        ),
    ]
}

/// Weights far from their initial values, so that scores differ, biases act and gains are not one.
pub fn lively(config: &Config, seed: u64) -> Weights {
    let fill = |(name, shape): (String, Vec<usize>)| {
        let count = shape.iter().product();
        let mut data = attention::normal(count, if shape.len() == 2 { 0.3 } else { 0.2 }, &name, 0, seed);
        if name.ends_with(".w") {
            data.iter_mut().for_each(|gain| *gain += 1.0);
        }
        (name, Array { shape, data })
    };
    Weights(config.manifest().into_iter().map(fill).collect())
}

/// Some tokens of a vocabulary.
pub fn some_tokens(vocabulary: usize, count: usize) -> Vec<u32> {
    (0..count).map(|index| ((index * 7 + index * index * 3 + 2) % vocabulary) as u32).collect()
}
