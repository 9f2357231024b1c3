//! The attention step alone, host arrays in and out: what `apply` runs and what the GPU twin is compared with.

use super::attention;
use super::rotary::Rotation;
use crate::hook::Array;
use crate::mechanism::{Grid, Memories, Mixed, Stack, Vectors};
use crate::shape::Axes;
use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};

/// Base of the wavelengths by which a step alone turns, in halves, what a mechanism that changes projections is given.
pub const THETA: f64 = 10_000.0;

/// What an attention step is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Rotated queries `[B,H,Q,D]`; not yet rotated where the stack changes projections.
    pub q: Array,
    /// Rotated keys `[B,G,K,D]`; not yet rotated where the stack changes projections.
    pub k: Array,
    /// Values `[B,G,K,D]`.
    pub v: Array,
    /// What q·k is multiplied by, usually 1/√D.
    pub scale: f32,
    /// Position of the first query.
    pub first_query: usize,
    /// Zero-based layer.
    pub layer: usize,
    /// Number of layers of the model; a mechanism that depends on it acts on `layer` as on one of these.
    pub layers: usize,
    /// Inputs of the mechanisms, in the order of [`Stack::inputs`].
    pub inputs: Vec<Array>,
}

/// What an attention step computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// `[B,H,Q,K]`; removed entries hold [`MASKED`](crate::mechanism::MASKED).
    pub scores: Array,
    /// `[B,H,Q,K]`; zero where a pair is not kept. Of a mixer the weights it stands for.
    pub pattern: Array,
    /// Weight of the slot `[B,H,Q]`, where the normalizer has one.
    pub slot: Option<Array>,
    /// `[B,H,Q,D]`
    pub z: Array,
}

/// Sizes of an attention step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// B.
    pub batch: usize,
    /// H.
    pub heads: usize,
    /// G; divides H.
    pub kv_heads: usize,
    /// Q.
    pub queries: usize,
    /// K.
    pub keys: usize,
    /// D.
    pub width: usize,
}

impl Given {
    /// Binds every axis, with the inputs of `stack`.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the tensor that does not fit the others.
    pub fn sizes(&self, stack: &Stack) -> Result<Sizes> {
        let who = stack.iter().map(|placed| placed.mechanism.id).collect::<Vec<_>>().join(" ");
        let mut axes = Axes::new(who.as_str());
        axes.bind("q", "BHQD", &self.q.shape)?;
        axes.bind("k", "BGKD", &self.k.shape)?;
        axes.bind("v", "BGKD", &self.v.shape)?;
        let refuse = |tensor: &str, expected: String, came: String| {
            Err(Error::Shape { who: who.clone(), tensor: tensor.into(), expected, came })
        };
        let declared: Vec<_> = stack.inputs().map(|(_, input)| input).collect();
        if declared.len() != self.inputs.len() {
            let names: Vec<_> = declared.iter().map(|input| input.name).collect();
            return refuse("inputs", format!("[{}]", names.join(",")), format!("{} tensors", self.inputs.len()));
        }
        for (input, array) in declared.iter().zip(&self.inputs) {
            let expected = input.shape(axes.size('H')?, axes.size('G')?, axes.size('D')?);
            if expected != array.shape {
                return refuse(input.name, format!("{expected:?}"), format!("{:?}", array.shape));
            }
        }
        for (name, array) in [("q", &self.q), ("k", &self.k), ("v", &self.v)] {
            if array.data.is_empty() || array.data.len() != array.shape.iter().product::<usize>() {
                return refuse(name, format!("filled [{:?}]", array.shape), format!("{} values", array.data.len()));
            }
        }
        let (heads, kv_heads) = (axes.size('H')?, axes.size('G')?);
        if !heads.is_multiple_of(kv_heads) {
            return refuse("k", format!("of as many heads as divide the {heads} of q"), kv_heads.to_string());
        }
        Ok(Sizes {
            batch: axes.size('B')?,
            heads,
            kv_heads,
            queries: axes.size('Q')?,
            keys: axes.size('K')?,
            width: axes.size('D')?,
        })
    }
}

/// Runs the attention step of `stack` on the processor.
///
/// # Errors
/// Those of [`Given::sizes`].
pub fn apply(stack: &Stack, given: &Given) -> Result<Applied> {
    let sizes = given.sizes(stack)?;
    let device = Device::flex();
    let tensor = |array: &Array| -> Tensor<4> {
        Tensor::from_data(TensorData::new(array.data.clone(), array.shape.clone()), &device)
    };
    let at = Grid {
        layer: given.layer,
        layers: given.layers,
        heads: sizes.heads,
        kv_heads: sizes.kv_heads,
        queries: sizes.queries,
        keys: sizes.keys,
        first_query: given.first_query,
        device: device.clone(),
        inputs: Vec::new(),
    };
    let (q, k, v) = (tensor(&given.q), tensor(&given.k), tensor(&given.v));
    let mut vectors = Vectors { q, k, v, scale: given.scale, corrected: None };
    let mut memories = Memories::default();
    let mut out = None;
    if !stack.projection_mods.is_empty() {
        let rotation = Rotation::whole(THETA, sizes.width, sizes.keys, &device);
        (vectors, out) = attention::project_whole(stack, &at, vectors, rotation, &given.inputs, &mut memories);
    }
    if let Some(mixer) = &stack.mixer {
        let plain = Stack::new("a", &[])?;
        let scored = attention::score(&plain, &at, &vectors, vectors.scores(), &[], &mut memories);
        let Mixed { z, pattern } = attention::mix(stack, mixer, &at, vectors, &given.inputs, &mut memories);
        let z = attention::restore(z, out.as_ref());
        return Ok(Applied { scores: host(scored.scores)?, pattern: host(pattern())?, slot: None, z: host(z)? });
    }
    let scored = attention::score(stack, &at, &vectors, vectors.scores(), &given.inputs, &mut memories);
    let scores = host(scored.scores.clone())?;
    let weighted = attention::weigh(stack, &at, scored, vectors.clone(), &given.inputs, &mut memories);
    let slot = weighted.slot.as_ref().map(|slot| slot.weight.clone().squeeze_dim::<3>(3));
    Ok(Applied {
        scores,
        pattern: host(weighted.pattern.clone())?,
        slot: slot.map(host).transpose()?,
        z: host(attention::sum(&weighted, &vectors, out.as_ref()))?,
    })
}

/// Whether the normalizer of `stack` gives weight to a slot beside the keys. Asked of the definition on a single pair,
/// so that the answer stands in no second place.
pub fn has_slot(stack: &Stack) -> bool {
    if stack.mixer.is_some() {
        return false;
    }
    let device = Device::flex();
    let one = Tensor::<4>::ones([1, 1, 1, 1], &device);
    let at = Grid {
        layer: 0,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        queries: 1,
        keys: 1,
        first_query: 0,
        device,
        inputs: Vec::new(),
    };
    let inputs = attention::default_inputs(stack, 0, 1, 1, 1, 0);
    let vectors = Vectors { q: one.clone(), k: one.clone(), v: one.clone(), scale: 1.0, corrected: None };
    let mut memories = Memories::default();
    let scored = attention::score(stack, &at, &vectors, one, &inputs, &mut memories);
    attention::weigh(stack, &at, scored, vectors, &inputs, &mut memories).slot.is_some()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Result<Array> {
    let shape = tensor.dims();
    // Value by value, since the numbers of the self-check are computed in f64.
    Array::new(shape, tensor.into_data().iter::<f32>().collect())
}
