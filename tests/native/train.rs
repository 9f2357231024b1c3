//! Layer `train`: the trainer against the model's own definition, and runs that stop and go on.

mod circuits;

use attnscope::mechanism::Stack;
use attnscope::model::load::Files;
use attnscope::model::{Config, Run as Pass, Text, Weights, load};
use attnscope::train::args::{On, TrainArgs};
use attnscope::train::corpus::{self, Section};
use attnscope::train::curriculum::Curriculum;
use attnscope::train::optimizer::Rule;
use attnscope::train::recall::{KEYS, MOST, Recall, VALUES};
use attnscope::train::stream::{Documents, Reader, Row};
use attnscope::train::workers::Workers;
use attnscope::train::{forward, loss, run, vocabulary};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use std::path::{Path, PathBuf};

/// A model small enough for a test, of the kind trained here, with weights large enough to show mistakes.
fn small(device: &Device) -> Text {
    let config = Config { context: 300, ..Config::llama(50, 24, 2, 6, 3, 40) };
    let mut weights = Weights::init(&config, 5);
    for array in weights.0.values_mut().filter(|array| array.shape.len() == 2) {
        array.data.iter_mut().for_each(|value| *value *= 12.0);
    }
    Text::from_weights(&config, &weights, device).unwrap()
}

fn some_rows(count: usize, width: usize, vocabulary: usize) -> Vec<Vec<u16>> {
    (0..count).map(|row| (0..=width).map(|at| ((row * 31 + at * at * 7 + at) % vocabulary) as u16).collect()).collect()
}

fn even(rows: &[Vec<u16>]) -> Vec<Row> {
    rows.iter().map(|row| Row::even(row)).collect()
}

/// Largest difference of two gradients of `model`, relative to the largest entry of each weight's gradient.
struct Compare<'a>(&'a GradientsParams, &'a GradientsParams, f32);

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (a, b) = (self.0.get::<D>(param.id).unwrap(), self.1.get::<D>(param.id).unwrap());
        let size = b.clone().abs().max().into_scalar::<f32>();
        assert!(size > 0.0, "a weight without gradient cannot be compared");
        self.2 = self.2.max((a - b).abs().max().into_scalar::<f32>() / size);
    }
}

