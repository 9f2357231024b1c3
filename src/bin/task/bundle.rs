//! The release bundle: trunk builds it, this checks it and tells its size.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::offline;
use crate::place::Place;
use crate::server::CONTENT_SECURITY_POLICY;
use crate::setup::{self, Piece};
use crate::shell::{self, Result, doing, fail, say};
use crate::wasm;

/// Further names of the one page, so that any static host serves their addresses; the program looks which it is.
const PAGES: [&str; 3] = ["papers.html", "bench.html", "learn.html"];

/// Builds `dist/`.
pub fn build(place: &Place) -> Result {
    setup::ensure(place, &[Piece::C, Piece::Node, Piece::Wasm, Piece::BINDGEN, Piece::TRUNK, Piece::WasmOpt])?;
    fetch(place)?;
    say("building the release bundle into dist/ (the first time takes minutes)");
    let mut trunk = wasm::command(place, "trunk");
    // Everything is fetched; offline, trunk never looks for tools or for a newer version of itself.
    trunk.args(["build", "--offline", "--release", "--skip-version-check"]);
    // trunk reads this variable as a switch of its own and refuses any value but true or false.
    trunk.env_remove("NO_COLOR");
    shell::run(&mut trunk, "the bundle did not build; the lines above say why")?;
    let dist = built(place)?;
    for page in PAGES {
        let copy = dist.join(page);
        doing("write", &copy, fs::copy(dist.join("index.html"), &copy))?;
    }
    judge_pages(&dist)?;
    offline::write(&dist, &files(&dist)?)?;
    report_sizes(&dist)
}

/// The folder of a bundle that has been built.
pub fn built(place: &Place) -> Result<PathBuf> {
    let dist = place.root.join("dist");
    if dist.join("index.html").is_file() {
        return Ok(dist);
    }
    fail("dist/ holds no bundle; run `cargo task build` first")
}

/// Fetches the sources of dependencies, so that what follows needs no network.
pub fn fetch(place: &Place) -> Result {
    let mut fetch = wasm::command(place, "cargo");
    fetch.args(["fetch", "--quiet", "--target", "wasm32-unknown-unknown"]);
    shell::run(&mut fetch, "cargo could not fetch the dependencies; check the network and rerun")
}

/// The content policy runs no script that stands in the page itself, and every page carries that policy.
fn judge_pages(dist: &Path) -> Result {
    for page in files(dist)?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "html")) {
        let text = doing("read", &page, fs::read_to_string(&page))?;
        let name = page.strip_prefix(dist).unwrap_or(&page).display();
        if !text.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_SECURITY_POLICY}\"")) {
            return fail(format!(
                "{name} does not carry the content policy of src/bin/task/server.rs as a meta element"
            ));
        }
        let inline =
            text.split("<script").skip(1).any(|rest| !rest.split('>').next().unwrap_or_default().contains("src="));
        if inline {
            return fail(format!(
                "{name} has an inline script, which the content policy blocks; move it to a file in www/"
            ));
        }
    }
    Ok(())
}

fn report_sizes(dist: &Path) -> Result {
    let mut code: Vec<PathBuf> = files(dist)?;
    code.retain(|path| path.extension().is_some_and(|extension| extension == "wasm" || extension == "js"));
    code.sort();
    let brotli = shell::find("brotli", &[]).is_some();
    println!("{:<28}{:>12}{:>12}", "file", "bytes", if brotli { "brotli" } else { "" });
    let (mut total, mut total_small) = (0, 0);
    for path in code {
        let bytes = doing("read", &path, fs::read(&path))?;
        let small = brotli.then(|| compressed_size(&bytes)).flatten();
        total += bytes.len();
        total_small += small.unwrap_or(0);
        let name = path.strip_prefix(dist).unwrap_or(&path).display().to_string();
        println!("{name:<28}{:>12}{:>12}", bytes.len(), small.map_or_else(String::new, |size| size.to_string()));
    }
    println!("{:<28}{total:>12}{:>12}", "all", if brotli { total_small.to_string() } else { String::new() });
    Ok(())
}

fn compressed_size(bytes: &[u8]) -> Option<usize> {
    let mut child = Command::new("brotli")
        .args(["--quality=9", "--stdout", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    std::thread::scope(|scope| {
        // Written from the side: the program answers before it has read everything.
        scope.spawn(move || input.write_all(bytes));
        child.wait_with_output().ok().map(|output| output.stdout.len())
    })
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in doing("list", folder, fs::read_dir(folder))?.flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}
