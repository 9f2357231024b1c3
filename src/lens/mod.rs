//! What is computed from captures: plain arithmetic on plain arrays, so that the page can do it while a slider moves.
//!
//! [`Patterns`] is the common ground: the weights of every head of one pane, with masked pairs marked, and whether their
//! rows sum to one. [`sinks`], [`heads`] and [`roles`] read it.

pub mod heads;
mod patterns;
pub mod roles;
pub mod sinks;

pub use patterns::{HeadRows, Patterns, RowRule};
