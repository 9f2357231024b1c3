//! What turns gradients into new weights.
//!
//! Matrices of the blocks move by Muon (momentum, orthogonalised), which on a budget of a few million tokens reaches a
//! given loss in fewer of them than AdamW; the embedding and the norms, where it does not apply, move by AdamW. Muon's
//! updates are scaled to the root mean square of AdamW's, so one learning rate serves both.

use crate::model::Text;
use burn::grad_clipping::GradientClipping;
use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamWConfig, AdjustLrFn, GradientsParams, ModuleOptimizer, MuonConfig};
use burn::tensor::Tensor;

/// Decay of the matrices per unit of learning rate; gains are not decayed.
const WEIGHT_DECAY: f32 = 0.1;

/// Longest gradient of a whole step; longer ones are shortened.
const LONGEST: f64 = 1.0;

/// Which rule moves the matrices of the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "native", derive(clap::ValueEnum))]
pub enum Rule {
    /// Momentum, orthogonalised.
    Muon,
    /// Adam with decoupled weight decay.
    AdamW,
}

/// A fresh optimizer of a [`Text`].
pub fn new(rule: Rule) -> ModuleOptimizer {
    let adam = |decay| {
        AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(decay).build()
    };
    let gains = ModuleOptimizer::from(adam(0.0));
    let embeddings = ParamGroup::from_any_predicates(vec!["embed", "positions"]);
    let maps = ParamGroup::from_any_predicates(MAPS.to_vec());
    let optimizer = gains.with_group(embeddings, adam(WEIGHT_DECAY), None);
    match rule {
        Rule::AdamW => optimizer.with_group(maps, adam(WEIGHT_DECAY), None::<GradientClipping>),
        Rule::Muon => {
            let decay = Some(WeightDecayConfig::new(WEIGHT_DECAY));
            let muon = MuonConfig::new().with_weight_decay(decay).with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW).build();
            optimizer.with_group(maps, muon, None)
        }
    }
}

/// Paths of the matrices inside a block.
const MAPS: [&str; 7] = [".q.w", ".k.w", ".v.w", ".o.w", ".gate.w", ".inner.w", ".outer.w"];

/// Shortens the gradients to [`LONGEST`] when together they are longer; returns how long they were.
pub fn clip(model: &Text, gradients: &mut GradientsParams) -> f64 {
    let mut squares = Squares { gradients, sum: 0.0 };
    model.visit(&mut squares);
    let length = squares.sum.sqrt();
    if length > LONGEST {
        model.visit(&mut Scale { gradients, factor: (LONGEST / length) as f32 });
    }
    length
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += f64::from(gradient.square().sum().into_scalar::<f32>());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}
