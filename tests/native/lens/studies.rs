//! Studies: what they count, against passes made here, and that a study in pieces is the study.

use crate::tiny::model;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Chip, Experiment, Head, Instruments, Over, Pane, Removal, Study as Which, View};
use attnscope::hook::{ActivationCache, Array, Selection, Site};
use attnscope::lens::analysis;
use attnscope::lens::base::loss;
use attnscope::lens::evaluation::choices::{by_ratio, mass, resolved};
use attnscope::lens::evaluation::{Reader, Subject};
use attnscope::lens::features::{Features, Method, ridge};
use attnscope::lens::finding::{Finding, Found, Grid, View as Drawn};
use attnscope::lens::ranks::{kendall, rank_correlation};
use attnscope::lens::sink_set::{KeyBias, measure};
use attnscope::lens::streaming::Streaming;
use attnscope::lens::study::Study;
use attnscope::mechanism::Stack;
use attnscope::model::{CpuModel, Files, Loaded, load};
use attnscope::train::circuits::Draw;
use attnscope::train::exam::{Exam, Format};
use attnscope::train::helmet::score::{contains, ndcg, score};
use attnscope::train::helmet::{Gold, Helmet, Task};
use attnscope::{Error, Result};
use pollster::block_on;
use std::path::Path;

fn circuits() -> Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/circuits-2m");
    load("circuits-2m", &Files::read(&folder).unwrap()).unwrap()
}

fn ask(engine: &mut Engine, experiment: &Experiment, id: &str) -> Result<Finding> {
    block_on(engine.analyse(experiment, 0, id, async |_, _| false))
}

/// Asks until the study is whole.
fn whole(engine: &mut Engine, experiment: &Experiment, id: &str) -> Study {
    loop {
        let finding = ask(engine, experiment, id).unwrap();
        // As the worker sends it, also half way.
        let json = serde_json::to_string(&finding).unwrap();
        let again: Finding = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{id}: {error}"));
        let Found::Study(study) = again.found else { panic!("{id} is no study") };
        assert!(!study.verdict.contains("NaN"), "{id}: {}", study.verdict);
        if study.is_whole() {
            return study;
        }
    }
}

fn grid<'a>(study: &'a Study, id: &str) -> &'a Grid {
    &study.exhibits.iter().find(|exhibit| exhibit.id == id).unwrap_or_else(|| panic!("no drawing {id}")).grid
}

fn short(study: Which) -> Experiment {
    Experiment {
        model: "circuits-2m".into(),
        prompt: "Lily has the ball. Tom has the cup. So Lily has the".into(),
        panes: vec![Pane::default()],
        instruments: Instruments { study, items: 1, ..Instruments::default() },
        ..Experiment::default()
    }
}

/// Every study answers, is whole after as many steps as it says, survives its JSON, and has numbers in every drawing.
#[test]
fn every_study_ends_and_says_something() {
    let mut engine = block_on(Engine::new(circuits(), Choice::Cpu)).unwrap();
    for which in Which::ALL {
        let analysis = analysis::by_id(which.word()).unwrap();
        assert_eq!(analysis.view, Drawn::Study, "{}", analysis.id);
        let mut experiment = short(*which);
        experiment.draw.tokens = 6;
        let study = whole(&mut engine, &experiment, analysis.id);
        assert!(study.all > 0 && study.done == study.all, "{}", analysis.id);
        assert!(study.verdict.ends_with('.') && !study.verdict.contains("NaN"), "{}: {}", analysis.id, study.verdict);
        assert!(!study.exhibits.is_empty());
        for exhibit in &study.exhibits {
            let cells = exhibit.grid.down.labels.len() * exhibit.grid.across.labels.len();
            for sheet in &exhibit.grid.sheets {
                assert_eq!(sheet.values.len(), cells, "{}.{}", analysis.id, exhibit.id);
            }
            assert!(
                exhibit.grid.sheets[0].values.iter().any(|value| value.is_finite()),
                "{}.{}",
                analysis.id,
                exhibit.id
            );
        }
        let json = serde_json::to_string(&study).unwrap();
        let again: Study = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
    }
}

