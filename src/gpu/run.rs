//! Running plans: buffers and bind groups that are kept, one encoder, one compute pass, one submit, one readback.

use super::device::{Compiled, Device};
use super::fault::{self, At};
use super::link::Access;
use super::plan::{Plan, Read, Step};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// Buffers by name.
pub(super) type Buffers = HashMap<String, wgpu::Buffer>;

/// Workgroups of one submit. One of a product makes a few million multiplications, so that this is a few hundredths of a
/// second on a small GPU; the prompts of small models fit one submit.
const MOST_WORK: u64 = 8192;

/// Uniform offsets must be multiples of this on every device.
const SLOT_BYTES: usize = 256;

/// What is kept between runs of plans of one kind.
pub(super) struct Ready {
    buffers: Buffers,
    shapes: wgpu::Buffer,
    steps: Vec<(Rc<Compiled>, wgpu::BindGroup)>,
    staging: Option<wgpu::Buffer>,
}

/// A storage buffer that can be written, read and copied.
pub(super) const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

const UNIFORM: wgpu::BufferUsages = wgpu::BufferUsages::UNIFORM.union(wgpu::BufferUsages::COPY_DST);

impl Ready {
    /// Buffers, bind groups and compiled kernels for `plan`; `resident` buffers are shared and not owned.
    pub(super) async fn new(device: &Device, plan: &Plan, resident: &Buffers) -> Result<Self> {
        let compiled = device.compile(plan.steps.iter().map(|step| &step.kernel)).await?;
        for (name, size) in &plan.buffers {
            fits(device, name, size.words)?;
        }
        let uniforms = uniforms(plan, &compiled);
        let (buffers, shapes) = device
            .scoped(|device, _| {
                let make = |(name, size): (&String, &super::plan::Size)| {
                    let mut usage = if size.uniform { UNIFORM } else { STORAGE };
                    usage.set(wgpu::BufferUsages::UNIFORM, size.uniform || uniforms.contains(name.as_str()));
                    (name.clone(), buffer(device, name, size.words, usage))
                };
                let buffers: Buffers = plan.buffers.iter().map(make).collect();
                (buffers, buffer(device, "shapes", plan.steps.len() * SLOT_BYTES / 4, UNIFORM))
            })
            .await?;
        let entries = plan.steps.iter().zip(&compiled).enumerate().map(|(index, (step, compiled))| {
            compiled
                .linked
                .bindings
                .iter()
                .map(|binding| {
                    if binding.name == "shape" {
                        let size = std::num::NonZeroU64::new(compiled.linked.shape.len() as u64 * 4);
                        let offset = (index * SLOT_BYTES) as u64;
                        return Ok(wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: &shapes,
                            offset,
                            size,
                        }));
                    }
                    let bound = step.binds.iter().find(|(name, _)| *name == binding.name).map(|(_, buffer)| buffer);
                    let buffer = bound.and_then(|name| buffers.get(name).or_else(|| resident.get(name)));
                    let missing =
                        || Error::Internal(format!("{} has no buffer for {}", step.kernel.id(), binding.name));
                    buffer.map(wgpu::Buffer::as_entire_binding).ok_or_else(missing)
                })
                .collect::<Result<Vec<_>>>()
        });
        let entries = entries.collect::<Result<Vec<_>>>()?;
        let groups = device.scoped(|device, _| {
            let group = |(resources, compiled): (Vec<wgpu::BindingResource<'_>>, Rc<Compiled>)| {
                let entries: Vec<_> = (0..)
                    .zip(resources)
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect();
                let description =
                    wgpu::BindGroupDescriptor { label: None, layout: &compiled.layout, entries: &entries };
                let group = device.create_bind_group(&description);
                (compiled, group)
            };
            entries.into_iter().zip(compiled).map(group).collect()
        });
        let steps = groups.await?;
        Ok(Self { buffers, shapes, steps, staging: None })
    }

    /// The buffers, for another plan to read.
    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Writes `words` into a buffer from word `first` on.
    pub(super) fn write(&self, device: &Device, name: &str, first: usize, words: &[u32]) -> Result<()> {
        let Some(buffer) = self.buffers.get(name) else {
            return Err(Error::Internal(format!("a plan has no buffer {name}")));
        };
        device.unscoped(|_, queue| queue.write_buffer(buffer, first as u64 * 4, bytemuck::cast_slice(words)))
    }

    /// Writes the shape uniforms of `plan`, whose steps then run by [`Ready::submit`].
    pub(super) fn settle(&self, device: &Device, plan: &Plan) -> Result<()> {
        let shapes = self.shapes_of(plan)?;
        device.unscoped(|_, queue| queue.write_buffer(&self.shapes, 0, bytemuck::cast_slice(&shapes)))
    }

    /// Runs these steps of `plan` in one pass, copies `reads` to `staging` one after the other, in one submit; makes no
    /// object that lives on.
    pub(super) fn submit(
        &self,
        device: &Device,
        plan: &Plan,
        steps: impl Iterator<Item = usize>,
        reads: &[Read],
        staging: &wgpu::Buffer,
    ) -> Result<()> {
        device.unscoped(|device, queue| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for index in steps {
                if let (Some(step), Some((compiled, group))) = (plan.steps.get(index), self.steps.get(index)) {
                    pass.set_pipeline(&compiled.pipeline);
                    pass.set_bind_group(0, group, &[]);
                    pass.dispatch_workgroups(step.groups[0], step.groups[1], step.groups[2]);
                }
            }
            drop(pass);
            self.copy(&mut encoder, reads, staging);
            queue.submit([encoder.finish()]);
            fault::reached(At::Submit, device);
        })
    }

    /// Copies parts of the plan's buffers to `staging`, one after the other.
    fn copy(&self, encoder: &mut wgpu::CommandEncoder, reads: &[Read], staging: &wgpu::Buffer) {
        let mut place = 0;
        for read in reads {
            let (first, bytes) = (read.first as u64 * 4, read.words as u64 * 4);
            if let Some(buffer) = self.buffers.get(&read.buffer) {
                encoder.copy_buffer_to_buffer(buffer, first, staging, place, bytes);
            }
            place += bytes;
        }
    }

    /// Gives the memory of every buffer back now, not when someone collects it.
    pub(super) fn destroy(&self) {
        self.buffers.values().chain([&self.shapes]).chain(&self.staging).for_each(wgpu::Buffer::destroy);
    }

    /// Writes `uploads`, runs every step of `plan` and returns what it reads, in its order.
    pub(super) async fn run(
        &mut self,
        device: &Device,
        plan: &Plan,
        uploads: &BTreeMap<String, Vec<u32>>,
    ) -> Result<Vec<Vec<f32>>> {
        let shapes = self.shapes_of(plan)?;
        let total: usize = plan.reads.iter().map(|read| read.words).sum();
        fits(device, "the results", total)?;
        let kept = self.staging.take().filter(|staging| staging.size() as usize >= total * 4);
        let this = &*self;
        let staging = device
            .scoped(|device, queue| {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                let staging = kept.unwrap_or_else(|| buffer(device, "staging", total, usage));
                queue.write_buffer(&this.shapes, 0, bytemuck::cast_slice(&shapes));
                for (name, words) in uploads {
                    if let Some(buffer) = this.buffers.get(name) {
                        queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
                    }
                }
                let parts = parts(plan.steps.iter().map(|step| step.groups));
                let last = parts.len() - 1;
                for (index, part) in parts.into_iter().enumerate() {
                    let mut encoder = device.create_command_encoder(&Default::default());
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    for (step, (compiled, group)) in plan.steps.iter().zip(&this.steps).take(part.end).skip(part.start)
                    {
                        pass.set_pipeline(&compiled.pipeline);
                        pass.set_bind_group(0, group, &[]);
                        pass.dispatch_workgroups(step.groups[0], step.groups[1], step.groups[2]);
                    }
                    drop(pass);
                    if index == last {
                        this.copy(&mut encoder, &plan.reads, &staging);
                    }
                    queue.submit([encoder.finish()]);
                    fault::reached(At::Submit, device);
                }
                staging
            })
            .await?;
        let values = if total == 0 { Vec::new() } else { device.read(&staging, total as u64 * 4).await? };
        self.staging = Some(staging);
        let mut rest = values.as_slice();
        let split = |read: &Read| {
            let (these, others) = rest.split_at_checked(read.words).unwrap_or((rest, &[]));
            rest = others;
            these.to_vec()
        };
        Ok(plan.reads.iter().map(split).collect())
    }

    /// The words of every shape uniform, each in its slot.
    fn shapes_of(&self, plan: &Plan) -> Result<Vec<u32>> {
        let same = plan.steps.len() == self.steps.len()
            && plan.reads.iter().all(|read| self.buffers.contains_key(&read.buffer));
        if !same {
            return Err(Error::Internal("a plan was run on buffers made for another kind of plan".into()));
        }
        let mut words = vec![0; plan.steps.len() * SLOT_BYTES / 4];
        for (slot, (step, (compiled, _))) in words.chunks_mut(SLOT_BYTES / 4).zip(plan.steps.iter().zip(&self.steps)) {
            for (place, member) in slot.iter_mut().zip(&compiled.linked.shape) {
                *place = shape_word(step, &member.name)?;
            }
        }
        Ok(words)
    }
}

