//! One contract over both engines.
//!
//! An [`Experiment`](crate::experiment::Experiment) is parsed into a plan; an engine runs the model once per pane
//! ([`Request`] → [`Pass`]); the rest (losses, KL, prices, arrays for the page) is the same arithmetic for both.
//!
//! [`Engine::new`] chooses the engine by a short trial and checks it on this device ([`mod@fixture`] for each mechanism, when it is first
//! used); a lost device is opened again, and one that fails otherwise leaves the work to the processor. [`Engine::run`]
//! answers an experiment, [`Engine::head`] shows one head in full, [`Engine::roles`] probes a pane, [`Engine::generate`]
//! continues a prompt, [`Engine::written`] shows what that reads, [`Engine::verify`] compares with the definition. A pane whose stack and tokens did not change since
//! the last run is not computed again. Work between forward passes can be stopped: the callers hand in a `stop` that is
//! asked between panes and probes, which is also where a worker hears newer messages.

mod analyse;
mod ceiling;
mod check;
mod circuits;
mod evidence;
mod exhibits;
pub mod fixture;
mod generate;
mod measure;
mod open;
mod pane;
mod plan;
mod price;
mod probed;
mod quality;
mod quote;
#[cfg(feature = "gpu")]
mod recover;
mod runner;
mod share;
mod study;
mod texts;
#[cfg(feature = "gpu")]
mod trial;
mod values;
mod verify;
mod visible;
mod written;

pub use check::Reference;
pub use generate::{Burst, End, Generation};
pub use measure::{divergence, log_probabilities};
pub use open::{Choice, Engine};
pub use price::price;
pub use written::Written;

use crate::Result;
use crate::hook::{ActivationCache, Array, Selection};
use crate::mechanism::Stack;

/// One forward pass.
pub struct Request<'a> {
    /// Token ids.
    pub tokens: &'a [u32],
    /// What replaces attention's steps.
    pub stack: &'a Stack,
    /// Seed of inputs nobody learned.
    pub seed: u64,
    /// Which activations to bring back.
    pub wants: Selection,
}

/// What a forward pass brings back.
pub struct Pass {
    /// `[Q,V]`
    pub logits: Array,
    /// What was asked for; shapes as in [`crate::hook::Site::axes`] with B = 1.
    pub captures: ActivationCache,
}

/// Anything that can run a forward pass.
pub trait Forward {
    /// Runs the model on one sequence.
    fn forward(&mut self, request: Request<'_>) -> impl Future<Output = Result<Pass>>;
}
