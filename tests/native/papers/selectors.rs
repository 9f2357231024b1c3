//! Papers 62, 58 and 51: what choosing keys must do beyond the laws.

use super::super::model::{lively, some_tokens};
use attnscope::engine::{Forward, Request};
use attnscope::experiment::{Chip, link};
use attnscope::gpu::{Device, GpuModel, parity::check_stack};
use attnscope::hook::{ActivationCache, Array, Selection, Site};
use attnscope::mechanism::{MASKED, Stack, Tolerance};
use attnscope::model::attention::{default_inputs, normal};
use attnscope::model::step::{Given, apply};
use attnscope::model::{Config, CpuModel};
use pollster::block_on;
use std::rc::Rc;

const LAYERS: usize = 5;

/// A stack as it stands in a link.
fn stack(text: &str) -> Stack {
    let chips: Vec<Chip> = link::read(&format!("a={text}")).unwrap().experiment.panes[0].stack.clone();
    Stack::new("a", &chips).unwrap()
}

fn config() -> Config {
    Config { context: 96, ..Config::llama(29, 24, LAYERS, 4, 2, 32) }
}

/// Logits and captures of the small model of five layers.
fn run(text: &str, tokens: usize) -> (Vec<f32>, ActivationCache) {
    let config = config();
    let model = CpuModel::new(&config, &lively(&config, 6)).unwrap();
    let mut seen = ActivationCache::new(Selection::sites(&[Site::Scores, Site::Pattern, Site::K]));
    let logits = model.run(&[&some_tokens(config.vocabulary, tokens)], &stack(text), 0, &mut seen).unwrap();
    (logits.data, seen)
}

/// Rows of the captured maps of one layer: head, query, and its keys.
pub(super) fn rows(array: &Array, n: usize) -> impl Iterator<Item = (usize, &[f32])> {
    array.data.chunks(n).enumerate().map(move |(row, keys)| (row % n, keys))
}

/// The `k` largest of a row, of equal ones the last.
pub(super) fn top(scores: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|key| scores[*key] != MASKED).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(b.cmp(a)));
    order.truncate(k);
    order
}

