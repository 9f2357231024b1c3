//! Which way papers point on models of this size, measured and kept: `tests/golden/studies.directions.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only lens     measures anew and writes the file
//! ```
//!
//! A direction is a claim of a specification about which number is larger, with what was measured and whether it holds here;
//! where it does not, that is the finding. Models are trained for some of them, which takes minutes and happens only then.
//! What a test run asks is that the verdicts follow from the numbers, and that numbers which other files hold are theirs.

use super::trained::{planted_anchor, surface_forms};
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, Head, Pane, View};
use attnscope::lens::finding::Found;
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "tests/golden/studies.directions.json";
const STUDIES: &str = "tests/golden/studies.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only lens";

/// Numbers by name.
pub type Numbers = BTreeMap<String, Vec<f32>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    command: String,
    directions: Vec<Direction>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Direction {
    check: String,
    claim: String,
    holds: bool,
    numbers: Numbers,
}

/// A claim, where its numbers come from, and whether they bear it out.
struct Claim {
    check: &'static str,
    claim: &'static str,
    numbers: Source,
    holds: fn(&Numbers) -> bool,
}

#[derive(Clone, Copy)]
enum Source {
    /// Measured when the file is written.
    Measured(fn() -> Numbers),
    /// Already in `studies.json`, whose numbers another test measures.
    Kept(fn(&serde_json::Value) -> Numbers),
}

const CLAIMS: [Claim; 8] = [
    Claim {
        check: "37 (f)",
        claim: "circuits-2m: on the half of the items that judges, the head whose calibration was best on the other half gains \
                at least nothing, with each of three seeds of items",
        numbers: Source::Measured(calibrated),
        // A loss that rounds to nothing is −0, and a loss.
        holds: |numbers| numbers["gain by seed"].iter().all(|gain| gain.is_sign_positive()),
    },
    Claim {
        check: "39 (d)",
        claim: "trained where 70 % of right answers are A: on fair questions A is chosen more than 45 % of the time, and \
                without the dimension that writes it most less often than without another of the largest",
        numbers: Source::Measured(planted_anchor),
        holds: |numbers| {
            let of = |name: &str| numbers[name][0];
            let anchored = of("answered with A");
            anchored > 0.45 && of("without the first dimension") < of("without another of the largest, mean of 20")
        },
    },
    Claim {
        check: "39 (e), labelled",
        claim: "circuits-2m: the edit that knows the answer puts more than 60 % of the questions right that were answered with \
                A, in at least one layer",
        numbers: Source::Kept(labelled),
        holds: |numbers| numbers["put right by layer, %"].iter().any(|share| *share > 60.0),
    },
    Claim {
        check: "39 (e), label-free",
        claim: "circuits-2m: some label-free edit lowers the anchored rate by 10 points with accuracy not below the start",
        numbers: Source::Kept(label_free),
        holds: |numbers| {
            let [anchored, right] = ["A chosen by edit, %", "right by edit, %"].map(|name| &numbers[name]);
            // The first is none, the last are random rows.
            (1..anchored.len() - 1).any(|edit| anchored[edit] <= anchored[0] - 10.0 && right[edit] >= right[0])
        },
    },
    Claim {
        check: "65 (d), circuits-2m",
        claim: "circuits-2m: one example with choices raises the mass on valid choices by 0.3 over none without, synonyms \
                summed answer as many right or more, and more items are resolved with examples",
        numbers: Source::Kept(choices),
        holds: shown_choices,
    },
    Claim {
        check: "65 (d), synonyms",
        claim: "trained on facts that are said in three words each: the same",
        numbers: Source::Measured(last_of_base),
        holds: shown_choices,
    },
    Claim {
        check: "65 (e), pairs",
        claim: "trained on facts that are said in three words each: over six checkpoints in three forms some pair of settings \
                gains 0.1 of mass on valid choices and no accuracy, and over items |r| of both is below 0.5 on average",
        numbers: Source::Measured(checkpoints),
        holds: |numbers| {
            let [mass, right, related] = ["PMV", "right", "r over items"].map(|name| &numbers[name]);
            let pairs = (0..mass.len()).flat_map(|one| (0..mass.len()).map(move |other| (one, other)));
            let mut against =
                pairs.filter(|(one, other)| mass[*other] - mass[*one] >= 0.1 && right[*other] <= right[*one]);
            against.next().is_some() && related.iter().map(|r| r.abs()).sum::<f32>() / (related.len() as f32) < 0.5
        },
    },
    Claim {
        check: "65 (e), tuned",
        claim: "tuned on lettered questions: scoring by pmi answers at most a point more right than by probability, in every form",
        numbers: Source::Measured(tuned),
        holds: |numbers| numbers["pmi"].iter().zip(&numbers["seq"]).all(|(pmi, seq)| *pmi <= seq + 0.01),
    },
];

