//! What studies find on the shipped models, measured and kept: `tests/golden/studies.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only lens     measures anew and writes the file
//! ```
//!
//! Every study of the registry is there, on the model that knows what it asks. Those of one pane are measured again by every
//! test run; sweeps over heads and variants, which take minutes, only then.

use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, Head, Instruments, Over, Pane, View};
use attnscope::lens::analysis::{self, Analysis};
use attnscope::lens::finding::{self, Found};
use attnscope::lens::study::Study;
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "tests/golden/studies.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only lens";
/// Rounding of another processor may flip the likeliest of two tokens in an item or two: relative, and in percent.
const ALLOWED: f32 = 0.06;
const ALLOWED_PERCENT: f32 = 10.0;

/// Texts of its own, and the tasks that the other one was taught.
const PLAIN: &str = "stories-3m";
const TAUGHT: &str = "circuits-2m";

#[derive(Serialize, Deserialize)]
struct Stored {
    command: String,
    studies: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    model: String,
    study: String,
    over: String,
    steps: usize,
    verdict: String,
    drawings: Vec<Drawing>,
}

/// Names of rows and columns, the first sheet, row by row, and facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drawing {
    id: String,
    rows: Vec<String>,
    columns: Vec<String>,
    unit: String,
    values: Vec<Option<f32>>,
    facts: Vec<(String, Option<f32>)>,
}

fn asked(model: &str, over: Over, id: &str) -> Experiment {
    let study = id.parse().unwrap_or_else(|error| panic!("{error}: a study of the registry that no link names"));
    Experiment {
        model: model.into(),
        panes: vec![Pane::default()],
        instruments: Instruments { study, over, ..Instruments::default() },
        // One of the last heads: studies of a pinned head need heads before it.
        view: View { pin: Head { layer: 3, head: 0 }, ..View::default() },
        ..Experiment::default()
    }
}

fn measured(engine: &mut Engine, model: &str, id: &str, over: Over) -> attnscope::Result<Record> {
    let experiment = asked(model, over, id);
    let study: Study = loop {
        match block_on(engine.analyse(&experiment, 0, id, async |_, _| false))?.found {
            Found::Study(study) if study.is_whole() => break study,
            Found::Study(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let rounded = |value: &f32| value.is_finite().then(|| (value * 1e4).round() / 1e4);
    let drawing = |drawn: &attnscope::lens::exhibit::Exhibit| Drawing {
        id: drawn.id.clone(),
        rows: drawn.grid.down.labels.clone(),
        columns: drawn.grid.across.labels.clone(),
        unit: drawn.grid.sheets[0].unit.clone(),
        values: drawn.grid.sheets[0].values.iter().map(rounded).collect(),
        facts: drawn.grid.facts.iter().map(|fact| (fact.id.clone(), rounded(&fact.value))).collect(),
    };
    Ok(Record {
        model: model.into(),
        study: id.into(),
        over: over.word().into(),
        steps: study.all,
        verdict: study.verdict,
        drawings: study.exhibits.iter().map(drawing).collect(),
    })
}

/// Whether it asks items of a suite, of one pane or of many.
fn evaluates(analysis: &Analysis) -> bool {
    (analysis.reads)(&Instruments { items: 3, ..Instruments::default() }).items == 3
}

/// Every study of the registry, and sweeps of the taught model.
fn wanted() -> Vec<(&'static Analysis, Over)> {
    let studies = || analysis::ALL.iter().filter(|analysis| analysis.view == finding::View::Study);
    let sweep = |(id, over)| (analysis::by_id(id).unwrap(), over);
    let sweeps = [("helmet", Over::Variants), ("needles", Over::Heads), ("choices", Over::Variants)].map(sweep);
    studies().map(|analysis| (analysis, Over::Pane)).chain(sweeps).collect()
}

/// Those that a study is stored of: the taught one where the plain one lacks what it asks, and both where they answer
/// different questions.
fn models(analysis: &Analysis, engines: &mut [(&'static str, Engine); 2]) -> Vec<usize> {
    let about_tasks = evaluates(analysis)
        || block_on(engines[0].1.analyse(&asked(PLAIN, Over::Pane, analysis.id), 0, analysis.id, async |_, _| true))
            .is_err_and(|error| error.code() == "tokenizer");
    match (about_tasks, analysis.id) {
        (true, _) => vec![1],
        // Only the taught one has sentences whose cues are known.
        (false, "features") => vec![0, 1],
        (false, _) => vec![0],
    }
}

#[test]
fn studies_find_what_was_stored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("ATTNSCOPE_BLESS").is_some();
    let open = |model: &'static str| (model, block_on(Engine::open(model, Choice::Cpu)).unwrap());
    let mut engines = [open(PLAIN), open(TAUGHT)];
    let (mut records, mut names) = (Vec::new(), Vec::new());
    for (analysis, over) in wanted() {
        for at in models(analysis, &mut engines) {
            let (model, engine) = &mut engines[at];
            names.push((model.to_string(), analysis.id.to_string(), over.word().to_string()));
            if over == Over::Pane || bless {
                records.push(measured(engine, model, analysis.id, over).unwrap());
            }
        }
    }
    let name = |record: &Record| (record.model.clone(), record.study.clone(), record.over.clone());
    if bless {
        // A line for each study, so that what changed is seen.
        let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let json =
            format!("{{\n  \"command\": \"{COMMAND}\",\n  \"studies\": [\n    {}\n  ]\n}}\n", lines.join(",\n    "));
        return std::fs::write(root.join(FILE), json).unwrap();
    }
    let stored: Vec<Record> = std::fs::read(root.join(FILE))
        .ok()
        .map(|bytes| serde_json::from_slice::<Stored>(&bytes).unwrap().studies)
        .unwrap_or_default();
    assert_eq!(stored.iter().map(name).collect::<Vec<_>>(), names, "other studies are stored; run {COMMAND}");
    for came in records {
        let what = name(&came);
        let kept = stored.iter().find(|kept| name(kept) == what).unwrap();
        assert_eq!(
            (kept.steps, kept.drawings.len()),
            (came.steps, came.drawings.len()),
            "{what:?}; else run {COMMAND}"
        );
        for (kept, came) in kept.drawings.iter().zip(&came.drawings) {
            let (what, in_percent) = (format!("{what:?}, {}", came.id), came.unit == "%");
            assert_eq!((&kept.id, kept.values.len()), (&came.id, came.values.len()), "{what}; else run {COMMAND}");
            let facts = |drawing: &Drawing| drawing.facts.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
            assert_eq!(facts(kept), facts(came), "{what} has other facts; else run {COMMAND}");
            for (at, (kept, came)) in kept.values.iter().zip(&came.values).enumerate() {
                let (Some(kept), Some(came)) = (kept, came) else {
                    assert_eq!(kept.is_some(), came.is_some(), "{what}, number {at}");
                    continue;
                };
                let relative = ALLOWED * kept.abs().max(1.0);
                let allowed = if in_percent { relative.max(ALLOWED_PERCENT) } else { relative };
                assert!(
                    (kept - came).abs() <= allowed,
                    "{what}, number {at}: {came}, and {kept} is stored; else run {COMMAND}"
                );
            }
        }
    }
}
