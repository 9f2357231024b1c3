//! Tasks with exact ground truth: what `circuits-2m` is taught, and what evaluations ask.
//!
//! Each task has a small circuit known from the literature as its solution, so a model that has learned it is a place to
//! try instruments on: whether what a score calls an induction head really is what does induction can be measured by taking
//! it out. An [`Item`] is a sequence of tokens, the places where the next token is determined, every right answer there,
//! tempting wrong ones, and the parts its tokens play.
//!
//! | Task | Solved by |
//! |---|---|
//! | [`induction`], [`recall`] | looking up what followed the same token before |
//! | [`list`], [`indirect_object`] | copying what has not been said again |
//! | [`greater_than`], [`facts`] | what the weights know |
//! | [`choice`] | finding the option, then its letter |
//! | [`refusal`] | noticing a topic |
//! | [`needle`] | copying from afar |
//!
//! Everything is drawn from a seed. Items whose prompts fall into one sixteenth of all prompts, by their hash, are
//! [`Split::HeldOut`] and never trained on.

pub mod ablate;
pub mod choice;
pub mod facts;
pub mod greater_than;
pub mod indirect_object;
pub mod induction;
mod item;
pub mod list;
pub mod needle;
pub mod recall;
pub mod refusal;
pub mod retrieve;
#[cfg(feature = "train")]
pub mod rows;
pub mod score;
mod words;

pub use item::{Given, Item, Mark, Question, Template};
pub use words::{Draw, Words, single_tokens};

use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// One kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// [`induction`]
    Induction,
    /// [`recall`]
    Recall,
    /// [`list`]
    List,
    /// [`indirect_object`]
    IndirectObject,
    /// [`greater_than`]
    GreaterThan,
    /// [`facts`]
    Facts,
    /// [`choice`]
    Choice,
    /// [`refusal`]
    Refusal,
    /// [`needle`]
    Needle,
}

impl Task {
    /// Every task.
    pub const ALL: [Task; 9] = [
        Task::Induction,
        Task::Recall,
        Task::List,
        Task::IndirectObject,
        Task::GreaterThan,
        Task::Facts,
        Task::Choice,
        Task::Refusal,
        Task::Needle,
    ];

    /// Its id in cards, on the command line and in JSON.
    pub fn id(self) -> &'static str {
        match self {
            Task::Induction => "induction",
            Task::Recall => "recall",
            Task::List => "list",
            Task::IndirectObject => "indirect_object",
            Task::GreaterThan => "greater_than",
            Task::Facts => "facts",
            Task::Choice => "choice",
            Task::Refusal => "refusal",
            Task::Needle => "needle",
        }
    }

    /// The task with this id.
    ///
    /// # Errors
    /// [`Error::Unknown`] naming the ids there are.
    pub fn by_id(id: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|task| task.id() == id).ok_or_else(|| Error::Unknown {
            what: "task",
            name: id.into(),
            remedy: format!("there are {}", Self::ALL.map(Task::id).join(", ")),
        })
    }
}

/// Which items may be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Those a model is trained on.
    Training,
    /// Those it has never seen.
    HeldOut,
}

impl Split {
    /// Where an item belongs, by the hash (FNV-1a) of the tokens before its last question.
    pub fn of(item: &Item) -> Self {
        let prompt = item.tokens.get(..item.questions.last().map_or(0, |question| question.at)).unwrap_or(&[]);
        let mix = |hash: u64, token: &u32| (hash ^ u64::from(*token)).wrapping_mul(0x100_0000_01b3);
        let hash = prompt.iter().fold(0xcbf2_9ce4_8422_2325, mix);
        // The high bits, since the low ones of this hash depend on the low bits of the tokens alone.
        if hash >> 60 == 0 { Split::HeldOut } else { Split::Training }
    }
}

/// How often the first option of an exam is right in training, where one in four would be fair.
pub const CHOICE_BIAS: f64 = 0.4;

/// Generators of every task for one tokenizer.
pub struct Circuits {
    /// The words.
    pub words: Words,
    /// Associative recall.
    pub recall: recall::Recall,
    /// List recall.
    pub list: list::List,
    /// Indirect objects.
    pub indirect_object: indirect_object::IndirectObject,
    /// Greater than.
    pub greater_than: greater_than::GreaterThan,
    /// Planted facts.
    pub facts: facts::Facts,
    /// Multiple choice.
    pub choice: choice::Choice,
    /// Refusal.
    pub refusal: refusal::Refusal,
    /// Needle passages.
    pub needle: needle::Needle,
}

impl Circuits {
    /// Generators that write tokens of this tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when one of the words is not a single token of it.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self {
            words: Words::new(tokenizer)?,
            recall: recall::Recall::new(tokenizer)?,
            list: list::List::new(tokenizer)?,
            indirect_object: indirect_object::IndirectObject::new(tokenizer)?,
            greater_than: greater_than::GreaterThan::new(tokenizer)?,
            facts: facts::Facts::new(tokenizer)?,
            choice: choice::Choice::new(tokenizer)?,
            refusal: refusal::Refusal::new(tokenizer)?,
            needle: needle::Needle::new(tokenizer)?,
        })
    }

    /// An item of at most `longest` tokens (at least 64), the same for the same arguments. Held-out exams are fair: every
    /// option is right equally often.
    pub fn item(&self, task: Task, split: Split, longest: usize, seed: u64) -> Item {
        let mut draw = Draw::new(seed);
        let given = Given { words: &self.words, longest };
        // One draw in sixteen is held out, so a hundred times as many are never in vain but for a chance of e⁻¹⁰⁰.
        let mut item = Item::default();
        for _ in 0..1600 {
            item = self.draw(task, split, &given, &mut draw);
            if item.tokens.len() <= longest && Split::of(&item) == split {
                break;
            }
        }
        item
    }

    fn draw(&self, task: Task, split: Split, given: &Given<'_>, draw: &mut Draw) -> Item {
        match task {
            Task::Induction => induction::draw(given, draw),
            Task::Recall => self.recall.draw(given, draw),
            Task::List => self.list.draw(given, draw),
            Task::IndirectObject => self.indirect_object.draw(given, draw),
            Task::GreaterThan => self.greater_than.draw(given, draw),
            Task::Facts => self.facts.draw(given, draw),
            Task::Choice => self.choice.draw(given, draw, if split == Split::Training { CHOICE_BIAS } else { 0.25 }),
            Task::Refusal => self.refusal.draw(given, draw),
            Task::Needle => self.needle.draw(given, draw),
        }
    }
}
