//! What a run learns from, and what follows from that: the model's sizes, its vocabulary, its rows.

use super::backcopy::{Backcopy, LETTERS};
use super::circuits::rows::{Rows, Shares};
use super::circuits::{self, Circuits};
use super::corpus::{self, Section, Share};
use super::recall::{self, Recall};
use super::stream::{Documents, Reader, Row};
use super::vocabulary::{self, Trained};
use crate::model::Config;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use std::path::Path;

/// What a run learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Curriculum {
    /// The story corpus alone: `stories-3m`.
    Stories,
    /// Tasks with exact ground truth, mixed with stories: `circuits-2m`.
    Circuits,
    /// Bigrams and copies of 32 letters, without a corpus: a model of minutes on one core.
    Backcopy,
    /// Pairs of keys and values, and questions far behind them, without a corpus: a model of minutes on one core.
    Recall,
    /// Stories byte by byte in rows of 64: a model of minutes on one core.
    Bytes,
}

/// Times each word of the tasks is shown to the tokenizer's trainer: more than the rarest merge of a story vocabulary occurs,
/// so that each becomes one token.
const WORD_REPEATS: usize = 20_000;

/// Every byte, and what begins a text: the smallest vocabulary.
const BYTES: usize = 257;

impl Curriculum {
    /// Entries of the vocabulary. The tasks have few words, and a small vocabulary is quick to learn and to train.
    pub fn vocabulary(self) -> usize {
        match self {
            Curriculum::Stories => 4096,
            Curriculum::Circuits => 2048,
            Curriculum::Backcopy | Curriculum::Bytes => BYTES,
            Curriculum::Recall => BYTES + recall::words().len(),
        }
    }

    /// The model, whose documents begin with token `bos`.
    ///
    /// The circuits have every head its own keys and values, so that a head can be taken out whole, and four layers, which
    /// is one more than the deepest circuit here (indirect objects) is known to need.
    pub fn config(self, bos: u32) -> Config {
        let sizes = match self {
            Curriculum::Stories => Config::llama(self.vocabulary(), 192, 6, 6, 3, 512),
            Curriculum::Circuits => Config { context: 256, ..Config::llama(self.vocabulary(), 192, 4, 6, 6, 384) },
            Curriculum::Backcopy | Curriculum::Recall | Curriculum::Bytes => {
                Config { context: 64, ..Config::llama(self.vocabulary(), 64, 2, 4, 4, 256) }
            }
        };
        Config { bos: Some(bos), eos: Some(bos), ..sizes }
    }

    /// The files of the corpus that it reads, out of `--mix`.
    ///
    /// # Errors
    /// Those of [`corpus::parse_mix`].
    pub fn mix(self, text: &str) -> Result<Vec<Share>> {
        match self {
            Curriculum::Backcopy | Curriculum::Recall => Ok(Vec::new()),
            _ => corpus::parse_mix(text),
        }
    }

    /// Held-out text of these files; a task without a corpus is held out by another seed and has none.
    ///
    /// # Errors
    /// Those of [`corpus::read_held_out`].
    pub fn held_out(self, folder: &Path, mix: &[Share]) -> Result<Vec<Section>> {
        if mix.is_empty() { Ok(Vec::new()) } else { corpus::read_held_out(folder, mix) }
    }

    /// Learns the tokenizer.
    ///
    /// # Errors
    /// Those of [`vocabulary::train`].
    pub fn tokenizer(self, training: &[Section]) -> Result<Trained> {
        match self {
            Curriculum::Stories => vocabulary::train(training, self.vocabulary()),
            Curriculum::Circuits => {
                let words = circuits::single_tokens().concat();
                let documents = vec![words; WORD_REPEATS];
                let section = Section { file: "words".into(), documents, repeats: 1 };
                vocabulary::train(&[training, &[section]].concat(), self.vocabulary())
            }
            Curriculum::Backcopy => {
                let section = Section { file: "letters".into(), documents: vec![LETTERS.into()], repeats: 1 };
                vocabulary::train(&[section], self.vocabulary())
            }
            Curriculum::Recall => {
                let section = Section { file: "pairs".into(), documents: recall::words(), repeats: 1 };
                vocabulary::train(&[section], self.vocabulary())
            }
            Curriculum::Bytes => vocabulary::train(&[], self.vocabulary()),
        }
    }
}

