//! The trainer of the shipped models.
//!
//! `attnscope train` reads the story corpus, learns a tokenizer, trains a [`Text`](crate::model::Text) with burn on the
//! processor or a GPU, and writes a Hugging Face folder with a card that says what it was made of. A run of the same
//! seed sees the same tokens in the same order, and one that was interrupted goes on from its newest checkpoint as if it
//! had not been.
//!
//! | Module | Idea |
//! |---|---|
//! | `corpus`, `vocabulary`, [`stream`] | text files; the tokenizer; rows of tokens in a seeded order |
//! | [`forward`], [`loss`], [`workers`] | a pass quick to differentiate; cross-entropy and its gradient; several threads |
//! | `under` | the stack of mechanisms that a model learns under |
//! | [`circuits`], `backcopy`, `recall`, `curriculum` | tasks with exact ground truth; what a run learns from |
//! | [`exam`], [`helmet`], [`synonyms`] | what evaluations ask: choices, long passages, facts in several words |
//! | [`optimizer`], [`schedule`] | what turns gradients into new weights, and how fast |
//! | [`checkpoint`], `held_out`, `run` | resuming; what held-out text costs; the loop |
//! | `export`, `card` | the folder a model is shipped as, and what it says of itself |

#[cfg(feature = "train")]
pub mod checkpoint;
#[cfg(feature = "train")]
pub mod forward;
#[cfg(feature = "train")]
pub mod loss;
#[cfg(feature = "train")]
pub mod optimizer;
#[cfg(feature = "train")]
pub mod schedule;
#[cfg(feature = "train")]
pub mod stream;
#[cfg(feature = "train")]
pub mod workers;

#[cfg(feature = "native")]
pub mod args;
#[cfg(feature = "native")]
pub mod backcopy;
#[cfg(feature = "native")]
pub mod card;
pub mod circuits;
#[cfg(feature = "native")]
pub mod corpus;
#[cfg(feature = "native")]
pub mod curriculum;
#[cfg(feature = "native")]
mod device;
pub mod exam;
#[cfg(feature = "native")]
mod export;
#[cfg(feature = "native")]
pub mod held_out;
pub mod helmet;
#[cfg(feature = "native")]
pub mod recall;
#[cfg(feature = "native")]
pub mod run;
pub mod synonyms;
#[cfg(feature = "native")]
mod under;
#[cfg(feature = "native")]
pub mod vocabulary;

#[cfg(feature = "native")]
pub use args::TrainArgs;

/// Trains as `args` say, telling `out` how it goes.
///
/// # Errors
/// Whatever kept the run from finishing; what was reached before is in its newest checkpoint.
#[cfg(feature = "native")]
pub fn command(args: &TrainArgs, out: &mut dyn std::io::Write) -> crate::Result<()> {
    args.check()?;
    let mut run = run::Run::open(args, out)?;
    if !args.export_only {
        run.train(args, out)?;
    }
    let costs = run.costs(usize::MAX)?;
    run::say(out, format_args!("held out: {}", run::words(&costs)))?;
    export::write(&run, args, costs)
}
