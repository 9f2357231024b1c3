//! What papers 11, 14 and 37 do to the shipped model without training, measured and kept:
//! `tests/golden/papers.shipped.json`.
//!
//! ```text
//! ATTNSCOPE_BLESS=1 cargo task test --only papers     measures anew and writes the file
//! ```
//!
//! Losses are nats per token of held-out stories.

use crate::fixtures;
use attnscope::engine::{Choice, Engine, Forward, Request};
use attnscope::experiment::{Experiment, Pane, link};
use attnscope::hook::{Array, Selection, Site};
use attnscope::mechanism::{Alike, Compared, Stack};
use attnscope::train::corpus;
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "tests/golden/papers.shipped.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only papers";
const MODEL: &str = "stories-3m";
const SECTIONS: [&str; 3] = ["tinystories-sample", "family-stories", "fairy-tales"];
/// Documents of each section, and tokens of each.
const DOCUMENTS: usize = 2;
const TOKENS: usize = 192;
/// Ranks of the latent, in units of all key entries.
const RANKS: [f32; 6] = [0.125, 0.25, 0.5, 1.0, 1.5, 2.0];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// How to measure anew.
    command: String,
    model: String,
    /// What the loss is of.
    text: String,
    /// Papers 11 and 14.
    variants: Vec<Variant>,
    /// Paper 14: sim(l,m) `[L,L]`, by what is compared.
    head_wise: Vec<f32>,
    averaged: Vec<f32>,
    content: Vec<f32>,
    /// Paper 37: one choice of texts each.
    splits: Vec<Split>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Variant {
    /// As it stands in a link.
    stack: String,
    loss: f32,
    /// Bytes of the cache at the end of a text.
    kv_bytes: usize,
}

/// The head whose calibration alone lowers the loss most on one half of the texts, judged on the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Split {
    head: String,
    /// How much calibrating it lowers the loss where it was chosen, and on the other half.
    gain: f32,
    held_out: f32,
    /// On the other half: every head that helped, every head of the inner layers, and as many columns beside the sinks.
    helpful: f32,
    every: f32,
    beside: f32,
}

struct Texts(Vec<String>);

impl Texts {
    fn new(engine: &Engine, folder: &Path) -> Self {
        let mix = corpus::parse_mix(&SECTIONS.map(|file| format!("{file}=1")).join(",")).unwrap();
        let sections = corpus::read_held_out(folder, &mix).unwrap();
        let beginning = |text: &String| {
            let ids = engine.tokenizer().encode(text, true).unwrap();
            (ids.len() > TOKENS + 8).then(|| engine.tokenizer().decode(&ids[1..TOKENS]).unwrap())
        };
        let of = |section: &corpus::Section| -> Vec<String> {
            let texts: Vec<_> = section.documents.iter().filter_map(beginning).take(DOCUMENTS).collect();
            assert_eq!(texts.len(), DOCUMENTS, "{} has too few long documents", section.file);
            texts
        };
        Self(sections.iter().flat_map(of).collect())
    }
}

/// Mean loss over texts, and the bytes of the cache.
fn cost<'a>(engine: &mut Engine, texts: impl Iterator<Item = &'a String>, stack: &str) -> (f32, usize) {
    let (mut sum, mut count, mut bytes) = (0.0, 0, 0);
    let chips = link::read(&format!("a={stack}")).unwrap().experiment.panes[0].stack.clone();
    for prompt in texts {
        let panes = vec![Pane { stack: chips.clone() }];
        let experiment = Experiment { model: MODEL.into(), prompt: prompt.clone(), panes, ..Experiment::default() };
        let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
        let pane = &outcome.panes[0];
        sum += pane.token_loss.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        count += pane.token_loss.len();
        bytes = pane.price.kv_bytes;
    }
    ((sum / count as f64) as f32, bytes)
}

