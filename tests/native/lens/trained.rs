//! Small models trained here for one question each, on data whose answers are known exactly.

use super::directions::Numbers;
use attnscope::experiment::{Head, Instruments};
use attnscope::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use attnscope::lens::circuits::anchors::{Anchors, Dimension};
use attnscope::lens::circuits::{Circuit, Given};
use attnscope::lens::evaluation::choices::{by_kin, by_ratio, mass, resolved, synonyms};
use attnscope::lens::ranks::correlation;
use attnscope::lens::readout::Readout;
use attnscope::mechanism::Stack;
use attnscope::model::{Config, CpuModel, Files, Text, load};
use attnscope::train::circuits::{Circuits, Draw, Split, Task};
use attnscope::train::exam::Format;
use attnscope::train::optimizer::{self, Rule};
use attnscope::train::schedule::Schedule;
use attnscope::train::stream::Row;
use attnscope::train::synonyms::{ENTITIES, FACTS, RELATIONS, VOCABULARY, WORDS, World};
use attnscope::train::workers::Workers;
use burn::tensor::Device;
use std::collections::BTreeSet;
use std::path::Path;

/// Rows of a batch.
const BATCH: usize = 64;

/// Trains for so many steps on what `row` makes; `look` sees the loss and the model after each.
fn train(config: &Config, steps: usize, mut row: impl FnMut() -> Row, mut look: impl FnMut(usize, f64, &Text)) {
    let mut model = Text::init(config, 1, &Device::flex().autodiff()).unwrap();
    let mut optimizer = optimizer::new(Rule::Muon);
    let workers = Workers { threads: 2, piece_tokens: 1024 };
    let plain = Stack::new("a", &[]).unwrap();
    let schedule = Schedule { peak: 0.006, warmup_tokens: 20, decay_tokens: steps / 4, tokens: steps };
    for step in 0..steps {
        let rows: Vec<Row> = (0..BATCH).map(|_| row()).collect();
        let (loss, mut gradients) = workers.gradients(&model, &plain, &rows).unwrap();
        optimizer::clip(&model, &mut gradients);
        model = optimizer.step(schedule.rate(step), model, gradients);
        look(step + 1, loss, &model);
    }
}

fn small(vocabulary: usize, context: usize) -> Config {
    Config { context, bos: Some(0), ..Config::llama(vocabulary, 64, 2, 4, 4, 128) }
}

fn even(tokens: &[u32]) -> Row {
    Row::even(&tokens.iter().map(|id| *id as u16).collect::<Vec<_>>())
}

/// log P of every token behind a prompt.
fn next(model: &CpuModel, prompt: &[u32]) -> Vec<f64> {
    let mut nobody = ActivationCache::new(Selection::default());
    let logits = model.run(&[prompt], &Stack::new("a", &[]).unwrap(), 0, &mut nobody).unwrap();
    let row = &logits.data[logits.data.len() - model.config().vocabulary..];
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let all = row.iter().map(|x| f64::from(x - most).exp()).sum::<f64>().ln();
    row.iter().map(|x| f64::from(x - most) - all).collect()
}

/// One form with so many examples over all items.
struct Asked {
    pmv: Vec<f32>,
    seq: Vec<f32>,
    /// Mean numbers: right by pmi, by pmi-L, with synonyms summed; share resolved; mass on synonyms.
    means: [f32; 5],
}

const ITEMS: usize = 96;
const SHOTS: [usize; 3] = [0, 1, 2];

