//! Arrays in and out of numpy's npz files.

use attnscope::hook::Array;
use attnscope::{Error, Result};
use npyz::npz::NpzArchive;
use npyz::{Deserialize, NpyFile, Order};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;

/// Most elements one array may have: 1 GiB of f32.
const MOST_ELEMENTS: u64 = 1 << 28;

/// Every array of a file by name, as f32.
///
/// # Errors
/// [`Error::File`] when the file is not an npz; [`Error::Tensor`] naming the array that is not numeric, too large or not
/// finite.
pub fn read(path: &Path) -> Result<BTreeMap<String, Array>> {
    let file = path.display().to_string();
    let broken = |problem: std::io::Error| Error::file(file.as_str(), problem);
    let mut archive = NpzArchive::open(path).map_err(broken)?;
    let names: Vec<String> = archive.array_names().map(String::from).collect();
    let mut arrays = BTreeMap::new();
    for name in names {
        let fault = |problem: String| Error::Tensor { file: file.clone(), tensor: name.clone(), problem };
        let entry = archive.by_name(&name).map_err(|problem| fault(format!("cannot be read: {problem}")))?;
        let entry = entry.ok_or_else(|| fault("is listed but not there".into()))?;
        let array = one(entry).map_err(fault)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

fn one(entry: NpyFile<impl Read>) -> std::result::Result<Array, String> {
    if entry.len() > MOST_ELEMENTS {
        return Err(format!("has {} elements; at most {MOST_ELEMENTS} are read", entry.len()));
    }
    let shape: Vec<usize> = entry.shape().iter().map(|size| *size as usize).collect();
    let order = entry.order();
    let dtype = entry.dtype().descr();
    let data = match entry.try_data::<f32>() {
        Ok(data) => values(data, |value| value),
        Err(entry) => match entry.try_data::<f64>() {
            Ok(data) => values(data, |value| value as f32),
            Err(_) => return Err(format!("has the type {dtype}; f4 and f8 are read")),
        },
    }?;
    if let Some(at) = data.iter().position(|value| !value.is_finite()) {
        return Err(format!("holds {} at element {at}; every value must be finite", data[at]));
    }
    let data = if order == Order::C { data } else { row_major(&shape, &data) };
    Array::new(shape, data).map_err(|problem| format!("is damaged: {problem}"))
}

fn values<T: Deserialize>(
    data: npyz::NpyReader<T, impl Read>,
    real: impl Fn(T) -> f32,
) -> std::result::Result<Vec<f32>, String> {
    data.map(|value| value.map(&real))
        .collect::<std::io::Result<_>>()
        .map_err(|problem| format!("ends early: {problem}"))
}

/// Values whose first axis runs fastest, as values whose last axis does.
fn row_major(shape: &[usize], data: &[f32]) -> Vec<f32> {
    let mut index = vec![0; shape.len()];
    let mut sorted = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        let at = index.iter().zip(shape).rev().fold(0, |at, (i, size)| at * size + i);
        sorted.push(data.get(at).copied().unwrap_or_default());
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    sorted
}

/// Writes arrays under their names, and a note as the archive's comment.
///
/// # Errors
/// [`Error::File`] when the file cannot be written.
pub fn write<'a>(path: &Path, arrays: impl IntoIterator<Item = (String, &'a Array)>, note: &str) -> Result<()> {
    let broken = |problem: std::io::Error| Error::file(path.display().to_string(), problem);
    let file = BufWriter::new(File::create(path).map_err(broken)?);
    attnscope::npz::write_noted(file, arrays, note).map_err(broken)
}
