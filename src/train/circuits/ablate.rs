//! How well a task is answered without some heads.

use super::score::{self, Answered, Scores, judge};
use super::{Item, Task};
use crate::Result;
use crate::experiment::Head;
use crate::lens::causal::{self, Removal};
use crate::mechanism::Stack;
use crate::model::CpuModel;

/// Scores of `items` of one task without each set of heads, in the order of the sets; an empty set is the whole model.
///
/// # Errors
/// Those of [`causal::without`]; [`crate::Error::Internal`] when nothing was asked.
pub fn without(
    model: &CpuModel,
    stack: &Stack,
    task: Task,
    items: &[Item],
    sets: &[Vec<Head>],
    how: Removal,
) -> Result<Vec<Scores>> {
    let bos: Vec<u32> = model.config().bos.into_iter().collect();
    let mut answers: Vec<Vec<Answered>> = vec![Vec::new(); sets.len()];
    for (seed, item) in items.iter().enumerate() {
        let last = item.questions.last().map_or(0, |question| question.at).min(item.tokens.len());
        let tokens: Vec<u32> = bos.iter().chain(&item.tokens[..last]).copied().collect();
        causal::without(model, stack, &tokens, sets, how, seed as u64, |set, logits| {
            // What stands at `at` is predicted by the token before it.
            let judged = item.questions.iter().map(|asked| judge(asked, logits.at(bos.len() + asked.at - 1)));
            if let Some(answers) = answers.get_mut(set) {
                answers.extend(judged);
            }
        })?;
    }
    answers.iter().map(|answers| score::of(task, items.len(), answers)).collect()
}
