//! What leaves the page: figures, numbers, and the way to make them again.
//!
//! | Part | Idea |
//! |---|---|
//! | [`shown`] | what is on screen, gathered once |
//! | [`ink`], [`figure`] | the matrices and the head wall as SVG, with legend and provenance |
//! | [`numbers`] | CSV, JSON and npz of what is on screen |
//! | [`again`] | a command line, a Python text and an element that show the same |
//! | [`document`] | all of it as one HTML file that opens from disk |
//! | [`save`], [`menu`] | handing it out |

pub mod again;
pub mod document;
pub mod figure;
pub mod ink;
pub mod menu;
pub mod numbers;
pub mod save;
pub mod shown;
