//! What a build is called, so that every number says what computed it.
//!
//! `ATTNSCOPE_BUILD` is the package's version, and behind a `+` the commit, with `.dirty` where files differ from it; outside
//! a checkout the version alone. `mechanism_versions.rs` has a version per mechanism, made of the text of its two twins: it
//! changes when and only when a definition does. `mechanism_pages.rs` has the module comment of each. Standard library only.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    for watched in ["src", "shaders", "Cargo.toml", ".cargo/build.rs", ".git/HEAD", ".git/logs/HEAD"] {
        // A path that does not exist would make every build start over.
        if Path::new(watched).exists() {
            println!("cargo::rerun-if-changed={watched}");
        }
    }
    let number = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let build = commit().map_or(number.clone(), |commit| format!("{number}+{commit}"));
    println!("cargo::rustc-env=ATTNSCOPE_BUILD={build}");
    let out = env::var("OUT_DIR").unwrap_or_default();
    let stems = stems();
    for (name, of) in [("versions", version as fn(&str) -> String), ("pages", page)] {
        let rows: String = stems.iter().map(|stem| format!("({stem:?}, {:?}), ", of(stem))).collect();
        if let Err(problem) = fs::write(Path::new(&out).join(format!("mechanism_{name}.rs")), format!("&[{rows}]")) {
            println!("cargo::error=the {name} of mechanisms cannot be written: {problem}");
        }
    }
}

/// The commit of this checkout. A checkout around an unpacked package is not meant, hence the look at `.git`.
fn commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "shaders", "Cargo.toml", "Cargo.lock"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}.dirty") })
}

/// The names of the files in `src/mechanism`.
fn stems() -> Vec<String> {
    let folder = fs::read_dir("src/mechanism").into_iter().flatten().flatten();
    let mut stems: Vec<String> =
        folder.filter_map(|file| file.file_name().to_string_lossy().strip_suffix(".rs").map(str::to_owned)).collect();
    stems.sort();
    stems
}

/// Eight digits made of both twins.
fn version(stem: &str) -> String {
    let text = [format!("src/mechanism/{stem}.rs"), format!("shaders/mechanism/{stem}.wgsl")];
    // FNV-1a: a name for a text, not a lock on it.
    let bytes = text.iter().flat_map(|file| fs::read(file).unwrap_or_default());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
}

/// The module comment as Markdown.
fn page(stem: &str) -> String {
    let text = fs::read_to_string(format!("src/mechanism/{stem}.rs")).unwrap_or_default();
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}
