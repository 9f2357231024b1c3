//! The 68 papers: what each claims, what it runs on, what it asks for.
//!
//! Which of them work here is not written down anywhere: a paper works when a mechanism of the catalogue names its number,
//! or when it is shown by a study.

use crate::catalogue::Entry;
use crate::experiment::{Chip, Experiment, Pane, Tab, View, link};
use crate::lens::Patterns;
use crate::lens::sinks::Sinks;
use crate::lens::study::Study;
use crate::outcome::Outcome;
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
    /// The experiment that shows it here, once somebody has chosen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<Show>,
}

/// An experiment and what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// The experiment as a link, without `#`; where it names no prompt, the story of [`STORY`] is read.
    pub link: String,
    /// What one sees, in one sentence that the measured number bears out.
    pub takeaway: String,
    /// The number that shows it.
    pub number: Number,
    /// Where a study's number stands; without it the first fact of its drawings is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<Cell>,
}

/// A number of a study's drawings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Id of the drawing.
    pub exhibit: String,
    /// Id of its sheet.
    pub sheet: String,
    /// Index of the number, row by row.
    pub at: usize,
    /// What is said of it; `{}` stands for the number.
    pub words: String,
}

impl Cell {
    /// The number in words; `None` while the study has not come to it.
    pub fn read(&self, study: &Study) -> Option<String> {
        let exhibit = study.exhibits.iter().find(|exhibit| exhibit.id == self.exhibit)?;
        let sheet = exhibit.grid.sheets.iter().find(|sheet| sheet.id == self.sheet)?;
        let value = sheet.values.get(self.at).copied().filter(|value| value.is_finite())?;
        // A share or a rank correlation needs one digit more than a percentage.
        let digits = if value.abs() < 10.0 { 2 } else { 1 };
        Some(self.words.replace("{}", &format!("{value:.digits$}")))
    }
}

/// A story nobody trained on, written for this page and free to use: long enough for windows and blocks to matter.
pub const STORY: &str = include_str!("../www/held-out.txt");
/// So many paragraphs of it are the prompt of a paper's experiment.
const PARAGRAPHS: usize = 3;

impl Show {
    /// The experiment.
    ///
    /// # Errors
    /// [`Error::Parse`] from the link, which a test excludes.
    pub fn experiment(&self) -> Result<Experiment> {
        let mut experiment = link::read(&self.link)?.experiment;
        if !self.link.contains("p=") {
            experiment.prompt = STORY.split("\n\n").take(PARAGRAPHS).collect::<Vec<_>>().join(" ");
        }
        Ok(experiment)
    }
}

/// A number of pane B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Number {
    /// Loss in B minus loss in A.
    DeltaLoss,
    /// KL of the next token's distribution.
    Kl,
    /// Share of the causal scores that B computes.
    ScoreShare,
    /// Bytes that B caches as a share of what A caches.
    CacheShare,
    /// Largest mass that B puts on the first token, as a share of A's.
    SinkShare,
    /// A number of the study on screen, see [`Show::cell`].
    Study,
}

impl Number {
    /// The number in words, from the newest outcome; `None` while it cannot be had.
    pub fn read(self, outcome: &Outcome) -> Option<String> {
        let [a, b, ..] = outcome.panes.as_slice() else { return None };
        let versus = b.versus_a.as_ref()?;
        let percent = |share: f32| format!("{:.1} %", 100.0 * share);
        Some(match self {
            Number::DeltaLoss => format!("Δ loss {:+.3} nats", versus.delta_loss?),
            Number::Kl => format!("KL {:.3} nats", versus.kl_next),
            Number::ScoreShare => format!("{} of the scores", percent(b.price.score_share?)),
            Number::CacheShare => {
                format!("{} of the cache", percent(b.price.kv_bytes as f32 / a.price.kv_bytes.max(1) as f32))
            }
            Number::SinkShare => {
                let mass = |pane| Some(Sinks::new(&Patterns::of(pane)?).mean(0)?.max(0.0));
                format!("{} of the sink", percent(mass(b)? / mass(a)?))
            }
            Number::Study => return None,
        })
    }
}

/// The paper whose experiment this is, whatever is looked at in it.
pub fn shown_by<'a>(papers: &'a [Paper], experiment: &Experiment) -> Option<(&'a Paper, &'a Show)> {
    let same = |show: &Show| {
        show.experiment().is_ok_and(|shown| {
            // Studies of one pane are told apart by what is studied.
            let studies = shown.view.tab == Tab::Studies;
            let (of, here) = (&shown.instruments, &experiment.instruments);
            if studies && (of.study != here.study || experiment.view.tab != Tab::Studies) {
                return false;
            }
            let Experiment { model, prompt, bos, panes, seed, .. } = &shown;
            (model, prompt, *bos, panes, *seed)
                == (&experiment.model, &experiment.prompt, experiment.bos, &experiment.panes, experiment.seed)
        })
    };
    papers.iter().find_map(|paper| paper.show.as_ref().filter(|show| same(show)).map(|show| (paper, show)))
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
    /// The link, without `#`, that opens this paper's experiment: the chosen one, else its first mechanism beside softmax.
    pub fn link(&self, mechanisms: &[Entry]) -> Option<String> {
        let chosen = self.show.as_ref().and_then(|show| Some(link::write(&show.experiment().ok()?)));
        chosen.or_else(|| mechanisms.first().map(|entry| link::write(&beside_softmax(entry))))
    }

    /// Whether something of it runs here: a mechanism of the catalogue, or a study.
    pub fn works(&self, mechanisms: usize) -> bool {
        mechanisms > 0 || self.show.as_ref().is_some_and(|show| show.cell.is_some())
    }

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