/// Paper 65, check (d), from mass, accuracy and resolved share of settings.
fn shown_choices(numbers: &Numbers) -> bool {
    let [mass, right, resolved] =
        ["PMV: none, string 1-shot", "right of none: seq, summed", "resolved by shots"].map(|name| &numbers[name]);
    mass[1] - mass[0] >= 0.3 && right[1] >= right[0] && resolved.windows(2).all(|pair| pair[0] < pair[1])
}

/// Gains of the chosen head on the other half, seed by seed, with half of the interval.
fn calibrated() -> Numbers {
    let mut engine = block_on(Engine::open("circuits-2m", Choice::Cpu)).unwrap();
    let (mut gains, mut halves) = (Vec::new(), Vec::new());
    for seed in 0..3 {
        let view = View { pin: Head { layer: 3, head: 0 }, ..View::default() };
        let (model, panes) = ("circuits-2m".to_string(), vec![Pane::default()]);
        let experiment = Experiment { model, panes, seed, view, ..Experiment::default() };
        let study = loop {
            let found = block_on(engine.analyse(&experiment, 0, "calibration", async |_, _| false)).unwrap().found;
            let Found::Study(study) = found else { panic!("{found:?}") };
            if study.is_whole() {
                break study;
            }
        };
        let judged = &study.exhibits.iter().find(|one| one.id == "calibration.judged").unwrap().grid;
        gains.push(judged.sheets[0].values[3]);
        halves.push(judged.sheets[1].values[3]);
    }
    Numbers::from([("gain by seed".into(), gains), ("± 95 %".into(), halves)])
}

/// The first sheet of a stored drawing, row by row.
fn kept(studies: &serde_json::Value, study: &str, drawing: &str) -> Vec<Vec<f32>> {
    let all = studies["studies"].as_array().unwrap();
    let own = all.iter().find(|one| one["study"] == study && one["over"] == "pane").unwrap();
    let drawn = own["drawings"].as_array().unwrap().iter().find(|one| one["id"] == drawing).unwrap();
    let values: Vec<f32> =
        drawn["values"].as_array().unwrap().iter().map(|x| x.as_f64().map_or(f32::NAN, |x| x as f32)).collect();
    values.chunks(drawn["columns"].as_array().unwrap().len()).map(<[f32]>::to_vec).collect()
}

fn labelled(studies: &serde_json::Value) -> Numbers {
    let rows = kept(studies, "anchors", "anchors.labelled");
    let layers = rows[0].len() - 2;
    Numbers::from([
        ("put right by layer, %".into(), rows[0][..layers].to_vec()),
        ("a random row, %".into(), rows[1][..layers].to_vec()),
    ])
}

fn label_free(studies: &serde_json::Value) -> Numbers {
    let rows = kept(studies, "anchors", "anchors.edits");
    Numbers::from([("A chosen by edit, %".into(), rows[0].clone()), ("right by edit, %".into(), rows[1].clone())])
}

/// Forms down, three shots each; across PMV, seq, pmi, pmi-L, greedy, resolved, synonyms, of the right kind, sum.
fn choices(studies: &serde_json::Value) -> Numbers {
    let rows = kept(studies, "choices", "formats");
    Numbers::from([
        ("PMV: none, string 1-shot".into(), vec![rows[0][0], rows[4][0]]),
        ("right of none: seq, summed".into(), vec![rows[0][1], rows[0][8]]),
        ("resolved by shots".into(), [3, 4, 5].map(|row| rows[row][5]).to_vec()),
    ])
}

