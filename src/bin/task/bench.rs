//! The bench beside peers: their packages, our bundle and the native programs are put in place, then `tests/bench/bench.mjs`
//! does the rest.

use std::path::PathBuf;

use crate::bundle;
use crate::place::Place;
use crate::setup::{self, Piece};
use crate::shell::{self, Result, fail, say};

/// Where programs run.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    /// In a browser: onnxruntime-web and wllama.
    Web,
    /// On the machine itself: candle and burn.
    Native,
}

impl Part {
    /// What `--only` names, or both.
    pub fn chosen(only: Option<&str>) -> Result<Vec<Self>> {
        match only {
            None => Ok(vec![Self::Web, Self::Native]),
            Some("web") => Ok(vec![Self::Web]),
            Some("native") => Ok(vec![Self::Native]),
            Some(other) => fail(format!("`--only {other}` is no part of the bench; it is web or native")),
        }
    }
}

/// Runs the bench; `more` is handed on to it, and `gpu` is whether it asks for programs on a GPU.
pub fn bench(place: &Place, build: bool, parts: &[Part], gpu: bool, more: &[String]) -> Result {
    let folder = place.root.join("tests").join("bench");
    setup::ensure(place, &[Piece::Node])?;
    let mut bench = place.command("node");
    bench.arg(folder.join("bench.mjs")).arg("--made").arg(place.cache.join("bench"));
    if parts.contains(&Part::Web) {
        setup::ensure(place, &[Piece::Browser])?;
        if build {
            bundle::build(place)?;
        }
        let peers = setup::packages(place, &folder, "onnxruntime-web and wllama", "to measure beside them")?;
        let (browser, _) = setup::browser_pair()?;
        bench.arg("--dist").arg(bundle::built(place)?).arg("--peers").arg(peers).arg("--browser").arg(browser);
    }
    if parts.contains(&Part::Native) {
        bench.arg("--native").arg(native(place, build, gpu)?);
    }
    shell::run(bench.args(more), "the bench stopped; the lines above say why")
}

/// The folder of the native programs, which are a crate of their own with a lock file and a target folder of its own.
fn native(place: &Place, build: bool, gpu: bool) -> Result<PathBuf> {
    let target = place.cache.join("bench-target");
    if build {
        say("building the native programs of the bench (the first time takes minutes: candle, and burn once more)");
        let ours = if gpu { "burn-gpu" } else { "attnscope" };
        for (feature, program) in [(ours, "bench-attnscope"), ("candle", "bench-candle")] {
            let mut cargo = place.command("cargo");
            cargo.args(["build", "--release", "--locked", "--manifest-path"]);
            cargo.arg(place.root.join("tests").join("bench").join("native").join("Cargo.toml"));
            cargo.args(["--features", feature, "--bin", program]).env("CARGO_TARGET_DIR", &target);
            shell::run(&mut cargo, &format!("{program} did not build; the lines above say why"))?;
        }
    }
    Ok(target.join("release"))
}
