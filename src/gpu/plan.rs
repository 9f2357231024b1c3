//! Plans: buffers and dispatches as plain data, made without a device.
//!
//! A plan is cheap and is made anew for every run; what is expensive (buffers, bind groups, compiled kernels) is made from
//! the plan of a capacity and kept ([`super::run`]), since plans of one kind differ only in sizes.

use super::kernel::Kernel;
use super::source;
use super::weights::Section;
use crate::mechanism::{Input, Place, Placed, Stack};
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
    /// Whether lanes of products share nothing, as a software adapter wants it.
    pub alone: bool,
    /// What stages have made so far, by mechanism; without its stem.
    pub(super) made: BTreeMap<&'static str, Vec<&'static str>>,
    /// Width of values, where it is not that of queries and keys.
    pub(super) mixed: Option<usize>,
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

/// Kernels whose lanes wait for each other in any number, and the piece that makes them few where none should be waited for.
const FEW: &[(&str, (&str, &str))] = &[
    ("attend_rows", ("lanes", "lanes_few")),
    ("rms_norm", ("lanes", "lanes_few")),
    ("layer_norm", ("lanes", "lanes_few")),
    ("norm_rows", ("lanes", "lanes_few")),
    ("sample", ("group", "group_few")),
];

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

    /// Adds an element-wise dispatch over `count` entries, or groups of entries; `pieces` fill the kernel's slots.
    ///
    /// # Errors
    /// [`Error::Gpu`] when that is more than a grid holds.
    pub fn flat(
        &mut self,
        kernel: &'static str,
        pieces: &[(&'static str, &'static str)],
        count: usize,
        binds: &[(&str, &str)],
        shape: Vec<(&'static str, Word)>,
    ) -> Result<()> {
        let lanes = constant("lanes", "LANES")?;
        let groups = count.div_ceil(lanes);
        let rows = groups.div_ceil(MOST_GROUPS);
        self.step(Kernel::new(kernel, pieces), binds, shape, [groups.min(MOST_GROUPS), rows, 1])
    }

    /// Adds a dispatch.
    ///
    /// # Errors
    /// [`Error::Gpu`] when a dimension of the grid is too large.
    pub fn step(
        &mut self,
        mut kernel: Kernel,
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
        if let Some((_, few)) = FEW.iter().find(|(name, _)| self.alone && *name == kernel.name) {
            kernel.pieces.push(*few);
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
        let name = if self.alone { "matmul_alone" } else { "matmul" };
        let matmul = source::kernel(name)?;
        let [tall, wide] = [matmul.constant("TILE_ROWS")? as usize, matmul.constant("TILE_COLUMNS")? as usize];
        let own = [("x", product.x), ("w", product.w.w.as_str()), ("b", product.b)];
        let binds: Vec<_> = own.into_iter().chain(binds.iter().copied()).collect();
        let shape = vec![
            ("rows", product.rows.into()),
            ("inner", product.inner.into()),
            ("columns", product.w.columns.into()),
            ("w_first", product.w.first.into()),
            ("w_columns", product.w.of.into()),
            ("heads", product.heads[0].into()),
            ("kv_heads", product.heads[1].into()),
            ("width", product.width.into()),
            ("b_first", product.b_first.into()),
            ("step", product.pairing[0].into()),
            ("gap", product.pairing[1].into()),
            ("stride", product.stride.into()),
            ("q_stride", product.held.unwrap_or(product.rows).into()),
            ("q_held", usize::from(product.held.is_some()).into()),
        ];
        let groups = [product.w.columns.div_ceil(wide), product.rows.div_ceil(tall), 1];
        self.step(Kernel::new(name, pieces), &binds, shape, groups)
    }
}

/// Name of the buffer that holds one input of a mechanism at one layer.
pub fn input_name(id: &str, input: &str, layer: usize) -> String {
    format!("{id}_{input}.{layer}")
}

/// A constant of a shared piece.
pub(super) fn constant(piece: &str, name: &str) -> Result<usize> {
    let source = source::piece(piece).ok_or_else(|| Error::Internal(format!("there is no piece {piece}")))?;
    Ok(source.constant(name)? as usize)
}

/// Sizes and operands of a matrix product.
pub struct Product<'a> {
    /// Buffer of x `[rows,inner]`.
    pub x: &'a str,
    /// w `[inner,columns]`.
    pub w: &'a Section,
    /// Buffer of b, `[columns]` from `b_first` on.
    pub b: &'a str,
    /// Where b begins.
    pub b_first: usize,
    /// R.
    pub rows: usize,
    /// I.
    pub inner: usize,
    /// H and G, where a slot splits heads.
    pub heads: [usize; 2],
    /// D, where a slot splits heads.
    pub width: usize,
    /// Step and gap of entries that rotate together, where a slot splits heads; see [`pairing`](super::weights::pairing).
    pub pairing: [usize; 2],
    /// Tokens for which a cache has room, where a slot appends to one.
    pub stride: usize,
    /// The same for queries, where they are held, too.
    pub held: Option<usize>,
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
    /// Buffer of maps in the capture variant: scores and pattern `[2,B,N,Q,K]`, then slots `[B,N,Q]`.
    pub capture: Option<&'a str>,
    /// Buffer of the state of a continuation, whose position then counts instead of `first_query`; K is then the room of
    /// the cache, of which only what the rows see is read.
    pub state: Option<&'a str>,
    /// Positions for which q, k and v have room, where they hold those of all positions so far: the first query is at its
    /// position then. Else q holds the queries that are asked about.
    pub held: Option<usize>,
    /// What k and v keep of the tokens before the first query.
    pub past: Past<'a>,
    /// Zero-based layer.
    pub layer: usize,
    /// Number of layers.
    pub layers: usize,
    /// B, H, G, Q, K and D.
    pub sizes: Sizes,
    /// The sizes that buffers are made for, at least `sizes`.
    pub room: Sizes,
    /// Position of the first query.
    pub first_query: usize,
    /// First head that is computed.
    pub first_head: usize,
    /// Number N of heads that are computed.
    pub shown: usize,
    /// What q·k is multiplied by.
    pub scale: f32,
}