/// Stopped after each step and taken up again, a study is the same as in one go.
#[test]
fn a_study_goes_on_from_where_it_was() {
    let experiment = short(Which::Choices);
    let mut at_once = block_on(Engine::new(circuits(), Choice::Cpu)).unwrap();
    let expected = whole(&mut at_once, &experiment, "choices");
    let mut engine = block_on(Engine::new(circuits(), Choice::Cpu)).unwrap();
    let (mut stops, mut last) = (0, 0);
    let study = loop {
        let mut first = true;
        let step = async |done, _| {
            assert!(done >= last, "nothing is done twice");
            last = done;
            !std::mem::replace(&mut first, false)
        };
        match block_on(engine.analyse(&experiment, 0, "choices", step)) {
            Err(Error::Superseded) => stops += 1,
            Ok(Finding { found: Found::Study(study), .. }) if study.is_whole() => break study,
            // On a slow machine one step is all there is time for.
            Ok(Finding { found: Found::Study(_), .. }) => stops += 1,
            other => panic!("{other:?}"),
        }
        // Something else in between leaves it where it was.
        ask(&mut engine, &experiment, "logit_lens").unwrap();
    };
    assert_eq!((study, stops + 1), (expected.clone(), expected.all));
    let other = Experiment { instruments: Instruments { items: 2, ..experiment.instruments.clone() }, ..experiment };
    assert_eq!(whole(&mut engine, &other, "choices").all, 2 * expected.all, "other settings are another study");
}

/// What a head's place in the table says is what the evaluation of the model without that head says.
#[test]
fn heads_are_taken_out_one_by_one() {
    let loaded = circuits();
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let stack = Stack::new("a", &[]).unwrap();
    let tokens: Vec<u32> = (20..40).collect();
    let subject = |without| Subject { name: String::new(), stack: stack.clone(), without: (without, Removal::Zero) };
    let (plain, none) = (subject(Vec::new()), subject(vec![Head { layer: 0, head: 0 }]));
    let [a, b] = [&plain, &none].map(|subject| Reader::new(&model, subject).next(&tokens).unwrap());
    let mut nobody = ActivationCache::new(Selection::default());
    let logits = model.run(&[&tokens], &stack, 0, &mut nobody).unwrap();
    let last = &logits.data[logits.data.len() - loaded.config.vocabulary..];
    let apart = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(apart(&a, last) < 1e-3, "whole, it is the model");
    assert!(apart(&b, last) > 1e-2, "without a head it is not");
    let mut engine = block_on(Engine::new(loaded, Choice::Cpu)).unwrap();
    let mut experiment = short(Which::Choices);
    experiment.instruments.over = Over::Heads;
    let study = whole(&mut engine, &experiment, "choices");
    let heads = grid(&study, "heads");
    assert_eq!((heads.down.labels.len(), heads.across.labels.len()), (4, 6));
    assert!(heads.sheets.iter().all(|sheet| sheet.values.iter().all(|value| value.is_finite())));
    assert!(heads.sheets.iter().any(|sheet| sheet.values.iter().any(|value| value.abs() > 1e-4)));
}

