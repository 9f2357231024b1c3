//! Continuations through the engine: both engines write the same, and what can go wrong is said.

use super::{stack, tokens, weights};
use crate::model::{llama2c, nano_sort};
use crate::tiny;
use attnscope::engine::{Choice, End, Engine, Forward, Request};
use attnscope::experiment::{Chip, Head};
use attnscope::gpu::weights::Format;
use attnscope::hook::{Selection, Site};
use attnscope::mechanism::Stack;
use attnscope::model::load::{Precision, save_safetensors};
use attnscope::model::sample::Sampling;
use attnscope::model::{Config, Files, Loaded, load};
use attnscope::outcome::Tier;
use pollster::block_on;

/// Tokens and end of a continuation in bursts of up to `most`.
fn continued(
    engine: &mut Engine,
    stack: &Stack,
    prompt: &[u32],
    sampling: Sampling,
    count: usize,
    most: usize,
) -> (Vec<u32>, Option<End>) {
    let mut generation = block_on(engine.generate(stack.clone(), prompt, sampling, 0)).expect("it begins");
    let mut came = Vec::new();
    while came.len() < count && generation.end().is_none() {
        let burst = block_on(engine.burst(&mut generation, most.min(count - came.len()))).expect("it goes on");
        assert!(!burst.tokens.is_empty() || burst.end.is_some(), "a burst brings something");
        came.extend(burst.tokens);
        assert_eq!((generation.drawn(), generation.end()), (&came[..], burst.end));
        assert_eq!(generation.on_gpu(), engine.facts().tier > Tier::Cpu, "these stacks decode on both");
    }
    (came, generation.end())
}

fn both(loaded: impl Fn() -> Loaded) -> [Engine; 2] {
    [Choice::Gpu, Choice::Cpu].map(|choice| block_on(Engine::new(loaded(), choice)).expect("it opens"))
}

fn stories() -> Loaded {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/stories-3m");
    load("stories-3m", &Files::read(&folder).expect("it is shipped")).expect("it is whole")
}

#[test]
fn both_engines_write_the_same_two_hundred_tokens() {
    let fixture = llama2c::loaded().map(|_| || llama2c::loaded().expect("it was there"));
    let models: [Option<Box<dyn Fn() -> Loaded>>; 2] = [Some(Box::new(stories)), fixture.map(|it| Box::new(it) as _)];
    for loaded in models.into_iter().flatten() {
        let [mut gpu, mut cpu] = both(loaded);
        assert!(gpu.facts().tier > Tier::Cpu && cpu.facts().tier == Tier::Cpu);
        let prompt = gpu.tokenizer().encode("Once upon a time", true).expect("it is text");
        let warm = Sampling { temperature: 0.9, top_p: 0.95, top_k: 60, seed: 3 };
        let window = Chip::new("streaming_window").with("sinks", 2.0).with("window", 9.0);
        let window = Stack::new("a", &[window]).expect("legal");
        for (stack, sampling, count) in [
            (stack(&[]), Sampling::default(), 200),
            (stack(&[]), warm, 60),
            (window, Sampling::default(), 40),
            (stack(&["alibi", "attention_sink_operators"]), warm, 40),
        ] {
            let came = continued(&mut gpu, &stack, &prompt, sampling, count, 16);
            let expected = continued(&mut cpu, &stack, &prompt, sampling, count, 5);
            assert_eq!(came, expected, "{}", gpu.model().id);
        }
        assert!(gpu.facts().tier > Tier::Cpu, "the GPU did it all: {:?}", gpu.facts());
    }
}

/// A model in bytes is another model, and the same one on both engines.
#[test]
fn both_engines_write_the_same_in_bytes() {
    let quantised = || {
        let (id, files) = Files::find("stories-3m@int8").expect("it is shipped");
        load(&id, &files).expect("it is whole")
    };
    let [whole, bytes] = [stories(), quantised()].map(|loaded| Format::lossless(&loaded.weights));
    assert_eq!((whole, bytes), (Format::F16, Format::I8));
    let [mut gpu, mut cpu] = both(quantised);
    let deviation = gpu.facts().self_check.expect("it was checked");
    assert!(deviation < 1e-3, "the engines differ by {deviation}");
    let prompt = gpu.tokenizer().encode("Once upon a time", true).expect("it is text");
    let greedy = |engine: &mut Engine| continued(engine, &stack(&[]), &prompt, Sampling::default(), 60, 16);
    assert_eq!(greedy(&mut gpu), greedy(&mut cpu));
}

