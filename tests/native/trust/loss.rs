//! Devices that are lost in the middle of something: what was asked for comes all the same, and is told.

use super::{Faulty, agree, experiment, files, open, run};
use attnscope::engine::{Choice, Engine, Generation};
use attnscope::gpu::fault::{self, At, Faults};
use attnscope::mechanism::Stack;
use attnscope::model::load;
use attnscope::model::sample::Sampling;
use attnscope::outcome::Tier;
use pollster::block_on;

fn lose(at: &[(At, usize)]) -> Faults {
    Faults { lose: at.to_vec(), hardware: true, ..Faults::default() }
}

fn cpu() -> Engine {
    block_on(Engine::new(load("tiny", &files()).unwrap(), Choice::Cpu)).unwrap()
}

fn begin(engine: &mut Engine, sampling: Sampling) -> Generation {
    block_on(engine.generate(Stack::new("a", &[]).unwrap(), &[3, 1, 4, 1, 5], sampling, 0)).unwrap()
}

fn draw(engine: &mut Engine, generation: &mut Generation, count: usize) {
    while generation.drawn().len() < count && generation.end().is_none() {
        let left = count - generation.drawn().len();
        block_on(engine.burst(generation, left.min(5))).unwrap();
    }
}

#[test]
fn while_the_model_is_uploaded() {
    let _faulty = Faulty::new(lose(&[(At::Upload, 7)]));
    let engine = open(&files());
    let facts = engine.facts();
    assert!(facts.tier >= Tier::WebGpu, "{facts:?}");
    assert!(facts.incidents[0].contains("uploaded"), "{:?}", facts.incidents);
}

/// At the submit and between submit and answer of a pass.
#[test]
fn in_the_middle_of_a_pass() {
    let experiment = experiment("One day, a girl", &[&[], &["alibi"]]);
    let expected = run(&mut cpu(), &experiment).unwrap();
    for at in [At::Submit, At::Read] {
        for count in [1, 2, 3] {
            let _faulty = Faulty::new(Faults::default());
            let mut engine = open(&files());
            fault::set(lose(&[(at, count)]));
            let outcome = run(&mut engine, &experiment).unwrap();
            assert!(outcome.engine.tier >= Tier::WebGpu, "{at:?} {count}: {:?}", outcome.engine);
            assert_eq!((outcome.engine.generation, outcome.engine.incidents.len()), (1, 1), "{at:?} {count}");
            assert_eq!(outcome.engine.self_check_passed(), Some(true));
            outcome.panes.iter().zip(&expected.panes).for_each(|(came, expected)| agree(came, expected));
        }
    }
}

/// While the prompt is read and between tokens, greedy and drawn: the text is the one that would have come.
#[test]
fn in_the_middle_of_a_continuation() {
    for sampling in [Sampling::default(), Sampling { temperature: 1.0, seed: 4, ..Sampling::default() }] {
        let (mut cpu, count) = (cpu(), 30);
        let mut expected = begin(&mut cpu, sampling);
        draw(&mut cpu, &mut expected, count);
        for at in [At::Submit, At::Read] {
            let _faulty = Faulty::new(Faults::default());
            let mut engine = open(&files());
            // Checked mechanisms submit, too; so that the prompt is what is interrupted.
            drop(begin(&mut engine, sampling));
            fault::set(lose(&[(at, 1)]));
            let mut generation = begin(&mut engine, sampling);
            for _ in 0..2 {
                draw(&mut engine, &mut generation, 10);
                fault::set(lose(&[(at, 2)]));
            }
            draw(&mut engine, &mut generation, count);
            assert_eq!(generation.drawn(), expected.drawn(), "{at:?}");
            let facts = engine.facts();
            assert!(generation.on_gpu() && facts.generation == 2, "{at:?}: {facts:?}");
        }
    }
}

#[test]
fn again_and_again_until_the_processor_computes() {
    let _faulty = Faulty::new(Faults::default());
    let mut engine = open(&files());
    let experiment = experiment("One day, a girl", &[&[]]);
    fault::set(lose(&[(At::Read, 1); 20]));
    let outcome = run(&mut engine, &experiment).unwrap();
    assert_eq!(outcome.engine.tier, Tier::Cpu);
    assert!(outcome.engine.reason.contains("3 tries"), "{}", outcome.engine.reason);
    agree(&outcome.panes[0], &run(&mut cpu(), &experiment).unwrap().panes[0]);
}

#[test]
fn and_no_other_can_be_opened() {
    let _faulty = Faulty::new(Faults::default());
    let mut engine = open(&files());
    engine.lose_device();
    fault::set(Faults { closed: true, ..Faults::default() });
    let experiment = experiment("One day, a girl", &[&[]]);
    let outcome = run(&mut engine, &experiment).unwrap();
    assert_eq!(outcome.engine.tier, Tier::Cpu);
    assert!(outcome.engine.reason.contains("no adapter"), "{}", outcome.engine.reason);
    agree(&outcome.panes[0], &run(&mut cpu(), &experiment).unwrap().panes[0]);
}
