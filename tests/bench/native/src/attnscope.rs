//! attnscope natively, and burn computing attnscope's definition: `bench-attnscope PROGRAM FOLDER`.
//!
//! | Program | What computes |
//! |---|---|
//! | `attnscope-cpu` | what a continuation runs on the processor: plain arrays, keys and values in place |
//! | `attnscope-gpu` | the WGSL engine on the first adapter of Vulkan, Metal or DirectX |
//! | `attnscope-gpu-maps` | the same with queries kept, and the maps of one head brought back behind every burst |
//! | `burn-flex` | the definition in burn tensors, on burn's processor backend |
//! | `burn-wgpu` | the same on burn's GPU backend; only with the feature `burn-gpu` |

mod talk;
mod tensors;

use attnscope::gpu::decode::plan::Way;
use attnscope::gpu::{Decode, Device, GpuModel};
use attnscope::mechanism::Stack;
use attnscope::model::sample::{Sampler, Sampling};
use attnscope::model::{CpuModel, Files, Loaded, Seen, load};
use pollster::block_on;
use std::path::Path;
use std::rc::Rc;
use talk::{Program, Result, likeliest};
use tensors::Burn;

/// Tokens that the GPU draws per readback.
const BURST: usize = 16;

const USAGE: &str = "usage: bench-attnscope attnscope-cpu|attnscope-gpu|attnscope-gpu-maps|burn-flex|burn-wgpu FOLDER";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (program, folder) = arguments.next().zip(arguments.next()).ok_or(USAGE)?;
    let loaded = load("model", &Files::read(Path::new(&folder))?)?;
    match program.as_str() {
        "attnscope-cpu" => talk::serve(&mut Cpu::new(&loaded)?),
        "attnscope-gpu" => talk::serve(&mut Gpu::new(&loaded, false)?),
        "attnscope-gpu-maps" => talk::serve(&mut Gpu::new(&loaded, true)?),
        "burn-flex" => talk::serve(&mut Burn::new(&loaded, burn::tensor::Device::flex(), "flex")?),
        #[cfg(feature = "burn-gpu")]
        "burn-wgpu" => {
            let device = burn::tensor::Device::wgpu(Default::default());
            talk::serve(&mut Burn::new(&loaded, device, "wgpu")?)
        }
        _ => Err(USAGE.into()),
    }
}

/// Attention as the model was trained.
fn plain() -> Result<Stack> {
    Ok(Stack::new("a", &[])?)
}

struct Cpu {
    model: CpuModel,
    stack: Stack,
    seen: Seen,
    /// The sequence so far; the last was found and not yet fed.
    tokens: Vec<u32>,
}

impl Cpu {
    fn new(loaded: &Loaded) -> Result<Self> {
        let model = CpuModel::new(&loaded.config, &loaded.weights)?;
        Ok(Self { model, stack: plain()?, seen: Seen::default(), tokens: Vec::new() })
    }
}

impl Program for Cpu {
    fn about(&self) -> String {
        format!("attnscope {}, plain arrays, one thread", attnscope::BUILD)
    }

    fn logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.seen = Seen::default();
        Ok(self.model.decode(&mut self.seen, &self.stack, 0, prompt)?)
    }

    fn read(&mut self, prompt: &[u32]) -> Result<u32> {
        let token = likeliest(&self.logits(prompt)?)?;
        self.tokens = prompt.to_vec();
        self.tokens.push(token);
        Ok(token)
    }

    fn write(&mut self, count: usize) -> Result<Vec<u32>> {
        let before = self.tokens.len();
        for _ in 0..count {
            let logits = self.model.decode(&mut self.seen, &self.stack, 0, &self.tokens)?;
            self.tokens.push(likeliest(&logits)?);
        }
        Ok(self.tokens.split_off(before))
    }
}

struct Gpu {
    model: GpuModel,
    greedy: Sampler,
    /// Whether somebody looks at the maps of a head while tokens come.
    maps: bool,
    decode: Option<Decode>,
    /// Tokens that were fed.
    fed: usize,
}

impl Gpu {
    fn new(loaded: &Loaded, maps: bool) -> Result<Self> {
        let device = Rc::new(block_on(Device::open())?);
        let model = block_on(GpuModel::new(device, &loaded.config, &loaded.weights))?;
        Ok(Self { model, greedy: Sampler::new(Sampling::default())?, maps, decode: None, fed: 0 })
    }
}

impl Program for Gpu {
    fn about(&self) -> String {
        let device = self.model.device();
        let software = if device.software { " (software)" } else { "" };
        let format = self.model.format();
        format!("attnscope {}, {} through {}{software}, {format:?}", attnscope::BUILD, device.adapter, device.backend)
    }

    fn logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.read(prompt)?;
        let decode = self.decode.as_ref().ok_or("nothing was read")?;
        Ok(block_on(decode.logits())?)
    }

    fn read(&mut self, prompt: &[u32]) -> Result<u32> {
        // Made anew for each prompt, as the engine does.
        let way = Way { keep: self.maps, ..self.model.way() };
        let mut decode = block_on(self.model.decode_with(plain()?, 0, way))?;
        block_on(decode.read(prompt, prompt.len(), &self.greedy))?;
        let drawn = block_on(decode.burst(1))?;
        self.fed = prompt.len();
        self.decode = Some(decode);
        Ok(*drawn.tokens.first().ok_or("no token was drawn")?)
    }

    fn write(&mut self, count: usize) -> Result<Vec<u32>> {
        let decode = self.decode.as_mut().ok_or("nothing was read")?;
        let mut tokens = Vec::new();
        while tokens.len() < count {
            let drawn = block_on(decode.burst(BURST.min(count - tokens.len())))?;
            if self.maps {
                // The rows of the tokens fed meanwhile.
                block_on(decode.maps(0, 0, self.fed))?;
            }
            self.fed += drawn.tokens.len();
            tokens.extend(drawn.tokens);
            if drawn.done.is_some() {
                break;
            }
        }
        Ok(tokens)
    }
}
