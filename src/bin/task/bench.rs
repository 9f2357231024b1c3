//! The bench beside peers: their packages and our bundle are put in place, then `tests/bench/bench.mjs` does the rest.

use crate::bundle;
use crate::place::Place;
use crate::setup::{self, Piece};
use crate::shell::{self, Result};

/// Runs the bench; `more` is handed on to it.
pub fn bench(place: &Place, build: bool, more: &[String]) -> Result {
    setup::ensure(place, &[Piece::Node, Piece::Browser])?;
    if build {
        bundle::build(place)?;
    }
    let dist = bundle::built(place)?;
    let folder = place.root.join("tests").join("bench");
    let peers = setup::packages(place, &folder, "onnxruntime-web and wllama", "to measure beside them")?;
    let (browser, _) = setup::browser_pair()?;
    let mut bench = place.command("node");
    bench.arg(folder.join("bench.mjs")).arg("--dist").arg(dist).arg("--peers").arg(peers);
    bench.arg("--made").arg(place.cache.join("bench")).arg("--browser").arg(browser).args(more);
    shell::run(&mut bench, "the bench stopped; the lines above say why")
}
