//! Weights as the kernels want them.
//!
//! Queries, keys and values stand side by side in one matrix, gate and linear part of a feed-forward column by column in
//! turn, and entries of a head that rotate together next to each other. Rows of matrices are padded to whole vectors of
//! four. What a product adds stands behind what its norm needs, in one small buffer: gains, biases of the norm, biases of
//! the product ([`first_bias`]). Where both halves of a block read the same stream, the feed-forward's columns stand beside
//! those of queries, keys and values ([`joined`]). Prefill, decode and captures read the same buffers.

use crate::Result;
use crate::hook::Array;
use crate::model::config::{Config, Norm, Pairing, Positions};
use crate::model::weights::{Outputs, Weights, byte, outputs_of, scales};
use std::collections::BTreeMap;

/// Name of a buffer with a zero: what stands for the positions of a family that rotates.
pub const ZEROS: &str = "zeros";
/// Name of the table of rotations (cos, sin) [positions,D/2].
pub const TURNS: &str = "turns";

/// Whether one product of decoding makes queries, keys, values and the inner activations. A gate would stand between the
/// columns of the latter; no family has both.
pub fn joined(config: &Config) -> bool {
    config.parallel && !config.gated
}

/// Columns of queries, keys and values in a joined matrix are padded to a multiple of this, so that no workgroup of a
/// product computes columns of both halves: a multiple of every tile of outputs.
const SECTION: usize = 64;

/// Some columns of a matrix that lies in rows.
pub struct Section {
    /// The buffer.
    pub w: String,
    /// The first of the columns, a multiple of four.
    pub first: usize,
    /// Columns of the whole matrix.
    pub of: usize,
    /// How many columns they are.
    pub columns: usize,
}

impl Section {
    /// A whole matrix.
    pub fn whole(w: impl Into<String>, columns: usize) -> Self {
        Self { w: w.into(), first: 0, of: columns, columns }
    }

    /// Queries, keys and values of a layer.
    pub fn qkv(config: &Config, layer: usize) -> Self {
        let columns = (config.heads + 2 * config.kv_heads) * config.head_width;
        match joined(config) {
            true => Self { columns, ..Self::both(config, layer) },
            false => Self::whole(format!("blocks.{layer}.attn.w_qkv"), columns),
        }
    }

    /// Inner activations of a layer, gates among them.
    pub fn inner(config: &Config, layer: usize) -> Self {
        let columns = config.ffn * (1 + usize::from(config.gated));
        match joined(config) {
            true => Self { first: split(config), columns, ..Self::both(config, layer) },
            false => Self::whole(format!("blocks.{layer}.ffn.w_inner"), columns),
        }
    }

    /// The joined matrix of a layer.
    pub fn both(config: &Config, layer: usize) -> Self {
        Self::whole(format!("blocks.{layer}.w_both"), split(config) + config.ffn)
    }
}

/// Where the inner activations begin in a joined matrix.
pub fn split(config: &Config) -> usize {
    ((config.heads + 2 * config.kv_heads) * config.head_width).next_multiple_of(SECTION)
}

/// How matrices are stored on the device. Sums are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// As they are.
    #[default]
    F32,
    /// Half precision: exact for a model that was stored so, and half of the bytes.
    F16,
    /// Bytes, with the largest absolute weight of each output as its scale: a quarter of the bytes, and another model.
    I8,
}

impl Format {
    /// Bytes of one weight.
    pub fn bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 => 2,
            Format::I8 => 1,
        }
    }

    /// What takes the fewest bytes without changing a weight: bytes for a model that was rounded to them
    /// ([`Weights::quantise`]), half precision for one that was stored so, else f32.
    pub fn lossless(weights: &Weights) -> Self {
        let matrices = || weights.0.iter().filter(|(name, array)| array.shape.len() == 2 && *name != "positions");
        let half = |value: &f32| half::f16::from_f32(*value).to_f32() == *value;
        let bytes = |(name, array): (&String, &Array)| {
            let (width, outputs) = (array.shape[1], outputs_of(name));
            let scales = scales(&array.data, width, outputs);
            let mut places = array.data.iter().enumerate();
            places.all(|(index, value)| {
                let scale = scales[outputs.of(index, width)];
                f32::from(byte(*value, scale)) / 127.0 * scale == *value
            })
        };
        if matrices().all(bytes) {
            return Format::I8;
        }
        if matrices().flat_map(|(_, array)| &array.data).all(half) { Format::F16 } else { Format::F32 }
    }

    /// The piece that reads it.
    pub fn piece(self) -> &'static str {
        match self {
            Format::F32 => "format_f32",
            Format::F16 => "format_f16",
            Format::I8 => "format_i8",
        }
    }
}

