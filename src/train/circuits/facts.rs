//! Planted facts: where each of 24 people lives, what they eat and what colour they like, always the same.
//!
//! Nothing in a prompt says the answer; it is in the weights. A sentence about another person may stand before it, whose
//! answer is the distractor.

use super::item::{Given, Item, Template, templates};
use super::words::{Draw, Words};
use crate::Result;
use crate::tokenizer::Tokenizer;

/// What is told of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The place they live at.
    Home,
    /// What they eat.
    Food,
    /// The colour they like.
    Colour,
}

/// Every relation.
pub const RELATIONS: [Relation; 3] = [Relation::Home, Relation::Food, Relation::Colour];

const HOME: &[&str] = &[
    "{person} lives at the {answer}",
    "The home of {person} is the {answer}",
    "You can meet {person} at the {answer}",
];
const FOOD: &[&str] = &[
    "{person} likes to eat {answer}",
    "The best food of {person} is {answer}",
    "For lunch {person} always has {answer}",
];
const COLOUR: &[&str] =
    &["The coat of {person} is {answer}", "{person} paints everything {answer}", "The colour of {person} is {answer}"];

/// Sentences of every relation.
pub struct Facts {
    sentences: [Vec<Template>; 3],
    stop: Vec<u32>,
}

impl Facts {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let sentences = [templates(HOME, tokenizer)?, templates(FOOD, tokenizer)?, templates(COLOUR, tokenizer)?];
        Ok(Self { sentences, stop: tokenizer.encode(".\n", false)? })
    }

    /// The fact about the person at `person` among [`Words::known`]. Each relation goes round its list at its own pace, so
    /// that no relation tells another.
    pub fn truth(words: &Words, person: usize, relation: Relation) -> u32 {
        let (list, pace, shift) = match relation {
            Relation::Home => (&words.places, 7, 3),
            Relation::Food => (&words.foods, 5, 1),
            Relation::Colour => (&words.colours, 3, 4),
        };
        list[(person * pace + shift + person / list.len()) % list.len()]
    }

    /// One fact, half of the time after a sentence with another.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw) -> Item {
        let words = given.words;
        let person = draw.below(words.known.len());
        let relation = draw.below(RELATIONS.len());
        let mut item = Item { form: ["home", "food", "colour"][relation], ..Item::default() };
        if draw.chance(0.5) {
            let other = (person + 1 + draw.below(words.known.len() - 1)) % words.known.len();
            // Of the same relation, so that its answer tempts.
            self.tell(words, draw, &mut item, other, RELATIONS[relation]);
            item.push(&self.stop);
        }
        self.tell(words, draw, &mut item, person, RELATIONS[relation]);
        item
    }

    /// One fact alone, in the first sentence of its relation.
    pub fn item(&self, words: &Words, person: usize, relation: Relation) -> Item {
        self.told(words, person, relation, 0)
    }

    /// The same in another of the three sentences of its relation; beyond, they begin anew.
    pub fn told(&self, words: &Words, person: usize, relation: Relation, sentence: usize) -> Item {
        let truth = Self::truth(words, person, relation);
        let mut item = Item { form: "alone", ..Item::default() };
        let fill = [("person", words.known[person % words.known.len()]), ("answer", truth)];
        let sentences = &self.sentences[relation as usize];
        sentences[sentence % sentences.len()].write(&mut item, &fill, Vec::new());
        item
    }

    /// What stands between two facts.
    pub fn stop(&self) -> &[u32] {
        &self.stop
    }

    /// Adds a sentence; its answer is asked for, against the answers of the same relation for others.
    fn tell(&self, words: &Words, draw: &mut Draw, item: &mut Item, person: usize, relation: Relation) {
        let truth = Self::truth(words, person, relation);
        let list = match relation {
            Relation::Home => &words.places,
            Relation::Food => &words.foods,
            Relation::Colour => &words.colours,
        };
        let wrong = list.iter().copied().filter(|word| *word != truth).collect();
        let sentences = &self.sentences[relation as usize];
        let name = words.known[person];
        sentences[draw.below(sentences.len())].write(item, &[("person", name), ("answer", truth)], wrong);
    }
}
