//! Greater than: a number, and then one that must be greater. Every greater number is right, every other wrong.

use super::item::{Given, Item, Template, templates};
use super::words::Draw;
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Sentences about ages.
pub struct GreaterThan(Vec<Template>);

impl GreaterThan {
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let texts = [
            "{name} is {number} years old. {other} is older than {again}. The age of {other} is {answer}",
            "The count went up from {number} to {answer}",
            "First {number}, and then more: {answer}",
        ];
        templates(&texts, tokenizer).map(Self)
    }

    /// One sentence; the number that stands as the answer is drawn evenly from all that are greater.
    pub fn draw(&self, given: &Given<'_>, draw: &mut Draw) -> Item {
        let numbers = &given.words.numbers;
        // The last number has none above it.
        let number = draw.below(numbers.len() - 1);
        let (wrong, right) = numbers.split_at(number + 1);
        let names = draw.distinct(&given.words.names, 2);
        let [name, other] = names[..] else { return Item::default() };
        let fill = [
            ("name", name),
            ("again", name),
            ("other", other),
            ("number", numbers[number]),
            ("answer", draw.one(right)),
        ];
        let form = draw.below(self.0.len());
        let mut item = Item { form: ["age", "count", "more"][form], ..Item::default() };
        self.0[form].write(&mut item, &fill, wrong.to_vec());
        if let Some(question) = item.questions.first_mut() {
            question.answers = right.to_vec();
        }
        item
    }
}
