//! How a number made of logits changes with the residual stream, by the chain rule, from the end to the beginning.
//!
//! burn can differentiate the model by itself, but carrying that into the page would cost its size; the model needs only
//! this much. One pass back gives the slopes at the beginning and in the middle of every layer at once:
//!
//! ```text
//! norm       dx = (d − mean(d) − x̂·mean(d ⊙ x̂)) / deviation,  d = dy ⊙ gain       RMSNorm without mean(d)
//! softmax    ds = A ⊙ (dA − Σ A ⊙ dA),  dA = dz·vᵀ          dq = ds·k·scale   dk = dsᵀ·q·scale   dv = Aᵀ·dz
//! rotation   turned back by the same angle
//! ```
//!
//! Against a reference the same pass gives DeepLIFT's multipliers (rescale rule): where an activation bends, its slope is that
//! of the straight line from the reference's point to the own one, (y − y₀) / (x − x₀). Products, norms and softmax keep the
//! slopes of the own point.
//!
//! It is attention as the model was trained; what mechanisms put in its place it does not know. Tests hold it against burn's
//! own gradients.

use super::{Block, Gain, Map, Text, join_heads, split_heads};
use crate::mechanism::{MASKED, Vectors};
use crate::model::config::{Activation, Norm, Positions};
use crate::model::rotary::Rotation;
use burn::tensor::{Tensor, TensorData, activation};

/// Slopes of a number on the residual stream of every layer, each `[B,Q,M]`.
pub struct Slopes {
    /// At the beginning of each layer, and after the last: L + 1.
    pub begin: Vec<Tensor<3>>,
    /// Of what attention adds in each layer.
    pub attention: Vec<Tensor<3>>,
}

/// What a layer leaves for the way back.
struct Layer {
    /// At its beginning `[B,Q,M]`.
    x: Tensor<3>,
    /// Where its feed-forward reads `[B,Q,M]`.
    read: Tensor<3>,
    /// Turned queries and keys, values.
    vectors: Vectors,
    /// `[B,H,Q,K]`
    pattern: Tensor<4>,
}

impl Text {
    /// Slopes of Σ weight·logit of some tokens at position `query`, at the residual stream x `[B,Q,M]` before the first layer
    /// of whole sequences.
    /// Against a `reference` `[B,Q,M]` they are multipliers.
    pub fn slopes(&self, mut x: Tensor<3>, reference: Option<Tensor<3>>, query: usize, of: &[(u32, f32)]) -> Slopes {
        let device = x.device();
        let [batch, queries, width] = x.dims();
        let rotation = match self.config.positions {
            Positions::Learned => None,
            Positions::Rotary { pairing, .. } => {
                Some(Rotation::new(&self.config.frequencies(), pairing, 0, queries, &device))
            }
        };
        let mut layers = Vec::new();
        for block in &self.blocks {
            let layer;
            (layer, x) = self.forth(block, x, rotation.as_ref());
            layers.push(layer);
        }
        // What enters every activation on the reference.
        let mut bends: Vec<Option<Tensor<3>>> = vec![None; self.blocks.len()];
        if let Some(mut x) = reference {
            for (block, bend) in self.blocks.iter().zip(&mut bends) {
                let layer;
                (layer, x) = self.forth(block, x, rotation.as_ref());
                let normal = block.ln2.apply(layer.read);
                *bend = Some(block.gate.as_ref().unwrap_or(&block.inner).apply(normal));
            }
        }
        // What the logits listen to, through the vocabulary head.
        let mut listened = vec![0.0; width];
        for (token, weight) in of {
            let row: Tensor<1> = match &self.unembed {
                Some(unembed) => unembed.val().narrow(1, *token as usize, 1).reshape([width]),
                None => self.embed.val().narrow(0, *token as usize, 1).reshape([width]),
            };
            let row = row.into_data();
            listened.iter_mut().zip(row.iter::<f32>()).for_each(|(sum, value)| *sum += weight * value);
        }
        let listened = Tensor::<1>::from_data(TensorData::new(listened, [width]), &device);
        let end = self.ln_final.back(x.narrow(1, query, 1), listened.reshape([1, 1, width]).expand([batch, 1, width]));
        let nothing = |rows: usize| Tensor::<3>::zeros([batch, rows, width], &device);
        // Only the row of the query is read.
        let around = [
            (query > 0).then(|| nothing(query)),
            Some(end),
            (query + 1 < queries).then(|| nothing(queries - query - 1)),
        ];
        let mut slope = Tensor::cat(around.into_iter().flatten().collect(), 1);
        let (mut begin, mut attention) = (vec![slope.clone()], Vec::new());
        for ((block, layer), bend) in self.blocks.iter().zip(&layers).zip(&bends).rev() {
            let after = slope.clone();
            let read = block
                .ln2
                .back(layer.read.clone(), self.feed_forward_back(block, &layer.read, bend.as_ref(), slope.clone()));
            slope = slope + read;
            // Where the halves stand side by side, attention adds to what the next layer reads, not to what this one does.
            let adds = if self.config.parallel { after } else { slope.clone() };
            let back = self.attend_back(block, layer, adds.clone(), rotation.as_ref());
            slope = slope + block.ln1.back(layer.x.clone(), back);
            attention.push(adds);
            begin.push(slope.clone());
        }
        begin.reverse();
        attention.reverse();
        Slopes { begin, attention }
    }

