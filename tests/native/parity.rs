//! GPU against processor: every mechanism's twins, stacks of them, and whole models.
//!
//! These tests never skip: without a device they fail and say what to install. `VK_ICD_FILENAMES` chooses lavapipe or
//! SwiftShader where there is more than one driver.

mod decode;
mod generate;
mod layers;

use crate::model::{llama2c, nano_sort};
use crate::shaders::with_wgsl;
use attnscope::engine::{Forward, Request};
use attnscope::experiment::Chip;
use attnscope::gpu::{Device, GpuModel, parity, subgroups};
use attnscope::hook::{Array, HookPoint, Selection, Site};
use attnscope::mechanism::{ALL, MASKED, Stack, Tolerance, by_id};
use attnscope::model::config::{Activation, Config, Pairing, Positions};
use attnscope::model::{CpuModel, Weights};
use pollster::block_on;
use std::rc::Rc;

/// Whole models add the rounding of every layer; the logits of a small random model are near one.
const MODEL: Tolerance = Tolerance { rms: 5e-5, abs: 5e-5, rel: 5e-4 };

fn device() -> Rc<Device> {
    match block_on(Device::open()) {
        Ok(device) => Rc::new(device),
        Err(error) => panic!("{error}; on Debian: apt-get install mesa-vulkan-drivers"),
    }
}

fn stack(ids: &[&str]) -> Stack {
    let chips: Vec<_> = ids.iter().copied().map(Chip::new).collect();
    Stack::new("a", &chips).expect("legal")
}

/// Lanes that add up a row by subgroups find the same, for mechanisms of every role that has rows; what is measured of both
/// ways leaves the device with one of them.
#[test]
fn subgroups_add_up_the_same_rows() {
    let device = device();
    assert!(device.subgroups(), "{} has no subgroups; lavapipe and SwiftShader have", device.adapter);
    device.add_by_subgroups(true);
    for ids in [&["softmax"][..], &["softplus_reweighting"], &["attention_sink_operators", "alibi", "streaming_window"]]
    {
        let report = block_on(parity::check_stack(&device, &stack(ids), Tolerance::F32)).expect("the twins run");
        assert!(report.agrees(), "{ids:?}: {report:?}");
    }
    for (name, config) in [("layer", Config::gpt2(40, 72, 2, 2, 32)), ("rms", Config::llama(40, 72, 2, 2, 1, 40))] {
        let weights = Weights::init(&config, 3);
        let logits = |device: &Rc<Device>| {
            let mut model = block_on(GpuModel::new(device.clone(), &config, &weights)).expect("it fits");
            let stack = stack(&[]);
            let request = Request { tokens: &[1, 7, 30, 2, 9], stack: &stack, seed: 0, wants: Selection::default() };
            block_on(Forward::forward(&mut model, request)).expect("it runs").logits.data
        };
        let other = self::device();
        assert!(MODEL.excess(&logits(&device), &logits(&other)) <= 1.0, "{name}");
    }
    let sums = block_on(subgroups::measure(&device)).expect("both ways run");
    assert!(sums.plain > 0.0 && sums.by_subgroups.is_some(), "{sums:?}");
    assert!(sums.sentence().starts_with(if sums.chosen { "by subgroups" } else { "through" }));
    println!("{}: {sums:?}", device.adapter);
}

