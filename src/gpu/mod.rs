//! The WGSL engine.
//!
//! | Module | Idea |
//! |---|---|
//! | [`source`], [`link`], [`kernel`] | WGSL files, how they become one program, programs as data |
//! | [`plan`] | buffers and dispatches as data, made without a device |
//! | [`device`], `run` | the one owner of the GPU; running plans |
//! | [`apply`] | the attention step alone |

pub mod apply;
pub mod device;
pub mod kernel;
pub mod link;
pub mod plan;
mod run;
mod signal;
pub mod source;

pub use apply::{Applied, Given, apply};
pub use device::Device;
