//! Training the byte-level BPE tokenizer of a shipped model.

use super::corpus::{SEPARATOR, Section};
use crate::{Error, Result};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, SplitDelimiterBehavior, TokenizerImpl};

/// A tokenizer as it is trained; the loader reads what [`train`] writes.
pub type Trained = TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// What a token may not cross. Like GPT-2's pattern, except that a run of line ends is one piece, because the blank line
/// between paragraphs is the commonest thing in dialogue and should cost one token.
const PIECES: &str = r"\n+|'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+| +(?!\S)|\s+";

/// Learns `entries` tokens from the documents, each read once; token 0 is `<|endoftext|>`, which begins every document.
///
/// # Errors
/// [`Error::Tokenizer`] with the words of the `tokenizers` crate.
pub fn train(sections: &[Section], entries: usize) -> Result<Trained> {
    let broken = |error: tokenizers::Error| Error::Tokenizer { problem: error.to_string() };
    let pieces =
        Split::new(SplitPattern::Regex(PIECES.into()), SplitDelimiterBehavior::Isolated, false).map_err(broken)?;
    let bytes = ByteLevel::new(false, false, false);
    let mut tokenizer = Trained::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![pieces.into(), bytes.into()])));
    tokenizer.with_decoder(Some(bytes));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(entries)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(SEPARATOR, true)])
        .build();
    let documents: Vec<&str> =
        sections.iter().flat_map(|section| section.documents.iter().map(String::as_str)).collect();
    tokenizer.train(&mut trainer, documents.into_iter()).map_err(broken)?;
    Ok(tokenizer)
}

/// The text of `tokenizer.json`.
///
/// # Errors
/// [`Error::Tokenizer`] with the words of the `tokenizers` crate.
pub fn to_json(tokenizer: &Trained) -> Result<String> {
    tokenizer.to_string(false).map_err(|error| Error::Tokenizer { problem: error.to_string() })
}

/// Reads the text of a `tokenizer.json` that [`to_json`] wrote.
///
/// # Errors
/// [`Error::Tokenizer`] when it is something else.
pub fn from_json(text: &str) -> Result<Trained> {
    serde_json::from_str(text).map_err(|error| Error::Tokenizer { problem: error.to_string() })
}

/// The token that begins every document.
///
/// # Errors
/// [`Error::Tokenizer`] when the tokenizer has no such token.
pub fn beginning(tokenizer: &Trained) -> Result<u32> {
    let problem =
        || Error::Tokenizer { problem: format!("there is no token {SEPARATOR}, which begins every document") };
    tokenizer.token_to_id(SEPARATOR).ok_or_else(problem)
}

/// Token ids of each document, without a beginning.
///
/// # Errors
/// [`Error::Tokenizer`] with the words of the `tokenizers` crate.
pub fn encode(tokenizer: &Trained, documents: &[String]) -> Result<Vec<Vec<u32>>> {
    let inputs: Vec<&str> = documents.iter().map(String::as_str).collect();
    let encodings =
        tokenizer.encode_batch_fast(inputs, false).map_err(|error| Error::Tokenizer { problem: error.to_string() })?;
    Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
}
