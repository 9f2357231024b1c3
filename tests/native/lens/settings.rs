//! What studies and the examined position can be set to: each setting changes what it names and nothing it does not.

use crate::tiny::model;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Chip, Experiment, Instruments, Pane, Study as Which, View, link};
use attnscope::hook::{ActivationCache, Array, HookPoint, Selection, Site};
use attnscope::lens::analysis;
use attnscope::lens::exhibit::Exhibit;
use attnscope::lens::finding::{Finding, Found, Sheet};
use attnscope::lens::sink_set::causes::{Causes, SITES, show_one};
use attnscope::lens::sink_set::{KeyBias, measure};
use attnscope::lens::study::Study;
use attnscope::mechanism::Stack;
use attnscope::model::{CpuModel, load};
use pollster::block_on;

fn open() -> Engine {
    block_on(Engine::open("circuits-2m", Choice::Cpu)).unwrap()
}

/// The whole study, and how many steps were taken for it.
fn whole(engine: &mut Engine, experiment: &Experiment, id: &str) -> (Study, usize) {
    let mut taken = 0;
    loop {
        let step = async |_, _| {
            taken += 1;
            false
        };
        let Found::Study(study) = block_on(engine.analyse(experiment, 0, id, step)).unwrap().found else {
            panic!("{id} is no study")
        };
        if study.is_whole() {
            return (study, taken);
        }
    }
}

fn asked(study: Which, set: impl FnOnce(&mut Instruments)) -> Experiment {
    let mut instruments = Instruments { study, ..Instruments::default() };
    set(&mut instruments);
    let panes = vec![Pane::default()];
    Experiment { model: "circuits-2m".into(), panes, instruments, ..Experiment::default() }
}

fn drawing<'a>(study: &'a Study, id: &str) -> &'a Exhibit {
    study.exhibits.iter().find(|exhibit| exhibit.id == id).unwrap_or_else(|| panic!("no {id}"))
}

fn sheet<'a>(exhibit: &'a Exhibit, id: &str) -> &'a Sheet {
    exhibit.grid.sheets.iter().find(|sheet| sheet.id == id).unwrap()
}

