//! The generators.

use super::Task;
use super::cases::Names;
use super::passage::{Case, Gold, Prompt, filler, say};
use crate::tokenizer::Tokenizer;
use crate::train::circuits::{Draw, Template, Words};
use crate::{Error, Result};

/// Answered examples before the question where they fit, and other documents in each.
const SHOTS: usize = 2;
const AROUND: usize = 1;
/// Draws until the examples do not give the answer away.
const RETRIES: u64 = 64;
/// Documents of a case at most.
const MOST: usize = 160;
/// Places where what is asked for may stand.
const DEPTHS: usize = 6;

/// Generators of every task for one tokenizer.
pub struct Helmet {
    pub(super) words: Words,
    texts: Vec<String>,
    pub(super) secret: Pair,
    pub(super) long_secret: Pair,
    pub(super) has: Pair,
    pub(super) likes: Pair,
    pub(super) lives: Pair,
    pub(super) friend: Pair,
    pub(super) friend_likes: Pair,
    pub(super) cited: [Template; 2],
    pub(super) offer: Pair,
    pub(super) label: Pair,
    pub(super) went: Pair,
    pub(super) gave: Pair,
    pub(super) found: Template,
    pub(super) noted: Template,
    pub(super) notes: Template,
    filler: Vec<Template>,
    pub(super) stop: Vec<u32>,
}

/// What has been drawn for one prompt.
struct Drawn {
    draw: Draw,
    examples: Vec<u32>,
    case: Case,
    gold: Gold,
}

impl Drawn {
    /// Tokens without which it cannot be asked.
    fn needed(&self) -> usize {
        let asked: usize = self.case.asked.iter().map(Vec::len).sum();
        self.examples.len() + self.case.question.len() + asked
    }

    /// Whether the examples hold what is asked for. Rankings and notes are lists whose parts may stand anywhere.
    fn gives_away(&self) -> bool {
        let answer = &self.case.answer;
        let holds = |part: &[u32]| self.examples.windows(part.len().max(1)).any(|window| window == part);
        match self.gold {
            Gold::Inside(_) | Gold::First(_) => holds(answer),
            Gold::Values(_) => answer.iter().any(|id| holds(&[*id])),
            Gold::Cited { .. } => holds(&answer[..1]),
            Gold::Ranked(_) | Gold::Lines { .. } => false,
        }
    }
}

/// A sentence that says something, and the beginning of one that asks for it.
pub(super) struct Pair {
    pub says: Template,
    pub asks: Template,
}

