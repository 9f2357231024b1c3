//! Layer `laws`: every law of every mechanism, and that a broken mechanism is caught.

use attnscope::api::LawReport;
use attnscope::experiment::{Chip, Experiment, Pane, link};
use attnscope::mechanism::{
    ALL, At, Grid, Law, MaskMod, Mechanism, Memory, Mixed, Mixer, Normalizer, Placed, Plug, Rows, ScoreMod, Selected,
    Selector, Stack, Vectors, Weighted, laws,
};
use attnscope::spec::{Domain, Plain, Value};
use burn::tensor::{Bool, Tensor};

#[test]
fn every_law_of_every_mechanism_holds() {
    for mechanism in ALL {
        let reports = laws::check(mechanism).unwrap();
        assert_eq!(reports.len(), mechanism.laws.len() + 1, "{}", mechanism.id);
        for LawReport { law, holds, deviation, allowed } in reports {
            assert!(holds, "{}: {law}: deviates by {deviation}, allowed {allowed}", mechanism.id);
        }
    }
}

#[test]
fn every_mechanism_reduces_to_something() {
    for mechanism in ALL {
        assert!(mechanism.laws.iter().any(|law| matches!(law, Law::ReducesTo { .. })), "{}", mechanism.id);
    }
}

#[test]
fn every_corner_survives_links_and_json() {
    for mechanism in ALL {
        for values in laws::corners(mechanism) {
            let plain =
                mechanism.plug.spec.iter().zip(&values).map(|(param, value)| (param.key.into(), param.write(*value)));
            let chip = Chip { id: mechanism.id.into(), values: plain.collect() };
            let pane = Pane { stack: vec![chip.clone()] };
            let experiment = Experiment { panes: vec![pane], ..Experiment::default() };
            let linked = link::read(&link::write(&experiment)).unwrap().experiment;
            let json = serde_json::to_string(&linked).unwrap();
            let read: Experiment = serde_json::from_str(&json).unwrap();
            assert_eq!(read, experiment);
            assert_eq!(Placed::new(&read.panes[0].stack[0]).unwrap().values, values, "{chip:?}");
        }
    }
}

#[test]
fn a_value_beyond_its_range_is_refused_by_name() {
    for mechanism in ALL {
        for param in mechanism.plug.spec {
            let beyond = match param.domain {
                Domain::Flag | Domain::Choice(_) => Plain::Number(7.0),
                Domain::Int { max, .. } => Plain::Number(f64::from(max) + 1.0),
                Domain::Real { min, .. } => Plain::Number(f64::from(min) - 0.5),
            };
            let refused = Placed::new(&Chip::new(mechanism.id).with(param.key, beyond)).map(|_| ()).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("{}: {} is ", mechanism.id, param.key)), "{refused}");
        }
    }
}

#[test]
fn facts_are_complete() {
    for entry in ALL.iter().map(|mechanism| mechanism.entry()) {
        let sentence = |text: &str| text.ends_with('.') && text.starts_with(char::is_uppercase);
        assert!(sentence(&entry.summary), "{}: {}", entry.id, entry.summary);
        assert!(
            entry.url.starts_with("https://") && !entry.place.is_empty() && !entry.authors.is_empty(),
            "{}",
            entry.id
        );
        assert!(entry.neutral.is_some(), "{} has no neutral setting", entry.id);
        for control in &entry.params {
            assert!(sentence(&control.help), "{}.{}: {}", entry.id, control.key, control.help);
        }
    }
    let ids: Vec<_> = ALL.iter().map(|mechanism| mechanism.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "ALL is alphabetical and names each once: {ids:?}");
}

attnscope::params! {
    /// Controls of the broken mechanisms below.
    pub struct BrokenParams {
        /// How broken; 0 is not.
        breakage: f32 = 1.0, real(0.0, 1.0, 0.1);
    }
}

/// Gives keys later than the query their share.
struct SeesTheFuture;
impl Normalizer for SeesTheFuture {
    type Params = BrokenParams;
    fn weigh(p: &BrokenParams, _at: &Grid, rows: Rows) -> Weighted {
        let keep = rows.keep.float();
        let keep = keep.clone() + (keep.ones_like() - keep) * p.breakage;
        let sum = keep.clone().sum_dim(3);
        Weighted { pattern: keep / sum, slot: None }
    }
}

/// Divides by a sum that is too large and forgets empty rows.
struct LosesWeight;
impl Normalizer for LosesWeight {
    type Params = BrokenParams;
    fn weigh(p: &BrokenParams, _at: &Grid, rows: Rows) -> Weighted {
        let e = (rows.scores.clone() - rows.scores.max_dim(3)).exp();
        Weighted { pattern: e.clone() / (e.sum_dim(3) + p.breakage * 1e-3), slot: None }
    }
}

/// Overflows for large scores.
struct Overflows;
impl Normalizer for Overflows {
    type Params = BrokenParams;
    fn weigh(_p: &BrokenParams, _at: &Grid, rows: Rows) -> Weighted {
        let e = rows.scores.exp() * rows.keep.float();
        Weighted { pattern: e.clone() / e.sum_dim(3).clamp_min(f32::MIN_POSITIVE), slot: None }
    }
}

/// Lets scores of later keys speak for earlier ones.
struct Leaks;
impl ScoreMod for Leaks {
    type Params = BrokenParams;
    fn score(p: &BrokenParams, _at: &Grid, scores: Tensor<4>) -> Tensor<4> {
        let row = scores.clone().mean_dim(3);
        scores * (row * p.breakage + 1.0)
    }
}

