//! Roles that show on tasks with exact answers: who finds the needle, the right letter, the right word, the name.
//!
//! ```text
//! retrieval    share of a needle's words looked at most just when they are said, over passages answered right
//! letter       A[T, right letter] − mean A[T, other letters]          at the last token T of a question
//! content      A[T, right word] − mean A[T, other options' words]
//! name_mover   A[T, the other name] − A[T, the name that is said again]
//! s_inhibition A[T, where that name is said again] − A[T, the other name]
//! list         A[T, what is left of a list] − mean A[T, what was named again]
//! safety       A[T, a word that is to be refused] − A[T, an allowed word in its place]
//! ```
//!
//! Controls read the same rows where the role would not look: the needle elsewhere in the passage, the next option in place of
//! the right one, the token before the name, two allowed words. Only a model whose tokenizer has the words of the tasks is
//! asked. What is lost without such heads, the studies of [`super::circuits`] measure.
//!
//! Sources: Wu et al., 2024 (paper 29); Lieberum et al., 2023 (paper 12); Wang et al., 2023 (name movers, S-inhibition); Merullo
//! et al., 2024 (paper 1: lists); Zhou et al., 2025 (paper 8).

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

/// Looks at the name that is said again, so that it is not said a third time.
pub const S_INHIBITION: Role = Role {
    role: "s_inhibition",
    help: "How much more the end of “… gave the ball to” looks at where the giver is named again than at who receives.",
    threshold: 0.3,
};

/// Looks at what is left of a list.
pub const LIST: Role = Role {
    role: "list",
    help: "How much more the end of a list looks at the thing that was not named again than at the others.",
    threshold: 0.3,
};

/// Looks at a word of the topic that is to be refused.
pub const SAFETY: Role = Role {
    role: "safety",
    help: "How much more a request’s end looks at a word that is to be refused than at an allowed word in its place.",
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

    /// How much more a row looks at one of several places than at the others.
    fn excess(&self, (layer, head): (usize, usize), query: usize, places: &[usize], right: usize) -> Result<f32> {
        let all = places.iter().map(|place| self.weight(layer, head, query, *place)).collect::<Result<Vec<f32>>>()?;
        let own = all.get(right).copied().unwrap_or(0.0);
        Ok(own - (all.iter().sum::<f32>() - own) / (all.len().max(2) - 1) as f32)
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
    // Later roles have draws of their own, so that items of the first ones stay.
    let (mut draw, mut later) = (Draw::new(seed), Draw::new(seed ^ 6));
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
        let query = last_query(&question);
        for (role, part) in [(LETTER, "letter"), (CONTENT, "option")] {
            let places = question.places(part);
            let right = item / 2 % OPTIONS;
            let excess = |head, right| asked.excess(head, query, &places, right);
            let scores = heads().map(|head| Ok((excess(head, right)?, excess(head, (right + 1) % OPTIONS)?)));
            tally.note(role, &scores.collect::<Result<Vec<_>>>()?);
        }
        let asked = ask(forward, config, stack, seed, &sentence).await?;
        let query = last_query(&sentence);
        let place = |part: &str| sentence.places(part).first().copied().unwrap_or(0);
        let (to, from) = (place("indirect_object"), place("subject"));
        let more = |head: (usize, usize), to: usize| -> Result<f32> {
            Ok(asked.weight(head.0, head.1, query, to)? - asked.weight(head.0, head.1, query, from)?)
        };
        let scores = heads().map(|head| Ok((more(head, to)?, more(head, to.saturating_sub(1))?)));
        tally.note(NAME_MOVER, &scores.collect::<Result<Vec<_>>>()?);
        let again = place("subject_again");
        let more = |head: (usize, usize), again: usize| -> Result<f32> {
            Ok(asked.weight(head.0, head.1, query, again)? - asked.weight(head.0, head.1, query, to)?)
        };
        let scores = heads().map(|head| Ok((more(head, again)?, more(head, again.saturating_sub(1))?)));
        tally.note(S_INHIBITION, &scores.collect::<Result<Vec<_>>>()?);
        let list = circuits.list.item(&given, &mut later, OPTIONS, item % OPTIONS);
        let (places, query) = (list.places("thing"), last_query(&list));
        let asked = ask(forward, config, stack, seed, &list).await?;
        let excess = |head, left| asked.excess(head, query, &places, left);
        let scores = heads().map(|head| Ok((excess(head, item % OPTIONS)?, excess(head, (item + 1) % OPTIONS)?)));
        tally.note(LIST, &scores.collect::<Result<Vec<_>>>()?);
        // A head that looks at whatever is asked for does so under any word: only more than that counts.
        let refused = circuits.refusal.item(&given, &mut later, true);
        let named = |token: &u32| circuits.words.marked.contains(token);
        let Some(place) = refused.prompt().iter().position(named) else { continue };
        let query = last_query(&refused);
        let mut passes = vec![ask(forward, config, stack, seed, &refused).await?];
        for _ in 0..2 {
            let mut allowed = refused.clone();
            allowed.tokens[place] = later.one(&circuits.words.objects);
            passes.push(ask(forward, config, stack, seed, &allowed).await?);
        }
        let more = |(layer, head): (usize, usize), one: usize, other: usize| -> Result<f32> {
            let weight = |pass: usize| passes[pass].weight(layer, head, query, place);
            Ok(weight(one)? - weight(other)?)
        };
        let scores = heads().map(|head| Ok((more(head, 0, 1)?, more(head, 1, 2)?)));
        tally.note(SAFETY, &scores.collect::<Result<Vec<_>>>()?);
    }
    // A tally has the roles of probes too, which nothing was counted for.
    let own = |role: &RoleScores| report.roles.iter().all(|known| known.role != role.role);
    let found: Vec<RoleScores> = tally.report().roles.into_iter().filter(own).collect();
    report.roles.extend(found);
    Ok(())
}

/// The query that predicts the last answer.
fn last_query(item: &Item) -> usize {
    item.questions.last().map_or(0, |question| question.at.saturating_sub(1))
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