impl Helmet {
    /// # Errors
    /// [`Error::Tokenizer`] when too few of the words are one token each.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let words = Words::some(tokenizer)?;
        let template = |text| Template::new(text, tokenizer);
        let pair = |says, asks| Ok::<_, Error>(Pair { says: template(says)?, asks: template(asks)? });
        Ok(Self {
            words,
            texts: (0..tokenizer.vocabulary() as u32).map(|id| tokenizer.token_text(id)).collect(),
            secret: pair(" The secret of {key} is {a} {b}.", " So the secret of {key} is")?,
            long_secret: pair(
                " The secret of {key} {k} {l} {m} is {a} {b}.",
                " So the secret of {key} {k} {l} {m} is",
            )?,
            has: pair(" {key} has the {a}.", " So {key} has the")?,
            likes: pair(" {key} likes {a}.", " So {key} likes")?,
            lives: pair(" {key} lives in the {a}.", " So {key} lives in the")?,
            friend: pair(" The friend of {key} is {a}.", " So the friend of {key} is")?,
            friend_likes: pair(" {key} likes {a}.", " So the friend of {key} likes")?,
            cited: [template(" {n}: {key} has the {a}.")?, template(" {n}: The {a} is with {key}.")?],
            offer: pair(" {n}: {colour} {animal} in the {place}.", " Find {colour} {animal} in the {place}:")?,
            label: pair(" {key}: {a}.", " {key}:")?,
            went: pair(" {key} went to the {a}.", " Now {key} is in the")?,
            gave: pair(" {b} gave the {key} to {a}.", " Now the {key} is with")?,
            found: template(" {key} found the {a}.")?,
            noted: template(" Note: {key} found the {a}.")?,
            notes: template(" All notes:")?,
            filler: [
                " It was a sunny day.",
                " They went for a walk.",
                " Everyone was happy.",
                " Then it was time to go home.",
            ]
            .into_iter()
            .map(template)
            .collect::<Result<_>>()?,
            stop: tokenizer.encode(".", false)?,
        })
    }

    /// Tokens in words.
    pub fn text(&self, tokens: &[u32]) -> String {
        tokens.iter().filter_map(|id| self.texts.get(*id as usize)).cloned().collect()
    }

    /// Examples and the case itself, whatever the length.
    fn drawn(&self, task: Task, seed: u64, shots: usize) -> Drawn {
        let mut draw = Draw::new(seed);
        let mut names = Names(draw.distinct(&self.words.names, self.words.names.len()));
        let mut examples = Vec::new();
        // Labels are examples themselves.
        let shots = if matches!(task, Task::Labels | Task::MoreLabels) { 0 } else { shots };
        for _ in 0..shots {
            let (case, _) = self.case(task, &mut draw, &mut names, AROUND);
            examples.extend(case.body(usize::MAX, 0.5));
            examples.extend(&case.question);
            examples.extend(&case.answer);
            if !case.answer.ends_with(&self.stop) {
                examples.extend(&self.stop);
            }
        }
        let (case, gold) = self.case(task, &mut draw, &mut names, MOST);
        Drawn { draw, examples, case, gold }
    }

    /// The prompt of exactly `length` tokens that has this index.
    ///
    /// # Errors
    /// [`Error::Param`] when it does not fit.
    pub fn prompt(&self, task: Task, length: usize, index: usize) -> Result<Prompt> {
        let seed = hash(task, length, index);
        let mut needed = 0;
        // As many examples as there is room for.
        for shots in (0..=SHOTS).rev() {
            let mut drawn = self.drawn(task, seed, shots);
            // What is asked for must not stand in an example, which would give it away.
            for retry in 1..RETRIES {
                if !drawn.gives_away() {
                    break;
                }
                drawn = self.drawn(task, seed ^ (retry << 40), shots);
            }
            needed = drawn.needed();
            if needed <= length {
                return Ok(self.written(task, length, index, drawn));
            }
        }
        let expected = format!("be at least {needed} for the task “{}”", task.name());
        Err(Error::Param { who: "suite".into(), key: "length".into(), expected, came: length.to_string() })
    }

    /// The prompt of what has been drawn, which fits.
    fn written(&self, task: Task, length: usize, index: usize, drawn: Drawn) -> Prompt {
        let Drawn { mut draw, examples, case, gold } = drawn;
        let room = length - examples.len() - case.question.len();
        let depth = (index % DEPTHS) as f32 / (DEPTHS - 1) as f32;
        let body = case.body(room, depth);
        let mut sentence = |draw: &mut Draw| say(&self.filler[draw.below(self.filler.len())], &[]);
        let filler = filler(&mut sentence, &mut draw, room - body.len());
        // A needle stands in the filler rather than before it.
        let (before, after) = match task {
            Task::Needle | Task::Keys => filler.split_at((filler.len() as f32 * depth) as usize),
            _ => (filler.as_slice(), &[][..]),
        };
        let tokens = [&examples, before, &body, after, &case.question].concat();
        let most = match task {
            Task::ManyValues => 16,
            Task::Rank => 12,
            Task::Notes => case.answer.len() + 6,
            _ => case.answer.len() + 2,
        };
        Prompt { tokens, answer: case.answer, gold, most }
    }
}

/// A seed of one prompt (FNV-1a).
fn hash(task: Task, length: usize, index: usize) -> u64 {
    let bytes = task.name().bytes().map(u64::from);
    let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(0x100_0000_01b3);
    bytes.chain([length as u64, index as u64]).fold(0xcbf2_9ce4_8422_2325, mix)
}