/// What is looked at while tokens come is what a whole pass over them shows: on the GPU from what it kept, on the processor
/// from such a pass. Masked pairs have no number.
#[test]
fn what_is_written_can_be_looked_at() {
    let files = tiny::model().2;
    for (mut engine, kept) in both(|| load("tiny", &files).expect("it is whole")).into_iter().zip([true, false]) {
        for ids in [&[][..], &["streaming_window", "attention_sink_operators"]] {
            let prompt = tokens(engine.config(), 9);
            let begun = engine.generate_unless(stack(ids), &prompt, Sampling::default(), 5, true, async || false);
            let mut generation = block_on(begun).expect("it begins");
            let head = Head { layer: 1, head: 1 };
            let mut rows = Vec::new();
            let read = |generation: &attnscope::engine::Generation| generation.tokens().len() - 1;
            for _ in 0..3 {
                let more = block_on(engine.written(&generation, head, rows.len())).expect("it is there");
                let keys = read(&generation);
                assert_eq!((&more.pattern.shape[..], more.kept), (&[keys - rows.len(), keys][..], kept));
                rows.extend(more.pattern.data.chunks(keys).map(<[f32]>::to_vec));
                assert!(!block_on(engine.burst(&mut generation, 4)).expect("it goes on").tokens.is_empty());
            }
            // Rows that came in parts are those of one pass at the end.
            let wants = Selection::sites(&[Site::Pattern]);
            let request = Request { tokens: &generation.tokens()[..rows.len()], stack: &stack(ids), seed: 5, wants };
            let whole = block_on(Forward::forward(&mut engine, request)).expect("it runs").captures;
            let whole = whole.get(1, Site::Pattern).expect("it was wanted"); // [1,H,Q,K]
            let keys = rows.len();
            for (query, row) in rows.iter().enumerate() {
                for (key, came) in row.iter().enumerate() {
                    let expected = whole.data[(keys + query) * keys + key];
                    let masked = key > query || ids.len() == 2 && expected == 0.0;
                    assert!(came.is_nan() == masked, "{ids:?} {query} {key}: {came}, {expected}");
                    assert!(masked || (came - expected).abs() < 1e-5, "{ids:?} {query} {key}: {came}, {expected}");
                }
            }
            // Nothing is new behind the last row, and no other head is there.
            let none = block_on(engine.written(&generation, head, read(&generation))).expect("it is empty");
            assert_eq!(none.pattern.shape[0], 0);
            let missing = Head { layer: engine.config().layers, head: 0 };
            assert_eq!(block_on(engine.written(&generation, missing, 0)).expect_err("there is none").code(), "unknown");
        }
    }
}

#[test]
fn both_engines_sort() {
    let Some((config, weights)) = nano_sort::loaded() else { return };
    let file = save_safetensors(&config, &weights, Precision::F32).expect("it is written");
    let files = crate::model::files::folder(&config).with("model.safetensors", file);
    for mut engine in both(|| load("nano-sort", &files).expect("it is whole")) {
        let (came, end) = continued(&mut engine, &stack(&[]), &[2, 0, 1, 1, 0, 2], Sampling::default(), 200, 200);
        assert_eq!((came, end), (vec![0, 0, 1, 1, 2], Some(End::Full { context: 11 })));
        assert!(end.and_then(|end| end.notice()).is_some_and(|notice| notice.contains("11 tokens")));
    }
}

