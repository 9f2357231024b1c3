//! A folder as a map from file name to bytes.

#[cfg(not(target_arch = "wasm32"))]
use crate::shipped::Name;
use crate::{Error, Result};
use sha2::Digest;
use std::collections::BTreeMap;

/// The files of a model, by name without folder.
#[derive(Clone, Default)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

impl Files {
    /// No files yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn insert(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.0.insert(name.into(), bytes);
    }

    /// The same with one more file.
    pub fn with(mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.insert(name, bytes.into());
        self
    }

    /// A file's bytes, if it is there.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// [`Error::File`] when it is not there.
    pub fn need(&self, name: &str) -> Result<&[u8]> {
        self.get(name).ok_or_else(|| {
            let there: Vec<_> = self.names().collect();
            Error::file(name, format!("is missing; the model has {}", there.join(", ")))
        })
    }

    /// File names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// SHA-256 of all bytes, file behind file in alphabetical order, in hexadecimal digits. [`SELF_CHECK`](super::SELF_CHECK)
    /// is left out: it says what the other files should compute.
    pub fn sha256(&self) -> String {
        let mut hash = sha2::Sha256::new();
        let files = self.0.iter().filter(|(name, _)| *name != super::SELF_CHECK);
        files.for_each(|(_, bytes)| hash.update(bytes));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name and the files of a model by its path (a folder, or a llama2.c `.bin`), or of a shipped one by its id.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is neither, [`Error::File`] when one cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn find(model: &str) -> Result<(String, Self)> {
        let name = Name::of(model);
        let files = name.files();
        let shipped = std::path::Path::new("www/models").join(&files);
        let given = std::path::Path::new(&files);
        let path = [given, &shipped].into_iter().find(|path| path.exists()).ok_or_else(|| Error::Unknown {
            what: "model",
            name: model.into(),
            remedy: "give a folder, a .bin file, or the name of a folder in www/models".into(),
        })?;
        let source = path.file_name().map_or(files.as_str().into(), |name| name.to_string_lossy()).into_owned();
        Ok((Name { source, hash: None, ..name }.id(), Self::read(path)?))
    }

    /// Reads the model files of a folder, or a `.bin` file with the tokenizers beside it; other files are left alone.
    ///
    /// # Errors
    /// [`Error::File`] when the folder or a file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let single = path.is_file().then(|| path.file_name()).flatten();
        let folder = if single.is_some() { path.parent().unwrap_or(path) } else { path };
        let broken = |problem: std::io::Error| Error::file(path.display().to_string(), problem);
        let mut files = Self::new();
        for entry in std::fs::read_dir(folder).map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = entry.file_name();
            let text = name.to_string_lossy().into_owned();
            let wanted = match single {
                Some(single) => name == single || super::llama2c::is_tokenizer(&text),
                None => is_model_file(&text),
            };
            if wanted && entry.path().is_file() {
                let bytes = std::fs::read(entry.path()).map_err(|problem| Error::file(text.as_str(), problem))?;
                files.insert(text, bytes);
            }
        }
        Ok(files)
    }
}

/// Whether a loader reads files of this name.
#[cfg(not(target_arch = "wasm32"))]
fn is_model_file(name: &str) -> bool {
    matches!(name, "config.json" | "tokenizer.json" | "vocab.json" | "merges.txt" | "model.safetensors.index.json")
        || name == super::SELF_CHECK
        || name.ends_with(".safetensors")
        || name.ends_with(".bin") && !name.starts_with("pytorch_model")
}
