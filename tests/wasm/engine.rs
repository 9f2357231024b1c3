//! The engine in the browser: stored numbers, laws, parity, and an experiment on either engine.

use super::{one_per_role, tiny};
use attnscope::engine::{Choice, Engine, Forward, Reference, Request};
use attnscope::experiment::{Chip, Experiment, Head, Pane};
use attnscope::gpu::{Device, GpuModel, parity};
use attnscope::hook::{Selection, Site};
use attnscope::mechanism::{Stack, laws};
use attnscope::model::{Config, CpuModel, Weights, load};
use attnscope::outcome::{Outcome, Tier, arrays};
use std::rc::Rc;
use wasm_bindgen_test::wasm_bindgen_test;

/// The same sums in another order: WebAssembly's vector units and natively compiled ones.
const PROCESSOR: f32 = 2e-4;
/// Another order and a GPU's own exponentials.
const GPU: f32 = 1e-3;

/// What a native build computed with the same random weights.
fn stored(config: &Config) -> Reference {
    let bytes = include_bytes!("../golden/tiny.selfcheck.json");
    Reference::read("tiny.selfcheck.json", bytes, config).unwrap()
}

#[wasm_bindgen_test]
async fn the_processor_computes_the_native_numbers() {
    let (config, weights, _) = tiny::model();
    let deviation = stored(&config).deviation(&mut CpuModel::new(&config, &weights).unwrap()).await.unwrap();
    assert!(deviation < PROCESSOR, "{deviation}");
}

#[wasm_bindgen_test]
async fn webgpu_computes_the_native_numbers() {
    let (config, weights, _) = tiny::model();
    let device = Rc::new(Device::open().await.expect("the browser is started with a WebGPU adapter"));
    let mut model = GpuModel::new(device, &config, &weights).await.unwrap();
    let deviation = stored(&config).deviation(&mut model).await.unwrap();
    assert!(deviation < GPU, "{deviation}");
}

#[wasm_bindgen_test]
async fn gpt2_runs_on_both() {
    let mut config = Config::gpt2(40, 16, 2, 2, 32);
    config.tied = false;
    let weights = Weights::init(&config, 9);
    let stack = Stack::new("a", &[]).unwrap();
    let request =
        || Request { tokens: &[1, 7, 30, 2, 9], stack: &stack, seed: 0, wants: Selection::sites(&[Site::Pattern]) };
    let device = Rc::new(Device::open().await.unwrap());
    let came = GpuModel::new(device, &config, &weights).await.unwrap().forward(request()).await.unwrap();
    let expected = CpuModel::new(&config, &weights).unwrap().forward(request()).await.unwrap();
    close(&came.logits.data, &expected.logits.data);
    let pattern = |pass: &attnscope::engine::Pass| pass.captures.get(1, Site::Pattern).unwrap().data.clone();
    close(&pattern(&came), &pattern(&expected));
}

#[wasm_bindgen_test]
fn laws_hold_here() {
    for mechanism in one_per_role() {
        for report in laws::check(mechanism).unwrap() {
            assert!(report.holds, "{}: {report:?}", mechanism.id);
        }
    }
}

#[wasm_bindgen_test]
async fn twins_agree_on_webgpu() {
    let device = Device::open().await.unwrap();
    for mechanism in one_per_role() {
        let report = parity::check(&device, mechanism).await.unwrap();
        assert!(report.agrees(), "{}: {report:?}", mechanism.id);
    }
}

fn experiment() -> Experiment {
    let window = Chip::new("streaming_window").with("sinks", 1.0).with("window", 3.0);
    let bias = Chip::new("attention_sink_operators").with("operator", "key_bias");
    let panes = [vec![], vec![window], vec![Chip::new("alibi"), bias]];
    let panes = panes.into_iter().map(|stack| Pane { stack }).collect();
    Experiment { model: "tiny".into(), prompt: "One day, a girl".into(), panes, ..Experiment::default() }
}

async fn answer(choice: Choice) -> (Engine, Outcome) {
    let mut engine = Engine::new(load("tiny", &tiny::model().2).unwrap(), choice).await.unwrap();
    let outcome = engine.run(&experiment(), async || false).await.unwrap();
    (engine, outcome)
}

#[wasm_bindgen_test]
async fn both_engines_answer_alike() {
    let (mut gpu, came) = answer(Choice::Gpu).await;
    let (mut cpu, expected) = answer(Choice::Cpu).await;
    assert!(came.engine.tier >= Tier::WebGpu && expected.engine.tier == Tier::Cpu);
    assert_eq!(came.tokens, expected.tokens);
    for (index, (came, expected)) in came.panes.iter().zip(&expected.panes).enumerate() {
        close(&came.logits, &expected.logits);
        close(&came.arrays[arrays::PATTERN].data, &expected.arrays[arrays::PATTERN].data);
        let head = Head { layer: 1, head: 2 };
        let (came, expected) = (gpu.head(index, head).await.unwrap(), cpu.head(index, head).await.unwrap());
        close(&came.pattern.data, &expected.pattern.data);
        close(&came.scores.data, &expected.scores.data);
    }
}

#[wasm_bindgen_test]
async fn the_choice_says_why() {
    let (engine, _) = answer(Choice::Auto).await;
    let facts = engine.facts();
    // The tests' adapter is software, which the processor beats.
    assert_eq!(facts.tier, Tier::Cpu);
    assert!(facts.reason.contains("software GPU"), "{facts:?}");
}

#[wasm_bindgen_test]
async fn a_lost_device_is_replaced_in_sight() {
    let (mut engine, before) = answer(Choice::Gpu).await;
    engine.lose_device();
    let mut longer = experiment();
    longer.prompt += " found";
    let after = engine.run(&longer, async || false).await.unwrap();
    assert!(before.engine.tier > Tier::Cpu && after.engine.tier == before.engine.tier);
    assert_eq!((after.engine.generation, after.engine.incidents.len()), (1, 1), "{:?}", after.engine);
}

/// Masked pairs are the same ones, all else differs by rounding.
fn close(came: &[f32], expected: &[f32]) {
    assert_eq!(came.len(), expected.len());
    for (came, expected) in came.iter().zip(expected) {
        let agree = came.is_nan() && expected.is_nan() || (came - expected).abs() < GPU;
        assert!(agree, "{came} is not {expected}");
    }
}
