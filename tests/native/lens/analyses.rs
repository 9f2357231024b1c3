//! Every analysis, asked as the page asks it: of an experiment, by id.

use crate::tiny::{HEADS, LAYERS, model};
use attnscope::api::Reply;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Chip, Experiment, Head, Instruments, Pane, PatchSite, Removal, View};
use attnscope::hook::Array;
use attnscope::lens::analysis;
use attnscope::lens::base::{Again, Base};
use attnscope::lens::causal::Removals;
use attnscope::lens::finding::{Ablated, Finding, Found, Grid};
use attnscope::lens::roles::probes;
use attnscope::mechanism::Stack;
use attnscope::model::{CpuModel, load};
use attnscope::{Error, Result};
use pollster::block_on;

const HEAD: Head = Head { layer: 1, head: 2 };

fn engine() -> Engine {
    block_on(Engine::new(load("tiny", &model().2).unwrap(), Choice::Cpu)).unwrap()
}

fn experiment() -> Experiment {
    let window = Chip::new("streaming_window").with("sinks", 1.0).with("window", 4.0);
    let instruments =
        Instruments { ablate: vec![HEAD], corrupted: "Ann found a red bell".into(), ..Instruments::default() };
    let view = View { pin: HEAD, ..View::default() };
    Experiment {
        view,
        model: "tiny".into(),
        prompt: "Ann found a red ball".into(),
        panes: vec![Pane::default(), Pane { stack: vec![window] }],
        instruments,
        ..Experiment::default()
    }
}

fn ask(engine: &mut Engine, experiment: &Experiment, pane: usize, id: &str) -> Result<Finding> {
    block_on(engine.analyse(experiment, pane, id, async |_, _| false))
}

#[test]
fn every_analysis_answers_in_its_view_and_survives_its_json() {
    let mut engine = engine();
    // Studies have tests of their own: they answer bit by bit, and some want words that this model has not.
    for analysis in analysis::ALL.iter().filter(|analysis| analysis.view != attnscope::lens::finding::View::Study) {
        assert!(analysis.help.ends_with('.') && !analysis.source.is_empty(), "{}", analysis.id);
        for pane in 0..2 {
            let (mut steps, mut all) = (0, 0);
            let step = async |done, of| {
                assert_eq!(done, steps, "{}", analysis.id);
                (steps, all) = (steps + 1, of);
                false
            };
            let finding = block_on(engine.analyse(&experiment(), pane, analysis.id, step)).unwrap();
            assert_eq!(finding.found.view(), analysis.view, "{}", analysis.id);
            assert_eq!(steps, all, "{} says how far it is to the end", analysis.id);
            assert_eq!(analysis.many_passes, all > 0, "{}", analysis.id);
            assert!(finding.name(finding.asked.answer).is_some(), "{}", analysis.id);
            if let Found::Grid(grid) = &finding.found {
                let cells = grid.down.labels.len() * grid.across.labels.len();
                for sheet in &grid.sheets {
                    assert_eq!(sheet.values.len(), cells, "{}", analysis.id);
                    // Only heads before the pinned one can speak to it.
                    let there = if analysis.of_pinned { HEADS } else { cells };
                    let finite = sheet.values.iter().filter(|value| value.is_finite()).count();
                    assert_eq!(finite, there, "{}: {}", analysis.id, sheet.id);
                    assert!(sheet.values.iter().any(|value| *value != 0.0), "{}: {}", analysis.id, sheet.id);
                }
                assert_eq!(grid.csv().lines().count(), cells + 1);
            }
            // As the worker sends it.
            let json = serde_json::to_string(&Reply::Analysed { finding: Box::new(finding) }).unwrap();
            let again: Reply = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), json, "{}", analysis.id);
        }
    }
    assert!(ask(&mut engine, &experiment(), 0, "tea_leaves").unwrap_err().to_string().contains("logit_lens"));
    assert_eq!(ask(&mut engine, &experiment(), 2, "sweep").unwrap_err().code(), "unknown");
}

#[test]
fn an_analysis_of_many_passes_can_be_stopped_between_them() {
    let mut engine = engine();
    for analysis in analysis::ALL
        .iter()
        .filter(|analysis| analysis.many_passes && analysis.view != attnscope::lens::finding::View::Study)
    {
        let (mut asked, mut all) = (0, 0);
        let step = async |done, of| {
            (asked, all) = (asked + 1, of);
            done + 1 == of
        };
        let stopped = block_on(engine.analyse(&experiment(), 0, analysis.id, step)).unwrap_err();
        assert_eq!((stopped, asked), (Error::Superseded, all), "{}: before the last pass", analysis.id);
    }
}

fn ablated(finding: &Finding) -> &Ablated {
    match &finding.found {
        Found::Ablated(ablated) => ablated,
        other => panic!("{other:?} is no ablation"),
    }
}