/// What [`surface_forms`] measured, once.
fn measured() -> &'static Numbers {
    static ALL: std::sync::OnceLock<Numbers> = std::sync::OnceLock::new();
    ALL.get_or_init(surface_forms)
}

fn last_of_base() -> Numbers {
    let of = |setting: &str| &measured()[&format!("step 1500, {setting}")];
    let (none, string) = (of("none, 0-shot"), of("string, 1-shot"));
    Numbers::from([
        ("PMV: none, string 1-shot".into(), vec![none[0], string[0]]),
        ("right of none: seq, summed".into(), vec![none[1], none[4]]),
        (
            "resolved by shots".into(),
            ["string, 0-shot", "string, 1-shot", "string, 2-shot"].map(|at| of(at)[5]).to_vec(),
        ),
        ("mass on synonyms: none, string 1-shot".into(), vec![none[6], string[6]]),
    ])
}

/// Settings in the order of their names: step 100, 1000, 1500, 200, 400 and 700, each in enum, none and string.
fn checkpoints() -> Numbers {
    let base = || measured().iter().filter(|(name, _)| name.starts_with("step"));
    let column = |at: usize| base().map(|(_, numbers)| numbers[at]).collect::<Vec<f32>>();
    Numbers::from([("PMV".into(), column(0)), ("right".into(), column(1)), ("r over items".into(), column(7))])
}

fn tuned() -> Numbers {
    let all: Vec<_> = measured().iter().filter(|(name, _)| name.starts_with("tuned")).collect();
    let column = |at: usize| all.iter().map(|(_, numbers)| numbers[at]).collect::<Vec<f32>>();
    Numbers::from([("PMV".into(), column(0)), ("seq".into(), column(1)), ("pmi".into(), column(2))])
}

fn read<T: serde::de::DeserializeOwned>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn directions_are_as_measured() {
    let studies: serde_json::Value = read(STUDIES);
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        let measure = |claim: &Claim| {
            let numbers = match claim.numbers {
                Source::Measured(measure) => measure(),
                Source::Kept(of) => of(&studies),
            };
            let round = |x: &f32| (x * 1e4).round() / 1e4;
            let numbers: Numbers =
                numbers.into_iter().map(|(name, all)| (name, all.iter().map(round).collect())).collect();
            let (check, claimed) = (claim.check.into(), claim.claim.into());
            Direction { check, claim: claimed, holds: (claim.holds)(&numbers), numbers }
        };
        let stored = Stored { command: COMMAND.into(), directions: CLAIMS.iter().map(measure).collect() };
        let lines: Vec<String> = stored.directions.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
        let json =
            format!("{{\n  \"command\": \"{COMMAND}\",\n  \"directions\": [\n    {}\n  ]\n}}\n", lines.join(",\n    "));
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE), json).unwrap();
    }
    let stored: Stored = read(FILE);
    let names = |all: &[Direction]| all.iter().map(|one| (one.check.clone(), one.claim.clone())).collect::<Vec<_>>();
    let claimed: Vec<(String, String)> = CLAIMS.iter().map(|claim| (claim.check.into(), claim.claim.into())).collect();
    assert_eq!(names(&stored.directions), claimed, "{FILE} is of other claims; {COMMAND} writes it anew");
    for (claim, direction) in CLAIMS.iter().zip(&stored.directions) {
        let said = (claim.holds)(&direction.numbers);
        assert_eq!(said, direction.holds, "{}: the numbers say otherwise; {COMMAND}", claim.check);
        assert!(direction.numbers.values().flatten().all(|number| number.is_finite()), "{}", claim.check);
        if let Source::Kept(of) = claim.numbers {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3;
            let now = of(&studies);
            let same = now.iter().all(|(name, all)| all.iter().zip(&direction.numbers[name]).all(near));
            assert!(same, "{}: {STUDIES} says {now:?}; {COMMAND}", claim.check);
        }
    }
    // The first seed is the study that another test measures every time.
    let judged = kept(&studies, "calibration", "calibration.judged");
    let own = stored.directions.iter().find(|one| one.check == "37 (f)").unwrap().numbers["gain by seed"][0];
    assert!((own - judged[1][0]).abs() < 1e-3, "{own} and {}", judged[1][0]);
}
