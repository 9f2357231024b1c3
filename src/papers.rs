//! The 68 papers: what each claims, what it runs on, what it asks for.
//!
//! Which of them work here is not written down anywhere: a paper works when a mechanism of the catalogue names its number.

use crate::catalogue::Entry;
use crate::experiment::{Chip, Experiment, Pane, View};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One paper of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paper {
    /// Its number, 1 to 68.
    pub number: u32,
    /// Title.
    pub title: String,
    /// What it claims, one sentence.
    pub claim: String,
    /// `variant`, `analysis`, `intervention`, `adapter`, `compression`, `architecture`, `evaluation`; one or more.
    pub kinds: Vec<String>,
    /// What it runs on: `text`, `vision`, `vlm`, `diffusion`, `live`.
    pub models: Vec<String>,
    /// What has to be trained for it: `none`, `adapter`, `router`, `closed form`, `full`.
    pub training: String,
}

/// All of them, by number.
///
/// # Errors
/// [`Error::Parse`] when the list is not valid JSON, which a test excludes.
pub fn all() -> Result<Vec<Paper>> {
    serde_json::from_str(include_str!("../www/papers.json")).map_err(|error| Error::parse("www/papers.json", error))
}

/// The mechanism at its defaults beside softmax attention, on the default prompt.
pub fn beside_softmax(entry: &Entry) -> Experiment {
    let pane = |id: &str| Pane { stack: vec![Chip::new(id)] };
    Experiment { panes: vec![pane("softmax"), pane(&entry.id)], view: View::default(), ..Experiment::default() }
}

impl Paper {
    /// The mechanisms of the catalogue that come from this paper.
    pub fn mechanisms<'a>(&self, catalogue: &'a [Entry]) -> Vec<&'a Entry> {
        catalogue.iter().filter(|entry| entry.number == Some(self.number)).collect()
    }

    /// Whether every word of `query` stands in the number, the title, the claim or a mechanism's name.
    pub fn matches(&self, query: &str, mechanisms: &[&Entry]) -> bool {
        let names = mechanisms.iter().map(|entry| format!("{} {}", entry.id, entry.name));
        let text = format!("{} {} {} {}", self.number, self.title, self.claim, names.collect::<Vec<_>>().join(" "));
        let text = text.to_lowercase();
        query.split_whitespace().all(|word| text.contains(&word.to_lowercase()))
    }
}
