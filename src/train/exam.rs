//! Multiple choice in three formats, with answered examples before it (paper 65).
//!
//! ```text
//! none     Which is an animal?↵Answer:                      scored: the options' words
//! string   Which is an animal?↵ dog↵ cake↵ …↵Answer:        scored: the options' words
//! enum     Which is an animal?↵ A: dog↵ B: cake↵ …↵Answer:  scored: the letters
//! ```
//!
//! Options are single tokens, all different, so that no choice is a prefix of another and their probabilities add up.

use super::circuits::{Draw, Item, Template, Words};
use crate::Result;
use crate::tokenizer::Tokenizer;

/// Options of a question.
const OPTIONS: usize = 4;

/// How choices are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    None,
    /// As text.
    Words,
    /// Under letters, which are then what is scored.
    Letters,
}

impl Format {
    /// All three.
    pub const ALL: [Format; 3] = [Format::None, Format::Words, Format::Letters];

    /// Its name in the paper.
    pub fn name(self) -> &'static str {
        match self {
            Format::None => "none",
            Format::Words => "string",
            Format::Letters => "enum",
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Examples, question, choices and the cue of an answer, without a beginning token.
    pub prompt: Vec<u32>,
    /// The cue alone, behind the choices of this question where the format shows any.
    pub unasked: Vec<u32>,
    /// The cue alone.
    pub cue: Vec<u32>,
    /// What may be answered, one token each.
    pub choices: Vec<u32>,
    /// Index of the right one.
    pub right: usize,
    /// Of each choice that is a word: every other word of its kind that is not a choice.
    pub kin: Vec<Vec<u32>>,
}

/// Generators for one tokenizer.
pub struct Exam {
    words: Words,
    kinds: Vec<Vec<u32>>,
    which: Vec<u32>,
    line: Vec<u32>,
    option: Template,
    cue: Vec<u32>,
}

impl Exam {
    /// # Errors
    /// [`crate::Error::Tokenizer`] when too few of the words are one token each.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let encode = |text: &str| tokenizer.encode(text, false);
        Ok(Self {
            words: Words::some(tokenizer)?,
            kinds: [" an animal?", " food?", " a place?", " a colour?"]
                .map(encode)
                .into_iter()
                .collect::<Result<_>>()?,
            which: encode("Which is")?,
            line: encode("\n")?,
            option: Template::new("\n{letter}:{option}", tokenizer)?,
            cue: encode("\nAnswer:")?,
        })
    }

    /// Question `index` with `shots` answered ones before it; the same question in every format.
    pub fn sheet(&self, format: Format, shots: usize, index: usize) -> Sheet {
        let mut sheet = self.question(format, &mut Draw::new(index as u64));
        let mut examples = Vec::new();
        for shot in 0..shots {
            let example = self.question(format, &mut Draw::new((shot as u64 + 1) << 32 | index as u64));
            examples.extend(example.prompt);
            examples.push(example.choices[example.right]);
            examples.extend(&self.line);
        }
        sheet.prompt = [examples, sheet.prompt].concat();
        sheet
    }

    fn question(&self, format: Format, draw: &mut Draw) -> Sheet {
        let words = &self.words;
        let lists = [&words.animals, &words.foods, &words.places, &words.colours];
        let kind = draw.below(lists.len());
        let wanted = draw.one(lists[kind]);
        let wrong: Vec<u32> =
            (0..lists.len()).filter(|other| *other != kind).flat_map(|at| lists[at].clone()).collect();
        let right = draw.below(OPTIONS);
        let mut options = draw.distinct(&wrong, OPTIONS - 1);
        options.insert(right.min(options.len()), wanted);
        let mut shown = Item::default();
        for (letter, option) in words.letters.iter().zip(&options) {
            match format {
                Format::None => {}
                Format::Words => {
                    shown.push(&self.line);
                    shown.push(&[*option]);
                }
                Format::Letters => {
                    self.option.write(&mut shown, &[("letter", *letter), ("option", *option)], Vec::new())
                }
            }
        }
        let kin = |word: &u32| {
            let own = lists.iter().find(|list| list.contains(word)).map_or(&[][..], |list| list.as_slice());
            own.iter().copied().filter(|other| !options.contains(other)).collect::<Vec<u32>>()
        };
        // Letters have no other words for the same.
        let kin = options.iter().map(|word| if format == Format::Letters { Vec::new() } else { kin(word) }).collect();
        let choices = if format == Format::Letters { words.letters[..OPTIONS].to_vec() } else { options };
        Sheet {
            prompt: [&self.which, &self.kinds[kind], &shown.tokens, &self.cue].into_iter().flatten().copied().collect(),
            unasked: [&shown.tokens[..], &self.cue].concat(),
            cue: self.cue.clone(),
            choices,
            right,
            kin,
        }
    }
}
