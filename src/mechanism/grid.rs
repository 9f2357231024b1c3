//! Where a mechanism is asked: positions as tensors, its own inputs, and what it remembers.

use crate::hook::Array;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::collections::BTreeMap;

/// Where in the model and the sequence a mechanism is asked, with positions as tensors.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Zero-based layer.
    pub layer: usize,
    /// Number of layers L.
    pub layers: usize,
    /// Number of query heads H.
    pub heads: usize,
    /// Number of key–value heads G.
    pub kv_heads: usize,
    /// Number of query rows Q.
    pub queries: usize,
    /// Number of keys K.
    pub keys: usize,
    /// Position of the first query row: 0 in a forward pass, the cache length in a decode step.
    pub first_query: usize,
    /// Where tensors live.
    pub device: Device,
    /// The inputs that the mechanism in question declares, in its order.
    pub inputs: Vec<Array>,
}

impl Grid {
    fn count(&self, from: usize, count: usize) -> Tensor<1> {
        Tensor::<1, Int>::arange(from as i64..(from + count) as i64, &self.device).float()
    }

    /// H as a real number.
    pub fn heads(&self) -> f32 {
        self.heads as f32
    }

    /// 1, 2, … H as `[1,H,1,1]`.
    pub fn head_ordinal(&self) -> Tensor<4> {
        self.count(1, self.heads).reshape([1, self.heads, 1, 1])
    }

    /// Index 0, 0, …, G - 1 of the key–value head that each query head reads, as `[1,H,1,1]`.
    pub fn kv_head(&self) -> Tensor<4> {
        let group = (self.heads / self.kv_heads.max(1)).max(1);
        let heads = Tensor::<1, Int>::arange(0..self.heads as i64, &self.device);
        heads.div_scalar(group as i64).float().reshape([1, self.heads, 1, 1])
    }

    /// Query positions as `[1,1,Q,1]`.
    pub fn query(&self) -> Tensor<4> {
        self.count(self.first_query, self.queries).reshape([1, 1, self.queries, 1])
    }

    /// Key positions as `[1,1,1,K]`.
    pub fn key(&self) -> Tensor<4> {
        self.count(0, self.keys).reshape([1, 1, 1, self.keys])
    }

    /// Query position minus key position as `[1,1,Q,K]`; negative for later keys.
    pub fn distance(&self) -> Tensor<4> {
        self.query() - self.key()
    }

    /// True where the key is not later than the query, `[1,1,Q,K]`.
    pub fn causal(&self) -> Tensor<4, Bool> {
        self.distance().greater_equal_elem(0.0)
    }

    /// Host values as a tensor on this device; values that do not fill `shape` are a bug of the mechanism and yield zeros.
    pub fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        if values.len() == shape.iter().product::<usize>() {
            Tensor::from_data(TensorData::new(values, shape), &self.device)
        } else {
            Tensor::zeros(shape, &self.device)
        }
    }

    /// The mechanism's input declared at `index`; an input nobody declared is a bug of the mechanism and yields zeros of
    /// one element, which fails its laws.
    pub fn input<const D: usize>(&self, index: usize) -> Tensor<D> {
        match self.inputs.get(index) {
            Some(array) => Tensor::from_data(TensorData::new(array.data.clone(), array.shape.clone()), &self.device),
            None => Tensor::zeros([1; D], &self.device),
        }
    }

    /// The same place for a mechanism with these inputs.
    pub fn with(&self, inputs: &[Array]) -> Self {
        Self { inputs: inputs.to_vec(), ..self.clone() }
    }
}

/// What one mechanism carries through one run: from earlier layers to later ones, and from earlier decode steps to later
/// ones. A forward pass starts with nothing; a decoder keeps it beside its keys and values.
///
/// A tensor is known by a name and a layer; what all layers share lies at the layer that wrote it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    tensors: BTreeMap<(&'static str, usize), Tensor<4>>,
}

impl Memory {
    /// What was written under this name at this layer.
    pub fn get(&self, name: &'static str, layer: usize) -> Option<Tensor<4>> {
        self.tensors.get(&(name, layer)).cloned()
    }

    /// Writes, over what was there.
    pub fn put(&mut self, name: &'static str, layer: usize, tensor: Tensor<4>) {
        self.tensors.insert((name, layer), tensor);
    }

    /// Number of f32 values held: what a decoder must keep between steps beside keys and values.
    pub fn words(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.dims().iter().product::<usize>()).sum()
    }
}

/// The memories of all mechanisms of one run, by id.
#[derive(Debug, Clone, Default)]
pub struct Memories(BTreeMap<&'static str, Memory>);

impl Memories {
    /// The memory of one mechanism.
    pub fn of(&mut self, id: &'static str) -> &mut Memory {
        self.0.entry(id).or_default()
    }

    /// Number of f32 values held by all of them.
    pub fn words(&self) -> usize {
        self.0.values().map(Memory::words).sum()
    }
}
