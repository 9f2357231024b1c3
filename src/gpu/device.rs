//! The device: one owner of adapter, queue and compiled kernels, and the record of what goes wrong.
//!
//! Nothing here panics or is lost: errors are caught by a scope around the work that causes them; what no scope catches,
//! and the loss of the device, is recorded and reported by the next call. Limits are asked for as min(adapter, need), so a
//! device is got wherever an adapter is, and a plan that needs more is refused by name.

use super::browser;
use super::fault::{self, At};
use super::kernel::Kernel;
use super::link::{Access, Linked};
use super::signal::{pause, signal};
use crate::outcome::{RowSums, Tier};
use crate::{Error, Result};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// What is asked of the adapter beyond the WebGPU minimum, where it has it: the largest weight of GPT-2 fits one binding.
const WANTED_BYTES: u64 = 1 << 30;

/// How long submitted work may take. No submit is made for more than a fraction of a second, but a driver may compile a
/// kernel when it is first run, which takes seconds; a device that takes longer hangs. A software one is only slow.
const ANSWER_MILLIS: u32 = 40_000;
const SOFTWARE_ANSWER_MILLIS: u32 = 180_000;

/// A browser tells that a device was lost a moment after whatever fails of it.
const LOSS_MILLIS: u32 = 10;
const LOSS_LOOKS: usize = 5;

/// A GPU, ready to run kernels.
pub struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Adapter name.
    pub adapter: String,
    /// How it is reached: `vulkan`, `metal`, `dx12` or `browser`.
    pub backend: &'static str,
    /// Whether the adapter is software, so that its speed says nothing.
    pub software: bool,
    /// How well it is supported.
    pub tier: Tier,
    /// Whether kernels may use subgroups, and whether those that add up rows do.
    subgroups: bool,
    adds_by_subgroups: Cell<bool>,
    sums: Cell<Option<RowSums>>,
    trouble: Arc<Mutex<Trouble>>,
    compiled: RefCell<HashMap<String, Rc<Compiled>>>,
}

#[derive(Default)]
struct Trouble {
    lost: Option<String>,
    uncaptured: Option<String>,
}

