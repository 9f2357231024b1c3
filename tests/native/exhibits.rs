//! Drawings of mechanisms: all of them answer as the page and the command line ask, and what they show is counted again
//! here by other means.

mod layers;
mod masks;
mod selectors;

use crate::tiny;
use attnscope::api::Reply;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::{Chip, Experiment, Head, Pane, View};
use attnscope::lens::exhibit::{Exhibit, Exhibits};
use attnscope::lens::finding::{Found, Sheet};
use attnscope::mechanism::ALL;
use attnscope::model::load;
use pollster::block_on;
use std::collections::BTreeSet;

/// Long enough for windows and blocks of the defaults to end within it.
const PROMPT: &str = "Ann found a red ball and Ben found a red bell in the big red barn and then Ann and Ben ran home";
const HEAD: Head = Head { layer: 1, head: 2 };

pub fn engine() -> Engine {
    block_on(Engine::new(load("tiny", &tiny::model().2).unwrap(), Choice::Cpu)).unwrap()
}

/// Plain attention in A, this mechanism in B.
pub fn experiment(chip: Chip) -> Experiment {
    let view = View { pin: HEAD, paper: chip.id.clone(), ..View::default() };
    let panes = vec![Pane::default(), Pane { stack: vec![chip] }];
    Experiment { view, model: "tiny".into(), prompt: PROMPT.into(), panes, ..Experiment::default() }
}

pub fn ask(engine: &mut Engine, experiment: &Experiment, analysis: &str) -> Exhibits {
    let finding = block_on(engine.analyse(experiment, 1, analysis, async |_, _| false)).unwrap();
    // As the worker sends it.
    let json = serde_json::to_string(&Reply::Analysed { finding: Box::new(finding) }).unwrap();
    match serde_json::from_str(&json).unwrap() {
        Reply::Analysed { finding } => match finding.found {
            Found::Exhibits(found) => found,
            other => panic!("{other:?} are no drawings"),
        },
        other => panic!("{other:?} is no finding"),
    }
}

/// One drawing of a mechanism at these values.
pub fn drawing(chip: Chip, id: &str) -> Exhibit {
    let id = format!("{}.{id}", chip.id);
    let experiment = experiment(chip);
    let found = ask(&mut engine(), &experiment, "exhibits");
    found.exhibits.into_iter().find(|exhibit| exhibit.id == id).unwrap_or_else(|| panic!("no {id}"))
}

pub fn sheet<'a>(exhibit: &'a Exhibit, id: &str) -> &'a Sheet {
    let all = &exhibit.grid.sheets;
    all.iter().find(|sheet| sheet.id == id).unwrap_or_else(|| panic!("{} has no sheet {id}", exhibit.id))
}

pub fn fact(exhibit: &Exhibit, id: &str) -> f32 {
    let all = &exhibit.grid.facts;
    all.iter().find(|fact| fact.id == id).unwrap_or_else(|| panic!("{} has no fact {id}", exhibit.id)).value
}

fn is_sound(exhibit: &Exhibit) {
    let id = &exhibit.id;
    if !exhibit.missing.is_empty() {
        return assert!(exhibit.missing.ends_with('.'), "{id}: {}", exhibit.missing);
    }
    let grid = &exhibit.grid;
    let cells = grid.down.labels.len() * grid.across.labels.len();
    assert!(cells > 0 && !grid.sheets.is_empty(), "{id}");
    assert!(!grid.down.name.is_empty() && !grid.across.name.is_empty(), "{id}");
    for sheet in &grid.sheets {
        assert_eq!(sheet.values.len(), cells, "{id}: {}", sheet.id);
        assert!(!sheet.name.is_empty() && sheet.values.iter().any(|value| value.is_finite()), "{id}: {}", sheet.id);
        let outlined = exhibit.outlined.as_ref() == Some(&sheet.id);
        if outlined {
            assert!(sheet.values.iter().all(|value| *value == 0.0 || *value == 1.0), "{id}: {}", sheet.id);
        } else if !exhibit.classes.is_empty() {
            let is_class =
                |value: &f32| value.is_nan() || (value.fract() == 0.0 && (*value as usize) < exhibit.classes.len());
            assert!(sheet.values.iter().all(is_class), "{id}: {}", sheet.id);
        }
    }
    let ids: BTreeSet<_> = grid.sheets.iter().map(|sheet| &sheet.id).collect();
    assert_eq!(ids.len(), grid.sheets.len(), "{id}: sheets of one id");
    assert!(exhibit.outlined.as_ref().is_none_or(|outlined| ids.contains(outlined) && ids.len() > 1), "{id}");
    assert!(grid.facts.iter().all(|fact| fact.value.is_finite()), "{id}: {:?}", grid.facts);
}

#[test]
fn every_drawing_is_made_and_survives_its_json() {
    let mut engine = engine();
    for mechanism in ALL.iter().filter(|mechanism| !mechanism.exhibits.is_empty()) {
        let experiment = experiment(Chip::new(mechanism.id));
        let made: Vec<_> = ["exhibits", "exhibits_slow"].map(|id| ask(&mut engine, &experiment, id)).into();
        for (slow, found) in made.iter().enumerate() {
            let offers: Vec<_> = mechanism.exhibits.iter().filter(|offer| offer.is_slow() == (slow == 1)).collect();
            let ids: Vec<_> = offers.iter().map(|offer| format!("{}.{}", mechanism.id, offer.id)).collect();
            assert_eq!(found.exhibits.iter().map(|exhibit| exhibit.id.clone()).collect::<Vec<_>>(), ids);
            assert_eq!(found.head, HEAD.to_string());
            found.exhibits.iter().for_each(is_sound);
            for exhibit in &found.exhibits {
                assert!(exhibit.caption.ends_with('.') && !exhibit.name.is_empty(), "{}", exhibit.id);
            }
        }
        assert!(made.iter().any(|found| found.exhibits.iter().any(|e| e.missing.is_empty())), "{}", mechanism.id);
    }
}

/// A mechanism that is not in the pane draws nothing, and without a choice all of the pane draw.
#[test]
fn who_draws_is_who_is_chosen() {
    let mut engine = engine();
    let mut experiment = experiment(Chip::new("duo_attention"));
    let all = ask(&mut engine, &experiment, "exhibits");
    experiment.view.paper = String::new();
    assert_eq!(ask(&mut engine, &experiment, "exhibits"), all);
    experiment.view.paper = "softmax".into();
    assert!(ask(&mut engine, &experiment, "exhibits").exhibits.is_empty());
}
