//! Tokenizers against cases made by other implementations.

use crate::fixtures::{self, fixture, ids};
use attnscope::tokenizer::Tokenizer;
use serde_json::json;

/// GPT-2's two files in the one-file format.
fn one_file(vocab: &[u8], merges: &[u8]) -> String {
    let vocab: serde_json::Value = serde_json::from_slice(vocab).unwrap();
    let merges: Vec<&str> = std::str::from_utf8(merges).unwrap().lines().collect();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let end = json!({ "id": 50256, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true });
    json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end], "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocab, "merges": merges } })
    .to_string()
}

#[test]
fn gpt2_cases_are_identical_from_both_kinds_of_files() {
    let Some(folder) = fixture("gpt2-tokenizer") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let (vocab, merges) = (read("vocab.json"), read("merges.txt"));
    let two = Tokenizer::from_gpt2_files(&vocab, &merges).unwrap();
    assert_eq!(two.bos(), Some(50_256));
    let one = Tokenizer::from_hub_json("tokenizer.json", one_file(&vocab, &merges).as_bytes()).unwrap();
    let file = fixtures::json("gpt2-tokenizer/cases.json").unwrap();
    for mut tokenizer in [two, one.with_bos(Some(50_256))] {
        check_gpt2(&mut tokenizer, file["cases"].as_array().unwrap());
    }
}

fn check_gpt2(tokenizer: &mut Tokenizer, cases: &[serde_json::Value]) {
    assert_eq!(tokenizer.vocabulary(), 50_257);
    assert_eq!(cases.len(), 235);
    for recognised in [true, false] {
        tokenizer.set_control_words(recognised);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let special = &case["ids_with_special"];
            let expected = ids(if recognised && !special.is_null() { special } else { &case["ids"] });
            assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{text:?}");
            if special.is_null() || !recognised {
                assert_eq!(tokenizer.decode(&expected).unwrap(), text);
            }
        }
    }
    // A byte of a longer character cannot be shown as text.
    let parts: Vec<_> = tokenizer.encode("a 🦀", true).unwrap().iter().map(|id| tokenizer.token_text(*id)).collect();
    assert_eq!(parts[..2], ["<|endoftext|>", "a"]);
    assert!(parts.last().unwrap().starts_with("<0x"), "{parts:?}");
    assert!(tokenizer.special(50_256) && !tokenizer.special(0));
}

/// Llama's own tokenizers write a space as ▁ and a byte as <0x..>, and add BOS by a template unless asked not to.
#[test]
fn pieces_with_byte_fallback() {
    let special = |id: u32, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    };
    let vocab = json!({ "<s>": 0, "<0x0A>": 1, "▁": 2, "a": 3, "▁a": 4, "<0xE2>": 5, "<unk>": 6 });
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let file = json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [special(0, "<s>")],
        "normalizer": replace(" ", "▁"), "pre_tokenizer": null,
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } } },
        "decoder": { "type": "Sequence",
            "decoders": [replace("▁", " "), { "type": "ByteFallback" }, { "type": "Fuse" }] },
        "model": { "type": "BPE", "vocab": vocab, "merges": ["▁ a"], "byte_fallback": true, "unk_token": "<unk>" } });
    let tokenizer = Tokenizer::from_hub_json("tokenizer.json", file.to_string().as_bytes()).unwrap().with_bos(Some(0));
    assert_eq!(tokenizer.encode("a a\n", true).unwrap(), [0, 3, 4, 1]);
    assert_eq!(tokenizer.encode("a a\n", false).unwrap(), [3, 4, 1]);
    assert_eq!(tokenizer.decode(&[0, 3, 4, 1]).unwrap(), "a a\n");
    let texts: Vec<_> = (0..6).map(|id| tokenizer.token_text(id)).collect();
    assert_eq!(texts, ["<s>", "\n", " ", "a", " a", "<0xE2>"]);
    assert_eq!(tokenizer.id("▁a"), Some(4));
    let error = Tokenizer::from_hub_json("tokenizer.json", b"{}").unwrap_err().to_string();
    assert!(error.starts_with("tokenizer.json: "), "{error}");
}