/// Paper 62, check (b): sparse layers give weight to exactly the list of the layer that chose last, and the token itself.
#[test]
fn lists_persist_between_layers() {
    const N: usize = 24;
    // At five layers s = 1 and c = 2.
    for (text, choosers) in [
        ("tidal_decode(budget:5)", [None, None, None, Some(2), Some(2)]),
        ("tidal_decode(budget:5,reselect:false)", [None, None, Some(1), Some(1), Some(1)]),
        (
            "tidal_decode(budget:5,places:given,select_layer:0,reselect_layer:3)",
            [None, Some(0), Some(0), None, Some(3)],
        ),
        ("tidal_decode(budget:5,places:given,select_layer:62)", [None; LAYERS]),
    ] {
        let (_, seen) = run(text, N);
        for (layer, chooser) in choosers.into_iter().enumerate() {
            let pattern = seen.get(layer, Site::Pattern).unwrap();
            let scores = chooser.map(|chooser| seen.get(chooser, Site::Scores).unwrap());
            for (row, (query, weights)) in rows(pattern, N).enumerate() {
                let mut expected: Vec<usize> = match scores {
                    Some(scores) => top(&scores.data[row * N..(row + 1) * N], 5),
                    None => (0..=query).collect(),
                };
                if !expected.contains(&query) {
                    expected.push(query);
                }
                expected.sort_unstable();
                let came: Vec<usize> = (0..N).filter(|key| weights[*key] != 0.0).collect();
                assert_eq!(came, expected, "{text}: layer {layer}, row {row}");
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}

/// Check (a): lists as long as the text change nothing, whoever shares them; nor does a text that is all prompt.
#[test]
fn whole_lists_are_dense() {
    let (dense, _) = run("softmax", 24);
    for lists in ["tidal", "every_layer", "window"] {
        for heads in ["each", "group", "all"] {
            let settings = format!("lists:{lists},heads:{heads}");
            assert_eq!(run(&format!("tidal_decode(budget:24,{settings})"), 24).0, dense, "{settings}");
            assert_eq!(run(&format!("tidal_decode(budget:1,prompt:24,{settings})"), 24).0, dense, "{settings}");
            assert_ne!(run(&format!("tidal_decode(budget:3,{settings})"), 24).0, dense, "{settings}");
        }
    }
}

/// Check (c), second half: without correction, keys behind the first sparse layer differ from the dense ones, and only
/// those. The first sparse layer is 3.
#[test]
fn keys_drift_behind_sparse_layers() {
    let (_, dense) = run("softmax", 24);
    let (_, sparse) = run("tidal_decode(budget:5)", 24);
    for layer in 0..LAYERS {
        let same = dense.get(layer, Site::K).unwrap().data == sparse.get(layer, Site::K).unwrap().data;
        assert_eq!(same, layer <= 3, "layer {layer}");
    }
}

/// Lists pass from layer to layer on the GPU as on the processor; so do shapes and clusters at lengths beside blocks.
#[test]
fn models_agree_on_the_gpu() {
    let device = Rc::new(block_on(Device::open()).expect("a Vulkan driver, such as lavapipe"));
    let (config, tolerance) = (config(), Tolerance { rms: 5e-5, abs: 5e-5, rel: 5e-4 });
    let weights = lively(&config, 6);
    let mut gpu = block_on(GpuModel::new(device, &config, &weights)).unwrap();
    let mut cpu = CpuModel::new(&config, &weights).unwrap();
    for text in [
        "tidal_decode(budget:5)",
        "tidal_decode(budget:5,reselect:false,heads:all)",
        "tidal_decode(budget:5,lists:every_layer,heads:group,prompt:20)",
        "alibi,tidal_decode(budget:5,lists:window)",
        "minference(last_queries:7,block:8)",
        "minference(pattern:vertical_slash,block:8,tiles:true)",
        "routing_attention(window:4)",
        "routing_attention(window:7,mode:paper,logits:unscaled,tied:true)",
    ] {
        for count in [65, 30, 71] {
            let (tokens, stack) = (some_tokens(config.vocabulary, count), stack(text));
            for sites in [&[Site::Pattern][..], &[]] {
                let request = || Request { tokens: &tokens, stack: &stack, seed: 5, wants: Selection::sites(sites) };
                let came = block_on(gpu.forward(request())).unwrap();
                let reference = block_on(cpu.forward(request())).unwrap();
                let pairs = reference.captures.values.iter().map(|(at, array)| (&came.captures.values[at], array));
                for (came, reference) in pairs.chain([(&came.logits, &reference.logits)]) {
                    let excess = tolerance.excess(&came.data, &reference.data);
                    assert!(excess <= 1.0, "{text} at {count} tokens: {excess} times the tolerance");
                }
            }
        }
    }
}

/// Steps of 63 tokens and more, under sizes at which the common corners are dense.
#[test]
fn steps_agree_on_the_gpu() {
    let device = block_on(Device::open()).expect("a Vulkan driver, such as lavapipe");
    for text in [
        "minference(pattern:a_shape)",
        "minference(pattern:vertical_slash,split:0.5)",
        "minference(pattern:vertical_slash,tiles:true,block:8)",
        "minference(pattern:block,block:8)",
        "minference(budget:0.5,tiles:true)",
        "routing_attention(mode:paper)",
        "routing_attention(mode:paper,logits:scaled,clusters:3,routing:1)",
        "routing_attention(logits:unscaled,tied:true,decay:0.9)",
        "routing_attention(clustering:random,window:5)",
        "routing_attention(clustering:blocks,mode:paper)",
    ] {
        let report = block_on(check_stack(&device, &stack(text), Tolerance::F32)).unwrap();
        assert!(report.agrees(), "{text}: {report:?}");
    }
}

const TOKENS: usize = 40;
const WIDTH: usize = 8;

/// One head, with the first centroids of the seed where the stack wants them.
fn given(stack: &Stack, seed: usize) -> Given {
    let noise =
        |name: &str| Array { shape: vec![1, 1, TOKENS, WIDTH], data: normal(TOKENS * WIDTH, 1.0, name, seed, 0) };
    let inputs = default_inputs(stack, 0, 1, 1, WIDTH, seed as u64);
    let (q, k, v) = (noise("q"), noise("k"), noise("v"));
    Given { q, k, v, scale: 1.0 / (WIDTH as f32).sqrt(), first_query: 0, layer: 0, layers: 1, inputs }
}

/// Paper 51, check (a): one list of all tokens is dense attention over normalised keys, times 1/1.01; strict mode has no
/// factor.
#[test]
fn one_cluster_is_dense_attention_over_normalised_keys() {
    let whole = "clusters:1,window:512,routing:1,logits:unscaled,tied:true";
    let stack = |mode: &str| stack(&format!("routing_attention({whole},mode:{mode})"));
    let (paper, strict) = (stack("paper"), stack("strict"));
    let given = given(&paper, 0);
    let hat: Vec<f32> = given
        .k
        .data
        .chunks(WIDTH)
        .flat_map(|x| {
            let mean = x.iter().sum::<f32>() / WIDTH as f32;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / WIDTH as f32;
            x.iter().map(move |x| (x - mean) / (variance + 1e-6).sqrt())
        })
        .collect();
    let hat = Array { data: hat, ..given.k.clone() };
    let dense = Given { q: hat.clone(), k: hat, scale: 1.0, inputs: Vec::new(), ..given.clone() };
    let dense = apply(&Stack::new("a", &[]).unwrap(), &dense).unwrap().z.data;
    for (stack, factor) in [(&paper, 1.01), (&strict, 1.0)] {
        let came = apply(stack, &given).unwrap().z.data;
        let off = came.iter().zip(&dense).map(|(a, b)| (a * factor - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{off}");
    }
}

/// Checks (b) and (d): in paper mode a token in no list gets exactly nothing, and what comes last changes earlier rows; in
/// strict mode it changes none.
#[test]
fn lists_leak_and_strict_clusters_do_not() {
    let changed = |text: &str| {
        let stack = stack(text);
        (0..4).any(|seed| {
            let given = given(&stack, seed);
            let mut other = given.clone();
            for array in [&mut other.q, &mut other.k] {
                let last = (TOKENS - 1) * WIDTH;
                array.data[last..].iter_mut().enumerate().for_each(|(d, x)| *x += d as f32 - 3.0);
            }
            let [came, reference] = [&other, &given].map(|given| apply(&stack, given).unwrap().z.data);
            came[..(TOKENS - 1) * WIDTH] != reference[..(TOKENS - 1) * WIDTH]
        })
    };
    assert!(changed("routing_attention(mode:paper,routing:1,clusters:4,window:8)"));
    assert!(!changed("routing_attention(routing:1,clusters:4,window:8)"));
    let stack = stack("routing_attention(mode:paper,routing:1,clusters:4,window:8)");
    let applied = apply(&stack, &given(&stack, 0)).unwrap();
    let empty = applied.pattern.data.chunks(TOKENS).zip(applied.z.data.chunks(WIDTH));
    let empty: Vec<_> = empty.filter(|(weights, _)| weights.iter().all(|weight| *weight == 0.0)).collect();
    assert!(!empty.is_empty() && empty.iter().all(|(_, z)| z.iter().all(|x| *x == 0.0)));
}
