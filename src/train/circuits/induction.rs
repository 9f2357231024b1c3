//! Induction: a sequence of random tokens comes again, and then its continuation is determined.
//!
//! Neither the language nor the tokens help; only looking up what followed the same token before does.

use super::item::{Given, Item};
use super::words::Draw;

/// Longest sequence that is repeated.
const LONGEST: usize = 40;

/// Random tokens, perhaps others, and the first again: every repeated token after the first is asked for.
pub fn draw(given: &Given<'_>, draw: &mut Draw) -> Item {
    let words = given.words;
    let longest = LONGEST.min(given.longest / 2).max(4);
    // Short sequences are commoner, so that a row holds many.
    let length = draw.between(4, longest);
    let length = draw.between(4, length);
    // Most items are made of words, the others of any tokens at all, so that what is learned is not about words.
    let pool: Vec<u32> = if draw.chance(0.7) {
        [&words.objects, &words.foods, &words.animals, &words.places, &words.names]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    } else {
        words.any.clone()
    };
    let between = if draw.chance(0.3) { draw.below((given.longest - 2 * length).min(8) + 1) } else { 0 };
    let drawn = draw.distinct(&pool, length + between);
    let (sequence, between) = drawn.split_at(length.min(drawn.len()));
    repeat(sequence, between, words.any.as_slice(), draw)
}

/// `sequence`, `between`, `sequence`. Distractors are three other tokens of the sequence.
fn repeat(sequence: &[u32], between: &[u32], any: &[u32], draw: &mut Draw) -> Item {
    let form = if between.is_empty() { "at_once" } else { "later" };
    let mut item = Item { form, gap: Some(sequence.len() + between.len() - 1), ..Item::default() };
    for token in sequence {
        item.mark("first", *token);
    }
    item.push(between);
    for (index, token) in sequence.iter().enumerate() {
        if index == 0 {
            item.mark("again", *token);
            continue;
        }
        let others: Vec<u32> = sequence.iter().copied().filter(|other| other != token).collect();
        let pool = if others.is_empty() { any } else { &others };
        item.ask(*token, draw.distinct(pool, 3));
    }
    item
}
