//! The release bundle: trunk builds it, this checks it and tells its size.

use std::fs;
use std::path::{Path, PathBuf};

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
    report_sizes(place, &dist)
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

/// Node compresses what its arguments name as a static host would beforehand, and tells the sizes in that order.
const COMPRESS: &str = "const z = require('zlib'), fs = require('fs'), c = z.constants; \
    for (const path of process.argv.slice(1)) { const bytes = fs.readFileSync(path); \
    console.log(z.brotliCompressSync(bytes, { params: { [c.BROTLI_PARAM_LGWIN]: 24, [c.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length); }";

fn report_sizes(place: &Place, dist: &Path) -> Result {
    let mut code: Vec<PathBuf> = files(dist)?;
    code.retain(|path| path.extension().is_some_and(|extension| extension == "wasm" || extension == "js"));
    code.sort();
    let told = shell::output(place.command("node").args(["-e", COMPRESS]).args(&code))?;
    let small: Vec<u64> = String::from_utf8_lossy(&told.stdout).lines().filter_map(|line| line.parse().ok()).collect();
    if small.len() != code.len() {
        return fail("node could not compress the bundle's files; try `node --version`, which must be 18 or newer");
    }
    println!("{:<28}{:>12}{:>12}", "file", "bytes", "brotli");
    let (mut total, mut total_small) = (0, 0);
    for (path, small) in code.iter().zip(small) {
        let bytes = doing("look at", path, fs::metadata(path))?.len();
        total += bytes;
        total_small += small;
        println!("{:<28}{bytes:>12}{small:>12}", path.strip_prefix(dist).unwrap_or(path).display());
    }
    println!("{:<28}{total:>12}{total_small:>12}", "all");
    Ok(())
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
