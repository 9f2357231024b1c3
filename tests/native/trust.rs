//! Whether what is wrong shows: stored numbers in f64, kernels and weights corrupted on purpose, devices that are lost.

mod loss;
mod stored;

use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Chip, Experiment, Pane};
use attnscope::gpu::fault::{self, Faults};
use attnscope::mechanism::ALL;
use attnscope::model::load::{Precision, SELF_CHECK, save_safetensors};
use attnscope::model::{CpuModel, Files, load};
use attnscope::outcome::{Outcome, PaneOutcome, Tier};
use attnscope::{Error, Result};
use pollster::block_on;

use crate::tiny;

/// Faults that end with the test, whatever becomes of it.
pub struct Faulty;

impl Faulty {
    /// On a software adapter that is chosen like a real one.
    pub fn new(faults: Faults) -> Self {
        fault::set(Faults { hardware: true, ..faults });
        Self
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        fault::set(Faults::default());
    }
}

/// The tiny model with its stored numbers.
pub fn files() -> Files {
    let (config, weights, files) = tiny::model();
    let mut cpu = CpuModel::new(&config, &weights).unwrap();
    let reference = block_on(attnscope::engine::Reference::new(&mut cpu, &config)).unwrap();
    files.with(SELF_CHECK, serde_json::to_vec(&reference).unwrap())
}

pub fn open(files: &Files) -> Engine {
    block_on(Engine::new(load("tiny", files).unwrap(), Choice::Auto)).unwrap()
}

pub fn experiment(prompt: &str, panes: &[&[&str]]) -> Experiment {
    let pane = |ids: &&[&str]| Pane { stack: ids.iter().copied().map(Chip::new).collect() };
    let panes = panes.iter().map(pane).collect();
    Experiment { model: "tiny".into(), prompt: prompt.into(), panes, ..Experiment::default() }
}

pub fn run(engine: &mut Engine, experiment: &Experiment) -> Result<Outcome> {
    block_on(engine.run(experiment, async || false))
}

/// Whether two engines computed the same.
pub fn agree(came: &PaneOutcome, expected: &PaneOutcome) {
    let differences = came.logits.iter().zip(&expected.logits).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f32::max);
    assert!(worst < 2e-3 && came.logits.len() == expected.logits.len(), "logits differ by {worst}");
}

fn wrong(from: &str, to: &str) -> Faults {
    Faults { replace: Some((from.into(), to.into())), ..Faults::default() }
}

#[test]
fn a_good_gpu_passes_every_part() {
    let _faulty = Faulty::new(Faults::default());
    let mut engine = open(&files());
    let outcome = run(&mut engine, &experiment("One day", &[&[], &["alibi"]])).unwrap();
    let facts = outcome.engine;
    assert!(facts.tier >= Tier::WebGpu && facts.self_check_passed() == Some(true), "{facts:?}");
    let parts: Vec<_> = facts.checks.iter().map(|check| check.part.as_str()).collect();
    assert_eq!(parts, ["model", "decoding", "softmax", "alibi"]);
    assert!(facts.incidents.is_empty() && facts.generation == 0);
    assert_eq!((facts.backend.as_str(), facts.build.as_str()), ("vulkan", attnscope::BUILD));
}

/// What was measured decides, and is told whichever way it went.
#[test]
fn a_trial_chooses_between_processor_and_gpu() {
    let _faulty = Faulty::new(Faults { slow: true, ..Faults::default() });
    let facts = open(&files()).facts();
    let trial = facts.trial.expect("there were two to choose from");
    assert_eq!(facts.tier > Tier::Cpu, trial.gpu_wins(), "{facts:?}");
    assert!(facts.reason.ends_with(&trial.sentence()), "{}", facts.reason);
    assert!(trial.gpu.iter().chain(&trial.processor).all(|millis| (1e-4..1e5).contains(millis)), "{trial:?}");
    assert!(trial.read > 0 && trial.written > 0);
}

