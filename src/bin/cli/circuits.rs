//! `attnscope circuits`: how well a model answers the tasks with exact ground truth, what its heads look like on probes,
//! and which tasks each head is needed for.

use super::print;
use attnscope::Result;
use attnscope::experiment::Head;
use attnscope::lens::causal::{Removal, every_head};
use attnscope::lens::suite::{self, Tokens};
use attnscope::mechanism::Stack;
use attnscope::model::{CpuModel, Files, load};
use attnscope::train::circuits::score::{Scores, held_out};
use attnscope::train::circuits::{Circuits, Task, ablate};
use serde::Serialize;

/// What `circuits` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// A folder, or the id of a shipped model; its tokenizer must have every word of the tasks.
    #[arg(long, default_value = "circuits-2m")]
    model: String,
    /// Held-out items of each task.
    #[arg(long, default_value_t = 40)]
    items: usize,
    /// What stands in the place of a head: `zero`, `mean`, `resample` or `uniform`.
    #[arg(long, default_value = "mean")]
    how: Removal,
    /// Only this task, by its id; may be given several times.
    #[arg(long)]
    task: Vec<String>,
    /// Heads to take out together, such as `L2H0,L2H3`; may be given several times. Each set is one more row.
    #[arg(long)]
    without: Vec<String>,
    /// Longest item in tokens.
    #[arg(long)]
    longest: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    how: Removal,
    tasks: Vec<Scores>,
    without: Vec<Without>,
}

#[derive(Serialize)]
struct Without {
    /// The heads that were taken out.
    heads: Vec<String>,
    /// Roles on probes, of a head alone.
    roles: Vec<String>,
    /// Accuracy of each task without them.
    accuracy: Vec<f64>,
}

/// Prints the report.
pub fn command(args: &Args, json: bool) -> Result<()> {
    let (id, files) = Files::find(&args.model)?;
    let loaded = load(&id, &files)?;
    let mut model = CpuModel::new(&loaded.config, &loaded.weights)?;
    let stack = Stack::new("circuits", &[])?;
    let circuits = Circuits::new(&loaded.tokenizer)?;
    let tasks = match args.task.as_slice() {
        [] => Task::ALL.to_vec(),
        ids => ids.iter().map(|id| Task::by_id(id)).collect::<Result<_>>()?,
    };
    let heads = every_head(&model);
    let read = |set: &String| set.split(',').map(str::parse).collect::<Result<Vec<Head>>>();
    let together = args.without.iter().map(read).collect::<Result<Vec<_>>>()?;
    let alone = heads.iter().map(|head| vec![*head]);
    let sets: Vec<Vec<Head>> = std::iter::once(Vec::new()).chain(alone).chain(together).collect();
    let longest = args.longest.unwrap_or(loaded.config.context - 1).min(loaded.config.context - 1);
    let mut columns = Vec::new();
    for task in tasks {
        let items = held_out(&circuits, task, args.items, longest);
        columns.push(ablate::without(&model, &stack, task, &items, &sets, args.how)?);
    }
    let tokenizer = &loaded.tokenizer;
    let ids = (0..loaded.config.vocabulary as u32).filter(|id| !tokenizer.special(*id));
    let tokens = Tokens::new(ids.map(|id| (id, tokenizer.token_text(id))), tokenizer.bos());
    let weights = Some(&loaded.weights);
    let report = suite::report(&mut model, &loaded.config, weights, &stack, &tokens, 0, async || false);
    let report = pollster::block_on(report)?;
    // The first set is the whole model; heads alone come next, in the report's order.
    let one = |(index, set): (usize, &Vec<Head>)| Without {
        heads: set.iter().map(ToString::to_string).collect(),
        roles: if index < heads.len() { report.labels(index).into_iter().map(String::from).collect() } else { vec![] },
        accuracy: columns.iter().filter_map(|column| column.get(index + 1)).map(|scores| scores.accuracy).collect(),
    };
    let answer = Answer {
        how: args.how,
        tasks: columns.iter().filter_map(|column| column.first().cloned()).collect(),
        without: sets.iter().skip(1).enumerate().map(one).collect(),
    };
    if json { print::json(&answer) } else { print(&answer) }
}

fn print(answer: &Answer) -> Result<()> {
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    let mut rows = vec![["accuracy in %"].map(String::from).to_vec()];
    rows[0].extend(answer.tasks.iter().map(|task| task.task.clone()));
    let mut whole = vec!["whole".to_string()];
    whole.extend(answer.tasks.iter().map(|task| percent(task.accuracy)));
    rows.push(whole);
    for without in &answer.without {
        let mut row = vec![format!("without {}", without.heads.join(", "))];
        row.extend(without.accuracy.iter().map(|accuracy| percent(*accuracy)));
        row.push(without.roles.join(", "));
        rows.push(row);
    }
    print::table(&rows)
}
