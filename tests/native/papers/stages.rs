//! What mechanisms that act in stages cost the shipped model without training, measured and kept:
//! `tests/golden/papers.stages.json`, written anew by `ATTNSCOPE_BLESS=1 cargo task test --only papers`.
//!
//! Loss, in nats per token, of a story nobody trained on (`www/held-out.txt`), by the processor.

use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, link};
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "tests/golden/papers.stages.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only papers";
const MODEL: &str = "stories-3m";
const LETTERS: usize = 1700;

/// Every variant, as it stands in a link.
const VARIANTS: &[&str] = &[
    "softmax",
    "lightning_attention",
    "lightning_attention(decay:none)",
    "hyper_attention(block:64,n_min:64,samples:0)",
    "hyper_attention(block:64,n_min:64,samples:16)",
    "hyper_attention(block:64,n_min:64,samples:64)",
    "hyper_attention(block:64,n_min:64,samples:256)",
    "hyper_attention(block:64,n_min:64,order:random,samples:64)",
    "scatterbrain(window:32)",
    "scatterbrain(features:0,window:32)",
    "scatterbrain(features:0,window:64)",
    "scatterbrain(support:none)",
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// How to measure anew.
    command: String,
    model: String,
    /// Nats per token.
    loss: BTreeMap<String, f32>,
}

#[test]
fn losses_are_as_measured_and_have_the_sign_the_pages_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let story = std::fs::read_to_string(root.join("www/held-out.txt")).unwrap().replace("\n\n", " ");
    let prompt: String = story.chars().take(LETTERS).collect();
    let mut engine = block_on(Engine::open(MODEL, Choice::Cpu)).unwrap();
    let mut loss = |stack: &&str| {
        let panes = link::read(&format!("a={stack}")).unwrap().experiment.panes;
        let experiment = Experiment { model: MODEL.into(), prompt: prompt.clone(), panes, ..Experiment::default() };
        let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
        (stack.to_string(), outcome.panes[0].loss.unwrap())
    };
    let loss = VARIANTS.iter().map(&mut loss).collect();
    let came = Measured { command: COMMAND.into(), model: MODEL.into(), loss };
    let file = root.join(FILE);
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&came).unwrap() + "\n").unwrap();
    }
    let stored: Measured = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(stored.loss.keys().eq(came.loss.keys()), "{FILE} is stale; {COMMAND} writes it anew");
    for (stack, loss) in &came.loss {
        assert!((loss - stored.loss[stack]).abs() < 5e-3, "{stack}: {loss} was {}", stored.loss[stack]);
    }
    let of = |stack: &str| came.loss[stack];
    let exact = of("softmax");
    // Paper 38, check (f): more samples come closer, none is worst, and chance finds less than the hash.
    let sampled = [0, 16, 64, 256].map(|m| of(&format!("hyper_attention(block:64,n_min:64,samples:{m})")));
    assert!(sampled.is_sorted_by(|less, more| less > more) && sampled[3] > exact, "{sampled:?}");
    assert!(of("hyper_attention(block:64,n_min:64,order:random,samples:64)") > sampled[2]);
    // Paper 56, check (d), the other way round: a window twice as long beats a window with features at as many floats.
    assert!(of("scatterbrain(features:0,window:64)") < of("scatterbrain(window:32)"));
    assert!(of("scatterbrain(support:none)") > exact + 1.0);
    // Paper 61: a model trained with softmax does not survive the change.
    assert!(of("lightning_attention") > exact + 3.0);
}