    /// One layer of plain attention.
    fn forth(&self, block: &Block, x: Tensor<3>, rotation: Option<&Rotation>) -> (Layer, Tensor<3>) {
        let normal = block.ln1.apply(x.clone());
        let turn = |x: Tensor<4>| match rotation {
            Some(rotation) => rotation.turn(x),
            None => x,
        };
        let vectors = Vectors {
            q: turn(split_heads(block.q.apply(normal.clone()), self.config.heads)),
            k: turn(split_heads(block.k.apply(normal.clone()), self.config.kv_heads)),
            v: split_heads(block.v.apply(normal), self.config.kv_heads),
            scale: self.config.scale(),
            corrected: None,
        };
        let scores = vectors.scores();
        let [.., queries, keys] = scores.dims();
        let later = Tensor::<2, burn::tensor::Int>::ones([queries, keys], &scores.device()).triu(1).bool();
        let shape = scores.dims();
        let pattern = activation::softmax(scores.mask_fill(later.unsqueeze::<4>().expand(shape), MASKED), 3);
        let mixed = block.o.apply(join_heads(pattern.clone().matmul(vectors.values())));
        let middle = x.clone() + mixed;
        let read = if self.config.parallel { x.clone() } else { middle.clone() };
        let (post, _) = self.gates(block, &block.ln2.apply(read.clone()), None);
        (Layer { x, read, vectors, pattern }, middle + block.outer.apply(post))
    }

    /// What the feed-forward holds before its output projection, and what that changes by with the gate and with the linear
    /// part: (post, (slope of the gate, slope of the linear part)), each `[B,Q,F]`; ungated families have no gate.
    fn gates(
        &self,
        block: &Block,
        normal: &Tensor<3>,
        bend: Option<&Tensor<3>>,
    ) -> (Tensor<3>, (Option<Tensor<3>>, Tensor<3>)) {
        let inner = block.inner.apply(normal.clone());
        match &block.gate {
            Some(gate) => {
                let gate = gate.apply(normal.clone());
                let (value, slope) = rescaled(self.config.activation, gate, bend);
                (value.clone() * inner.clone(), (Some(slope * inner), value))
            }
            None => {
                let (value, slope) = rescaled(self.config.activation, inner, bend);
                (value, (None, slope))
            }
        }
    }

    /// Slope of the feed-forward's normalised input, from that of its output.
    fn feed_forward_back(
        &self,
        block: &Block,
        read: &Tensor<3>,
        bend: Option<&Tensor<3>>,
        slope: Tensor<3>,
    ) -> Tensor<3> {
        let (_, (gate, inner)) = self.gates(block, &block.ln2.apply(read.clone()), bend);
        let post = block.outer.back(slope);
        let linear = block.inner.back(post.clone() * inner);
        match block.gate.as_ref().zip(gate) {
            Some((map, gate)) => linear + map.back(post * gate),
            None => linear,
        }
    }

