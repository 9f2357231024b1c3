//! Paper 62, check (c): what correcting the cache of TidalDecode does.

use super::super::model::{lively, some_tokens};
use attnscope::experiment::link;
use attnscope::hook::{ActivationCache, Selection, Site};
use attnscope::mechanism::{Corrects, Stack};
use attnscope::model::{Config, CpuModel};

const TOKENS: usize = 40;

fn stack(text: &str) -> Stack {
    Stack::new("a", &link::stack(text).unwrap()).unwrap()
}

fn model() -> CpuModel {
    let config = Config { context: 96, ..Config::llama(29, 24, 5, 4, 2, 32) };
    CpuModel::new(&config, &lively(&config, 6)).unwrap()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Rotated keys of one layer in a dense pass, of the first `tokens` tokens: `[G,tokens,D]`.
fn dense(model: &CpuModel, tokens: &[u32], layer: usize) -> Vec<f32> {
    let mut seen = ActivationCache::new(Selection::sites(&[Site::RotK]));
    model.run(&[tokens], &stack("softmax"), 0, &mut seen).unwrap();
    seen.get(layer, Site::RotK).unwrap().data.clone()
}

/// After every correction the cache is the dense one, whether each token is corrected at once or five together, behind a
/// prompt or none; without correction keys behind the first sparse layer drift.
#[test]
fn a_corrected_cache_is_the_dense_one() {
    let model = model();
    let tokens = some_tokens(29, TOKENS);
    for (text, corrects) in [
        ("tidal_decode(budget:4,correction:1)", Corrects { prompt: 0, every: 1 }),
        ("tidal_decode(budget:4,correction:5,prompt:7)", Corrects { prompt: 7, every: 5 }),
        (
            "alibi,tidal_decode(budget:4,correction:3,lists:every_layer),softplus_reweighting",
            Corrects { prompt: 0, every: 3 },
        ),
    ] {
        let stack = stack(text);
        assert_eq!(stack.corrects(), Some(corrects));
        let plain = stack.without_selector();
        let mut decoder = model.decoder(&stack, 0);
        for count in 1..=TOKENS {
            decoder.logits(&tokens[..count]).unwrap();
            let due = corrects.before(count);
            let mut exact = ActivationCache::new(Selection::sites(&[Site::RotK]));
            model.run(&[&tokens[..count]], &plain, 0, &mut exact).unwrap();
            for layer in 0..5 {
                let held = decoder.keys(layer).unwrap();
                let exact = &exact.get(layer, Site::RotK).unwrap().data;
                let width = exact.len() / 2 / count;
                for (held, exact) in held.data.chunks(count * width).zip(exact.chunks(count * width)) {
                    let size = exact.iter().fold(1.0f32, |size, key| size.max(key.abs()));
                    let off = worst(&held[..due * width], &exact[..due * width]) / size;
                    assert!(off < 1e-4, "{text}: {count} tokens, layer {layer}: corrected keys are off by {off}");
                }
            }
        }
    }
    let off = stack("tidal_decode(budget:4)");
    let mut decoder = model.decoder(&off, 0);
    decoder.logits(&tokens).unwrap();
    // Of five layers, 1 and 2 choose; the first sparse layer is 3.
    for layer in 0..5 {
        let drift = worst(&decoder.keys(layer).unwrap().data, &dense(&model, &tokens, layer));
        assert_eq!(drift > 1e-3, layer > 3, "layer {layer}: {drift}");
    }
}

/// A pass shows what a decode does: row by row the logits are those of the steps, whether steps come one by one or many at
/// once, also beside a mask, whose cache is smaller, and beside latents.
#[test]
fn a_pass_shows_the_corrected_steps() {
    let model = model();
    let tokens = some_tokens(29, TOKENS);
    let run =
        |stack: &Stack| model.run(&[&tokens], stack, 0, &mut ActivationCache::new(Selection::default())).unwrap().data;
    let never = run(&stack("tidal_decode(budget:4)"));
    for text in [
        "tidal_decode(budget:4,correction:1)",
        "tidal_decode(budget:4,correction:6)",
        "tidal_decode(budget:4,correction:6,prompt:11)",
        "tidal_decode(budget:4,correction:6,prompt:39)",
        "tidal_decode(budget:4,correction:512)",
        "streaming_window(sinks:2,window:9),tidal_decode(budget:4,correction:6)",
        "alibi,tidal_decode(budget:4,correction:4,lists:window),echo_att(protect_first:0,protect_last:0)",
        "trans_mla,tidal_decode(budget:4,correction:4)",
    ] {
        let stack = stack(text);
        let whole = run(&stack);
        for prompt in [1, 5, 23] {
            let mut decoder = model.decoder(&stack, 0);
            for count in prompt..=TOKENS {
                let logits = decoder.logits(&tokens[..count]).unwrap();
                let off = worst(&logits, &whole[(count - 1) * 29..count * 29]);
                assert!(off < 1e-4, "{text}: {count} tokens behind {prompt}: off by {off}");
            }
        }
        if text.starts_with("tidal") {
            let moved = worst(&whole, &never) > 1e-3;
            assert_eq!(moved, !text.contains("512"), "{text}");
        }
    }
}

/// Lists as long as the text change nothing, corrected or not.
#[test]
fn there_is_nothing_to_correct_in_a_dense_decode() {
    let model = model();
    let tokens = some_tokens(29, TOKENS);
    let run = |text: &str| {
        model.run(&[&tokens], &stack(text), 0, &mut ActivationCache::new(Selection::default())).unwrap().data
    };
    assert!(worst(&run("tidal_decode(budget:40,correction:4)"), &run("softmax")) < 1e-4);
}