/// Paper 66, checks (a) and (b): an oracle scores 1, silence 0, prompts have their length, and what is asked for stands once.
#[test]
fn helmet_is_answered_by_an_oracle_alone() {
    let loaded = circuits();
    let helmet = Helmet::new(&loaded.tokenizer).unwrap();
    for task in Task::ALL {
        let mut labels = Vec::new();
        for length in [128, 192, 230] {
            for index in 0..12 {
                let prompt = helmet.prompt(task, length, index).unwrap();
                let name = format!("{} {length} {index}", task.name());
                assert_eq!(prompt.tokens.len(), length, "{name}");
                assert_eq!(prompt, helmet.prompt(task, length, index).unwrap(), "{name}");
                assert_eq!(score(&prompt.gold, &helmet.text(&prompt.answer)), 1.0, "{name}: {:?}", prompt.gold);
                assert_eq!(score(&prompt.gold, ""), 0.0, "{name}");
                assert!(prompt.answer.len() <= prompt.most, "{name}");
                let text = helmet.text(&prompt.tokens);
                let times = |gold: &str| text.matches(&format!("{gold}.")).count();
                match &prompt.gold {
                    // A secret stands whole; the other facts can share a word with another sentence.
                    Gold::Inside(gold) if prompt.answer.len() == 2 => {
                        assert_eq!(times(gold), 1, "{name}: {gold} in {text}")
                    }
                    Gold::Inside(gold) => assert!(text.contains(gold.as_str()), "{name}: {gold} in {text}"),
                    Gold::Values(values) => values.iter().for_each(|value| assert!(times(value) >= 1, "{name}")),
                    Gold::First(label) => labels.push(label.clone()),
                    Gold::Ranked(grades) => {
                        let mut sorted = grades.clone();
                        sorted.sort_by_key(|(_, grade)| *grade);
                        let reversed: Vec<_> = sorted.iter().map(|(number, _)| number.to_string()).collect();
                        assert!(ndcg(&reversed.join(" "), grades) < 0.6, "{name}: {grades:?}");
                    }
                    Gold::Cited { answer, documents } => {
                        let [one, other] = documents[..] else { panic!("{documents:?}") };
                        let right = score(&prompt.gold, &format!("{answer} {one} {other}"));
                        let extra = score(&prompt.gold, &format!("{answer} {one} {other} 7"));
                        assert!(right == 1.0 && extra < 1.0 && extra > 0.8, "precision falls, recall does not");
                    }
                    Gold::Lines { lines, .. } => {
                        let broken = format!("{} Nobody.", lines.concat());
                        assert_eq!(score(&prompt.gold, &broken), 0.0, "a line that does not parse");
                    }
                }
            }
        }
        labels.sort();
        labels.dedup();
        assert!(labels.is_empty() || labels.len() > 10, "labels differ from item to item");
    }
    assert!(helmet.prompt(Task::Rank, 40, 0).is_err(), "too short for its own documents");
    assert!(contains("the value is 17 23", "17 23") && !contains("the value is 17 24", "17 23"));
}

/// Paper 65, check (b): moving all other mass to one other choice changes the prediction exactly when the bound says it can.
#[test]
fn the_bound_on_surface_forms_is_exact() {
    let mut draw = Draw::new(3);
    let (mut open, mut closed) = (0, 0);
    for _ in 0..1000 {
        let mut raw: Vec<f64> = (0..4).map(|_| draw.below(1000) as f64 + 1.0).collect();
        let rest = draw.below(2000) as f64;
        let all = raw.iter().sum::<f64>() + rest;
        raw.iter_mut().for_each(|value| *value /= all);
        let best = by_ratio(&raw, &[1.0; 4]);
        let flips = (0..4).filter(|at| *at != best).any(|at| {
            let mut moved = raw.clone();
            moved[at] += rest / all;
            moved[at] > moved[best]
        });
        let mut order = raw.clone();
        order.sort_by(f64::total_cmp);
        // A tie is neither.
        if (order[3] - order[2] - rest / all).abs() < 1e-9 {
            continue;
        }
        assert_eq!(resolved(&raw), !flips, "{raw:?}");
        (open, closed) = (open + usize::from(flips), closed + usize::from(!flips));
    }
    assert!(open > 50 && closed > 50, "both happen");
    // Check (c): a doubled prior halves that choice's score and leaves the others.
    assert_eq!(by_ratio(&[0.3, 0.2], &[1.0, 1.0]), 0);
    assert_eq!(by_ratio(&[0.3, 0.2], &[2.0, 1.0]), 1);
}

/// Paper 65, check (a), on the model: over the whole vocabulary the mass is 1, and without choices their order is nothing.
#[test]
fn the_mass_on_everything_is_one() {
    let loaded = circuits();
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let exam = Exam::new(&loaded.tokenizer).unwrap();
    let subject = Subject { name: String::new(), stack: Stack::new("a", &[]).unwrap(), without: Default::default() };
    for format in Format::ALL {
        for shots in 0..3 {
            let sheet = exam.sheet(format, shots, 5);
            let all = Reader::new(&model, &subject).log_probabilities(&sheet.prompt).unwrap();
            assert!((mass(&all) - 1.0).abs() < 1e-5);
            let mut choices = sheet.choices.clone();
            choices.sort_unstable();
            choices.dedup();
            assert_eq!(choices.len(), sheet.choices.len(), "choices differ");
            assert_eq!(sheet.choices.len(), 4);
        }
    }
    assert_eq!(exam.sheet(Format::None, 0, 9).choices, exam.sheet(Format::Words, 0, 9).choices, "the same question");
}

