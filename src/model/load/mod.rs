//! Reading models from files, and writing them back.
//!
//! Everything works on bytes in memory, so that a page and a command line load alike: [`Files`] is a folder as a map,
//! [`load`] makes a [`Loaded`] of it. Two kinds are known: a Hugging Face folder of the GPT-2, Llama or GPT-NeoX family
//! ([`hub`], [`safetensors`]) and llama2.c's `.bin` ([`llama2c`]). What a file asks for and this program does not have is refused
//! by name, never approximated; damaged files are refused where the damage is.

mod files;
mod hub;
mod limits;
mod llama2c;
mod names;
mod safetensors;

pub use files::Files;
pub use hub::{config_from_json, config_to_json};
pub use safetensors::{Precision, save_safetensors};

use super::config::Config;
use super::weights::Weights;
use crate::outcome::ModelFacts;
use crate::shipped::Name;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// A model as it came from its files.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Sizes and choices.
    pub config: Config,
    /// Weights on the host, checked against the configuration.
    pub weights: Weights,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Sizes for the page and the command line.
    pub facts: ModelFacts,
    /// The file [`SELF_CHECK`], where there is one: numbers an engine compares itself with at the start.
    pub self_check: Option<Vec<u8>>,
}

impl Loaded {
    /// Rounds the matrices to bytes, see [`Weights::quantise`]. What the files say about their numbers no longer holds.
    pub fn quantise(&mut self) {
        self.weights.quantise();
        self.self_check = None;
    }
}

/// Name of the file that holds the reference of the start-up self-check.
pub const SELF_CHECK: &str = "selfcheck.json";

/// Reads a model from its files; `id` names it in facts, and says whether its matrices are rounded ([`Name`]).
///
/// # Errors
/// [`Error::File`] when a file is missing or damaged, [`Error::Limit`] when there is too much of something,
/// [`Error::Unsupported`] naming what the model asks for and is not here, [`Error::Tensor`] naming the weight that is
/// missing, damaged or of another shape.
pub fn load(id: &str, files: &Files) -> Result<Loaded> {
    limits::check(id, files)?;
    let loaded = if files.get("config.json").is_some() {
        hub::load(id, files)?
    } else if llama2c::model_file(files).is_some() {
        llama2c::load(id, files)?
    } else {
        return Err(Error::file(
            id,
            "holds no model: a Hugging Face folder has config.json, tokenizer.json and model.safetensors, a llama2.c \
             folder model and tokenizer as .bin",
        ));
    };
    let facts = ModelFacts { sha256: files.sha256(), ..loaded.facts };
    let mut loaded = Loaded { self_check: files.get(SELF_CHECK).map(<[u8]>::to_vec), facts, ..loaded };
    if Name::of(id).int8 {
        loaded.quantise();
    }
    Ok(loaded)
}

/// Sizes of a model from its `config.json`, or from the first bytes of a llama2.c file, before its weights are there;
/// `id` names it.
///
/// # Errors
/// Those of [`load`] that concern neither weights nor tokenizer.
pub fn facts(id: &str, files: &Files) -> Result<ModelFacts> {
    let config = match (files.get("config.json"), llama2c::model_file(files)) {
        (Some(json), _) => config_from_json(json)?,
        (None, Some(file)) => llama2c::config(file, files.need(file)?)?,
        (None, None) => return Err(Error::file(id, "has neither a config.json nor a llama2.c .bin")),
    };
    Ok(config.facts(id, 0))
}

/// The last step of every loader.
fn finish(id: &str, config: Config, weights: Weights, tokenizer: Tokenizer, file_bytes: usize) -> Result<Loaded> {
    weights.check(&config, id)?;
    let largest = tokenizer.largest_id();
    // Fewer tokens than rows is usual (padding of the embedding); more would let a prompt ask for rows that do not exist.
    if largest as usize >= config.vocabulary {
        let rows = config.vocabulary;
        let problem = format!("has a token {largest} but the model only {rows} rows; they do not belong together");
        return Err(Error::Tokenizer { problem });
    }
    let facts = config.facts(id, file_bytes);
    Ok(Loaded { config, weights, tokenizer, facts, self_check: None })
}
