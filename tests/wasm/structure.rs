//! What a token costs, counted at the browser's own interface: dispatches, passes, submits, objects made, bytes moved.

use super::tiny;
use attnscope::api::webgpu;
use attnscope::experiment::Chip;
use attnscope::gpu::{Device, GpuModel, parity};
use attnscope::mechanism::{Stack, Tolerance};
use attnscope::model::Config;
use attnscope::model::sample::{Sampler, Sampling};
use js_sys::{Function, Reflect};
use std::rc::Rc;
use wasm_bindgen_test::wasm_bindgen_test;

/// Wraps the methods of WebGPU's prototypes once; the counts lie in `globalThis.counted`.
const SHIM: &str = "
    if (globalThis.counted) return;
    const counted = globalThis.counted = {};
    const add = (name, by) => { counted[name] = (counted[name] ?? 0) + by };
    const wrap = (prototype, method, count) => {
        const original = prototype[method];
        prototype[method] = function (...given) { count(...given); return original.apply(this, given) };
    };
    for (const method of Object.getOwnPropertyNames(GPUDevice.prototype)) {
        // An encoder is the one object a submit cannot be without; it is used up by it.
        if (method.startsWith('create') && method !== 'createCommandEncoder') {
            wrap(GPUDevice.prototype, method, () => add('creations', 1));
        }
    }
    wrap(GPUQueue.prototype, 'submit', () => add('submits', 1));
    wrap(GPUQueue.prototype, 'writeBuffer', (buffer, offset, data, first, size) =>
        add('written', size ?? (data.byteLength - (first ?? 0))));
    wrap(GPUCommandEncoder.prototype, 'beginComputePass', () => add('passes', 1));
    wrap(GPUCommandEncoder.prototype, 'copyBufferToBuffer', (...given) => add('copied', given[given.length - 1]));
    wrap(GPUComputePassEncoder.prototype, 'dispatchWorkgroups', () => add('dispatches', 1));
    wrap(GPUBuffer.prototype, 'mapAsync', () => add('maps', 1));
";

/// Counts since the last call.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    dispatches: usize,
    passes: usize,
    submits: usize,
    creations: usize,
    maps: usize,
    written: usize,
    copied: usize,
}

fn counted() -> Counted {
    Function::new_no_args(SHIM).call0(&js_sys::global()).unwrap();
    let counts = Reflect::get(&js_sys::global(), &"counted".into()).unwrap();
    let take = |name: &str| {
        let count = Reflect::get(&counts, &name.into()).unwrap().as_f64().unwrap_or(0.0) as usize;
        Reflect::set(&counts, &name.into(), &0.into()).unwrap();
        count
    };
    Counted {
        dispatches: take("dispatches"),
        passes: take("passes"),
        submits: take("submits"),
        creations: take("creations"),
        maps: take("maps"),
        written: take("written"),
        copied: take("copied"),
    }
}

#[wasm_bindgen_test]
async fn a_token_is_one_pass_and_makes_nothing() {
    counted();
    let (llama, weights, _) = tiny::model();
    let gpt2 = Config::gpt2(40, 16, 3, 2, 64);
    let neox = Config::neox(40, 16, 3, 2, 64);
    let [of_gpt2, of_neox] = [&gpt2, &neox].map(|config| attnscope::model::Weights::init(config, 9));
    let device = Rc::new(Device::open().await.unwrap());
    for (config, weights) in [(&llama, &weights), (&gpt2, &of_gpt2), (&neox, &of_neox)] {
        let model = GpuModel::new(device.clone(), config, weights).await.unwrap();
        let mut decode = model.decode(Stack::new("a", &[]).unwrap(), 0).await.unwrap();
        let sampler = Sampler::new(Sampling { temperature: 1.0, top_k: 9, ..Sampling::default() }).unwrap();
        decode.read(&[3, 1, 4, 1, 5], 5, &sampler).await.unwrap();
        // The first burst also feeds the last token of the prompt.
        decode.burst(1).await.unwrap();
        let before = counted();
        assert!(before.creations > 0 && before.dispatches > 0 && before.written > 0, "the shim counts: {before:?}");
        let dispatches = config.layers * if config.parallel { 4 } else { 5 } + 2;
        for tokens in [1, 1, 4, 8] {
            let drawn = decode.burst(tokens).await.unwrap();
            assert_eq!((drawn.tokens.len(), drawn.done), (tokens, None));
            let expected = Counted {
                dispatches: tokens * dispatches,
                passes: 1,
                submits: 1,
                creations: 0,
                maps: 1,
                written: 0,
                copied: 16 + 4 * tokens,
            };
            assert_eq!(counted(), expected);
            assert!(expected.copied <= 64 * tokens);
        }
    }
}

/// An adapter with subgroups is asked for them, and rows are added up through them as through memory.
#[wasm_bindgen_test]
async fn subgroups_are_asked_for_and_add_up_the_same() {
    webgpu::install(|_, _| {});
    let device = Device::open().await.unwrap();
    assert!(device.subgroups(), "the tests' adapter has them");
    device.add_by_subgroups(true);
    for ids in [&["softmax"][..], &["attention_sink_operators"]] {
        let stack = Stack::new("a", &ids.iter().copied().map(Chip::new).collect::<Vec<_>>()).unwrap();
        let report = parity::check_stack(&device, &stack, Tolerance::F32).await.unwrap();
        assert!(report.agrees(), "{ids:?}: {report:?}");
    }
}

/// Every pipeline is asked for once, without waiting for it; what a token costs stays the same.
#[wasm_bindgen_test]
async fn pipelines_are_asked_for_side_by_side() {
    const ASKED: &str = "
        const kept = GPUDevice.prototype;
        globalThis.asked = { at_once: 0, warmed: 0 };
        for (const [method, name] of [['createComputePipeline', 'at_once'], ['createComputePipelineAsync', 'warmed']]) {
            const original = kept[method];
            kept[method] = function (...given) { globalThis.asked[name] += 1; return original.apply(this, given) };
        }
    ";
    webgpu::install(|_, _| {});
    Function::new_no_args(ASKED).call0(&js_sys::global()).unwrap();
    let (config, weights, _) = tiny::model();
    let device = Rc::new(Device::open().await.unwrap());
    let model = GpuModel::new(device, &config, &weights).await.unwrap();
    let mut decode = model.decode(Stack::new("a", &[]).unwrap(), 0).await.unwrap();
    decode.read(&[3, 1, 4, 1, 5], 5, &Sampler::new(Sampling::default()).unwrap()).await.unwrap();
    assert_eq!(decode.burst(4).await.unwrap().tokens.len(), 4);
    let asked = Reflect::get(&js_sys::global(), &"asked".into()).unwrap();
    let count = |name: &str| Reflect::get(&asked, &name.into()).unwrap().as_f64().unwrap_or(-1.0);
    assert!(count("warmed") >= 7.0 && count("at_once") == 0.0, "{} and {}", count("warmed"), count("at_once"));
}
