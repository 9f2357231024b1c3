//! What every mechanism at its defaults costs on the held-out texts of the corpus, through the command line:
//! `tests/golden/valid.scores.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only papers     measures anew and writes the file
//! ```

use crate::fixtures;
use attnscope::mechanism::ALL;
use attnscope::train::corpus;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const FILE: &str = "tests/golden/valid.scores.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only papers";
/// What the shipped model was trained on, and so what its held-out texts are.
const MIX: &str = "tinystories-sample=1,picture-books=1,fables-and-rhymes=1,fairy-tales=1,family-stories=1";
const WINDOWS: &str = "32";
const TOKENS: &str = "256";

#[test]
fn what_defaults_cost_on_held_out_texts_is_as_measured() {
    let Some(folder) = fixtures::fixture("../corpus") else { return };
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("valid.txt");
    let sections = corpus::read_held_out(&folder, &corpus::parse_mix(MIX).unwrap()).unwrap();
    let documents: Vec<&str> =
        sections.iter().flat_map(|section| section.documents.iter().map(String::as_str)).collect();
    std::fs::write(&scratch, documents.join("\n<|endoftext|>\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--json", "score"]).arg(&scratch);
    command.args(["--engine", "cpu", "--windows", WINDOWS, "--tokens", TOKENS]);
    for mechanism in ALL.iter().filter(|mechanism| mechanism.id != "softmax") {
        command.args(["--stack", mechanism.id]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut came: Value = serde_json::from_slice(&output.stdout).unwrap();
    came["command"] = COMMAND.into();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&came).unwrap() + "\n").unwrap();
    }
    let stored: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let rows = |value: &Value| value["stacks"].as_array().unwrap().clone();
    assert_eq!(rows(&stored).len(), ALL.len(), "{FILE} is stale; {COMMAND} writes it anew");
    for (stored, came) in rows(&stored).iter().zip(rows(&came)) {
        let delta = |row: &Value| row["delta"].as_f64().unwrap();
        assert!(stored["stack"] == came["stack"] && (delta(stored) - delta(&came)).abs() < 5e-3, "{came} was {stored}");
    }
}
