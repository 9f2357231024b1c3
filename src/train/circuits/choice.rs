//! Lettered multiple choice: options under letters, and the letter of the right one is asked for.
//!
//! Form `same` asks for the option that equals a word, form `kind` for the one that is an animal, a food, a place or a
//! colour. How often the first option is right can be set: a model that learns from a biased exam anchors on A, as papers
//! 12, 39 and 65 examine.

use super::item::{Given, Item, Template};
use super::words::Draw;
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Options in training; [`Choice::item`] takes 2 to 5.
const OPTIONS: usize = 4;

/// The fixed words of an exam.
pub struct Choice {
    same: Template,
    kind: Template,
    option: Template,
    answer: Template,
    kinds: Vec<Vec<u32>>,
}

impl Choice {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let template = |text| Template::new(text, tokenizer);
        let kinds = ["an animal", "food", "a place", "a colour"];
        Ok(Self {
            same: template("Which is{wanted}?")?,
            kind: template("Which is")?,
            option: template("\n{letter}:{option}")?,
            answer: template("\nAnswer: {answer}")?,
            kinds: kinds.iter().map(|kind| tokenizer.encode(&format!(" {kind}?"), false)).collect::<Result<_>>()?,
        })
    }

    /// One question whose right option stands first with probability `bias` and otherwise anywhere else.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw, bias: f64) -> Item {
        let right = if draw.chance(bias) { 0 } else { draw.between(1, OPTIONS - 1) };
        let same = draw.chance(0.5);
        self.item(given, draw, same, OPTIONS, right)
    }

    /// A question with `options` options of which the one at `right` is right.
    pub fn item(&self, given: &Given<'_>, draw: &mut Draw, same: bool, options: usize, right: usize) -> Item {
        let words = given.words;
        let lists = [&words.animals, &words.foods, &words.places, &words.colours];
        let mut item = Item { form: if same { "same" } else { "kind" }, ..Item::default() };
        let kind = draw.below(lists.len());
        let wanted = draw.one(lists[kind]);
        // Wrong options are of other kinds where the kind is asked for, and of any where the word is.
        let wrong: Vec<u32> = lists
            .iter()
            .enumerate()
            .filter(|(other, _)| same || *other != kind)
            .flat_map(|(_, list)| list.iter().copied())
            .filter(|word| *word != wanted)
            .collect();
        let mut shown = draw.distinct(&wrong, options.saturating_sub(1));
        shown.insert(right.min(shown.len()), wanted);
        if same {
            self.same.write(&mut item, &[("wanted", wanted)], Vec::new());
        } else {
            self.kind.write(&mut item, &[], Vec::new());
            item.push(&self.kinds[kind]);
        }
        for (letter, option) in words.letters.iter().zip(&shown) {
            self.option.write(&mut item, &[("letter", *letter), ("option", *option)], Vec::new());
        }
        let letters = &words.letters[..shown.len().min(words.letters.len())];
        let answer = letters.get(right).copied().unwrap_or_default();
        let wrong = letters.iter().copied().filter(|letter| *letter != answer).collect();
        self.answer.write(&mut item, &[("answer", answer)], wrong);
        let stood = item.places("letter").get(right).copied().unwrap_or(0);
        item.gap = item.questions.first().map(|question| question.at - stood - 1);
        item
    }
}