    /// Slope of attention's normalised input, from that of its output.
    fn attend_back(&self, block: &Block, layer: &Layer, slope: Tensor<3>, rotation: Option<&Rotation>) -> Tensor<3> {
        let z = split_heads(block.o.back(slope), self.config.heads); // [B,H,Q,D]
        let (vectors, pattern) = (&layer.vectors, &layer.pattern);
        let weights = z.clone().matmul(vectors.values().swap_dims(2, 3)); // [B,H,Q,K]
        let mean = (pattern.clone() * weights.clone()).sum_dim(3);
        let scores = pattern.clone() * (weights - mean) * vectors.scale;
        let groups = |x: Tensor<4>| {
            let [batch, heads, keys, width] = x.dims();
            let group = heads / self.config.kv_heads;
            x.reshape([batch, self.config.kv_heads, group, keys * width]).sum_dim(2).reshape([
                batch,
                self.config.kv_heads,
                keys,
                width,
            ])
        };
        let turn = |x: Tensor<4>| match rotation {
            Some(rotation) => rotation.back(x),
            None => x,
        };
        let q = turn(scores.clone().matmul(vectors.keys()));
        let k = turn(groups(scores.swap_dims(2, 3).matmul(vectors.q.clone())));
        let v = groups(pattern.clone().swap_dims(2, 3).matmul(z));
        block.q.back(join_heads(q)) + block.k.back(join_heads(k)) + block.v.back(join_heads(v))
    }
}

impl Map {
    /// dy `[B,Q,out]` → dx `[B,Q,in]`.
    fn back(&self, slope: Tensor<3>) -> Tensor<3> {
        slope.matmul(self.w.val().transpose().unsqueeze())
    }
}

impl Gain {
    /// The slope at x `[B,Q,M]` from that of what the norm makes of it.
    fn back(&self, x: Tensor<3>, slope: Tensor<3>) -> Tensor<3> {
        let slope = slope * self.w.val().unsqueeze();
        let x = if self.norm == Norm::Layer { x.clone() - x.mean_dim(2) } else { x };
        let shrink = (x.clone().square().mean_dim(2) + self.epsilon).sqrt().recip(); // [B,Q,1]
        let x = x * shrink.clone();
        let along = x.clone() * (slope.clone() * x).mean_dim(2);
        let slope = if self.norm == Norm::Layer { slope.clone() - slope.mean_dim(2) } else { slope };
        (slope - along) * shrink
    }
}

/// Nearer points have the slope for the quotient, which rounding would spoil.
const NEAR: f32 = 1e-6;

/// An activation and its slope; against a reference that of the line between both points.
fn rescaled(which: Activation, x: Tensor<3>, reference: Option<&Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
    let (value, slope) = activated(which, x.clone());
    let Some(reference) = reference else { return (value, slope) };
    let step = x - reference.clone();
    let near = step.clone().abs().lower_elem(NEAR);
    let (other, _) = activated(which, reference.clone());
    let line = (value.clone() - other) / step.mask_fill(near.clone(), 1.0);
    (value, line.mask_where(near, slope))
}

/// An activation and its slope.
fn activated(which: Activation, x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    match which {
        Activation::Gelu => {
            let bell = (x.clone().square() * -0.5).exp()
                * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2);
            let below = ((x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
            (activation::gelu(x.clone()), below + x * bell)
        }
        Activation::GeluTanh => {
            const CUBIC: f32 = 0.044_715;
            let rate = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
            let bent = ((x.clone() + x.clone().powi_scalar(3) * CUBIC) * rate).tanh();
            let steep = (x.clone().square() * (3.0 * CUBIC) + 1.0) * rate;
            let slope = (bent.clone() + 1.0) * 0.5 + x.clone() * (bent.square().neg() + 1.0) * steep * 0.5;
            (activation::gelu_approximate(x), slope)
        }
        Activation::Silu => {
            let share = activation::sigmoid(x.clone());
            (activation::silu(x.clone()), share.clone() * (x * (share.neg() + 1.0) + 1.0))
        }
        Activation::Relu => (activation::relu(x.clone()), x.greater_elem(0.0).float()),
    }
}
