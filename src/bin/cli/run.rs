//! `attnscope run`: an experiment, headless.

use super::{npz, print};
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, PANE_NAMES, link};
use attnscope::hook::{Array, Selection};
use attnscope::{Error, Result};
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;

/// What `run` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// A JSON file, `-` for standard input, or a link of the page (with its `#…`).
    experiment: String,
    /// `auto`, `cpu` or `gpu`.
    #[arg(long, default_value = "auto")]
    engine: Choice,
    /// Activations to write, by hook name, `*` for every layer: `blocks.*.attn.hook_pattern,logits`.
    #[arg(long, requires = "out")]
    capture: Option<Selection>,
    /// npz file for the activations. Pane A's stand under their hook names, the others' under `b.`, `c.`, `d.` and those.
    #[arg(long, requires = "capture")]
    out: Option<PathBuf>,
}

/// Runs the experiment and prints its outcome.
pub fn command(args: &Args) -> Result<()> {
    let (experiment, mut notices) = read(&args.experiment)?;
    let mut engine = pollster::block_on(Engine::open(&experiment.model, args.engine))?;
    let mut outcome = pollster::block_on(engine.run(&experiment, async || false))?;
    let mut captures = Vec::new();
    if let (Some(wanted), Some(out)) = (&args.capture, &args.out) {
        let mut arrays: Vec<(String, Array)> = Vec::new();
        for (pane, name) in PANE_NAMES.iter().enumerate().take(experiment.panes.len()) {
            let pass = pollster::block_on(engine.pass(&experiment, pane, wanted.clone()))?;
            let prefix = if pane == 0 { String::new() } else { format!("{name}.") };
            arrays.extend(pass.captures.values.into_iter().map(|(at, array)| (format!("{prefix}{at}"), array)));
        }
        if arrays.is_empty() {
            notices
                .push("capture: this model and these panes have no activation of that name; the npz is empty".into());
        }
        npz::write(out, arrays.iter().map(|(name, array)| (name.clone(), array)))?;
        captures.extend(arrays.into_iter().map(|(name, array)| json!({ "name": name, "shape": array.shape })));
    }
    notices.append(&mut outcome.notices);
    outcome.notices = notices;
    let mut answer = serde_json::to_value(&outcome).map_err(|problem| Error::Internal(problem.to_string()))?;
    if args.out.is_some() {
        answer["captures"] = captures.into();
    }
    print::json(&answer)
}

/// The experiment, and what in a link was not understood.
fn read(source: &str) -> Result<(Experiment, Vec<String>)> {
    if let Some((_, hash)) = source.split_once('#') {
        let opened = link::read(hash)?;
        return Ok((opened.experiment, opened.notices));
    }
    let mut text = String::new();
    let read = match source {
        "-" => std::io::stdin().read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|problem| Error::file(source, problem))?;
    let experiment = serde_json::from_str(&text).map_err(|problem| Error::parse(source, problem))?;
    Ok((experiment, Vec::new()))
}
