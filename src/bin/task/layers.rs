//! The test layers, cheap ones first, and the table that closes them.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::bundle;
use crate::place::Place;
use crate::server;
use crate::setup::{self, Piece};
use crate::shell::{self, Failure, Result, doing, fail, say};
use crate::wasm;

/// What the native tests and everything they share with the command line are compiled with.
const NATIVE: &[&str] = &["test", "--release", "--features", "native"];
/// How a test that reads `../shared` says that it did not run; see `tests/native/fixtures.rs`.
const LEFT_OUT: &str = "left out: ";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Unit and documentation tests of the library, and of this program.
    Unit,
    /// A module of `tests/native`.
    Native,
    /// `tests/wasm`, in a headless browser.
    Wasm,
    /// `tests/e2e`, the whole page in a headless browser.
    EndToEnd,
}

const LAYERS: &[(&str, Kind)] = &[
    ("tidy", Kind::Native),
    ("unit", Kind::Unit),
    ("shaders", Kind::Native),
    ("laws", Kind::Native),
    ("parity", Kind::Native),
    ("papers", Kind::Native),
    ("exhibits", Kind::Native),
    ("model", Kind::Native),
    ("hostile", Kind::Native),
    ("lens", Kind::Native),
    ("lessons", Kind::Native),
    ("engine", Kind::Native),
    ("command", Kind::Native),
    ("gradients", Kind::Native),
    ("train", Kind::Native),
    ("trust", Kind::Native),
    ("golden", Kind::Native),
    ("fresh", Kind::Native),
    ("wasm", Kind::Wasm),
    ("e2e", Kind::EndToEnd),
];

impl Kind {
    fn needs(self) -> &'static [Piece] {
        match self {
            Self::Unit | Self::Native => &[Piece::C, Piece::Vulkan],
            Self::Wasm => &[Piece::C, Piece::Wasm, Piece::Browser, Piece::BINDGEN, Piece::WASM_PACK],
            Self::EndToEnd => &[
                Piece::C,
                Piece::Node,
                Piece::Wasm,
                Piece::Browser,
                Piece::BINDGEN,
                Piece::TRUNK,
                Piece::WasmOpt,
                Piece::Playwright,
            ],
        }
    }
}

/// What one layer came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    seconds: f64,
    note: String,
}

/// Runs the layers named in `only` (comma-separated), or all.
pub fn test(place: &Place, only: Option<&str>) -> Result {
    let chosen = choose(only)?;
    let mut pieces: Vec<Piece> = Vec::new();
    for piece in chosen.iter().flat_map(|(_, kind)| kind.needs()) {
        if !pieces.contains(piece) {
            pieces.push(*piece);
        }
    }
    setup::ensure(place, &pieces)?;

    let runner = Runner { place, shared: shared_folder(place), native: native_tests(place, &chosen)? };
    let mut table = Vec::new();
    for (name, kind) in chosen {
        println!("\n== {name}");
        let start = Instant::now();
        let mut tally = runner.layer(name, kind).unwrap_or_else(|Failure(sentence)| {
            println!("{name}: {sentence}");
            Tally { note: sentence, ..Tally::default() }
        });
        if tally.passed + tally.failed + tally.skipped == 0 {
            // A layer that tests nothing must not look like one that passes.
            tally.failed = 1;
            if tally.note.is_empty() {
                tally.note = "ran no tests".to_owned();
            }
        }
        tally.seconds = start.elapsed().as_secs_f64();
        table.push((name, tally));
    }
    report(&table)
}

