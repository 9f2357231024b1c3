//! What studies find on the shipped models, measured and kept: `tests/golden/studies.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only lens     measures anew and writes the file
//! ```
//!
//! Those of one pane are measured again by every test run; sweeps over heads and variants, which take minutes, only then.

use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, Instruments, Over, Pane, Study as Which};
use attnscope::lens::finding::Found;
use attnscope::lens::study::Study;
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "tests/golden/studies.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only lens";
/// Rounding of another processor may flip the likeliest of two tokens in an item or two.
const ALLOWED: f32 = 0.06;

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
    /// Name of the first drawing, its rows and columns, and its first sheet, row by row.
    drawing: String,
    rows: Vec<String>,
    columns: Vec<String>,
    values: Vec<Option<f32>>,
}

fn measured(engine: &mut Engine, model: &str, which: Which, over: Over) -> Record {
    let experiment = Experiment {
        model: model.into(),
        panes: vec![Pane::default()],
        instruments: Instruments { study: which, over, ..Instruments::default() },
        ..Experiment::default()
    };
    let study: Study = loop {
        let finding = block_on(engine.analyse(&experiment, 0, which.word(), async |_, _| false)).unwrap();
        match finding.found {
            Found::Study(study) if study.is_whole() => break study,
            Found::Study(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let first = &study.exhibits[0];
    let rounded = |value: &f32| value.is_finite().then(|| (value * 1e4).round() / 1e4);
    Record {
        model: model.into(),
        study: which.word().into(),
        over: over.word().into(),
        steps: study.all,
        verdict: study.verdict,
        drawing: first.name.clone(),
        rows: first.grid.down.labels.clone(),
        columns: first.grid.across.labels.clone(),
        values: first.grid.sheets[0].values.iter().map(rounded).collect(),
    }
}

/// Of every model what one pane finds, and of the taught one what its heads and the variants do.
fn wanted() -> Vec<(&'static str, Which, Over)> {
    use Which::{Choices, Features, Helmet, Needles, SinkActs, SinkSet, SinkTracking, Streaming};
    let about_text =
        [SinkSet, SinkActs, SinkTracking, Streaming, Features].map(|which| ("stories-3m", which, Over::Pane));
    let suites = [Needles, Helmet, Choices].map(|which| ("circuits-2m", which, Over::Pane));
    let sweeps = [(Helmet, Over::Variants), (Needles, Over::Heads), (Choices, Over::Variants)];
    let sweeps = sweeps.map(|(which, over)| ("circuits-2m", which, over));
    about_text.into_iter().chain(suites).chain(sweeps).collect()
}

#[test]
fn studies_find_what_was_stored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("ATTNSCOPE_BLESS").is_some();
    let stored: Vec<Record> = std::fs::read(root.join(FILE))
        .ok()
        .map(|bytes| serde_json::from_slice::<Stored>(&bytes).unwrap().studies)
        .unwrap_or_default();
    let mut engine: Option<(&str, Engine)> = None;
    let mut records = Vec::new();
    for (model, which, over) in wanted() {
        if over != Over::Pane && !bless {
            continue;
        }
        if engine.as_ref().is_none_or(|(of, _)| *of != model) {
            engine = Some((model, block_on(Engine::open(model, Choice::Cpu)).unwrap()));
        }
        let engine = &mut engine.as_mut().unwrap().1;
        records.push(measured(engine, model, which, over));
    }
    if bless {
        let json = serde_json::to_string_pretty(&Stored { command: COMMAND.into(), studies: records }).unwrap() + "\n";
        return std::fs::write(root.join(FILE), json).unwrap();
    }
    assert_eq!(stored.len(), wanted().len(), "missing studies; run {COMMAND}");
    for came in records {
        let name = format!("{} {} {}", came.model, came.study, came.over);
        let kept =
            stored.iter().find(|kept| (&kept.model, &kept.study, &kept.over) == (&came.model, &came.study, &came.over));
        let kept = kept.unwrap_or_else(|| panic!("{name} is not stored; run {COMMAND}"));
        assert_eq!((&kept.rows, &kept.columns, kept.steps), (&came.rows, &came.columns, came.steps), "{name}");
        for (at, (kept, came)) in kept.values.iter().zip(&came.values).enumerate() {
            let (Some(kept), Some(came)) = (kept, came) else {
                assert_eq!(kept.is_some(), came.is_some(), "{name}, number {at}");
                continue;
            };
            let allowed = ALLOWED * kept.abs().max(1.0);
            assert!(
                (kept - came).abs() <= allowed,
                "{name}, number {at}: {came}, and {kept} is stored; else run {COMMAND}"
            );
        }
    }
}
