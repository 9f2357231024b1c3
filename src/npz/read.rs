//! Reading npz archives, which may come from anywhere.
//!
//! The archive is opened by a crate, the arrays in it by hand: a header of npy is a Python literal, and the parser that the
//! crate brings for those recurses as deep as brackets are nested, takes the length a header announces at its word and
//! multiplies sizes unchecked. Of such headers this reads the form in which numpy writes plain arrays.

use crate::hook::Array;
use crate::{Error, Result};
use npyz::npz::NpzArchive;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{Read, Seek};

/// Most elements one archive may hold: 1 GiB of f32.
const MOST_ELEMENTS: u64 = 1 << 28;
/// Most arrays of one archive.
const MOST_ARRAYS: usize = 4096;
/// Most axes of one array.
const MOST_AXES: usize = 16;
/// Longest header; numpy's has 118 bytes up to five axes.
const LONGEST_HEADER: usize = 4096;

/// Every array of an archive by name, as f32; `file` names it in errors.
///
/// # Errors
/// [`Error::File`] when it is not an npz; [`Error::Tensor`] naming the array that is not numeric, damaged or not finite;
/// [`Error::Limit`] when there is more of it than is read.
pub fn read(file: &str, source: impl Read + Seek) -> Result<BTreeMap<String, Array>> {
    let mut archive = NpzArchive::new(source).map_err(|problem| Error::file(file, problem))?;
    let names: Vec<String> = archive.array_names().map(String::from).collect();
    Error::within(file, "arrays", names.len(), MOST_ARRAYS)?;
    let (mut arrays, mut elements) = (BTreeMap::new(), 0u64);
    for name in names {
        let fault = |problem: String| Error::Tensor { file: file.into(), tensor: name.clone(), problem };
        let entry = archive.zip_archive().by_name(&format!("{name}.npy"));
        let mut entry = entry.map_err(|problem| fault(format!("cannot be read: {problem}")))?;
        let header = Header::read(&mut entry).map_err(fault)?;
        // What a header announces costs nothing until it is believed.
        elements = elements.saturating_add(header.elements);
        if elements > MOST_ELEMENTS {
            return Err(Error::Limit { who: file.into(), what: "elements", came: elements, most: MOST_ELEMENTS });
        }
        let array = header.array(&mut entry).map_err(fault)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// What a problem is said as; the caller knows the array.
type Said<T> = std::result::Result<T, String>;

/// How the numbers of an array are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    wide: bool,
    big_endian: bool,
    fortran_order: bool,
    axes: usize,
    shape: [usize; MOST_AXES],
    elements: u64,
}

impl Header {
    fn read(from: &mut impl Read) -> Said<Self> {
        let mut start = [0; 8];
        exactly(from, &mut start, "its header")?;
        let length = match start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => {
                let mut length = [0; 2];
                exactly(from, &mut length, "its header")?;
                usize::from(u16::from_le_bytes(length))
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => {
                let mut length = [0; 4];
                exactly(from, &mut length, "its header")?;
                u32::from_le_bytes(length) as usize
            }
            _ => return Err("is no npy file of version 1 to 3".into()),
        };
        if length > LONGEST_HEADER {
            return Err(format!("announces a header of {length} bytes; at most {LONGEST_HEADER} are read"));
        }
        let mut text = vec![0; length];
        exactly(from, &mut text, "its header")?;
        Self::parse(std::str::from_utf8(&text).map_err(|_| "has a header that is not text")?)
    }

    fn parse(text: &str) -> Said<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Literal {
            descr: String,
            fortran_order: bool,
            shape: Vec<u64>,
        }
        let literal: Literal = serde_json::from_str(&json_from_literal(text))
            .map_err(|problem| format!("has a header that is not read here ({problem}): {}", text.trim_end()))?;
        let (big_endian, wide) = match literal.descr.as_str() {
            "<f4" => (false, false),
            ">f4" => (true, false),
            "<f8" => (false, true),
            ">f8" => (true, true),
            other => return Err(format!("has the type {other}; f4 and f8 are read")),
        };
        let elements = literal.shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        let axes = literal.shape.len();
        let (Some(elements), true) = (elements, axes <= MOST_AXES) else {
            return Err(format!("has the impossible shape {:?}", literal.shape));
        };
        let mut shape = [0; MOST_AXES];
        for (to, size) in shape.iter_mut().zip(&literal.shape) {
            *to = usize::try_from(*size).map_err(|_| format!("has the impossible shape {:?}", literal.shape))?;
        }
        Ok(Self { wide, big_endian, fortran_order: literal.fortran_order, axes, shape, elements })
    }

    fn array(&self, from: &mut impl Read) -> Said<Array> {
        let shape = &self.shape[..self.axes];
        let mut data = Vec::new();
        let mut block = [0; 8 << 10];
        let size = if self.wide { 8 } else { 4 };
        let mut left = self.elements * size;
        while left > 0 {
            let bytes = &mut block[..left.min(8 << 10) as usize];
            exactly(from, bytes, "its values")?;
            left -= bytes.len() as u64;
            match self.wide {
                true => data.extend(bytes.as_chunks::<8>().0.iter().map(|bytes| self.double(*bytes) as f32)),
                false => data.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| self.single(*bytes))),
            }
        }
        if from.read(&mut [0]).map_err(|problem| format!("cannot be read to its end: {problem}"))? > 0 {
            return Err("goes on behind its last value".into());
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(format!("holds {} at element {at}; every value must be finite", data[at]));
        }
        let data = if self.fortran_order { row_major(shape, &data) } else { data };
        Array::new(shape, data).map_err(|problem| format!("is damaged: {problem}"))
    }

    fn single(&self, bytes: [u8; 4]) -> f32 {
        if self.big_endian { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }
    }

    fn double(&self, bytes: [u8; 8]) -> f64 {
        if self.big_endian { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) }
    }
}

fn exactly(from: &mut impl Read, bytes: &mut [u8], what: &str) -> Said<()> {
    from.read_exact(bytes).map_err(|problem| format!("ends inside {what}: {problem}"))
}

/// A Python literal of the kind numpy writes, as JSON: quotes, tuples, names of truth values, commas before a bracket.
fn json_from_literal(text: &str) -> String {
    let mut json = text.trim().replace('\'', "\"").replace('(', "[").replace(')', "]");
    json = json.replace("False", "false").replace("True", "true");
    let mut made = String::with_capacity(json.len());
    for (at, letter) in json.char_indices() {
        let before_bracket = letter == ',' && json[at + 1..].trim_start().starts_with([']', '}']);
        if !before_bracket {
            made.push(letter);
        }
    }
    made
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
