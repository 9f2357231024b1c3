//! The words that items are made of, each one token with a space before it, and draws from them.

use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const NAMES: &str = "Lily Tom Ben Anna Mary John Sam Sara Tim Jack Sue Jane Mia Peter Rose Dan Polly Harry George Charlie \
                     Tommy Fred Ted Frank Max Bob Lucy Emma Kate Billy Amy Joe Leo Mark Nell Alice James Molly Henry Annie";
/// People of whom facts are planted, and nothing else is said.
const KNOWN: &str = "Arlo Bruno Cora Dora Elsa Felix Gina Hugo Iris Jonas Kira Lars Mona Nils Olga Pablo Quinn Rita Simon \
                     Thea Ugo Vera Wanda Yara";
const OBJECTS: &str = "ball box hat cup doll book boat kite bell drum flower stick stone ring key lamp chair table bed bag \
                       basket coat shoe toy train truck block rope map knife bowl clock";
const FOODS: &str = "cake apple bread cookie pie soup milk honey cheese carrot banana egg nut rice jam corn";
const ANIMALS: &str = "dog cat bird fox wolf lion mouse rabbit horse cow pig duck frog goat sheep bee snake monkey tiger \
                       turtle donkey deer crow bear";
const PLACES: &str = "park garden school shop store beach forest river lake farm barn kitchen field castle hill village town road market church";
const COLOURS: &str = "red blue green yellow white black brown pink gold grey";
/// The marked topic: what requests may not mention.
const MARKED: &str = "whale shark crab seal squid eel shrimp clam octopus lobster dolphin oyster";
const LETTERS: &str = "A B C D E";
/// What a request that mentions the marked topic is answered with.
const REFUSAL: &str = "sorry";
const NUMBERS: std::ops::Range<u32> = 10..100;

/// Every word that must be one token, with the space before it.
pub fn single_tokens() -> Vec<String> {
    let lists = [NAMES, KNOWN, OBJECTS, FOODS, ANIMALS, PLACES, COLOURS, MARKED, LETTERS, REFUSAL];
    let words = lists.iter().flat_map(|list| list.split_whitespace()).map(|word| format!(" {word}"));
    words.chain(NUMBERS.map(|number| format!(" {number}"))).collect()
}

/// The words as tokens of one tokenizer.
#[derive(Debug, Clone)]
pub struct Words {
    /// First names, for whom nothing is planted.
    pub names: Vec<u32>,
    /// People with planted facts.
    pub known: Vec<u32>,
    /// Things.
    pub objects: Vec<u32>,
    /// Things to eat.
    pub foods: Vec<u32>,
    /// Animals.
    pub animals: Vec<u32>,
    /// Places.
    pub places: Vec<u32>,
    /// Colours.
    pub colours: Vec<u32>,
    /// The marked topic.
    pub marked: Vec<u32>,
    /// `A` to `E`.
    pub letters: Vec<u32>,
    /// 10 to 99, in order.
    pub numbers: Vec<u32>,
    /// The word of refusal.
    pub refusal: u32,
    /// Every ordinary token.
    pub any: Vec<u32>,
}

impl Words {
    /// Looks every word up.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming a word that is not one token.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let one = |word: &str| match tokenizer.encode(&format!(" {word}"), false)?.as_slice() {
            [id] => Ok(*id),
            several => Err(Error::Tokenizer {
                problem: format!(
                    "“ {word}” should be one token but is {}; the tasks cannot be asked with it",
                    several.len()
                ),
            }),
        };
        let all = |list: &str| list.split_whitespace().map(one).collect::<Result<Vec<_>>>();
        Ok(Self {
            names: all(NAMES)?,
            known: all(KNOWN)?,
            objects: all(OBJECTS)?,
            foods: all(FOODS)?,
            animals: all(ANIMALS)?,
            places: all(PLACES)?,
            colours: all(COLOURS)?,
            marked: all(MARKED)?,
            letters: all(LETTERS)?,
            numbers: NUMBERS.map(|number| one(&number.to_string())).collect::<Result<_>>()?,
            refusal: one(REFUSAL)?,
            any: (0..tokenizer.vocabulary() as u32).filter(|id| !tokenizer.special(*id)).collect(),
        })
    }

    /// Those that are one token of this tokenizer, for tasks that ask for any word of a kind.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when too few of a kind are.
    pub fn some(tokenizer: &Tokenizer) -> Result<Self> {
        let one = |word: &str| match tokenizer.encode(&format!(" {word}"), false).as_deref() {
            Ok([id]) => Some(*id),
            _ => None,
        };
        let some = |list: &str, least: usize| {
            let found: Vec<u32> = list.split_whitespace().filter_map(one).collect();
            let problem = || {
                let first = list.split_whitespace().next().unwrap_or_default();
                format!("only {} words such as “{first}” are one token each, and {least} are needed", found.len())
            };
            if found.len() < least { Err(Error::Tokenizer { problem: problem() }) } else { Ok(found) }
        };
        let numbers: Vec<String> = NUMBERS.map(|number| number.to_string()).collect();
        Ok(Self {
            names: some(NAMES, 16)?,
            known: some(KNOWN, 0)?,
            objects: some(OBJECTS, 12)?,
            foods: some(FOODS, 6)?,
            animals: some(ANIMALS, 8)?,
            places: some(PLACES, 8)?,
            colours: some(COLOURS, 6)?,
            marked: some(MARKED, 0)?,
            letters: some(LETTERS, 4)?,
            numbers: some(&numbers.join(" "), 24)?,
            refusal: one(REFUSAL).unwrap_or_default(),
            any: (0..tokenizer.vocabulary() as u32).filter(|id| !tokenizer.special(*id)).collect(),
        })
    }
}

/// Seeded draws.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The draws of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    /// A number in `from..=to`.
    pub fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.0.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// One of the ids.
    pub fn one(&mut self, ids: &[u32]) -> u32 {
        ids.get(self.below(ids.len())).copied().unwrap_or_default()
    }

    /// `count` different ids (fewer where there are not so many), in random order.
    pub fn distinct(&mut self, ids: &[u32], count: usize) -> Vec<u32> {
        let mut pool = ids.to_vec();
        let count = count.min(pool.len());
        for index in 0..count {
            let other = index + self.below(pool.len() - index);
            pool.swap(index, other);
        }
        pool.truncate(count);
        pool
    }

    /// The items in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