/// Kernels that only software adapters run, which are checked where somebody insists on one.
#[test]
fn a_wrong_kernel_of_a_software_adapter_shows() {
    let kernels = [
        ("nothing", "nothing at all", ""),
        ("matmul_alone", "low.y * left_w", "low.z * left_w"),
        ("attend_alone", "sums[1] * fades.y", "sums[1] * fades.x"),
        ("whole_rows", "at += step;", "at += step + 1u;"),
        ("whole_columns", "quad(at.y + i)", "quad(at.x + i)"),
    ];
    let files = files();
    for (name, from, to) in kernels {
        let _faulty = Faulty::new(Faults::default());
        fault::set(Faults { replace: Some((from.into(), to.into())), ..Faults::default() });
        let engine = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Gpu)).unwrap();
        let facts = engine.facts();
        let right = name == "nothing" || !facts.software;
        assert_eq!(facts.self_check_passed(), Some(right), "{name}: {facts:?}");
    }
}

/// Every family of kernels, changed in one place.
#[test]
fn a_wrong_kernel_is_never_used() {
    let kernels = [
        ("matmul", "rows_x.z * left_w", "rows_x.y * left_w"),
        ("rms_norm", "x[start + m] * factor * affine[m];", "x[start + m] * affine[m];"),
        ("rotate", "rot_k[at] = a * turn.x - b * turn.y;", "rot_k[at] = a * turn.x + b * turn.y;"),
        ("embed", "quad(token * quads + column / 4u)", "quad(token * quads)"),
        ("attend_rows", "s *= shape.scale;", "s *= 1.1 * shape.scale;"),
        ("attend_tiles", "var s = product * shape.scale;", "var s = 1.1 * product * shape.scale;"),
        ("tile_mix", "sums[1] * fades[row + 1u]", "sums[1] * fades[row]"),
        ("softmax", "return x / fold.sum;", "return x / (fold.sum + 0.1);"),
        ("softmax in tiles", "return x / p.temperature;", "return 1.1 * x / p.temperature;"),
        (
            "decode_product",
            "y[c] = y[c] * scale(column + c) + affine",
            "y[c] = 0.9 * y[c] * scale(column + c) + affine",
        ),
        ("row_sums", "a.y + b.y + apart", "a.y + apart"),
        ("sum_tiles", "x[at + 1u] = sums.y;", "x[at + 1u] = 2.0 * sums.y;"),
        ("sample", "u32(max(winner.y, 0.0))", "u32(max(winner.y + 1.0, 0.0))"),
        ("store_cached", "let token = first_position() + row;", "let token = first_position();"),
        ("not a program", "fn main(", "fn main_is_gone("),
    ];
    let files = files();
    for (name, from, to) in kernels {
        let _faulty = Faulty::new(wrong(from, to));
        let facts = open(&files).facts();
        assert_eq!((facts.tier, facts.self_check_passed()), (Tier::Cpu, Some(true)), "{name}: {facts:?}");
        let names_it = facts.reason.contains("self-check") || facts.reason.contains("main");
        assert!(names_it, "{name}: {}", facts.reason);
    }
}

#[test]
fn a_wrong_mechanism_is_named_and_the_processor_computes() {
    let files = files();
    let mechanisms = [
        ("alibi", "return s - slope", "return s - 1.5 * slope"),
        ("streaming_window", "p.window", "(p.window + 1)"),
        ("softplus_reweighting", "fold.count", "(fold.count + 1.0)"),
    ];
    for (id, from, to) in mechanisms {
        let source = ALL.iter().find(|mechanism| mechanism.id == id).unwrap().wgsl.unwrap();
        if !source.contains(from) {
            panic!("{id}: the mutation does not apply any more");
        }
        let _faulty = Faulty::new(wrong(from, to));
        let mut engine = open(&files);
        assert!(engine.facts().tier >= Tier::WebGpu, "the plain model does not use {id}: {:?}", engine.facts());
        let experiment = experiment("One day", &[&[], &[id]]);
        let outcome = run(&mut engine, &experiment).unwrap();
        assert_eq!(outcome.engine.tier, Tier::Cpu, "{id}");
        let told = |text: &str| text.contains(id) && text.contains("self-check");
        assert!(told(&outcome.engine.reason) && outcome.engine.incidents.iter().any(|one| told(one)), "{id}");
        fault::set(Faults::default());
        let mut cpu = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Cpu)).unwrap();
        let expected = run(&mut cpu, &experiment).unwrap();
        outcome.panes.iter().zip(&expected.panes).for_each(|(came, expected)| agree(came, expected));
    }
}

