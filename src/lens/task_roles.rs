//! Roles that show on tasks with exact answers: who finds the needle, the right letter, the right word, the name.
//!
//! ```text
//! retrieval    share of a needle's words looked at most just when they are said, over passages answered right
//! letter       A[T, right letter] − mean A[T, other letters]          at the last token T of a question
//! content      A[T, right word] − mean A[T, other options' words]
//! name_mover   A[T, the other name] − A[T, the name that is said again]
//! ```
//!
//! Controls read the same rows where the role would not look: the needle elsewhere in the passage, the next option in place of
//! the right one, the token before the name. Only a model whose tokenizer has the words of the tasks is asked. What is lost
//! without such heads, the studies of [`super::circuits`] measure.
//!
//! Sources: Wu et al., 2024 (paper 29); Lieberum et al., 2023 (paper 12); Wang et al., 2023 (name movers).

use super::retrieval::{Passage, RETRIEVAL, retrieved};
use super::roles::{Role, RoleReport, RoleScores, Tally};
use crate::engine::{Forward, Pass, Request};
use crate::hook::{Selection, Site};
use crate::mechanism::Stack;
use crate::model::Config;
use crate::train::circuits::score::judge;
use crate::train::circuits::{Circuits, Draw, Given, Item, Split, Task};
use crate::{Error, Result};

/// Items of each task.
const ITEMS: usize = 8;
/// Tokens of a passage.
const LENGTH: usize = 64;
const OPTIONS: usize = 4;

/// Looks at the letter of the right option.
pub const LETTER: Role = Role {
    role: "letter",
    help: "How much more the end of a question looks at the right option’s letter than at the others.",
    threshold: 0.2,
};

/// Looks at the word of the right option.
pub const CONTENT: Role = Role {
    role: "content",
    help: "How much more the end of a question looks at the right option’s word than at the others.",
    threshold: 0.2,
};

/// Looks at the name that is to be said.
pub const NAME_MOVER: Role = Role {
    role: "name_mover",
    help: "How much more the end of “… gave the ball to” looks at who receives than at who gives.",
    threshold: 0.3,
};

/// An item with its beginning token, and what came of it.
struct Asked {
    tokens: Vec<u32>,
    lead: usize,
    pass: Pass,
}

impl Asked {
    /// Weight of one head's row on a place of the item.
    fn weight(&self, layer: usize, head: usize, query: usize, place: usize) -> Result<f32> {
        let count = self.tokens.len();
        let pattern = self.pass.captures.get(layer, Site::Pattern)?;
        let at = (head * count + self.lead + query) * count + self.lead + place;
        // What is not a number was masked.
        Ok(pattern.data.get(at).copied().filter(|weight| weight.is_finite()).unwrap_or(0.0))
    }
}

async fn ask(forward: &mut impl Forward, config: &Config, stack: &Stack, seed: u64, item: &Item) -> Result<Asked> {
    let bos: Vec<u32> = config.bos.into_iter().collect();
    let tokens: Vec<u32> = bos.iter().chain(&item.tokens).copied().collect();
    let request = Request { tokens: &tokens, stack, seed, wants: Selection::sites(&[Site::Pattern]) };
    let pass = forward.forward(request).await?;
    Ok(Asked { lead: bos.len(), pass, tokens })
}