/// 130 and 300 positions cross the borders of the blocks of queries.
#[test]
fn the_quick_pass_and_its_gradients_are_those_of_the_model() {
    let device = Device::flex().autodiff();
    let model = small(&device);
    let stack = Stack::new("a", &[]).unwrap();
    for width in [2, 7, 130, 300] {
        let rows = some_rows(2, width, 50);
        let ids = |skip: usize| -> Tensor<2, Int> {
            let ids: Vec<i32> =
                rows.iter().flat_map(|row| row[skip..skip + width].iter().map(|id| i32::from(*id))).collect();
            Tensor::from_data(TensorData::new(ids, [2, width]), &device)
        };
        let logits = model.forward(ids(0), &Pass::new(&stack, 0)).reshape([2 * width, 50]);
        let quick = forward::logits(&model, ids(0), &forward::Shape::new(&model.config, width, &device));
        let difference = (logits.clone() - quick).abs().max().into_scalar::<f32>();
        assert!(difference < 2e-4, "{width} tokens: logits differ by {difference}");
        let targets = ids(1).reshape([2 * width, 1]);
        let plain = activation::log_softmax(logits, 1).gather(1, targets).mean().neg();
        let expected = f64::from(plain.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(plain.backward(), &model);
        let (sum, quick) = loss::gradients(
            &model,
            &forward::Pass::new(&model.config, &stack, width, &device),
            &even(&rows).iter().collect::<Vec<_>>(),
            1.0 / (2 * width) as f32,
        );
        assert!((sum / (2 * width) as f64 - expected).abs() < 1e-4, "{width} tokens: loss {sum} against {expected}");
        let mut compare = Compare(&quick, &gradients, 0.0);
        model.visit(&mut compare);
        assert!(compare.2 < 2e-3, "{width} tokens: gradients differ by {} of their size", compare.2);
    }
}

#[test]
fn threads_and_pieces_change_nothing() {
    let device = Device::flex().autodiff();
    let model = small(&device);
    let rows = some_rows(7, 16, 50);
    let rows = even(&rows);
    let plain = Stack::new("a", &[]).unwrap();
    let (whole, gradients) = Workers { threads: 1, piece_tokens: 1000 }.gradients(&model, &plain, &rows).unwrap();
    let (one, first) = Workers { threads: 1, piece_tokens: 32 }.gradients(&model, &plain, &rows).unwrap();
    let (three, second) = Workers { threads: 3, piece_tokens: 32 }.gradients(&model, &plain, &rows).unwrap();
    assert_eq!(one.to_bits(), three.to_bits(), "the order of additions depends on timing");
    let mut compare = Compare(&first, &second, 0.0);
    model.visit(&mut compare);
    assert_eq!(compare.2, 0.0, "the order of additions depends on timing");
    assert!((whole - one).abs() < 1e-5);
    let mut compare = Compare(&gradients, &second, 0.0);
    model.visit(&mut compare);
    assert!(compare.2 < 1e-4, "pieces change the gradient by {}", compare.2);
}

fn stories() -> Vec<Section> {
    let story = |index: usize| {
        let (who, what) = (["dog", "girl", "king", "fox"][index % 4], ["ball", "boat", "hat"][index % 3]);
        format!(
            "Once there was a {who} who had a {what}.\n\n\"It's my {what}!\" said the {who}, day {index}.\n\nThe end."
        )
    };
    vec![Section { file: "stories".into(), documents: (0..60).map(story).collect(), repeats: 2 }]
}

#[test]
fn the_tokenizer_gives_text_back_and_keeps_paragraphs_and_words_apart() {
    let trained = vocabulary::train(&stories(), 400).unwrap();
    assert_eq!(vocabulary::beginning(&trained).unwrap(), 0);
    let json = vocabulary::to_json(&trained).unwrap();
    let loaded = attnscope::tokenizer::Tokenizer::from_hub_json("tokenizer.json", json.as_bytes()).unwrap();
    for text in ["Once there was a dog.\n\nThe end.", "It's  12 hats -- né \u{1F600}\n", " \n\n\n x", ""] {
        let ids = loaded.encode(text, false).unwrap();
        assert_eq!(loaded.decode(&ids).unwrap(), text);
        let ours = vocabulary::encode(&trained, &[text.to_string()]).unwrap();
        assert_eq!(ours[0], ids, "trainer and loader cut {text:?} differently");
    }
    let pieces: Vec<String> =
        loaded.encode("a dog.\n\nThe", false).unwrap().iter().map(|id| loaded.token_text(*id)).collect();
    assert_eq!(pieces, ["a", " dog", ".", "\n\n", "The"]);
}

#[test]
fn rows_are_the_same_in_every_run_and_an_epoch_holds_every_token() {
    let mut documents = Documents::new();
    documents.add((1..40).map(|document| vec![document; document as usize]).collect(), 0, 3);
    assert_eq!(documents.epoch_tokens(), 3 * (1..40).map(|length| length + 1).sum::<usize>());
    let rows = documents.epoch(0, 8, 1).rows();
    let read = |consumed: usize, count: usize, seed: u64| -> Vec<Vec<u16>> {
        let mut reader = Reader::new(&documents, 8, seed, consumed);
        (0..count).map(|_| reader.next_row().to_vec()).collect()
    };
    let whole = read(0, 2 * rows + 5, 1);
    for stop in [1, rows - 1, rows, rows + 1, 2 * rows] {
        assert_eq!(whole[stop..], read(stop, 2 * rows + 5 - stop, 1), "resumed after {stop} rows");
    }
    assert_ne!(whole[..rows], whole[rows..2 * rows], "the second epoch should be in another order");
    assert_ne!(whole[..rows], read(0, rows, 2), "another seed should give another order");
    // Every token is an input once, except the last few that fill no row.
    let mut counts = [0usize; 40];
    whole[..rows].iter().flat_map(|row| &row[..8]).for_each(|token| counts[usize::from(*token)] += 1);
    let missing = documents.epoch_tokens() - counts.iter().sum::<usize>();
    assert!(missing <= 8, "{missing} tokens are in no row");
    assert!(counts.iter().enumerate().skip(1).all(|(token, count)| *count <= 3 * token));
}

#[test]
fn a_mix_that_cannot_be_read_is_refused_by_part() {
    assert_eq!(corpus::parse_mix(corpus::MIX).unwrap()[0].repeats, 6);
    for (mix, part) in [("a=1,b", "b"), ("a=0", "a=0"), ("a=x", "a=x"), ("", " is not")] {
        let refused = corpus::parse_mix(mix).unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
}

/// A corpus of two files in a folder of its own.
fn corpus_folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("attnscope-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    let text: String = stories()[0].documents.iter().map(|story| format!("{story}\n<|endoftext|>\n")).collect();
    let write = |file: &str, text: &str| {
        let mut out = std::fs::File::create(folder.join(file)).unwrap();
        lzma_rs::xz_compress(&mut text.as_bytes(), &mut out).unwrap();
    };
    write("fables-and-rhymes.txt.xz", &text);
    let held_out = text[..text.len() / 4].to_string();
    write("valid.txt.xz", &format!("{held_out}and more"));
    let manifest = format!(
        r#"{{"valid_sections": [{{"set": "fables-and-rhymes", "byte_start": 0, "byte_end": {}}}]}}"#,
        held_out.len()
    );
    std::fs::write(folder.join("manifest.json"), manifest).unwrap();
    folder
}

fn args(folder: &Path, work: &str, tokens: usize) -> TrainArgs {
    TrainArgs {
        curriculum: Curriculum::Stories,
        tasks: String::new(),
        pairs: 8,
        stack: String::new(),
        corpus: folder.into(),
        mix: "fables-and-rhymes=2".into(),
        work: folder.join(work),
        out: folder.join("model"),
        resume: false,
        export_only: false,
        tokens,
        decay_tokens: 1024,
        warmup_tokens: 1024,
        rate: 0.004,
        rule: Rule::Muon,
        batch_tokens: 512,
        halves_until: 1024,
        threads: 2,
        piece_tokens: 256,
        device: On::Flex,
        seed: 3,
        note: vec!["made by a test".into()],
        checkpoint_minutes: 0.0,
    }
}

#[test]
fn a_run_that_was_interrupted_ends_as_one_that_was_not() {
    let folder = corpus_folder("resume");
    let mut lines = Vec::new();
    let mut whole = run::Run::open(&args(&folder, "whole", 3072), &mut lines).unwrap();
    let before = whole.costs(usize::MAX).unwrap().pop().unwrap();
    whole.train(&args(&folder, "whole", 3072), &mut lines).unwrap();
    let after = whole.costs(usize::MAX).unwrap().pop().unwrap();
    assert!(after.nats_per_token < before.nats_per_token - 1.0, "{before:?} should have become less, but is {after:?}");

    // The first four steps of six: a run of the same schedule whose later checkpoints are lost.
    run::Run::open(&args(&folder, "parts", 3072), &mut lines)
        .unwrap()
        .train(&args(&folder, "parts", 3072), &mut lines)
        .unwrap();
    for lost in ["step-000005", "step-000006"] {
        std::fs::remove_dir_all(folder.join("parts").join(lost)).unwrap();
    }
    let resumed = TrainArgs { resume: true, ..args(&folder, "parts", 3072) };
    let mut parts = run::Run::open(&resumed, &mut lines).unwrap();
    assert_eq!((parts.position.steps, parts.position.tokens), (4, 2048));
    parts.train(&resumed, &mut lines).unwrap();
    assert_eq!(parts.model.to_weights(), whole.model.to_weights(), "resuming changed the weights");

    let other = TrainArgs { resume: true, seed: 4, ..args(&folder, "parts", 3072) };
    let refused = run::Run::open(&other, &mut lines).err().unwrap().to_string();
    assert!(
        refused.contains("--seed, --mix and --stack") && refused.contains('3') && refused.contains('4'),
        "{refused}"
    );
    let again = run::Run::open(&args(&folder, "parts", 3072), &mut lines).err().unwrap().to_string();
    assert!(again.contains("--resume"), "{again}");

    let export = TrainArgs { resume: true, export_only: true, ..args(&folder, "whole", 3072) };
    attnscope::train::command(&export, &mut lines).unwrap();
    let loaded = load::load("model", &Files::read(&folder.join("model")).unwrap()).unwrap();
    let stored = &loaded.weights.get("blocks.3.ffn.w_in").unwrap().data;
    let trained = &whole.model.to_weights();
    let trained = &trained.get("blocks.3.ffn.w_in").unwrap().data;
    let worst = stored.iter().zip(trained).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 1e-3, "f16 weights differ by {worst}");
    assert!(loaded.self_check.is_some());
    let card: attnscope::train::card::Card =
        serde_json::from_slice(&std::fs::read(folder.join("model/card.json")).unwrap()).unwrap();
    assert_eq!((card.finished, card.training.tokens, card.training.steps), (true, 3072, 6));
    let all = card.held_out.last().unwrap();
    assert_eq!((all.section.as_str(), all.tokens), ("all", after.tokens));
    assert!((all.nats_per_token - after.nats_per_token).abs() < 1e-9);
    assert_eq!(card.training.notes, ["made by a test"]);
    assert!(card.left_out.iter().any(|line| line.starts_with("bedtime-animals: ")));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_device_that_is_not_in_this_build_is_refused_with_the_remedy() {
    if cfg!(feature = "burn-cuda") {
        return;
    }
    let folder = corpus_folder("device");
    let on_cuda = TrainArgs { device: On::Cuda, ..args(&folder, "cuda", 512) };
    let refused = run::Run::open(&on_cuda, &mut Vec::new()).err().unwrap();
    assert_eq!(refused.code(), "gpu");
    assert!(refused.to_string().contains("--features burn-cuda"), "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Pairs told once, asked for far behind, answered by themselves; nothing else is learned from.
#[test]
fn what_is_to_be_recalled_stands_far_before_its_question_and_nowhere_else() {
    let tokenizer = Curriculum::Recall.tokenizer(&[]).unwrap();
    let texts = Recall::new(&tokenizer, MOST, 3).unwrap();
    let key = |token: u32| tokenizer.id_to_token(token).unwrap().chars().next().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for (index, width) in (0..40).map(|index| (index, [64, 128, 33][index % 3])) {
        let (text, row) = (texts.text(index, width), texts.row(index, width));
        assert_eq!(row.tokens, text.tokens.iter().map(|token| *token as u16).collect::<Vec<_>>());
        assert_eq!(row.tokens.len(), width + 1);
        assert_eq!(text.questions.len(), width / 8);
        let answers: Vec<usize> = text.questions.iter().map(|question| question.at).collect();
        let counts: Vec<usize> = (0..width).filter(|at| row.weights[*at] != 0.0).collect();
        assert_eq!(counts, answers);
        for question in &text.questions {
            let pair = text.tokens[question.pair];
            assert!(question.pair >= 1 && question.at - question.pair > width / 4 && question.pair <= width / 2);
            assert_eq!(text.tokens[question.at + 1], pair);
            assert_eq!(text.tokens.iter().filter(|token| **token == pair).count(), 2, "told once and answered once");
            assert_eq!(key(text.tokens[question.at]), key(pair));
            seen.insert(pair);
        }
        // Each key is told once, so that a question has one answer.
        let mut told: Vec<char> = text.tokens[1..=width / 2].iter().map(|token| key(*token)).collect();
        told.retain(|key| KEYS.contains(*key));
        let count = told.len();
        assert_eq!(count, MOST.min(width / 2));
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), count);
    }
    assert!(seen.len() > KEYS.len() * VALUES.len() / 2, "{} pairs are ever asked for", seen.len());
    let few = Recall::new(&tokenizer, 5, 3).unwrap().text(0, 64);
    assert_eq!(few.questions.len(), 5, "no more questions than pairs");
    assert_eq!(texts.text(7, 64), Recall::new(&tokenizer, MOST, 3).unwrap().text(7, 64));
    assert_ne!(texts.text(7, 64), Recall::new(&tokenizer, MOST, 4).unwrap().text(7, 64));
}

/// Every mechanism can be learned under, but for those that measure a finished model or show what is to be predicted: one
/// step of a model of letters moves its queries.
#[test]
fn a_step_under_every_mechanism() {
    let folder = std::env::temp_dir().join(format!("attnscope-under-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    let under = |stack: &str| TrainArgs {
        curriculum: Curriculum::Backcopy,
        stack: stack.into(),
        rate: 0.1,
        warmup_tokens: 0,
        decay_tokens: 0,
        ..args(&folder, stack, 512)
    };
    let mut refused = Vec::new();
    for mechanism in attnscope::mechanism::ALL {
        let args = under(mechanism.id);
        let mut run = match run::Run::open(&args, &mut Vec::new()) {
            Ok(run) => run,
            Err(error) => {
                assert!(error.code() == "param" && error.to_string().contains("--stack"), "{error}");
                refused.push(mechanism.id);
                continue;
            }
        };
        let before = run.model.to_weights();
        run.train(&args, &mut Vec::new()).unwrap();
        let (before, after) = (before.get("blocks.0.attn.w_q").unwrap(), run.model.to_weights());
        let after = &after.get("blocks.0.attn.w_q").unwrap().data;
        assert!(after.iter().all(|x| x.is_finite()) && &before.data != after, "{}", mechanism.id);
    }
    assert_eq!(refused, ["attention_calibration", "duo_attention", "echo_att", "minference", "prefix_lm", "trans_mla"]);
    let other = TrainArgs { resume: true, ..under("alibi") };
    let none = TrainArgs { pairs: 0, ..under("alibi") }.check().unwrap_err().to_string();
    assert!(none.contains("--pairs") && none.contains("24"), "{none}");
    let of_softmax = TrainArgs { work: folder.join("softmax"), ..other };
    let error = run::Run::open(&of_softmax, &mut Vec::new()).err().unwrap().to_string();
    assert!(error.contains("--stack") && error.contains("alibi") && error.contains("softmax"), "{error}");
    // What is trained under a stack says so and is exported.
    let export = TrainArgs { resume: true, export_only: true, ..under("alibi") };
    attnscope::train::command(&export, &mut Vec::new()).unwrap();
    let card: attnscope::train::card::Card =
        serde_json::from_slice(&std::fs::read(folder.join("model/card.json")).unwrap()).unwrap();
    assert!(card.training.command.contains("--curriculum backcopy --stack 'alibi'"), "{}", card.training.command);
    assert!(card.training.notes[0].contains("alibi"), "{:?}", card.training.notes);
    std::fs::remove_dir_all(&folder).unwrap();
}
