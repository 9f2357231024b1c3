//! Associative recall: pairs of a key and a value, then a key again, whose value is asked for.
//!
//! The number of pairs after the one that is asked for sets the gap.

use super::item::{Given, Item, Template, templates};
use super::words::Draw;
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Pairs at most.
const MOST: usize = 12;

/// The ways a pair can be put, and asked for.
pub struct Recall {
    pairs: Vec<Template>,
    questions: Vec<Template>,
}

impl Recall {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let pairs = templates(&[" {key} has the {value}.", " {key}:{value};", " {key} {value}"], tokenizer)?;
        let questions = templates(&[" {again} has the {answer}", " {again}:{answer}", " {again} {answer}"], tokenizer)?;
        Ok(Self { pairs, questions })
    }

    /// 2 to 12 pairs, one of them asked for.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw) -> Item {
        let form = draw.below(self.pairs.len());
        let most = MOST.min((given.longest.saturating_sub(8)) / 6).max(2);
        let pairs = draw.between(2, most);
        let back = draw.below(pairs);
        self.item(given, draw, form, pairs, back)
    }

    /// `pairs` pairs in form 0 (`has the`), 1 (`:`) or 2 (bare); the one asked for has `back` pairs after it.
    pub fn item(&self, given: &Given<'_>, draw: &mut Draw, form: usize, pairs: usize, back: usize) -> Item {
        let keys = draw.distinct(&given.words.names, pairs);
        let values = draw.distinct(&given.words.objects, pairs);
        let chosen = pairs.saturating_sub(back + 1);
        let mut item = Item { form: ["sentence", "colon", "bare"][form % 3], ..Item::default() };
        for (key, value) in keys.iter().zip(&values) {
            self.pairs[form % 3].write(&mut item, &[("key", *key), ("value", *value)], Vec::new());
        }
        let wrong: Vec<u32> = values.iter().copied().filter(|value| *value != values[chosen]).collect();
        let fill = [("again", keys[chosen]), ("answer", values[chosen])];
        self.questions[form % 3].write(&mut item, &fill, wrong);
        let stood = item.places("value").get(chosen).copied().unwrap_or(0);
        item.gap = item.questions.first().map(|question| question.at - stood - 1);
        item
    }
}
