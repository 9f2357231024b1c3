//! Studies of circuits: their arithmetic by hand, and what they say of the shipped model.

use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Experiment, Head, View};
use attnscope::lens::circuits::anchors::even;
use attnscope::lens::circuits::safety::turned;
use attnscope::lens::finding::{Found, Sheet};
use attnscope::lens::fit::fit;
use attnscope::lens::study::Study;
use attnscope::train::circuits::Draw;
use pollster::block_on;

/// Numbers between −1 and 1.
fn noise(draw: &mut Draw, count: usize) -> Vec<f32> {
    (0..count).map(|_| draw.below(20_001) as f32 / 10_000.0 - 1.0).collect()
}

/// Paper 45, check b: planted weights and intercept come back from one per cent of noise; with the parts of other samples
/// nothing is explained.
#[test]
fn a_planted_decomposition_is_found() {
    let (parts, width, samples) = (7, 64, 48);
    let mut draw = Draw::new(3);
    let weights = noise(&mut draw, parts);
    let intercept = noise(&mut draw, width);
    let made: Vec<(Vec<Vec<f32>>, Vec<f32>)> = (0..samples)
        .map(|_| {
            let own: Vec<Vec<f32>> = (0..parts).map(|_| noise(&mut draw, width)).collect();
            let error = noise(&mut draw, width);
            let target = (0..width).map(|at| {
                let sum: f32 = own.iter().zip(&weights).map(|(part, weight)| weight * part[at]).sum();
                sum + intercept[at] + 0.01 * error[at]
            });
            let target = target.collect();
            (own, target)
        })
        .collect();
    let sample = |parts: usize, target: usize| {
        (made[parts].0.iter().map(Vec::as_slice).collect::<Vec<_>>(), made[target].1.as_slice())
    };
    let own: Vec<_> = (0..32).map(|at| sample(at, at)).collect();
    let held: Vec<_> = (32..samples).map(|at| sample(at, at)).collect();
    let found = fit(&own, &held).unwrap();
    for (came, expected) in found.weights.iter().zip(&weights) {
        assert!((came - expected).abs() < 0.02, "{came} is not {expected}");
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = dot(&found.intercept, &intercept)
        / (dot(&found.intercept, &found.intercept) * dot(&intercept, &intercept)).sqrt();
    assert!(cosine > 0.99 && found.fitted > 0.99 && found.judged > 0.99, "{cosine} {} {}", found.fitted, found.judged);
    let shuffled: Vec<_> = (0..32).map(|at| sample((at + 5) % 32, at)).collect();
    let wrong = fit(&shuffled, &held).unwrap();
    assert!(wrong.judged < found.judged - 0.5, "{} with the parts of others", wrong.judged);
}

/// Paper 8, check 3: the same set is not turned; what is scaled or rotated in its columns is not; other orders of the same
/// requests are.
#[test]
fn the_angle_of_a_set_knows_the_order_of_requests() {
    let mut draw = Draw::new(4);
    let rows: Vec<Vec<f32>> = (0..6).map(|_| noise(&mut draw, 20)).collect();
    assert!(turned(&rows, &rows) < 1e-3);
    let louder: Vec<Vec<f32>> = rows.iter().map(|row| row.iter().map(|x| 3.0 * x).collect()).collect();
    let rotated: Vec<Vec<f32>> = rows.iter().map(|row| [&row[10..], &row[..10]].concat()).collect();
    assert!(turned(&rows, &louder) < 1e-2 && turned(&rows, &rotated) < 1e-2);
    let mut swapped = rows.clone();
    swapped.swap(0, 1);
    assert!(turned(&rows, &swapped) > 1.0, "{}", turned(&rows, &swapped));
    // By hand: one row along an axis each; the longer one leads.
    let plain = |a: f32, b: f32| vec![vec![a, 0.0], vec![0.0, b]];
    assert!((turned(&plain(2.0, 1.0), &plain(1.0, 2.0)) - 90.0).abs() < 1e-3);
}

#[test]
fn evened_weights_keep_their_sum() {
    let mut row = vec![0.5, 0.1, 0.2, 0.05, 0.15];
    even(&mut row, &[0, 2]);
    assert_eq!(row, [0.35, 0.1, 0.35, 0.05, 0.15]);
    let once = row.clone();
    even(&mut row, &[0, 2]);
    assert_eq!(row, once);
}

pub fn whole(id: &str) -> Study {
    let mut engine = block_on(Engine::open("circuits-2m", Choice::Cpu)).unwrap();
    let view = View { pin: Head { layer: 3, head: 0 }, ..View::default() };
    let experiment = Experiment { model: "circuits-2m".into(), view, ..Experiment::default() };
    loop {
        let finding = block_on(engine.analyse(&experiment, 0, id, async |_, _| false)).unwrap();
        let Found::Study(study) = finding.found else { panic!("{id} is no study") };
        if study.is_whole() {
            return study;
        }
    }
}

pub fn sheet<'a>(study: &'a Study, exhibit: &str, sheet: &str) -> &'a Sheet {
    let found = study.exhibits.iter().find(|one| one.id == exhibit).unwrap_or_else(|| panic!("no {exhibit}"));
    found.grid.sheets.iter().find(|one| one.id == sheet).unwrap_or_else(|| panic!("no {sheet} of {exhibit}"))
}

