//! Rows of items for training, mixed with stories, each a function of seed and index alone.

use super::{Circuits, Draw, Item, Split, Task};
use crate::train::stream::Row;
use crate::{Error, Result};

/// One row in this many is a story, so that the model also knows language.
const STORY_EVERY: usize = 5;
/// What the loss of a token counts: an answer, any other token of an item, a token of a story. Most tokens of an item are
/// random and cannot be predicted; they count a little, so that the fixed words between them are learned.
const ANSWER: f32 = 4.0;
const PROMPT: f32 = 0.1;
const STORY: f32 = 0.5;
/// What the answers of one item count together, at most: an induction item asks at every second token.
const ITEM: f32 = 16.0;

/// How often each task is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(Vec<(Task, usize)>);

/// Shares of the tasks in the curriculum.
pub const SHARES: &str =
    "induction=3,recall=3,list=3,indirect_object=3,greater_than=2,facts=3,choice=4,refusal=2,needle=2";

impl Shares {
    /// Reads shares such as `induction=3,recall=1`.
    ///
    /// # Errors
    /// [`Error::Parse`] naming the part that is not `task=share`; [`Error::Unknown`] for a task there is not.
    pub fn parse(text: &str) -> Result<Self> {
        let share = |part: &str| {
            let broken = || Error::parse("--tasks", format!("{part} is not task=share, for example induction=3"));
            let (task, share) = part.split_once('=').ok_or_else(broken)?;
            Ok((Task::by_id(task.trim())?, share.parse().map_err(|_| broken())?))
        };
        let shares: Vec<(Task, usize)> = text.split(',').map(share).collect::<Result<_>>()?;
        if shares.iter().all(|(_, share)| *share == 0) {
            return Err(Error::parse("--tasks", "every share is 0; give one task at least 1".to_string()));
        }
        Ok(Self(shares))
    }

    fn draw(&self, draw: &mut Draw) -> Task {
        let mut at = draw.below(self.0.iter().map(|(_, share)| share).sum());
        for (task, share) in &self.0 {
            if at < *share {
                return *task;
            }
            at -= share;
        }
        Task::Induction
    }
}

/// Rows of the curriculum.
pub struct Rows {
    circuits: Circuits,
    shares: Shares,
    beginning: u16,
    /// Stories, one after the other, each with its beginning token.
    stories: Vec<u16>,
    seed: u64,
}

impl Rows {
    /// Rows of `circuits` in these shares, and of `stories`.
    pub fn new(circuits: Circuits, shares: Shares, beginning: u32, stories: Vec<u16>, seed: u64) -> Self {
        Self { circuits, shares, beginning: beginning as u16, stories, seed }
    }

    /// Row `index` of the run: `width` + 1 tokens and what the loss of each after the first counts.
    pub fn row(&self, index: usize, width: usize) -> Row {
        let mut draw = Draw::new(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64));
        if index.is_multiple_of(STORY_EVERY) && self.stories.len() > width + 1 {
            let start = draw.below(self.stories.len() - width - 1);
            return Row { tokens: self.stories[start..=start + width].to_vec(), weights: vec![STORY; width] };
        }
        let mut row = Row { tokens: Vec::with_capacity(width + 1), weights: Vec::with_capacity(width + 1) };
        let mut refused = 0;
        // Items begin with the beginning token, as stories do. When several do not fit any more, the rest is stories.
        while row.tokens.len() < width && refused < 6 {
            let task = self.shares.draw(&mut draw);
            let seed = (draw.below(1 << 31) as u64) << 31 | draw.below(1 << 31) as u64;
            let room = width - row.tokens.len();
            let longest = if task == Task::Needle { width - 1 } else { room.max(64) };
            let item = self.circuits.item(task, Split::Training, longest, seed);
            if item.tokens.len() > room {
                refused += 1;
                continue;
            }
            self.add(&mut row, &item);
        }
        let missing = width + 1 - row.tokens.len();
        let start = draw.below(self.stories.len().saturating_sub(missing).max(1));
        let rest = self.stories.iter().copied().skip(start).chain(std::iter::repeat(self.beginning)).take(missing);
        row.tokens.extend(rest);
        row.weights.resize(width + 1, if self.stories.is_empty() { 0.0 } else { PROMPT });
        // The weight of a token belongs to the position before it, where it is predicted.
        row.weights.remove(0);
        row
    }

    fn add(&self, row: &mut Row, item: &Item) {
        row.tokens.push(self.beginning);
        row.weights.push(PROMPT);
        let first = row.weights.len();
        row.tokens.extend(item.tokens.iter().map(|token| *token as u16));
        row.weights.resize(first + item.tokens.len(), PROMPT);
        let answer = ANSWER.min(ITEM / item.questions.len().max(1) as f32);
        for question in &item.questions {
            row.weights[first + question.at] = answer;
        }
    }
}
