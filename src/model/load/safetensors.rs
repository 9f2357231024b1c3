//! Weights from safetensors files and back.
//!
//! The `safetensors` crate checks that the tensors of a file lie one after another without holes or overlap and fill it
//! exactly. On top of that the header is capped far below the crate's limit, only f32, f16 and bf16 are read, and every
//! tensor must be one the configuration asks for, in its shape, with finite values.

use super::files::Files;
use super::limits;
use super::names::{self, Stored};
use crate::hook::Array;
use crate::model::config::{Config, Pairing, Positions};
use crate::model::weights::Weights;
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};

/// Longest header that is read; a header of 1 MiB names several thousand tensors.
const LONGEST_HEADER: u64 = 1 << 20;
/// Most files that weights are spread over.
const MOST_SHARDS: usize = 256;

const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// How saved weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
}

/// Reads the weights of `config` from `model.safetensors` or from the shards its index names; → weights, bytes read.
pub(super) fn read(config: &Config, files: &Files) -> Result<(Weights, usize)> {
    let stored = names::stored(config);
    let shapes: BTreeMap<_, _> = config.manifest().into_iter().collect();
    let want = |stored: &Stored| stored.parts.iter().filter_map(|part| shapes.get(part)).collect::<Vec<_>>();
    let mut expected: BTreeMap<&str, Vec<usize>> =
        stored.iter().map(|stored| (stored.name.as_str(), stored.shape(&want(stored)))).collect();
    // Files of tied models may repeat the embedding as a head.
    let head = names::head(config.family);
    expected.entry(head).or_insert(vec![config.vocabulary, config.width]);
    let mut arrays = BTreeMap::new();
    let mut bytes_read = 0;
    for shard in shards(files)? {
        let bytes = files.need(&shard)?;
        bytes_read += bytes.len();
        read_shard(config, &shard, bytes, &expected, &mut arrays)?;
    }
    let file = if files.get(SINGLE).is_some() { SINGLE } else { INDEX };
    let mut weights = Weights::default();
    for stored in &stored {
        let missing = || Error::Tensor { file: file.into(), tensor: stored.name.clone(), problem: "is missing".into() };
        let array = arrays.remove(&stored.name).ok_or_else(missing)?;
        take_apart(stored, array, &want(stored), &mut weights);
    }
    if let Some(places) = names::places(config) {
        for (_, array) in weights.0.iter_mut().filter(|(name, _)| names::turns(name)) {
            for head in array.data.chunks_exact_mut(places.len()) {
                let stored = head.to_vec();
                head.iter_mut().zip(&places).for_each(|(entry, place)| *entry = stored[*place]);
            }
        }
    }
    // Anything else than the embedding there would be silently lost.
    if let Some(again) = arrays.remove(head)
        && weights.0.get("embed") != Some(&again)
    {
        let problem = "differs from the embedding, although tie_word_embeddings says they are one".into();
        return Err(Error::Tensor { file: file.into(), tensor: head.into(), problem });
    }
    Ok((weights, bytes_read))
}

/// The files the weights lie in.
fn shards(files: &Files) -> Result<Vec<String>> {
    if files.get(SINGLE).is_some() || files.get(INDEX).is_none() {
        return Ok(vec![SINGLE.into()]);
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(files.need(INDEX)?).map_err(|problem| Error::file(INDEX, problem))?;
    let shards: BTreeSet<_> = index.weight_map.into_values().collect();
    Error::within(INDEX, "files of weights", shards.len(), MOST_SHARDS)?;
    Ok(shards.into_iter().collect())
}

/// Reads the tensors that a file of `expected` sizes by name may hold.
fn read_shard(
    config: &Config,
    file: &str,
    bytes: &[u8],
    expected: &BTreeMap<&str, Vec<usize>>,
    arrays: &mut BTreeMap<String, Array>,
) -> Result<()> {
    let header = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    match header {
        Some(length) if length > LONGEST_HEADER => {
            let (who, what) = (file.into(), "bytes of header");
            return Err(Error::Limit { who, what, came: length, most: LONGEST_HEADER });
        }
        None => return Err(Error::file(file, "is too short for a safetensors file; download it again")),
        Some(_) => {}
    }
    // The crate takes the last of two tensors of one name.
    let length = header.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    if let Some(header) = bytes[8..].get(..length) {
        limits::object(file, header)?;
    }
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|problem| Error::file(file, format!("is damaged or truncated ({problem}); download it again")))?;
    for (full, view) in tensors.iter() {
        let name = names::plain(config.family, full);
        if names::is_buffer(config.family, name) {
            continue;
        }
        let wrong = |problem: String| Error::Tensor { file: file.into(), tensor: full.into(), problem };
        // Before anything is copied, so that memory is bounded by the configuration and not by the file.
        match expected.get(name) {
            None => return Err(wrong("does not belong to a model of this configuration".into())),
            Some(shape) if *shape != view.shape() => {
                return Err(wrong(format!("should be {shape:?} but is {:?}", view.shape())));
            }
            Some(_) => {}
        }
        let array = array_from_view(&view).map_err(wrong)?;
        if arrays.insert(name.into(), array).is_some() {
            return Err(wrong("is there twice".into()));
        }
    }
    Ok(())
}

/// The values of a stored tensor as f32, or what is wrong with it.
fn array_from_view(view: &TensorView<'_>) -> std::result::Result<Array, String> {
    let data: Vec<f32> = match view.dtype() {
        Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => view.data().chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => return Err(format!("is stored as {other:?}; supported are F32, F16 and BF16")),
    };
    match data.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!("holds {} at element {index}; the file is damaged", data[index])),
        None => Ok(Array { shape: view.shape().to_vec(), data }),
    }
}

