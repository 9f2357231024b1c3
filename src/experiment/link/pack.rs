//! Long links, compressed: the same text in deflate, written in the letters that addresses leave alone.
//!
//! What is packed is the readable link with only `%` and `&` escaped, so that one grammar reads both forms. The zlib
//! checksum tells a link that a mail program cut off from one that is whole.

use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

/// The smallest result; a link is written once per edit and is short, so time does not matter.
const LEVEL: u8 = 9;

/// No experiment is that long; a hostile link must not fill the memory.
const MOST_BYTES: usize = 4 << 20;

/// Packs text.
pub fn pack(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(text.as_bytes(), LEVEL))
}

/// The text that was packed.
///
/// # Errors
/// [`Error::Parse`] when a part is missing or changed, or when it would be larger than any experiment.
pub fn unpack(packed: &str) -> Result<String> {
    let damaged = || Error::parse("link", "part of it is missing or changed; copy it once more, as a whole");
    let bytes = URL_SAFE_NO_PAD.decode(packed).map_err(|_| damaged())?;
    let text = decompress_to_vec_zlib_with_limit(&bytes, MOST_BYTES).map_err(|_| damaged())?;
    String::from_utf8(text).map_err(|_| damaged())
}
