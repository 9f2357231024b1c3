//! `cargo task`: everything a visitor or a developer does, as one command each.
//!
//! Standard library only, so that it compiles in seconds on a machine that has nothing but a Rust toolchain. Each
//! command first does whatever set-up it needs and is missing, says so in one line, and may be interrupted and rerun
//! at any moment: everything is made beside its final place and renamed into it.
//!
//! | File | What it does |
//! |---|---|
//! | `place` | the checkout and the cache folder; the environment that sub-commands run in |
//! | `shell` | running programs, the one error type |
//! | `setup` | which pieces a command needs, installed where missing |
//! | `wasm` | the wasm32 target, by rustup or from Debian's sources |
//! | `bundle` | trunk, and how large the result is |
//! | `offline` | the list of files that the service worker keeps |
//! | `server` | the static file server that `serve` and the browser tests share |
//! | `layers` | the test layers and their table |
//! | `bench` | the bench beside peers |
//! | `lints` | formatting, clippy, spelling, licences, documentation |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]

#[path = "task/bench.rs"]
mod bench;
#[path = "task/bundle.rs"]
mod bundle;
#[path = "task/layers.rs"]
mod layers;
#[path = "task/lints.rs"]
mod lints;
#[path = "task/offline.rs"]
mod offline;
#[path = "task/place.rs"]
mod place;
#[path = "task/server.rs"]
mod server;
#[path = "task/setup.rs"]
mod setup;
#[path = "task/shell.rs"]
mod shell;
#[path = "task/wasm.rs"]
mod wasm;

use std::net::TcpListener;
use std::process::ExitCode;

use place::Place;
use setup::Piece;
use shell::{Failure, Result, fail, say};

const HELP: &str = "\
Usage: cargo task COMMAND

  serve [--port N] [--no-build]  build the page and serve it on 127.0.0.1 (port 8080)
  test [--only LAYER,...]        run every test layer, cheap ones first
  build                          build the release bundle into dist/
  setup                          install whatever the commands above need
  bench [--no-build] [--only web|native] [--gpu] [--models NAME,...] [--repeats N]
                                 measure the engine beside onnxruntime-web and wllama in a browser, and beside candle and
                                 burn natively; see tests/bench/README.md
  reliability [--soak SECONDS]   inject faults, count leaks, run random actions; writes tests/RELIABILITY.md
  check                          formatting, clippy (native and wasm), spelling, licences, documentation
  clean [--all]                  remove dist/ and everything compiled; with --all the installed tools too
  help                           this text

Tools and compiled files live in $ATTNSCOPE_CACHE, by default ~/.cache/attnscope.
ATTNSCOPE_CHROMIUM and ATTNSCOPE_CHROMEDRIVER name a browser in an unusual place.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(sentence)) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result {
    let Some((command, rest)) = arguments.split_first() else {
        println!("{HELP}");
        return Ok(());
    };
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let mut options = Options { command, rest: rest.to_vec() };
    match command.as_str() {
        "serve" => {
            let port = options.value("--port")?;
            let build = !options.flag("--no-build");
            options.finish()?;
            serve(&Place::find()?, port_number(port)?, build)
        }
        "build" => {
            options.finish()?;
            bundle::build(&Place::find()?)
        }
        "test" => {
            let only = options.value("--only")?;
            options.finish()?;
            layers::test(&Place::find()?, only.as_deref())
        }
        "setup" => {
            options.finish()?;
            let place = Place::find()?;
            setup::ensure(&place, Piece::ALL)?;
            say(&format!("everything is in place (cache: {})", place.cache.display()));
            Ok(())
        }
        "bench" => {
            let build = !options.flag("--no-build");
            let parts = bench::Part::chosen(options.value("--only")?.as_deref())?;
            let mut more = Vec::new();
            for name in ["--models", "--programs", "--repeats", "--tokens"] {
                if let Some(value) = options.value(name)? {
                    more.extend([name.to_owned(), value]);
                }
            }
            let gpu = options.flag("--gpu");
            if gpu {
                more.push("--gpu".to_owned());
            }
            options.finish()?;
            bench::bench(&Place::find()?, build, &parts, gpu, &more)
        }
        "reliability" => {
            let soak = options.value("--soak")?;
            options.finish()?;
            layers::reliability(&Place::find()?, soak.as_deref())
        }
        "check" => {
            options.finish()?;
            lints::check(&Place::find()?)
        }
        "clean" => {
            let all = options.flag("--all");
            options.finish()?;
            Place::find()?.clean(all)
        }
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => fail(format!("`{other}` is not a command; `cargo task help` lists them")),
    }
}

fn serve(place: &Place, port: u16, build: bool) -> Result {
    // Taken before the build, so that a busy port is reported at once and not minutes later.
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
        Failure(match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("port {port} is in use; choose another with `cargo task serve --port {}`", port.wrapping_add(1))
            }
            _ => format!("cannot listen on port {port} ({error}); choose another with `cargo task serve --port N`"),
        })
    })?;
    if build {
        bundle::build(place)?;
    }
    let dist = bundle::built(place)?;
    let address =
        listener.local_addr().map_err(|error| Failure(format!("the server's address is unknown: {error}")))?;
    println!("attnscope is at http://{address}/  (Ctrl-C stops it)");
    server::serve(&listener, &dist);
    Ok(())
}

fn port_number(text: Option<String>) -> Result<u16> {
    match text {
        None => Ok(8080),
        Some(text) => {
            text.parse().map_err(|_| Failure(format!("`--port {text}` must be a number from 0 to 65535 (0: any free)")))
        }
    }
}

/// The arguments after the command; whatever nobody asked for is refused by name.
struct Options<'a> {
    command: &'a str,
    rest: Vec<String>,
}

impl Options<'_> {
    fn flag(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|argument| argument != name);
        self.rest.len() < before
    }

    /// The value of `--name VALUE` or `--name=VALUE`; repeated values are joined with commas.
    fn value(&mut self, name: &str) -> Result<Option<String>> {
        let mut found: Vec<String> = Vec::new();
        let mut others = Vec::new();
        let mut arguments = std::mem::take(&mut self.rest).into_iter();
        while let Some(argument) = arguments.next() {
            if argument == name {
                match arguments.next() {
                    Some(value) => found.push(value),
                    None => return fail(format!("`{name}` needs a value; `cargo task help` shows how")),
                }
            } else if let Some(value) = argument.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                found.push(value.to_owned());
            } else {
                others.push(argument);
            }
        }
        self.rest = others;
        Ok((!found.is_empty()).then(|| found.join(",")))
    }

    fn finish(self) -> Result {
        match self.rest.first() {
            None => Ok(()),
            Some(argument) => fail(format!(
                "`cargo task {}` does not know `{argument}`; `cargo task help` lists its options",
                self.command
            )),
        }
    }
}
