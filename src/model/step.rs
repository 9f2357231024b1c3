//! The attention step alone, host arrays in and out: what `apply` runs and what the GPU twin is compared with.

use super::attention;
use crate::hook::Array;
use crate::mechanism::{Grid, Stack};
use crate::shape::Axes;
use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};

/// What an attention step is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Rotated queries `[B,H,Q,D]`.
    pub q: Array,
    /// Rotated keys `[B,G,K,D]`.
    pub k: Array,
    /// Values `[B,G,K,D]`.
    pub v: Array,
    /// What q·k is multiplied by, usually 1/√D.
    pub scale: f32,
    /// Position of the first query.
    pub first_query: usize,
    /// Zero-based layer.
    pub layer: usize,
    /// Inputs of the normalizer, in its order.
    pub inputs: Vec<Array>,
}

/// What an attention step computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// `[B,H,Q,K]`; removed entries hold [`MASKED`](crate::mechanism::MASKED).
    pub scores: Array,
    /// `[B,H,Q,K]`; zero where a pair is not kept.
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
        let normalizer = stack.normalizer.mechanism;
        let mut axes = Axes::new(normalizer.id);
        axes.bind("q", "BHQD", &self.q.shape)?;
        axes.bind("k", "BGKD", &self.k.shape)?;
        axes.bind("v", "BGKD", &self.v.shape)?;
        let refuse = |tensor: &str, expected: String, came: String| {
            Err(Error::Shape { who: normalizer.id.into(), tensor: tensor.into(), expected, came })
        };
        let (declared, given) = (normalizer.plug.inputs, &self.inputs);
        if declared.len() != given.len() {
            let names: Vec<_> = declared.iter().map(|input| input.name).collect();
            return refuse("inputs", format!("[{}]", names.join(",")), format!("{} tensors", given.len()));
        }
        for (input, array) in declared.iter().zip(given) {
            axes.bind(input.name, input.axes, &array.shape)?;
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
    let grid = Grid {
        layer: given.layer,
        heads: sizes.heads,
        kv_heads: sizes.kv_heads,
        queries: sizes.queries,
        keys: sizes.keys,
        first_query: given.first_query,
        device: device.clone(),
    };
    let q = tensor(&given.q);
    let scores = attention::scores(q.clone(), tensor(&given.k), given.scale);
    let attended = attention::weigh(stack, &grid, scores, q, given.scale, given.inputs.clone());
    let slot = attended.weighted.slot.as_ref().map(|slot| slot.weight.clone().squeeze_dim::<3>(3));
    Ok(Applied {
        scores: host(attended.scores)?,
        pattern: host(attended.weighted.pattern.clone())?,
        slot: slot.map(host).transpose()?,
        z: host(attention::mix(attended.weighted, tensor(&given.v)))?,
    })
}

/// Whether the normalizer of `stack` gives weight to a slot beside the keys. Asked of the definition on a single pair,
/// so that the answer stands in no second place.
pub fn has_slot(stack: &Stack) -> bool {
    let device = Device::flex();
    let one = Tensor::<4>::ones([1, 1, 1, 1], &device);
    let grid = Grid { layer: 0, heads: 1, kv_heads: 1, queries: 1, keys: 1, first_query: 0, device };
    let inputs = attention::default_inputs(&stack.normalizer, 0, 1, 1, 1, 0);
    attention::weigh(stack, &grid, one.clone(), one, 1.0, inputs).weighted.slot.is_some()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Result<Array> {
    let shape = tensor.dims();
    let values = tensor
        .into_data()
        .try_to_vec::<f32>()
        .map_err(|error| Error::Internal(format!("attention step: {error:?}")))?;
    Array::new(shape, values)
}
