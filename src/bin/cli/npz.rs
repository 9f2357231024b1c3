//! Arrays in and out of numpy's npz files.

use attnscope::hook::Array;
use attnscope::{Error, Result, npz};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Every array of a file by name, as f32.
///
/// # Errors
/// Those of [`npz::read`].
pub fn read(path: &Path) -> Result<BTreeMap<String, Array>> {
    let file = path.display().to_string();
    let source = File::open(path).map_err(|problem| Error::file(file.as_str(), problem))?;
    npz::read(&file, source)
}

/// Writes arrays under their names, and a note as the archive's comment.
///
/// # Errors
/// [`Error::File`] when the file cannot be written.
pub fn write<'a>(path: &Path, arrays: impl IntoIterator<Item = (String, &'a Array)>, note: &str) -> Result<()> {
    let broken = |problem: std::io::Error| Error::file(path.display().to_string(), problem);
    let file = BufWriter::new(File::create(path).map_err(broken)?);
    npz::write_noted(file, arrays, note).map_err(broken)
}
