//! Recall from afar: pairs of a key and a value, a long silence, and then keys whose values are asked for.
//!
//! Each pair is one token, and the answer is that token once more, so that one look at the right place answers a question
//! and nothing has to be joined first: what the task measures is whether the look reaches as far as it must. A row of W
//! predictions is laid out as
//!
//! ```text
//! beginning | W/2 places: a pair for each key, silence between them | W/4 of silence | W/8 questions and answers
//! ```
//!
//! so a question is at least W/4 tokens behind its pair: further than any window that is meant to fail, and with W the
//! distance grows. Only answers are learned from; guessing among a key's pairs is right one time in eight.

use super::circuits::Draw;
use super::curriculum::{loaded, single};
use super::stream::Row;
use super::vocabulary::{self, Trained};
use crate::Result;

/// Keys. Alone, one is a question.
pub const KEYS: &str = "ABCDEFGHIJKLMNOPQRSTUVWX";
/// Values. Behind a key, one makes a pair of it.
pub const VALUES: &str = "abcdefgh";
/// Pairs at most: one for each key.
pub const MOST: usize = KEYS.len();
/// What stands where nothing is said.
const SILENCE: &str = ".";

/// What the tokenizer must know as one token each, besides single bytes.
pub fn words() -> Vec<String> {
    KEYS.chars().flat_map(|key| VALUES.chars().map(move |value| format!("{key}{value}"))).collect()
}

/// A text and what is asked in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// All tokens, the beginning among them.
    pub tokens: Vec<u32>,
    /// What is asked.
    pub questions: Vec<Question>,
}

/// A question: the token behind `at` is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Where the key stands alone.
    pub at: usize,
    /// Where its pair stands.
    pub pair: usize,
}

/// Texts of the task in tokens.
pub struct Recall {
    beginning: u32,
    silence: u32,
    keys: Vec<u32>,
    /// Of each key, its pair with each value.
    pairs: Vec<Vec<u32>>,
    /// Pairs in a text, of as many first keys.
    told: usize,
    seed: u64,
}

impl Recall {
    /// Texts of `pairs` pairs, at most [`MOST`], drawn under `seed`, in tokens of a tokenizer that knows the [`words`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) when a key or a pair is not one token.
    pub fn new(tokenizer: &Trained, pairs: usize, seed: u64) -> Result<Self> {
        let beginning = vocabulary::beginning(tokenizer)?;
        let tokenizer = loaded(tokenizer)?;
        let keys = KEYS.chars().map(|key| single(&tokenizer, &key.to_string())).collect::<Result<_>>()?;
        let told = pairs;
        let pairs: Vec<u32> = words().iter().map(|word| single(&tokenizer, word)).collect::<Result<_>>()?;
        let pairs = pairs.chunks(VALUES.len()).map(<[u32]>::to_vec).collect();
        Ok(Self { beginning, silence: single(&tokenizer, SILENCE)?, keys, pairs, told, seed })
    }

    /// Text `index` in `width` + 1 tokens; below 8 it holds no question.
    pub fn text(&self, index: usize, width: usize) -> Text {
        let mut draw = Draw::new(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64));
        let mut tokens = vec![self.silence; width + 1];
        tokens[0] = self.beginning;
        let all: Vec<u32> = (0..self.told.min(MOST) as u32).collect();
        let places: Vec<u32> = (1..=width as u32 / 2).collect();
        let places = draw.distinct(&places, all.len());
        // Where there are fewer places than keys, the first ones drawn are told.
        let keys = draw.distinct(&all, places.len());
        let told: Vec<(usize, usize)> =
            keys.into_iter().zip(places).map(|(key, place)| (key as usize, place as usize)).collect();
        for (key, place) in &told {
            tokens[*place] = self.pairs[*key][draw.below(VALUES.len())];
        }
        let asked: Vec<u32> = draw.distinct(&(0..told.len() as u32).collect::<Vec<_>>(), width / 8);
        let first = width + 1 - 2 * asked.len();
        let questions = asked.into_iter().enumerate().map(|(number, asked)| {
            let ((key, pair), at) = (told[asked as usize], first + 2 * number);
            tokens[at] = self.keys[key];
            tokens[at + 1] = tokens[pair];
            Question { at, pair }
        });
        let questions = questions.collect();
        Text { tokens, questions }
    }

    /// Row `index` of a run, of `width` predictions, of which the answers count.
    pub fn row(&self, index: usize, width: usize) -> Row {
        let text = self.text(index, width);
        let mut weights = vec![0.0; width];
        for question in &text.questions {
            weights[question.at] = 1.0;
        }
        Row { tokens: text.tokens.into_iter().map(|token| token as u16).collect(), weights }
    }
}
