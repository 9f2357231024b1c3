//! From text to token ids and back.
//!
//! [`Tokenizer`] reads the files models come with: a Hugging Face `tokenizer.json`, GPT-2's `vocab.json` with
//! `merges.txt` (both through the `tokenizers` crate) and llama2.c's binary pieces ([`pieces`]).

mod hub;
mod pieces;

use crate::{Error, Result};
use pieces::Pieces;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, PostProcessorWrapper, Tokenizer as Hub};

/// The token that GPT-2 puts between documents.
const END_OF_TEXT: &str = "<|endoftext|>";

/// Longest text that is read, in bytes; no context here holds a tenth of it.
pub const LONGEST_TEXT: usize = 1 << 20;

/// A tokenizer and the token that begins a document.
#[derive(Clone)]
pub struct Tokenizer {
    kind: Kind,
    bos: Option<u32>,
    largest_id: u32,
}

#[derive(Clone)]
enum Kind {
    /// What the `tokenizers` crate reads.
    Hub(Box<Hub>),
    /// llama2.c.
    Pieces(Pieces),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens, bos {:?})", self.vocabulary(), self.bos)
    }
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::File`] when the file is not one, [`Error::Unsupported`] naming a part that is not read, [`Error::Limit`].
    pub fn from_hub_json(file: &str, json: &[u8]) -> Result<Self> {
        let largest_id = hub::check(file, json)?;
        let mut hub = Hub::from_bytes(json).map_err(|problem| Error::file(file, problem))?;
        // The prompt is cut and framed here; a file's own padding would fill the memory at its word.
        hub.with_padding(None).with_post_processor(None::<PostProcessorWrapper>);
        hub.with_truncation(None).map_err(|problem| Error::file(file, problem))?;
        let added = hub.get_added_tokens_decoder().keys().copied().max().unwrap_or(0);
        Ok(Self { kind: Kind::Hub(Box::new(hub)), bos: None, largest_id: largest_id.max(added) })
    }

    /// Reads GPT-2's `vocab.json` and `merges.txt`, with or without its `#version` line.
    ///
    /// # Errors
    /// [`Error::File`] naming the file that is not what it should be.
    pub fn from_gpt2_files(vocab: &[u8], merges: &[u8]) -> Result<Self> {
        let vocab: std::collections::HashMap<String, u32> =
            serde_json::from_slice(vocab).map_err(|problem| Error::file("vocab.json", problem))?;
        let merges = std::str::from_utf8(merges).map_err(|problem| Error::file("merges.txt", problem))?;
        let pair = |(number, line): (usize, &str)| match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_string(), right.to_string())),
            _ => Err(Error::file("merges.txt", format!("line {} should be two pieces: {line:?}", number + 1))),
        };
        let lines = merges.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
        let merges = lines.map(pair).collect::<Result<Vec<_>>>()?;
        let end = vocab.contains_key(END_OF_TEXT);
        let largest_id = vocab.values().copied().max().unwrap_or(0);
        let vocab: Vocab = vocab.into_iter().collect();
        let bpe = BPE::builder().vocab_and_merges(vocab, merges).build();
        let mut hub = Hub::new(bpe.map_err(|problem| Error::file("merges.txt", problem))?);
        // No space in front: GPT-2 tells a word that begins the text from one that follows a space.
        hub.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        hub.with_decoder(Some(ByteLevel::default()));
        if end {
            hub.add_special_tokens(&[AddedToken::from(END_OF_TEXT, true)]);
        }
        let bos = hub.token_to_id(END_OF_TEXT);
        Ok(Self { kind: Kind::Hub(Box::new(hub)), bos, largest_id })
    }

    /// Reads a llama2.c tokenizer of `vocabulary` pieces.
    ///
    /// # Errors
    /// [`Error::File`] when the file is damaged or has another number of pieces.
    pub fn from_llama2c(file: &str, bytes: &[u8], vocabulary: usize) -> Result<Self> {
        let pieces = Pieces::read(file, bytes, vocabulary)?;
        let largest_id = pieces.len().saturating_sub(1) as u32;
        Ok(Self { kind: Kind::Pieces(pieces), bos: Some(Pieces::BOS), largest_id })
    }

    /// The same with another token at the beginning of documents.
    pub fn with_bos(mut self, bos: Option<u32>) -> Self {
        self.bos = bos;
        self
    }

    /// Whether the words of control tokens in a text stand for those tokens (as at first) or are ordinary text.
    pub fn set_control_words(&mut self, recognised: bool) {
        if let Kind::Hub(hub) = &mut self.kind {
            hub.set_encode_special_tokens(!recognised);
        }
    }

    /// Token ids of `text`, with the beginning-of-document token in front if `bos` and the model has one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer has no token for a character and no way around it, [`Error::Limit`] above
    /// [`LONGEST_TEXT`].
    pub fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>> {
        Error::within("prompt", "bytes", text.len(), LONGEST_TEXT)?;
        let mut ids: Vec<u32> = self.bos.filter(|_| bos).into_iter().collect();
        match &self.kind {
            Kind::Hub(hub) => {
                // Without the file's own template, which would add its BOS whether wanted or not.
                let encoding = hub.encode_fast(text, false);
                ids.extend_from_slice(encoding.map_err(|problem| tokenizer_error(&problem))?.get_ids());
            }
            Kind::Pieces(pieces) => ids.extend(pieces.encode(text)),
        }
        Ok(ids)
    }

    /// Text of `ids`, without control tokens. Bytes that are not UTF-8 become the replacement character.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] from the tokenizer file's decoder.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        match &self.kind {
            Kind::Hub(hub) => hub.decode(ids, true).map_err(|problem| tokenizer_error(&problem)),
            Kind::Pieces(pieces) => Ok(String::from_utf8_lossy(&pieces.decode(ids)).into_owned()),
        }
    }

    /// What one token stands for, for display: its text with spaces as they are, or `<0x..>` for each byte where the
    /// bytes are not UTF-8 on their own.
    pub fn token_text(&self, id: u32) -> String {
        let bytes = match &self.kind {
            // llama2.c's files put line breaks around the words of control tokens.
            Kind::Pieces(pieces) if self.special(id) => pieces.meaning(id).trim_ascii().to_vec(),
            Kind::Pieces(pieces) => pieces.meaning(id),
            Kind::Hub(hub) => match hub.id_to_token(id) {
                None => return format!("<{id}>"),
                Some(word) if self.special(id) => return word,
                Some(word) => match hub.get_decoder() {
                    Some(DecoderWrapper::ByteLevel(_)) => bytes_from_alphabet(&word),
                    _ => bytes_from_piece(&word),
                },
            },
        };
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => error.as_bytes().iter().map(|byte| format!("<0x{byte:02X}>")).collect(),
        }
    }

    /// Whether the token is a control token.
    pub fn special(&self, id: u32) -> bool {
        match &self.kind {
            Kind::Hub(hub) => hub.get_added_tokens_decoder().get(&id).is_some_and(|token| token.special),
            Kind::Pieces(_) => id <= Pieces::EOS,
        }
    }

    /// The id of a token by its word in the file.
    pub fn id(&self, word: &str) -> Option<u32> {
        match &self.kind {
            Kind::Hub(hub) => hub.token_to_id(word),
            Kind::Pieces(_) => None,
        }
    }

    /// The token at the beginning of documents.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The largest id that [`Tokenizer::encode`] can give.
    pub fn largest_id(&self) -> u32 {
        self.largest_id
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        match &self.kind {
            Kind::Hub(hub) => hub.get_vocab_size(true),
            Kind::Pieces(pieces) => pieces.len(),
        }
    }
}

fn tokenizer_error(problem: &tokenizers::Error) -> Error {
    Error::Tokenizer { problem: problem.to_string() }
}

/// The bytes behind GPT-2's alphabet, in which printable Latin-1 stands for itself and the other 68 bytes, in order, for
/// U+0100 and up. A character outside it (an added token) stands for its own UTF-8.
fn bytes_from_alphabet(word: &str) -> Vec<u8> {
    let itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = (0..=255).filter(|byte| !itself(*byte));
    let moved: Vec<u8> = others.by_ref().collect();
    let mut bytes = Vec::new();
    for character in word.chars() {
        let code = character as u32;
        match (u8::try_from(code), code.checked_sub(0x100).and_then(|index| moved.get(index as usize))) {
            (Ok(byte), _) if itself(byte) => bytes.push(byte),
            (_, Some(byte)) => bytes.push(*byte),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// The bytes of a SentencePiece-style piece: `▁` is a space, `<0x0A>` a byte.
fn bytes_from_piece(word: &str) -> Vec<u8> {
    let byte = word.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => vec![byte],
        None => word.replace('▁', " ").into_bytes(),
    }
}
