//! Papers 62, 58 and 51: what choosing keys must do beyond the laws.

use super::super::model::{lively, some_tokens};
use super::synthetic::Numbers;
use attnscope::engine::{Forward, Request};
use attnscope::experiment::{Chip, link};
use attnscope::gpu::{Device, GpuModel, parity::check_stack};
use attnscope::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
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
        // s = 0 and c = none: the list of layer 0 everywhere.
        (
            "tidal_decode(budget:5,places:given,select_layer:0,reselect:false)",
            [None, Some(0), Some(0), Some(0), Some(0)],
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

/// Check (a): a list by scores is the list by the weights that softmax makes of them.
#[test]
fn scores_rank_like_weights() {
    const N: usize = 24;
    let (_, seen) = run("softmax", N);
    for layer in 0..LAYERS {
        let (scores, pattern) = (seen.get(layer, Site::Scores).unwrap(), seen.get(layer, Site::Pattern).unwrap());
        for ((query, scores), (_, weights)) in rows(scores, N).zip(rows(pattern, N)) {
            let causal: Vec<f32> =
                (0..N).map(|key| if key <= query { weights[key].ln().max(-80.0) } else { MASKED }).collect();
            let sorted = |mut keys: Vec<usize>| {
                keys.sort_unstable();
                keys
            };
            assert_eq!(sorted(top(scores, 5)), sorted(top(&causal, 5)), "layer {layer}, query {query}");
        }
    }
}

/// Check (b): a value outside the list moves nothing in a sparse layer, one inside it does, and in a layer that chooses any
/// does.
#[test]
fn values_outside_the_list_do_not_count() {
    const N: usize = 24;
    let (config, stack) = (config(), stack("tidal_decode(budget:5)"));
    let model = CpuModel::new(&config, &lively(&config, 6)).unwrap();
    let tokens = some_tokens(config.vocabulary, N);
    let width = config.head_width;
    let z = |layer: usize, key: Option<usize>| {
        let mut tap = Moved { layer, key, width, keys: N, seen: Vec::new() };
        model.run(&[&tokens], &stack, 0, &mut tap).unwrap();
        // The last row of the first head.
        tap.seen[(N - 1) * width..N * width].to_vec()
    };
    let (_, seen) = run("tidal_decode(budget:5)", N);
    // Of five layers, layers 1 and 2 choose; layer 3 is sparse.
    for layer in [1, 3] {
        let pattern = seen.get(layer, Site::Pattern).unwrap();
        let last = &pattern.data[(N - 1) * N..N * N];
        let plain = z(layer, None);
        for (key, weight) in last.iter().enumerate() {
            assert_eq!(z(layer, Some(key)) != plain, *weight != 0.0, "layer {layer}, key {key}");
        }
        assert_eq!(last.iter().filter(|weight| **weight == 0.0).count() > 0, layer == 3);
    }
}

/// Adds to the value of one key of the first key–value head in one layer, and records what that layer mixes.
struct Moved {
    layer: usize,
    key: Option<usize>,
    width: usize,
    keys: usize,
    seen: Vec<f32>,
}

impl Tap for Moved {
    fn wants(&self, at: HookPoint) -> bool {
        at.layer == self.layer && (at.site == Site::V || at.site == Site::Z)
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        if at.site == Site::Z {
            self.seen.clone_from(&value.data);
            return None;
        }
        let mut moved = value.clone();
        assert_eq!(value.shape[2], self.keys);
        moved.data[self.key? * self.width..][..self.width].iter_mut().for_each(|entry| *entry += 1.0);
        Some(moved)
    }
}

/// Check (b): of the exact weight of a layer, a list of its own keeps at least as much in every row as the list of the
/// layer before it, which sees the token itself besides; with as many keys it keeps clearly more on average.
#[test]
fn no_list_keeps_more_than_a_layers_own() {
    const N: usize = 24;
    let (_, dense) = run("softmax", N);
    for layer in 1..LAYERS {
        let exact = dense.get(layer, Site::Pattern).unwrap();
        // Behind dense layers alone, so that what the layer compares is what it compares in a dense pass.
        let masses = |budget: usize, more: &str| -> Vec<f32> {
            let (_, seen) = run(&format!("tidal_decode(budget:{budget},places:given,reselect:false,{more})"), N);
            let pairs = exact.data.chunks(N).zip(seen.get(layer, Site::Pattern).unwrap().data.chunks(N));
            let mass = |(exact, own): (&[f32], &[f32])| {
                exact.iter().zip(own).filter(|(_, own)| **own > 0.0).map(|(exact, _)| exact).sum()
            };
            pairs.map(mass).collect()
        };
        let handed_on = masses(5, &format!("select_layer:{}", layer - 1));
        let own = |budget: usize| masses(budget, &format!("select_layer:{layer},lists:every_layer"));
        for (own, handed_on) in own(6).iter().zip(&handed_on) {
            assert!(own >= &(handed_on - 1e-6), "layer {layer}: {own} and {handed_on}");
        }
        let mean = |masses: &[f32]| masses.iter().sum::<f32>() / masses.len() as f32;
        assert!(mean(&own(5)) > mean(&handed_on) + 0.02, "layer {layer}: {} {}", mean(&own(5)), mean(&handed_on));
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

/// Paper 51, check (c): the share of 256 tokens that no list of 32 took, and that several took, of eight clusters over even
/// noise; and over eight directions, with centroids that stay where they began, that learned from a beginning of noise, and
/// that learned from one token of each direction.
pub(super) fn lists_of_clusters() -> Numbers {
    const LISTED: usize = 256;
    let array = |data: Vec<f32>| Array { shape: vec![1, 1, LISTED, WIDTH], data };
    let directions = normal(8 * WIDTH, 1.0, "directions", 0, 0);
    let noise = normal(LISTED * WIDTH, 0.2, "noise", 0, 0);
    let token = |at: usize| directions[at / WIDTH * 3 % 8 * WIDTH + at % WIDTH] + noise[at];
    let clustered: Vec<f32> = (0..LISTED * WIDTH).map(token).collect();
    // Token 3c belongs to direction 3 · 3c mod 8 = c.
    let one_of_each: Vec<f32> = (0..8).flat_map(|c| clustered[3 * c * WIDTH..(3 * c + 1) * WIDTH].to_vec()).collect();
    let shares = |keys: &[f32], clustering: &str, begin: &[f32]| {
        let lists = "clusters:8,window:32,routing:1,mode:paper,tied:true,decay:0.9";
        let stack = stack(&format!("routing_attention({lists},clustering:{clustering})"));
        let mut inputs = default_inputs(&stack, 0, 1, 1, WIDTH, 0);
        inputs[0].data[..begin.len()].copy_from_slice(begin);
        let (q, k, v) = (array(keys.to_vec()), array(keys.to_vec()), array(vec![0.0; LISTED * WIDTH]));
        let given = Given { q, k, v, scale: 1.0, first_query: 0, layer: 0, layers: 1, inputs };
        let pattern = apply(&stack, &given).unwrap().pattern.data;
        // A row sums to c / (c + 0.01) when c lists took its token.
        let taken = |row: &[f32]| {
            let sum: f32 = row.iter().sum();
            (0.01 * sum / (1.0 - sum)).round() as usize
        };
        let taken: Vec<usize> = pattern.chunks(LISTED).map(taken).collect();
        let share = |wanted: fn(usize) -> bool| taken.iter().filter(|c| wanted(**c)).count() as f32 / LISTED as f32;
        vec![share(|c| c == 0), share(|c| c > 1)]
    };
    let even = normal(LISTED * WIDTH, 1.0, "even", 0, 0);
    Numbers::from([
        ("even noise".into(), shares(&even, "random", &[])),
        ("directions, centroids that stay".into(), shares(&clustered, "random", &[])),
        ("directions, learned from noise".into(), shares(&clustered, "k_means", &[])),
        ("directions, learned from one token of each".into(), shares(&clustered, "k_means", &one_of_each)),
    ])
}