#[test]
fn version_line_and_broken_merges() {
    let vocab = br#"{"a": 0, "b": 1, "ab": 2}"#;
    let tokenizer = Tokenizer::from_gpt2_files(vocab, b"#version: 0.2\na b\n").unwrap();
    assert_eq!(tokenizer.encode("abba", false).unwrap(), [2, 1, 0]);
    assert_eq!(tokenizer.bos(), None);
    for (broken, said) in [("a b c", "line 1"), ("ab", "line 1"), ("a c", "c")] {
        let error = Tokenizer::from_gpt2_files(vocab, broken.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("merges.txt: ") && error.contains(said), "{error}");
    }
    let error = Tokenizer::from_gpt2_files(b"[1]", b"").unwrap_err().to_string();
    assert!(error.starts_with("vocab.json: "), "{error}");
}

#[test]
fn llama2c_cases_are_identical() {
    let Some(loaded) = super::llama2c::loaded() else { return };
    let tokenizer = &loaded.tokenizer;
    let file = fixtures::json("llama2c/tokenizer-cases.json").unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected = ids(&case["ids"]);
        assert_eq!(tokenizer.encode(text, true).unwrap(), expected, "{text:?}");
        assert_eq!(tokenizer.encode(text, false).unwrap(), expected[1..], "{text:?} without BOS");
        assert_eq!(tokenizer.decode(&expected).unwrap(), case["decoded"].as_str().unwrap());
    }
    let prompt = fixtures::json("llama2c/expected.json").unwrap();
    let pieces = prompt["attention"]["pieces"].as_array().unwrap();
    for (index, (id, piece)) in ids(&prompt["attention"]["prompt_ids"]).iter().zip(pieces).enumerate() {
        let text = tokenizer.token_text(*id);
        // The fixture shows the first word without the space that the encoding puts in front of it.
        assert_eq!(if index == 1 { text.trim_start() } else { &text }, piece.as_str().unwrap());
    }
    assert_eq!(tokenizer.token_text(3 + 0xF0), "<0xF0>");
    assert_eq!((tokenizer.special(1), tokenizer.special(3), tokenizer.bos()), (true, false, Some(1)));
}

/// Scores, not pairs, decide: `a·aa` and `aa·a` both make `aaa` and are equally good, so the left one is joined.
#[test]
fn llama2c_joins_the_leftmost_of_equals() {
    let mut file = 7i32.to_le_bytes().to_vec();
    let mut put = |piece: &[u8], score: f32| {
        file.extend_from_slice(&score.to_le_bytes());
        file.extend_from_slice(&(piece.len() as i32).to_le_bytes());
        file.extend_from_slice(piece);
    };
    for word in ["<unk>", "<s>", "</s>"] {
        put(word.as_bytes(), 0.0);
    }
    for byte in 0..=255 {
        put(format!("<0x{byte:02X}>").as_bytes(), 0.0);
    }
    for (piece, score) in [("a", -1e9), ("b", -1e9), ("bb", -1.0), ("abb", -2.0), ("bba", -2.0)] {
        put(piece.as_bytes(), score);
    }
    let tokenizer = Tokenizer::from_llama2c("tok.bin", &file, 264).unwrap();
    let [a, abb, bba, space] = [259, 262, 263, 3 + 0x20];
    assert_eq!(tokenizer.encode("abba", false).unwrap(), [abb, a]);
    assert_eq!(tokenizer.encode("bba", false).unwrap(), [bba]);
    assert_eq!(tokenizer.encode("a", false).unwrap(), [a], "without a piece for it no space stands in front");
    assert_eq!(tokenizer.encode("a a", false).unwrap(), [a, space, a]);
    for cut in [0, 3, 9, 11, file.len() - 1] {
        let error = Tokenizer::from_llama2c("tok.bin", &file[..cut], 264).unwrap_err().to_string();
        assert!(error.starts_with("tok.bin: ends inside"), "{error}");
    }
    assert!(Tokenizer::from_llama2c("tok.bin", &file, 263).is_err());
    file[8..12].copy_from_slice(&(-5i32).to_le_bytes());
    assert!(Tokenizer::from_llama2c("tok.bin", &file, 264).is_err());
}
