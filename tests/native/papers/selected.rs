//! What chosen keys cost the shipped model without training, measured and kept: `tests/golden/papers.selected.json`, written
//! anew by `ATTNSCOPE_BLESS=1 cargo task test --only papers`.
//!
//! Loss, in nats per token, of a story nobody trained on (`www/held-out.txt`), by the processor; and how many of its best
//! keys a layer finds in the list of another.

use super::selectors::{rows, top};
use attnscope::engine::{Choice, Engine, Forward, Request};
use attnscope::experiment::{Experiment, link};
use attnscope::hook::{Selection, Site};
use attnscope::mechanism::Stack;
use attnscope::papers;
use pollster::block_on;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "tests/golden/papers.selected.json";
const COMMAND: &str = "ATTNSCOPE_BLESS=1 cargo task test --only papers";
const MODEL: &str = "stories-3m";
const LETTERS: usize = 1700;
/// Keys of a list, and tokens of the text, when lists are compared.
const LIST: usize = 16;
const TOKENS: usize = 256;

/// Every variant, as it stands in a link.
const VARIANTS: &[&str] = &[
    "softmax",
    "minference",
    "minference(pattern:a_shape)",
    "minference(pattern:vertical_slash)",
    "minference(pattern:vertical_slash,split:0.95)",
    "minference(pattern:block)",
    "minference(search:repeats)",
    "minference(judge:error)",
    "minference(tiles:true)",
    "tidal_decode(budget:32)",
    "tidal_decode(budget:32,reselect:false)",
    "tidal_decode(budget:32,lists:every_layer)",
    "tidal_decode(budget:32,lists:window)",
    "tidal_decode(budget:32,correction:64)",
    "tidal_decode(budget:32,correction:1)",
    "routing_attention",
    "routing_attention(clustering:random)",
    "routing_attention(clustering:blocks)",
    "routing_attention(mode:paper)",
    "routing_attention(mode:paper,logits:unscaled,tied:true)",
    "routing_attention(routing:0)",
];

/// Those of the card of paper 62, over the text that the card opens with.
const CARD: &[&str] = &[
    "softmax",
    "tidal_decode",
    "tidal_decode(reselect:false)",
    "tidal_decode(lists:every_layer)",
    "tidal_decode(lists:window)",
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// How to measure anew.
    command: String,
    model: String,
    /// Nats per token.
    loss: BTreeMap<String, f32>,
    /// Tokens of the text of the card of paper 62, and its loss.
    card_tokens: usize,
    card_loss: BTreeMap<String, f32>,
    /// Share of the best keys of the row's layer that the column's layer has too, `[L][L]`.
    overlap: Vec<Vec<f32>>,
    /// The same of keys drawn at random.
    chance: f32,
}

fn text() -> String {
    let story = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("www/held-out.txt")).unwrap();
    story.replace("\n\n", " ").chars().take(LETTERS).collect()
}

/// Loss of every stack over a text, and how many tokens it has.
fn losses(engine: &mut Engine, stacks: &[&str], text: &str) -> (BTreeMap<String, f32>, usize) {
    let mut tokens = 0;
    let mut loss = |stack: &&str| {
        let panes = link::read(&format!("a={stack}")).unwrap().experiment.panes;
        let experiment = Experiment { model: MODEL.into(), prompt: text.into(), panes, ..Experiment::default() };
        let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
        tokens = outcome.tokens.len();
        (stack.to_string(), outcome.panes[0].loss.unwrap())
    };
    (stacks.iter().map(&mut loss).collect(), tokens)
}

/// What the card of a paper reads.
fn text_of_card(number: u32) -> String {
    let paper = papers::all().unwrap().into_iter().find(|paper| paper.number == number).unwrap();
    paper.show.unwrap().experiment().unwrap().prompt
}