/// Keeps every second key only.
struct Forgets;
impl MaskMod for Forgets {
    type Params = BrokenParams;
    fn keep(_p: &BrokenParams, at: &Grid) -> Tensor<4, Bool> {
        at.distance().remainder_scalar(2.0).lower_elem(0.5)
    }
}

/// Chooses among as many keys as there are, so that more tokens change earlier rows.
struct CountsKeys;
impl Selector for CountsKeys {
    type Params = BrokenParams;
    fn select(p: &BrokenParams, at: &Grid, _rows: &Rows, _memory: &mut Memory) -> Selected {
        let first = at.key().lower_elem(at.keys as f32 * (1.0 - 0.5 * p.breakage));
        Selected { keep: first, bias: None }
    }
}

/// Averages the values of its own pass and forgets those of earlier decode steps.
struct Forgetful;
impl Mixer for Forgetful {
    type Params = BrokenParams;
    fn mix(p: &BrokenParams, at: &Grid, given: Vectors, _memory: &mut Memory) -> Mixed {
        let seen = at.key().greater_equal_elem(at.first_query as f32 * p.breakage).expand(given.scores().dims());
        let seen = at.causal().expand(seen.dims()).bool_and(seen).float();
        let pattern = seen.clone() / seen.sum_dim(3);
        Mixed { z: pattern.clone().matmul(given.values()), pattern: Box::new(move || pattern) }
    }
}

const REDUCES: Law = Law::ReducesTo { other: "softmax", at: &[("breakage", Value::Real(1.0))] };

/// A broken mechanism that claims these laws.
fn claim(plug: Plug, laws: &'static [Law]) -> &'static Mechanism {
    let softmax = attnscope::mechanism::by_id("softmax").unwrap();
    let Mechanism { name, summary, parity, .. } = *softmax;
    let paper = attnscope::mechanism::Paper { ..softmax.paper };
    Box::leak(Box::new(Mechanism { id: "broken", name, summary, paper, laws, parity, wgsl: None, plug, exhibits: &[] }))
}

/// Whether the law (or, at `None`, finiteness) is reported as broken.
fn is_caught(plug: Plug, law: Option<Law>) -> bool {
    let laws: &'static [Law] = Box::leak(law.into_iter().collect());
    let reports = laws::check(claim(plug, laws)).unwrap();
    !reports[laws.len()].holds
}

#[test]
fn a_broken_mechanism_breaks_its_law() {
    assert!(is_caught(Plug::normalizer::<SeesTheFuture>(), Some(Law::Causal)));
    assert!(is_caught(Plug::normalizer::<LosesWeight>(), Some(Law::RowsSumToOne(&[]))));
    assert!(is_caught(Plug::normalizer::<Overflows>(), None));
    assert!(is_caught(Plug::normalizer::<LosesWeight>(), None), "a row that keeps nothing must be zero");
    assert!(is_caught(Plug::score_mod::<Leaks>(), Some(Law::Causal)));
    assert!(is_caught(Plug::score_mod::<Leaks>(), Some(Law::ShiftInvariant(&[]))));
    assert!(is_caught(Plug::mask_mod::<Forgets>(), Some(REDUCES)));
    assert!(is_caught(Plug::selector::<CountsKeys>(), Some(Law::Prefix(&[]))));
    assert!(is_caught(Plug::mixer::<Forgetful>(), Some(Law::Prefix(&[]))));
}

#[test]
fn a_law_that_holds_is_not_reported_as_broken() {
    // The future-seeing rows ignore their scores, so shifting those changes nothing.
    assert!(!is_caught(Plug::normalizer::<SeesTheFuture>(), Some(Law::ShiftInvariant(&[]))));
    const WHOLE: At = &[("breakage", Value::Real(0.0))];
    assert!(!is_caught(Plug::normalizer::<LosesWeight>(), Some(Law::RowsSumToOne(WHOLE))));
    assert!(!is_caught(Plug::selector::<CountsKeys>(), Some(Law::Prefix(WHOLE))));
    assert!(!is_caught(Plug::mixer::<Forgetful>(), Some(Law::Prefix(WHOLE))));
}

#[test]
fn what_cannot_stand_together_is_refused_by_name() {
    let refused = |ids: &[&str]| {
        let chips: Vec<_> = ids.iter().copied().map(Chip::new).collect();
        Stack::new("b", &chips).map(|_| ()).unwrap_err().to_string()
    };
    for other in ["softmax", "alibi", "streaming_window", "hyper_attention", "scatterbrain"] {
        let words = refused(&["lightning_attention", other]);
        assert!(words.contains("lightning_attention") && words.contains(other), "{words}");
        assert_eq!(words.contains("nothing to act on"), other != "scatterbrain", "{words}");
    }
    assert!(Stack::new("b", &["alibi", "streaming_window", "hyper_attention", "softmax"].map(Chip::new)).is_ok());
}

#[test]
fn a_law_that_names_no_parameter_is_refused() {
    let law: &'static [Law] = &[Law::RowsSumToOne(&[("brokenness", Value::Real(0.0))])];
    let refused = laws::check(claim(Plug::normalizer::<LosesWeight>(), law)).unwrap_err();
    assert_eq!(refused.code(), "unknown");
    assert!(refused.to_string().contains("broken.brokenness"), "{refused}");
}
