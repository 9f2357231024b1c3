//! Layer `gradients`: the derivative that training follows, against central differences of the loss.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use crate::model::{lively, small_configs, some_tokens, stack};
use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::lens::base::Base;
use attnscope::mechanism::{ALL, Stack};
use attnscope::model::config::Config;
use attnscope::model::{CpuModel, Run, Text, Weights};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation};

/// Half the distance between the two losses of a central difference.
const STEP: f32 = 4e-3;
/// Elements of a weight that are tried where the loss jumps or has a kink.
const TRIES: usize = 24;

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

/// The gradient of the loss over nine tokens.
fn gradients(config: &Config, stack: &Stack) -> Weights {
    let device = Device::flex().autodiff();
    let text = Text::from_weights(config, &lively(config, 8), &device).unwrap();
    let gradients = loss(&text, &some_tokens(config.vocabulary, 9), stack, &device).backward();
    text.map(&mut Take(gradients)).to_weights()
}

/// The share of weights along which the loss jumps or has a kink, so that nothing could be compared.
fn check(name: &str, config: &Config, stack: &Stack) -> f64 {
    let weights = lively(config, 8);
    let tokens = some_tokens(config.vocabulary, 9);
    let gradients = gradients(config, stack);
    let plain = Device::flex();
    let at = |weights: &Weights| {
        let text = Text::from_weights(config, weights, &plain).unwrap();
        f64::from(loss(&text, &tokens, stack, &plain).into_scalar::<f32>())
    };
    let mut jumps = 0;
    for (weight, gradient) in &gradients.0 {
        // The steepest elements of every weight: where a wrong derivative shows most.
        let mut steepest: Vec<usize> = (0..gradient.data.len()).collect();
        steepest.sort_by(|a, b| gradient.data[*b].abs().total_cmp(&gradient.data[*a].abs()));
        let moved = |element: usize, step: f32| {
            let mut moved = weights.clone();
            moved.0.get_mut(weight).unwrap().data[element] += step;
            at(&moved)
        };
        // Two central differences cancel the third derivative, which is large where a mechanism sharpens rows. Where it
        // chooses or drops keys the loss jumps or has a kink, the two differ, and the element says nothing.
        let slope = |element: usize| {
            let central = |step: f32| (moved(element, step) - moved(element, -step)) / f64::from(2.0 * step);
            let (near, far) = (central(STEP), central(2.0 * STEP));
            let smooth = (near - far).abs() <= 1e-3 + 0.02 * near.abs();
            smooth.then_some((element, (4.0 * near - far) / 3.0))
        };
        let found = steepest.iter().take(TRIES).find_map(|element| slope(*element));
        let Some((element, difference)) = found else {
            jumps += 1;
            continue;
        };
        let came = f64::from(gradient.data[element]);
        // f32 rounding of a loss near 4 allows 1e-4 in the quotient; higher derivatives are the relative part.
        assert!(
            (came - difference).abs() <= 3e-4 + 0.01 * difference.abs(),
            "{name}: {weight}[{element}] has gradient {came}, but the loss changes by {difference}"
        );
        // Keys' biases shift whole rows of scores, which softmax ignores; everything else must matter.
        let ignored = weight.ends_with("b_k");
        assert!(ignored || came.abs() > 1e-4, "{name}: {weight} has no gradient");
    }
    jumps as f64 / gradients.0.len() as f64
}

#[test]
fn every_weight_of_every_small_model() {
    for (name, config) in small_configs() {
        assert_eq!(check(name, &config, &stack(&[])), 0.0, "{name}");
    }
}

#[test]
fn under_every_mechanism() {
    let (_, config) = small_configs().swap_remove(2);
    for mechanism in ALL {
        let kinks = check(mechanism.id, &config, &stack(&[Chip::new(mechanism.id)]));
        assert!(kinks <= 0.25, "{}: the loss has kinks along {kinks} of all weights", mechanism.id);
    }
}

/// Nine tokens are fewer than many defaults take notice of: sizes at which the mechanism acts on them.
#[test]
fn under_sizes_that_nine_tokens_feel() {
    let (_, config) = small_configs().swap_remove(2);
    let plain = gradients(&config, &stack(&[]));
    for chip in [
        Chip::new("s2_attention").with("block", 2.0).with("local_blocks", 1.0).with("stride", 3.0),
        Chip::new("neighborhood_attention").with("neighbours", 3.0).with("dilation", 2.0),
        Chip::new("halo_attention").with("block", 3.0).with("halo", 1.0),
        Chip::new("streaming_window").with("sinks", 1.0).with("window", 3.0),
        Chip::new("lightning_attention").with("algorithm", "block").with("block", 3.0),
    ] {
        let stack = stack(std::slice::from_ref(&chip));
        assert_ne!(gradients(&config, &stack), plain, "{chip:?} does nothing here");
        assert_eq!(check(&chip.id, &config, &stack), 0.0, "{chip:?}");
    }
}

/// Paper 61, check (b): blocks and the recurrence have the gradient of the left product, also where blocks do not divide
/// the text.
#[test]
fn three_algorithms_have_one_gradient() {
    let (_, config) = small_configs().swap_remove(2);
    let of = |algorithm: &str, block: f64| {
        gradients(
            &config,
            &stack(&[Chip::new("lightning_attention").with("algorithm", algorithm).with("block", block)]),
        )
    };
    let left = of("left", 64.0);
    for (algorithm, block) in [("block", 1.0), ("block", 3.0), ("block", 8.0), ("right", 64.0)] {
        for ((weight, came), expected) in of(algorithm, block).0.iter().zip(left.0.values()) {
            let size = expected.data.iter().map(|x| x.abs()).fold(1e-3, f32::max);
            let off = came.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-3 * size, "{algorithm} {block}: {weight} is off by {off} of {size}");
        }
    }
}

/// The slopes that the page takes are those of burn, at every layer, of every family.
#[test]
fn slopes_by_hand_are_those_of_burn() {
    let (query, of) = (5, [(7, 1.0), (3, -2.0)]);
    for (name, config) in small_configs() {
        let weights = lively(&config, 8);
        let tokens = some_tokens(config.vocabulary, 9);
        let (model, stack) = (CpuModel::new(&config, &weights).unwrap(), stack(&[]));
        let base = Base::new(&model, &stack, 0, &tokens, &[]).unwrap();
        let stream = |layer: usize| TensorData::new(base.residuals[layer].data.clone(), [1, 9, config.width]);
        let first = base.residuals[0].clone();
        let slopes = model.slopes(&Array::new([1, 9, config.width], first.data).unwrap(), query, &of).unwrap();
        assert_eq!((slopes.begin.len(), slopes.attention.len()), (config.layers + 1, config.layers));
        let device = Device::flex().autodiff();
        let text = Text::from_weights(&config, &weights, &device).unwrap();
        for layer in 0..=config.layers {
            let x = Tensor::<3>::from_data(stream(layer), &device).require_grad();
            let logits = text.resume(x.clone(), layer, Some(query), &Run::new(&stack, 0));
            let part = |(id, weight): &(u32, f32)| logits.clone().narrow(2, *id as usize, 1).sum() * *weight;
            let gradients = of.iter().map(part).reduce(|a, b| a + b).unwrap().backward();
            let expected: Vec<f32> = x.grad(&gradients).unwrap().into_data().iter::<f32>().collect();
            let size = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
            assert!(size > 0.01, "{name}: nothing to compare");
            for (came, expected) in slopes.begin[layer].data.iter().zip(&expected) {
                assert!((came - expected).abs() < 1e-4 * size, "{name}, layer {layer}: {came} is not {expected}");
            }
        }
    }
}