pub fn fact(study: &Study, exhibit: &str, id: &str) -> f32 {
    let found = study.exhibits.iter().find(|one| one.id == exhibit).unwrap();
    found.grid.facts.iter().find(|fact| fact.id == id).unwrap().value
}

/// Paper 8, check 5: requests of the topic are answered without the heads that Sahara finds, not without random ones; the
/// first of them alone does it and leaves other requests alone. Looking everywhere alike moves as much as taking away.
#[test]
fn a_refusal_rests_on_few_heads() {
    let study = whole("safety");
    let share = &sheet(&study, "safety.groups", "share").values;
    let [attack, random, others, _] = [0, 1, 2, 3].map(|row| &share[row * 4..(row + 1) * 4]);
    assert!(attack[0] < 5.0 && others[0] > 95.0, "as it is: {share:?}");
    assert!(attack[3] > attack[0] + 30.0 && random[3] < random[0] + 10.0, "{share:?}");
    assert!(attack[1] > 90.0 && others[1] > others[0] - 15.0, "the first head alone: {share:?}");
    // Check 4: the first of the group is the head whose angle is largest alone.
    let angles = &sheet(&study, "safety.heads", "angle").values;
    let widest = (0..angles.len()).max_by(|a, b| angles[*a].total_cmp(&angles[*b])).unwrap();
    let first = Head { layer: widest / 6, head: widest % 6 };
    let groups = study.exhibits.iter().find(|one| one.id == "safety.groups").unwrap();
    assert!(groups.name.starts_with(&format!("Without {first},")), "{} and {first}", groups.name);
    let most = |id: &str| sheet(&study, "safety.heads", id).values.iter().copied().fold(0.0, f32::max);
    assert!(most("ships") >= 0.9 * most("ships_zero"));
    assert!(fact(&study, "safety.heads", "rank") > 0.3);
}

/// Paper 29, checks 5 and 6, as far as they hold: scores are stable and facts are not lost. Fewer than a quarter of the heads
/// is not true of this model (a third retrieves), and single heads are not missed, since others do the same.
#[test]
fn retrieval_heads_are_stable_and_back_each_other_up() {
    let study = whole("retrieval");
    let right = &sheet(&study, "retrieval.masked", "right").values;
    let [needles, _, facts] = [0, 1, 2].map(|row| &right[row * 6..(row + 1) * 6]);
    assert!(needles[0] > 95.0 && facts[0] > 95.0, "{right:?}");
    assert!(needles[1] > 95.0, "one head is missed: {right:?}");
    assert!(needles[5] < needles[0] - 40.0, "eight are not: {right:?}");
    assert!(facts.iter().all(|known| *known > facts[0] - 10.0), "{right:?}");
    assert!(fact(&study, "retrieval.heads", "halves") > 0.9);
    let scores = &sheet(&study, "retrieval.heads", "score").values;
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
}

/// Paper 12, checks 1 and 5: all parts together are the logit, few parts are most of it, random ones are not.
#[test]
fn few_parts_write_the_letter() {
    let study = whole("letters");
    let recovered = &sheet(&study, "letters.kept", "recovered").values;
    assert!((recovered[5] - 100.0).abs() < 0.1 && (recovered[11] - 100.0).abs() < 0.1, "all parts: {recovered:?}");
    assert!(recovered[2] > 80.0 && recovered[8] < 50.0, "four parts: {recovered:?}");
    let total = &sheet(&study, "letters.parts", "total").values;
    assert!(total.iter().all(|lost| lost.is_finite()));
}