fn variants() -> Vec<String> {
    let latent = |more: String| format!("trans_mla(mode:compressed,{more})");
    let mut all: Vec<String> =
        ["softmax", "trans_mla", "trans_mla(noise:0.1)", "trans_mla(noise:0.5)"].map(Into::into).into();
    for rank in RANKS {
        all.push(latent(format!("rank:{rank}")));
        all.push(latent(format!("rank:{rank},balanced:false")));
        all.push(latent(format!("rank:{rank},latent:separate")));
    }
    for rope_heads in [0.0, 0.25, 0.5, 1.0, 2.0, 3.0] {
        all.push(latent(format!("rank:2,rope_heads:{rope_heads}")));
        all.push(latent(format!("rank:2,rope_heads:{rope_heads},rorope:false")));
    }
    for freq_fold in [2, 4, 8] {
        all.push(latent(format!("rank:2,freq_fold:{freq_fold}")));
    }
    for block in [2, 3, 4] {
        all.push(format!("echo_att(block:{block})"));
    }
    all.push("echo_att(heads:most_alike)".into());
    for (leader, follower) in PAIRS {
        all.push(format!("echo_att(mode:pair,leader:{leader},follower:{follower})"));
    }
    all
}

/// Inner layers of the model, two by two.
const PAIRS: [(usize, usize); 6] = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)];

fn similarity(engine: &mut Engine, texts: &Texts) -> [Vec<f32>; 3] {
    let plain = Stack::new("a", &[]).unwrap();
    let mut patterns = Vec::new();
    for text in &texts.0 {
        let mut tokens = engine.tokenizer().encode(text, true).unwrap();
        tokens.truncate(128);
        let wants = Selection::sites(&[Site::Pattern]);
        let request = Request { tokens: &tokens, stack: &plain, seed: 0, wants };
        let captures = block_on(engine.forward(request)).unwrap().captures;
        let layers: Vec<f32> = captures.values.values().flat_map(|map| map.data.clone()).collect();
        let (l, h) = (engine.config().layers, engine.config().heads);
        patterns.push(Array::new([l, h, tokens.len(), tokens.len()], layers).unwrap());
    }
    [Compared::HeadWise, Compared::Averaged, Compared::Content].map(|compared| Alike::new(&patterns, compared).matrix())
}

/// Calibration without looking ahead, else the loss would profit from what follows.
fn act(more: &str) -> String {
    format!("attention_calibration(mode:prefix{more})")
}

/// Texts 0, 3, 6, … + `split` choose, the others judge.
fn split(engine: &mut Engine, texts: &Texts, split: usize) -> Split {
    let chooses = |index: usize| index % 3 == split;
    let half = |chosen: bool| {
        texts.0.iter().enumerate().filter(move |(index, _)| chooses(*index) == chosen).map(|(_, text)| text)
    };
    let plain = [true, false].map(|chosen| cost(engine, half(chosen), "softmax").0);
    let mut gains = Vec::new();
    let layers = engine.config().layers;
    for layer in 2..layers - 1 {
        for head in 0..engine.config().heads {
            let stack = act(&format!(",heads:one,layer:{layer},head:{head}"));
            gains.push((plain[0] - cost(engine, half(true), &stack).0, layer, head));
        }
    }
    let (gain, layer, head) = gains.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let mut judged = |more: &str| plain[1] - cost(engine, half(false), &act(more)).0;
    Split {
        head: format!("L{layer}H{head}"),
        gain,
        held_out: judged(&format!(",heads:one,layer:{layer},head:{head}")),
        helpful: judged(",heads:calibrated"),
        every: judged(""),
        beside: judged(",columns:after_sinks"),
    }
}

fn measure(engine: &mut Engine, texts: &Texts) -> Measured {
    let variant = |stack: String| {
        let (loss, kv_bytes) = cost(engine, texts.0.iter(), &stack);
        Variant { stack, loss, kv_bytes }
    };
    let variants = variants().into_iter().map(variant).collect();
    let [head_wise, averaged, content] = similarity(engine, texts);
    let splits = (0..3).map(|index| split(engine, texts, index)).collect();
    let text = format!("the first {TOKENS} tokens of {DOCUMENTS} held-out documents each of {}", SECTIONS.join(", "));
    Measured { command: COMMAND.into(), model: MODEL.into(), text, variants, head_wise, averaged, content, splits }
}