impl Stored {
    /// The sizes it has in a file, when its parts have the sizes `want`.
    fn shape(&self, want: &[&Vec<usize>]) -> Vec<usize> {
        let mut whole = whole(want);
        if self.transposed {
            whole.reverse();
        }
        whole
    }
}

/// The sizes of parts side by side along the last axis.
fn whole(want: &[&Vec<usize>]) -> Vec<usize> {
    let columns: usize = want.iter().map(|shape| last(shape)).sum();
    let mut whole = want.first().map_or(Vec::new(), |shape| shape.to_vec());
    if let Some(size) = whole.last_mut() {
        *size = columns;
    }
    whole
}

fn last(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// Splits a stored tensor, whose sizes have been compared, into its canonical parts of the sizes `want`.
fn take_apart(stored: &Stored, array: Array, want: &[&Vec<usize>], weights: &mut Weights) {
    let whole = whole(want);
    let columns = last(&whole);
    let data = match (stored.transposed, &array.shape[..]) {
        (true, [rows, columns]) => transpose(&array.data, *rows, *columns),
        _ => array.data,
    };
    if let [part] = &stored.parts[..] {
        weights.0.insert(part.clone(), Array { shape: whole, data });
        return;
    }
    let mut first = 0;
    for (part, shape) in stored.parts.iter().zip(want) {
        let width = last(shape) / stored.stretches;
        let data = data.chunks_exact((columns / stored.stretches).max(1));
        let data = data.flat_map(|stretch| &stretch[first..first + width]).copied().collect();
        weights.0.insert(part.clone(), Array { shape: shape.to_vec(), data });
        first += width;
    }
}

/// [rows, columns] → [columns, rows].
pub(super) fn transpose(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| data[row * columns + column])).collect()
}

/// The bytes of a `model.safetensors` that [`super::load`] and Hugging Face's classes read.
///
/// # Errors
/// [`Error::Tensor`] when a weight of `config` is missing or a value does not fit the precision; [`Error::Unsupported`]
/// for adjacent rotary pairs, which that format cannot express.
pub fn save_safetensors(config: &Config, weights: &Weights, precision: Precision) -> Result<Vec<u8>> {
    weights.check(config, SINGLE)?;
    if let Positions::Rotary { pairing: Pairing::Adjacent, .. } = config.positions {
        let (key, expected, came) = ("pairing".into(), "half".into(), "adjacent".into());
        return Err(Error::Unsupported { file: SINGLE.into(), key, expected, came });
    }
    let mut tensors = Vec::new();
    for stored in names::stored(config) {
        let parts = stored.parts.iter().map(|part| as_stored(config, weights, part)).collect::<Result<Vec<_>>>()?;
        let (shape, values) = put_together(&stored, &parts);
        let full = match stored.name == names::head(config.family) {
            true => stored.name.clone(),
            false => format!("{}{}", names::prefix(config.family), stored.name),
        };
        let (dtype, bytes) = encode(&values, precision).map_err(|value| Error::Tensor {
            file: SINGLE.into(),
            tensor: full.clone(),
            problem: format!("holds {value}, too large for {precision:?}"),
        })?;
        tensors.push((full, dtype, shape, bytes));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views =
        views.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| Error::Internal(error.to_string()))?;
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| Error::Internal(error.to_string()))
}

/// A canonical weight with the entries of its heads where files have them.
fn as_stored(config: &Config, weights: &Weights, part: &str) -> Result<Array> {
    let mut array = weights.get(part)?.clone();
    if let Some(places) = names::places(config).filter(|_| names::turns(part)) {
        for head in array.data.chunks_exact_mut(places.len()) {
            let ours = head.to_vec();
            ours.iter().zip(&places).for_each(|(entry, place)| head[*place] = *entry);
        }
    }
    Ok(array)
}

/// The stored form of canonical parts; the inverse of [`take_apart`].
fn put_together(stored: &Stored, parts: &[Array]) -> (Vec<usize>, Vec<f32>) {
    let width = |part: &Array| part.shape.last().copied().unwrap_or(1);
    let columns: usize = parts.iter().map(width).sum();
    let rows = parts.first().map_or(0, |part| part.data.len() / width(part).max(1));
    let mut values = Vec::with_capacity(rows * columns);
    for stretch in 0..rows * stored.stretches {
        for part in parts {
            let width = width(part) / stored.stretches;
            values.extend_from_slice(&part.data[stretch * width..(stretch + 1) * width]);
        }
    }
    let matrix = parts.first().is_some_and(|part| part.shape.len() == 2);
    match (matrix, stored.transposed) {
        (false, _) => (vec![columns], values),
        (true, false) => (vec![rows, columns], values),
        (true, true) => (vec![columns, rows], transpose(&values, rows, columns)),
    }
}

/// Little-endian bytes, or the first value that overflows.
fn encode(values: &[f32], precision: Precision) -> std::result::Result<(Dtype, Vec<u8>), f32> {
    let fits = |value: &f32| match precision {
        Precision::F32 => value.is_finite(),
        Precision::F16 => f16::from_f32(*value).is_finite(),
        Precision::Bf16 => bf16::from_f32(*value).is_finite(),
    };
    if let Some(value) = values.iter().find(|value| !fits(value)) {
        return Err(*value);
    }
    Ok(match precision {
        Precision::F32 => (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Precision::F16 => (Dtype::F16, values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
        Precision::Bf16 => {
            (Dtype::BF16, values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect())
        }
    })
}
