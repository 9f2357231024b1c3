//! `attnscope analyse`: what an instrument of the page says about an experiment, headless.

use super::{print, run};
use attnscope::Result;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::PANE_NAMES;
use attnscope::lens::analysis;
use attnscope::lens::exhibit::{Exhibit, Exhibits};
use attnscope::lens::finding::{Finding, Found, Grid};
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
    let mut finding = pollster::block_on(engine.analyse(&experiment, pane, id, step))?;
    // A study answers with what there is; asking again goes on from there.
    while matches!(&finding.found, Found::Study(study) if !study.is_whole()) {
        finding = pollster::block_on(engine.analyse(&experiment, pane, id, step))?;
    }
    match &finding.found {
        Found::Grid(grid) if args.csv => print::part(&grid.csv()),
        Found::Grid(grid) if !json => table(grid).and_then(|()| time(&finding)),
        Found::Study(study) if args.csv => print::part(&study.exhibits.iter().map(csv).collect::<String>()),
        Found::Study(study) if !json => {
            print::line(&study.verdict)?;
            let none = Exhibits::default();
            study.exhibits.iter().try_for_each(|exhibit| described(&none, exhibit))
        }
        Found::Exhibits(all) if args.csv => print::part(&all.exhibits.iter().map(csv).collect::<String>()),
        Found::Exhibits(all) if !json => {
            all.exhibits.iter().try_for_each(|exhibit| described(all, exhibit)).and_then(|()| time(&finding))
        }
        Found::Parts(parts) if !json => {
            let row = |name: String, logit: f32| vec![name, format!("{logit:+.4}")];
            let rows = parts.parts.iter().map(|(part, logit)| row(part.to_string(), *logit));
            let ends = [row("sum".into(), parts.sum()), row("logit".into(), parts.logit)];
            print::table(&rows.chain(ends).collect::<Vec<_>>())
        }
        _ => print::json_line(&finding),
    }
}

/// A drawing's numbers.
fn csv(exhibit: &Exhibit) -> String {
    format!("# {}: {}\r\n{}", exhibit.id, exhibit.name, exhibit.grid.csv())
}

/// More columns than this are no table for a terminal.
const MOST_COLUMNS: usize = 40;

/// One drawing: what is seen, then its numbers.
fn described(all: &Exhibits, exhibit: &Exhibit) -> Result<()> {
    let of = if all.tokens > 0 { format!(", {} tokens, {}", all.tokens, all.head) } else { String::new() };
    print::line(&format!("\n{} ({}{of})", exhibit.name, exhibit.id))?;
    print::line(&exhibit.caption)?;
    if !exhibit.missing.is_empty() {
        return print::line(&exhibit.missing);
    }
    exhibit.classes.iter().enumerate().try_for_each(|(class, name)| print::line(&format!("{class} = {name}")))?;
    let (down, across) = (&exhibit.grid.down.labels, &exhibit.grid.across.labels);
    if across.len() <= MOST_COLUMNS {
        return table(&exhibit.grid);
    }
    print::line(&format!("{} rows, {} columns: --csv or --json prints them", down.len(), across.len()))?;
    facts(&exhibit.grid)
}

/// Each sheet as a table, then the facts.
fn table(grid: &Grid) -> Result<()> {
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
    facts(grid)
}

fn facts(grid: &Grid) -> Result<()> {
    grid.facts.iter().try_for_each(|fact| print::line(&format!("{}: {:.4} {}", fact.name, fact.value, fact.unit)))?;
    grid.notes.iter().try_for_each(|note| print::line(note))
}

fn time(finding: &Finding) -> Result<()> {
    print::line(&format!("{:.0} ms", finding.millis))
}