/// A forced GPU is used as it is, and the badge is red.
#[test]
fn a_forced_gpu_shows_its_failure() {
    let _faulty = Faulty::new(wrong("s *= shape.scale;", "s *= 1.1 * shape.scale;"));
    let engine = block_on(Engine::new(load("tiny", &files()).unwrap(), Choice::Gpu)).unwrap();
    assert_eq!((engine.facts().self_check_passed(), engine.facts().tier > Tier::Cpu), (Some(false), true));
}

#[test]
fn a_damaged_weight_shows_on_both_engines() {
    let (config, weights, _) = tiny::model();
    let mut damaged = weights.clone();
    damaged.0.get_mut("blocks.1.attn.w_q").unwrap().data[17] += 2.0;
    let bytes = save_safetensors(&config, &damaged, Precision::F32).unwrap();
    let whole = files();
    let files = whole.clone().with("model.safetensors", bytes);
    assert_ne!(files.sha256(), whole.sha256());
    let _faulty = Faulty::new(Faults::default());
    let facts = open(&files).facts();
    assert_eq!((facts.tier, facts.self_check_passed()), (Tier::Cpu, Some(false)), "{facts:?}");
    assert!(facts.reason.contains("self-check failed"), "{}", facts.reason);
}

#[test]
fn the_run_is_verified_against_the_definition() {
    let _faulty = Faulty::new(Faults::default());
    let mut engine = open(&files());
    let verify = |engine: &mut Engine| block_on(engine.verify(async || false));
    assert_eq!(verify(&mut engine).unwrap_err().code(), "unknown");
    run(&mut engine, &experiment("One day, a girl", &[&[], &["alibi"]])).unwrap();
    let found = verify(&mut engine).unwrap();
    assert_eq!(found.panes.iter().map(|pane| pane.layers.len()).collect::<Vec<_>>(), [tiny::LAYERS; 2]);
    assert!(found.panes.iter().all(|pane| pane.agrees() && pane.logits > 0.0), "{found:?}");
    assert_eq!(block_on(engine.verify(async || true)).unwrap_err(), Error::Superseded);

    // What the self-check cannot see, since it begins later: a kernel that is wrong for long prompts only.
    let _faulty = Faulty::new(wrong(
        "var s = product * shape.scale;",
        "var s = product * shape.scale * select(1.0, 1.01, row > 40u);",
    ));
    let mut engine = open(&files());
    assert_eq!(engine.facts().self_check_passed(), Some(true));
    run(&mut engine, &experiment(&"ab".repeat(30), &[&[]])).unwrap();
    let found = verify(&mut engine).unwrap();
    assert!(!found.panes[0].agrees(), "{found:?}");

    let mut cpu = block_on(Engine::new(load("tiny", &files()).unwrap(), Choice::Cpu)).unwrap();
    run(&mut cpu, &experiment("One day", &[&[]])).unwrap();
    let found = verify(&mut cpu).unwrap();
    assert!(found.panes[0].agrees() && found.what.contains("itself"), "{found:?}");
}

/// Numbers that are not finite on the GPU alone are its fault, and the place where they begin is named.
#[test]
fn what_is_not_finite_is_named() {
    // Not in the passes of the self-check, which are short.
    let _faulty = Faulty::new(wrong(
        "var s = product * shape.scale;",
        "var s = product * shape.scale * select(1.0, exp(200.0 + 0.0 * product), row > 40u);",
    ));
    let mut engine = open(&files());
    assert!(engine.facts().tier >= Tier::WebGpu, "{:?}", engine.facts());
    let outcome = run(&mut engine, &experiment(&"ab".repeat(30), &[&[]])).unwrap();
    let facts = outcome.engine;
    assert_eq!(facts.tier, Tier::Cpu);
    assert!(facts.reason.contains("blocks.0.attn.hook_") && facts.reason.contains("not finite"), "{}", facts.reason);
    assert!(outcome.panes[0].logits.iter().all(|logit| logit.is_finite()));
}
