//! How much of a model's files is read.
//!
//! Text files are parsed as wholes, and a parsed file takes several times its bytes, so each kind has a limit well above
//! the largest that is known. Weights have none of their own: they must have the sizes that the configuration says, and
//! that is compared before anything is taken for them.

use super::{Files, SELF_CHECK};
use crate::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// Most files of one model.
const MOST_FILES: usize = 512;

/// Most bytes of the files that are text.
const MOST_BYTES: [(&str, usize); 6] = [
    ("config.json", 1 << 20),
    ("tokenizer.json", 32 << 20),
    ("vocab.json", 32 << 20),
    ("merges.txt", 32 << 20),
    (super::safetensors::INDEX, 4 << 20),
    (SELF_CHECK, 4 << 20),
];

/// Refuses files that are too many or too long.
pub(super) fn check(id: &str, files: &Files) -> Result<()> {
    Error::within(id, "files", files.names().count(), MOST_FILES)?;
    for (name, most) in MOST_BYTES {
        Error::within(name, "bytes", files.get(name).map_or(0, <[u8]>::len), most)?;
    }
    Ok(())
}

/// A JSON object, in which no key stands twice: of two values one would silently not count.
///
/// # Errors
/// [`Error::File`].
pub(super) fn object(file: &str, json: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(json).map(|Unique(map)| map).map_err(|problem| Error::file(file, problem))
}

struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Unique;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        return Err(serde::de::Error::custom(format!("the key {key} is there twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Unique(map))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