/// Overlap of the best keys of all layers under softmax, over rows that see at least four times as many, and by chance.
fn overlap(engine: &mut Engine) -> (Vec<Vec<f32>>, f32) {
    let tokens = engine.tokenizer().encode(&text(), true).unwrap()[..TOKENS].to_vec();
    let stack = Stack::new("a", &[]).unwrap();
    let request = Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::sites(&[Site::Scores]) };
    let pass = block_on(engine.forward(request)).unwrap();
    let lists: Vec<Vec<Vec<usize>>> = pass
        .captures
        .values
        .values()
        .map(|scores| {
            let late = rows(scores, TOKENS).filter(|(query, _)| *query >= 4 * LIST);
            late.map(|(_, row)| top(row, LIST)).collect()
        })
        .collect();
    let shared = |a: &[Vec<usize>], b: &[Vec<usize>]| {
        let both: usize = a.iter().zip(b).map(|(a, b)| a.iter().filter(|key| b.contains(key)).count()).sum();
        both as f32 / (a.len() * LIST) as f32
    };
    let chance = (4 * LIST..TOKENS).map(|query| LIST as f32 / (query + 1) as f32).sum::<f32>();
    (lists.iter().map(|a| lists.iter().map(|b| shared(a, b)).collect()).collect(), chance / (TOKENS - 4 * LIST) as f32)
}

#[test]
fn losses_and_lists_are_as_measured_and_have_the_sign_the_pages_say() {
    let mut engine = block_on(Engine::open(MODEL, Choice::Cpu)).unwrap();
    let (loss, _) = losses(&mut engine, VARIANTS, &text());
    let (card_loss, card_tokens) = losses(&mut engine, CARD, &text_of_card(62));
    let (overlap, chance) = overlap(&mut engine);
    let (command, model) = (COMMAND.into(), MODEL.into());
    let came = Measured { command, model, loss, card_tokens, card_loss, overlap, chance };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&came).unwrap() + "\n").unwrap();
    }
    let stored: Measured = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for (stored, came) in [(&stored.loss, &came.loss), (&stored.card_loss, &came.card_loss)] {
        assert!(stored.keys().eq(came.keys()), "{FILE} is stale; {COMMAND} writes it anew");
        for (stack, loss) in came {
            assert!((loss - stored[stack]).abs() < 5e-3, "{stack}: {loss} was {}", stored[stack]);
        }
    }
    let of = |stack: &str| came.loss[stack];
    let dense = of("softmax");
    // Paper 58: at a fifth of the pairs all shapes cost about the same here, and columns alone cost most.
    for stack in ["minference", "minference(pattern:a_shape)", "minference(pattern:vertical_slash)"] {
        assert!((0.03..0.15).contains(&(of(stack) - dense)), "{stack}");
    }
    assert!(of("minference(pattern:vertical_slash,split:0.95)") > of("minference(pattern:vertical_slash)"));
    // Paper 62, check (d): the middle layer's list serves the late layers better than the early one's; neighbours agree
    // more than layers far apart, and those more than chance. The layers are 1 and 2 of 6.
    let mean =
        |pairs: &[(usize, usize)]| pairs.iter().map(|(a, b)| came.overlap[*a][*b]).sum::<f32>() / pairs.len() as f32;
    assert!(mean(&[(3, 2), (4, 2), (5, 2)]) > mean(&[(3, 1), (4, 1), (5, 1)]));
    let apart = |step: usize| mean(&(0..6 - step).map(|layer| (layer, layer + step)).collect::<Vec<_>>());
    assert!(apart(1) > apart(4) && apart(4) > came.chance);
    // A list that each layer makes for itself is all that is needed.
    let own = of("tidal_decode(budget:32,lists:every_layer)");
    assert!(own - dense < 0.03 && of("tidal_decode(budget:32)") > own + 0.05);
    // Correcting the cache helps a little, and less than a hundredth: what sparse layers miss they miss anyway.
    let [never, now_and_then, always] =
        ["", ",correction:64", ",correction:1"].map(|more| of(&format!("tidal_decode(budget:32{more})")) - dense);
    assert!(always < now_and_then && now_and_then < never && never - always < 0.01, "{never} {now_and_then} {always}");
    // The card: over its text, first and recent keys cost several times as much as the lists, which cost more than the best.
    let more = |stack: &str| came.card_loss[stack] - came.card_loss["softmax"];
    assert!(more("tidal_decode(lists:window)") > 2.0 * more("tidal_decode"));
    assert!(more("tidal_decode") > more("tidal_decode(lists:every_layer)"));
    // Over the longer text with twice as many keys they do not.
    assert!(of("tidal_decode(budget:32,lists:window)") < of("tidal_decode(budget:32)"));
    // Paper 51: without training, clusters are worse than blocks of recent tokens.
    assert!(of("routing_attention") > of("routing_attention(clustering:blocks)"));
    assert!(of("routing_attention(routing:0)") < of("routing_attention(clustering:blocks)"));
}