/// Whether work caused an error on the device.
type Verdict = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A kernel the device has accepted.
pub(super) struct Compiled {
    pub(super) linked: Linked,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

fn gpu(problem: impl Into<String>) -> Error {
    Error::Gpu { problem: problem.into() }
}

impl Device {
    /// Asks for an adapter and a device.
    ///
    /// # Errors
    /// [`Error::Gpu`] saying which step refused: no API or no adapter, limits, the device itself.
    pub async fn open() -> Result<Self> {
        if fault::closed() {
            return Err(gpu(NO_ADAPTER));
        }
        let mut description = wgpu::InstanceDescriptor::new_without_display_handle();
        description.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(description);
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&options).await.map_err(|_| gpu(NO_ADAPTER))?;
        let limits = limits(&adapter.limits())?;
        let f16 = adapter.features().contains(wgpu::Features::SHADER_F16);
        let info = adapter.get_info();
        // wgpu knows no subgroups of a browser; who does asks for them behind its back.
        let subgroups = adapter.features() & wgpu::Features::SUBGROUP;
        let description = wgpu::DeviceDescriptor {
            label: Some("attnscope"),
            required_limits: limits,
            required_features: subgroups,
            ..Default::default()
        };
        let refused = |error: wgpu::RequestDeviceError| {
            // A browser's words come wrapped in the type that carried them here.
            let words = error.to_string();
            let words = words.strip_prefix("JsValue(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(&words);
            gpu(format!("{} refused a device: {}", name(&info), words.trim_end_matches("undefined").trim_end()))
        };
        let (device, queue) = adapter.request_device(&description).await.map_err(refused)?;
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        let record = trouble.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut trouble) = record.lock() {
                trouble.uncaptured.get_or_insert(error.to_string());
            }
        }));
        let record = trouble.clone();
        device.set_device_lost_callback(move |reason, message| {
            if let Ok(mut trouble) = record.lock() {
                trouble.lost.get_or_insert(format!("{message} ({reason:?})"));
            }
        });
        Ok(Self {
            adapter: name(&info),
            backend: backend(info.backend),
            software: info.device_type == wgpu::DeviceType::Cpu && !fault::hardware(),
            tier: if f16 { Tier::WebGpuF16 } else { Tier::WebGpu },
            subgroups: !subgroups.is_empty() || browser::get().is_some_and(|browser| browser.subgroups()),
            adds_by_subgroups: Cell::new(false),
            sums: Cell::new(None),
            device,
            queue,
            trouble,
            compiled: RefCell::default(),
        })
    }

    /// Whether a test passes it off as fast, so that it needs no trial.
    pub fn passes_for_fast(&self) -> bool {
        fault::fast()
    }

    /// Whether its kernels may use subgroups.
    pub fn subgroups(&self) -> bool {
        self.subgroups
    }

    /// From now on lanes that add up a row do so by subgroups, where the device has them, or through the memory of their
    /// workgroup; see [`subgroups`](super::subgroups). Programs that are ready keep their way.
    pub fn add_by_subgroups(&self, so: bool) {
        self.adds_by_subgroups.set(so && self.subgroups);
    }

    /// What was measured of both ways, where it was.
    pub fn sums(&self) -> Option<RowSums> {
        self.sums.get()
    }

    pub(super) fn note_sums(&self, sums: RowSums) {
        self.sums.set(Some(sums));
    }

    /// Why the device can no longer be used, when it was lost; a new one must be opened and weights uploaded again.
    pub fn lost(&self) -> Option<String> {
        self.trouble.lock().ok().and_then(|trouble| trouble.lost.clone())
    }

    /// The same after something failed, once the device has had the time to say so.
    pub async fn loss(&self) -> Option<String> {
        for _ in 0..LOSS_LOOKS {
            if self.lost().is_some() {
                break;
            }
            // Natively a callback runs when the device is polled; whether that fails is not the question.
            let _ = self.device.poll(wgpu::PollType::Poll);
            pause(LOSS_MILLIS).await;
        }
        self.lost()
    }

    /// Gives the device back; what is under way fails with a clear error.
    pub fn close(&self) {
        self.device.destroy();
    }

    /// Largest buffer a kernel can bind, in bytes.
    pub fn most_bytes(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// Reports what was recorded since the last call.
    pub(super) fn check(&self) -> Result<()> {
        let Ok(mut trouble) = self.trouble.lock() else { return Ok(()) };
        if let Some(reason) = &trouble.lost {
            return Err(gpu(format!("the device was lost: {reason}; it must be opened again")));
        }
        trouble.uncaptured.take().map_or(Ok(()), |problem| Err(gpu(problem)))
    }

    /// Runs `work`, which must not wait, and reports any error it caused on the device.
    pub(super) async fn scoped<T>(&self, work: impl FnOnce(&wgpu::Device, &wgpu::Queue) -> T) -> Result<T> {
        self.check()?;
        let (made, verdict) = self.begin(work);
        verdict.await?;
        self.check()?;
        Ok(made)
    }

    /// Runs `work` without asking what it caused: the next call that asks reports it. For what runs for every token, where
    /// the answer would cost more than the work.
    pub(super) fn unscoped<T>(&self, work: impl FnOnce(&wgpu::Device, &wgpu::Queue) -> T) -> Result<T> {
        self.check()?;
        Ok(work(&self.device, &self.queue))
    }

    /// Runs `work` at once; what it caused on the device is known when the verdict has been awaited.
    fn begin<T>(&self, work: impl FnOnce(&wgpu::Device, &wgpu::Queue) -> T) -> (T, Verdict) {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = work(&self.device, &self.queue);
        // All are popped before anything is awaited: scopes are a stack that other work must not find half open.
        let (validation, internal, memory) = (validation.pop(), internal.pop(), memory.pop());
        let verdict = async move {
            if memory.await.is_some() {
                return Err(gpu("out of memory; use a shorter prompt or a smaller model"));
            }
            match validation.await.or(internal.await) {
                Some(error) => Err(gpu(error.to_string())),
                None => Ok(()),
            }
        };
        (made, Box::pin(verdict))
    }

    /// The compiled kernels, in order. Those that are new are all started before one is waited for, so that a browser
    /// compiles them side by side. A kernel that the device does not accept is never run.
    pub(super) async fn compile<'a>(&self, kernels: impl Iterator<Item = &'a Kernel>) -> Result<Vec<Rc<Compiled>>> {
        self.check()?;
        let suited = |kernel: &'a Kernel| match self.adds_by_subgroups.get() {
            true => Cow::Owned(kernel.by_subgroups()),
            false => Cow::Borrowed(kernel),
        };
        let kernels: Vec<(String, Cow<'_, Kernel>)> = kernels.map(suited).map(|kernel| (kernel.id(), kernel)).collect();
        let mut parts = Vec::new();
        let mut known: HashSet<String> = self.compiled.borrow().keys().cloned().collect();
        for (id, kernel) in &kernels {
            if known.insert(id.clone()) {
                let linked = kernel.link()?;
                let (made, verdict) = self.begin(|device, _| Parts::new(device, id, &linked));
                parts.push((id, linked, made, verdict));
            }
        }
        if let (Some(browser), false) = (browser::get(), parts.is_empty()) {
            let mut create = || parts.iter().for_each(|(id, _, parts, _)| drop(parts.pipeline(&self.device, id)));
            browser.warm(&mut create).await;
            self.check()?;
        }
        let start = |(id, linked, parts, verdict): (&'_ String, Linked, Parts, Verdict)| {
            let (pipeline, accepted) = self.begin(|device, _| parts.pipeline(device, id));
            (id.clone(), linked, parts, pipeline, [verdict, accepted])
        };
        let started: Vec<_> = parts.into_iter().map(start).collect();
        for (id, linked, parts, pipeline, verdicts) in started {
            for verdict in verdicts {
                if let Err(error) = verdict.await {
                    return Err(locate(&parts.module, &linked).await.unwrap_or_else(|| linked.fault(1, error)));
                }
            }
            let compiled = Compiled { linked, layout: parts.layout, pipeline };
            self.compiled.borrow_mut().insert(id, Rc::new(compiled));
        }
        self.check()?;
        let compiled = self.compiled.borrow();
        let missing = || Error::Internal("a kernel was compiled and is not there".into());
        kernels.iter().map(|(id, _)| compiled.get(id).cloned().ok_or_else(missing)).collect()
    }

    /// The values of a buffer that was made for reading, once all submitted work is done.
    pub(super) async fn read<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<T>> {
        let (sender, arrival) = signal();
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| sender.send(result));
        fault::reached(At::Read, &self.device);
        let limit = if self.software { SOFTWARE_ANSWER_MILLIS } else { ANSWER_MILLIS };
        let timeout = Some(std::time::Duration::from_millis(limit.into()));
        // On the web this does nothing and the browser calls back; natively nothing happens without it.
        match self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout }) {
            Err(wgpu::PollError::Timeout) => return Err(hangs(limit)),
            Err(error) => return Err(gpu(format!("the device did not finish: {error}"))),
            Ok(_) => {}
        }
        let Some(mapped) = arrival.within(limit).await else { return Err(hangs(limit)) };
        self.check()?;
        mapped
            .ok_or_else(|| gpu("the device was lost while it computed"))?
            .map_err(|error| gpu(format!("results could not be read: {error}")))?;
        let view =
            buffer.get_mapped_range(0..bytes).map_err(|error| gpu(format!("results could not be read: {error}")))?;
        let values = bytemuck::pod_collect_to_vec(&view[..]);
        drop(view);
        buffer.unmap();
        self.check()?;
        Ok(values)
    }
}

