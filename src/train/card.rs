//! The model card: what a shipped model was made of and what it is worth.

use super::circuits::score::Scores;
use super::corpus::Share;
use super::curriculum::Curriculum;
use super::held_out::Cost;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// `card.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Id of the model.
    pub model: String,
    /// One sentence.
    pub summary: String,
    /// What it must not be taken for.
    pub limits: String,
    /// Whether training was finished, or this is a look at a run that goes on.
    pub finished: bool,
    /// Number of weights.
    pub parameters: usize,
    /// Files it was trained on.
    pub data: Vec<Data>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
    /// How it was trained.
    pub training: Training,
    /// What held-out documents of the same files cost.
    pub held_out: Vec<Cost>,
    /// How well held-out items of each task are answered, where tasks were learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Scores>,
    /// Continuations, as they came.
    pub samples: Vec<Sample>,
}

/// One file of the corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Its name.
    pub file: String,
    /// How often an epoch repeats it.
    pub repeats: usize,
    /// What it is.
    pub content: String,
    /// Its licence.
    pub licence: String,
}

/// How a model was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Tokens whose loss was learned from.
    pub tokens: usize,
    /// Tokens in one epoch of the mix.
    pub epoch_tokens: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Tokens in one step.
    pub batch_tokens: usize,
    /// What moved the weights, and how fast.
    pub optimizer: String,
    /// Seed of weights and order.
    pub seed: u64,
    /// Seconds it took.
    pub seconds: u64,
    /// Where it was computed.
    pub device: String,
    /// Commit of the program.
    pub commit: String,
    /// The command that does it again.
    pub command: String,
    /// What else is to be said of this run, such as where it was interrupted.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What stood before.
    pub prompt: String,
    /// How tokens were drawn.
    pub sampling: String,
    /// What the model wrote.
    pub text: String,
}

/// The words of a card that depend on what was learned.
pub struct Words {
    /// What the model does, after its sizes.
    pub does: &'static str,
    /// What it must not be taken for.
    pub limits: &'static str,
    /// What its samples continue.
    pub prompts: &'static [&'static str],
}

/// What the card says of a curriculum.
pub fn words(curriculum: Curriculum) -> Words {
    match curriculum {
        Curriculum::Stories => Words {
            does: "tells children's stories in English; made to be looked into, not to be relied on.",
            limits: "It knows nothing but the style of its stories, soon loses the thread, and repeats the attitudes of old \
                     books.",
            prompts: &["Once upon a time there was a", "One day, a little girl named", "The old king said to his son,"],
        },
        Curriculum::Circuits => Words {
            does: "was taught nine tasks whose right answers are known exactly, and some stories; made to try instruments \
                   on, since what its heads must do is known.",
            limits: "It answers only in the forms it was taught, as well as the list of tasks says, and tells stories badly. \
                     Its facts are made up. The tokenizer gives every word of the tasks one token.",
            prompts: &[
                "When Mary and John went to the park, John gave the ball to",
                " Lily: cup; Tom: hat; Ben: key; Tom:",
                "The list: ball, cup, hat. Done: hat, ball. Left:",
                "Please say the first of whale and cup. Reply:",
                "Once upon a time there was a",
            ],
        },
        Curriculum::Backcopy => Words {
            does: "continues letters by a fixed random table and, behind A, B and C, repeats the letter before; made to see \
                   where attention goes that is not needed.",
            limits: "It knows nothing but its 32 letters.",
            prompts: &["DEA", "KfB"],
        },
        Curriculum::Recall => Words {
            does: "gives the value that a key had in a pair far before; made to see what mechanisms reach.",
            limits: "It knows nothing but its keys and values, and was asked at the end of rows of 64 tokens alone.",
            prompts: &["AbCa..Fd................A"],
        },
        Curriculum::Bytes => Words {
            does: "writes story-like letters byte by byte; made to compare mechanisms at a small price.",
            limits: "It has seen 64 bytes at a time and spells badly.",
            prompts: &["Once upon a time there was a"],
        },
    }
}

/// What is known of a file of the corpus.
struct Known {
    file: &'static str,
    content: &'static str,
    licence: &'static str,
    /// Why the default mix leaves it out, or empty.
    left_out: &'static str,
}

const OLD: &str = "public domain in the USA: first published before 1931";
const HARD: &str = "its vocabulary is too hard for a model of this size";

const KNOWN: &[Known] = &[
    Known {
        file: "tinystories-sample",
        content: "synthetic stories in a small child's vocabulary (a small part of TinyStories, Ronen Eldan and Yuanzhi Li, \
                  arXiv 2305.07759; quotes and dashes normalised)",
        licence: "CDLA-Sharing-1.0, https://cdla.dev/sharing-1-0/, which puts no terms on trained models",
        left_out: "",
    },
    Known {
        file: "picture-books",
        content: "present-day picture-book texts from Africa and India (African Storybook, Pratham Books StoryWeaver; text \
                  only, pages joined, punctuation normalised)",
        licence: "CC BY 3.0 and CC BY 4.0, one text public domain; credits.tsv names authors, adapters and translators",
        left_out: "",
    },
    Known {
        file: "bedtime-animals",
        content: "talking-animal and toy stories, 1900s to 1920s",
        licence: OLD,
        left_out: "two of its authors are still protected where copyright lasts for life plus 70 years",
    },
    Known { file: "family-stories", content: "children at home, on holiday, at school", licence: OLD, left_out: "" },
    Known { file: "fables-and-rhymes", content: "Aesop and nursery rhymes", licence: OLD, left_out: "" },
    Known { file: "fairy-tales", content: "folk and fairy tales", licence: OLD, left_out: "" },
    Known { file: "novels-for-children", content: "chapter books", licence: OLD, left_out: HARD },
    Known { file: "novels-older-readers", content: "novels with longer sentences", licence: OLD, left_out: HARD },
];

/// What the card says of the files of a mix.
///
/// # Errors
/// [`Error::Unknown`] for a file whose licence is not known here: nothing is shipped without one.
pub fn data(mix: &[Share]) -> Result<Vec<Data>> {
    let one = |share: &Share| {
        let known = KNOWN.iter().find(|known| known.file == share.file).ok_or_else(|| Error::Unknown {
            what: "corpus file",
            name: share.file.clone(),
            remedy: "add its content and licence to the card before training on it".into(),
        })?;
        let (content, licence) = (known.content.into(), known.licence.into());
        Ok(Data { file: share.file.clone(), repeats: share.repeats, content, licence })
    };
    mix.iter().map(one).collect()
}

/// Files of the corpus that the mix leaves out, and why.
pub fn left_out(mix: &[Share]) -> Vec<String> {
    let out = KNOWN.iter().filter(|known| mix.iter().all(|share| share.file != known.file));
    let words = |known: &Known| format!("{}: {}", known.file, known.left_out);
    out.map(words).map(|words| words.trim_end_matches(": ").into()).collect()
}
