//! Every lesson is failed at its start and passed by an answer, on the models the page ships.

use attnscope::engine::{Choice, Engine};
use attnscope::experiment::link;
use attnscope::lens::roles::RoleReport;
use attnscope::lessons::{ALL, Lesson, Seen, Verdict};
use pollster::block_on;
use std::collections::BTreeMap;

/// What has to be changed, as parts of a link that stand behind the start's own; and an attempt that misses.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("read-a-pair", "&q=13&k=12", "&q=3&k=2"),
    ("find-the-sink", "&pin=L1H5", "&pin=L1H1"),
    ("token-or-place", "&bos=0", "&bos=0&pin=L0H0"),
    ("break-it", "streaming_window(sinks:0,window:8)", "streaming_window(sinks:4,window:26)"),
    ("mend-it", "streaming_window(sinks:4,window:4)", "streaming_window(sinks:4,window:16)"),
    ("one-step-back", "&pin=L1H1", "&pin=L1H5"),
    ("find-induction", "", ""),
    ("sharpen", "softmax(temperature:0.5)", "streaming_window(sinks:0,window:4),softmax"),
    ("pull-closer", "alibi(slope_range:2),softmax", "alibi(slope_range:8),softmax"),
    ("cheaper", "streaming_window(sinks:0,window:12),softmax", "streaming_window(sinks:0,window:4),softmax"),
];

/// A link with a change: a part behind it, or another stack in pane B.
fn changed(start: &str, change: &str) -> String {
    if change.starts_with('&') || change.is_empty() {
        return format!("{start}{change}");
    }
    let stack = if change.contains("softmax") { change.to_string() } else { format!("{change},softmax") };
    let keep: Vec<_> = start.split('&').filter(|part| !part.starts_with("b=")).map(str::to_string).collect();
    format!("{}&b={stack}", keep.join("&"))
}

fn verdict(engine: &mut Engine, lesson: &Lesson, hash: &str, roles: Option<&RoleReport>) -> Verdict {
    let opened = link::read(hash).unwrap();
    assert_eq!(opened.notices, Vec::<String>::new(), "{hash}");
    let outcome = block_on(engine.run(&opened.experiment, async || false)).unwrap();
    lesson.check(&Seen { experiment: &opened.experiment, outcome: &outcome, roles })
}

#[test]
fn a_lesson_is_failed_at_its_start_and_passed_by_its_answer() {
    assert_eq!(
        ALL.iter().map(|lesson| lesson.id).collect::<Vec<_>>(),
        ANSWERS.iter().map(|(id, ..)| *id).collect::<Vec<_>>()
    );
    let mut engines = BTreeMap::new();
    for (lesson, (_, answer, miss)) in ALL.iter().zip(ANSWERS) {
        let experiment = link::read(lesson.start).unwrap().experiment;
        let engine = engines
            .entry(experiment.model.clone())
            .or_insert_with(|| block_on(Engine::open(&experiment.model, Choice::Cpu)).unwrap());
        let start = verdict(engine, lesson, lesson.start, None);
        assert!(!start.passed, "{} is passed at its start: {}", lesson.id, start.says);
        if lesson.id == "find-induction" {
            let report = block_on(engine.roles(&experiment, 0, async || false)).unwrap();
            let scores = &report.roles.iter().find(|role| role.role == "induction").unwrap().score;
            let heads = engine.config().heads;
            let by_score = |index: &usize| (scores[*index] * 1e6) as i64;
            let (best, worst) =
                ((0..scores.len()).max_by_key(by_score).unwrap(), (0..scores.len()).min_by_key(by_score).unwrap());
            let pin = |index: usize| format!("{}&pin=L{}H{}", lesson.start, index / heads, index % heads);
            let passed = verdict(engine, lesson, &pin(best), Some(&report));
            assert!(passed.passed, "{}", passed.says);
            assert!(!verdict(engine, lesson, &pin(worst), Some(&report)).passed);
            assert!(!verdict(engine, lesson, &pin(best), None).passed, "not before the probes have run");
            continue;
        }
        let passed = verdict(engine, lesson, &changed(lesson.start, answer), None);
        assert!(passed.passed, "{} is not passed by {answer}: {}", lesson.id, passed.says);
        let missed = verdict(engine, lesson, &changed(lesson.start, miss), None);
        assert!(!missed.passed, "{} is passed by {miss}: {}", lesson.id, missed.says);
    }
}
