//! The same questions under other labels: what a head that points at the right letter means by “letter”.
//!
//! Only labels, the sign behind them, or the question itself change; options, their order and the right one stay.

use super::NAMES;
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

    /// Its name in a table of questions with so many options.
    pub fn name(self, options: usize) -> String {
        let plain = &NAMES[..options.min(NAMES.len())];
        match self {
            Mutation::Plain => plain.join(" "),
            Mutation::Shuffled => format!("A to {} shuffled", plain.last().unwrap_or(&"A")),
            Mutation::Later => {
                let letters = ('A'..='Z').skip(options).take(options);
                letters.map(String::from).collect::<Vec<_>>().join(" ")
            }
            Mutation::Capitals => "random capitals".into(),
            Mutation::Numbers => "numbers".into(),
            Mutation::Tokens => "random tokens".into(),
            Mutation::Sign => "another sign".into(),
            Mutation::Unasked => "without the question".into(),
        }
    }

    /// The question so changed; none where the tokenizer lacks what it takes.
    pub fn of(self, given: &Given, prompt: &Prompt, draw: &mut Draw) -> Option<Mutated> {
        let words = &given.circuits.words;
        let mut places = prompt.places("letter");
        let options = places.len();
        let plain = words.letters.get(..options)?.to_vec();
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
                capitals.iter().copied().filter(|letter| !plain.contains(letter)).take(options).collect()
            }
            Mutation::Capitals => draw.distinct(&capitals, options),
            Mutation::Numbers => words.numbers[draw.below(words.numbers.len() - options)..][..options].to_vec(),
            Mutation::Tokens => {
                let pool: Vec<u32> = words.any.iter().copied().filter(|id| !prompt.tokens.contains(id)).collect();
                draw.distinct(&pool, options)
            }
        };
        if labels.len() < options {
            return None;
        }
        let right = plain.iter().position(|letter| *letter == prompt.answer())?;
        let mut tokens = prompt.tokens.clone();
        // Examples before the question carry the same labels, answers included.
        let (examples, labelled) = (0..prompt.lead, |id: &u32| plain.iter().position(|letter| letter == id));
        let before: Vec<(usize, usize)> =
            examples.filter_map(|at| labelled(&prompt.tokens[at]).map(|option| (at, option))).collect();
        for (place, option) in before.iter().copied().chain(places.iter().copied().zip(0..)) {
            tokens[place] = labels[option];
        }
        if self == Mutation::Sign {
            let sign = [")", "."].into_iter().filter_map(|sign| given.token(sign)).find(|sign| {
                places.first().is_some_and(|place| tokens.get(place + 1).is_some_and(|own| own != sign))
            })?;
            let own = places.first().map(|place| tokens[place + 1]);
            let signed = before.iter().map(|(at, _)| *at).filter(|at| tokens.get(at + 1).copied() == own);
            let all: Vec<usize> = signed.chain(places.iter().copied()).collect();
            all.into_iter().for_each(|place| tokens[place + 1] = sign);
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
