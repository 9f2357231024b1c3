//! `attnscope`: everything the page can do, headless.
//!
//! Results go to standard output, as a table or as JSON; what goes wrong is one sentence on standard error and exit code
//! 1, with `--json` also an object `{"error": {"code", "message"}}` on standard output.

mod cli {
    pub mod analyse;
    pub mod apply;
    pub mod bench;
    pub mod check;
    pub mod circuits;
    pub mod generate;
    pub mod given;
    pub mod mechanisms;
    pub mod npz;
    pub mod print;
    pub mod run;
    pub mod score;
}

use attnscope::{Error, Result};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Compare attention variants, sinks and head roles on your own prompt, without the page.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Prints JSON where a table or text would stand.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists every mechanism: role, source, parameters, laws.
    Mechanisms,
    /// Runs an experiment and prints its outcome as JSON.
    Run(cli::run::Args),
    /// Continues a prompt.
    Generate(cli::generate::Args),
    /// Runs one mechanism's attention step on given tensors.
    Apply(cli::apply::Args),
    /// Checks every law, and the GPU twins against the burn twins, on this machine.
    Check(cli::check::Args),
    /// Runs every variant on one text: loss, needles found, share of scores, cache, operations and measured time.
    Bench(cli::bench::Args),
    /// The loss of a text file under several stacks.
    Score(cli::score::Args),
    /// Asks an instrument of the page: lens, attribution, ablation, patching.
    Analyse(cli::analyse::Args),
    /// Asks a model the tasks with exact ground truth, whole and without each head.
    Circuits(cli::circuits::Args),
    /// Trains a model to ship.
    Train(attnscope::train::TrainArgs),
}

fn main() -> ExitCode {
    let Cli { json, command } = Cli::parse();
    let done = match command {
        Command::Mechanisms => cli::mechanisms::command(json),
        Command::Run(args) => cli::run::command(&args),
        Command::Generate(args) => cli::generate::command(&args, json),
        Command::Apply(args) => cli::apply::command(&args),
        Command::Check(args) => cli::check::command(&args, json),
        Command::Bench(args) => cli::bench::command(&args, json),
        Command::Score(args) => cli::score::command(&args, json),
        Command::Analyse(args) => cli::analyse::command(&args, json),
        Command::Circuits(args) => cli::circuits::command(&args, json),
        Command::Train(args) => attnscope::train::command(&args, &mut std::io::stdout()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, json);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &Error, json: bool) {
    if json {
        let object = serde_json::json!({ "error": { "code": error.code(), "message": error.to_string() } });
        // Whoever closed the output no longer listens.
        let _: Result<()> = cli::print::json(&object);
    }
    cli::print::complain(&error.to_string());
}