/// What a streamed text costs is what one pass over it costs.
#[test]
fn a_stream_costs_what_the_whole_text_does() {
    let (config, weights, _) = model();
    let model = CpuModel::new(&config, &weights).unwrap();
    let tokens: Vec<u32> = (0..60).map(|at| 1 + (at * 37 + 11) % 90).collect();
    let window = |sinks: f64, window: f64| Chip::new("streaming_window").with("sinks", sinks).with("window", window);
    let stacks =
        || [vec![], vec![window(0.0, 12.0)], vec![window(3.0, 9.0)]].map(|chips| Stack::new("a", &chips).unwrap());
    let mut streaming = Streaming::new(0, tokens.clone(), stacks(), (12, 3));
    for at in 0..streaming.all() {
        streaming.step(&model, at).unwrap();
    }
    for (stack, losses) in stacks().iter().zip(streaming.losses()) {
        let mut nobody = ActivationCache::new(Selection::default());
        let mut logits = model.run(&[&tokens], stack, 0, &mut nobody).unwrap();
        logits.shape.remove(0);
        let whole = loss(&attnscope::engine::log_probabilities(&logits), &tokens).unwrap();
        let streamed = losses.iter().sum::<f32>() / losses.len() as f32;
        assert!((whole - streamed).abs() < 1e-3, "{streamed} streamed, {whole} in one pass");
    }
    let [full, lost, kept] = streaming.losses();
    assert!(full[..11].iter().zip(lost).all(|(full, lost)| (full - lost).abs() < 1e-4), "until the window is full");
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-2);
    assert!(apart(full, lost) && apart(lost, kept));
    let (verdict, exhibits) = streaming.show();
    let verdict = verdict.unwrap();
    assert!(verdict.starts_with("Beyond the window") && exhibits[0].grid.facts.len() == 3, "{verdict}");
}

/// A key that is hidden takes no weight, a bias of nothing changes nothing, and the rest is the pattern of the run.
#[test]
fn the_first_key_can_be_hidden() {
    let (config, weights, _) = model();
    let model = CpuModel::new(&config, &weights).unwrap();
    let tokens: Vec<u32> = (0..24).map(|at| 1 + (at * 29 + 3) % 90).collect();
    let stack = Stack::new("a", &[]).unwrap();
    let of = |bias: Option<f32>| {
        let mut first = bias.map(|bias| KeyBias { position: 0, bias });
        measure(&model, &stack, 0, &tokens, first.as_mut()).unwrap()
    };
    let (plain, logits) = of(None);
    let mut captures = ActivationCache::new(Selection::sites(&[Site::Pattern]));
    let run: Array = model.run(&[&tokens], &stack, 0, &mut captures).unwrap();
    assert_eq!(run.data, logits.data);
    let pattern = captures.get(1, Site::Pattern).unwrap();
    let column: f32 = (1..24).map(|query| pattern.data[(2 * 24 + query) * 24]).sum::<f32>() / 23.0;
    assert!((plain.mass[config.heads + 2][0] - column).abs() < 1e-6);
    assert_eq!(of(Some(0.0)).1.data, logits.data);
    let (hidden, _) = of(Some(f32::NEG_INFINITY));
    assert!(hidden.mass.iter().all(|mass| mass[0] == 0.0));
    assert!(of(Some(3.0)).0.mean(0) > plain.mean(0) && of(Some(-3.0)).0.mean(0) < plain.mean(0));
}