/// Adds the roles to a report. `stop` is asked before every item.
///
/// # Errors
/// [`Error::Superseded`] when stopped; those of the passes.
pub async fn add(
    report: &mut RoleReport,
    forward: &mut impl Forward,
    config: &Config,
    stack: &Stack,
    circuits: &Circuits,
    stop: impl AsyncFn() -> bool,
) -> Result<()> {
    let (seed, longest) = (report.seed, config.context.saturating_sub(1));
    let given = Given { words: &circuits.words, longest };
    let mut draw = Draw::new(seed);
    let mut tally = Tally::new(seed);
    let heads = || (0..config.layers).flat_map(|layer| (0..config.heads).map(move |head| (layer, head)));
    for item in 0..ITEMS {
        let passage = circuits.needle.item(&given, &mut draw, LENGTH.min(longest), item as f32 / (ITEMS - 1) as f32);
        let question = circuits.choice.item(&given, &mut draw, item % 2 == 0, OPTIONS, item / 2 % OPTIONS);
        let sentence = circuits.item(Task::IndirectObject, Split::HeldOut, longest, seed.wrapping_add(item as u64));
        if stop().await {
            return Err(Error::Superseded);
        }
        let asked = ask(forward, config, stack, seed, &passage).await?;
        if let Some(scores) = needle(&passage, &asked, config)? {
            tally.note(RETRIEVAL, &scores);
        }
        let asked = ask(forward, config, stack, seed, &question).await?;
        let query = question.questions.last().map_or(0, |question| question.at.saturating_sub(1));
        for (role, part) in [(LETTER, "letter"), (CONTENT, "option")] {
            let places = question.places(part);
            let right = item / 2 % OPTIONS;
            let excess = |head: (usize, usize), right: usize| -> Result<f32> {
                let on = |place: &usize| asked.weight(head.0, head.1, query, *place);
                let all = places.iter().map(on).collect::<Result<Vec<f32>>>()?;
                let own = all.get(right).copied().unwrap_or(0.0);
                Ok(own - (all.iter().sum::<f32>() - own) / (OPTIONS - 1) as f32)
            };
            let scores = heads().map(|head| Ok((excess(head, right)?, excess(head, (right + 1) % OPTIONS)?)));
            tally.note(role, &scores.collect::<Result<Vec<_>>>()?);
        }
        let asked = ask(forward, config, stack, seed, &sentence).await?;
        let query = sentence.questions.last().map_or(0, |question| question.at.saturating_sub(1));
        let place = |part: &str| sentence.places(part).first().copied().unwrap_or(0);
        let (to, from) = (place("indirect_object"), place("subject"));
        let more = |head: (usize, usize), to: usize| -> Result<f32> {
            Ok(asked.weight(head.0, head.1, query, to)? - asked.weight(head.0, head.1, query, from)?)
        };
        let scores = heads().map(|head| Ok((more(head, to)?, more(head, to.saturating_sub(1))?)));
        tally.note(NAME_MOVER, &scores.collect::<Result<Vec<_>>>()?);
    }
    // A tally has the roles of probes too, which nothing was counted for.
    let own = |role: &RoleScores| report.roles.iter().all(|known| known.role != role.role);
    let found: Vec<RoleScores> = tally.report().roles.into_iter().filter(own).collect();
    report.roles.extend(found);
    Ok(())
}

/// Retrieval scores of a passage that was answered right, each with that of a needle elsewhere.
fn needle(item: &Item, asked: &Asked, config: &Config) -> Result<Option<Vec<(f32, f32)>>> {
    let queries: Vec<usize> = item.questions.iter().map(|question| asked.lead + question.at - 1).collect();
    let right = item
        .questions
        .iter()
        .zip(&queries)
        .all(|(question, query)| judge(question, asked.pass.logits.at(*query)).right);
    let ends = (item.places("needle").first().copied(), item.places("needle_end").last().copied());
    let (true, (Some(first), Some(last))) = (right, ends) else { return Ok(None) };
    let span = asked.lead + first..asked.lead + last + 1;
    // As long a stretch somewhere else before the question.
    let length = span.len();
    let away =
        if span.start > 2 * length { asked.lead..asked.lead + length } else { span.end + 4..span.end + 4 + length };
    let mut scores = Vec::new();
    for layer in 0..config.layers {
        let pattern = asked.pass.captures.get(layer, Site::Pattern)?;
        let of = |needle| retrieved(&Passage { tokens: &asked.tokens, needle, queries: &queries }, pattern);
        scores.extend(of(span.clone()).into_iter().zip(of(away.clone())));
    }
    Ok(Some(scores))
}
