//! Layer `command`: the command line as its users meet it, as a program.

use crate::fixtures::{deviation, fixture, ids, json};
use attnscope::catalogue::Entry;
use attnscope::experiment::Chip;
use attnscope::hook::Array;
use attnscope::mechanism::{ALL, MASKED, Stack};
use attnscope::model::attention::normal;
use attnscope::model::step::{Given, apply};
use npyz::WriterBuilder;
use npyz::npz::{NpzArchive, NpzWriter};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn attnscope(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().unwrap()
}

/// What a successful call printed, as JSON.
fn answer(arguments: &[&str]) -> Value {
    let output = attnscope(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The sentence and the code of a call that must fail.
fn refusal(arguments: &[&str]) -> (String, String) {
    let output = attnscope(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = object["error"]["message"].as_str().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("attnscope: {message}\n"));
    (message.into(), object["error"]["code"].as_str().unwrap().into())
}

/// What a mechanism draws, as the page would, in the three ways the command line prints it.
#[test]
fn analyse_prints_drawings() {
    let link = "#m=stories-3m&p=A+cat+sat.&a=softmax&b=duo_attention(window:2)";
    let arguments = ["analyse", "exhibits", link, "--pane", "b"];
    let finding = answer(&[&arguments[..], &["--json"]].concat());
    let drawings = finding["found"]["exhibits"]["exhibits"].as_array().unwrap();
    let offered =
        attnscope::mechanism::by_id("duo_attention").unwrap().exhibits.iter().filter(|offer| !offer.is_slow());
    assert_eq!(drawings.len(), offered.count());
    let printed = |extra: &[&str]| String::from_utf8(attnscope(&[&arguments[..], extra].concat()).stdout).unwrap();
    let (text, csv) = (printed(&[]), printed(&["--csv"]));
    for drawing in drawings {
        let name = drawing["name"].as_str().unwrap();
        assert!(text.contains(name) && csv.contains(&format!("{}: {name}", drawing["id"].as_str().unwrap())), "{name}");
    }
}

/// A file of this test run that no other test writes.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// An npz of f8 whose first axis runs fastest, as `numpy.asfortranarray` leaves it, or of f4 in plain order.
fn write_npz(path: &Path, arrays: &[(&str, &Array)], fortran: bool) {
    let mut npz = NpzWriter::create(path).unwrap();
    for (name, array) in arrays {
        let shape: Vec<u64> = array.shape.iter().map(|size| *size as u64).collect();
        if fortran {
            let values = transposed(array).into_iter().map(f64::from);
            let order = npyz::Order::Fortran;
            let entry = npz.array(name, Default::default()).unwrap().default_dtype();
            let mut entry = entry.order(order).shape(&shape).begin_nd().unwrap();
            entry.extend(values).unwrap();
            entry.finish().unwrap();
        } else {
            let entry = npz.array(name, Default::default()).unwrap().default_dtype();
            let mut entry = entry.shape(&shape).begin_nd().unwrap();
            entry.extend(array.data.iter()).unwrap();
            entry.finish().unwrap();
        }
    }
    npz.zip_writer().finish().unwrap();
}

/// Values in the order in which the first axis runs fastest.
fn transposed(array: &Array) -> Vec<f32> {
    let count = array.data.len();
    let place = |mut at: usize| {
        let mut index = Vec::new();
        for size in &array.shape {
            index.push(at % size);
            at /= size;
        }
        index.iter().zip(&array.shape).fold(0, |place, (i, size)| place * size + i)
    };
    (0..count).map(|at| array.data[place(at)]).collect()
}

fn read_npz(path: &Path, name: &str) -> Array {
    let mut npz = NpzArchive::open(path).unwrap();
    let entry = npz.by_name(name).unwrap().unwrap_or_else(|| panic!("no {name}"));
    let shape: Vec<usize> = entry.shape().iter().map(|size| *size as usize).collect();
    Array::new(shape, entry.into_vec::<f32>().unwrap()).unwrap()
}

fn noise(name: &str, shape: &[usize]) -> Array {
    Array::new(shape, normal(shape.iter().product(), 1.0, name, 0, 0)).unwrap()
}

#[test]
fn mechanisms_are_the_registry() {
    let entries: Vec<Entry> = serde_json::from_value(answer(&["mechanisms", "--json"])).unwrap();
    assert_eq!(entries, ALL.iter().map(|mechanism| mechanism.entry()).collect::<Vec<_>>());
    let table = String::from_utf8(attnscope(&["mechanisms"]).stdout).unwrap();
    assert!(ALL.iter().all(|mechanism| table.contains(mechanism.id)));
}

#[test]
fn apply_computes_the_attention_step_of_the_file() {
    let (input, out) = (scratch("apply.npz"), scratch("applied.npz"));
    let (q, k, v) = (noise("q", &[2, 4, 3, 8]), noise("k", &[2, 2, 9, 8]), noise("v", &[2, 2, 9, 8]));
    let (k_star, v_star) = (noise("k_star", &[4, 8]), noise("v_star", &[4, 8]));
    let arrays = [("q", &q), ("k", &k), ("v", &v), ("k_star", &k_star), ("v_star", &v_star)];
    let chip = Chip::new("attention_sink_operators").with("operator", "key_value_bias").with("bias_logit", 1.5);
    let stack = Stack::new("a", &[chip]).unwrap();
    let inputs = vec![k_star.clone(), v_star.clone()];
    let scale = 1.0 / 8f32.sqrt();
    let given = Given { q: q.clone(), k: k.clone(), v: v.clone(), scale, first_query: 6, layer: 0, layers: 1, inputs };
    let expected = apply(&stack, &given).unwrap();
    for fortran in [false, true] {
        write_npz(&input, &arrays, fortran);
        let told = answer(&[
            "apply",
            "attention_sink_operators",
            "--set",
            "operator=key_value_bias",
            "--set",
            "bias_logit=1.5",
            "--input",
            input.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        assert_eq!(told["notices"].as_array().unwrap().len(), 0, "{told}");
        assert_eq!(told["first_query"], 6);
        assert_eq!(told["values"]["operator"], "key_value_bias");
        assert_eq!(read_npz(&out, "z"), expected.z);
        assert_eq!(read_npz(&out, "pattern"), expected.pattern);
        assert_eq!(read_npz(&out, "slot"), *expected.slot.as_ref().unwrap());
        let mask: Vec<f32> = expected.scores.data.iter().map(|score| f32::from(*score != MASKED)).collect();
        assert_eq!(read_npz(&out, "mask").data, mask);
    }
}

#[test]
fn apply_says_what_it_made_up_and_what_it_left_out() {
    let (input, out) = (scratch("partial.npz"), scratch("partial-out.npz"));
    let x = noise("x", &[1, 2, 5, 4]);
    write_npz(&input, &[("q", &x), ("k", &x), ("v", &x), ("extra", &x)], false);
    let (input, out) = (input.to_str().unwrap(), out.to_str().unwrap());
    let told = answer(&["apply", "attention_sink_operators", "--input", input, "--out", out]).to_string();
    for name in ["k_star", "v_star", "extra"] {
        assert!(told.contains(name), "{name}: {told}");
    }
}

#[test]
fn what_goes_wrong_is_one_sentence_and_a_code() {
    let (input, out) = (scratch("wrong.npz"), scratch("wrong-out.npz"));
    let x = noise("x", &[1, 2, 5, 4]);
    write_npz(&input, &[("q", &x), ("k", &x), ("v", &noise("v", &[1, 2, 6, 4]))], false);
    let short = scratch("short.npz");
    write_npz(&short, &[("q", &x)], false);
    let not_finite = scratch("not-finite.npz");
    let infinite = Array::new([1, 1, 1, 1], vec![f32::INFINITY]).unwrap();
    write_npz(&not_finite, &[("q", &infinite), ("k", &infinite), ("v", &infinite)], false);
    let text = scratch("text.npz");
    std::fs::write(&text, "no archive").unwrap();
    let (out, path) = (out.to_str().unwrap(), |path: &Path| path.to_str().unwrap().to_string());
    let on =
        |file: &Path, id: &str, set: &str| refusal(&["apply", id, "--set", set, "--input", &path(file), "--out", out]);
    for ((message, code), part, expected) in [
        (on(&input, "alibi", "strength=1"), "v", "shape"),
        (on(&input, "alibi", "strength=40"), "alibi: strength is 40 but must lie in 0..=4", "param"),
        (on(&input, "alibi", "strengt=1"), "alibi.strengt", "unknown"),
        (on(&input, "alibi", "strength"), "key=value", "parse"),
        (on(&input, "albi", "strength=1"), "albi", "unknown"),
        (on(&short, "alibi", "strength=1"), "tensor k", "tensor"),
        (on(&not_finite, "alibi", "strength=1"), "finite", "tensor"),
        (on(&text, "alibi", "strength=1"), "text.npz", "file"),
        (refusal(&["run", "missing.json"]), "missing.json", "file"),
        (refusal(&["run", "#m=no-such-model&p=One&a=softmax"]), "no-such-model", "unknown"),
        (refusal(&["check", "--mechanism", "albi"]), "albi", "unknown"),
        (refusal(&["generate", "--model", "no-such-model", "--prompt", "One"]), "no-such-model", "unknown"),
    ] {
        assert!(message.contains(part), "{message:?} should name {part:?}");
        assert_eq!(code, expected, "{message}");
    }
}

#[test]
fn laws_hold_on_the_command_line() {
    let checked = answer(&["check", "--laws-only", "--json"]);
    let checked = checked.as_array().unwrap();
    let laws: usize = ALL.iter().map(|mechanism| mechanism.laws.len() + 1).sum();
    assert_eq!(checked.len(), laws);
    assert!(checked.iter().all(|line| line["holds"] == true));
}

#[test]
fn generate_continues_a_shared_fixture_greedily() {
    let Some(folder) = fixture("llama2c") else { return };
    let expected = json("llama2c/expected.json").unwrap();
    let model = folder.join("stories260K.bin");
    let case = &expected["generations"][0];
    let prompt = case["prompt"].as_str().unwrap();
    let arguments = ["generate", "--model", model.to_str().unwrap(), "--prompt", prompt, "--greedy", "--json"];
    let tokenizer = folder.join("tok512.bin");
    for (count, more) in [
        (200, &["--engine", "cpu"][..]),
        (200, &["--engine", "gpu"]),
        (12, &["--engine", "cpu", "--tokenizer", tokenizer.to_str().unwrap()]),
    ] {
        let tokens = count.to_string();
        let came = answer(&[&arguments[..], more, &["--tokens", &tokens]].concat());
        assert_eq!(ids(&came["prompt_ids"]), ids(&case["prompt_ids"]));
        assert_eq!(ids(&came["generated_ids"]), ids(&case["generated_ids"])[..count], "{more:?}");
    }
}

#[test]
fn run_answers_a_shared_fixture_and_writes_its_captures() {
    let Some(folder) = fixture("llama2c") else { return };
    let expected = json("llama2c/expected.json").unwrap();
    let case = &expected["logits"][0];
    let model = folder.join("stories260K.bin");
    let experiment = serde_json::json!({
        "model": model,
        "prompt": case["prompt"],
        "panes": [{ "stack": [] }, { "stack": [{ "id": "streaming_window", "values": { "sinks": 0, "window": 1 } }] }],
    });
    let (file, out) = (scratch("experiment.json"), scratch("captures.npz"));
    std::fs::write(&file, experiment.to_string()).unwrap();
    let (file, npz) = (file.to_str().unwrap(), out.to_str().unwrap());
    let capture = "blocks.*.attn.hook_pattern,logits";
    let outcome = answer(&["run", file, "--engine", "cpu", "--capture", capture, "--out", npz]);
    let logits: Vec<f32> = crate::fixtures::numbers(&outcome["panes"][0]["logits"]);
    assert!(deviation(&logits, &crate::fixtures::numbers(&case["logits"])) <= 1e-3);
    let tokens = ids(&case["prompt_ids"]).len();
    assert_eq!(outcome["tokens"].as_array().unwrap().len(), tokens);
    assert!(outcome["panes"][1]["versus_a"]["kl_next"].as_f64().unwrap() > 0.0);
    let pattern = read_npz(&out, "blocks.4.attn.hook_pattern");
    assert_eq!(pattern.shape, [1, 8, tokens, tokens]);
    // A window of one token looks at nothing but itself.
    let windowed = read_npz(&out, "b.blocks.4.attn.hook_pattern");
    let diagonal =
        (0..8 * tokens * tokens).map(|at| f32::from(at % tokens == at / tokens % tokens)).collect::<Vec<_>>();
    assert_eq!(windowed.data, diagonal);
    assert_eq!(read_npz(&out, "logits").at(0)[(tokens - 1) * 512..].len(), 512);
}

#[test]
fn a_text_is_scored_against_softmax_on_the_same_windows() {
    let file = scratch("score.txt");
    std::fs::write(&file, format!("{0}\n<|endoftext|>\n{0}", include_str!("../../www/held-out.txt"))).unwrap();
    let file = file.to_str().unwrap();
    let window = "streaming_window(sinks:0,window:4)";
    let both = format!("{window},alibi(strength:4)");
    let stacks = ["--stack", window, "--stack", "softmax", "--stack", &both];
    let came = answer(
        &[&["score", file, "--tokens", "64", "--windows", "6", "--engine", "cpu", "--json"], &stacks[..]].concat(),
    );
    assert_eq!((came["windows"].as_u64(), came["predicted"].as_u64()), (Some(6), Some(6 * 63)));
    let row = |index: usize, key: &str| came["stacks"][index][key].as_f64().unwrap();
    assert_eq!((row(0, "delta"), row(2, "delta"), row(2, "plus_minus")), (0.0, 0.0, 0.0));
    // A sight of four tokens costs much more than chance makes of six windows.
    assert!(row(1, "delta") > row(1, "plus_minus") && (row(1, "loss") - row(0, "loss") - row(1, "delta")).abs() < 1e-6);
    assert!((row(3, "loss") - row(1, "loss")).abs() > 1e-3, "the second chip of a stack does something");
    // What a link would leave out with a notice is an error here.
    for command in [&["score", file][..], &["generate", "--model", "stories-3m", "--prompt", "a"]] {
        let (sentence, _) =
            refusal(&[command, &["--engine", "cpu", "--stack", "streaming_window(windows:3)"]].concat());
        assert!(sentence.contains("windows"), "{sentence}");
    }
    let (sentence, code) = refusal(&["score", file, "--engine", "cpu", "--stack", "nosuch"]);
    assert!(sentence.contains("nosuch") && code == "unknown", "{code}: {sentence}");
    let (sentence, _) = refusal(&["score", file, "--engine", "cpu", "--tokens", "100000"]);
    assert!(sentence.contains("100000") && sentence.contains("context"), "{sentence}");
}

#[test]
fn the_bench_runs_variants_at_every_length() {
    let stacks = ["--stack", "streaming_window(sinks:2,window:16)"];
    let came = answer(
        &[&["bench", "--tokens", "32,64", "--passages", "4", "--drawn", "2", "--engine", "cpu", "--json"], &stacks[..]]
            .concat(),
    );
    let variants = came["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 2);
    for variant in variants {
        let lengths: Vec<_> =
            variant["quotes"].as_array().unwrap().iter().map(|quote| quote["tokens"].as_u64()).collect();
        assert_eq!(lengths, [Some(32), Some(64)]);
        assert_eq!(variant["needles"]["items"], 4);
    }
    let share = |variant: usize| variants[variant]["quotes"][1]["price"]["score_share"].as_f64().unwrap();
    assert!(share(0) == 1.0 && share(1) < 0.6);
}