/// Paper 20, checks 1, 2 and 4, and that a linear function is found by every mask.
#[test]
fn attributions_are_complete_and_ranks_are_ranks() {
    let mut draw = Draw::new(11);
    let random = |draw: &mut Draw| (0..20).map(|_| draw.below(1 << 20) as f32).collect::<Vec<f32>>();
    let taus: Vec<f32> = (0..2000).map(|_| kendall(&random(&mut draw), &random(&mut draw))).collect();
    assert!((taus.iter().sum::<f32>() / 2000.0).abs() < 0.02);
    let values = random(&mut draw);
    let cubes: Vec<f32> = values.iter().map(|value| (value / 1e6).powi(3)).collect();
    assert_eq!((kendall(&values, &cubes), rank_correlation(&values, &cubes).round()), (1.0, 1.0));
    // Tau-b by its definition on a tie: 5 pairs agree, 1 is tied in one list.
    assert!((kendall(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 3.0]) - 5.0 / 30f32.sqrt()).abs() < 1e-6);

    let slopes = [2.0, -1.0, 0.5];
    let rows: Vec<(Vec<f64>, f64)> = (0..4000)
        .map(|_| {
            let row: Vec<f64> = (0..3).map(|_| f64::from(u8::from(draw.chance(0.5)))).collect();
            let value = 7.0 + row.iter().zip(slopes).map(|(x, slope)| x * slope).sum::<f64>();
            (row, value)
        })
        .collect();
    let found = ridge(&rows, &vec![1.0; rows.len()]);
    assert!(found.iter().zip(slopes).all(|(found, slope)| (found - slope).abs() < 0.01), "{found:?}");

    let loaded = circuits();
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let text = "Lily has the ball. Tom has the cup. So Lily has the";
    let tokens = loaded.tokenizer.encode(text, true).unwrap();
    let labels = vec![tokens.iter().map(|id| loaded.tokenizer.token_text(*id)).collect()];
    let filler = loaded.tokenizer.encode("\n", false).unwrap()[0];
    let mut features = Features::new(Stack::new("a", &[]).unwrap(), 0, vec![tokens.clone()], labels, filler, None);
    for at in 0..features.all() {
        features.step(&model, at).unwrap();
    }
    let found = &features.found()[0];
    assert!(found.scores.iter().flatten().all(|scores| scores.len() == tokens.len()));
    assert_eq!(found.scores.iter().flatten().count(), Method::ALL.len());
    let (sum, difference) = found.complete.unwrap();
    assert!((sum - difference).abs() < 0.05 * difference.abs().max(1.0), "{sum} against {difference}");
    // Leave one out, by a pass over the text with the filler in the place of one token.
    let all = Method::ALL.iter().position(|method| *method == Method::LeaveOut).unwrap();
    let logit = |tokens: &[u32]| {
        let mut nobody = ActivationCache::new(Selection::default());
        let logits = model.run(&[tokens], &Stack::new("a", &[]).unwrap(), 0, &mut nobody).unwrap();
        logits.data[logits.data.len() - loaded.config.vocabulary..].to_vec()
    };
    let whole = logit(&tokens);
    let answer = (0..whole.len()).max_by(|a, b| whole[*a].total_cmp(&whole[*b])).unwrap();
    for at in 0..tokens.len() {
        let mut other = tokens.clone();
        other[at] = filler;
        let expected = (whole[answer] - logit(&other)[answer]).abs();
        let came = found.scores[all].as_ref().unwrap()[at];
        assert!((came - expected).abs() < 1e-2, "token {at}: {came} and {expected}");
    }
}

/// A window chosen in the pane is the one that is streamed through, and the link says so.
#[test]
fn a_study_is_set_by_the_link() {
    let mut experiment = short(Which::Streaming);
    experiment.view = View { tab: attnscope::experiment::Tab::Studies, ..View::default() };
    experiment.panes =
        vec![Pane { stack: vec![Chip::new("streaming_window").with("sinks", 2.0).with("window", 10.0)] }];
    let link = attnscope::experiment::link::write(&experiment);
    let again = attnscope::experiment::link::read(&link).unwrap().experiment;
    assert_eq!(again, experiment);
    let mut engine = block_on(Engine::new(circuits(), Choice::Cpu)).unwrap();
    let study = whole(&mut engine, &again, "streaming");
    assert_eq!(grid(&study, "curve").down.labels[2], "window of 12, first 2 kept");
}
