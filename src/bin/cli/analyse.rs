//! `attnscope analyse`: what an instrument of the page says about an experiment, headless.

use super::{print, run};
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::PANE_NAMES;
use attnscope::lens::analysis;
use attnscope::lens::finding::{Finding, Found, Grid};
use attnscope::Result;
use std::io::Write;

/// What `analyse` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// Id of the instrument; without one all are listed.
    analysis: Option<String>,
    /// A JSON file, `-` for standard input, or a link of the page (with its `#…`), which also says how the instrument is set.
    #[arg(default_value = "#")]
    experiment: String,
    /// Which pane: `a`, `b`, `c` or `d`.
    #[arg(long, default_value = "a")]
    pane: String,
    /// Prints a grid as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Says on standard error how far it is.
    #[arg(long)]
    progress: bool,
}

/// Prints what was found.
pub fn command(args: &Args, json: bool) -> Result<()> {
    let Some(id) = &args.analysis else {
        let row =
            |analysis: &analysis::Analysis| [analysis.id, analysis.name, analysis.help].map(String::from).to_vec();
        let head = ["id", "name", "what it says"].map(String::from).to_vec();
        return print::table(&std::iter::once(head).chain(analysis::ALL.iter().map(row)).collect::<Vec<_>>());
    };
    let (experiment, notices) = run::read(&args.experiment)?;
    notices.iter().for_each(|notice| print::complain(notice));
    let pane = PANE_NAMES.iter().position(|name| *name == args.pane).unwrap_or(PANE_NAMES.len());
    let mut engine = pollster::block_on(Engine::open(&experiment.model, Choice::Cpu))?;
    let step = async |done: usize, all: usize| {
        if args.progress {
            // Whoever closed it no longer listens.
            let _ = write!(std::io::stderr(), "\r{done} of {all} ");
        }
        false
    };
    let finding = pollster::block_on(engine.analyse(&experiment, pane, id, step))?;
    match &finding.found {
        Found::Grid(grid) if args.csv => print::part(&grid.csv()),
        Found::Grid(grid) if !json => table(&finding, grid),
        Found::Parts(parts) if !json => {
            let row = |name: String, logit: f32| vec![name, format!("{logit:+.4}")];
            let rows = parts.parts.iter().map(|(part, logit)| row(part.to_string(), *logit));
            let ends = [row("sum".into(), parts.sum()), row("logit".into(), parts.logit)];
            print::table(&rows.chain(ends).collect::<Vec<_>>())
        }
        _ => print::json_line(&finding),
    }
}

/// Each sheet as a table, then the facts.
fn table(finding: &Finding, grid: &Grid) -> Result<()> {
    let across = grid.across.labels.len().max(1);
    for sheet in &grid.sheets {
        print::line(&format!("{} {}", sheet.name, sheet.unit))?;
        let mut rows =
            vec![std::iter::once(String::new()).chain(grid.across.labels.iter().cloned()).collect::<Vec<_>>()];
        for (label, values) in grid.down.labels.iter().zip(sheet.values.chunks(across)) {
            let cells = values.iter().map(|value| format!("{value:+.3}"));
            rows.push(std::iter::once(label.clone()).chain(cells).collect());
        }
        print::table(&rows)?;
    }
    for fact in &grid.facts {
        print::line(&format!("{}: {:.4} {}", fact.name, fact.value, fact.unit))?;
    }
    print::line(&format!("{:.0} ms", finding.millis))
}
