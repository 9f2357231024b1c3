//! What is computed from captures: plain arithmetic on plain arrays, so that the page can do it while a slider moves.

pub mod heads;
pub mod roles;
pub mod sinks;
