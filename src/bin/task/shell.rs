//! Running programs, and the one error type: a sentence that names the remedy.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What went wrong and what to do about it, in one sentence.
#[derive(Debug)]
pub struct Failure(pub String);

/// The result of every task.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// A failure with this sentence.
pub fn fail<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Failure(sentence.into()))
}

/// One short line about what happens next and why.
pub fn say(line: &str) {
    println!("· {line}");
}

/// Adds what was being done to an input/output error.
pub fn doing<T>(what: &str, path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| {
        Failure(format!("could not {what} {}: {error}; free the path or its permissions and rerun", path.display()))
    })
}

/// Runs with the terminal attached; `false` when the program reported failure.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    command.status().map(|status| status.success()).map_err(|error| not_started(command, &error))
}

/// Runs with the terminal attached; `remedy` is the sentence in case of failure.
pub fn run(command: &mut Command, remedy: &str) -> Result {
    if succeeds(command)? { Ok(()) } else { fail(remedy) }
}

/// Runs with the output collected.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))
}

/// The first line that a program prints with this argument, when it runs at all.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Runs with standard output passed on line by line and shown to `watch`; `false` when the program reported failure.
pub fn watched(command: &mut Command, mut watch: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| not_started(command, &error))?;
    if let Some(stdout) = child.stdout.take() {
        // Bytes, not lines of UTF-8: a test may print anything.
        for line in BufReader::new(stdout).split(b'\n').map_while(std::io::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            watch(&line);
        }
    }
    child.wait().map(|status| status.success()).map_err(|error| not_started(command, &error))
}

/// Runs silently for at most `limit`; `false` when it failed or took longer.
pub fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else { return false };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(100)),
            _ => {
                let _already_gone = child.kill();
                let _status = child.wait();
                return false;
            }
        }
    }
}

/// Where a program lies, searched in the given folders and then in `PATH`.
pub fn find(program: &str, first: &[PathBuf]) -> Option<PathBuf> {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    first
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    let program = Path::new(command.get_program());
    let name = program.file_name().map_or_else(|| program.to_string_lossy(), OsStr::to_string_lossy);
    Failure(format!("`{name}` could not be started ({error}); install it or run `cargo task setup`"))
}
