//! `tests/RELIABILITY.md` is made of the tables that tests leave in `tests/reliability`.
//!
//! A table is `{ title, text, columns, rows }`. `cargo task reliability` runs the tests that write them and blesses this.

use super::keep_fresh;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Table {
    title: String,
    text: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|{}\n", "---|".repeat(self.columns.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("\n## {}\n\n{}\n\n{}{rule}{rows}", self.title, self.text, line(&self.columns))
    }
}

/// What `tests/native/hostile` counted.
#[derive(Deserialize)]
struct Malformed {
    kinds: BTreeMap<String, Kind>,
    memory: String,
    tried: usize,
    refused: usize,
    panics: usize,
}

#[derive(Deserialize)]
struct Kind {
    codes: BTreeMap<String, usize>,
    tried: usize,
    refused: usize,
    panics: usize,
}

impl From<Malformed> for Table {
    fn from(counted: Malformed) -> Self {
        let Malformed { kinds, memory, tried, refused, panics } = counted;
        let row = |(name, kind): (&String, &Kind)| {
            let codes: Vec<_> = kind.codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
            let [tried, refused, panics] = [kind.tried, kind.refused, kind.panics].map(|count| count.to_string());
            vec![name.clone(), tried, refused, panics, codes.join(", ")]
        };
        let all = vec!["all".into(), tried.to_string(), refused.to_string(), panics.to_string(), String::new()];
        Table {
            title: "Malformed input".into(),
            text: format!(
                "Damaged, contradictory and oversized files, links and messages, made by code. Every one must be refused \
                 with its stable code, and none may panic; memory stayed {memory}."
            ),
            columns: ["Kind", "Tried", "Refused", "Panics", "Codes"].map(String::from).into(),
            rows: kinds.iter().map(row).chain([all]).collect(),
        }
    }
}

const HEAD: &str = "# Reliability\n\nWhat was done to attnscope on purpose, and what came of it. `cargo task reliability` repeats it and writes this page \
from the tables in `tests/reliability`, which the tests leave there.\n";

#[test]
fn the_page_about_reliability_is_made_of_the_tables() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reliability");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(!files.is_empty(), "cargo task reliability writes the tables");
    let table = |file: &std::path::PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        let table = match file.file_stem().is_some_and(|stem| stem == "malformed") {
            true => serde_json::from_slice::<Malformed>(&bytes).map(Table::from),
            false => serde_json::from_slice(&bytes),
        };
        let table = table
            .unwrap_or_else(|problem| panic!("{}: {problem}; a table is title, text, columns, rows", file.display()));
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", file.display());
        table.markdown()
    };
    let tables: String = files.iter().map(table).collect();
    keep_fresh("tests/RELIABILITY.md", &format!("{HEAD}{tables}"));
}
