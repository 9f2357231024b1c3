//! llama2.c's legacy `.bin`: seven sizes, then f32 tensors without names.

use super::safetensors::transpose;
use super::{Files, Loaded, finish};
use crate::hook::Array;
use crate::model::config::{Config, Pairing, Positions};
use crate::model::weights::Weights;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Whether a file of this name holds the pieces of a tokenizer: `tokenizer.bin`, `tok512.bin`, …
pub(super) fn is_tokenizer(name: &str) -> bool {
    name.starts_with("tok") && name.ends_with(".bin")
}

/// The name of the model among `files`.
pub(super) fn model_file(files: &Files) -> Option<&str> {
    files.names().find(|name| name.ends_with(".bin") && !is_tokenizer(name))
}

/// Reads a model and the tokenizer beside it.
pub(super) fn load(id: &str, files: &Files) -> Result<Loaded> {
    let file = model_file(files).unwrap_or("model.bin");
    let bytes = files.need(file)?;
    let (config, weights) = read(file, bytes)?;
    // Several tokenizers may lie side by side; theirs carries the size of the vocabulary in its name.
    let named = format!("tok{}.bin", config.vocabulary);
    let name = if files.get(&named).is_some() { &named } else { "tokenizer.bin" };
    let tokenizer = Tokenizer::from_llama2c(name, files.need(name)?, config.vocabulary)?;
    finish(id, config, weights, tokenizer, bytes.len())
}

/// The rest of a file of f32 values.
struct Reader<'a> {
    file: &'a str,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn bytes(&mut self, count: Option<usize>, what: &str) -> Result<&[u8]> {
        let Some((taken, rest)) = count.and_then(|count| self.rest.split_at_checked(count)) else {
            let problem = format!("ends inside {what}; it is truncated, or its header is damaged");
            return Err(Error::file(self.file, problem));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next tensor.
    fn floats(&mut self, sizes: &[usize], what: &str) -> Result<Vec<f32>> {
        let count = sizes.iter().try_fold(4usize, |product, size| product.checked_mul(*size));
        let bytes = self.bytes(count, what)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}

/// The sizes in the first 28 bytes.
pub(super) fn config(file: &str, bytes: &[u8]) -> Result<Config> {
    header(&mut Reader { file, rest: bytes })
}

fn header(reader: &mut Reader<'_>) -> Result<Config> {
    let file = reader.file;
    let header = reader.bytes(Some(28), "its header")?;
    let word = |index: usize| {
        header.get(4 * index..4 * index + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_le_bytes)
    };
    let size = |index: usize, name: &str| {
        let came = word(index);
        usize::try_from(came)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| Error::file(file, format!("has {name} {came} in its header; this is not a llama2.c model")))
    };
    let (width, ffn, layers) = (size(0, "dim")?, size(1, "hidden_dim")?, size(2, "n_layers")?);
    let (heads, kv_heads, context) = (size(3, "n_heads")?, size(4, "n_kv_heads")?, size(6, "seq_len")?);
    // The sign says whether the classifier is the embedding.
    let (vocabulary, tied) = (word(5).unsigned_abs() as usize, word(5) > 0);
    if !width.is_multiple_of(heads) {
        return Err(Error::file(file, format!("has dim {width}, which its {heads} heads do not divide")));
    }
    let config = Config {
        context,
        tied,
        positions: Positions::Rotary { theta: 10_000.0, pairing: Pairing::Adjacent },
        bos: Some(1),
        eos: Some(2),
        ..Config::llama(vocabulary, width, layers, heads, kv_heads, ffn)
    };
    config.check(file)?;
    Ok(config)
}

fn read(file: &str, bytes: &[u8]) -> Result<(Config, Weights)> {
    let mut reader = Reader { file, rest: bytes };
    let config = header(&mut reader)?;
    let Config { width, ffn, layers, vocabulary, context, tied, .. } = config;
    let (hd, gd) = (config.heads * config.head_width, config.kv_heads * config.head_width);
    let mut weights = Weights::default();
    let embed = reader.floats(&[vocabulary, width], "token_embedding")?;
    weights.0.insert("embed".into(), Array { shape: vec![vocabulary, width], data: embed });
    // Every tensor holds all layers, matrices as (out, in).
    let all: [(&str, &str, &[usize]); 9] = [
        ("rms_att_weight", "ln1.w", &[width]),
        ("wq", "attn.w_q", &[hd, width]),
        ("wk", "attn.w_k", &[gd, width]),
        ("wv", "attn.w_v", &[gd, width]),
        ("wo", "attn.w_o", &[width, hd]),
        ("rms_ffn_weight", "ln2.w", &[width]),
        ("w1", "ffn.w_gate", &[ffn, width]),
        ("w2", "ffn.w_out", &[width, ffn]),
        ("w3", "ffn.w_in", &[ffn, width]),
    ];
    for (what, name, sizes) in all {
        for layer in 0..layers {
            let data = reader.floats(sizes, what)?;
            let array = match sizes {
                [rows, columns] => Array { shape: vec![*columns, *rows], data: transpose(&data, *rows, *columns) },
                _ => Array { shape: sizes.to_vec(), data },
            };
            weights.0.insert(format!("blocks.{layer}.{name}"), array);
        }
    }
    let last = reader.floats(&[width], "rms_final_weight")?;
    weights.0.insert("ln_final.w".into(), Array { shape: vec![width], data: last });
    reader.floats(&[context, config.head_width], "freq_cis")?; // rotation tables, which are computed here
    if !tied {
        let head = reader.floats(&[vocabulary, width], "wcls")?;
        let data = transpose(&head, vocabulary, width);
        weights.0.insert("unembed".into(), Array { shape: vec![width, vocabulary], data });
    }
    if !reader.rest.is_empty() {
        let problem = format!("has {} bytes more than its header says; it is damaged", reader.rest.len());
        return Err(Error::file(file, problem));
    }
    Ok((config, weights))
}