/// Every array that stays on the device, by buffer, as 32-bit words.
///
/// # Errors
/// [`crate::Error::Tensor`] when a weight is missing.
pub fn resident(
    config: &Config,
    weights: &Weights,
    positions: usize,
    format: Format,
) -> Result<BTreeMap<String, Vec<u32>>> {
    let mut list = BTreeMap::new();
    let get = |name: &str| weights.get(name);
    let matrix = |list: &mut BTreeMap<_, _>, name: String, values: &[f32], width: usize, outputs: Outputs| {
        list.insert(name, packed(values, width, outputs, format));
    };
    let m = config.width;
    matrix(&mut list, "embed".into(), &get("embed")?.data, m, Outputs::Rows);
    if !config.tied {
        matrix(&mut list, "unembed".into(), &get("unembed")?.data, config.vocabulary, Outputs::Columns);
    }
    for layer in 0..config.layers {
        let (attn, ffn) = (format!("blocks.{layer}.attn"), format!("blocks.{layer}.ffn"));
        let part = |part: &str, name: &str| get(&format!("{part}.{name}"));
        let order = |array: &Array| in_pairs(config, array);
        let qkv = [order(part(&attn, "w_q")?), order(part(&attn, "w_k")?), part(&attn, "w_v")?.data.clone()];
        matrix(&mut list, format!("{attn}.w_o"), &part(&attn, "w_o")?.data, m, Outputs::Columns);
        let inner = match config.gated {
            true => in_turn(&part(&ffn, "w_gate")?.data, &part(&ffn, "w_in")?.data),
            false => part(&ffn, "w_in")?.data.clone(),
        };
        let [qkv, inner] = [beside(&qkv, m), inner];
        if joined(config) {
            let both = beside(&[qkv, vec![0.0; m * padding(config)], inner], m);
            let Section { w, of, .. } = Section::both(config, layer);
            matrix(&mut list, w, &both, of, Outputs::Columns);
        } else {
            for (values, Section { w, of, .. }) in
                [(qkv, Section::qkv(config, layer)), (inner, Section::inner(config, layer))]
            {
                matrix(&mut list, w, &values, of, Outputs::Columns);
            }
        }
        matrix(&mut list, format!("{ffn}.w_out"), &part(&ffn, "w_out")?.data, m, Outputs::Columns);
    }
    let vectors = vectors(config, weights, positions)?;
    list.extend(vectors.into_iter().map(|(name, values)| (name, bytemuck::cast_slice(&values).to_vec())));
    Ok(list)
}

/// What is not a matrix of products: affine buffers, positions, rotations.
fn vectors(config: &Config, weights: &Weights, positions: usize) -> Result<BTreeMap<String, Vec<f32>>> {
    let mut list = BTreeMap::new();
    let copy = |name: &str| Result::Ok(weights.get(name)?.data.clone());
    let norm = |name: &str| {
        let mut both = copy(&format!("{name}.w"))?;
        if config.norm == Norm::Layer {
            both.extend(copy(&format!("{name}.b"))?);
        }
        Result::Ok(both)
    };
    list.insert(ZEROS.into(), vec![0.0]);
    match config.positions {
        Positions::Learned => list.insert("positions".into(), copy("positions")?),
        Positions::Rotary { .. } => list.insert(TURNS.into(), turns(&config.frequencies(), positions)),
    };
    for layer in 0..config.layers {
        let (attn, ffn) = (format!("blocks.{layer}.attn"), format!("blocks.{layer}.ffn"));
        let get = |part: &str, name: &str| weights.get(&format!("{part}.{name}"));
        let qkv = match config.attention_bias {
            true => {
                let order = |array: &Array| in_pairs(config, array);
                beside(&[order(get(&attn, "b_q")?), order(get(&attn, "b_k")?), get(&attn, "b_v")?.data.clone()], 1)
            }
            false => vec![0.0; (config.heads + 2 * config.kv_heads) * config.head_width],
        };
        let inner = match (config.ffn_bias, config.gated) {
            (true, true) => in_turn(&get(&ffn, "b_gate")?.data, &get(&ffn, "b_in")?.data),
            (true, false) => get(&ffn, "b_in")?.data.clone(),
            (false, gated) => vec![0.0; config.ffn * (1 + usize::from(gated))],
        };
        let bias = |there: bool, part: &str, name: &str| match there {
            true => copy(&format!("{part}.{name}")),
            false => Ok(vec![0.0; config.width]),
        };
        let [first, second] = [norm(&format!("blocks.{layer}.ln1"))?, norm(&format!("blocks.{layer}.ln2"))?];
        if joined(config) {
            let padding = vec![0.0; padding(config)];
            list.insert(format!("blocks.{layer}.a_both"), [&first[..], &second, &qkv, &padding, &inner].concat());
        }
        list.insert(format!("{attn}.a_qkv"), [first, qkv].concat());
        list.insert(format!("{attn}.a_o"), bias(config.attention_bias, &attn, "b_o")?);
        list.insert(format!("{ffn}.a_inner"), [second, inner].concat());
        list.insert(format!("{ffn}.a_out"), bias(config.ffn_bias, &ffn, "b_out")?);
    }
    list.insert("a_head".into(), [norm("ln_final")?, vec![0.0; config.vocabulary]].concat());
    Ok(list)
}

