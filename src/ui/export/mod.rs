//! What leaves the page: figures, numbers, and the way to make them again.
//!
//! | Part | Idea |
//! |---|---|
//! | [`shown`] | what is on screen, gathered once |

pub mod shown;
