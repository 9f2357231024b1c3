//! A prompt of exactly so many tokens: documents in an order, filler before them, a question behind.

use crate::train::circuits::{Draw, Item, Template};

/// What would be right.
#[derive(Debug, Clone, PartialEq)]
pub enum Gold {
    /// These words stand somewhere in the answer.
    Inside(String),
    /// The answer begins with them.
    First(String),
    /// As many of these as possible stand in the answer.
    Values(Vec<String>),
    /// An answer, and the numbers of the documents that say so.
    Cited {
        /// The answer.
        answer: String,
        /// The documents.
        documents: Vec<u32>,
    },
    /// Each document's number and how many parts of the query it meets.
    Ranked(Vec<(u32, u32)>),
    /// One sentence for each event, in any order.
    Lines {
        /// The sentences.
        lines: Vec<String>,
        /// The word in the middle of each.
        form: String,
    },
}

/// One prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Its tokens, without a beginning token; exactly as many as were asked for.
    pub tokens: Vec<u32>,
    /// The perfect answer, as tokens.
    pub answer: Vec<u32>,
    /// How an answer is judged.
    pub gold: Gold,
    /// Tokens that are written at most.
    pub most: usize,
}

/// Documents with a question about them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Case {
    /// What is asked for, in order; they are spread, the first at the depth.
    pub asked: Vec<Vec<u32>>,
    /// Others, which may be left out from the end.
    pub others: Vec<Vec<u32>>,
    pub question: Vec<u32>,
    pub answer: Vec<u32>,
}

impl Case {
    /// The documents that fit, the asked ones from `depth` (0 to 1) on.
    pub fn body(&self, room: usize, depth: f32) -> Vec<u32> {
        let mut left = room.saturating_sub(self.asked.iter().map(Vec::len).sum());
        let mut documents: Vec<&Vec<u32>> = Vec::new();
        for other in &self.others {
            if other.len() > left {
                break;
            }
            left -= other.len();
            documents.push(other);
        }
        let first = (depth.clamp(0.0, 1.0) * documents.len() as f32).round() as usize;
        // The further ones spread over what comes behind the first.
        let behind = documents.len() - first;
        for (index, document) in self.asked.iter().enumerate().rev() {
            documents.insert(first + behind * index / self.asked.len().max(1), document);
        }
        documents.into_iter().flatten().copied().collect()
    }
}

/// The tokens of a template with its holes filled.
pub(super) fn say(template: &Template, fill: &[(&'static str, u32)]) -> Vec<u32> {
    let mut item = Item::default();
    template.write(&mut item, fill, Vec::new());
    item.tokens
}

/// At least `length` tokens of sentences, cut at their front.
pub(super) fn filler(sentence: &mut dyn FnMut(&mut Draw) -> Vec<u32>, draw: &mut Draw, length: usize) -> Vec<u32> {
    let mut tokens = Vec::new();
    while tokens.len() < length {
        let new = sentence(draw);
        if new.is_empty() {
            break;
        }
        tokens.extend(new);
    }
    tokens.split_off(tokens.len().saturating_sub(length))
}
