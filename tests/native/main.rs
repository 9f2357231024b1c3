//! The native test binary: one module per layer, so that `cargo task test --only laws` picks by name.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod command;
mod engine;
mod exhibits;
mod fixtures;
mod fresh;
mod golden;
mod gradients;
mod hostile;
mod laws;
mod lens;
mod lessons;
mod model;
mod papers;
mod parity;
mod shaders;
mod tidy;
mod tiny;
mod train;
mod trust;
