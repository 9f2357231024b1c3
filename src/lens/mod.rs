//! What is computed from captures: plain arithmetic on plain arrays, so that the page can do it while a slider moves.
//!
//! [`Patterns`] is the common ground: the weights of every head of one pane, with masked pairs marked, and whether their
//! rows sum to one. [`sinks`], [`heads`], [`roles`] and [`regions`] read it. What needs the model's weights
//! (`logit_lens`, `attribution`, `copying`, `composition`) or runs it again from a kept pass (`base`: `causal`, `patching`,
//! `estimate`, `paths`) comes with the feature `model`. A [`study`] takes many steps and is taken up where it was left
//! (`evaluation`, `circuits`, `sink_set`, `streaming`, `tracking`, `features`). [`analysis`] lists what can be asked of an
//! experiment, [`finding`] is what is answered.

pub mod analysis;
#[cfg(feature = "model")]
pub mod attribution;
#[cfg(feature = "model")]
pub mod base;
#[cfg(feature = "model")]
pub mod causal;
#[cfg(feature = "model")]
pub mod channels;
#[cfg(feature = "model")]
pub mod circuits;
#[cfg(feature = "model")]
pub mod composition;
#[cfg(feature = "model")]
pub mod copying;
#[cfg(feature = "model")]
pub mod estimate;
#[cfg(feature = "model")]
pub mod evaluation;
pub mod exhibit;
#[cfg(feature = "model")]
pub mod features;
pub mod finding;
pub mod fit;
pub mod heads;
#[cfg(feature = "model")]
pub mod logit_lens;
#[cfg(feature = "model")]
pub mod patching;
#[cfg(feature = "model")]
pub mod paths;
mod patterns;
pub mod ranks;
#[cfg(feature = "model")]
pub mod readout;
pub mod regions;
pub mod retrieval;
pub mod roles;
#[cfg(feature = "model")]
pub mod sink_set;
pub mod sinks;
#[cfg(feature = "model")]
pub mod streaming;
pub mod study;
#[cfg(feature = "model")]
pub mod suite;
#[cfg(feature = "model")]
pub mod task_roles;
#[cfg(feature = "model")]
pub mod tracking;

pub use patterns::{HeadRows, Patterns, RowRule};