/// Buffers that some step binds as a uniform: what one kernel writes, another may read so.
fn uniforms<'a>(plan: &'a Plan, compiled: &[Rc<Compiled>]) -> HashSet<&'a str> {
    let bound = |(step, compiled): (&'a Step, &Rc<Compiled>)| {
        let uniform = |name: &str| {
            compiled.linked.bindings.iter().any(|binding| binding.name == name && binding.access == Access::Uniform)
        };
        let binds = step.binds.iter().filter(|(name, _)| uniform(name));
        binds.map(|(_, buffer)| buffer.as_str()).collect::<Vec<_>>()
    };
    plan.steps.iter().zip(compiled).flat_map(bound).collect()
}

/// Steps that are submitted together, at least one part. A system takes a GPU away from whoever keeps it for a second or
/// two, and draws nothing meanwhile, so a long pass is handed over in parts.
fn parts(groups: impl Iterator<Item = [u32; 3]>) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut first, mut end, mut work) = (Vec::new(), 0, 0, 0);
    for (index, groups) in groups.enumerate() {
        let more = groups.iter().map(|count| u64::from(*count)).product::<u64>();
        if work > 0 && work + more > MOST_WORK {
            parts.push(first..index);
            (first, work) = (index, 0);
        }
        work += more;
        end = index + 1;
    }
    parts.push(first..end);
    parts
}

