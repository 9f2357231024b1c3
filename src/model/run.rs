//! What a forward pass is given besides tokens: the stack of mechanisms, the seed, and who watches.

use super::attention;
use super::config::Config;
use crate::hook::{Array, HookPoint, Site, Tap};
use crate::mechanism::Stack;
use crate::{Error, Result};
use burn::tensor::{Tensor, TensorData};
use std::cell::RefCell;

/// How a forward pass runs.
pub struct Run<'a> {
    /// What stands in attention's steps.
    pub stack: &'a Stack,
    /// Seed of inputs nobody learned.
    pub seed: u64,
    /// Who is offered activations.
    tap: Option<RefCell<&'a mut dyn Tap>>,
    /// The first replacement that did not fit.
    fault: RefCell<Option<Error>>,
}

impl<'a> Run<'a> {
    /// A pass that nobody watches.
    pub fn new(stack: &'a Stack, seed: u64) -> Self {
        Self { stack, seed, tap: None, fault: RefCell::new(None) }
    }

    /// A pass whose activations are offered to `tap`.
    pub fn tapped(stack: &'a Stack, seed: u64, tap: &'a mut dyn Tap) -> Self {
        Self { stack, seed, tap: Some(RefCell::new(tap)), fault: RefCell::new(None) }
    }

    /// Whether every replacement of the tap fitted; the pass went on without those that did not.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the first hook point whose replacement had other sizes.
    pub fn verdict(self) -> Result<()> {
        self.fault.into_inner().map_or(Ok(()), Err)
    }

    /// Whether the tap wants this activation.
    pub(super) fn wants(&self, layer: usize, site: Site) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.borrow().wants(HookPoint { layer, site }))
    }

    /// Offers an activation; what comes back goes on.
    pub(super) fn offer<const D: usize>(&self, layer: usize, site: Site, value: Tensor<D>) -> Tensor<D> {
        self.offer_edit(layer, site, &value).unwrap_or(value)
    }

    /// Offers an activation; `Some` is what the tap wants in its place. What nobody wants is not copied to the host.
    pub(super) fn offer_edit<const D: usize>(&self, layer: usize, site: Site, value: &Tensor<D>) -> Option<Tensor<D>> {
        let tap = self.tap.as_ref().filter(|_| self.wants(layer, site))?;
        let at = HookPoint { layer, site };
        let array = host(value.to_data());
        let edited = tap.borrow_mut().visit(at, &array)?;
        if edited.shape != array.shape || edited.data.len() != array.data.len() {
            let came = format!("{:?} with {} values", edited.shape, edited.data.len());
            self.fault(at, format!("{:?}", array.shape), came);
            return None;
        }
        Some(Tensor::from_data(TensorData::new(edited.data, edited.shape), &value.device()))
    }

    /// Notes that a replacement at this point has no effect under this stack.
    pub(super) fn refuse(&self, layer: usize, site: Site, expected: String) {
        self.fault(HookPoint { layer, site }, expected, "one".into());
    }

    fn fault(&self, at: HookPoint, expected: String, came: String) {
        let (who, tensor) = (at.to_string(), "replacement".into());
        self.fault.borrow_mut().get_or_insert(Error::Shape { who, tensor, expected, came });
    }

    /// The inputs of the stack's mechanisms at one layer.
    pub(super) fn inputs(&self, layer: usize, config: &Config) -> Vec<Array> {
        attention::default_inputs(self.stack, layer, config.heads, config.kv_heads, config.head_width, self.seed)
    }
}

/// A tensor's values on the host.
pub(super) fn host(data: TensorData) -> Array {
    let shape = data.shape().to_vec();
    // f32 is copied as a block; another precision, which only a GPU of burn's would have, value by value.
    let values = data.as_slice::<f32>().map(<[f32]>::to_vec);
    Array { shape, data: values.unwrap_or_else(|_| data.iter::<f32>().collect()) }
}
