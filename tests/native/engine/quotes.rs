//! What variants cost and are worth: counts against arrays that were counted otherwise, signs that must hold.

use super::{engine, experiment, run, window};
use crate::tiny::model;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::Chip;
use attnscope::mechanism::ALL;
use attnscope::model::load::{Precision, config_to_json, save_safetensors};
use attnscope::model::{Config, Weights, load};
use attnscope::outcome::arrays;
use pollster::block_on;

const LETTERS: &str = "The quick brown fox jumps over the lazy dog and runs away";

#[test]
fn every_quote_counts_the_pairs_that_the_arrays_show() {
    let mut engine = engine();
    for mechanism in ALL {
        let stack = [Chip::new(mechanism.id)];
        let outcome = run(&mut engine, &experiment(LETTERS, &[&stack])).unwrap();
        let pane = &outcome.panes[0];
        let tokens = outcome.tokens.len();
        let quote = block_on(engine.quote(&stack, LETTERS, tokens, 2)).unwrap();
        assert_eq!(quote.price.score_share, pane.price.score_share, "{}", mechanism.id);
        assert_eq!((quote.loss, quote.price.kv_bytes), (pane.loss, pane.price.kv_bytes), "{}", mechanism.id);
        assert!(quote.tokens_per_second.is_none_or(|rate| rate > 0.0), "{}", mechanism.id);
        // Counted once more, from what a visitor sees.
        let stacks_a_pattern = ["attention_sink_operators", "hyper_attention", "minference", "tidal_decode"];
        if stacks_a_pattern.contains(&mechanism.id) {
            let seen = pane.arrays[arrays::PATTERN].data.iter().filter(|weight| **weight > 0.0).count();
            let rows = outcome.model.layers * outcome.model.heads;
            let share = seen as f32 / (rows * tokens * (tokens + 1) / 2) as f32;
            assert!((share - quote.price.score_share.unwrap()).abs() < 2e-3, "{}: {share}", mechanism.id);
        }
    }
}

/// A variant that foresees tokens is compared over those it does not, and speeds of two engines are not compared at all.
#[test]
fn quotes_are_compared_over_the_same_tokens_and_the_same_engine() {
    let mut engine = engine();
    let prefix = [Chip::new("prefix_lm").with("prefix", 6.0)];
    let outcome = run(&mut engine, &experiment(LETTERS, &[&[], &prefix])).unwrap();
    let tokens = outcome.tokens.len();
    let softmax = block_on(engine.quote(&[], LETTERS, tokens, 2)).unwrap();
    let quote = block_on(engine.quote(&prefix, LETTERS, tokens, 2)).unwrap();
    let beyond = outcome.panes[1].versus_a.as_ref().unwrap().delta_loss.unwrap();
    assert!((quote.loss_beyond(&softmax).unwrap() - beyond).abs() < 1e-5);
    assert!((quote.loss.unwrap() - softmax.loss.unwrap() - beyond).abs() > 1e-3, "the first tokens matter here");
    assert!(!softmax.drawn_on_gpu && softmax.speed_beside(&softmax) == Some(1.0));

    let files = model().2;
    let mut gpu = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Gpu)).unwrap();
    let mut quoted = |chips: &[Chip]| block_on(gpu.quote(chips, LETTERS, 40, 2)).unwrap();
    let (plain, window, prefix) = (quoted(&[]), quoted(&[window(0, 8)]), quoted(&prefix));
    assert!(plain.drawn_on_gpu && window.speed_beside(&plain).is_some());
    assert!(!prefix.drawn_on_gpu && prefix.tokens_per_second.is_some() && prefix.speed_beside(&plain).is_none());
}

#[test]
fn beyond_the_context_time_is_real_and_the_loss_is_left_out() {
    let mut engine = engine();
    let length = engine.config().context + 30;
    let plain = block_on(engine.quote(&[], LETTERS, length, 3)).unwrap();
    assert_eq!((plain.tokens, plain.loss, plain.price.score_share), (length, None, Some(1.0)));
    assert!(plain.price.millis > 0.0 && plain.tokens_per_second.is_some());
    // A window of w tokens and no sinks keeps w pairs of every row but the first w − 1.
    let quote = block_on(engine.quote(&[window(0, 8)], LETTERS, length, 1)).unwrap();
    let kept = (8 * length - 8 * 7 / 2) as f32 / (length * (length + 1) / 2) as f32;
    assert!((quote.price.score_share.unwrap() - kept).abs() < 1e-6);
    // The engine itself is as it was.
    let within = block_on(engine.quote(&[], LETTERS, 40, 1)).unwrap();
    assert!(within.loss.is_some());
    assert_eq!(block_on(engine.quote(&[], LETTERS, 1, 1)).unwrap_err().code(), "param");
}

#[test]
fn learned_positions_end_with_the_context() {
    let (llama, _, files) = model();
    let mut config = Config::gpt2(llama.vocabulary, 16, 1, 2, 48);
    config.bos = llama.bos;
    let weights = Weights::init(&config, 3);
    let file = save_safetensors(&config, &weights, Precision::F32).unwrap();
    let files = files.with("config.json", config_to_json(&config)).with("model.safetensors", file);
    let mut engine = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Cpu)).unwrap();
    let context = engine.config().context;
    assert!(block_on(engine.quote(&[], LETTERS, context, 1)).unwrap().loss.is_some());
    let problem = block_on(engine.quote(&[], LETTERS, context + 1, 1)).unwrap_err().to_string();
    assert!(problem.contains("learned positions") && problem.contains(&context.to_string()), "{problem}");
}

#[test]
fn needles_are_found_with_a_long_sight_and_lost_without() {
    let mut engine = block_on(Engine::open("circuits-2m", Choice::Cpu)).unwrap();
    let mut found = |stack: &[Chip]| block_on(engine.needles(stack, 8)).unwrap();
    let (plain, short) = (found(&[]), found(&[window(4, 12)]));
    assert!(plain.accuracy > 0.9 && plain.questions == 16, "{plain:?}");
    assert!(short.accuracy < 0.4, "{short:?}");
    // A model that lacks the words is refused with their name.
    let mut tiny = super::engine();
    assert!(block_on(tiny.needles(&[], 2)).is_err());
}