/// Runs the tests that leave tables in `tests/reliability`, for as long as the soak is told, and writes the page about them.
pub fn reliability(place: &Place, soak: Option<&str>) -> Result {
    let pieces: Vec<Piece> = [Kind::Native, Kind::EndToEnd].iter().flat_map(|kind| kind.needs()).copied().collect();
    setup::ensure(place, &pieces)?;
    let chosen = choose(Some("hostile,fresh"))?;
    let runner = Runner { place, shared: shared_folder(place), native: native_tests(place, &chosen)? };
    let mut variables = vec![("ATTNSCOPE_RELIABILITY", "write")];
    variables.extend(soak.map(|seconds| ("ATTNSCOPE_SOAK_SECONDS", seconds)));
    let mut table = vec![("e2e", runner.browser(&["faults", "leaks", "soak"], &variables)?)];
    for (name, _) in chosen {
        let bless: &[(&str, &str)] = if name == "fresh" { &[("ATTNSCOPE_BLESS", "1")] } else { &variables };
        table.push((name, runner.native(name, bless)?));
    }
    report(&table)
}

fn choose(only: Option<&str>) -> Result<Vec<(&'static str, Kind)>> {
    let Some(only) = only else { return Ok(LAYERS.to_vec()) };
    let wanted: Vec<&str> = only.split(',').map(str::trim).collect();
    if let Some(unknown) = wanted.iter().find(|name| !LAYERS.iter().any(|(layer, _)| layer == *name)) {
        let names: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
        return fail(format!("`{unknown}` is not a test layer; choose from {}", names.join(", ")));
    }
    Ok(LAYERS.iter().copied().filter(|(name, _)| wanted.contains(name)).collect())
}

fn report(table: &[(&str, Tally)]) -> Result {
    println!("\n{:<12}{:<8}{:>8}{:>8}{:>9}{:>9}  note", "layer", "result", "passed", "failed", "left out", "seconds");
    let (mut passed, mut failed) = (0, 0);
    for (name, tally) in table {
        let result = if tally.failed == 0 { "ok" } else { "FAILED" };
        println!(
            "{name:<12}{result:<8}{:>8}{:>8}{:>9}{:>9.1}  {}",
            tally.passed, tally.failed, tally.skipped, tally.seconds, tally.note
        );
        passed += tally.passed;
        failed += tally.failed;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { fail("some tests failed; `cargo task test --only LAYER` repeats one layer") }
}

/// The folder of fixtures beside the checkout, where there is one.
fn shared_folder(place: &Place) -> Option<PathBuf> {
    let named = std::env::var_os("ATTNSCOPE_SHARED").map(PathBuf::from);
    named
        .or_else(|| place.root.parent().map(|parent| parent.join("shared")))
        .filter(|folder| folder.join("fixtures").is_dir())
}

/// Compiles the native tests and lists them, once for all layers; an error of the compiler is shown once, too.
fn native_tests(place: &Place, chosen: &[(&str, Kind)]) -> Result<Option<Vec<String>>> {
    if !chosen.iter().any(|(_, kind)| *kind == Kind::Native) {
        return Ok(None);
    }
    say("compiling the native tests (the first time takes minutes)");
    let mut build = place.command("cargo");
    build.args(NATIVE).args(["--test", "native", "--no-run"]);
    if !shell::succeeds(&mut build)? {
        return Ok(None);
    }
    let mut list = place.command("cargo");
    list.args(NATIVE).args(["--quiet", "--test", "native", "--", "--list", "--format", "terse"]);
    let output = shell::output(&mut list)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Some(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()))
}

struct Runner<'a> {
    place: &'a Place,
    shared: Option<PathBuf>,
    /// Names of the native tests; `None` when they did not compile or are not wanted.
    native: Option<Vec<String>>,
}

