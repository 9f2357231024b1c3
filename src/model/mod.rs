//! Decoder models in burn tensors: the definition of every number.

pub mod attention;
pub mod config;
mod decode;
mod rotary;
mod run;
pub mod text;
pub mod weights;

pub use config::Config;
pub use decode::KeyValues;
pub use run::Run;
pub use text::Text;
pub use weights::Weights;
