//! Facts whose values can be said in several words: what surface forms compete for, known exactly (paper 65).
//!
//! Sixty entities stand in four relations to one of eight values each; every value has three words that mean the same. A
//! document is what one speaker says, and a speaker always uses the same word for a value, so that alone every word of a value
//! is as likely, and behind what the speaker said before only one is. One entity in five is never spoken of.
//!
//! ```text
//! document   entity relation word .   entity relation word .   …
//! none       entity relation                                          scored: the words of the choices
//! string     word word word word . entity relation                    scored: the words of the choices
//! enum       A word B word C word D word . entity relation            scored: the letters
//! ```
//!
//! Answered examples stand before a question in its own form. The language and its tokens are ours; there is no text in it.

use super::circuits::Draw;
use super::exam::Format;

/// Entities, and how many of them are spoken of.
pub const ENTITIES: usize = 60;
const SPOKEN: usize = 48;
/// Relations, values of each, and words of each value.
pub const RELATIONS: usize = 4;
const VALUES: usize = 8;
/// See [`RELATIONS`].
pub const WORDS: usize = 3;
/// Choices of a question.
const CHOICES: usize = 4;
/// Facts of a document.
pub const FACTS: usize = 8;

/// The token that begins a document, and the one that ends a fact or a list.
pub const BEGINNING: u32 = 0;
const STOP: u32 = 1;
const LETTERS: u32 = 2;
const ENTITY: u32 = LETTERS + CHOICES as u32;
const RELATION: u32 = ENTITY + ENTITIES as u32;
const WORD: u32 = RELATION + RELATIONS as u32;
/// Tokens in all.
pub const VOCABULARY: usize = WORD as usize + RELATIONS * VALUES * WORDS;

/// The words of one value.
fn words(relation: usize, value: usize) -> [u32; WORDS] {
    let first = WORD + ((relation * VALUES + value) * WORDS) as u32;
    [0, 1, 2].map(|word| first + word)
}

/// What is asked, and everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// The question behind its examples, after the token that begins a text.
    pub prompt: Vec<u32>,
    /// The end of a question alone, behind its choices where the form lists any; and quite alone.
    pub unasked: Vec<u32>,
    /// See [`Sheet::unasked`].
    pub cue: Vec<u32>,
    /// What may be answered.
    pub choices: [u32; CHOICES],
    /// The other words of each choice; none where letters are answered.
    pub synonyms: Vec<Vec<u32>>,
    /// Index of the right one.
    pub right: usize,
}

/// A world: which value every entity has in every relation.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    values: Vec<[usize; RELATIONS]>,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        Self { values: (0..ENTITIES).map(|_| [(); RELATIONS].map(|()| draw.below(VALUES))).collect() }
    }

    /// One speaker: facts about entities that are spoken of, three in four of one relation, after [`BEGINNING`].
    pub fn document(&self, draw: &mut Draw) -> Vec<u32> {
        let habit: Vec<usize> = (0..RELATIONS * VALUES).map(|_| draw.below(WORDS)).collect();
        let often = draw.below(RELATIONS);
        let mut tokens = vec![BEGINNING];
        for _ in 0..FACTS {
            let (entity, relation) =
                (draw.below(SPOKEN), if draw.chance(0.75) { often } else { draw.below(RELATIONS) });
            let value = self.values[entity][relation];
            tokens.extend([ENTITY + entity as u32, RELATION + relation as u32]);
            tokens.extend([words(relation, value)[habit[relation * VALUES + value]], STOP]);
        }
        tokens
    }

    /// A lettered question with its answer and nothing before it: what a model is tuned on that should follow instructions.
    pub fn exercise(&self, draw: &mut Draw) -> Vec<u32> {
        let sheet = self.question(Format::Letters, draw.below(RELATIONS), draw);
        [&[BEGINNING], &sheet.prompt[..], &[sheet.choices[sheet.right], STOP]].concat()
    }

    /// Question `index` behind `shots` answered ones of its relation; the same question in every form.
    pub fn sheet(&self, format: Format, shots: usize, index: usize) -> Sheet {
        let relation = index % RELATIONS;
        let mut sheet = self.question(format, relation, &mut Draw::new(index as u64));
        let mut prompt = vec![BEGINNING];
        for shot in 0..shots {
            let example = self.question(format, relation, &mut Draw::new((shot as u64 + 1) << 32 | index as u64));
            prompt.extend(&example.prompt);
            prompt.extend([example.choices[example.right], STOP]);
        }
        prompt.extend(&sheet.prompt);
        sheet.prompt = prompt;
        sheet
    }

    fn question(&self, format: Format, relation: usize, draw: &mut Draw) -> Sheet {
        let entity = draw.below(SPOKEN);
        let value = self.values[entity][relation];
        let others: Vec<u32> = (0..VALUES as u32).filter(|other| *other != value as u32).collect();
        let mut values: Vec<usize> = draw.distinct(&others, CHOICES - 1).into_iter().map(|x| x as usize).collect();
        let right = draw.below(CHOICES);
        values.insert(right, value);
        let shown: Vec<u32> = values.iter().map(|value| words(relation, *value)[draw.below(WORDS)]).collect();
        let letters = [0, 1, 2, 3].map(|at| LETTERS + at);
        let mut list = Vec::new();
        for (letter, word) in letters.iter().zip(&shown) {
            match format {
                Format::None => {}
                Format::Words => list.push(*word),
                Format::Letters => list.extend([*letter, *word]),
            }
        }
        if format != Format::None {
            list.push(STOP);
        }
        let cue = [RELATION + relation as u32];
        let synonyms = values.iter().zip(&shown).map(|(value, shown)| match format {
            Format::Letters => Vec::new(),
            _ => words(relation, *value).into_iter().filter(|word| word != shown).collect(),
        });
        Sheet {
            prompt: [&list[..], &[ENTITY + entity as u32], &cue].concat(),
            unasked: [&[BEGINNING], &list[..], &cue].concat(),
            cue: [&[BEGINNING], &cue[..]].concat(),
            choices: if format == Format::Letters { letters } else { [0, 1, 2, 3].map(|at| shown[at]) },
            synonyms: synonyms.collect(),
            right,
        }
    }
}
