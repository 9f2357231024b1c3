//! The page: what a visitor sees of an experiment, and every control that edits it.
//!
//! | Part | Idea |
//! |---|---|
//! | [`store`] | the one experiment on screen, the newest outcome, and the engine behind both |
//! | [`route`], [`app`] | which page the address names; the frame of the playground: bar, prompt, panes, stage, side column |
//! | [`bench`], [`scatter`] | every variant's quality against its price, measured here |
//! | [`measured`] | the takeaway of a paper's experiment with its live number |
//! | [`learn`] | ten lessons, each passed by what was computed |
//! | [`papers`] | the catalogue: what each paper claims, and what of it runs here |
//! | [`topbar`], [`about`], [`help`] | what runs and where; the controls of the whole page; the keyboard map |
//! | [`models`] | which model runs: shipped, the visitor's own files, fetched from elsewhere, kept in this browser |
//! | [`prompt`] | the text and the tokens it became |
//! | [`pane`], [`stack`], [`controls`] | one variant: its mechanisms, their generated controls, what it makes of the prompt |
//! | [`continuing`], `grown_map` | writing on: start, step, stop, what each pane wrote, and what that read |
//! | [`difference`] | how much two panes differ, and on which token |
//! | [`stage`], [`tabs`] | the instruments: head wall, matrices, profiles; sinks, head roles, paper |
//! | [`embed`] | the page as a figure in a frame |
//! | [`exhibits`] | what a mechanism draws of a pass |
//! | [`export`] | figures, numbers and snippets to take away |
//! | [`segment`] | a choice among a few words |
//! | [`trust`] | every part of the self-check, and the button that verifies the run |
//! | [`notices`] | trouble, notices, and what a screen reader is told |
//! | [`offline`] | what keeps the page on this device |
//! | [`overlay`], [`icons`], [`theme`], [`format`] | sheets and dialogs, icons, light and dark, numbers as people read them |

pub mod about;
pub mod app;
pub mod bench;
pub mod continuing;
pub mod controls;
pub mod difference;
pub mod embed;
pub mod exhibits;
pub mod export;
pub mod format;
mod grown_map;
pub mod help;
pub mod icons;
pub mod learn;
pub mod measured;
pub mod models;
pub mod notices;
pub mod offline;
pub mod overlay;
pub mod pane;
pub mod papers;
pub mod prompt;
pub mod route;
pub mod scatter;
mod segment;
pub mod stack;
pub mod stage;
pub mod store;
pub mod tabs;
pub mod theme;
pub mod topbar;
mod trust;
