//! attnscope: an oscilloscope for attention.
//!
//! Small transformers run on the reader's own device, and attention variants, attention sinks and head roles are
//! compared side by side on the reader's own prompt. This page is the map of the code.
//!
//! # Bird's-eye view
//!
//! 1. A [`mechanism`] is a constant: facts about one paper plus a plug that says which role it fills and carries its
//!    parameters as data ([`spec`]).
//! 2. An [`experiment::Experiment`] is everything on screen and nothing else. Link, command line, page and tests set it.
//! 3. An engine turns an experiment into an [`outcome::Outcome`]: tokens, numbers and captured activations ([`hook`]).
//! 4. There are two engines with one contract: the model in burn tensors ([`model`], the definition) and the WGSL engine
//!    ([`gpu`], the fast one). Every number of the second can be reproduced with the first.
//! 5. So every mechanism has two twins of the same name: `src/mechanism/x.rs` and `shaders/mechanism/x.wgsl`.
//! 6. Controls, links, schema, uniform bytes, catalogue and most tests are generated from the registry.
//!
//! # Code map
//!
//! | Module | Idea |
//! |---|---|
//! | [`error`], [`spec`], [`shape`] | what can go wrong; parameters declared once; axis letters |
//! | [`hook`] | names of activations, and what observes or edits them |
//! | [`experiment`], [`outcome`], [`catalogue`] | the plain data that page, worker and command line exchange |
//! | [`papers`], [`shipped`] | what each of the 68 papers claims and shows; the models that come with the page |
//! | [`mechanism`] | the contract, the registry, one file per paper, and the guide to adding one |
//! | [`tokenizer`], [`model`] | loading and running decoder models in burn tensors |
//! | `loops` | a crate of its own: what a model on the processor spends its time in |
//! | [`gpu`] | linker, kernels, plans: the WGSL engine |
//! | [`engine`] | one contract over both engines |
//! | [`npz`] | arrays as files of numpy |
//! | [`lens`] | sinks, head roles, lenses, interventions: what is computed from captures and edited passes |
//! | [`train`] | the trainer of the shipped models |
//! | [`api`] | commands and replies between page and worker |
//! | `ui` | the page |
//! | `worker` | a package of its own: the engine's program |
//!
//! # Invariants
//!
//! Only `ui` uses Leptos; only `gpu` uses wgpu; only `model`, `mechanism`, `train`, `lens` and `engine` use burn; only
//! `api`, `ui` and the programs see JavaScript values; a mechanism uses `spec`, `shape`, `hook`, burn and the contract, nothing
//! else. `tests/native/tidy.rs` enforces these, the house limits on file length, and that every twin has its twin.

/// Version of this program, with its commit where it was built in a checkout.
pub const BUILD: &str = env!("ATTNSCOPE_BUILD");

#[cfg(feature = "contract")]
pub mod alignment;
#[cfg(feature = "contract")]
pub mod catalogue;
#[cfg(feature = "contract")]
pub mod error;
#[cfg(feature = "contract")]
pub mod experiment;
#[cfg(feature = "contract")]
pub mod hook;
#[cfg(feature = "contract")]
pub mod lessons;
#[cfg(feature = "contract")]
pub mod outcome;
#[cfg(feature = "contract")]
pub mod papers;
#[cfg(feature = "contract")]
pub mod shape;
#[cfg(feature = "contract")]
pub mod shipped;
#[cfg(feature = "contract")]
pub mod spec;

#[cfg(feature = "model")]
pub mod engine;
#[cfg(feature = "contract")]
pub mod lens;
#[cfg(feature = "model")]
pub mod mechanism;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "model")]
pub mod tokenizer;

#[cfg(any(feature = "app", feature = "native"))]
pub mod npz;

#[cfg(feature = "gpu")]
pub mod gpu;

#[cfg(feature = "model")]
pub mod train;

#[cfg(feature = "contract")]
pub mod api;

#[cfg(feature = "app")]
pub mod ui;

#[cfg(feature = "contract")]
pub use error::{Error, Result};
