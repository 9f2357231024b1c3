//! Messages of a page that holds a figure, and experiments as JSON.

use super::{Case, code};
use attnscope::Error;
use attnscope::api::protocol::{self, FromFigure, ToFigure};
use attnscope::experiment::Experiment;
use serde_json::{Value, json};

/// Reads a message as a figure does: its body and the experiment it wishes.
fn read(message: &str) -> Result<(), String> {
    let code_of = |answer: FromFigure| match answer {
        FromFigure::Error { code, .. } => code,
        other => format!("{other:?}"),
    };
    match protocol::read(message).map_err(|refusal| code_of(refusal.answer))? {
        Some(message) => match message.body {
            ToFigure::State(wish) => code(wish.opened()),
            ToFigure::Command(_) => Ok(()),
        },
        None => Err("ignored".into()),
    }
}

fn message(kind: &str, payload: Value) -> String {
    json!({ "source": "attnscope", "version": 1, "id": 7, "type": kind, "payload": payload }).to_string()
}

fn case(name: impl Into<String>, code: &'static str, text: String) -> Case {
    let bytes = text.len();
    Case { kind: "message", name: name.into(), code, bytes, read: Box::new(move || read(&text)) }
}

fn experiment(name: impl Into<String>, expected: &'static str, text: String) -> Case {
    let bytes = text.len();
    let read = move || {
        let experiment: Experiment =
            serde_json::from_str(&text).map_err(|problem| Error::parse("experiment", problem).code().to_string())?;
        code(experiment.check())
    };
    Case { kind: "experiment", name: name.into(), code: expected, bytes, read: Box::new(read) }
}

fn plain() -> Value {
    serde_json::to_value(Experiment::default()).unwrap()
}

pub fn good() -> Result<(), String> {
    read(&message("state", json!({ "experiment": plain() })))?;
    read(&message("command", json!({ "command": "numbers" })))?;
    code(Experiment::default().check())
}

pub fn cases() -> Vec<Case> {
    [messages(), experiments()].into_iter().flatten().collect()
}

fn messages() -> Vec<Case> {
    let state = |payload: Value| message("state", payload);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut list: Vec<Case> = ["1", "null", "[]", "{}", "\"attnscope\"", r#"{"source":"other","version":1}"#, "{", ""]
        .map(|text| case(format!("nothing of ours: {text}"), "ignored", text.into()))
        .into();
    list.push(case("nested arrays", "ignored", nested.clone()));
    let deep = format!(r#"{{"source":"attnscope","version":1,"type":"state","payload":{nested}}}"#);
    list.push(case("a nested payload", "ignored", deep));
    for version in [json!(0), json!(2), json!("1"), json!(1.5), json!(null), json!([1])] {
        let text = json!({ "source": "attnscope", "version": version, "type": "state", "payload": {} }).to_string();
        list.push(case(format!("version {version}"), "version", text));
    }
    for kind in ["", "explode", "ready", "STATE", "__proto__"] {
        list.push(case(format!("type {kind:?}"), "message", message(kind, json!({}))));
    }
    for payload in [
        json!(7),
        json!({ "colour": "red" }),
        json!({ "hide": "tabs" }),
        json!({ "hide": ["everything"] }),
        json!({ "theme": "plaid" }),
        json!({ "link": 7 }),
        json!({ "experiment": { "prompt": 7 } }),
        json!({ "experiment": { "strange": 1 } }),
        json!({ "experiment": { "seed": -1 } }),
        json!({ "experiment": { "draw": { "tokens": 1.5 } } }),
        json!({ "__proto__": {} }),
    ] {
        list.push(case(format!("state {payload}"), "message", state(payload)));
    }
    for payload in [json!({}), json!({ "command": "eval" }), json!({ "command": "matrix", "column": "z" })] {
        list.push(case(format!("command {payload}"), "message", message("command", payload)));
    }
    let text = state(json!({ "experiment": { "prompt": "x".repeat(9 << 20) } }));
    list.push(case("9 MB", "limit", text));
    let text = state(json!({ "experiment": { "prompt": "x".repeat(2 << 20) } }));
    list.push(case("a prompt of 2 MB", "limit", text));
    list.push(case("a link of 5 MB", "limit", state(json!({ "link": "x".repeat(5 << 20) }))));
    list.push(case("a link that is damaged", "parse", state(json!({ "link": "v=2&z=x" }))));
    list.push(case("no panes", "param", state(json!({ "experiment": { "panes": [] } }))));
    list
}

fn experiments() -> Vec<Case> {
    let with = |path: &str, value: Value| {
        let mut changed = plain();
        *changed.pointer_mut(path).unwrap() = value;
        changed.to_string()
    };
    let pane = |chip: Value| json!([{ "stack": [chip] }]);
    let many: serde_json::Map<_, _> = (0..500).map(|index| (format!("k{index}"), json!(1))).collect();
    let mut list = vec![
        experiment("version 2", "parse", with("/version", json!(2))),
        experiment("no panes", "param", with("/panes", json!([]))),
        experiment("five panes", "param", with("/panes", json!(vec![json!({ "stack": [] }); 5]))),
        experiment("100,000 panes", "param", with("/panes", json!(vec![json!({}); 100_000]))),
        experiment("a prompt of 2 MB", "limit", with("/prompt", json!("x".repeat(2 << 20)))),
        experiment("a model of 10,000 bytes", "limit", with("/model", json!("x".repeat(10_000)))),
        experiment(
            "1,000 mechanisms",
            "limit",
            with("/panes", json!([{ "stack": vec![json!({ "id": "alibi" }); 1000] }])),
        ),
        experiment("500 values", "limit", with("/panes", pane(json!({ "id": "alibi", "values": many })))),
        experiment("a long id", "limit", with("/panes", pane(json!({ "id": "x".repeat(1000) })))),
        experiment("a temperature beyond f32", "param", with("/draw/temperature", json!(1e39))),
        experiment("a threshold beyond f32", "param", with("/view/epsilon", json!(-1e39))),
        experiment("a position beyond all", "param", with("/view/position", json!(u64::MAX))),
        experiment("nested values", "parse", format!("{{\"panes\":{}", "[{\"stack\":".repeat(100_000))),
        experiment("nothing", "parse", String::new()),
        experiment("a word", "parse", "\"experiment\"".into()),
    ];
    for (path, value) in [
        ("/seed", json!(-1)),
        ("/seed", json!(1.5)),
        ("/bos", json!("yes")),
        ("/prompt", json!(["a"])),
        ("/panes", json!({ "a": [] })),
        ("/panes", pane(json!({ "values": {} }))),
        ("/panes", pane(json!({ "id": "alibi", "values": { "x": [1] } }))),
        ("/panes", pane(json!({ "id": "alibi", "colour": 1 }))),
        ("/view/tab", json!("none")),
        ("/view/pin", json!("L0H0")),
        ("/view/wall", json!(-1)),
        ("/draw/tokens", json!(-1)),
    ] {
        list.push(experiment(format!("{path} {value}"), "parse", with(path, value)));
    }
    list
}
