//! Layer `gradients`: the derivative that training follows, against central differences of the loss.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use crate::model::{lively, small_configs, some_tokens, stack};
use attnscope::experiment::Chip;
use attnscope::mechanism::{ALL, Stack};
use attnscope::model::config::Config;
use attnscope::model::{Run, Text, Weights};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation};

/// Half the distance between the two losses of a central difference.
const STEP: f32 = 4e-3;

/// Mean cross-entropy of the next token.
fn loss(text: &Text, tokens: &[u32], stack: &Stack, device: &Device) -> Tensor<1> {
    let ids = |ids: &[u32]| {
        Tensor::<2, Int>::from_data(
            TensorData::new(ids.iter().map(|id| *id as i32).collect::<Vec<_>>(), [1, ids.len()]),
            device,
        )
    };
    let (inputs, targets) = (&tokens[..tokens.len() - 1], &tokens[1..]);
    let logits = text.forward(ids(inputs), &Run::new(stack, 3));
    activation::log_softmax(logits, 2).gather(2, ids(targets).unsqueeze_dim(2)).mean().neg()
}

/// Puts every weight's gradient in its place.
struct Take(Gradients);

impl ModuleMapper for Take {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let gradient = value.grad(&self.0).unwrap_or_else(|| value.inner().zeros_like());
        Param::initialized(param.id, gradient)
    }
}

fn check(name: &str, config: &Config, stack: &Stack) {
    let weights = lively(config, 8);
    let tokens = some_tokens(config.vocabulary, 9);
    let device = Device::flex().autodiff();
    let text = Text::from_weights(config, &weights, &device).unwrap();
    let gradients = loss(&text, &tokens, stack, &device).backward();
    let gradients = text.map(&mut Take(gradients)).to_weights();

    let plain = Device::flex();
    let at = |weights: &Weights| {
        let text = Text::from_weights(config, weights, &plain).unwrap();
        f64::from(loss(&text, &tokens, stack, &plain).into_scalar::<f32>())
    };
    for (weight, gradient) in &gradients.0 {
        // The steepest element of every weight: where a wrong derivative shows most.
        let steepest =
            (0..gradient.data.len()).max_by(|a, b| gradient.data[*a].abs().total_cmp(&gradient.data[*b].abs()));
        let element = steepest.unwrap();
        let moved = |step: f32| {
            let mut moved = weights.clone();
            moved.0.get_mut(weight).unwrap().data[element] += step;
            at(&moved)
        };
        let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
        let came = f64::from(gradient.data[element]);
        // f32 rounding of a loss near 4 allows 1e-4 in the quotient; the third derivative is the relative part.
        assert!(
            (came - difference).abs() <= 3e-4 + 0.01 * difference.abs(),
            "{name}: {weight}[{element}] has gradient {came}, but the loss changes by {difference}"
        );
        // Keys' biases shift whole rows of scores, which softmax ignores; everything else must matter.
        let ignored = weight.ends_with("b_k");
        assert!(ignored || came.abs() > 1e-4, "{name}: {weight} has no gradient");
    }
}

#[test]
fn every_weight_of_every_small_model() {
    for (name, config) in small_configs() {
        check(name, &config, &stack(&[]));
    }
}

#[test]
fn under_every_mechanism() {
    let (_, config) = small_configs().swap_remove(2);
    for mechanism in ALL {
        check(mechanism.id, &config, &stack(&[Chip::new(mechanism.id)]));
    }
}
