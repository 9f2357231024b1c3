//! Messages between a figure in a frame (`embed.html`) and the page that holds it.
//!
//! A message is `{ source, version, id, type, payload }`. The figure speaks first: [`FromFigure::Ready`]. The holder may
//! then set things ([`ToFigure::State`]) and ask things ([`ToFigure::Command`]); whatever carries an id other than 0 is
//! answered with that id, by [`FromFigure::Result`] or [`FromFigure::Error`]. Both sides check the other's origin: the
//! holder names its own in the frame's address (`?host=…`), and a figure without one neither listens nor speaks.
//!
//! `www/protocol/` holds the same types as a JSON schema and as TypeScript, generated from here.

use crate::experiment::link::{self, Opened};
use crate::experiment::{Experiment, words};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What every message names as its source, so that other programs' messages can be told apart.
pub const SOURCE: &str = "attnscope";

/// The version spoken here.
pub const VERSION: u32 = 1;

/// Longest message that is read, in bytes of JSON; an experiment of a prompt with a million bytes fits.
pub const LONGEST_MESSAGE: usize = 8 << 20;

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Message<T> {
    /// Always `attnscope`.
    pub source: String,
    /// Version of the protocol.
    pub version: u32,
    /// Ties an answer to its question; 0 wants none.
    #[serde(default)]
    pub id: u32,
    /// What is said.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Message<T> {
    /// A message of this version.
    pub fn new(id: u32, body: T) -> Self {
        Self { source: SOURCE.into(), version: VERSION, id, body }
    }
}

/// What the holder says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
// One message at a time: its size does not matter, and a box would stand in the schema.
#[allow(clippy::large_enum_variant)]
pub enum ToFigure {
    /// Sets what is given and leaves the rest.
    State(Wish),
    /// Asks for something.
    Command(Ask),
}

/// What a figure should show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[cfg_attr(feature = "schema", ts(optional_fields))]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// A link's hash, with or without `#`.
    pub link: Option<String>,
    /// The same as data; it wins over the link.
    pub experiment: Option<Experiment>,
    /// Parts that are not shown.
    pub hide: Option<Vec<Panel>>,
    /// Light or dark.
    pub theme: Option<Theme>,
}

/// What a figure can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Ask {
    /// Compute with the engine behind the message port that comes with this message.
    Engine,
    /// The present state; answered with [`Answer::State`].
    State,
    /// Numbers of the newest run; answered with [`Answer::Numbers`].
    Numbers,
    /// The matrix of one column; answered with [`Answer::Matrix`].
    Matrix {
        /// Which column.
        column: Part,
    },
}

/// A column of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Pane A.
    A,
    /// The pane A is compared with.
    B,
    /// A − B.
    Difference,
}

/// What the figure says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum FromFigure {
    /// It listens.
    Ready {
        /// Version of the program.
        program: String,
    },
    /// It is this high now, in CSS pixels; the holder makes the frame so.
    Resize {
        /// Height of everything in it.
        height: u32,
    },
    /// Something changed.
    State(Box<State>),
    /// An answer.
    Result(Answer),
    /// Something was refused or failed.
    Error {
        /// A stable word: `version`, `message`, or a code of [`Error`].
        code: String,
        /// One sentence.
        message: String,
    },
}

/// Where a figure stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct State {
    /// How far the engine is.
    pub stage: Stage,
    /// Bytes of the model that have arrived, while it loads.
    pub bytes: Option<u32>,
    /// Bytes in all, when the server says.
    pub total: Option<u32>,
    /// Whether the numbers on screen are those of the experiment.
    pub fresh: bool,
    /// Everything on screen as a link's hash.
    pub link: String,
    /// Everything on screen.
    pub experiment: Experiment,
}

/// How far the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is being started.
    Starting,
    /// The model is on its way.
    Loading,
    /// It answers.
    Ready,
    /// It cannot be used.
    Failed,
}

/// Answers, by what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It is done; nothing more to say.
    Done,
    /// The present state.
    State {
        /// As in [`FromFigure::State`].
        state: Box<State>,
    },
    /// Numbers of the newest run.
    Numbers(Numbers),
    /// One matrix.
    Matrix(Matrix),
}

/// Numbers of the newest run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Numbers {
    /// What the model saw.
    pub tokens: Vec<String>,
    /// One per pane, A first.
    pub panes: Vec<PaneNumbers>,
}

/// Numbers of one pane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct PaneNumbers {
    /// Mean loss on the prompt, nats per token.
    pub loss: Option<f32>,
    /// KL(A ‖ this) of the next token, nats; none in A.
    pub kl_next: Option<f32>,
    /// Loss here minus loss in A, nats per token; none in A.
    pub delta_loss: Option<f32>,
    /// Likeliest next tokens.
    pub next: Vec<Next>,
}

