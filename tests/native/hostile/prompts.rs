//! Prompts as nobody writes them: what a tokenizer makes of them is turned back into the same text, in bounded time.

use super::memory;
use crate::model::{files, lively};
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, Pane, link};
use attnscope::mechanism::Stack;
use attnscope::model::load::{Precision, save_safetensors};
use attnscope::model::{Config, CpuModel, Files, load};
use attnscope::tokenizer::{LONGEST_TEXT, Tokenizer};
use pollster::block_on;
use std::path::Path;
use std::time::{Duration, Instant};

/// Text with markup, control characters, both directions, marks without end and all planes.
fn strange() -> Vec<(&'static str, String)> {
    vec![
        ("markup", "<script>alert(1)</script><img src=x onerror=alert(2)>&amp;".into()),
        ("control characters", (0u8..32).map(char::from).chain(['\u{7f}', '\u{85}', '\u{9b}']).collect()),
        ("NUL", "a\0b\0\0c".into()),
        ("right to left", "abc \u{202e}fed\u{202c} \u{2066}x\u{2069} שלום مرحبا".into()),
        ("nothing to see", "a\u{200b}b\u{200c}c\u{200d}d\u{2060}e\u{feff}f\u{ad}g".into()),
        ("combining marks", format!("e{} z{}", "\u{301}".repeat(500), "\u{489}".repeat(500))),
        ("joined emoji", "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇦".into()),
        ("far planes", "𐍈𝔘𠜎\u{e0041}\u{10fffd}".into()),
        ("no characters", "\u{fffe}\u{ffff}\u{fdd0}".into()),
        ("line ends", "a\r\nb\rc\n\u{2028}\u{2029}\u{b}\u{c}".into()),
        ("spaces", " \t\u{a0}\u{2003}\u{3000} ".repeat(20)),
        ("both forms", "é e\u{301} ﬁ Å \u{212b}".into()),
    ]
}

fn shipped() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/stories-3m");
    load("stories-3m", &Files::read(&folder).unwrap()).unwrap().tokenizer
}

#[test]
fn strange_texts_come_back_as_they_were() {
    let tokenizer = shipped();
    for (name, text) in strange() {
        let ids = tokenizer.encode(&text, false).unwrap();
        assert!(ids.iter().all(|id| *id <= tokenizer.largest_id()), "{name}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}");
        // What stands on a chip shows every byte, as text or as <0x..>.
        assert!(ids.iter().all(|id| !tokenizer.token_text(*id).is_empty()), "{name}");
        let experiment = Experiment { prompt: text.clone(), ..Experiment::default() };
        assert_eq!(link::read(&link::write(&experiment)).unwrap().experiment.prompt, text, "{name}");
    }
}

/// 100,000 characters, of kinds that merge all the way up, never, or only at the end.
#[test]
fn long_texts_take_bounded_time_and_memory() {
    let (_, pieces) = files::llama2c();
    let pieces = Tokenizer::from_llama2c("tok.bin", &pieces, 260).unwrap();
    let joining = {
        // Every power of two of the letter is a piece, so that a long word joins again and again.
        let mut file = 0i32.to_le_bytes().to_vec();
        let mut put = |piece: &[u8], score: f32| {
            file.extend([score.to_le_bytes(), (piece.len() as i32).to_le_bytes()].concat());
            file.extend_from_slice(piece);
        };
        (0..259).for_each(|id| put(format!("<{id:03}>").as_bytes(), 0.0));
        (0..11).for_each(|power| put(&b"a".repeat(1 << power), -(power as f32)));
        Tokenizer::from_llama2c("tok.bin", &file, 270).unwrap()
    };
    assert_eq!(joining.encode(&"a".repeat(1 << 17), false).unwrap().len(), 1 << 7);
    for (who, tokenizer) in [("shipped", &shipped()), ("pieces", &pieces), ("joining pieces", &joining)] {
        for part in ["a", "ab ", " ", "é", "👩‍👩‍👧‍👦", "e\u{301}", "\0", "word "] {
            let text: String = part.chars().cycle().take(100_000).collect();
            let began = Instant::now();
            let (ids, peak) = memory::peak(|| tokenizer.encode(&text, true).unwrap());
            let took = began.elapsed();
            assert!(took < Duration::from_secs(5), "{who}, {part:?}: {took:?}");
            assert!(peak < 400 * text.len() + (8 << 20), "{who}, {part:?}: {peak} bytes");
            assert!(ids.len() <= text.len() + 2, "{who}, {part:?}");
        }
    }
}

#[test]
fn a_text_beyond_all_is_refused() {
    let text = "x".repeat(LONGEST_TEXT + 1);
    let error = shipped().encode(&text, false).unwrap_err();
    assert_eq!(error.code(), "limit");
    assert_eq!(error.to_string(), "prompt: 1048577 bytes came; at most 1048576 are read");
}

/// A model may claim any context; neither a long prompt nor a continuation takes memory for what is not there.
#[test]
fn a_context_that_is_claimed_costs_nothing() {
    let config = Config { context: 1 << 20, head_width: 64, ..Config::llama(31, 8, 1, 1, 1, 8) };
    let weights = save_safetensors(&config, &lively(&config, 1), Precision::F32).unwrap();
    let files = files::folder(&config).with("model.safetensors", weights);
    let mut engine = block_on(Engine::new(load("m", &files).unwrap(), Choice::Cpu)).unwrap();
    let experiment =
        Experiment { prompt: "ab".repeat(50_000), bos: false, panes: vec![Pane::default()], ..Experiment::default() };
    let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
    assert_eq!(outcome.tokens.len(), 2048);
    let cut = "the prompt has 100000 tokens and was cut to the first 2048, the most that is run at once";
    assert!(outcome.notices.iter().any(|notice| notice == cut), "{:?}", outcome.notices);
    let model = CpuModel::new(&config, &lively(&config, 1)).unwrap();
    let stack = Stack::new("a", &[]).unwrap();
    let (logits, peak) = memory::peak(|| model.decoder(&stack, 0).logits(&[0, 1, 0]).unwrap());
    // A table of all positions would take half a gigabyte.
    assert!(logits.len() == 31 && peak < 8 << 20, "{peak} bytes");
}
