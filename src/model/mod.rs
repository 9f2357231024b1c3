//! Decoder models in burn tensors: the definition of every number.

pub mod attention;
pub mod config;
mod cpu;
mod decode;
pub mod load;
mod rotary;
mod run;
pub mod sample;
pub mod step;
pub mod text;
pub mod weights;

pub use config::Config;
pub use cpu::{CpuModel, Decoder};
pub use decode::KeyValues;
pub use load::{Files, Loaded, load};
pub use run::Run;
pub use text::Text;
pub use weights::Weights;
