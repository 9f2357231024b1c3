//! The WGSL engine.
//!
//! | Module | Idea |
//! |---|---|
//! | [`source`], [`link`], [`kernel`] | WGSL files, how they become one program, programs as data |
//! | [`plan`], `attend` | buffers and dispatches as data, made without a device; those of the attention step |
//! | [`device`], `run` | the one owner of the GPU; running plans |
//! | [`browser`], [`subgroups`] | what a browser does beyond wgpu; how lanes add up a row |
//! | [`mod@apply`] | the attention step alone |
//! | [`weights`], [`layers`], [`model`] | a decoder model: what is uploaded, its plan, its passes |
//! | [`mod@decode`] | continuing a prompt token by token |
//! | [`fault`] | what tests do to a device |
//! | [`ceiling`] | what the device can do at most |
//! | [`parity`] | every mechanism's two twins compared |

pub mod apply;
mod attend;
pub mod browser;
pub mod ceiling;
pub mod decode;
pub mod device;
pub mod fault;
pub mod kernel;
pub mod layers;
pub mod link;
pub mod model;
pub mod parity;
pub mod plan;
pub mod project;
mod run;
mod signal;
pub mod source;
pub mod subgroups;
pub mod weights;

pub use apply::apply;
pub use decode::Decode;
pub use device::Device;
pub use model::{GpuModel, HeadRows};
pub(crate) use signal::pause;