fn norm(of: &[f32]) -> f64 {
    of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Ratios by the definition, pair by pair, on the visitor's own prompt and under a window, at a position in the middle.
#[test]
fn norms_at_a_position_are_those_of_the_pass() {
    let (config, weights, files) = model();
    let mut engine = block_on(Engine::new(load("tiny", &files).unwrap(), Choice::Cpu)).unwrap();
    let window = Chip::new("streaming_window").with("sinks", 1.0).with("window", 5.0);
    let mut experiment = Experiment {
        model: "tiny".into(),
        prompt: "Ann found a red ball".into(),
        panes: vec![Pane::default(), Pane { stack: vec![window.clone()] }],
        view: View { position: 4, ..View::default() },
        ..Experiment::default()
    };
    let cpu = CpuModel::new(&config, &weights).unwrap();
    for (pane, chips) in [vec![], vec![window]].iter().enumerate() {
        let finding: Finding = block_on(engine.analyse(&experiment, pane, "norms", async |_, _| false)).unwrap();
        let Found::Exhibits(all) = &finding.found else { panic!("{finding:?}") };
        let tokens: Vec<u32> = finding.tokens.iter().map(|token| token.id).collect();
        let of = |id: &str| all.exhibits.iter().find(|exhibit| exhibit.id == id).unwrap();
        assert_eq!(of("everywhere").grid.across.labels.len(), tokens.len());
        let mut captures = ActivationCache::new(Selection::sites(&SITES));
        cpu.run(&[&tokens], &Stack::new("a", chips).unwrap(), 0, &mut captures).unwrap();
        let row = |array: &Array, head: usize, at: usize| {
            let [.., n, d] = array.shape[..] else { panic!() };
            array.data[(head * n + at) * d..(head * n + at + 1) * d].to_vec()
        };
        let ratio = |array: &Array, head: usize| {
            let norms: Vec<f64> = (0..tokens.len()).map(|at| norm(&row(array, head, at))).collect();
            let mut sorted = norms.clone();
            sorted.sort_by(f64::total_cmp);
            norms[4] / sorted[tokens.len() / 2]
        };
        let cosine =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>() / (norm(a) * norm(b));
        for layer in 0..config.layers {
            let get = |turned, plain| captures.get(layer, turned).or_else(|_| captures.get(layer, plain)).unwrap();
            let (queries, keys) = (get(Site::RotQ, Site::Q), get(Site::RotK, Site::K));
            let stream = sheet(of("stream"), "stream").values[layer];
            assert!((f64::from(stream) - ratio(captures.get(layer, Site::ResidPost).unwrap(), 0)).abs() < 1e-4);
            for head in 0..config.heads {
                let group = head * config.kv_heads / config.heads;
                let pairs = (5..tokens.len()).flat_map(|query| (0..query).map(move |key| (query, key)));
                let (mut own, mut others) = (Vec::new(), Vec::new());
                for (query, key) in pairs {
                    let came = cosine(&row(queries, head, query), &row(keys, group, key));
                    if key == 4 { own.push(came) } else { others.push(came) }
                }
                let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
                let expected = [
                    ("key", ratio(keys, group)),
                    ("value", ratio(captures.get(layer, Site::V).unwrap(), group)),
                    ("cosine", mean(&own)),
                    ("others", mean(&others)),
                ];
                for (id, expected) in expected {
                    let came = f64::from(sheet(of("causes"), id).values[layer * config.heads + head]);
                    assert!((came - expected).abs() < 1e-4, "L{layer}H{head} {id}: {came} is not {expected}");
                }
            }
        }
        let means = sheet(of("causes"), "value").values.iter().sum::<f32>() / (config.layers * config.heads) as f32;
        let fact = of("causes").grid.facts.iter().find(|fact| fact.id == "value").unwrap().value;
        assert!((fact - means).abs() < 1e-5, "the table's number is the mean of the cells");
    }
    // Beyond the prompt it is the last token, which nothing later reads: no number, and it survives being sent.
    experiment.view.position = 4000;
    let finding = block_on(engine.analyse(&experiment, 0, "norms", async |_, _| false)).unwrap();
    let json = serde_json::to_string(&finding).unwrap();
    let again: Finding = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
    let Found::Exhibits(all) = again.found else { panic!() };
    assert!(sheet(&all.exhibits[1], "cosine").values.iter().all(|value| value.is_nan()));
    assert!(all.exhibits[1].grid.facts.iter().all(|fact| fact.id != "cosine"));
}

/// A stream that is a hundred times larger at one token is found there, whatever position is examined.
#[test]
fn a_planted_massive_activation_is_found() {
    let (config, weights, _) = model();
    let tokens: Vec<u32> = (0..17).map(|at| 1 + (at * 31 + 3) % 90).collect();
    let mut captures = ActivationCache::new(Selection::sites(&SITES));
    let model = CpuModel::new(&config, &weights).unwrap();
    model.run(&[&tokens], &Stack::new("a", &[]).unwrap(), 0, &mut captures).unwrap();
    let stream = captures.values.get_mut(&HookPoint::new(1, Site::ResidPost)).unwrap();
    stream.data[6 * config.width..7 * config.width].iter_mut().for_each(|x| *x *= 100.0);
    let size = (config.layers, config.heads);
    let names = (0..17).map(|at| format!("{at} word")).collect::<Vec<_>>();
    for position in [0, 6] {
        let found = Causes::of(&captures, size, tokens.len(), position).unwrap();
        assert!(found.streams[1][6] > 30.0, "{:?}", found.streams[1]);
        assert_eq!(found.stream[1] > 30.0, position == 6);
        let drawn = show_one(&found, position, size, names.clone());
        let everywhere = drawn.iter().find(|exhibit| exhibit.id == "everywhere").unwrap();
        assert!(everywhere.name.ends_with("largest at 6 word, behind L1"), "{}", everywhere.name);
        assert_eq!(everywhere.grid.facts[0].value, found.streams[1][6]);
    }
}

/// ε is asked of numbers that are there: another one takes no step, adds its own row, and leaves the others.
#[test]
fn another_epsilon_measures_nothing_anew() {
    let mut engine = open();
    let mut experiment = asked(Which::SinkSet, |_| {});
    let (before, steps) = whole(&mut engine, &experiment, "sink_set");
    assert_eq!(steps, before.all);
    experiment.view.epsilon = 0.15;
    let (after, steps) = whole(&mut engine, &experiment, "sink_set");
    assert_eq!(steps, 0, "a threshold is no reason to read the texts again");
    let [one, two] = [&before, &after].map(|study| drawing(study, "rates"));
    assert_eq!(one.grid.down.labels.len() + 1, two.grid.down.labels.len());
    let row = |exhibit: &Exhibit, name: &str| {
        let at = exhibit.grid.down.labels.iter().position(|label| label == name).unwrap();
        let width = exhibit.grid.across.labels.len();
        sheet(exhibit, "rate").values[at * width..(at + 1) * width].to_vec()
    };
    assert_eq!(row(one, "ε 0.3"), row(two, "ε 0.3"));
    let (low, own, high) = (row(two, "ε 0.1"), row(two, "ε 0.15"), row(two, "ε 0.2"));
    assert!((0..own.len()).all(|at| low[at] >= own[at] && own[at] >= high[at]), "{low:?} {own:?} {high:?}");
    assert_eq!(two.grid.facts[0].value, own[0], "the sentence speaks of the chosen one");
    assert!(after.verdict.contains("(ε = 0.15)"), "{}", after.verdict);
    // Another position is another question.
    experiment.view.position = 3;
    assert_eq!(whole(&mut engine, &experiment, "sink_set").1, before.all);

    let mut experiment = asked(Which::SinkActs, |_| {});
    let mut rates = Vec::new();
    for (epsilon, first) in [(0.3, true), (0.05, false)] {
        experiment.view.epsilon = epsilon;
        let (study, steps) = whole(&mut engine, &experiment, "sink_acts");
        assert_eq!(steps, if first { study.all } else { 0 });
        let values = &drawing(&study, "acts").grid.sheets[0].values;
        rates.push((values[3], values[0..3].to_vec()));
    }
    assert!(rates[1].0 > rates[0].0 && rates[1].1 == rates[0].1, "{rates:?}");
}

/// The acts on the visitor's own prompt, at a position and by a number of their own: what they cost is what passes made here
/// cost, and another prompt is another question.
#[test]
fn a_score_of_the_own_prompt_is_changed() {
    let mut engine = open();
    let mut experiment = asked(Which::SinkActs, |set| (set.own, set.bias) = (true, 4.0));
    experiment.prompt = "Lily has the ball. Tom has the cup. So Lily has the".into();
    experiment.view.position = 2;
    let experiment = link::read(&link::write(&experiment)).unwrap().experiment;
    let (study, steps) = whole(&mut engine, &experiment, "sink_acts");
    let acts = drawing(&study, "acts");
    assert_eq!(steps, acts.grid.down.labels.len(), "one text, every act once");
    let values = &acts.grid.sheets[0].values;
    let tokens = engine.tokenizer().encode(&experiment.prompt, true).unwrap();
    let stack = Stack::new("a", &[]).unwrap();
    let loss = |bias: Option<f32>| {
        let mut bias = bias.map(|bias| KeyBias { position: 2, bias });
        let (sinks, logits) = measure(engine.processor(), &stack, 0, &tokens, bias.as_mut()).unwrap();
        let rows = Array::new(logits.shape[1..].to_vec(), logits.data).unwrap();
        let rows = attnscope::engine::log_probabilities(&rows);
        // The beginning stands before the text, whose first token no act predicts.
        let nats: Vec<f32> = (2..tokens.len()).map(|at| -rows.at(at - 1)[tokens[at] as usize]).collect();
        (nats.iter().sum::<f32>() / nats.len() as f32, sinks.mean(2).unwrap())
    };
    let plain = loss(None);
    for (name, bias) in [("+ 4", 4.0), ("− 4", -4.0), ("hidden", f32::NEG_INFINITY)] {
        let at = acts.grid.down.labels.iter().position(|label| label.ends_with(name)).unwrap();
        assert!(acts.grid.down.labels[at].contains("position 2"));
        let (here, mass) = loss(Some(bias));
        let came = (values[5 * at], values[5 * at + 4]);
        assert!((came.0 - (here - plain.0)).abs() < 1e-4 && (came.1 - mass).abs() < 1e-5, "{name}: {came:?}");
    }
    assert!(loss(Some(4.0)).1 > plain.1 && loss(Some(f32::NEG_INFINITY)).1 == 0.0);
    assert!(study.verdict.starts_with("Here “") && !study.verdict.contains('±'), "{}", study.verdict);
    let other = Experiment { prompt: "Tom has the cup.".into(), ..experiment };
    assert_eq!(whole(&mut engine, &other, "sink_acts").1, steps);
}

/// Three options behind one answered question: every table is of three, and the link asks the same.
#[test]
fn letters_can_have_other_options_and_examples() {
    let experiment = asked(Which::Letters, |set| (set.options, set.shots) = (3, 1));
    let again = link::read(&link::write(&experiment)).unwrap().experiment;
    assert_eq!(again, experiment);
    let mut engine = open();
    let (study, _) = whole(&mut engine, &again, "letters");
    let square = drawing(&study, "letters.square");
    assert_eq!((square.grid.down.labels.len(), square.grid.across.labels.len()), (3, 3));
    let weights = &square.grid.sheets[0].values;
    assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{weights:?}");
    let labels = &drawing(&study, "letters.labels").grid.down.labels;
    assert_eq!(labels[..3], ["A B C", "A to C shuffled", "D E F"]);
    // The heads of this circuit look at the seats of four options: with three, the letter it says is not there.
    let right = drawing(&study, "letters.taken").grid.sheets[0].values[0];
    assert!(right < 100.0 / 3.0, "taught four options, it answers {right} % of questions with three");
    // All parts kept are the model as it is, also behind an example.
    let kept = &drawing(&study, "letters.kept").grid.sheets[0].values;
    assert!((kept[5] - 100.0).abs() < 0.1, "{kept:?}");
    assert!(study.verdict.starts_with("Over 24 questions"), "{}", study.verdict);
}

/// Factors of 1 are the model; another sentence and examples are other prompts; a factor between is a column of its own.
#[test]
fn facts_can_be_asked_and_the_last_layer_scaled_otherwise() {
    let mut engine = open();
    let one = asked(Which::Recall, |set| (set.lambda_a, set.lambda_m) = (1.0, 1.0));
    let (study, _) = whole(&mut engine, &one, "recall");
    let scaled = drawing(&study, "recall.scaled");
    let both = |exhibit: &Exhibit| exhibit.grid.facts.iter().find(|fact| fact.id == "both").unwrap().value;
    let at =
        |exhibit: &Exhibit, factor: &str| exhibit.grid.across.labels.iter().position(|label| label == factor).unwrap();
    let whole_model = scaled.grid.sheets[0].values[at(scaled, "1")];
    assert!((both(scaled) - whole_model).abs() < 1e-3, "{} is not {whole_model}", both(scaled));
    assert!(study.verdict.contains("With its feed-forward times 1 "), "{}", study.verdict);

    let other = asked(Which::Recall, |set| {
        (set.template, set.shots, set.lambda_a, set.lambda_m) = (1, 2, 1.0, 0.1);
    });
    let (study, _) = whole(&mut engine, &link::read(&link::write(&other)).unwrap().experiment, "recall");
    let scaled = drawing(&study, "recall.scaled");
    let values = &scaled.grid.sheets[0].values;
    assert_eq!((scaled.grid.across.labels.len(), values.len()), (8, 16));
    // With the heads as they are, both at once is the feed-forward alone.
    let alone = values[at(scaled, "0.1")];
    assert!((both(scaled) - alone).abs() < 0.05, "{} is not {alone}", both(scaled));
    assert!(values[at(scaled, "0")] <= alone + 1e-3 && alone <= values[at(scaled, "1")] + 1e-3, "{values:?}");
    assert!(values[at(scaled, "1")] > 80.0, "facts are known in another sentence behind others: {values:?}");
}

/// A setting out of its range is refused by name, with what it must be; every setting is read by some study.
#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (key, value, range) in [
        ("shots", "4", "0..=3"),
        ("options", "9", "2..=5"),
        ("template", "3", "0..=2"),
        ("lambda_a", "1.6", "0..=1.5"),
        ("lambda_m", "-0.5", "0..=1.5"),
        ("lambda_m", "NaN", "0..=1.5"),
        ("bias", "-1", "0..=16"),
    ] {
        let refused = link::read(&format!("#tab=studies&{key}={value}")).unwrap_err().to_string();
        assert!(refused.contains(key) && refused.contains(range), "{key}={value}: {refused}");
    }
    let plain = Instruments::default();
    let sets = [
        Instruments { shots: 1, ..plain.clone() },
        Instruments { options: 3, ..plain.clone() },
        Instruments { template: 1, ..plain.clone() },
        Instruments { lambda_a: 1.0, ..plain.clone() },
        Instruments { lambda_m: 1.0, ..plain.clone() },
        Instruments { bias: 1.0, ..plain.clone() },
        Instruments { own: true, ..plain },
    ];
    for set in sets {
        assert!(analysis::ALL.iter().any(|analysis| (analysis.reads)(&set) == set), "{set:?} is read by none");
    }
}
