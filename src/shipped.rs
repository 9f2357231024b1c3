//! The models that come with the page: what they are, how large, and what memory they ask for, known before one is fetched.

use crate::outcome::ModelFacts;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shipped {
    /// Sizes; the id names its folder.
    pub facts: ModelFacts,
    /// What it is good for, one sentence.
    pub summary: String,
}

/// All of them.
///
/// # Errors
/// [`Error::Parse`] when the generated list is not valid, which the `fresh` test excludes.
pub fn all() -> Result<Vec<Shipped>> {
    serde_json::from_str(include_str!("../www/models.json")).map_err(|error| Error::parse("www/models.json", error))
}

/// A model that does not come with the page, worth naming.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// What people call it.
    pub name: String,
    /// Where it is, as [`Name::source`] has it.
    pub source: String,
    /// Where its tokenizer is, when not beside it.
    #[serde(default)]
    pub tokenizer: Option<String>,
    /// The `model_type` of its configuration, or `llama2.c`.
    pub family: String,
    /// About how many bytes have to come, in millions.
    pub megabytes: f32,
    /// As its authors state it.
    pub licence: String,
    /// Whether its numbers were checked here against numbers nobody here computed, and the test that does so.
    #[serde(default)]
    pub tried_by: Option<String>,
    /// Why it cannot run here; none where it should.
    #[serde(default)]
    pub refused: Option<String>,
    /// A file and its SHA-256, where one is on record.
    #[serde(default)]
    pub sha256: Option<(String, String)>,
}

/// Models elsewhere. A test holds the list against what the loader takes; a list that cannot be read shows as none.
pub fn elsewhere() -> Vec<Elsewhere> {
    serde_json::from_str(include_str!("../www/elsewhere.json")).unwrap_or_default()
}

/// The parts of a model's id.
///
/// A shipped model's is a plain word. A visitor's is its source and the first digits of the SHA-256 of its files:
/// `hf:openai-community/gpt2~0123456789abcdef`, `url:https://…~…`, `local:my-model~…`. Either may end in `@int8`: the same
/// files, and another model, its matrices rounded to bytes when it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Without the hash.
    pub source: String,
    /// The first digits of the hash, where there is one.
    pub hash: Option<String>,
    /// Whether its matrices are rounded to bytes.
    pub int8: bool,
}

const INT8: &str = "@int8";

impl Name {
    /// Takes an id apart.
    ///
    /// ```
    /// # use attnscope::shipped::Name;
    /// let name = Name::of("hf:karpathy/tinyllamas~0123456789abcdef");
    /// assert_eq!((name.short().as_str(), name.hash.as_deref()), ("tinyllamas", Some("0123456789abcdef")));
    /// assert!(!name.is_shipped() && Name::of("stories-3m").is_shipped());
    /// let rounded = Name::of("stories-3m@int8");
    /// assert_eq!((rounded.files().as_str(), rounded.int8), ("stories-3m", true));
    /// assert_eq!(Name { int8: false, ..rounded }.id(), "stories-3m");
    /// ```
    pub fn of(id: &str) -> Self {
        let (id, int8) = id.strip_suffix(INT8).map_or((id, false), |files| (files, true));
        match id.rsplit_once('~') {
            Some((source, hash)) if id.contains(':') && hash.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                Self { source: source.into(), hash: Some(hash.into()), int8 }
            }
            _ => Self { source: id.into(), hash: None, int8 },
        }
    }

    /// The id of its files, whatever is made of them.
    pub fn files(&self) -> String {
        let hash = self.hash.as_ref().map(|hash| format!("~{hash}")).unwrap_or_default();
        format!("{}{hash}", self.source)
    }

    /// The whole id.
    pub fn id(&self) -> String {
        self.files() + if self.int8 { INT8 } else { "" }
    }

    /// Whether it comes with the page.
    pub fn is_shipped(&self) -> bool {
        !self.source.contains(':')
    }

    /// Whether it was made of files on the visitor's own device, which nothing can fetch.
    pub fn is_local(&self) -> bool {
        self.source.starts_with("local:")
    }

    /// What a person calls it.
    pub fn short(&self) -> String {
        let path = self.source.split_once(':').map_or(self.source.as_str(), |(_, path)| path);
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        last.trim_end_matches(".bin").to_owned() + if self.int8 { " int8" } else { "" }
    }

    /// What to say where it is not in this browser.
    pub fn absent(&self) -> String {
        let hash = self.hash.as_ref().map(|hash| format!(" (hash {hash})")).unwrap_or_default();
        let name = self.short();
        match self.source.split_once(':') {
            Some(("local", _)) => {
                format!(
                    "this experiment needs the model {name}{hash}, which was made of somebody's own files; give the same files"
                )
            }
            Some((_, place)) => {
                format!("this experiment needs the model {name}{hash} from {place}, which is not in this browser yet")
            }
            None => format!("the model {name} does not come with this page"),
        }
    }
}

impl ModelFacts {
    /// Bytes of memory that loading takes at its highest: the files as they are, the weights made of them and what a run
    /// needs. Where the size of the files is not known, weights in f32 stand for them.
    pub fn loading_bytes(&self) -> usize {
        let files = if self.file_bytes == 0 { 4 * self.parameters } else { self.file_bytes };
        files + self.memory_bytes()
    }

    /// Bytes of memory that a run at full context needs: weights in f32, keys and values, and logits of every position.
    /// What mechanisms and captures add is not counted.
    ///
    /// ```
    /// # use attnscope::outcome::ModelFacts;
    /// let facts = ModelFacts { parameters: 10, layers: 2, kv_heads: 1, head_width: 3, context: 5, vocabulary: 7, ..ModelFacts::default() };
    /// assert_eq!(facts.memory_bytes(), 4 * (10 + 2 * 2 * 3 * 5 + 5 * 7));
    /// ```
    pub fn memory_bytes(&self) -> usize {
        let cache = 2 * self.layers * self.kv_heads * self.head_width * self.context;
        4 * (self.parameters + cache + self.context * self.vocabulary)
    }
}
