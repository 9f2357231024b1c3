//! Papers 14, 25, 43, 47, 60, 61: what a decode holds is what the price says, and what it dropped nobody misses.

use crate::tiny;
use attnscope::engine::{Choice, Engine, Forward, Request, price};
use attnscope::experiment::{Chip, link};
use attnscope::hook::Selection;
use attnscope::mechanism::Stack;
use attnscope::model::load;
use pollster::block_on;

const TOKENS: usize = 44;

fn engine() -> Engine {
    block_on(Engine::new(load("tiny", &tiny::model().2).unwrap(), Choice::Cpu)).unwrap()
}

fn measured(engine: &mut Engine, text: &str) -> Stack {
    let chips: Vec<Chip> = link::read(&format!("a={text}")).unwrap().experiment.panes[0].stack.clone();
    block_on(engine.measured(Stack::new("a", &chips).unwrap(), 0)).unwrap()
}

/// Bytes held after each token, of keys and values and of mechanisms, decoding token by token behind a prompt of `prompt`;
/// every step has the logits of a pass over the whole text, in which nothing is dropped.
fn held(engine: &mut Engine, stack: &Stack, prompt: usize) -> Vec<(usize, [usize; 2])> {
    let tokens: Vec<u32> = (0..TOKENS as u32).map(|index| 1 + index * 17 % 95).collect();
    let request = Request { tokens: &tokens, stack, seed: 0, wants: Selection::default() };
    let whole = block_on(engine.forward(request)).unwrap().logits;
    let mut decoder = engine.processor().decoder(stack, 0);
    let step = |count: usize| {
        let logits = decoder.logits(&tokens[..count]).unwrap();
        let worst = logits.iter().zip(whole.at(count - 1)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{count} tokens: off by {worst}");
        (count, decoder.bytes().expect("a stack that does something"))
    };
    (prompt..=TOKENS).map(step).collect()
}

/// Masks, alone and beside an operator that divides by the length of keys, gates per head, and layers that keep no keys.
#[test]
fn what_is_held_is_what_is_priced() {
    let mut engine = engine();
    let config = engine.config().clone();
    for text in [
        "streaming_window(sinks:2,window:5)",
        "streaming_window(sinks:2,window:5),softplus_reweighting",
        "streaming_window(sinks:2,window:5),alibi,attention_sink_operators",
        "duo_attention(sinks:2,window:5)",
        "duo_attention(sinks:2,window:5,streaming:0.75)",
        "s2_attention(block:4,local_blocks:1,stride:3)",
        "s2_attention(block:2,local_blocks:1,stride:8,rotate:true,dense_every:2)",
        "neighborhood_attention(neighbours:3,dilation:4)",
        "halo_attention(block:4,halo:2)",
        "echo_att(protect_first:0,protect_last:0)",
        "halo_attention(block:4,halo:2),echo_att(protect_first:0,protect_last:0)",
        "streaming_window(sinks:2,window:5),tidal_decode(budget:3)",
        "streaming_window(sinks:2,window:5),tidal_decode(budget:3,correction:4,prompt:9)",
        "trans_mla",
        "trans_mla(mode:compressed,rank:0.6)",
        "alibi",
    ] {
        let stack = measured(&mut engine, text);
        for prompt in [1, 30] {
            for (count, [bytes, _]) in held(&mut engine, &stack, prompt) {
                let expected = price(&config, &stack, 0, count).kv_bytes;
                assert_eq!(bytes, expected, "{text}: {count} tokens behind a prompt of {prompt}");
            }
        }
    }
}

/// A mixer with a state holds the state and nothing else, as much at the end as at the beginning; the same sum by the
/// left product has none and holds everything.
#[test]
fn a_state_is_all_that_is_held() {
    let mut engine = engine();
    let config = engine.config().clone();
    for text in ["lightning_attention", "lightning_attention(algorithm:right)", "lightning_attention(block:8)"] {
        let stack = measured(&mut engine, text);
        for (count, bytes) in held(&mut engine, &stack, 1) {
            assert_eq!(bytes, [0, price(&config, &stack, 0, count).kv_bytes], "{text}");
            assert_eq!(bytes[1], 4 * config.layers * config.heads * config.head_width * config.head_width);
        }
    }
    let left = measured(&mut engine, "lightning_attention(algorithm:left)");
    for (count, bytes) in held(&mut engine, &left, 1) {
        assert_eq!(bytes, [price(&config, &left, 0, count).kv_bytes, 0], "left");
        assert_eq!(bytes[0], 8 * config.layers * config.kv_heads * config.head_width * count);
    }
}
