//! Plans: buffers and dispatches as plain data, made without a device.
//!
//! A plan is cheap and is made anew for every run; what is expensive (buffers, bind groups, compiled kernels) is made from
//! the plan of a capacity and kept ([`super::run`]), since plans of one kind differ only in sizes.

use super::kernel::Kernel;
use super::source;
use crate::mechanism::{Input, Stack};
use crate::model::step::Sizes;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Buffers, dispatches in order, and what to bring back.
#[derive(Default)]
pub struct Plan {
    /// Number of 32-bit words of each buffer the plan owns.
    pub buffers: BTreeMap<String, Size>,
    /// One compute pass.
    pub steps: Vec<Step>,
    /// Parts of buffers to read after it.
    pub reads: Vec<Read>,
}

/// A buffer's size and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// 32-bit words.
    pub words: usize,
    /// Whether it is bound as a uniform.
    pub uniform: bool,
}

/// One dispatch.
pub struct Step {
    /// What runs.
    pub kernel: Kernel,
    /// Binding → buffer; `shape` is not among them.
    pub binds: Vec<(String, String)>,
    /// Members of the shape uniform, by name.
    pub shape: Vec<(&'static str, Word)>,
    /// Workgroups.
    pub groups: [u32; 3],
}

/// Part of a buffer, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which buffer.
    pub buffer: String,
    /// First word.
    pub first: usize,
    /// Number of words.
    pub words: usize,
}

/// One 32-bit member of a uniform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Word(pub u32);

