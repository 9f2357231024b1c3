//! Retrieval scores of every head over needle passages.

use super::Item;
use super::score::judge;
use crate::Result;
use crate::hook::{ActivationCache, Selection, Site};
use crate::lens::retrieval::{Passage, retrieved};
use crate::mechanism::Stack;
use crate::model::CpuModel;

/// What heads did over some passages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retrieval {
    /// Mean score of each head over the passages answered right, [L·H] layer by layer; zeros where none was.
    pub scores: Vec<f32>,
    /// Share of those passages on which a head scored above 0.1, [L·H].
    pub frequency: Vec<f32>,
    /// Passages answered right, and all.
    pub right: (usize, usize),
}

/// Runs passages whose needle is marked `needle` to `needle_end`.
///
/// # Errors
/// Those of [`CpuModel::run`].
pub fn retrieval(model: &CpuModel, stack: &Stack, passages: &[Item]) -> Result<Retrieval> {
    let config = model.config();
    let bos: Vec<u32> = config.bos.into_iter().collect();
    let heads = config.layers * config.heads;
    let mut found = Retrieval { scores: vec![0.0; heads], frequency: vec![0.0; heads], right: (0, passages.len()) };
    for item in passages {
        let tokens: Vec<u32> = bos.iter().chain(&item.tokens).copied().collect();
        let mut captures = ActivationCache::new(Selection::sites(&[Site::Pattern]));
        let logits = model.run(&[&tokens], stack, 0, &mut captures)?;
        let row = |query: usize| {
            let width = config.vocabulary;
            logits.data.get(query * width..(query + 1) * width).unwrap_or(&[])
        };
        let queries: Vec<usize> = item.questions.iter().map(|asked| bos.len() + asked.at - 1).collect();
        let right = item.questions.iter().zip(&queries).all(|(asked, query)| judge(asked, row(*query)).right);
        let (Some(first), Some(last)) =
            (item.places("needle").first().copied(), item.places("needle_end").last().copied())
        else {
            continue;
        };
        if !right {
            continue;
        }
        found.right.0 += 1;
        let passage = Passage { tokens: &tokens, needle: bos.len() + first..bos.len() + last + 1, queries: &queries };
        for layer in 0..config.layers {
            let scores = retrieved(&passage, captures.get(layer, Site::Pattern)?);
            for (head, score) in scores.into_iter().enumerate() {
                let index = layer * config.heads + head;
                found.scores[index] += score;
                found.frequency[index] += f32::from(u8::from(score > 0.1));
            }
        }
    }
    let count = found.right.0.max(1) as f32;
    found.scores.iter_mut().chain(&mut found.frequency).for_each(|value| *value /= count);
    Ok(found)
}
