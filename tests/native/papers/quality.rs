//! What each variant costs the shipped model without training, measured and kept: `tests/golden/papers.quality.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only papers     measures anew and writes the file
//! ```
//!
//! Loss is that of held-out stories. The gain of repetition is how much less a passage costs when it stands a second time,
//! too far back for a window. Both are those of a model trained with plain softmax; they say what its heads can bear, not
//! what a model trained with the variant would reach.

use crate::fixtures;
use attnscope::engine::{Choice, Engine, Forward, Request};
use attnscope::experiment::{Chip, Experiment, Pane, link};
use attnscope::hook::{Array, Selection};
use attnscope::mechanism::Stack;
use attnscope::train::corpus;
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "tests/golden/papers.quality.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only papers";
const MODEL: &str = "stories-3m";
const SECTIONS: [&str; 3] = ["tinystories-sample", "family-stories", "fairy-tales"];
/// Tokens of each held-out text.
const TOKENS: usize = 320;
/// Tokens of the passage that is repeated; 68 of them lie behind every window here.
const PASSAGE: usize = 120;

/// Every variant, as it stands in a link.
const VARIANTS: &[&str] = &[
    "softmax",
    "streaming_window(sinks:0,window:68)",
    "streaming_window",
    "neighborhood_attention",
    "neighborhood_attention(dilation:4)",
    "neighborhood_attention(dilation:4,alternate:true)",
    "halo_attention(block:16,halo:0)",
    "halo_attention(block:16,halo:8)",
    "halo_attention(block:16,halo:32)",
    "s2_attention",
    "s2_attention(rotate:true)",
    "s2_attention(heterogeneous:false)",
    "s2_attention(dense_heads:1)",
    "duo_attention(streaming:0.25)",
    "duo_attention",
    "duo_attention(gates:profile)",
    "duo_attention(gates:random)",
    "duo_attention(inverted:true)",
    "duo_attention(streaming:0.75)",
    "softplus_reweighting(operator:lssa)",
    "softplus_reweighting(power:3)",
    "softplus_reweighting",
    "softplus_reweighting(operator:softmax_reweighted,power:3)",
    "feature_similarity(operator:linear_normalised)",
    "feature_similarity(operator:elu_normalised)",
    "attention_sink_operators(operator:key_bias)",
    "attention_sink_operators(operator:sigmoid)",
    "attention_sink_operators(operator:sigmoid_normalised)",
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// How to measure anew.
    command: String,
    model: String,
    /// What the loss is of.
    text: String,
    variants: Vec<Variant>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Variant {
    stack: String,
    /// Nats per token of held-out text.
    loss: f32,
    /// The same, of tokens at the first and at the last position of blocks of 16.
    loss_at_block_starts: f32,
    loss_at_block_ends: f32,
    /// Nats per token that a passage costs less when it is repeated.
    repetition_gain: f32,
    /// Bytes of keys and values at the end of the text.
    kv_bytes: usize,
    /// Share of causal scores that are computed.
    score_share: f32,
}

fn chips(stack: &str) -> Vec<Chip> {
    link::read(&format!("a={stack}")).unwrap().experiment.panes[0].stack.clone()
}

/// The beginning of one held-out document of each section.
fn texts(engine: &Engine, folder: &Path) -> Vec<String> {
    let mix = corpus::parse_mix(&SECTIONS.map(|file| format!("{file}=1")).join(",")).unwrap();
    let sections = corpus::read_held_out(folder, &mix).unwrap();
    let beginning = |section: &corpus::Section| {
        let long = |text: &&String| engine.tokenizer().encode(text, true).unwrap().len() > TOKENS + 8;
        let text = section.documents.iter().find(long).expect("a long document");
        // A whole number of letters that comes to about as many tokens.
        let ids = engine.tokenizer().encode(text, true).unwrap();
        engine.tokenizer().decode(&ids[1..TOKENS]).unwrap()
    };
    sections.iter().map(beginning).collect()
}

/// −log probability of each token but the first.
fn losses(logits: &Array, tokens: &[u32]) -> Vec<f32> {
    let one = |(row, token): (usize, &u32)| {
        let row = logits.at(row);
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
        sum.ln() as f32 + most - row[*token as usize]
    };
    tokens.iter().skip(1).enumerate().map(one).collect()
}

fn repetition_gain(engine: &mut Engine, texts: &[String], stack: Stack) -> f32 {
    let stack = block_on(engine.measured(stack, 0)).unwrap();
    let mut gains = Vec::new();
    for text in texts {
        let once = engine.tokenizer().encode(text, true).unwrap()[..=PASSAGE].to_vec();
        let tokens: Vec<u32> = once.iter().chain(&once[1..]).copied().collect();
        let request = Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
        let losses = losses(&block_on(engine.forward(request)).unwrap().logits, &tokens);
        // The first token of the repetition cannot be foreseen.
        gains.push(mean(losses[1..PASSAGE].iter()) - mean(losses[PASSAGE + 1..].iter()));
    }
    mean(gains.iter())
}

fn mean<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + f64::from(*value), count + 1));
    (sum / f64::from(count)) as f32
}