/// What came before is kept, what follows is computed on a new device, and the draws go on as if nothing had happened.
#[test]
fn a_device_lost_between_bursts_changes_no_token() {
    let [mut gpu, mut cpu] = both(|| load("tiny", &tiny::model().2).expect("it is whole"));
    let (stack, prompt) = (stack(&[]), [3, 1, 4, 1, 5]);
    let sampling = Sampling { temperature: 1.0, seed: 4, ..Sampling::default() };
    let (expected, _) = continued(&mut cpu, &stack, &prompt, sampling, 30, 30);
    let mut generation = block_on(gpu.generate(stack, &prompt, sampling, 0)).expect("it begins");
    for index in 0.. {
        if index == 2 {
            gpu.lose_device();
        }
        if generation.drawn().len() >= 30 || generation.end().is_some() {
            break;
        }
        let left = 30 - generation.drawn().len();
        block_on(gpu.burst(&mut generation, left.min(6))).expect("it goes on");
    }
    assert_eq!(generation.drawn(), expected);
    assert!(generation.on_gpu() && gpu.facts().generation == 1, "{:?}", gpu.facts());
}

#[test]
fn the_layer_where_numbers_end_is_named() {
    let config = Config { bos: None, ..tiny::model().0 };
    let mut weights = weights(&config);
    for name in ["blocks.1.ffn.w_in", "blocks.1.ffn.w_out"] {
        weights.0.get_mut(name).expect("it is there").data.iter_mut().for_each(|value| *value *= 1e30);
    }
    let file = save_safetensors(&config, &weights, Precision::F32).expect("it is written");
    let files = tiny::model().2.with("model.safetensors", file);
    let mut loaded = load("broken", &files).expect("every weight is finite");
    loaded.config.bos = None;
    let mut engine = block_on(Engine::new(loaded, Choice::Cpu)).expect("it opens");
    let mut generation =
        block_on(engine.generate(stack(&[]), &[1, 2, 3], Sampling::default(), 0)).expect("the prompt is read");
    let error = block_on(engine.burst(&mut generation, 4)).expect_err("nothing can be drawn");
    assert_eq!(error.code(), "tensor");
    assert!(error.to_string().contains("blocks.1."), "{error}");
}

/// A prompt is read in parts, between which it can be given up; nothing of that stays behind.
#[test]
fn a_prompt_that_is_being_read_can_be_given_up() {
    for mut engine in both(|| load("tiny", &tiny::model().2).expect("it is whole")) {
        let prompt = tokens(engine.config(), 300);
        let asked = std::cell::Cell::new(0);
        let stop = async || {
            asked.set(asked.get() + 1);
            asked.get() == 2
        };
        let begun = block_on(engine.generate_unless(stack(&[]), &prompt, Sampling::default(), 0, false, stop));
        assert_eq!((begun.err().map(|error| error.code()), asked.get()), (Some("superseded"), 2));
        let parts = continued(&mut engine, &stack(&[]), &prompt, Sampling::default(), 6, 6);
        let mut seen = attnscope::model::Seen::default();
        let logits = engine.processor().decode(&mut seen, &stack(&[]), 0, &prompt).expect("it is read at once");
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(id, _)| id as u32);
        assert_eq!(parts.0.first().copied(), best);
    }
}

#[test]
fn prompts_that_cannot_be_continued_are_refused() {
    for mut engine in both(|| load("tiny", &tiny::model().2).expect("it is whole")) {
        let context = engine.config().context;
        let long = tokens(engine.config(), context + 1);
        let vocabulary = engine.config().vocabulary as u32;
        for (prompt, sampling, part) in [
            (&[][..], Sampling::default(), "at least one token"),
            (&long, Sampling::default(), "context of 320"),
            (&[1, vocabulary], Sampling::default(), "vocabulary"),
            (&[1], Sampling { temperature: -1.0, ..Sampling::default() }, "temperature"),
        ] {
            let error = block_on(engine.generate(stack(&[]), prompt, sampling, 0)).err().expect("it is refused");
            assert!(error.code() == "param" && error.to_string().contains(part), "{error}");
        }
        // A prompt that fills the context is read, and nothing follows it.
        let came = continued(&mut engine, &stack(&[]), &long[..context], Sampling::default(), 5, 5);
        assert_eq!(came, (Vec::new(), Some(End::Full { context })));
    }
}
