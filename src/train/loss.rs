//! Cross-entropy of the next token, its gradient, and what held-out text costs.

use super::forward::Pass;
use super::stream::Row;
use crate::mechanism::Stack;
use crate::model::{Run, Text};
use burn::optim::GradientsParams;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, activation};

/// Inputs `[B,Q]` and next tokens [B·Q,1] of rows of Q + 1 tokens, on `device`.
fn inputs_and_targets(rows: &[&[u16]], device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let queries = rows.first().map_or(0, |row| row.len() - 1);
    let collect = |skip: usize| -> Vec<i32> {
        rows.iter().flat_map(|row| row[skip..skip + queries].iter().map(|&token| i32::from(token))).collect()
    };
    let inputs = TensorData::new(collect(0), [rows.len(), queries]);
    let targets = TensorData::new(collect(1), [rows.len() * queries, 1]);
    (Tensor::from_data(inputs, device), Tensor::from_data(targets, device))
}

/// Sum over all positions of weight · loss in nats, and the gradients of (that sum · `scale`) for every weight of `model`.
///
/// The gradient of cross-entropy for the logits is softmax − one-hot. It is written down here and handed to autodiff as
/// the gradient of Σ logits · constant, because deriving it through log-softmax would walk the largest tensor of the
/// whole pass, [B·Q,V], five more times.
pub fn gradients(model: &Text, pass: &Pass, rows: &[&Row], scale: f32) -> (f64, GradientsParams) {
    let device = model.embed.val().device();
    let tokens: Vec<&[u16]> = rows.iter().map(|row| row.tokens.as_slice()).collect();
    let (inputs, targets) = inputs_and_targets(&tokens, &device);
    let logits = pass.logits(model, inputs); // [B·Q,V]
    let targets = targets.inner();
    let probability = activation::softmax(logits.clone().inner(), 1);
    let weights: Vec<f32> = rows.iter().flat_map(|row| row.weights.iter().copied()).collect();
    let losses = losses_of(probability.clone(), targets.clone());
    let loss = losses.iter().zip(&weights).map(|(loss, weight)| loss * f64::from(*weight)).sum();
    let scaled: Vec<f32> = weights.iter().map(|weight| weight * scale).collect();
    let scaled = Tensor::from_data(TensorData::new(scaled, targets.dims()), &probability.device());
    let minus_one = Tensor::full(targets.dims(), -1.0, &probability.device());
    let slope = probability.scatter(1, targets, minus_one, IndexingUpdateOp::Add) * scaled;
    let gradients = (logits * Tensor::from_inner(slope)).sum().backward();
    (loss, GradientsParams::from_grads(gradients, model))
}

/// Sum over all positions of the loss in nats by the model's own forward pass; `model` is not tracked by autodiff.
pub fn losses(model: &Text, stack: &Stack, rows: &[&[u16]]) -> f64 {
    let (inputs, targets) = inputs_and_targets(rows, &model.embed.val().device());
    let logits = model.forward(inputs, &Run::new(stack, 0));
    let [batch, queries, vocabulary] = logits.dims();
    sum_of_losses(activation::softmax(logits.reshape([batch * queries, vocabulary]), 1), targets)
}

/// −Σ ln p(target), given probabilities `[N,V]` and targets `[N,1]`.
fn sum_of_losses(probability: Tensor<2>, targets: Tensor<2, Int>) -> f64 {
    losses_of(probability, targets).iter().sum()
}

/// −ln p(target) of each row, given probabilities `[N,V]` and targets `[N,1]`.
fn losses_of(probability: Tensor<2>, targets: Tensor<2, Int>) -> Vec<f64> {
    // A probability that underflows costs 87 nats rather than infinity.
    let chosen = probability.gather(1, targets).clamp_min(f32::MIN_POSITIVE);
    chosen.into_data().iter::<f32>().map(|p| -f64::from(p.ln())).collect()
}
