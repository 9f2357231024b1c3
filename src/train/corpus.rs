//! The story corpus: which files, how often each is repeated, and the held-out sections.
//!
//! A corpus is a folder of xz-compressed text files in which a line holding only `<|endoftext|>` ends each document,
//! beside a `manifest.json` that gives the byte range each file's held-out documents have in `valid.txt.xz`.

use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// Ends a document in the files, and begins one in the token stream.
pub const SEPARATOR: &str = "<|endoftext|>";

/// What `stories-3m` reads: the simple, modern files several times, the older and harder ones once or not at all.
///
/// `bedtime-animals` is left out because two of its authors are still protected where copyright lasts for life plus 70
/// years; the novels because their vocabulary is more than a model of this size can learn from this many tokens.
pub const MIX: &str = "tinystories-sample=6,picture-books=4,family-stories=2,fables-and-rhymes=2,fairy-tales=1";

/// How often one file is read in an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The file's name without `.txt.xz`.
    pub file: String,
    /// Copies of each of its documents in an epoch.
    pub repeats: usize,
}

/// Reads a mix such as `tinystories-sample=6,fairy-tales=1`.
///
/// # Errors
/// [`Error::Parse`] naming the part that is not `file=repeats`.
pub fn parse_mix(text: &str) -> Result<Vec<Share>> {
    let share = |part: &str| {
        let (file, repeats) = part.split_once('=')?;
        let repeats = repeats.parse().ok().filter(|&repeats| repeats > 0)?;
        Some(Share { file: file.trim().into(), repeats })
    };
    let read = |part| {
        share(part)
            .ok_or_else(|| Error::parse("--mix", format!("{part} is not file=repeats, for example fairy-tales=1")))
    };
    text.split(',').map(read).collect()
}

/// The documents of one file, or of its held-out section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The file's name without `.txt.xz`.
    pub file: String,
    /// Its documents, each without the separator and without white space around it.
    pub documents: Vec<String>,
    /// Copies of each document in an epoch; 1 for held-out text.
    pub repeats: usize,
}

/// Reads the training documents of every file of the mix in `folder`.
///
/// # Errors
/// [`Error::File`] when a file is missing, is not xz or is not UTF-8.
pub fn read_training(folder: &Path, mix: &[Share]) -> Result<Vec<Section>> {
    let read = |share: &Share| {
        let text = read_xz(&folder.join(format!("{}.txt.xz", share.file)))?;
        Ok(Section { file: share.file.clone(), documents: documents(&text), repeats: share.repeats })
    };
    mix.iter().map(read).collect()
}

/// Reads the held-out documents that belong to the files of the mix, one section for each file.
///
/// # Errors
/// [`Error::File`] when a file is missing or broken, or when the manifest has no section for a file of the mix.
pub fn read_held_out(folder: &Path, mix: &[Share]) -> Result<Vec<Section>> {
    let path = folder.join("manifest.json");
    let name = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|error| Error::file(&name, error))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| Error::file(&name, error))?;
    let text = read_xz(&folder.join("valid.txt.xz"))?;
    let cut = |share: &Share| {
        let range = manifest.valid_sections.iter().find(|range| range.set == share.file);
        let range = range.ok_or_else(|| Error::file(&name, format!("valid_sections has none for {}", share.file)))?;
        let part = text.get(range.byte_start..range.byte_end);
        let part =
            part.ok_or_else(|| Error::file(&name, format!("the byte range of {} is not in valid.txt.xz", share.file)))?;
        Ok(Section { file: share.file.clone(), documents: documents(part), repeats: 1 })
    };
    mix.iter().map(cut).collect()
}

#[derive(Deserialize)]
struct Manifest {
    valid_sections: Vec<HeldOut>,
}

#[derive(Deserialize)]
struct HeldOut {
    set: String,
    byte_start: usize,
    byte_end: usize,
}

/// Cuts text into documents at the separator.
pub fn documents(text: &str) -> Vec<String> {
    text.split(SEPARATOR).map(str::trim).filter(|document| !document.is_empty()).map(String::from).collect()
}

/// Reads one xz-compressed text file whole.
fn read_xz(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| Error::file(&name, error))?;
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut std::io::BufReader::new(file), &mut bytes)
        .map_err(|error| Error::file(&name, format!("is not readable as xz: {error:?}")))?;
    String::from_utf8(bytes).map_err(|error| Error::file(&name, error))
}
