//! What of a Hugging Face `tokenizer.json` is read.
//!
//! The `tokenizers` crate runs whatever a file is composed of, and some compositions panic inside it, draw at random or
//! multiply a text without bound. So a file is looked through before the crate sees it: parts come from lists, patterns
//! do not repeat what repeats, and replacements stay short. What is left out are parts that no model of our families uses.

use crate::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// Most parts of one section, sequences counted.
const MOST_PARTS: usize = 64;
/// Most bytes that replacements of one section may together make of one byte: Llama's make nine, two times three for ▁.
const MOST_GROWTH: usize = 64;
/// Longest pattern; that of Llama 3 has 133 bytes.
const LONGEST_PATTERN: usize = 1024;
/// Most tokens beside the model's own.
const MOST_ADDED: usize = 1 << 16;

/// A section of the file, the key under which its sequences list their parts, and the parts that are read.
struct Section {
    key: &'static str,
    list: &'static str,
    kinds: &'static [&'static str],
}

const SECTIONS: [Section; 3] = [
    Section {
        key: "normalizer",
        list: "normalizers",
        kinds: &["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "StripAccents"],
    },
    Section {
        key: "pre_tokenizer",
        list: "pretokenizers",
        kinds: &["ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "Whitespace", "WhitespaceSplit"],
    },
    Section {
        key: "decoder",
        list: "decoders",
        kinds: &["ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Strip"],
    },
];

/// The file, with everything that is long passed over.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
}

#[derive(Deserialize)]
struct Model {
    /// Older files leave it out.
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(default)]
    dropout: Value,
    #[serde(default)]
    continuing_subword_prefix: Value,
    vocab: Ids,
    /// Tells byte pairs from the other models with a vocabulary.
    #[serde(rename = "merges")]
    _merges: IgnoredAny,
}

/// The largest id of a vocabulary.
struct Ids(u32);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Largest;
        impl<'de> Visitor<'de> for Largest {
            type Value = Ids;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("token ids by word")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Ids, A::Error> {
                let mut largest = 0;
                while let Some((_, id)) = map.next_entry::<IgnoredAny, u32>()? {
                    largest = largest.max(id);
                }
                Ok(Ids(largest))
            }
        }
        deserializer.deserialize_map(Largest)
    }
}

/// Looks a file through; → the largest token id.
///
/// # Errors
/// [`Error::File`] when it is no tokenizer, [`Error::Unsupported`] naming the part that is not read, [`Error::Limit`].
pub(super) fn check(file: &str, json: &[u8]) -> Result<u32> {
    let outline: Outline = serde_json::from_slice(json).map_err(|problem| Error::file(file, problem))?;
    let Outline { added_tokens, normalizer, pre_tokenizer, decoder, model } = outline;
    Error::within(file, "added tokens", added_tokens.len(), MOST_ADDED)?;
    let refuse = |key: &str, expected: &str, came: &Value| {
        let (key, expected, came) = (key.into(), expected.into(), came.to_string());
        Err(Error::Unsupported { file: file.into(), key, expected, came })
    };
    if !model.kind.is_null() && model.kind != "BPE" {
        return refuse("model.type", "BPE", &model.kind);
    }
    if !model.dropout.is_null() && model.dropout != 0.0 {
        return refuse("model.dropout", "none, so that a text always has the same tokens", &model.dropout);
    }
    // The crate cuts the second half of every merge by the prefix's length, also where it is shorter.
    if !model.continuing_subword_prefix.is_null() && model.continuing_subword_prefix != "" {
        return refuse("model.continuing_subword_prefix", "none", &model.continuing_subword_prefix);
    }
    for (section, part) in SECTIONS.iter().zip([&normalizer, &pre_tokenizer, &decoder]) {
        let mut seen = Seen { file, section, parts: 0, growth: 1 };
        seen.look(part)?;
    }
    Ok(added_tokens.iter().map(|token| token.id).fold(model.vocab.0, u32::max))
}

/// What has been seen of one section.
struct Seen<'a> {
    file: &'a str,
    section: &'a Section,
    parts: usize,
    growth: usize,
}

impl Seen<'_> {
    fn refuse(&self, expected: impl Into<String>, came: &Value) -> Result<()> {
        let (file, key) = (self.file.into(), self.section.key.into());
        Err(Error::Unsupported { file, key, expected: expected.into(), came: came.to_string() })
    }

    fn look(&mut self, part: &Value) -> Result<()> {
        if part.is_null() {
            return Ok(());
        }
        self.parts += 1;
        Error::within(self.file, "parts of one section", self.parts, MOST_PARTS)?;
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "Sequence" {
            let inside = part.get(self.section.list).and_then(Value::as_array);
            return inside.into_iter().flatten().try_for_each(|part| self.look(part));
        }
        if !self.section.kinds.contains(&kind) {
            return self.refuse(self.section.kinds.join(", "), part.get("type").unwrap_or(part));
        }
        // The crate's decoder of this name reads in front of words that consist of nothing else.
        if let (Some(stop), "decoder") = (part.get("stop"), self.section.key)
            && *stop != 0
        {
            return self.refuse("Strip with stop 0", part);
        }
        for key in ["content", "prepend"] {
            if let Some(text) = part.get(key).and_then(Value::as_str) {
                self.growth = self.growth.saturating_mul(text.len().max(1));
            }
        }
        Error::within(self.file, "bytes in place of one", self.growth, MOST_GROWTH)?;
        match part.get("pattern") {
            Some(pattern) => self.look_at_pattern(pattern),
            None => Ok(()),
        }
    }

    fn look_at_pattern(&self, pattern: &Value) -> Result<()> {
        let text = |key: &str| pattern.get(key).and_then(Value::as_str);
        let written = text("Regex").or_else(|| text("String")).unwrap_or_default();
        Error::within(self.file, "bytes of a pattern", written.len(), LONGEST_PATTERN)?;
        if text("Regex").is_some_and(repeats_what_repeats) {
            return self.refuse("patterns in which no group that repeats holds one that does", pattern);
        }
        Ok(())
    }
}

/// Whether a group with a repetition inside is repeated, which can take time exponential in the length of a text.
fn repeats_what_repeats(pattern: &str) -> bool {
    // Whether each open group holds a repetition.
    let mut groups = vec![false];
    let (mut class, mut escaped, mut closed) = (false, false, false);
    for letter in pattern.chars() {
        let repeats = !class && !escaped && matches!(letter, '*' | '+' | '{');
        if repeats && closed {
            return true;
        }
        closed = false;
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if !class => class = true,
            ']' => class = false,
            '(' if !class => groups.push(false),
            ')' if !class => {
                closed = groups.pop().unwrap_or(false);
                // What repeats inside a group repeats inside the one around it too.
                if let Some(outer) = groups.last_mut() {
                    *outer |= closed;
                }
            }
            _ if repeats => groups.iter_mut().for_each(|group| *group = true),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::repeats_what_repeats;

    #[test]
    fn nested_repetitions_are_told_from_those_side_by_side() {
        let gpt2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
        let llama3 =
            r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        for plain in [gpt2, llama3, "(ab)+", "[(a+)]+", r"\(a+\)+", "(a+)b", "(a+)?"] {
            assert!(!repeats_what_repeats(plain), "{plain}");
        }
        for nested in ["(a+)+", "(a*)*b", "((a+)b)*", "(?:x{2,}y)+", "(a|b+){3}"] {
            assert!(repeats_what_repeats(nested), "{nested}");
        }
    }
}
