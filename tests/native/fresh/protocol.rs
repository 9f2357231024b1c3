//! The protocol of figures: its generated schema and types are up to date, and what does not fit it is refused.

use super::keep_fresh;
use attnscope::api::protocol::{self, Ask, FromFigure, Message, Panel, Part, ToFigure, VERSION, Wish};
use attnscope::experiment::Experiment;
use std::collections::{BTreeMap, BTreeSet};
use ts_rs::{Config, TS, TypeVisitor};

#[test]
fn the_schema_of_the_protocol_is_that_of_its_types() {
    let to = schemars::schema_for!(Message<ToFigure>);
    let from = schemars::schema_for!(Message<FromFigure>);
    let both = serde_json::json!({ "to_figure": to, "from_figure": from });
    keep_fresh("www/protocol/protocol.schema.json", &(serde_json::to_string_pretty(&both).unwrap() + "\n"));
}

/// Declarations of a type and of everything in it, by name.
#[derive(Default)]
struct Declared {
    seen: BTreeSet<std::any::TypeId>,
    types: BTreeMap<String, String>,
}

impl TypeVisitor for Declared {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Only types of our own are declared in a file of their own.
        if T::output_path().is_some() && self.seen.insert(std::any::TypeId::of::<T>()) {
            let config = Config::default();
            let docs = T::docs().unwrap_or_default();
            self.types.insert(T::ident(&config), format!("{docs}export {}\n", T::decl(&config)));
            T::visit_dependencies(self);
            T::visit_generics(self);
        }
    }
}

#[test]
fn the_declarations_of_the_protocol_are_those_of_its_types() {
    let mut declared = Declared::default();
    declared.visit::<Message<ToFigure>>();
    declared.visit::<Message<FromFigure>>();
    let head = "// The messages between a figure and the page that holds it. Generated from src/api/protocol.rs.\n\n";
    let types: Vec<_> = declared.types.into_values().collect();
    let fresh = format!("{head}{}", types.join("\n"));
    for name in ["ToFigure", "FromFigure", "Experiment", "Panel", "Plain"] {
        assert!(fresh.contains(&format!("export type {name} ")), "{name} is not declared");
    }
    keep_fresh("www/protocol/protocol.d.ts", &fresh);
}

fn refused(json: &str) -> (u32, String) {
    let refusal = protocol::read(json).unwrap_err();
    let FromFigure::Error { code, message } = refusal.answer else { panic!("{json}: a refusal that is no error") };
    assert!(!message.is_empty());
    (refusal.id, code)
}

#[test]
fn messages_of_others_are_left_alone_and_broken_ones_are_refused_by_their_number() {
    for others in ["1", "null", "\"attnscope\"", "{}", r#"{"source":"webpack","version":1}"#, "not json", "[1]"] {
        assert_eq!(protocol::read(others), Ok(None), "{others}");
    }
    let version =
        |version: &str| format!(r#"{{"source":"attnscope","version":{version},"id":7,"type":"state","payload":{{}}}}"#);
    assert!(protocol::read(&version("1")).unwrap().is_some());
    for wrong in ["0", "2", "\"1\"", "1.5", "null", "-1"] {
        assert_eq!(refused(&version(wrong)), (7, "version".into()), "{wrong}");
    }
    let body = |body: &str| format!(r#"{{"source":"attnscope","version":1,"id":7,{body}}}"#);
    for wrong in [
        r#""type":"explode""#,
        r#""type":"state","payload":{"colour":"red"}"#,
        r#""type":"state","payload":{"hide":["everything"]}"#,
        r#""type":"state","payload":{"theme":"plaid"}"#,
        r#""type":"state","payload":{"experiment":{"prompt":7}}"#,
        r#""type":"command","payload":{"command":"matrix"}"#,
        r#""type":"command","payload":{"command":"matrix","column":"z"}"#,
        r#""type":"ready","payload":{"program":"0"}"#,
    ] {
        assert_eq!(refused(&body(wrong)), (7, "message".into()), "{wrong}");
    }
    assert_eq!(refused(r#"{"source":"attnscope","id":-3,"type":"state","payload":{}}"#), (0, "version".into()));
}

#[test]
fn messages_survive_json() {
    let wish = Wish {
        link: Some("v=1&p=a%26b".into()),
        experiment: Some(Experiment::default()),
        hide: Some(Panel::ALL.to_vec()),
        theme: None,
    };
    for body in [
        ToFigure::State(wish),
        ToFigure::State(Wish::default()),
        ToFigure::Command(Ask::Engine),
        ToFigure::Command(Ask::Matrix { column: Part::Difference }),
    ] {
        let message = Message::new(3, body);
        assert_eq!(message.version, VERSION);
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(protocol::read(&json).unwrap(), Some(message), "{json}");
    }
}

#[test]
fn words_that_name_no_part_are_reported() {
    let (known, unknown) = protocol::panels("tabs profiles,wall  everything");
    assert_eq!(known, [Panel::Tabs, Panel::Profiles, Panel::Wall]);
    assert_eq!(unknown, ["everything"]);
}

#[test]
fn every_part_has_a_rule_that_hides_it_and_is_named_where_the_element_is_described() {
    let read =
        |path: &str| std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (style, element) = (read("www/style/embed.css"), read("www/attn-scope.js"));
    let described = element.lines().find(|line| line.contains("  hide  ")).expect("the element describes hide");
    for panel in Panel::ALL {
        assert!(style.contains(&format!("[data-hide~=\"{}\"]", panel.word())), "{} cannot be hidden", panel.word());
        assert!(described.split_whitespace().any(|word| word == panel.word()), "{} is not described", panel.word());
    }
    assert!(element.len() < 10_000, "attn-scope.js has {} bytes", element.len());
}