/// What does not come back by itself.
fn hangs(limit: u32) -> Error {
    gpu(format!("the GPU did not answer within {} s, so it is taken to hang; update its driver", limit / 1000))
}

const NO_ADAPTER: &str = "no adapter; the system has no Vulkan, Metal or D3D12 driver that is fit for it";

/// min(adapter, need), or what the adapter lacks of the WebGPU minimum.
fn limits(adapter: &wgpu::Limits) -> Result<wgpu::Limits> {
    let mut limits = wgpu::Limits::defaults();
    for (name, has, needs) in [
        (
            "storage buffers per kernel",
            adapter.max_storage_buffers_per_shader_stage,
            limits.max_storage_buffers_per_shader_stage,
        ),
        (
            "bytes of workgroup memory",
            adapter.max_compute_workgroup_storage_size,
            limits.max_compute_workgroup_storage_size,
        ),
        (
            "invocations per workgroup",
            adapter.max_compute_invocations_per_workgroup,
            limits.max_compute_invocations_per_workgroup,
        ),
    ] {
        if has < needs {
            return Err(gpu(format!("the adapter offers {has} {name}; {needs} are needed")));
        }
    }
    limits.max_buffer_size = adapter.max_buffer_size.min(WANTED_BYTES);
    limits.max_storage_buffer_binding_size = adapter.max_storage_buffer_binding_size.min(WANTED_BYTES);
    // What the engine does not use is taken as it comes, so that it never is a reason to refuse.
    Ok(limits.or_worse_values_from(adapter))
}