/// A possible next token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Next {
    /// Its text.
    pub text: String,
    /// Its probability.
    pub probability: f32,
}

/// One matrix as it is on screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Matrix {
    /// `L1H5`.
    pub head: String,
    /// `pattern`, `scores` or `value_weighted`.
    pub quantity: String,
    /// Number of rows (queries) and of columns (keys).
    pub tokens: u32,
    /// Row by row; null where a pair is masked.
    pub values: Vec<Option<f32>>,
}

words! {
    /// A part of a figure that can be hidden.
    Panel {
        /// Prompt and tokens.
        Prompt = "prompt",
        /// The text field alone.
        Text = "text",
        /// The token chips alone.
        Tokens = "tokens",
        /// The controls of a continuation.
        Write = "write",
        /// Mechanisms, controls and next tokens of each pane.
        Panes = "panes",
        /// Which head, quantity and scale.
        Bar = "bar",
        /// Every matrix.
        Matrices = "matrices",
        /// The matrix of A.
        A = "a",
        /// The matrix of the pane A is compared with.
        B = "b",
        /// The matrix of the difference.
        Difference = "difference",
        /// The sentence about the pair that is read.
        Sentence = "sentence",
        /// Attention from and to the token that is read.
        Profiles = "profiles",
        /// The head wall.
        Wall = "wall",
        /// Sinks, head roles, paper.
        Tabs = "tabs",
    }
}
words! {
    /// Colours.
    Theme {
        /// As the system says.
        Auto = "auto",
        /// Always light.
        Light = "light",
        /// Always dark.
        Dark = "dark",
    }
}

/// Panels named in an attribute or address, and the words that name none.
pub fn panels(words: &str) -> (Vec<Panel>, Vec<String>) {
    let mut unknown = Vec::new();
    let mut known = Vec::new();
    for word in words.split([' ', ',', '+']).filter(|word| !word.is_empty()) {
        match word.parse() {
            Ok(panel) => known.push(panel),
            Err(_) => unknown.push(word.to_string()),
        }
    }
    (known, unknown)
}

/// Why a message is refused, and the id its sender gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// 0 where it cannot be told.
    pub id: u32,
    /// What is answered.
    pub answer: FromFigure,
}

/// Reads what the holder sent as JSON; `None` when it is not addressed to attnscope.
pub fn read(json: &str) -> std::result::Result<Option<Message<ToFigure>>, Refusal> {
    #[derive(Deserialize)]
    struct Head {
        source: String,
        #[serde(default)]
        version: serde_json::Value,
        #[serde(default)]
        id: serde_json::Value,
        #[serde(default, rename = "type")]
        kind: serde_json::Value,
        #[serde(default)]
        payload: serde_json::Value,
    }
    if let Err(error) = Error::within("message", "bytes", json.len(), LONGEST_MESSAGE) {
        return Err(Refusal { id: 0, answer: FromFigure::from(&error) });
    }
    let Ok(head) = serde_json::from_str::<Head>(json) else { return Ok(None) };
    if head.source != SOURCE {
        return Ok(None);
    }
    let id = head.id.as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let refuse = |code: &str, message: String| Refusal { id, answer: FromFigure::Error { code: code.into(), message } };
    if head.version != VERSION {
        let came = head.version;
        return Err(refuse("version", format!("version {came} of the protocol is not spoken here; speak {VERSION}")));
    }
    // By hand: what serde makes for a flattened enum is several times the size of the rest of this file.
    let body = match head.kind.as_str() {
        Some("state") => serde_json::from_value(head.payload).map(ToFigure::State),
        Some("command") => serde_json::from_value(head.payload).map(ToFigure::Command),
        _ => return Err(refuse("message", format!("the type {} is not known; say state or command", head.kind))),
    };
    let body = body.map_err(|problem| refuse("message", format!("not understood: {problem}")))?;
    Ok(Some(Message { source: head.source, version: VERSION, id, body }))
}

impl Wish {
    /// The experiment this asks for, and what of its link was not understood.
    ///
    /// # Errors
    /// [`Error::Parse`] when the link cannot be read, and those of [`Experiment::check`].
    pub fn opened(&self) -> Result<Option<Opened>> {
        match (&self.experiment, &self.link) {
            (Some(experiment), _) => {
                experiment.check()?;
                Ok(Some(Opened { experiment: experiment.clone(), notices: Vec::new() }))
            }
            (None, Some(link)) => link::read(link).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl From<&Error> for FromFigure {
    fn from(error: &Error) -> Self {
        FromFigure::Error { code: error.code().into(), message: error.to_string() }
    }
}