#[test]
fn what_calibration_echoes_and_latents_do_is_as_measured() {
    let Some(corpus) = fixtures::fixture("../corpus") else { return };
    let mut engine = block_on(Engine::open(MODEL, Choice::Cpu)).unwrap();
    let texts = Texts::new(&engine, &corpus);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        let came = measure(&mut engine, &texts);
        std::fs::write(&file, serde_json::to_string_pretty(&came).unwrap() + "\n").unwrap();
    }
    let stored: Measured = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        stored.variants.iter().map(|variant| variant.stack.clone()).collect::<Vec<_>>(),
        variants(),
        "{FILE} is stale; {COMMAND} writes it anew"
    );
    // All of it takes minutes; every ninth variant notices a change of any kind.
    for stored in stored.variants.iter().step_by(9) {
        let (loss, kv_bytes) = cost(&mut engine, texts.0.iter(), &stored.stack);
        let same = (loss - stored.loss).abs() < 2e-3 && kv_bytes == stored.kv_bytes;
        assert!(same, "{stored:?} came as {loss}, {kv_bytes}; {COMMAND} writes it anew");
    }
    signs(&stored);
}

/// What the pages say was measured.
fn signs(measured: &Measured) {
    let of = |stack: &str| measured.variants.iter().find(|variant| variant.stack == stack).expect("measured");
    let plain = of("softmax");
    // Paper 11: the exact form is exact; the loss never falls with a smaller rank, and is that of partial positions at full
    // rank; turned heads hold more; keys brought to the size of values lose less at half of the latent.
    assert!((of("trans_mla").loss - plain.loss).abs() < 1e-4 && of("trans_mla").kv_bytes == plain.kv_bytes);
    let latent = |more: &str| of(&format!("trans_mla(mode:compressed,{more})"));
    for ranks in RANKS.windows(2) {
        let [small, large] = [ranks[0], ranks[1]].map(|rank| latent(&format!("rank:{rank}")));
        assert!(small.loss > 0.995 * large.loss && small.kv_bytes < large.kv_bytes);
    }
    assert!((latent("rank:2").loss - latent("rank:2,rope_heads:1").loss).abs() < 1e-3);
    assert!((latent("rank:2,rope_heads:3").loss - plain.loss).abs() < 1e-3, "every head keeps positions");
    assert!(latent("rank:2,rope_heads:1").loss < latent("rank:2,rope_heads:1,rorope:false").loss - 0.2);
    assert!(latent("rank:2,freq_fold:2").loss < latent("rank:2").loss);
    assert!(latent("rank:2,freq_fold:8").loss > latent("rank:2").loss + 0.5);
    assert!(latent("rank:0.5").loss < latent("rank:0.5,balanced:false").loss);
    assert!(latent("rank:0.5").loss < latent("rank:0.5,latent:separate").loss);
    // Paper 14: copying the most alike inner pair costs less than the least alike one; a copied layer drops its keys.
    let layers = measured.head_wise.len().isqrt();
    let alike = |(l, m): &(usize, usize)| measured.head_wise[l * layers + m];
    let most = PAIRS.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).unwrap();
    let least = PAIRS.iter().min_by(|a, b| alike(a).total_cmp(&alike(b))).unwrap();
    let pair = |(l, m): &(usize, usize)| of(&format!("echo_att(mode:pair,leader:{l},follower:{m})"));
    assert!(plain.loss < pair(most).loss && pair(most).loss < pair(least).loss);
    assert_eq!(pair(most).kv_bytes, plain.kv_bytes / (2 * layers) * (2 * layers - 1));
    assert!(of("echo_att(heads:most_alike)").loss < of("echo_att(block:2)").loss);
    // Paper 37: the best head of one part gains there and does not elsewhere; calibrating every head hurts much more.
    for split in &measured.splits {
        assert!(split.gain > 0.0 && split.held_out < 0.0, "{split:?}");
        assert!(split.every < -0.1 && split.beside > split.every && split.helpful > split.every, "{split:?}");
    }
}