impl Runner<'_> {
    fn layer(&self, name: &str, kind: Kind) -> Result<Tally> {
        match kind {
            Kind::Unit => self.unit(),
            Kind::Native => self.native(name, &[]),
            Kind::Wasm => self.wasm(),
            Kind::EndToEnd => self.browser(&[], &[]),
        }
    }

    fn unit(&self) -> Result<Tally> {
        let mut tests = self.place.command("cargo");
        tests.args(NATIVE).args(["-p", "attnscope", "-p", "attnscope-loops", "--lib", "--bin", "task"]);
        let mut tally = count_rust(self.prepare(&mut tests))?;
        let mut documentation = self.place.command("cargo");
        documentation.args(NATIVE).arg("--doc");
        tally.add(&count_rust(self.prepare(&mut documentation))?);
        Ok(tally)
    }

    fn native(&self, name: &str, variables: &[(&str, &str)]) -> Result<Tally> {
        let Some(tests) = &self.native else { return fail("the native tests did not compile") };
        // Run by their full names: a filter would also match the same word inside another layer.
        let prefix = format!("{name}::");
        let wanted: Vec<&String> = tests.iter().filter(|test| test.starts_with(&prefix)).collect();
        if wanted.is_empty() {
            return Ok(Tally::default());
        }
        let mut tests = self.place.command("cargo");
        tests.args(NATIVE).args(["--quiet", "--test", "native", "--", "--exact", "--format", "pretty"]).args(&wanted);
        if self.shared.is_none() {
            // What a passing test wrote is shown only on request.
            tests.arg("--show-output");
        }
        count_rust(self.prepare(&mut tests).envs(variables.iter().copied()))
    }

    fn wasm(&self) -> Result<Tally> {
        bundle::fetch(self.place)?;
        let (browser, driver) = setup::browser_pair()?;
        let mut tests = wasm::command(self.place, "wasm-pack");
        tests.args(["test", "--headless", "--chrome", "--mode", "no-install", "--chromedriver"]).arg(driver);
        tests.args(["--", "--profile", "web", "--features", "worker", "--test", "wasm"]);
        tests.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities(self.place, &browser)?);
        tests.env("WASM_BINDGEN_TEST_TIMEOUT", "900");
        count_rust(self.prepare(&mut tests))
    }

    /// Tests of the page; all, or those whose files have these names.
    fn browser(&self, files: &[&str], variables: &[(&str, &str)]) -> Result<Tally> {
        bundle::build(self.place)?;
        let dist = bundle::built(self.place)?;
        // The page's numbers are compared with the command line's.
        say("building the command line");
        let mut cli = self.place.command("cargo");
        cli.args(["build", "--release", "--features", "native", "--bin", "attnscope"]);
        if !shell::succeeds(&mut cli)? {
            return fail("the command line did not compile");
        }
        let (browser, _) = setup::browser_pair()?;
        let no_server = |error: std::io::Error| Failure(format!("no port is free for the test server: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(no_server)?;
        let address = listener.local_addr().map_err(no_server)?;
        std::thread::spawn(move || server::serve(&listener, &dist));

        let folder = self.place.root.join("tests").join("e2e");
        let mut tests = self.place.command("node");
        tests
            .current_dir(&folder)
            .arg("node_modules/@playwright/test/cli.js")
            .args(["test", "--reporter=list"])
            .args(files);
        tests.env("ATTNSCOPE_URL", format!("http://{address}/")).env("ATTNSCOPE_CHROMIUM", browser);
        tests.env("ATTNSCOPE_CLI", self.place.cache.join("target").join("release").join("attnscope"));
        count_playwright(self.prepare(&mut tests).envs(variables.iter().copied()))
    }

    /// The environment every test sees.
    fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        // A test that needs a GPU fails without one instead of passing silently.
        command.env("ATTNSCOPE_GPU", "required");
        match &self.shared {
            Some(folder) => command.env("ATTNSCOPE_SHARED", folder),
            None => command.env("ATTNSCOPE_SHARED", "none"),
        };
        let chosen = std::env::var_os("VK_ICD_FILENAMES").is_some();
        if let Some(driver) = setup::vulkan_drivers().first().filter(|driver| !chosen && setup::is_lavapipe(driver)) {
            command.env("VK_ICD_FILENAMES", driver);
        }
        command
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// A program that failed without naming a failed test did not compile, crashed or was stopped.
    fn settle(mut self, succeeded: bool) -> Self {
        if !succeeded && self.failed == 0 {
            self.failed = 1;
            self.note = "did not compile or stopped early".to_owned();
        }
        self
    }
}

/// Adds up lines such as `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn count_rust(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let (mut left_out, mut counted) = (0, false);
    let succeeded = shell::watched(command, |line| {
        if let Some((_, counts)) = line.split_once("test result: ") {
            let counts = counts_in(counts);
            let of = |word| counts.get(word).copied().unwrap_or(0);
            tally.add(&Tally {
                passed: of("passed"),
                failed: of("failed"),
                skipped: of("ignored"),
                ..Tally::default()
            });
        } else if line.starts_with("---- ") {
            // The output of the next test begins; one test may name several fixtures.
            counted = false;
        } else if line.starts_with(LEFT_OUT) && !std::mem::replace(&mut counted, true) {
            left_out += 1;
        }
    })?;
    if left_out > 0 {
        // Such a test returned without checking anything, which must not read as a pass.
        tally.passed = tally.passed.saturating_sub(left_out);
        tally.skipped += left_out;
        tally.note = "fixtures in ../shared are missing".to_owned();
    }
    Ok(tally.settle(succeeded))
}