fn shape_word(step: &Step, member: &str) -> Result<u32> {
    let found = step.shape.iter().find(|(name, _)| *name == member);
    found.map(|(_, word)| word.0).ok_or_else(|| Error::Internal(format!("{} is not told {member}", step.kernel.name)))
}

/// Uploads what stays on the device.
pub(super) async fn upload(device: &Device, arrays: &BTreeMap<String, Vec<u32>>) -> Result<Buffers> {
    for (name, values) in arrays {
        fits(device, name, values.len())?;
    }
    let work = |device: &wgpu::Device, queue: &wgpu::Queue| {
        let make = |(name, values): (&String, &Vec<u32>)| {
            let made = buffer(device, name, values.len(), STORAGE);
            queue.write_buffer(&made, 0, bytemuck::cast_slice(values));
            fault::reached(At::Upload, device);
            (name.clone(), made)
        };
        arrays.iter().map(make).collect()
    };
    device.scoped(work).await
}

/// Refuses by name what the device cannot bind; browsers report it as a bare validation error.
fn fits(device: &Device, name: &str, words: usize) -> Result<()> {
    let (bytes, most) = (words as u64 * 4, device.most_bytes());
    if bytes <= most {
        return Ok(());
    }
    let problem =
        format!("{name} needs {bytes} bytes and this device binds {most}; use a shorter prompt or the CPU engine");
    Err(Error::Gpu { problem })
}

/// A buffer that results are read from.
pub(super) async fn staging(device: &Device, words: usize) -> Result<wgpu::Buffer> {
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    device.scoped(|device, _| buffer(device, "staging", words, usage)).await
}

fn buffer(device: &wgpu::Device, name: &str, words: usize, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    // Empty buffers cannot be bound.
    let size = words.max(1) as u64 * 4;
    device.create_buffer(&wgpu::BufferDescriptor { label: Some(name), size, usage, mapped_at_creation: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_pass_is_submitted_in_parts_that_cover_it() {
        let ends = |groups: &[[u32; 3]]| -> Vec<[usize; 2]> {
            parts(groups.iter().copied()).into_iter().map(|part| [part.start, part.end]).collect()
        };
        assert_eq!(ends(&[]), [[0, 0]]);
        assert_eq!(ends(&[[8, 8, 1]; 50]), [[0, 50]]);
        let large = [[64, 64, 1], [64, 64, 1], [1, 1, 1], [200, 200, 1], [1, 1, 1]];
        assert_eq!(ends(&large), [[0, 2], [2, 3], [3, 4], [4, 5]]);
    }
}
