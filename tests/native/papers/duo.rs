//! Paper 25: gates that are measured on the model, and what a stack of retrieval and streaming heads keeps.

use crate::tiny;
use attnscope::engine::{Choice, Engine, Forward, Request};
use attnscope::experiment::{Chip, Experiment, Pane};
use attnscope::hook::{Array, Selection};
use attnscope::mechanism::{Probed, Stack, places};
use attnscope::model::attention::default_inputs;
use attnscope::model::load;
use attnscope::model::load::{Precision, save_safetensors};
use pollster::block_on;

fn duo() -> Chip {
    Chip::new("duo_attention").with("sinks", 2.0).with("window", 5.0)
}

fn stack(chip: Chip) -> Stack {
    Stack::new("a", &[chip]).unwrap()
}

fn engine(choice: Choice) -> Engine {
    block_on(Engine::new(load("tiny", &tiny::model().2).unwrap(), choice)).unwrap()
}

/// The gates of every layer under `chip`, as a pass would read them.
fn gates(stack: &Stack) -> Vec<f32> {
    let layer = |layer| default_inputs(stack, layer, tiny::HEADS, tiny::KV_HEADS, tiny::HEAD_WIDTH, 0).remove(0).data;
    (0..tiny::LAYERS).flat_map(layer).collect()
}

const LEAD: usize = 1;
const HALF: usize = 20;

/// One layer of four heads over two key–value heads: head 2 looks up what came after the earlier occurrence at a share of
/// the queries, head 1 looks half of its weight far back, the others look at themselves.
fn probed(share: usize) -> Probed {
    let tokens = LEAD + 2 * HALF;
    let mut data = vec![0.0; 4 * tokens * tokens];
    for head in 0..4 {
        for query in 0..tokens {
            let mut put = |key: usize, weight: f32| data[(head * tokens + query) * tokens + key] += weight;
            let retrieves = head == 2 && query >= LEAD + HALF && query % 4 < share;
            if retrieves {
                put(query + 1 - HALF, 1.0);
            } else if head == 1 {
                put(query / 2, 0.5);
                put(query, 0.5);
            } else {
                put(query, 1.0);
            }
        }
    }
    Probed {
        layers: 1,
        heads: 4,
        kv_heads: 2,
        lead: LEAD,
        half: HALF,
        patterns: vec![Array::new([1, 4, tokens, tokens], data).unwrap()],
        noise: vec![0.7, 0.1],
        ..Probed::default()
    }
}

/// The mean over the second halves, and the neediest head of each group.
#[test]
fn gates_follow_what_heads_do_on_probes() {
    let needs = |share| probed(share).needs(|row, query| if row[query + 1 - HALF] > 0.5 { 1.0 } else { 0.0 });
    assert_eq!((needs(4), needs(2)), (vec![0.0, 1.0], vec![0.0, 0.5]));
    let measured = |chip: Chip| {
        let mut stack = stack(chip);
        stack.measure(&probed(4));
        default_inputs(&stack, 0, 4, 2, 4, 0).remove(0).data
    };
    // Head 2 retrieves and lies in the second group; head 1, in the first, loses the most weight to a window of 5.
    assert_eq!(measured(duo()), [0.25, 0.75]);
    assert_eq!(measured(duo().with("inverted", true)), [0.75, 0.25]);
    assert_eq!(measured(duo().with("gates", "random")), [0.75, 0.25]);
    let weak = |chip: Chip| {
        let mut stack = stack(chip);
        stack.measure(&probed(1));
        default_inputs(&stack, 0, 4, 2, 4, 0).remove(0).data
    };
    assert_eq!(
        weak(duo().with("gates", "profile")),
        [0.75, 0.25],
        "half of head 1's weight against a quarter of head 2's"
    );
    assert_eq!(places(&[2.0, 2.0, 1.0]), [0.5, 5.0 / 6.0, 1.0 / 6.0]);
}

/// Without a model there is nothing to measure, and the gates are even noise.
#[test]
fn gates_that_nobody_measured_are_noise() {
    let gates = gates(&stack(duo()));
    assert!(gates.iter().all(|gate| (0.0..1.0).contains(gate)));
    assert_ne!(gates, places(&gates));
}

/// Gates belong to the model: another seed changes the random ones only, and every share streams exactly that many heads.
#[test]
fn gates_are_those_of_the_model() {
    let mut engine = engine(Choice::Cpu);
    let mut measured = |chip: Chip, seed: u64| gates(&block_on(engine.measured(stack(chip), seed)).unwrap());
    for source in ["retrieval", "profile", "random"] {
        let chip = || duo().with("gates", source);
        let mut gates = measured(chip(), 1);
        assert_eq!(gates == measured(chip(), 2), source != "random", "{source}");
        gates.sort_by(f32::total_cmp);
        assert_eq!(gates, [0.125, 0.375, 0.625, 0.875], "{source}");
    }
}