/// Paper 45: at 1 the last feed-forward is as it was; the movers are needed and random heads are not; the sign of what the
/// last layer adds is what the verdict says.
#[test]
fn facts_are_moved_by_few_heads_and_not_taken_back() {
    let study = whole("recall");
    let known = &sheet(&study, "recall.known", "known").values;
    assert!(known[1] < known[0] - 40.0 && known[2] > known[0] - 10.0, "{known:?}");
    let both = sheet(&study, "recall.last", "delta").values[2];
    assert_eq!(both < 0.0, study.verdict.contains("takes certainty back"), "{both}: {}", study.verdict);
    assert_eq!(both >= 0.0, study.verdict.contains("no anti-overconfidence"), "{both}: {}", study.verdict);
    // Probabilities of the whole model, from passes made here.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models/circuits-2m");
    let loaded = attnscope::model::load("circuits-2m", &attnscope::model::Files::read(&folder).unwrap()).unwrap();
    let model = attnscope::model::CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let circuits = attnscope::train::circuits::Circuits::new(&loaded.tokenizer).unwrap();
    let stack = attnscope::mechanism::Stack::new("a", &[]).unwrap();
    let mut sum = (0.0, 0);
    for relation in attnscope::train::circuits::facts::RELATIONS {
        for person in 0..circuits.words.known.len() {
            let item = circuits.facts.item(&circuits.words, person, relation);
            let question = &item.questions[0];
            let tokens: Vec<u32> =
                loaded.config.bos.into_iter().chain(item.tokens[..question.at].iter().copied()).collect();
            let base = attnscope::lens::base::Base::new(&model, &stack, 0, &tokens, &[]).unwrap();
            let log = base.log_probabilities.at(tokens.len() - 1)[question.answers[0] as usize];
            sum = (sum.0 + f64::from(log).exp(), sum.1 + 1);
        }
    }
    let expected = (100.0 * sum.0 / f64::from(sum.1)) as f32;
    let came = sheet(&study, "recall.scaled", "probability").values[4];
    assert!((came - expected).abs() < 0.01, "{came} is not {expected}");
}

/// Paper 39: the habit is counted, both lenses are different paths, and the edit lowers the first letter's share.
#[test]
fn an_anchor_is_told_from_chance() {
    let study = whole("anchors");
    let chosen = &sheet(&study, "anchors.habit", "chosen").values;
    assert!((chosen.iter().sum::<f32>() - 100.0).abs() < 0.01);
    let layers = &sheet(&study, "anchors.layers", "delta").values;
    let (held, own) = layers.split_at(layers.len() / 2);
    assert!(held.iter().zip(own).any(|(a, b)| (a - b).abs() > 0.1), "{held:?} {own:?}");
    let edits = &sheet(&study, "anchors.edits", "share").values;
    assert_eq!(edits[0], chosen[0], "nothing edited is the habit itself");
    assert!(edits[3] < edits[0], "{edits:?}");
    assert_eq!(chosen[0] > 25.0 + 13.7, study.verdict.contains("are anchored at A"), "{}", study.verdict);
}

/// Paper 1: what one channel carries is measured against random channels of the same head.
#[test]
fn a_channel_is_edited_beside_random_ones() {
    let study = whole("channels");
    let accuracy = &sheet(&study, "channels.accuracy", "accuracy").values;
    let lengths = accuracy.len() / 6;
    assert!(accuracy[..lengths - 2].iter().all(|share| *share > 95.0), "taught lengths: {accuracy:?}");
    let heard = &sheet(&study, "channels.which", "heard").values;
    let (most, baseline) = (heard.iter().copied().fold(0.0, f32::max), fact(&study, "channels.who", "baseline"));
    assert!(most > baseline, "{most} beside {baseline}");
    let best = sheet(&study, "channels.who", "loudest").values.iter().copied().fold(0.0, f32::max);
    assert!((best - most).abs() < 1e-6);
}

/// Roles that tasks show: few heads pass their controls.
#[test]
fn roles_on_tasks_have_controls() {
    let mut engine = block_on(Engine::open("circuits-2m", Choice::Cpu)).unwrap();
    let experiment = Experiment { model: "circuits-2m".into(), ..Experiment::default() };
    let report = block_on(engine.roles(&experiment, 0, async || false)).unwrap();
    for id in ["retrieval", "letter", "content", "name_mover", "s_inhibition", "list", "safety"] {
        let role = report.roles.iter().find(|role| role.role == id).unwrap_or_else(|| panic!("no {id}"));
        assert_eq!((role.score.len(), role.shuffled.len()), (24, 24));
        assert!(role.false_positive_rate < 0.05, "{id}: {}", role.false_positive_rate);
    }
    let ids: std::collections::BTreeSet<_> = report.roles.iter().map(|role| &role.role).collect();
    assert_eq!(ids.len(), report.roles.len(), "every role once");
    let retrieval = report.roles.iter().find(|role| role.role == "retrieval").unwrap();
    assert!(retrieval.score.iter().any(|score| *score > 0.5));
}
