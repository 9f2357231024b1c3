//! Decoder models in burn tensors: the definition of every number.
//!
//! | File | Idea |
//! |---|---|
//! | [`config`] | sizes and choices; the manifest of weights |
//! | [`weights`] | host weights under one naming for every family |
//! | [`mod@load`] | Hugging Face folders and llama2.c files, read from bytes; safetensors written back |
//! | [`text`] | the forward pass, every activation offered to a tap |
//! | [`attention`], `rotary` | one attention step under a stack of mechanisms; rotary positions |
//! | [`step`] | the attention step alone, host arrays in and out |
//! | `run`, `cpu`, `decode` | who watches a pass; the model as an engine; keys and values of a growing sequence |
//! | `needs` | which keys and values no later query needs, so that a decode drops them |
//! | `lean` | the same without tensors, for continuations on the processor |
//! | [`sample`] | from logits to the next token |

pub mod attention;
pub mod config;
mod cpu;
mod decode;
mod lean;
pub mod load;
mod needs;
pub(crate) mod rotary;
mod run;
pub mod sample;
pub mod step;
pub mod text;
pub mod weights;

pub use config::Config;
pub use cpu::{CpuModel, Decoder, Seen, Slopes};
pub use decode::KeyValues;
pub(crate) use lean::{dot, is_plain};
pub use load::{Files, Loaded, load};
#[cfg(feature = "gpu")]
pub(crate) use needs::{Needs, Ring};
pub use rotary::frequencies;
pub use run::Run;
pub use text::Text;
pub use weights::Weights;