/// Browsers hide the name.
fn name(info: &wgpu::AdapterInfo) -> String {
    let name = if info.name.is_empty() { &info.driver } else { &info.name };
    if name.is_empty() { "this GPU".into() } else { name.clone() }
}

fn backend(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "vulkan",
        wgpu::Backend::Metal => "metal",
        wgpu::Backend::Dx12 => "dx12",
        wgpu::Backend::Gl => "gl",
        wgpu::Backend::BrowserWebGpu => "browser",
        wgpu::Backend::Noop => "noop",
    }
}

fn entry(binding: u32, access: Access) -> wgpu::BindGroupLayoutEntry {
    let ty = match access {
        Access::Uniform => wgpu::BufferBindingType::Uniform,
        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

/// What a pipeline is made of.
struct Parts {
    module: wgpu::ShaderModule,
    layout: wgpu::BindGroupLayout,
    whole: wgpu::PipelineLayout,
}

impl Parts {
    fn new(device: &wgpu::Device, id: &str, linked: &Linked) -> Self {
        let mut text = fault::text(&linked.text);
        if cfg!(target_arch = "wasm32") && text.contains("subgroupAdd(") {
            // Browsers want the extension named first; naga does not know the word yet. Lines keep their numbers.
            text = format!("enable subgroups; {text}").into();
        }
        let source = wgpu::ShaderSource::Wgsl(text);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(id), source });
        let entries: Vec<_> =
            (0..).zip(&linked.bindings).map(|(index, binding)| entry(index, binding.access)).collect();
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(id), entries: &entries });
        let whole = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(id),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        Self { module, layout, whole }
    }

    fn pipeline(&self, device: &wgpu::Device, id: &str) -> wgpu::ComputePipeline {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(id),
            layout: Some(&self.whole),
            module: &self.module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        })
    }
}

/// The first compile error of a program, at the line of the file it came from.
async fn locate(module: &wgpu::ShaderModule, linked: &Linked) -> Option<Error> {
    let mut messages = module.get_compilation_info().await.messages.into_iter();
    let error = messages.find(|message| message.message_type == wgpu::CompilationMessageType::Error)?;
    let line = error.location.map_or(1, |location| location.line_number as usize);
    Some(linked.fault(line, error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webgpu_minimum_is_enough_and_less_is_named() {
        let least = wgpu::Limits::defaults();
        let got = limits(&least).ok();
        assert_eq!(got.as_ref().map(|limits| limits.max_storage_buffer_binding_size), Some(128 << 20));
        assert!(got.is_some_and(|limits| limits.check_limits(&least)));
        let large =
            wgpu::Limits { max_buffer_size: 1 << 40, max_storage_buffer_binding_size: 1 << 40, ..least.clone() };
        assert_eq!(limits(&large).ok().map(|limits| limits.max_buffer_size), Some(WANTED_BYTES));
        let few = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..least };
        let problem = limits(&few).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(problem.contains("4 storage buffers"), "{problem}");
    }
}