/// What is kept of tokens before the first query.
#[derive(Debug, Clone, Copy)]
pub enum Past<'a> {
    /// All of them.
    Whole,
    /// Those that some later query sees: heads overwrite the others; see `shaders/shared/ring.wgsl`.
    Rings {
        /// Buffer of where each head keeps what.
        rings: &'a str,
        /// Whether k and v hold the queries' own tokens `[G,Q,D]`, which are not in the cache yet, and a copy of it behind them.
        copied: bool,
    },
    /// None: a mixer carries them in this buffer `[H,D,D]`, and k and v are those of the queries' own tokens.
    State(&'a str),
}

impl Attend<'_> {
    pub(super) fn binds(&self, z: &str) -> Vec<(String, String)> {
        [("q", self.q), ("k", self.k), ("v", self.v), ("z", z)]
            .map(|(name, buffer)| (name.into(), buffer.into()))
            .into()
    }

    /// Parameters and inputs of a mechanism.
    pub(super) fn binds_of(&self, placed: &Placed) -> Vec<(String, String)> {
        let id = placed.mechanism.id;
        let inputs = placed.mechanism.plug.inputs.iter();
        let inputs = inputs.map(|input| (format!("{id}_{}", input.name), input_name(id, input.name, self.layer)));
        [(format!("{id}_params"), format!("{id}_params"))].into_iter().chain(inputs).collect()
    }

    /// The shape of the row kernel.
    pub(super) fn shape(&self) -> Vec<(&'static str, Word)> {
        vec![
            ("layer", self.layer.into()),
            ("layers", self.layers.into()),
            ("batch", self.sizes.batch.into()),
            ("heads", self.sizes.heads.into()),
            ("kv_heads", self.sizes.kv_heads.into()),
            ("queries", self.sizes.queries.into()),
            ("keys", self.sizes.keys.into()),
            ("stride", self.held.unwrap_or(self.sizes.keys).into()),
            ("q_stride", self.held.unwrap_or(self.sizes.queries).into()),
            ("q_held", usize::from(self.held.is_some()).into()),
            ("width", self.sizes.width.into()),
            ("first_query", self.first_query.into()),
            ("first_head", self.first_head.into()),
            ("shown", self.shown.into()),
            ("scale", self.scale.into()),
        ]
    }

    /// Where a mechanism is asked for its stages.
    pub(super) fn place(&self) -> Place {
        Place {
            layer: self.layer,
            layers: self.layers,
            heads: self.sizes.heads,
            kv_heads: self.sizes.kv_heads,
            keys: self.sizes.keys,
            width: self.sizes.width,
            rotates: false,
            measured: None,
        }
    }

    pub(super) fn groups(&self) -> [usize; 3] {
        [self.sizes.queries, self.sizes.batch * self.shown, 1]
    }
}