/// Check 3: bytes are 2 · 4 · D · (g_ret · n + g_str · min(n, s + w)), summed over layers, for every share.
#[test]
fn two_caches_have_their_bytes() {
    let mut engine = engine(Choice::Cpu);
    let all = tiny::LAYERS * tiny::KV_HEADS;
    for (streaming, streamed) in [(0.0, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)] {
        for prompt in ["abc", &"a".repeat(40)] {
            let panes = vec![Pane { stack: vec![duo().with("streaming", streaming)] }];
            let experiment = Experiment { model: "tiny".into(), prompt: prompt.into(), panes, ..Experiment::default() };
            let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
            let n = outcome.tokens.len();
            let bytes = 2 * 4 * tiny::HEAD_WIDTH * ((all - streamed) * n + streamed * n.min(2 + 5));
            assert_eq!(outcome.panes[0].price.kv_bytes, bytes, "{streaming} at {n} tokens");
        }
    }
}

/// Check 2: decoding step by step under measured gates is the masked pass up to n = 3 (s + w); the two ends are plain
/// attention and the streaming mask in every head.
#[test]
fn decoding_two_caches_is_the_masked_pass() {
    let mut engine = engine(Choice::Cpu);
    let tokens: Vec<u32> = (0..21).map(|index| 1 + index * 17 % 95).collect();
    let mut whole = |chip: Chip| {
        let stack = block_on(engine.measured(stack(chip), 0)).unwrap();
        let request = Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
        let logits = block_on(engine.forward(request)).unwrap().logits;
        let mut decoder = engine.processor().decoder(&stack, 0);
        for count in 1..=tokens.len() {
            let step = decoder.logits(&tokens[..count]).unwrap();
            let worst = step.iter().zip(logits.at(count - 1)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "step {count} differs by {worst}");
        }
        logits
    };
    let window = || Chip::new("streaming_window").with("sinks", 2.0).with("window", 5.0);
    let (dense, streaming) = (whole(Chip::new("softmax")), whole(window()));
    assert_eq!(whole(duo().with("streaming", 0.0)), dense);
    assert_eq!(whole(duo().with("streaming", 1.0)), streaming);
    let half = whole(duo());
    assert!(half != dense && half != streaming);
    // Check 1: a window as long as the text makes gates irrelevant.
    assert_eq!(whole(duo().with("window", 21.0).with("streaming", 1.0)), dense);
}

/// Check 3: with the key–value heads of every layer in another order, and their queries and outputs with them, no logit
/// changes; the gates, measured anew, are those of the heads they belong to.
#[test]
fn the_order_of_heads_is_no_matter() {
    let (config, weights, files) = tiny::model();
    let group = tiny::HEADS / tiny::KV_HEADS * tiny::HEAD_WIDTH;
    let mut turned = weights.clone();
    for layer in 0..tiny::LAYERS {
        // Columns of the first three, rows of the last, by key–value head.
        for (name, width) in [("q", group), ("k", tiny::HEAD_WIDTH), ("v", tiny::HEAD_WIDTH)] {
            let array = turned.0.get_mut(&format!("blocks.{layer}.attn.w_{name}")).unwrap();
            array.data.chunks_mut(tiny::KV_HEADS * width).for_each(|row| row.rotate_left(width));
        }
        let array = turned.0.get_mut(&format!("blocks.{layer}.attn.w_o")).unwrap();
        array.data.rotate_left(group * config.width);
    }
    let file = save_safetensors(&config, &turned, Precision::F32).unwrap();
    let files = files.with("model.safetensors", file);
    let mut other = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Cpu)).unwrap();
    let tokens: Vec<u32> = (0..21).map(|index| 1 + index * 17 % 95).collect();
    let measured = |engine: &mut Engine| {
        let stack = block_on(engine.measured(stack(duo()), 0)).unwrap();
        let request = Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
        (block_on(engine.forward(request)).unwrap().logits.data, gates(&stack))
    };
    let (logits, gates) = measured(&mut engine(Choice::Cpu));
    let (same, turned) = measured(&mut other);
    assert!(logits.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-5));
    let moved: Vec<f32> = turned.chunks(tiny::KV_HEADS).flat_map(|layer| [layer[1], layer[0]]).collect();
    assert_eq!(gates, moved);
    assert_ne!(gates, turned);
}

/// Both engines read the same gates.
#[test]
fn the_gpu_streams_the_same_heads() {
    let prompt = "The quick brown fox jumps over the lazy dog";
    let panes = vec![Pane { stack: vec![duo()] }];
    let experiment = Experiment { model: "tiny".into(), prompt: prompt.into(), panes, ..Experiment::default() };
    let run = |choice| block_on(engine(choice).run(&experiment, async || false)).unwrap().panes.remove(0);
    let (cpu, gpu) = (run(Choice::Cpu), run(Choice::Gpu));
    let worst = cpu.logits.iter().zip(&gpu.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
    assert_eq!(cpu.price.score_share, gpu.price.score_share);
    assert!((0.2..0.9).contains(&cpu.price.score_share.unwrap()), "{:?}", cpu.price.score_share);
}
