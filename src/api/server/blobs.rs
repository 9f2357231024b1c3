//! Files that come beside a message: a visitor's own, or what this browser kept.

use crate::model::Files;
use crate::{Error, Result};
use js_sys::Uint8Array;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// Bytes read at once, so that a file never stands in memory twice.
const PIECE: usize = 1 << 24;

/// Reads the blobs, named in their order. `progress` hears the bytes so far and in all.
///
/// # Errors
/// [`Error::File`] naming the one that cannot be read.
pub(super) async fn read(names: &[String], blobs: &[Blob], progress: impl Fn(usize, Option<usize>)) -> Result<Files> {
    if names.len() != blobs.len() {
        return Err(Error::Internal(format!("{} files came under {} names", blobs.len(), names.len())));
    }
    let sizes: Vec<usize> = blobs.iter().map(|blob| blob.size() as usize).collect();
    let total = sizes.iter().sum();
    let (mut files, mut arrived) = (Files::new(), 0);
    for ((name, blob), size) in names.iter().zip(blobs).zip(sizes) {
        let gone = || Error::file(name.as_str(), "it can no longer be read; was it moved or changed? Choose it again");
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let end = (bytes.len() + PIECE).min(size);
            let piece = blob.slice_with_f64_and_f64(bytes.len() as f64, end as f64).map_err(|_| gone())?;
            let piece = Uint8Array::new(&JsFuture::from(piece.array_buffer()).await.map_err(|_| gone())?).to_vec();
            if piece.is_empty() {
                return Err(gone());
            }
            arrived += piece.len();
            bytes.extend(piece);
            progress(arrived, Some(total));
        }
        files.insert(name.as_str(), bytes);
    }
    Ok(files)
}
