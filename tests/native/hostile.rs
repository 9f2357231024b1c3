//! Layer `hostile`: files, links and messages that are damaged or made to do harm.
//!
//! [`cases`] is a table of several hundred, made by code. Each must be refused with the code it names, without a panic and
//! in bounded memory; what came is kept in `tests/reliability/malformed.json`. [`noise`] changes good files at random,
//! [`prompts`] are texts as nobody writes them.

mod archives;
mod configs;
mod links;
mod llama2c;
mod memory;
mod messages;
pub mod noise;
mod prompts;
mod seeds;
mod tokenizers;
mod weights;

use attnscope::Error;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// One malformed input.
pub struct Case {
    /// What is read: `safetensors`, `link`, ….
    pub kind: &'static str,
    /// What is wrong with it.
    pub name: String,
    /// The code it is refused with.
    pub code: &'static str,
    /// Its length in bytes.
    pub bytes: usize,
    /// Reads it; `Err` holds the code.
    pub read: Box<dyn Fn() -> Result<(), String>>,
}

/// The code of what came.
pub fn code<T>(came: attnscope::Result<T>) -> Result<(), String> {
    came.map(|_| ()).map_err(|error| error.code().to_string())
}

fn cases() -> Vec<Case> {
    let all = [
        weights::cases(),
        configs::cases(),
        tokenizers::cases(),
        llama2c::cases(),
        links::cases(),
        messages::cases(),
        archives::cases(),
    ];
    all.into_iter().flatten().collect()
}

/// Memory that reading may take: parsed text is several times its bytes, and f16 weights become f32 in another order.
fn most_memory(bytes: usize) -> usize {
    (4 << 20) + 24 * bytes
}

#[derive(Default, serde::Serialize)]
struct Tally {
    tried: usize,
    refused: usize,
    panics: usize,
    codes: BTreeMap<String, usize>,
}

#[test]
fn a_table_of_malformed_inputs_is_refused() {
    let mut tallies = BTreeMap::<&str, Tally>::new();
    let mut complaints = Vec::new();
    let cases = cases();
    for case in &cases {
        let began = Instant::now();
        let (came, peak) = memory::peak(|| catch_unwind(AssertUnwindSafe(|| (case.read)())));
        let tally = tallies.entry(case.kind).or_default();
        tally.tried += 1;
        match came {
            Err(_) => {
                tally.panics += 1;
                complaints.push(format!("{}, {}: panics", case.kind, case.name));
            }
            Ok(Ok(())) => complaints.push(format!("{}, {}: is read, not {}", case.kind, case.name, case.code)),
            Ok(Err(code)) => {
                tally.refused += 1;
                if code != case.code {
                    complaints.push(format!("{}, {}: {code}, not {}", case.kind, case.name, case.code));
                }
                *tally.codes.entry(code).or_default() += 1;
            }
        }
        // Milliseconds, on a machine of its own.
        if began.elapsed() > Duration::from_secs(10) {
            complaints.push(format!("{}, {}: takes {:?}", case.kind, case.name, began.elapsed()));
        }
        if peak > most_memory(case.bytes) {
            let (name, bytes) = (&case.name, case.bytes);
            complaints.push(format!("{}, {name}: {bytes} bytes take {peak} bytes of memory", case.kind));
        }
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
    assert!(cases.len() >= 200, "the table has shrunk to {}", cases.len());
    let sum = |of: fn(&Tally) -> usize| tallies.values().map(of).sum::<usize>();
    let report = serde_json::json!({
        "tried": sum(|tally| tally.tried),
        "refused": sum(|tally| tally.refused),
        "panics": sum(|tally| tally.panics),
        "memory": "at most 4 MiB and 24 times the length of the input, counted by the allocator",
        "kinds": tallies,
    });
    crate::fresh::keep_fresh(
        "tests/reliability/malformed.json",
        &(serde_json::to_string_pretty(&report).unwrap() + "\n"),
    );
}

/// The table would be worthless if what it damages were refused undamaged.
#[test]
fn what_the_table_damages_is_read_undamaged() {
    for (kind, read) in [
        ("safetensors", weights::good()),
        ("configs", configs::good()),
        ("tokenizers", tokenizers::good()),
        ("llama2.c", llama2c::good()),
        ("links", links::good()),
        ("messages", messages::good()),
        ("archives", archives::good()),
    ] {
        assert_eq!(read, Ok(()), "{kind}");
    }
}

/// Whoever embeds a figure writes codes down. A new variant does not compile here until its code is in the list.
#[test]
fn codes_are_stable() {
    let (text, file) = (String::new, || String::from("f"));
    let all = [
        (Error::Param { who: text(), key: text(), expected: text(), came: text() }, "param"),
        (Error::Shape { who: text(), tensor: text(), expected: text(), came: text() }, "shape"),
        (Error::Tensor { file: file(), tensor: text(), problem: text() }, "tensor"),
        (Error::File { file: file(), problem: text() }, "file"),
        (Error::Limit { who: text(), what: "bytes", came: 2, most: 1 }, "limit"),
        (Error::Unsupported { file: file(), key: text(), expected: text(), came: text() }, "unsupported"),
        (Error::Unknown { what: "model", name: text(), remedy: text() }, "unknown"),
        (Error::Stack { pane: text(), problem: text() }, "stack"),
        (Error::Parse { what: text(), problem: text() }, "parse"),
        (Error::Tokenizer { problem: text() }, "tokenizer"),
        (Error::Gpu { problem: text() }, "gpu"),
        (Error::Kernel { file: file(), line: 1, problem: text() }, "kernel"),
        (Error::Check { failed: 1, of: 2 }, "check"),
        (Error::Superseded, "superseded"),
        (Error::Internal(text()), "internal"),
    ];
    let codes: Vec<_> = all.iter().map(|(error, _)| error.code()).collect();
    assert_eq!(codes, all.each_ref().map(|(_, code)| *code));
    assert_eq!(codes, Error::CODES);
}
