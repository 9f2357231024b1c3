//! Good links, messages, experiments, tokenizers and archives with bytes changed at random: an error or a value, never a
//! panic. The same for weight files stands in `model/files.rs`.

use attnscope::api::protocol;
use attnscope::experiment::{Experiment, link};
use attnscope::hook::Array;
use attnscope::model::load::config_from_json;
use attnscope::npz;
use attnscope::tokenizer::Tokenizer;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::io::Cursor;

/// Good bytes, and what reads them.
type Source = (Vec<u8>, fn(&[u8]));

/// One of each kind.
pub fn sources() -> [Source; 7] {
    let experiment = serde_json::to_string(&Experiment::default()).unwrap();
    let message = format!(
        r#"{{"source":"attnscope","version":1,"id":7,"type":"state","payload":{{"experiment":{experiment}}}}}"#
    );
    let long = Experiment { prompt: "Once upon a time ".repeat(200), ..Experiment::default() };
    let mut archive = Vec::new();
    let values = Array::new([2, 3], vec![0.5; 6]).unwrap();
    npz::write(&mut archive, [("q".to_string(), &values)]).unwrap();
    let tokenizer = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<x>",
        "single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace",
        "pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\s+|a+"},
        "behavior":"Isolated","invert":false},"post_processor":null,"decoder":{"type":"Sequence","decoders":
        [{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
        "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"byte_fallback":true}}"#;
    let config = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":24,"intermediate_size":40,
        "num_hidden_layers":2,"num_attention_heads":6,"vocab_size":29,"max_position_embeddings":32,
        "rope_parameters":{"rope_type":"default","rope_theta":100.0}}"#;
    [
        (link::write(&Experiment::default()).into_bytes(), |bytes| read_text(bytes, |text| drop(link::read(text)))),
        (link::write(&long).into_bytes(), |bytes| read_text(bytes, |text| drop(link::read(text)))),
        (message.into_bytes(), |bytes| {
            read_text(bytes, |text| {
                if let Ok(Some(message)) = protocol::read(text)
                    && let protocol::ToFigure::State(wish) = message.body
                {
                    drop(wish.opened());
                }
            });
        }),
        (experiment.into_bytes(), |bytes| {
            drop(serde_json::from_slice::<Experiment>(bytes).map(|experiment| experiment.check()));
        }),
        (tokenizer.into(), |bytes| {
            if let Ok(tokenizer) = Tokenizer::from_hub_json("tokenizer.json", bytes) {
                let ids = tokenizer.encode("ab cb <x> \u{0}é\u{202e}", false).unwrap_or_default();
                assert!(ids.iter().all(|id| *id <= tokenizer.largest_id()), "{ids:?}");
                drop(tokenizer.decode(&ids));
                (0..6).for_each(|id| drop(tokenizer.token_text(id)));
            }
        }),
        (archive, |bytes| drop(npz::read("x.npz", Cursor::new(bytes)))),
        (config.into(), |bytes| drop(config_from_json(bytes))),
    ]
}

fn read_text(bytes: &[u8], read: impl Fn(&str)) {
    read(&String::from_utf8_lossy(bytes));
}

/// The same cases in every run; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more and for others.
pub fn steady(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { cases };
    let rng_seed = if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(7) } else { asked.rng_seed };
    ProptestConfig { cases, rng_seed, failure_persistence: None, ..asked }
}

/// A byte as it comes, or one that means something to a parser.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(&b"0123456789-+.eE\"'{}[](),:;&=%#\\/ \0\xff"[..])]
}

proptest! {
    #![proptest_config(steady(1500))]

    #[test]
    fn changed_inputs_never_panic(
        which in 0..7usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), byte(), 0..3u8), 1..8),
        cut in any::<prop::sample::Index>(),
        truncate in prop::bool::weighted(0.2),
    ) {
        let (mut bytes, read) = sources()[which].clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                // A stretch of the input once more: nesting, doubled keys, longer numbers.
                _ => {
                    let stretch = bytes[at..(at + usize::from(byte)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, stretch);
                }
            }
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        read(&bytes);
    }
}
