//! Arrays as numpy's npz files, written by the page and by the command line alike.
//!
//! An npz is a zip archive of npy files. They are stored as they are: f32 weights hardly shrink, and the crates that write
//! zip bring compressors and tables which would make the page a twentieth larger for two headers. Reading, where any
//! archive may come, is left to such a crate.

#[cfg(feature = "native")]
mod read;

#[cfg(feature = "native")]
pub use read::read;

use crate::hook::Array;
use std::io::{Error, Result, Write};

/// Writes arrays under their names, as f32 in row-major order.
///
/// # Errors
/// Those of `to`, and when the archive would pass the 4 GiB of plain zip.
pub fn write<'a>(to: impl Write, arrays: impl IntoIterator<Item = (String, &'a Array)>) -> Result<()> {
    write_noted(to, arrays, "")
}

/// The same with a note: the comment of the archive, which `zipfile.ZipFile(path).comment` reads and numpy passes over.
///
/// # Errors
/// As [`write()`], and when the note is longer than 64 KiB.
pub fn write_noted<'a>(
    mut to: impl Write,
    arrays: impl IntoIterator<Item = (String, &'a Array)>,
    note: &str,
) -> Result<()> {
    let (mut at, mut count, mut directory) = (0u32, 0u16, Vec::new());
    for (name, array) in arrays {
        let (name, body) = (format!("{name}.npy"), npy(array));
        let facts = entry(&name, &body)?;
        to.write_all(&[b"PK\x03\x04", facts.as_slice(), name.as_bytes()].concat())?;
        to.write_all(&body)?;
        // The directory repeats the facts: made by version 2.0, no comment, first disk, no attributes, where it begins.
        directory
            .extend([b"PK\x01\x02\x14\0", facts.as_slice(), &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat());
        at = at.checked_add(short(4 + facts.len() + name.len() + body.len())?).ok_or_else(too_large)?;
        count = count.checked_add(1).ok_or_else(too_large)?;
    }
    to.write_all(&directory)?;
    let (count, length) = (count.to_le_bytes(), short(directory.len())?.to_le_bytes());
    to.write_all(&[b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length, &at.to_le_bytes()].concat())?;
    to.write_all(&u16::try_from(note.len()).map_err(|_| too_large())?.to_le_bytes())?;
    to.write_all(note.as_bytes())?;
    to.flush()
}

fn too_large() -> Error {
    Error::other("an npz of more than 4 GiB is not written")
}

fn short(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| too_large())
}

/// What both headers of an entry say: version 2.0, names in UTF-8, stored, the first of January 1980, checksum, sizes.
fn entry(name: &str, body: &[u8]) -> Result<Vec<u8>> {
    let size = short(body.len())?.to_le_bytes();
    let name = u16::try_from(name.len()).map_err(|_| too_large())?.to_le_bytes();
    Ok([&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0], checksum(body).to_le_bytes().as_slice(), &size, &size, &name, &[0, 0]]
        .concat())
}

/// An array in numpy's own format, version 1.0.
fn npy(array: &Array) -> Vec<u8> {
    let shape: String = array.shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version, length and header together fill whole blocks of 64 bytes and end with a line.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    bytes.extend(array.data.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// Remainders of the sixteen half bytes.
const HALVES: [u32; 16] = {
    let mut table = [0; 16];
    let mut half = 0;
    while half < 16 {
        let mut rest = half as u32;
        let mut bit = 0;
        while bit < 4 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 };
            bit += 1;
        }
        table[half] = rest;
        half += 1;
    }
    table
};

/// CRC-32 as zip has it.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |rest: u32, half: u32| rest >> 4 ^ HALVES[((rest ^ half) & 15) as usize];
    !bytes.iter().fold(u32::MAX, |rest, byte| step(step(rest, u32::from(*byte)), u32::from(*byte >> 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn what_is_written_is_an_archive_of_arrays() {
        let arrays = [
            ("a.pattern", Array::new([2, 3], (0..6).map(|n| n as f32 / 4.0).collect()).unwrap()),
            ("b", Array::new([0], Vec::new()).unwrap()),
        ];
        let mut bytes = Vec::new();
        write(&mut bytes, arrays.iter().map(|(name, array)| ((*name).to_string(), array))).unwrap();
        let mut archive = npyz::npz::NpzArchive::new(std::io::Cursor::new(bytes)).unwrap();
        for (name, array) in &arrays {
            let entry = archive.by_name(name).unwrap().expect("the archive holds every array");
            let shape: Vec<usize> = entry.shape().iter().map(|size| *size as usize).collect();
            assert_eq!(shape, array.shape, "{name}");
            assert_eq!(entry.into_vec::<f32>().unwrap(), array.data, "{name}");
        }
    }
}
