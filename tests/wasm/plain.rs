//! What needs no model: the link, the messages, the catalogue.

use attnscope::api::{Command, LawReport, Reply};
use attnscope::catalogue;
use attnscope::experiment::{Chip, Experiment, Head, Metric, Pane, Quantity, Tab, link};
use attnscope::lens::roles::RoleReport;
use attnscope::outcome::{EngineFacts, ModelFacts, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen_test::wasm_bindgen_test;

fn unusual() -> Experiment {
    let mut experiment = Experiment {
        prompt: "a & b = #c % d + e\n\t\"<b>\" שלום 🦀".into(),
        bos: false,
        panes: vec![
            Pane {
                stack: vec![Chip::new("alibi").with("slope_range", 0.1), Chip::new("softmax").with("off_by_one", true)],
            },
            Pane::default(),
            Pane { stack: vec![Chip::new("attention_sink_operators").with("operator", "elu_normalised")] },
        ],
        seed: u64::MAX,
        ..Experiment::default()
    };
    experiment.view.pin = Head { layer: 5, head: 1 };
    experiment.view.query = Some(0);
    experiment.view.quantity = Quantity::ValueWeighted;
    experiment.view.tab = Tab::Roles;
    experiment.view.metric = Metric::Previous;
    experiment.view.epsilon = 0.35;
    experiment
}

#[wasm_bindgen_test]
fn the_link_restores_everything() {
    for experiment in [Experiment::default(), unusual()] {
        let hash = link::write(&experiment);
        let opened = link::read(&format!("#{hash}")).unwrap();
        assert_eq!(opened.experiment, experiment, "{hash}");
        assert!(opened.notices.is_empty(), "{:?}", opened.notices);
    }
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    let json = serde_json::to_string(message).unwrap();
    assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *message, "{json}");
}

#[wasm_bindgen_test]
fn messages_survive_their_json() {
    for command in [
        Command::Open { model: "stories-3m".into(), base: "http://127.0.0.1:8080/".into(), engine: "auto".into() },
        Command::Run { experiment: unusual() },
        Command::Head { pane: 1, head: Head { layer: 0, head: 5 } },
        Command::Roles { experiment: unusual(), pane: 2 },
        Command::Laws { mechanism: "alibi".into() },
    ] {
        survives(&command);
    }
    for reply in [
        Reply::Ready,
        Reply::Opened { engine: EngineFacts::default(), model: ModelFacts::default() },
        Reply::Ran { outcome: Outcome::default(), arrays: vec![(1, "pattern".into(), vec![6, 6, 9, 9])] },
        Reply::Head { tokens: 9 },
        Reply::Roles { report: RoleReport::default() },
        Reply::Laws {
            laws: vec![LawReport { law: "No weight on later keys".into(), holds: true, deviation: 0.0, allowed: 0.0 }],
        },
        Reply::Progress { bytes: 5, total: None },
        Reply::failed(&attnscope::Error::Superseded),
    ] {
        survives(&reply);
    }
    assert!(serde_json::from_str::<Command>(r#"{"command":"dance"}"#).is_err());
}

#[wasm_bindgen_test]
fn the_shipped_catalogue_is_the_registry() {
    let shipped = catalogue::shipped().unwrap();
    let registry: Vec<_> = attnscope::mechanism::ALL.iter().map(|mechanism| mechanism.entry()).collect();
    assert_eq!(shipped, registry);
}
