//! List recall: things are listed, all but one are named again in another order, and the one that is left is asked for.
//!
//! Paper 1's laundry list; with two things it is the pattern of an indirect object.

use super::item::{Given, Item, Template, templates};
use super::words::Draw;
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Things at most.
const MOST: usize = 8;

/// The fixed words of a list.
pub struct List(Vec<Template>);

impl List {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let texts = ["The list:", " {thing}", ",", ". Done:", " {done}", ". Left: {answer}"];
        templates(&texts, tokenizer).map(Self)
    }

    /// 2 to 8 things.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw) -> Item {
        let things = draw.between(2, MOST);
        let missing = draw.below(things);
        self.item(given, draw, things, missing)
    }

    /// A list of `things` of which the one at `missing` is left.
    pub fn item(&self, given: &Given<'_>, draw: &mut Draw, things: usize, missing: usize) -> Item {
        let [begin, thing, comma, middle, done, end] = &self.0[..] else { return Item::default() };
        let listed = draw.distinct(&given.words.objects, things);
        let mut item = Item { form: "list", ..Item::default() };
        begin.write(&mut item, &[], Vec::new());
        for (index, token) in listed.iter().enumerate() {
            if index > 0 {
                comma.write(&mut item, &[], Vec::new());
            }
            thing.write(&mut item, &[("thing", *token)], Vec::new());
        }
        middle.write(&mut item, &[], Vec::new());
        let left = listed.get(missing).copied().unwrap_or_default();
        let mut named: Vec<u32> = listed.iter().copied().filter(|token| *token != left).collect();
        draw.shuffle(&mut named);
        for (index, token) in named.iter().enumerate() {
            if index > 0 {
                comma.write(&mut item, &[], Vec::new());
            }
            done.write(&mut item, &[("done", *token)], Vec::new());
        }
        end.write(&mut item, &[("answer", left)], named);
        let stood = item.places("thing").get(missing).copied().unwrap_or(0);
        item.gap = item.questions.first().map(|question| question.at - stood - 1);
        item
    }
}
