//! What held-out text costs the model: nats per token and bits per byte, section by section.

use super::corpus::Section;
use super::vocabulary::{self, Trained};
use super::workers::Workers;
use crate::Result;
use crate::mechanism::Stack;
use crate::model::Text;
use serde::{Deserialize, Serialize};

/// One encoded section.
pub struct HeldOut {
    /// Its name.
    file: String,
    /// Bytes of its documents.
    bytes: usize,
    /// Its documents one after the other, each with the beginning token.
    stream: Vec<u16>,
}

/// What a section costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The section, or `all`.
    pub section: String,
    /// Bytes of text scored.
    pub bytes: usize,
    /// Tokens scored, ends of documents among them.
    pub tokens: usize,
    /// Mean loss in nats per token.
    pub nats_per_token: f64,
    /// Loss in bits per byte of text.
    pub bits_per_byte: f64,
}

/// Encodes sections.
///
/// # Errors
/// [`crate::Error::Tokenizer`] with the words of the `tokenizers` crate.
pub fn encode(tokenizer: &Trained, sections: &[Section]) -> Result<Vec<HeldOut>> {
    let beginning = vocabulary::beginning(tokenizer)? as u16;
    let encode = |section: &Section| {
        let mut stream = Vec::new();
        for document in vocabulary::encode(tokenizer, &section.documents)? {
            stream.push(beginning);
            stream.extend(document.into_iter().map(|token| token as u16));
        }
        stream.push(beginning);
        let bytes = section.documents.iter().map(String::len).sum();
        Ok(HeldOut { file: section.file.clone(), bytes, stream })
    };
    sections.iter().map(encode).collect()
}

/// Costs of every section and of `all` under `stack`; none where there are no sections. Text is scored in rows of `width` tokens, so early tokens of a row have little to
/// go by; at most `rows` rows of each section, which is enough to watch a run.
///
/// # Errors
/// From [`Workers::losses`].
pub fn costs(
    model: &Text,
    stack: &Stack,
    workers: &Workers,
    sections: &[HeldOut],
    width: usize,
    rows: usize,
) -> Result<Vec<Cost>> {
    let (mut bytes, mut tokens, mut nats) = (0.0, 0, 0.0);
    let mut costs = Vec::new();
    for section in sections {
        let last = section.stream.len() - 1;
        let starts = (0..last).step_by(width).take(rows);
        let all: Vec<&[u16]> = starts.map(|start| &section.stream[start..=(start + width).min(last)]).collect();
        let scored: usize = all.iter().map(|row| row.len() - 1).sum();
        let loss = workers.losses(model, stack, &all)?;
        let part = section.bytes as f64 * scored as f64 / last as f64;
        costs.push(cost(&section.file, part, scored, loss));
        (bytes, tokens, nats) = (bytes + part, tokens + scored, nats + loss);
    }
    if tokens > 0 {
        costs.push(cost("all", bytes, tokens, nats));
    }
    Ok(costs)
}

fn cost(section: &str, bytes: f64, tokens: usize, nats: f64) -> Cost {
    let nats_per_token = nats / tokens as f64;
    let bits_per_byte = nats / std::f64::consts::LN_2 / bytes;
    Cost { section: section.into(), bytes: bytes.round() as usize, tokens, nats_per_token, bits_per_byte }
}
