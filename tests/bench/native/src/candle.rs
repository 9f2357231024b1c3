//! candle on the processor: its own Llama of `candle_transformers`, and a GPT-2 in its tensors and layers.
//!
//! `bench-candle FOLDER` takes a model as Hugging Face stores it.

mod gpt2;
mod talk;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama;
use gpt2::Gpt2;
use std::path::Path;
use talk::{Program, Result, likeliest};

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("usage: bench-candle FOLDER")?;
    talk::serve(&mut Candle::open(Path::new(&folder))?)
}

struct Candle {
    model: Model,
    device: Device,
    /// Tokens whose keys and values are kept.
    seen: usize,
    /// Found, not yet fed.
    last: u32,
}

enum Model {
    Llama { model: llama::Llama, config: llama::Config, cache: llama::Cache },
    Gpt2(Gpt2),
}

#[derive(serde::Deserialize)]
struct Family {
    model_type: String,
}

impl Candle {
    fn open(folder: &Path) -> Result<Self> {
        let device = Device::Cpu;
        let json = std::fs::read(folder.join("config.json"))?;
        let weights = std::fs::read(folder.join("model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &device)?;
        let family: Family = serde_json::from_slice(&json)?;
        let model = match family.model_type.as_str() {
            "llama" => {
                let config = serde_json::from_slice::<llama::LlamaConfig>(&json)?.into_config(false);
                let cache = llama::Cache::new(true, DType::F32, &config, &device)?;
                Model::Llama { model: llama::Llama::load(weights, &config)?, config, cache }
            }
            "gpt2" => Model::Gpt2(Gpt2::load(&serde_json::from_slice(&json)?, &weights)?),
            other => return Err(format!("models of the family {other} are not run here; llama and gpt2 are").into()),
        };
        Ok(Self { model, device, seen: 0, last: 0 })
    }

    fn forget(&mut self) -> Result<()> {
        self.seen = 0;
        match &mut self.model {
            Model::Llama { config, cache, .. } => *cache = llama::Cache::new(true, DType::F32, config, &self.device)?,
            Model::Gpt2(model) => model.forget(),
        }
        Ok(())
    }

    /// Logits `[V]` behind the last of `tokens`, which follow those seen.
    fn advance(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let row = Tensor::new(tokens, &self.device)?.unsqueeze(0)?;
        let logits = match &mut self.model {
            Model::Llama { model, cache, .. } => model.forward(&row, self.seen, cache)?,
            Model::Gpt2(model) => model.forward(&row, self.seen)?,
        };
        self.seen += tokens.len();
        Ok(logits.flatten_all()?.to_vec1()?)
    }
}

impl Program for Candle {
    fn about(&self) -> String {
        let model = match self.model {
            Model::Llama { .. } => "candle_transformers' Llama",
            Model::Gpt2(_) => "a GPT-2 of candle_nn's layers",
        };
        format!("{model}, {} thread(s)", candle_core::utils::get_num_threads())
    }

    fn logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.forget()?;
        self.advance(prompt)
    }

    fn read(&mut self, prompt: &[u32]) -> Result<u32> {
        self.last = likeliest(&self.logits(prompt)?)?;
        Ok(self.last)
    }

    fn write(&mut self, count: usize) -> Result<Vec<u32>> {
        (0..count)
            .map(|_| {
                self.last = likeliest(&self.advance(&[self.last])?)?;
                Ok(self.last)
            })
            .collect()
    }
}