/// Where a run's rows come from.
pub enum Source {
    /// Epochs of documents.
    Stories(Documents),
    /// Items, and stories between them.
    Circuits(Box<Rows>),
    /// Texts of letters.
    Backcopy(Box<Backcopy>),
    /// Pairs and questions.
    Recall(Box<Recall>),
}

impl Source {
    /// The source of a curriculum from encoded documents: of its `tasks`, or of so many `pairs` to recall.
    ///
    /// # Errors
    /// Those of [`Circuits::new`] and [`Shares::parse`].
    pub fn new(
        curriculum: Curriculum,
        (tasks, pairs): (&str, usize),
        documents: Documents,
        tokenizer: &Trained,
        seed: u64,
    ) -> Result<Self> {
        match curriculum {
            Curriculum::Stories | Curriculum::Bytes => Ok(Self::Stories(documents)),
            Curriculum::Circuits => {
                let circuits = Circuits::new(&loaded(tokenizer)?)?;
                let beginning = vocabulary::beginning(tokenizer)?;
                let rows = Rows::new(circuits, Shares::parse(tasks)?, beginning, documents.stream(), seed);
                Ok(Self::Circuits(Box::new(rows)))
            }
            Curriculum::Backcopy => Ok(Self::Backcopy(Box::new(Backcopy::new(tokenizer, seed)?))),
            Curriculum::Recall => Ok(Self::Recall(Box::new(Recall::new(tokenizer, pairs, seed)?))),
        }
    }

    /// Tokens in one epoch; items never end.
    pub fn epoch_tokens(&self) -> usize {
        match self {
            Source::Stories(documents) => documents.epoch_tokens(),
            Source::Circuits(_) | Source::Backcopy(_) | Source::Recall(_) => 0,
        }
    }

    /// Rows from the one after `consumed` on.
    pub fn feed(&self, width: usize, seed: u64, consumed: usize) -> Feed<'_> {
        match self {
            Source::Stories(documents) => Feed::Stories(Box::new(Reader::new(documents, width, seed, consumed))),
            Source::Circuits(rows) => Feed::Drawn(Box::new(|index, width| rows.row(index, width)), consumed, width),
            Source::Backcopy(texts) => Feed::Drawn(Box::new(|index, width| texts.row(index, width)), consumed, width),
            Source::Recall(texts) => Feed::Drawn(Box::new(|index, width| texts.row(index, width)), consumed, width),
        }
    }
}

/// The rows of a run, one batch after the other.
pub enum Feed<'a> {
    /// From documents.
    Stories(Box<Reader<'a>>),
    /// Drawn by index: a row of an index and a width, the next index and the width.
    Drawn(Box<dyn Fn(usize, usize) -> Row + 'a>, usize, usize),
}

impl Feed<'_> {
    /// The next `rows` rows whole, or as twice as many of half the width.
    pub fn batch(&mut self, rows: usize, halves: bool) -> Vec<Row> {
        match self {
            Feed::Stories(reader) => {
                (0..rows).flat_map(|_| cut(reader.next_row(), halves)).map(|row| Row::even(&row)).collect()
            }
            Feed::Drawn(draw, next, width) => {
                // An index stands for a whole row or for its two halves, so that the position of a run says where it is.
                let first = *next;
                *next += rows;
                let row = |index: usize| match halves {
                    true => vec![draw(2 * index, *width / 2), draw(2 * index + 1, *width / 2)],
                    false => vec![draw(2 * index, *width)],
                };
                (first..first + rows).flat_map(row).collect()
            }
        }
    }
}

/// A row whole, or as two rows of half the width; the same tokens are predicted either way.
fn cut(row: &[u16], halves: bool) -> Vec<Vec<u16>> {
    let middle = (row.len() - 1) / 2;
    if halves { vec![row[..=middle].to_vec(), row[middle..].to_vec()] } else { vec![row.to_vec()] }
}

/// The one token of a word.
///
/// # Errors
/// [`Error::Tokenizer`] when it is several.
pub fn single(tokenizer: &Tokenizer, word: &str) -> Result<u32> {
    match tokenizer.encode(word, false)?[..] {
        [token] => Ok(token),
        _ => Err(Error::Tokenizer { problem: format!("{word} is not one token") }),
    }
}

/// The tokenizer as pages load it.
pub fn loaded(tokenizer: &Trained) -> Result<Tokenizer> {
    let json = vocabulary::to_json(tokenizer)?;
    let beginning = vocabulary::beginning(tokenizer)?;
    Ok(Tokenizer::from_hub_json("tokenizer.json", json.as_bytes())?.with_bos(Some(beginning)))
}