#[test]
fn every_mechanism_agrees_with_its_twin() {
    let device = device();
    let mut complaints = Vec::new();
    for mechanism in ALL.iter().filter(|mechanism| mechanism.wgsl.is_some()) {
        let report = block_on(parity::check(&device, mechanism)).expect("the twins run");
        if !report.agrees() {
            complaints.push(format!("{}: {} times the tolerance, {}", mechanism.id, report.excess, report.worst));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The comparison is worth something only if a twin that is slightly wrong fails it.
#[test]
fn a_wrong_twin_is_noticed() {
    for (id, right, wrong) in [
        ("alibi", "f32(at.query)", "f32(at.query + 1u)"),
        ("alibi", "* p.strength", "* 1.001 * p.strength"),
        ("streaming_window", "< u32(p.window)", "<= u32(p.window)"),
        ("streaming_window", "first || recent", "recent"),
        ("softmax", "x / fold.sum", "x / (fold.sum + 0.001)"),
        ("softmax", "return x / p.temperature;", "return x / (p.temperature + 0.01);"),
        ("softmax", "p.off_by_one != 0u", "false"),
        ("attention_sink_operators", "p.head_shared != 0u", "false"),
        ("duo_attention", "alpha >= p.streaming", "alpha > p.streaming + 0.2"),
        ("feature_similarity", "max(abs(fold.sum), 1.0)", "abs(fold.sum)"),
        ("halo_attention", "at.key + u32(p.halo)", "at.key + u32(p.halo) + 1u"),
        ("neighborhood_attention", "distance % dilation == 0u", "true"),
        ("prefix_lm", "return u32(p.prefix);", "return u32(p.prefix) + 1u;"),
        ("s2_attention", "g * shift", "0u"),
        ("softplus_reweighting", "fold.count > 3.5", "fold.count > 4.5"),
        ("attention_sink_operators", "return 1.0;", "return 0.0;"),
        ("attention_sink_operators", "+ max(x, 0.0)", "+ max(x, 0.001)"),
        ("attention_sink_operators", "b * at.scale", "b"),
    ] {
        let mechanism = by_id(id).expect("it is there");
        let text = mechanism.wgsl.expect("it has a twin");
        assert!(text.contains(right), "{id} has no longer {right}");
        let broken = with_wgsl(mechanism, Box::leak(text.replacen(right, wrong, 1).into_boxed_str()));
        let report = block_on(parity::check(&device(), broken)).expect("the twins run");
        assert!(!report.agrees(), "{id} with {wrong} passes at {} of the tolerance", report.excess);
    }
}

#[test]
fn stacks_agree() {
    let device = device();
    for ids in [&["alibi", "streaming_window"][..], &["alibi", "streaming_window", "attention_sink_operators"]] {
        let report = block_on(parity::check_stack(&device, &stack(ids), Tolerance::F32)).expect("the twins run");
        assert!(report.agrees(), "{ids:?}: {} times the tolerance, {}", report.excess, report.worst);
    }
}

/// Random weights an order above the usual initial ones, so that attention is far from uniform.
fn weights(config: &Config) -> Weights {
    let mut weights = Weights::init(config, 3);
    for (name, array) in &mut weights.0 {
        let scale = if name.ends_with(".w") || name.ends_with(".b") { 1.0 } else { 6.0 };
        for (index, value) in array.data.iter_mut().enumerate() {
            // Biases are initialised to zero; a zero bias would hide one that is not added.
            *value = *value * scale + if array.shape.len() == 1 { 0.1 * ((index % 7) as f32 - 3.0) } else { 0.0 };
        }
    }
    weights
}

fn tokens(config: &Config, count: usize) -> Vec<u32> {
    (0..count).map(|index| ((index * 31 + 7) % config.vocabulary) as u32).collect()
}

fn small_models() -> Vec<(&'static str, Config)> {
    let llama = Config::llama(97, 48, 3, 6, 3, 56);
    let adjacent = Positions::Rotary { theta: 1e4, pairing: Pairing::Adjacent };
    vec![
        ("gpt2", Config::gpt2(101, 40, 2, 4, 128)),
        ("gpt2 with exact gelu", Config { activation: Activation::Gelu, ..Config::gpt2(64, 32, 2, 2, 128) }),
        ("llama", llama.clone()),
        ("llama, adjacent pairs, own head", Config { positions: adjacent, tied: false, ..llama.clone() }),
        (
            "llama with biases and relu",
            Config { attention_bias: true, ffn_bias: true, activation: Activation::Relu, ..llama },
        ),
        ("neox", Config::neox(97, 48, 3, 6, 128)),
        ("neox in sequence", Config { parallel: false, turned: Some(4), ..Config::neox(97, 40, 2, 5, 128) }),
    ]
}

/// Every capture and the logits of one pass, GPU against processor.
fn assert_same(name: &str, gpu: &mut GpuModel, cpu: &mut CpuModel, tokens: &[u32], stack: &Stack) {
    let request = || Request { tokens, stack, seed: 5, wants: Selection::sites(Site::ALL) };
    let came = block_on(gpu.forward(request())).expect("the GPU runs");
    let reference = block_on(cpu.forward(request())).expect("the processor runs");
    let pair = |at: &HookPoint| (came.captures.values.get(at), &reference.captures.values[at]);
    let points: Vec<_> = reference.captures.values.keys().copied().collect();
    assert_eq!(came.captures.values.keys().copied().collect::<Vec<_>>(), points, "{name}: captured points");
    for at in points {
        let (came, reference) = pair(&at);
        let came = came.expect("just compared");
        assert_eq!(came.shape, reference.shape, "{name}: {at}");
        let (came, reference) =
            if at.site == Site::Scores { kept(came, reference) } else { (came.data.clone(), reference.data.clone()) };
        let excess = MODEL.excess(&came, &reference);
        assert!(excess <= 1.0, "{name}: {at} deviates by {excess} times the tolerance, {} tokens", tokens.len());
    }
    let excess = MODEL.excess(&came.logits.data, &reference.logits.data);
    assert!(excess <= 1.0, "{name}: logits deviate by {excess} times the tolerance");
}

fn kept(came: &Array, reference: &Array) -> (Vec<f32>, Vec<f32>) {
    let same = came.data.iter().zip(&reference.data).all(|(a, b)| (*a == MASKED) == (*b == MASKED));
    assert!(same, "scores are removed at other places");
    let kept = |array: &Array| array.data.iter().copied().filter(|value| *value != MASKED).collect();
    (kept(came), kept(reference))
}

#[test]
fn models_agree_at_every_hook() {
    let device = device();
    for (name, config) in small_models() {
        let weights = weights(&config);
        let mut gpu = block_on(GpuModel::new(device.clone(), &config, &weights)).expect("it fits");
        let mut cpu = CpuModel::new(&config, &weights).expect("it is whole");
        for count in [1, 2, 7, 65] {
            assert_same(name, &mut gpu, &mut cpu, &tokens(&config, count), &stack(&[]));
        }
        for ids in [&["alibi", "streaming_window"][..], &["attention_sink_operators"]] {
            assert_same(name, &mut gpu, &mut cpu, &tokens(&config, 33), &stack(ids));
        }
        // Stages: of a selector beside mods, and of mixers; at 65 tokens the selector's halves are hashed.
        for ids in [&["alibi", "hyper_attention"][..], &["lightning_attention"], &["scatterbrain"]] {
            assert_same(name, &mut gpu, &mut cpu, &tokens(&config, 65), &stack(ids));
        }
    }
}

#[test]
fn captures_change_no_number_and_runs_repeat_to_the_bit() {
    let device = device();
    let config = Config::llama(97, 48, 3, 6, 3, 56);
    let mut gpu = block_on(GpuModel::new(device, &config, &weights(&config))).expect("it fits");
    let stack = stack(&["alibi"]);
    let mut logits = |count: usize, wants: Selection| {
        let tokens = tokens(&config, count);
        block_on(gpu.forward(Request { tokens: &tokens, stack: &stack, seed: 0, wants })).expect("it runs").logits
    };
    let lean = logits(20, Selection::default());
    // A longer run in between leaves its numbers in the same buffers.
    logits(31, Selection::default());
    assert_eq!(lean, logits(20, Selection::default()));
    assert_eq!(lean, logits(20, Selection::sites(Site::ALL)));
}

#[test]
fn head_maps_are_the_rows_of_the_pass() {
    let device = device();
    let config = Config::llama(97, 48, 3, 6, 3, 56);
    let mut gpu = block_on(GpuModel::new(device, &config, &weights(&config))).expect("it fits");
    let stack = stack(&["streaming_window", "attention_sink_operators"]);
    let tokens = tokens(&config, 40);
    let wants = Selection::sites(&[Site::Scores, Site::Pattern, Site::Slot]);
    let request = Request { tokens: &tokens, stack: &stack, seed: 0, wants };
    let lean = Request { wants: Selection::default(), ..request };
    for (layer, head) in [(0, 0), (2, 5), (1, 3)] {
        // Once after nothing or a lean pass, once after a pass with captures.
        let maps = block_on(gpu.head_maps(&lean, layer, head)).expect("it runs");
        let pass = block_on(
            gpu.forward(Request { wants: Selection::sites(&[Site::Scores, Site::Pattern, Site::Slot]), ..lean }),
        );
        let pass = pass.expect("it runs");
        let slice = |site: Site, count: usize| {
            let whole = pass.captures.get(layer, site).expect("captured");
            whole.data[head * count..(head + 1) * count].to_vec()
        };
        assert_eq!(maps.scores.data, slice(Site::Scores, 1600));
        assert_eq!(maps.pattern.data, slice(Site::Pattern, 1600));
        assert_eq!(maps.slot.as_ref().map(|slot| slot.data.clone()), Some(slice(Site::Slot, 40)));
        assert_eq!(block_on(gpu.head_maps(&lean, layer, head)).expect("it runs"), maps);
    }
    assert!(block_on(gpu.head_maps(&lean, 3, 0)).is_err());
}

#[test]
fn long_prompts_run_and_agree() {
    let device = device();
    let config = Config { layers: 1, ..Config::llama(64, 32, 1, 4, 2, 32) };
    let weights = weights(&config);
    let mut gpu = block_on(GpuModel::new(device, &config, &weights)).expect("it fits");
    let mut cpu = CpuModel::new(&config, &weights).expect("it is whole");
    let tokens = tokens(&config, 512);
    // Without captures a selector's rows go through lists of keys, and a mixer's through its states.
    for ids in [&[][..], &["hyper_attention"], &["alibi", "hyper_attention"], &["lightning_attention"]] {
        let stack = stack(ids);
        let request = || Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
        let came = block_on(gpu.forward(request())).expect("the GPU runs").logits;
        let reference = block_on(cpu.forward(request())).expect("the processor runs").logits;
        assert!(MODEL.excess(&came.data, &reference.data) <= 1.0, "{ids:?}");
    }
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    let device = device();
    let config = Config::llama(64, 32, 1, 4, 2, 32);
    let weights = weights(&config);
    let mut gpu = block_on(GpuModel::new(device.clone(), &config, &weights)).expect("it fits");
    let stack = stack(&[]);
    let mut refused = |tokens: &[u32]| {
        let request = Request { tokens, stack: &stack, seed: 0, wants: Selection::default() };
        block_on(gpu.forward(request)).err().map(|error| error.code())
    };
    assert_eq!(refused(&[]), Some("param"));
    assert_eq!(refused(&[64]), Some("param"));
    assert_eq!(refused(&[0; 513]), Some("param"));
    let wide = Config { heads: 1, kv_heads: 1, head_width: 512, ..config.clone() };
    let error = block_on(GpuModel::new(device, &wide, &Weights::init(&wide, 0))).err().expect("it is too wide");
    assert_eq!(error.code(), "gpu");
    assert!(error.to_string().contains("512"), "{error}");
}

#[test]
fn a_lost_device_is_an_error_and_a_new_one_computes_the_same() {
    let config = Config::llama(64, 32, 1, 4, 2, 32);
    let weights = weights(&config);
    let (stack, tokens) = (stack(&[]), tokens(&config, 9));
    let request = || Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() };
    let first = device();
    let mut gpu = block_on(GpuModel::new(first.clone(), &config, &weights)).expect("it fits");
    let before = block_on(gpu.forward(request())).expect("it runs").logits;
    first.close();
    let error = block_on(gpu.forward(request())).err().expect("the device is gone");
    assert_eq!(error.code(), "gpu", "{error}");
    let mut again = block_on(GpuModel::new(device(), &config, &weights)).expect("it fits");
    assert_eq!(block_on(again.forward(request())).expect("it runs").logits, before);
}

#[test]
fn published_numbers_on_the_gpu() {
    let device = device();
    if let Some(loaded) = llama2c::loaded() {
        let mut gpu = block_on(GpuModel::new(device.clone(), &loaded.config, &loaded.weights)).expect("it fits");
        block_on(llama2c::check_numbers(&mut gpu));
    }
    if let Some((config, weights)) = nano_sort::loaded() {
        let mut gpu = block_on(GpuModel::new(device, &config, &weights)).expect("it fits");
        block_on(nano_sort::check(&mut gpu));
    }
}