/// Adds up the closing lines of Playwright, such as `  3 passed (2.1s)`.
fn count_playwright(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let succeeded = shell::watched(command, |line| {
        let is_count = line.starts_with("  ") && line.trim_start().starts_with(|first: char| first.is_ascii_digit());
        if is_count {
            let counts = counts_in(line);
            let of = |word| counts.get(word).copied().unwrap_or(0);
            // A test that passes only at the second attempt is a failed test.
            tally.failed += of("failed") + of("flaky") + of("interrupted") + of("did");
            tally.passed += of("passed");
            tally.skipped += of("skipped");
        }
    })?;
    Ok(tally.settle(succeeded))
}

/// The numbers in a line, by the word that follows each.
fn counts_in(line: &str) -> BTreeMap<&str, usize> {
    let words: Vec<&str> = line.split([' ', ';', ',', '.']).filter(|word| !word.is_empty()).collect();
    words.windows(2).filter_map(|pair| Some((pair[1], pair[0].parse().ok()?))).collect()
}

/// The browser's settings, with its place on this machine filled in.
fn capabilities(place: &Place, browser: &Path) -> Result<PathBuf> {
    let source = place.root.join("tests").join("wasm").join("webdriver.json");
    let text = doing("read", &source, fs::read_to_string(&source))?;
    let binary = browser.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    let options = "\"goog:chromeOptions\": {";
    let filled = text.replace(options, &format!("{options}\n    \"binary\": \"{binary}\","));
    let path = place.cache.join("webdriver.json");
    doing("write", &path, fs::write(&path, filled))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_the_word_after_them() {
        let counts = counts_in("ok. 12 passed; 1 failed; 2 ignored; 0 measured; finished in 0.31s");
        assert_eq!((counts["passed"], counts["failed"], counts["ignored"]), (12, 1, 2));
        assert_eq!(counts_in("  3 passed (2.1s)")["passed"], 3);
        assert_eq!(counts_in("  4 did not run")["did"], 4);
    }

    #[test]
    fn layers_are_chosen_in_their_own_order_and_unknown_ones_refused() {
        let chosen = choose(Some("laws, tidy")).unwrap();
        assert_eq!(chosen.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["tidy", "laws"]);
        assert!(choose(Some("tidi")).is_err());
    }

    #[test]
    fn a_failed_program_counts_even_without_a_failed_test() {
        assert_eq!(Tally { passed: 3, ..Tally::default() }.settle(false).failed, 1);
        assert_eq!(Tally { passed: 3, ..Tally::default() }.settle(true).failed, 0);
    }
}
