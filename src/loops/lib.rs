//! What a decoder model on the processor spends its time in: loops over plain arrays.
//!
//! They are a crate of their own for one reason: the browser's profile compiles what computes for speed and everything
//! else for size, and a compiler is told so by the crate. Nothing here is generic, or it would be compiled where it is
//! used.
//!
//! | File | Idea |
//! |---|---|
//! | `lanes` | four numbers at a time |
//! | `linear` | products of matrices |
//! | `steps` | norms, rotary positions, activations, softmax |
//! | `attention` | plain attention over keys and values that stay |

pub mod attention;
mod lanes;
pub mod linear;
pub mod steps;
