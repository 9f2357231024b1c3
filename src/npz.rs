//! Arrays as numpy's npz files, written by the page and by the command line alike.

use crate::hook::Array;
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use std::io::{Result, Seek, Write};

/// Writes arrays under their names, as f32 in row-major order.
///
/// # Errors
/// Those of `to`.
pub fn write<'a>(to: impl Write + Seek, arrays: impl IntoIterator<Item = (String, &'a Array)>) -> Result<()> {
    let mut npz = NpzWriter::new(to);
    for (name, array) in arrays {
        let shape: Vec<u64> = array.shape.iter().map(|size| *size as u64).collect();
        let mut entry = npz.array(&name, Default::default())?.default_dtype().shape(&shape).begin_nd()?;
        entry.extend(array.data.iter())?;
        entry.finish()?;
    }
    npz.zip_writer().finish()?;
    Ok(())
}
