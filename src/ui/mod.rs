//! The page: what a visitor sees of an experiment, and every control that edits it.
//!
//! | Part | Idea |
//! |---|---|
//! | [`store`] | the one experiment on screen, the newest outcome, and the engine behind both |
//! | [`format`] | numbers, sizes and tokens as people read them |
//! | [`app`] | the frame: bar, prompt, panes, stage, side column |
//! | [`stage`], [`tabs`] | the instruments: head wall, matrices, profiles; sinks, head roles, paper |

pub mod app;
pub mod format;
pub mod stage;
pub mod store;
pub mod tabs;
pub mod theme;
