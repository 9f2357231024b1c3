//! Bigrams and copies: the smallest task under which heads idle, and so the smallest on which a sink may grow.
//!
//! A text begins with the beginning token and goes on in 32 letters. Most letters follow the one before by a fixed random
//! table; behind one of three triggers stands the letter before the trigger once more. A head that copies is needed at
//! triggers alone and has nothing to say at all other places. Known as bigram-backcopy from work on dormant heads; paper
//! 52's specification asks for it.

use super::circuits::Draw;
use super::curriculum::{loaded, single};
use super::stream::Row;
use super::vocabulary::{self, Trained};
use crate::Result;

/// The letters, the triggers first; each is one byte and so one token.
pub const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";
/// How many of them are triggers.
pub const TRIGGERS: usize = 3;

/// Seed of the table, which is part of the task.
const TABLE: u64 = 52;
/// How often a letter is followed by each of its four successors, out of [`WHOLE`]; in the rest by any letter.
const OFTEN: [usize; 4] = [8, 4, 2, 1];
const WHOLE: usize = 16;

/// Texts of the task in tokens.
pub struct Backcopy {
    beginning: u32,
    letters: Vec<u32>,
    /// Four successors of each letter.
    table: Vec<Vec<usize>>,
    seed: u64,
}

impl Backcopy {
    /// Texts drawn under `seed`, in tokens of a tokenizer that gives every letter one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) when a letter is not one token.
    pub fn new(tokenizer: &Trained, seed: u64) -> Result<Self> {
        let beginning = vocabulary::beginning(tokenizer)?;
        let tokenizer = loaded(tokenizer)?;
        let letters: Vec<u32> =
            LETTERS.chars().map(|letter| single(&tokenizer, &letter.to_string())).collect::<Result<_>>()?;
        let mut draw = Draw::new(TABLE);
        let all: Vec<u32> = (0..letters.len() as u32).collect();
        let successors = |_| draw.distinct(&all, OFTEN.len()).into_iter().map(|letter| letter as usize).collect();
        let table = (0..letters.len()).map(successors).collect();
        Ok(Self { beginning, letters, table, seed })
    }

    /// Letters of text `index`, by their places in [`LETTERS`].
    pub fn letters(&self, index: usize, count: usize) -> Vec<usize> {
        let mut draw = Draw::new(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64));
        // The first is no trigger, which would have nothing to copy.
        let mut text = vec![TRIGGERS + draw.below(self.letters.len() - TRIGGERS)];
        while text.len() < count {
            let last = text[text.len() - 1];
            let next = match text.len().checked_sub(2) {
                Some(before) if last < TRIGGERS => text[before],
                _ => self.follow(last, &mut draw),
            };
            text.push(next);
        }
        text
    }

    fn follow(&self, letter: usize, draw: &mut Draw) -> usize {
        let mut place = draw.below(WHOLE);
        for (successor, often) in self.table[letter].iter().zip(OFTEN) {
            if place < often {
                return *successor;
            }
            place -= often;
        }
        draw.below(self.letters.len())
    }

    /// Text `index` in `count` tokens, the beginning among them.
    pub fn tokens(&self, index: usize, count: usize) -> Vec<u32> {
        let letters = self.letters(index, count.saturating_sub(1));
        std::iter::once(self.beginning).chain(letters.into_iter().map(|letter| self.letters[letter])).collect()
    }

    /// Row `index` of a run, of `width` predictions.
    pub fn row(&self, index: usize, width: usize) -> Row {
        Row::even(&self.tokens(index, width + 1).into_iter().map(|token| token as u16).collect::<Vec<_>>())
    }
}