/// What is shown of one head taken out is what the sweep says of that head, and nothing taken out is the pane itself.
#[test]
fn ablation_sweep_and_run_say_the_same() {
    let mut engine = engine();
    let mut experiment = experiment();
    let outcome = block_on(engine.run(&experiment, async || false)).unwrap();
    for (pane, ran) in outcome.panes.iter().enumerate() {
        for how in Removal::ALL {
            experiment.instruments.how = *how;
            let finding = ask(&mut engine, &experiment, pane, "ablation").unwrap();
            let found = ablated(&finding);
            assert_eq!((found.heads.as_slice(), found.how, found.from_layer), (&[HEAD][..], *how, 1));
            let (whole, without) = found.loss.unwrap();
            assert!((whole - ran.loss.unwrap()).abs() < 1e-5);
            assert_eq!(finding.asked.answer, ran.next[0].id, "the likeliest token is explained");
            assert!((found.log_prob.0.exp() - ran.next[0].probability).abs() < 1e-5);
            let here = found.next.iter().find(|next| next.id == finding.asked.answer).unwrap();
            assert!((here.probability - found.log_prob.1.exp()).abs() < 1e-5);
            let sweep = ask(&mut engine, &experiment, pane, "sweep").unwrap();
            let Found::Grid(grid) = &sweep.found else { panic!("{sweep:?}") };
            let at = HEAD.layer * HEADS + HEAD.head;
            let of = |id: &str| grid.sheets.iter().find(|sheet| sheet.id == id).unwrap().values[at];
            assert_eq!(grid.sheets[0].values.len(), LAYERS * HEADS);
            assert!((of("loss") - (without - whole)).abs() < 1e-4, "{how:?}");
            assert!((of("divergence") - found.mean_divergence).abs() < 1e-4, "{how:?}");
            assert!((of("log_prob") - (found.log_prob.1 - found.log_prob.0)).abs() < 1e-4, "{how:?}");
        }
        experiment.instruments.ablate.clear();
        let whole = ask(&mut engine, &experiment, pane, "ablation").unwrap();
        let whole = ablated(&whole);
        assert_eq!((whole.divergence, whole.mean_divergence), (0.0, 0.0));
        assert_eq!(whole.loss.unwrap().0, whole.loss.unwrap().1);
        experiment.instruments.ablate = vec![HEAD];
    }
}

/// Evidence beside a role is what taking out that head alone does: to the prompt as the sweep says it, and to the second half
/// of random tokens that stand twice, by a pass made here.
#[test]
fn evidence_is_what_taking_out_each_head_does() {
    let mut engine = engine();
    let mut experiment = experiment();
    let (config, weights, _) = model();
    let cpu = CpuModel::new(&config, &weights).unwrap();
    for how in Removal::ALL {
        experiment.instruments.how = *how;
        for pane in 0..2 {
            let [evidence, sweep] = ["evidence", "sweep"].map(|id| match ask(&mut engine, &experiment, pane, id) {
                Ok(Finding { found: Found::Grid(grid), .. }) => grid,
                other => panic!("{other:?}"),
            });
            let of = |grid: &Grid, id: &str| grid.sheets.iter().find(|sheet| sheet.id == id).unwrap().values.clone();
            let same = of(&evidence, "prompt").iter().zip(of(&sweep, "loss")).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(same, "{how:?}: {:?} and {:?}", of(&evidence, "prompt"), of(&sweep, "loss"));
        }
        let Ok(Finding { found: Found::Grid(grid), .. }) = ask(&mut engine, &experiment, 0, "evidence") else {
            panic!()
        };
        // Special tokens are no probe: the tiny model's only one begins a text.
        let vocabulary: Vec<u32> = (1..config.vocabulary as u32).collect();
        let (stack, seed) = (Stack::new("a", &[]).unwrap(), experiment.seed);
        let mut expected = 0.0;
        for probe in probes(seed, &vocabulary, 2, 24, config.bos) {
            let base = Base::new(&cpu, &stack, seed, &probe.repeated, &[]).unwrap();
            let again = Again { model: &cpu, stack: &stack, seed, base: &base };
            let sets = [vec![HEAD]];
            let removals = Removals::new(again, &sets, *how).unwrap();
            let loss = |rows: &Array| {
                let rows = attnscope::engine::log_probabilities(rows);
                let judged = 1 + 24 + 1..probe.repeated.len();
                judged.clone().map(|at| -rows.at(at - 1)[probe.repeated[at] as usize]).sum::<f32>()
                    / judged.len() as f32
            };
            for batch in removals.batches() {
                removals.run(&batch, |_, logits| expected += (loss(logits) - loss(&base.logits)) / 2.0).unwrap();
            }
        }
        let came = grid.sheets[1].values[HEAD.layer * HEADS + HEAD.head];
        assert!((came - expected).abs() < 1e-4, "{how:?}: {came} is not {expected}");
    }
}

#[test]
fn what_is_explained_can_be_chosen() {
    let mut engine = engine();
    let mut experiment = experiment();
    experiment.view.query = Some(3);
    experiment.instruments.answer = Some(41);
    experiment.instruments.against = Some(7);
    let finding = ask(&mut engine, &experiment, 0, "attribution").unwrap();
    assert_eq!((finding.asked.query, finding.asked.answer, finding.asked.against), (3, 41, Some(7)));
    let Found::Parts(parts) = &finding.found else { panic!("{finding:?}") };
    assert!((parts.sum() - parts.logit).abs() < 1e-3);
    experiment.instruments.answer = Some(9_999);
    assert_eq!(ask(&mut engine, &experiment, 0, "ablation").unwrap_err().code(), "unknown");
    experiment.instruments.answer = None;
    experiment.instruments.ablate = vec![Head { layer: 2, head: 0 }];
    assert!(ask(&mut engine, &experiment, 0, "ablation").unwrap_err().to_string().contains("L1H3"));
}

#[test]
fn patching_refuses_prompts_of_other_lengths_and_reads_every_site() {
    let mut engine = engine();
    let mut experiment = experiment();
    for site in PatchSite::ALL {
        experiment.instruments.site = *site;
        let finding = ask(&mut engine, &experiment, 0, "patching").unwrap();
        let Found::Grid(grid) = &finding.found else { panic!("{finding:?}") };
        for fact in grid.facts.iter().filter(|fact| fact.id.starts_with("everything")) {
            assert_eq!(fact.value, 1.0, "{site:?}: {}", fact.id);
        }
    }
    experiment.instruments.corrupted = "Ann found a ball".into();
    let refused = ask(&mut engine, &experiment, 0, "patching").unwrap_err();
    assert!(refused.to_string().contains("as many tokens as the prompt, 21"), "{refused}");
}