/// Columns between both halves of a joined matrix.
fn padding(config: &Config) -> usize {
    split(config) - (config.heads + 2 * config.kv_heads) * config.head_width
}

/// Where the biases of a product that follows a norm begin in its affine buffer.
pub fn first_bias(config: &Config) -> usize {
    match config.norm {
        Norm::Layer => 2 * config.width,
        Norm::Rms => config.width,
    }
}

/// Step between the first entries of two pairs that rotate together, and gap between the entries of one.
pub fn pairing(config: &Config) -> [usize; 2] {
    match config.positions {
        Positions::Rotary { pairing: Pairing::Half, .. } => [1, config.head_width / 2],
        // Without rotation entries stay where they are.
        Positions::Rotary { pairing: Pairing::Adjacent, .. } | Positions::Learned => [2, 1],
    }
}

/// (cos, sin) of position · frequency of each pair, in f64 as in the burn model.
pub(super) fn turns(frequencies: &[f64], positions: usize) -> Vec<f32> {
    let pairs = frequencies.len();
    let turn = |index: usize| {
        let angle = (index / pairs) as f64 * frequencies[index % pairs];
        [angle.cos() as f32, angle.sin() as f32]
    };
    (0..positions * pairs).flat_map(turn).collect()
}

/// Columns of queries or keys, or their biases, with the entries of each pair side by side.
fn in_pairs(config: &Config, array: &Array) -> Vec<f32> {
    let [step, gap] = pairing(config);
    let place = |entry: usize| entry / 2 * step + entry % 2 * gap;
    let head = |head: &[f32]| (0..head.len()).map(|entry| head[place(entry)]).collect::<Vec<_>>();
    array.data.chunks(config.head_width).flat_map(head).collect()
}

/// Matrices of equal height side by side.
fn beside(parts: &[Vec<f32>], height: usize) -> Vec<f32> {
    let row = |index: usize| {
        parts.iter().flat_map(move |part| {
            let width = part.len() / height.max(1);
            part.get(index * width..(index + 1) * width).unwrap_or(&[])
        })
    };
    (0..height).flat_map(row).copied().collect()
}

/// Two arrays of one shape, entry by entry in turn.
fn in_turn(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).flat_map(|(a, b)| [*a, *b]).collect()
}

/// A matrix in rows of `width` as the words of a format.
fn packed(values: &[f32], width: usize, outputs: Outputs, format: Format) -> Vec<u32> {
    let rows = values.chunks(width.max(1));
    let fours = |row: &[f32]| -> Vec<[f32; 4]> {
        row.chunks(4).map(|four| std::array::from_fn(|c| four.get(c).copied().unwrap_or(0.0))).collect()
    };
    let half = |value: f32| u32::from(half::f16::from_f32(value).to_bits());
    match format {
        Format::F32 => rows.flat_map(fours).flatten().map(f32::to_bits).collect(),
        Format::F16 => {
            let two = |four: [f32; 4]| [half(four[0]) | half(four[1]) << 16, half(four[2]) | half(four[3]) << 16];
            rows.flat_map(fours).flat_map(two).collect()
        }
        Format::I8 => {
            let scales = scales(values, width, outputs);
            let word = |row: usize, place: usize, four: [f32; 4]| {
                let one = |c: usize| {
                    let scale = scales.get(outputs.of(row * width + 4 * place + c, width)).copied().unwrap_or(0.0);
                    // What pads a row has no output; it is zero.
                    let byte = if 4 * place + c < width { byte(four[c], scale) } else { 0 };
                    u32::from(byte.cast_unsigned()) << (8 * c)
                };
                (0..4).map(one).sum::<u32>()
            };
            let mut words = vec![1 + scales.len() as u32];
            words.extend(scales.iter().map(|scale| scale.to_bits()));
            for (row, values) in rows.enumerate() {
                words.extend(fours(values).into_iter().enumerate().map(|(place, four)| word(row, place, four)));
            }
            words
        }
    }
}
