//! The same questions under other labels: what a head that points at the right letter means by “letter”.
//!
//! Only labels, the sign behind them, or the question itself change; options, their order and the right one stay.

use super::OPTIONS;
use crate::lens::circuits::{Given, Prompt};
use crate::train::circuits::Draw;

/// What is done to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing.
    Plain,
    /// A to D in another order.
    Shuffled,
    /// The four capitals that come next: E, F, G, H.
    Later,
    /// Four capitals at random.
    Capitals,
    /// Four numbers that follow one another.
    Numbers,
    /// Four tokens at random.
    Tokens,
    /// Another sign behind the label.
    Sign,
    /// The options without the question.
    Unasked,
}

impl Mutation {
    /// All of them, the plain question first.
    pub const ALL: [Mutation; 8] = [
        Mutation::Plain,
        Mutation::Shuffled,
        Mutation::Later,
        Mutation::Capitals,
        Mutation::Numbers,
        Mutation::Tokens,
        Mutation::Sign,
        Mutation::Unasked,
    ];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Mutation::Plain => "A B C D",
            Mutation::Shuffled => "A to D shuffled",
            Mutation::Later => "E F G H",
            Mutation::Capitals => "random capitals",
            Mutation::Numbers => "numbers",
            Mutation::Tokens => "random tokens",
            Mutation::Sign => "another sign",
            Mutation::Unasked => "without the question",
        }
    }

    /// The question so changed; none where the tokenizer lacks what it takes.
    pub fn of(self, given: &Given, prompt: &Prompt, draw: &mut Draw) -> Option<Mutated> {
        let words = &given.circuits.words;
        let plain = words.letters[..OPTIONS].to_vec();
        let capitals: Vec<u32> = ('A'..='Z').filter_map(|letter| given.token(&format!(" {letter}"))).collect();
        let labels = match self {
            Mutation::Plain | Mutation::Sign | Mutation::Unasked => plain.clone(),
            Mutation::Shuffled => {
                let mut labels = plain.clone();
                while labels == plain {
                    draw.shuffle(&mut labels);
                }
                labels
            }
            Mutation::Later => {
                capitals.iter().copied().filter(|letter| !plain.contains(letter)).take(OPTIONS).collect()
            }
            Mutation::Capitals => draw.distinct(&capitals, OPTIONS),
            Mutation::Numbers => words.numbers[draw.below(words.numbers.len() - OPTIONS)..][..OPTIONS].to_vec(),
            Mutation::Tokens => {
                let pool: Vec<u32> = words.any.iter().copied().filter(|id| !prompt.tokens.contains(id)).collect();
                draw.distinct(&pool, OPTIONS)
            }
        };
        if labels.len() < OPTIONS {
            return None;
        }
        let right = plain.iter().position(|letter| *letter == prompt.answer())?;
        let (mut tokens, mut places) = (prompt.tokens.clone(), prompt.places("letter"));
        for (place, label) in places.iter().zip(&labels) {
            tokens[*place] = *label;
        }
        if self == Mutation::Sign {
            let sign = [")", "."].into_iter().filter_map(|sign| given.token(sign)).find(|sign| {
                places.first().is_some_and(|place| tokens.get(place + 1).is_some_and(|own| own != sign))
            })?;
            places.iter().for_each(|place| tokens[place + 1] = sign);
        }
        if self == Mutation::Unasked {
            // The line's end before the first label stays.
            let from = places.first()?.checked_sub(1)?;
            tokens.drain(prompt.lead..from);
            places.iter_mut().for_each(|place| *place -= from - prompt.lead);
        }
        Some(Mutated { tokens, labels, places, right })
    }
}

/// A question with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutated {
    /// Tokens up to where the label is asked for.
    pub tokens: Vec<u32>,
    /// One label for each option.
    pub labels: Vec<u32>,
    /// Where the labels stand.
    pub places: Vec<usize>,
    /// Which option is right.
    pub right: usize,
}