fn measure(engine: &mut Engine, texts: &[String], stack: &str) -> Variant {
    let mut losses: Vec<Vec<f32>> = Vec::new();
    let (mut kv_bytes, mut score_share) = (0, 0.0);
    for prompt in texts {
        let panes = vec![Pane { stack: chips(stack) }];
        let experiment = Experiment { model: MODEL.into(), prompt: prompt.clone(), panes, ..Experiment::default() };
        let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
        let pane = &outcome.panes[0];
        (kv_bytes, score_share) = (pane.price.kv_bytes, pane.price.score_share.unwrap());
        losses.push(pane.token_loss.clone());
    }
    // The loss at index r is that of the query at position r.
    let at = |place: usize| mean(losses.iter().flat_map(|text| text.iter().skip(16 + place).step_by(16)));
    let repetition_gain = repetition_gain(engine, texts, Stack::new("a", &chips(stack)).unwrap());
    Variant {
        stack: stack.into(),
        loss: mean(losses.iter().flatten()),
        loss_at_block_starts: at(0),
        loss_at_block_ends: at(15),
        repetition_gain,
        kv_bytes,
        score_share,
    }
}

#[test]
fn what_each_variant_costs_is_as_measured_and_has_the_sign_its_page_says() {
    let Some(corpus) = fixtures::fixture("../corpus") else { return };
    let mut engine = block_on(Engine::open(MODEL, Choice::Cpu)).unwrap();
    let texts = texts(&engine, &corpus);
    let bless = std::env::var_os("ATTNSCOPE_BLESS").is_some();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let variants = VARIANTS.iter().map(|stack| measure(&mut engine, &texts, stack)).collect();
    let text = format!("the first {TOKENS} tokens of a held-out document each of {}", SECTIONS.join(", "));
    let came = Measured { command: COMMAND.into(), model: MODEL.into(), text, variants };
    if bless {
        std::fs::write(&file, serde_json::to_string_pretty(&came).unwrap() + "\n").unwrap();
    }
    let stored: Measured = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored.variants.len(), came.variants.len(), "{FILE} is stale; {COMMAND} writes it anew");
    for (stored, came) in stored.variants.iter().zip(&came.variants) {
        let near = |a: f32, b: f32| (a - b).abs() < 5e-3;
        let same = stored.stack == came.stack
            && near(stored.loss, came.loss)
            && near(stored.repetition_gain, came.repetition_gain);
        assert!(same && stored.kv_bytes == came.kv_bytes, "{came:?} was {stored:?}; {COMMAND} writes it anew");
    }
    signs(&came);
}

/// What the pages say was measured.
fn signs(measured: &Measured) {
    let of = |stack: &str| measured.variants.iter().find(|variant| variant.stack == stack).expect("measured");
    let (dense, duo) = (of("softmax"), of("duo_attention"));
    // Paper 25: at equal bytes the measured gates cost little, random ones and the inverted choice many times as much.
    let (random, inverted) = (of("duo_attention(gates:random)"), of("duo_attention(inverted:true)"));
    assert_eq!([random.kv_bytes, inverted.kv_bytes], [duo.kv_bytes; 2]);
    for other in [random, inverted, of("streaming_window")] {
        assert!(other.loss - dense.loss > 4.0 * (duo.loss - dense.loss), "{other:?}");
    }
    // The gain of repetition needs the heads that look far back, and them alone.
    assert!(of("duo_attention(streaming:0.75)").repetition_gain > 0.85 * dense.repetition_gain);
    for other in [random, inverted] {
        assert!(other.repetition_gain < 0.1 * dense.repetition_gain, "{other:?}");
    }
    // Paper 60: without a halo the first token of a block pays, the last one does not; a halo repairs it.
    let (edge, halo) = (of("halo_attention(block:16,halo:0)"), of("halo_attention(block:16,halo:8)"));
    assert!(edge.loss_at_block_starts - dense.loss_at_block_starts > 1.0);
    assert!((edge.loss_at_block_ends - dense.loss_at_block_ends).abs() < 0.1);
    assert!(halo.loss_at_block_starts < edge.loss_at_block_starts - 1.0);
    // Paper 47: gaps in every layer hurt, gaps in every second one less.
    let dilated = of("neighborhood_attention(dilation:4)");
    assert!(of("neighborhood_attention(dilation:4,alternate:true)").loss < dilated.loss - 0.5);
    // Paper 43: on a model trained densely, stripes that differ by head or not cost the same loss …
    let (shards, same) = (of("s2_attention"), of("s2_attention(heterogeneous:false)"));
    assert!((shards.loss - same.loss).abs() < 0.02 && shards.loss > dense.loss);
    // … yet what stands far back is found when heads keep different ones.
    assert!(shards.repetition_gain > same.repetition_gain + 0.02);
    assert!(same.repetition_gain > of("streaming_window(sinks:0,window:68)").repetition_gain + 0.02);
    // Paper 68: sharper is nearer to softmax, and re-weighting a trained softmax hurts.
    let lssa = of("softplus_reweighting(operator:lssa)");
    assert!(of("softplus_reweighting(power:3)").loss < lssa.loss - 0.5);
    assert!(of("softplus_reweighting(operator:softmax_reweighted,power:3)").loss > dense.loss + 0.2);
    // Paper 52: a slot of logit zero costs nothing; what lifts the sum, without training, does.
    assert!((of("attention_sink_operators(operator:key_bias)").loss - dense.loss).abs() < 0.02);
    assert!(of("attention_sink_operators(operator:sigmoid)").loss > dense.loss + 3.0);
}
