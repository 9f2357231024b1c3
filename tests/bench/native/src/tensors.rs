//! burn on one of its backends. burn has tensors and no models, so the model is attnscope's definition in burn tensors,
//! which was written to be read and to be edited, not to be fast; nor has burn a cache of keys and values, so writing goes
//! through the definition's own, which joins tensors.

use crate::plain;
use crate::talk::{Program, Result, likeliest};
use attnscope::mechanism::Stack;
use attnscope::model::{KeyValues, Loaded, Run, Text};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The definition on a device.
pub struct Burn {
    text: Text,
    device: Device,
    backend: &'static str,
    stack: Stack,
    /// The sequence so far; the last token was found and not yet fed.
    tokens: Vec<u32>,
    cache: Option<KeyValues>,
}

impl Burn {
    /// A loaded model on `device`, the backend of this name.
    pub fn new(loaded: &Loaded, device: Device, backend: &'static str) -> Result<Self> {
        let text = Text::from_weights(&loaded.config, &loaded.weights, &device)?;
        Ok(Self { text, device, backend, stack: plain()?, tokens: Vec::new(), cache: None })
    }

    /// `[1,Q]`
    fn row(&self, tokens: &[u32]) -> Tensor<2, Int> {
        let ids: Vec<i32> = tokens.iter().map(|id| id.cast_signed()).collect();
        Tensor::from_data(TensorData::new(ids, [1, tokens.len()]), &self.device)
    }
}

impl Program for Burn {
    fn about(&self) -> String {
        format!("attnscope's definition in tensors of burn 0.22.1, {}", self.backend)
    }

    /// Only the last token meets the vocabulary, as in the other programs.
    fn logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        let mut x = embedding(self.text.embed.val(), self.row(prompt)); // [1,Q,M]
        if let Some(positions) = &self.text.positions {
            x = x + positions.val().narrow(0, 0, prompt.len()).unsqueeze();
        }
        let logits = self.text.resume(x, 0, Some(prompt.len() - 1), &Run::new(&self.stack, 0));
        Ok(logits.into_data().try_to_vec()?)
    }

    fn read(&mut self, prompt: &[u32]) -> Result<u32> {
        let token = likeliest(&self.logits(prompt)?)?;
        self.tokens = prompt.to_vec();
        self.tokens.push(token);
        self.cache = None;
        Ok(token)
    }

    /// Keys and values of the prompt, which reading did not keep.
    fn prepare(&mut self) -> Result<()> {
        let (_, prompt) = self.tokens.split_last().ok_or("nothing was read")?;
        let mut cache = KeyValues::new();
        let logits = self.text.advance(self.row(prompt), &Run::new(&self.stack, 0), Some(&mut cache));
        // A GPU may answer before it has computed.
        drop(logits.into_data());
        self.cache = Some(cache);
        Ok(())
    }

    fn write(&mut self, count: usize) -> Result<Vec<u32>> {
        let mut cache = self.cache.take().ok_or("nothing was read")?;
        let before = self.tokens.len();
        for _ in 0..count {
            let last = &self.tokens[self.tokens.len() - 1..];
            let logits = self.text.advance(self.row(last), &Run::new(&self.stack, 0), Some(&mut cache));
            self.tokens.push(likeliest(&logits.into_data().try_to_vec::<f32>()?)?);
        }
        self.cache = Some(cache);
        Ok(self.tokens.split_off(before))
    }
}
