//! Needle passages: one sentence among many that have nothing to do with it says a code of two words, which is asked for at
//! the end.
//!
//! Length and depth are free, so a grid of both can be filled (papers 29 and 66). The sentences around the needle are built
//! from templates rather than taken from a corpus, so that passages can be made anywhere.

use super::item::{Given, Item, Template, templates};
use super::words::{Draw, Words};
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Tokens of the needle, of the question and of one sentence around it, at most.
const ROOM: usize = 26;
/// Longest passage in training, whatever the row.
const MOST: usize = 200;

/// Fixed words of passages.
pub struct Needle {
    filler: Vec<Template>,
    needle: Template,
    question: Template,
}

const FILLER: &[&str] = &[
    " The {animal} went to the {place}.",
    " {name} saw a {colour} {thing}.",
    " In the {place} there was a {colour} {animal}.",
    " {name} and {friend} ate {food}.",
    " The {thing} was in the {place}.",
    " The {animal} had some {food}.",
];

impl Needle {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self {
            filler: templates(FILLER, tokenizer)?,
            needle: Template::new(" The secret of {owner} is {needle} {needle_end}.", tokenizer)?,
            question: Template::new(" So the secret of {again} is", tokenizer)?,
        })
    }

    /// A passage of any length that fits, its needle anywhere.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw) -> Item {
        let length = draw.between(ROOM + 8, MOST.min(given.longest).max(ROOM + 8));
        let depth = draw.below(101) as f32 / 100.0;
        self.item(given, draw, length, depth)
    }

    /// A passage of at most `length` tokens, the needle behind this share of the sentences around it.
    pub fn item(&self, given: &Given<'_>, draw: &mut Draw, length: usize, depth: f32) -> Item {
        let words = given.words;
        let mut item = Item { form: "passage", ..Item::default() };
        let around = length.saturating_sub(ROOM);
        let before = (depth.clamp(0.0, 1.0) * around as f32) as usize;
        let owner = draw.one(&words.names);
        let code = draw.distinct(&[&words.objects[..], &words.foods].concat(), 2);
        let [first, second] = code[..] else { return item };
        self.fill(words, draw, &mut item, before);
        self.needle.write(&mut item, &[("owner", owner), ("needle", first), ("needle_end", second)], Vec::new());
        self.fill(words, draw, &mut item, around + 16);
        self.question.write(&mut item, &[("again", owner)], Vec::new());
        let wrong =
            draw.distinct(&words.objects, 3).into_iter().filter(|word| !code.contains(word)).collect::<Vec<_>>();
        item.ask(first, wrong.clone());
        item.ask(second, wrong);
        let stood = item.places("needle").first().copied().unwrap_or(0);
        item.gap = item.questions.first().map(|question| question.at - stood - 1);
        item
    }

    /// Adds sentences while the item stays within `length` tokens. Their parts are not marked.
    fn fill(&self, words: &Words, draw: &mut Draw, item: &mut Item, length: usize) {
        loop {
            let mut sentence = Item::default();
            let names = draw.distinct(&words.names, 2);
            let fill = [
                ("animal", draw.one(&words.animals)),
                ("place", draw.one(&words.places)),
                ("name", names[0]),
                ("friend", names[1]),
                ("colour", draw.one(&words.colours)),
                ("thing", draw.one(&words.objects)),
                ("food", draw.one(&words.foods)),
            ];
            self.filler[draw.below(self.filler.len())].write(&mut sentence, &fill, Vec::new());
            if item.tokens.len() + sentence.tokens.len() > length {
                return;
            }
            item.push(&sentence.tokens);
        }
    }
}
