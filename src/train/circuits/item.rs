//! An item: a sequence of tokens with questions whose right answers are known exactly.

use super::words::Words;
use crate::Result;
use crate::tokenizer::Tokenizer;

/// One generated sequence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Item {
    /// All tokens, answers in their places, without a beginning token.
    pub tokens: Vec<u32>,
    /// Where the model is asked, in order; at least one.
    pub questions: Vec<Question>,
    /// Tokens with a part to play, by name: `indirect_object`, `key`, `needle`.
    pub marks: Vec<Mark>,
    /// Which form of the task this is.
    pub form: &'static str,
    /// Tokens between the answer's place and where it stood before, where it did.
    pub gap: Option<usize>,
}

/// A place where the next token is determined.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Index into the tokens: what stands there is to be predicted from all tokens before it. At least 1.
    pub at: usize,
    /// Every right answer; what stands at `at` is one of them.
    pub answers: Vec<u32>,
    /// Wrong answers that a model which only half understands would give.
    pub distractors: Vec<u32>,
}

/// A token with a part to play.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its part.
    pub part: &'static str,
    /// Index into the tokens.
    pub at: usize,
}

impl Item {
    /// What is shown before the first question.
    pub fn prompt(&self) -> &[u32] {
        self.tokens.get(..self.questions.first().map_or(0, |question| question.at)).unwrap_or(&[])
    }

    /// Where the tokens of a part stand.
    pub fn places(&self, part: &str) -> Vec<usize> {
        self.marks.iter().filter(|mark| mark.part == part).map(|mark| mark.at).collect()
    }

    /// Adds tokens without a part.
    pub fn push(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// Adds a token with a part.
    pub fn mark(&mut self, part: &'static str, token: u32) {
        self.marks.push(Mark { part, at: self.tokens.len() });
        self.tokens.push(token);
    }

    /// Adds an answer, which is asked for.
    pub fn ask(&mut self, answer: u32, distractors: Vec<u32>) {
        self.questions.push(Question { at: self.tokens.len(), answers: vec![answer], distractors });
        self.tokens.push(answer);
    }
}

/// Fixed text with holes, cut into tokens once.
///
/// `When {a} and {b} went out, {a} saw` has the holes `a`, `b` and `a`; the space before a hole belongs to the word that
/// fills it.
#[derive(Debug, Clone)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Text(Vec<u32>),
    Hole(&'static str),
}

impl Template {
    /// Cuts `text` at its holes.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn new(text: &'static str, tokenizer: &Tokenizer) -> Result<Self> {
        let mut pieces = Vec::new();
        for (index, part) in text.split('{').enumerate() {
            let after = match part.split_once('}') {
                Some((hole, after)) if index > 0 => {
                    pieces.push(Piece::Hole(hole));
                    after
                }
                _ => part,
            };
            let fixed = after.strip_suffix(' ').unwrap_or(after);
            if !fixed.is_empty() {
                pieces.push(Piece::Text(tokenizer.encode(fixed, false)?));
            }
        }
        Ok(Self(pieces))
    }

    /// Adds the text to `item`, holes filled and marked by what `fill` gives for their names; the hole `answer` is asked
    /// for, with the distractors.
    pub fn write(&self, item: &mut Item, fill: &[(&'static str, u32)], distractors: Vec<u32>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(tokens) => item.push(tokens),
                Piece::Hole(hole) => {
                    let token = fill.iter().find(|(name, _)| name == hole).map_or(0, |(_, token)| *token);
                    if *hole == "answer" { item.ask(token, distractors.clone()) } else { item.mark(hole, token) }
                }
            }
        }
    }
}

/// Templates of one task.
pub fn templates(texts: &[&'static str], tokenizer: &Tokenizer) -> Result<Vec<Template>> {
    texts.iter().map(|text| Template::new(text, tokenizer)).collect()
}

/// What a task's generator is given.
pub struct Given<'a> {
    /// Words as tokens.
    pub words: &'a Words,
    /// Longest item in tokens, without a beginning token.
    pub longest: usize,
}
