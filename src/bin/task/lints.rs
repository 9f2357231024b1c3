//! `cargo task check`: what a reviewer should not have to say.

use std::process::Command;

use crate::bundle;
use crate::place::Place;
use crate::setup::{self, Piece};
use crate::shell::{self, Result, fail, say};
use crate::wasm;

/// Runs every check and names those that failed.
pub fn check(place: &Place) -> Result {
    setup::ensure(place, &[Piece::C, Piece::Wasm, Piece::TYPOS, Piece::DENY])?;
    wasm::ensure_clippy(place)?;
    bundle::fetch(place)?;
    let cargo = |arguments: &str| {
        let mut command = place.command("cargo");
        command.args(arguments.split(' '));
        command
    };
    let wasm_clippy = |feature: &str, target: &[&str]| {
        let mut command = wasm::command(place, "cargo");
        command.args(["clippy", "--target", "wasm32-unknown-unknown", "--features", feature]).args(target);
        command.args(["--", "-D", "warnings"]);
        command
    };
    // The worker's package would add the browser's libraries to what is compiled here.
    let native = |before: &str, after: &str| {
        cargo(&format!("{before} -p attnscope -p attnscope-loops --features native {after}"))
    };
    let mut documentation = native("doc", "--no-deps --document-private-items");
    documentation.env("RUSTDOCFLAGS", "-D rustdoc::broken_intra_doc_links -A rustdoc::private_intra_doc_links");
    let mut steps: Vec<(&str, Command)> = vec![
        ("formatting (repair with `cargo fmt`)", cargo("fmt --all --check")),
        ("spelling (exceptions belong in .typos.toml)", typos(place)),
        ("licences, bans and sources (.deny.toml)", deny(place, &["licenses", "bans", "sources"])),
        ("clippy, native", native("clippy", "--all-targets -- -D warnings")),
        ("clippy, the page in wasm", wasm_clippy("app", &["--lib", "--bin", "app"])),
        ("clippy, the worker in wasm", wasm_clippy("worker", &["--lib", "--test", "wasm"])),
        ("documentation", documentation),
    ];
    let mut failed = Vec::new();
    for (name, command) in &mut steps {
        say(name);
        if !shell::succeeds(command)? {
            failed.push(*name);
        }
    }
    advisories(place)?;
    if failed.is_empty() { Ok(()) } else { fail(format!("these checks failed: {}", failed.join("; "))) }
}

fn typos(place: &Place) -> Command {
    let mut command = place.command("typos");
    command.args(["--config", ".typos.toml"]);
    command
}

fn deny(place: &Place, what: &[&str]) -> Command {
    let mut command = place.command("cargo");
    command.args(["deny", "--config", ".deny.toml", "check", "--hide-inclusion-graph"]).args(what);
    command
}

/// Known vulnerabilities come from a database on the network, so this check may say that it could not look.
fn advisories(place: &Place) -> Result {
    say("known vulnerabilities");
    let output = shell::output(&mut deny(place, &["advisories"]))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    if text.contains("failed to fetch advisory database") || text.contains("failed to load advisory database") {
        say("left out: the advisory database could not be fetched");
        return Ok(());
    }
    eprint!("{text}");
    fail("a dependency has a known vulnerability; update it or record the reason in .deny.toml")
}
