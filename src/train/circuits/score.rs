//! How well items are answered.

use super::{Circuits, Item, Question, Split, Task, ablate};
use crate::lens::causal::Removal;
use crate::mechanism::Stack;
use crate::model::CpuModel;
pub use crate::outcome::Scores;
use crate::{Error, Result};

/// How one question was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// Whether the likeliest token is a right answer.
    pub right: bool,
    /// Whether the likeliest right answer is likelier than every distractor.
    pub preferred: bool,
    /// −ln P(any right answer), in nats.
    pub nats: f64,
}

/// Judges one row of logits `[V]` at a question.
///
/// ```
/// use attnscope::train::circuits::{Question, score::judge};
/// let question = Question { at: 1, answers: vec![2], distractors: vec![0] };
/// let answered = judge(&question, &[0.0, 2.0, 1.0]);
/// assert!(!answered.right && answered.preferred);
/// ```
pub fn judge(question: &Question, logits: &[f32]) -> Answered {
    let logit = |id: &u32| logits.get(*id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let best = |ids: &[u32]| ids.iter().map(logit).fold(f32::NEG_INFINITY, f32::max);
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mass = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value - most).exp()).sum::<f64>();
    let (all, right) = (mass(&mut logits.iter().copied()), mass(&mut question.answers.iter().map(logit)));
    let answer = best(&question.answers);
    Answered {
        right: answer >= most,
        preferred: answer > best(&question.distractors),
        nats: -(right / all).max(f64::MIN_POSITIVE).ln(),
    }
}

/// Means over answers.
///
/// # Errors
/// [`Error::Internal`] when nothing was asked.
pub fn of(task: Task, items: usize, answers: &[Answered]) -> Result<Scores> {
    if answers.is_empty() {
        return Err(Error::Internal(format!("no question of {} was asked", task.id())));
    }
    let mean = |value: &dyn Fn(&Answered) -> f64| answers.iter().map(value).sum::<f64>() / answers.len() as f64;
    let accuracy = mean(&|answered| f64::from(u8::from(answered.right)));
    Ok(Scores {
        task: task.id().into(),
        items,
        questions: answers.len(),
        accuracy,
        interval: wilson(accuracy, items),
        preference: mean(&|answered| f64::from(u8::from(answered.preferred))),
        nats: mean(&|answered| answered.nats),
    })
}

/// Held-out items of one task, the same for the same arguments.
pub fn held_out(circuits: &Circuits, task: Task, count: usize, longest: usize) -> Vec<Item> {
    (0..count as u64).map(|seed| circuits.item(task, Split::HeldOut, longest, seed)).collect()
}

/// Scores of every task on held-out items.
///
/// # Errors
/// Those of [`ablate::without`].
pub fn all(model: &CpuModel, circuits: &Circuits, items: usize) -> Result<Vec<Scores>> {
    let stack = Stack::new("score", &[])?;
    let longest = model.config().context - 1;
    let one = |task: Task| {
        let items = held_out(circuits, task, items, longest);
        ablate::without(model, &stack, task, &items, &[Vec::new()], Removal::Zero)
    };
    Ok(Task::ALL.into_iter().map(one).collect::<Result<Vec<_>>>()?.concat())
}

/// Wilson's 95 % interval of a share over this many trials.
///
/// ```
/// let [low, high] = attnscope::train::circuits::score::wilson(0.5, 100);
/// assert!((low - 0.4038).abs() < 1e-4 && (high - 0.5962).abs() < 1e-4);
/// ```
pub fn wilson(share: f64, trials: usize) -> [f64; 2] {
    let (n, z) = (trials.max(1) as f64, 1.959_964);
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

/// Scores in one line.
pub fn words(scores: &[Scores]) -> String {
    let one = |score: &Scores| format!("{} {:.2}/{:.2}", score.task, score.accuracy, score.preference);
    scores.iter().map(one).collect::<Vec<_>>().join(", ")
}
