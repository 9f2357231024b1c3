//! Indirect objects: two names, one of them again as the giver; what is given goes to the other.
//!
//! Marks: `indirect_object` and `subject` where the names stand first, `subject_again` where the giver is named. Forms
//! `first` and `second` say which of the two names is the indirect object (ABB and BAB order).

use super::item::{Given, Item, Template, templates};
use super::words::Draw;
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Sentences in which the indirect object stands first or second.
pub struct IndirectObject {
    first: Vec<Template>,
    second: Vec<Template>,
}

const FIRST: &[&str] = &[
    "When {indirect_object} and {subject} went to the {place}, {subject_again} gave the {thing} to {answer}",
    "{indirect_object} and {subject} were in the {place}. {subject_again} had a {thing} and gave it to {answer}",
    "One day {indirect_object} and {subject} found a {thing}. At the {place}, {subject_again} showed it to {answer}",
];
const SECOND: &[&str] = &[
    "When {subject} and {indirect_object} went to the {place}, {subject_again} gave the {thing} to {answer}",
    "{subject} and {indirect_object} were in the {place}. {subject_again} had a {thing} and gave it to {answer}",
    "One day {subject} and {indirect_object} found a {thing}. At the {place}, {subject_again} showed it to {answer}",
];

impl IndirectObject {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self { first: templates(FIRST, tokenizer)?, second: templates(SECOND, tokenizer)? })
    }

    /// One sentence.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw) -> Item {
        let words = given.words;
        let (names, first) = (draw.distinct(&words.names, 2), draw.chance(0.5));
        let (form, sentences) = if first { ("first", &self.first) } else { ("second", &self.second) };
        let [indirect_object, subject] = names[..] else { return Item::default() };
        let mut item = Item { form, ..Item::default() };
        let fill = [
            ("indirect_object", indirect_object),
            ("subject", subject),
            ("subject_again", subject),
            ("place", draw.one(&words.places)),
            ("thing", draw.one(&words.objects)),
            ("answer", indirect_object),
        ];
        sentences[draw.below(sentences.len())].write(&mut item, &fill, vec![subject]);
        let stood = item.places("indirect_object").first().copied().unwrap_or(0);
        item.gap = item.questions.first().map(|question| question.at - stood - 1);
        item
    }
}