fn ask(model: &CpuModel, world: &World, format: Format, shots: usize) -> Asked {
    let (mut pmv, mut seq, mut means) = (Vec::new(), Vec::new(), [0.0; 5]);
    for item in 0..ITEMS {
        let sheet = world.sheet(format, shots, item);
        let everything = next(model, &sheet.prompt);
        let choices = |all: &[f64]| sheet.choices.iter().map(|id| all[*id as usize]).collect::<Vec<f64>>();
        let exp = |logs: Vec<f64>| logs.into_iter().map(f64::exp).collect::<Vec<f64>>();
        let (logs, even) = (choices(&everything), vec![1.0; sheet.choices.len()]);
        let [cue, unasked] = [&sheet.cue, &sheet.unasked].map(|prompt| exp(choices(&next(model, prompt))));
        let kin = by_kin(&everything, &sheet.synonyms);
        let on_synonyms = synonyms(&everything, &sheet.synonyms);
        let (own, here) = (mass(&logs), exp(logs));
        // What surface forms may take is never more than the bound, and all of it is one.
        assert!(own + on_synonyms <= 1.0 + 1e-9, "{own} and {on_synonyms}");
        let summed: Vec<f64> = here.iter().zip(&kin).map(|(own, kin)| own + kin).collect();
        let right = |at: usize| f32::from(u8::from(at == sheet.right));
        pmv.push(own as f32);
        seq.push(right(by_ratio(&here, &even)));
        let numbers = [
            right(by_ratio(&here, &cue)),
            right(by_ratio(&here, &unasked)),
            right(by_ratio(&summed, &even)),
            f32::from(u8::from(resolved(&here))),
            on_synonyms as f32,
        ];
        means.iter_mut().zip(numbers).for_each(|(mean, number)| *mean += number / ITEMS as f32);
    }
    Asked { pmv, seq, means }
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// Steps after which the base model is looked at, and those it is tuned on lettered questions for.
const LOOKED: [usize; 6] = [100, 200, 400, 700, 1000, 1500];
const TUNED: usize = 200;

/// Paper 65, checks (d) and (e), on a model of facts whose values have three words each: mass on valid choices (PMV) and
/// right answers of six checkpoints and of the tuned model, in three forms with no, one and two examples.
pub fn surface_forms() -> Numbers {
    let world = World::new(0);
    let config = small(VOCABULARY, 96);
    let (mut draw, mut base) = (Draw::new(1), Vec::new());
    let mut numbers = Numbers::new();
    let mut note = |name: &str, model: &CpuModel| {
        for format in Format::ALL {
            for shots in SHOTS {
                let asked = ask(model, &world, format, shots);
                let r = correlation(&asked.pmv, &asked.seq);
                let all = [&[mean(&asked.pmv), mean(&asked.seq)], &asked.means[..], &[r]].concat();
                // Where all answers are right nothing correlates.
                let kept = all.into_iter().map(|x| if x.is_finite() { x } else { 0.0 }).collect();
                numbers.insert(format!("{name}, {}, {shots}-shot", format.name()), kept);
            }
        }
    };
    let last = LOOKED[LOOKED.len() - 1];
    let mut tuned = None;
    train(
        &config,
        last,
        || even(&world.document(&mut draw)),
        |step, _, model| {
            if LOOKED.contains(&step) {
                note(&format!("step {step}"), &CpuModel::new(&config, &model.to_weights()).unwrap());
            }
            if step == last {
                base.push(model.to_weights());
            }
        },
    );
    // The same model on lettered questions.
    let device = Device::flex().autodiff();
    let mut model = Text::from_weights(&config, &base[0], &device).unwrap();
    let (mut optimizer, workers) = (optimizer::new(Rule::Muon), Workers { threads: 2, piece_tokens: 1024 });
    let plain = Stack::new("a", &[]).unwrap();
    for _ in 0..TUNED {
        let rows: Vec<Row> = (0..BATCH).map(|_| even(&world.exercise(&mut draw))).collect();
        let (_, mut gradients) = workers.gradients(&model, &plain, &rows).unwrap();
        optimizer::clip(&model, &mut gradients);
        model = optimizer.step(0.003, model, gradients);
        tuned = Some(CpuModel::new(&config, &model.to_weights()).unwrap());
    }
    note("tuned", &tuned.unwrap());
    numbers
}

/// Paper 65, check (c), and that the language is learned: every word of a value is named, choices are of different values,
/// and a few steps of training make the documents likelier.
#[test]
fn facts_in_several_words_are_learned() {
    let world = World::new(0);
    assert_eq!(VOCABULARY, 2 + 4 + ENTITIES + RELATIONS + RELATIONS * 8 * WORDS);
    for (index, format) in (0..40).flat_map(|index| Format::ALL.map(|format| (index, format))) {
        let sheet = world.sheet(format, 1, index);
        let all: BTreeSet<u32> = sheet.choices.iter().chain(sheet.synonyms.iter().flatten()).copied().collect();
        let forms = if format == Format::Letters { 1 } else { WORDS };
        assert_eq!(all.len(), sheet.choices.len() * forms, "{sheet:?}");
        assert!(sheet.prompt.iter().chain(&all).all(|id| (*id as usize) < VOCABULARY));
        assert_eq!(sheet.right, world.sheet(Format::None, 0, index).right, "the same question in every form");
    }
    // A speaker keeps to one word of a value.
    for seed in 0..50 {
        let document = world.document(&mut Draw::new(seed));
        assert_eq!(document.len(), 1 + 4 * FACTS);
        for one in document[1..].chunks(4) {
            for other in document[1..].chunks(4) {
                let value = |word: u32| (word - document_words()) / WORDS as u32;
                assert!(value(one[2]) != value(other[2]) || one[2] == other[2], "seed {seed}: {document:?}");
            }
        }
    }
    let (mut draw, mut losses) = (Draw::new(1), Vec::new());
    let config = small(VOCABULARY, 96);
    train(
        &config,
        40,
        || even(&world.document(&mut draw)),
        |_, loss, model| {
            losses.push(loss);
            if losses.len() == 40 {
                let model = CpuModel::new(&config, &model.to_weights()).unwrap();
                let asked = ask(&model, &world, Format::None, 0);
                assert!(asked.pmv.iter().all(|pmv| (0.0..=1.0).contains(pmv)));
                assert!(mean(&asked.pmv) > 4.0 / VOCABULARY as f32, "it has learned what may follow a relation");
            }
        },
    );
    assert!(losses[39] < losses[0] - 1.0, "{} and then {}", losses[0], losses[39]);
}

/// The first word of the first value.
fn document_words() -> u32 {
    (VOCABULARY - RELATIONS * 8 * WORDS) as u32
}

/// Takes the part of one dimension of a feed-forward away.
struct Zeroed(Option<Dimension>);

impl Tap for Zeroed {
    fn wants(&self, at: HookPoint) -> bool {
        self.0.is_some_and(|one| at == HookPoint::new(one.layer, Site::MlpPost))
    }

    fn visit(&mut self, _: HookPoint, value: &Array) -> Option<Array> {
        let (mut edited, one) = (value.clone(), self.0?);
        let width = *value.shape.last()?;
        edited.data.chunks_mut(width).for_each(|row| row[one.at] = 0.0);
        Some(edited)
    }
}

const QUESTIONS: u64 = 96;
const RANDOM: usize = 20;

/// Paper 39, check (d): a model trained where seven right answers in ten are A. Answered right and answered with A on fair
/// questions; the latter without the dimension that writes A most, and the mean without others of the ten largest.
pub fn planted_anchor() -> Numbers {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/circuits-2m");
    let tokenizer = load("circuits-2m", &Files::read(&folder).unwrap()).unwrap().tokenizer;
    let circuits = Circuits::new(&tokenizer).unwrap();
    let inner = attnscope::train::circuits::Given { words: &circuits.words, longest: 64 };
    // Only tokens that such questions have are learned; all others keep an embedding of nothing.
    let mut draw = Draw::new(2);
    let used: BTreeSet<u32> =
        (0..4000).flat_map(|_| circuits.choice.draw(&inner, &mut draw, 0.5).tokens).chain([0]).collect();
    let used: Vec<u32> = used.into_iter().collect();
    let compact = |id: u32| used.binary_search(&id).unwrap() as u16;
    let longest = 31;
    let row = || {
        let item = loop {
            let item = circuits.choice.draw(&inner, &mut draw, 0.7);
            if Split::of(&item) == Split::Training {
                break item;
            }
        };
        let mut tokens: Vec<u16> = std::iter::once(0).chain(item.tokens.iter().copied()).map(compact).collect();
        let mut weights = vec![0.1; tokens.len() - 1];
        *weights.last_mut().unwrap() = 1.0;
        assert!(tokens.len() <= longest, "{} tokens", tokens.len());
        tokens.resize(longest, 0);
        weights.resize(longest - 1, 0.0);
        Row { tokens, weights }
    };
    let config = small(used.len(), 64);
    let mut trained = None;
    train(&config, 1200, row, |step, _, model| {
        if step == 1200 {
            trained = Some(model.to_weights());
        }
    });
    let mut weights = trained.unwrap();
    let config = Config { vocabulary: tokenizer.vocabulary(), ..config };
    let embed = weights.take("embed").unwrap();
    let mut all =
        Array { shape: vec![config.vocabulary, config.width], data: vec![0.0; config.vocabulary * config.width] };
    for (at, id) in used.iter().enumerate() {
        let start = *id as usize * config.width;
        all.data[start..start + config.width].copy_from_slice(embed.at(at));
    }
    weights.0.insert("embed".into(), all);
    let model = CpuModel::new(&config, &weights).unwrap();
    let letters = circuits.words.letters[..4].to_vec();
    let questions: Vec<_> = (0..QUESTIONS).map(|at| circuits.item(Task::Choice, Split::HeldOut, 64, at)).collect();
    let shares = |without: Option<Dimension>| {
        let (mut right, mut anchored) = (0.0, 0.0);
        for item in &questions {
            let tokens: Vec<u32> = std::iter::once(0).chain(item.prompt().iter().copied()).collect();
            let logits = model.run(&[&tokens], &Stack::new("a", &[]).unwrap(), 0, &mut Zeroed(without)).unwrap();
            let row = &logits.data[logits.data.len() - config.vocabulary..];
            let most = letters.iter().max_by(|a, b| row[**a as usize].total_cmp(&row[**b as usize])).unwrap();
            right += f32::from(u8::from(item.questions[0].answers[0] == *most)) / QUESTIONS as f32;
            anchored += f32::from(u8::from(*most == letters[0])) / QUESTIONS as f32;
        }
        [right, anchored]
    };
    let given = Given {
        config: config.clone(),
        readout: Readout::new(&config, &weights).unwrap(),
        weights: weights.clone(),
        stack: Stack::new("a", &[]).unwrap(),
        seed: 0,
        circuits: Circuits::new(&tokenizer).unwrap(),
        text: (0..config.vocabulary as u32).map(|id| tokenizer.token_text(id)).collect(),
        pin: Head::default(),
        set: Instruments::default(),
    };
    let mut anchors = Anchors::new(given);
    for at in 0..40 {
        anchors.step(&model, at).unwrap();
    }
    let ranked: Vec<Dimension> = anchors.ranked().into_iter().map(|(one, _)| one).collect();
    let mut draw = Draw::new(3);
    let random: Vec<f32> = (0..RANDOM).map(|_| shares(Some(ranked[1 + draw.below(ranked.len() - 1)]))[1]).collect();
    let [right, anchored] = shares(None);
    Numbers::from([
        ("answered right".into(), vec![right]),
        ("answered with A".into(), vec![anchored]),
        ("without the first dimension".into(), vec![shares(Some(ranked[0]))[1]]),
        ("without another of the largest, mean of 20".into(), vec![mean(&random)]),
    ])
}