impl From<usize> for Word {
    fn from(value: usize) -> Self {
        // Sizes are checked when a plan is made; saturating keeps a mistake visible.
        Word(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

impl From<f32> for Word {
    fn from(value: f32) -> Self {
        Word(value.to_bits())
    }
}

/// Workgroups of one dimension of a grid.
pub const MOST_GROUPS: usize = 65_535;

impl Plan {
    /// Adds a storage buffer or enlarges it.
    pub fn storage(&mut self, name: impl Into<String>, words: usize) -> String {
        let name = name.into();
        let size = self.buffers.entry(name.clone()).or_insert(Size { words, uniform: false });
        size.words = size.words.max(words);
        name
    }

    /// Adds the parameters and inputs of a stack for `layers` layers.
    pub fn stack(&mut self, stack: &Stack, layers: usize, heads: usize, kv_heads: usize, width: usize) {
        for placed in stack.iter() {
            let (id, plug) = (placed.mechanism.id, &placed.mechanism.plug);
            self.buffers.insert(format!("{id}_params"), Size { words: plug.spec.len().max(1), uniform: true });
            for input in plug.inputs {
                for layer in 0..layers {
                    let words = input.shape(heads, kv_heads, width).iter().product();
                    let name = input_name(id, input.name, layer);
                    if input.is_per_head() {
                        self.buffers.insert(name, Size { words: Input::MOST_HEADS, uniform: true });
                    } else {
                        self.storage(name, words);
                    }
                }
            }
        }
    }

    /// Adds an element-wise dispatch over `count` entries.
    ///
    /// # Errors
    /// [`Error::Gpu`] when that is more than a grid holds.
    pub fn flat(
        &mut self,
        kernel: &'static str,
        count: usize,
        binds: &[(&str, &str)],
        shape: Vec<(&'static str, Word)>,
    ) -> Result<()> {
        let lanes = constant("lanes", "LANES")?;
        let groups = count.div_ceil(lanes);
        let rows = groups.div_ceil(MOST_GROUPS);
        self.step(Kernel::new(kernel, &[]), binds, shape, [groups.min(MOST_GROUPS), rows, 1])
    }

    /// Adds a dispatch.
    ///
    /// # Errors
    /// [`Error::Gpu`] when a dimension of the grid is too large.
    pub fn step(
        &mut self,
        kernel: Kernel,
        binds: &[(&str, &str)],
        shape: Vec<(&'static str, Word)>,
        groups: [usize; 3],
    ) -> Result<()> {
        if groups.iter().any(|count| *count > MOST_GROUPS) {
            let problem = format!(
                "{} would need {groups:?} workgroups, at most {MOST_GROUPS} fit; use a shorter prompt",
                kernel.name
            );
            return Err(Error::Gpu { problem });
        }
        let binds = binds.iter().map(|(binding, buffer)| (binding.to_string(), buffer.to_string())).collect();
        self.steps.push(Step { kernel, binds, shape, groups: groups.map(|count| count as u32) });
        Ok(())
    }

    /// Adds a matrix product y `[rows,columns]` = x·w + b; `pieces` fill load, weight and store.
    ///
    /// # Errors
    /// As [`Plan::step`].
    pub fn matmul(
        &mut self,
        product: &Product<'_>,
        pieces: &[(&'static str, &'static str)],
        binds: &[(&str, &str)],
    ) -> Result<()> {
        let matmul = source::kernel("matmul")?;
        let [tall, wide] = [matmul.constant("TILE_ROWS")? as usize, matmul.constant("TILE_COLUMNS")? as usize];
        let own = [("x", product.x), ("w", product.w), ("b", product.b)];
        let binds: Vec<_> = own.into_iter().chain(binds.iter().copied()).collect();
        let shape = vec![
            ("rows", product.rows.into()),
            ("inner", product.inner.into()),
            ("columns", product.columns.into()),
            ("heads", product.heads[0].into()),
            ("kv_heads", product.heads[1].into()),
            ("width", product.width.into()),
        ];
        let groups = [product.columns.div_ceil(wide), product.rows.div_ceil(tall), 1];
        self.step(Kernel::new("matmul", pieces), &binds, shape, groups)
    }

    /// Adds the attention step of a stack.
    ///
    /// # Errors
    /// [`Error::Gpu`] when heads or rows are larger than the kernel's workgroup memory.
    pub fn attend(&mut self, stack: &Stack, at: &Attend<'_>) -> Result<()> {
        let most_keys = source::kernel("attend_rows")?.constant("MOST_KEYS")? as usize;
        let most_width = constant("row", "MOST_WIDTH")?;
        for (what, came, most) in [("keys", at.sizes.keys, most_keys), ("entries per head", at.sizes.width, most_width), ("heads", at.sizes.heads, Input::MOST_HEADS)]
        {
            if came > most {
                let problem =
                    format!("{came} {what} are more than the {most} the attention kernel holds; use the CPU engine");
                return Err(Error::Gpu { problem });
            }
        }
        let mut binds: Vec<(String, String)> = [("q", at.q), ("k", at.k), ("v", at.v), ("z", at.z)]
            .map(|(name, buffer)| (name.into(), buffer.into()))
            .into();
        if let Some((maps, slots)) = at.capture {
            binds.extend([("maps".into(), maps.into()), ("slots".into(), slots.into())]);
        }
        for placed in stack.iter() {
            let id = placed.mechanism.id;
            binds.push((format!("{id}_params"), format!("{id}_params")));
            for input in placed.mechanism.plug.inputs {
                binds.push((format!("{id}_{}", input.name), input_name(id, input.name, at.layer)));
            }
        }
        let binds: Vec<(&str, &str)> =
            binds.iter().map(|(binding, buffer)| (binding.as_str(), buffer.as_str())).collect();
        let shape = vec![
            ("layer", at.layer.into()),
            ("batch", at.sizes.batch.into()),
            ("heads", at.sizes.heads.into()),
            ("kv_heads", at.sizes.kv_heads.into()),
            ("queries", at.sizes.queries.into()),
            ("keys", at.sizes.keys.into()),
            ("width", at.sizes.width.into()),
            ("first_query", at.first_query.into()),
            ("first_head", at.first_head.into()),
            ("shown", at.shown.into()),
            ("scale", at.scale.into()),
        ];
        let groups = [at.sizes.queries, at.sizes.batch * at.shown, 1];
        self.step(Kernel::attend_rows(stack, at.capture.is_some()), &binds, shape, groups)
    }
}

/// Name of the buffer that holds one input of a mechanism at one layer.
pub fn input_name(id: &str, input: &str, layer: usize) -> String {
    format!("{id}_{input}.{layer}")
}

/// A constant of a shared piece.
fn constant(piece: &str, name: &str) -> Result<usize> {
    let source = source::piece(piece).ok_or_else(|| Error::Internal(format!("there is no piece {piece}")))?;
    Ok(source.constant(name)? as usize)
}

/// Sizes and operands of a matrix product.
pub struct Product<'a> {
    /// Buffer of x `[rows,inner]`.
    pub x: &'a str,
    /// Buffer of w `[inner,columns]`.
    pub w: &'a str,
    /// Buffer of b `[columns]`.
    pub b: &'a str,
    /// R.
    pub rows: usize,
    /// I.
    pub inner: usize,
    /// C.
    pub columns: usize,
    /// H and G, where a slot splits heads.
    pub heads: [usize; 2],
    /// D, where a slot splits heads.
    pub width: usize,
}

/// Sizes and operands of an attention step.
pub struct Attend<'a> {
    /// Buffer of q `[B,H,Q,D]`.
    pub q: &'a str,
    /// Buffer of k `[B,G,K,D]`.
    pub k: &'a str,
    /// Buffer of v `[B,G,K,D]`.
    pub v: &'a str,
    /// Buffer of z `[B,N,Q,D]`.
    pub z: &'a str,
    /// Buffers of maps `[2,B,N,Q,K]` and slots `[B,N,Q]` in the capture variant.
    pub capture: Option<(&'a str, &'a str)>,
    /// Zero-based layer.
    pub layer: usize,
    /// B, H, G, Q, K and D.
    pub sizes: Sizes,
    /// Position of the first query.
    pub first_query: usize,
    /// First head that is computed.
    pub first_head: usize,
    /// Number N of heads that are computed.
    pub shown: usize,
    /// What q·k is multiplied by.
    pub scale: f32,
}
