//! `attnscope run`: an experiment, headless.

use super::{npz, print};
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, PANE_NAMES, link};
use attnscope::hook::{Array, Selection};
use attnscope::lens::finding::Finding;
use attnscope::outcome::Outcome;
use attnscope::{Error, Result};
use serde::Serialize;
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
    let mut captures = None;
    if let (Some(wanted), Some(out)) = (&args.capture, &args.out) {
        let arrays = capture(&mut engine, &experiment, wanted)?;
        if arrays.is_empty() {
            notices.push("capture: this model and these panes have no such activation; the npz is empty".into());
        }
        let note = serde_json::to_string(&outcome.record()).map_err(|problem| Error::Internal(problem.to_string()))?;
        npz::write(out, arrays.iter().map(|(name, array)| (name.clone(), array)), &note)?;
        captures = Some(arrays.into_iter().map(|(name, array)| Captured { name, shape: array.shape }).collect());
    }
    let ablation = match experiment.instruments.ablate.as_slice() {
        [] => None,
        _ => {
            let mut without =
                |pane| pollster::block_on(engine.analyse(&experiment, pane, "ablation", async |_, _| false));
            Some((0..experiment.panes.len()).map(&mut without).collect::<Result<Vec<_>>>()?)
        }
    };
    notices.append(&mut outcome.notices);
    outcome.notices = notices;
    print::json_line(&Answer { outcome, captures, ablation })
}

/// What `run` prints.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    outcome: Outcome,
    /// What the npz holds, when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    captures: Option<Vec<Captured>>,
    /// Each pane without the heads that the experiment takes out, when it takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    ablation: Option<Vec<Finding>>,
}

/// One array of the npz.
#[derive(Serialize)]
struct Captured {
    name: String,
    shape: Vec<usize>,
}

/// The wanted activations of every pane, under the names they have in the npz.
fn capture(engine: &mut Engine, experiment: &Experiment, wanted: &Selection) -> Result<Vec<(String, Array)>> {
    let mut arrays = Vec::new();
    for (pane, name) in PANE_NAMES.iter().enumerate().take(experiment.panes.len()) {
        let pass = pollster::block_on(engine.pass(experiment, pane, wanted.clone()))?;
        let prefix = if pane == 0 { String::new() } else { format!("{name}.") };
        arrays.extend(pass.captures.values.into_iter().map(|(at, array)| (format!("{prefix}{at}"), array)));
    }
    Ok(arrays)
}

/// The experiment, and what in a link was not understood.
pub fn read(source: &str) -> Result<(Experiment, Vec<String>)> {
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
