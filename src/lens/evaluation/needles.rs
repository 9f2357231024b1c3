//! Needles by length and depth: a sentence that is asked for at the end of a passage (papers 29 and 66).

use super::{Answers, Headline, Metric, Reader, Suite};
use crate::Result;
use crate::tokenizer::Tokenizer;
use crate::train::circuits::needle::Needle;
use crate::train::circuits::score::judge;
use crate::train::circuits::{Draw, Given, Words};

/// Depths in percent.
const DEPTHS: [usize; 5] = [0, 25, 50, 75, 100];

/// The grid.
pub struct Needles {
    words: Words,
    needle: Needle,
    lengths: Vec<usize>,
}

const METRICS: &[Metric] = &[
    Metric { id: "found", name: "Found", unit: "" },
    Metric { id: "nats", name: "−log P of the answer", unit: "nats" },
];

impl Needles {
    /// A grid of lengths that fit this context.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] when too few words are one token each.
    pub fn new(tokenizer: &Tokenizer, context: usize) -> Result<Self> {
        Ok(Self {
            words: Words::some(tokenizer)?,
            needle: Needle::new(tokenizer)?,
            lengths: super::helmet::lengths(context),
        })
    }
}

impl Suite for Needles {
    fn down(&self) -> (&'static str, Vec<String>) {
        ("depth", DEPTHS.iter().map(|depth| format!("{depth} %")).collect())
    }

    fn across(&self) -> (&'static str, Vec<String>) {
        ("tokens", self.lengths.iter().map(ToString::to_string).collect())
    }

    fn metrics(&self) -> &'static [Metric] {
        METRICS
    }

    /// Both words of the code must be the likeliest, each after what is right before it.
    fn ask(&self, reader: &mut Reader<'_>, row: usize, column: usize, item: usize) -> Result<Vec<f32>> {
        let length = self.lengths[column];
        let mut draw = Draw::new((row as u64) << 48 | (column as u64) << 32 | item as u64);
        let given = Given { words: &self.words, longest: length };
        let item = self.needle.item(&given, &mut draw, length, DEPTHS[row] as f32 / 100.0);
        let (mut found, mut nats) = (true, 0.0);
        for question in &item.questions {
            let logits = reader.next(&reader.begun(&item.tokens[..question.at]))?;
            let answered = judge(question, &logits);
            (found, nats) = (found && answered.right, nats + answered.nats);
        }
        Ok(vec![f32::from(u8::from(found)), nats as f32])
    }

    fn headlines(&self) -> Vec<Headline> {
        let columns = self.lengths.len();
        let cells = |keep: &dyn Fn(usize) -> bool| (0..columns * DEPTHS.len()).filter(|cell| keep(*cell)).collect();
        let by_length = self.lengths.iter().enumerate().map(|(column, length)| Headline {
            name: format!("{length} tokens"),
            metric: 0,
            cells: cells(&|cell| cell % columns == column),
        });
        by_length.chain([Headline { name: "needles found".into(), metric: 0, cells: cells(&|_| true) }]).collect()
    }

    fn verdict(&self, of: &Answers) -> Option<String> {
        let columns = self.lengths.len();
        let asked = |cell: &usize| of.mean(*cell, 0).is_finite();
        let cells: Vec<usize> = (0..columns * DEPTHS.len()).filter(asked).collect();
        let worst = cells.iter().copied().min_by(|a, b| of.mean(*a, 0).total_cmp(&of.mean(*b, 0)))?;
        let all = Headline { name: String::new(), metric: 0, cells };
        let (mean, items) = of.headline(&all);
        let [low, high] = super::interval(mean, items);
        Some(format!(
            "{:.0}% of {items} needles are found [{:.0}, {:.0}]. The worst cell, {} tokens at a depth of {} %, finds {:.0}%.",
            100.0 * mean,
            100.0 * low,
            100.0 * high,
            self.lengths[worst % columns],
            DEPTHS[worst / columns],
            100.0 * of.mean(worst, 0)
        ))
    }
}
