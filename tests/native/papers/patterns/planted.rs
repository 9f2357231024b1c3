//! Paper 37, check (e): a sink that is planted in the head by which a trained model recalls.

use super::super::synthetic::Numbers;
use attnscope::engine::{Choice, Engine};
use attnscope::experiment::Chip;
use attnscope::hook::{Array, HookPoint, Site, Tap};
use attnscope::mechanism::Stack;
use attnscope::train::circuits::score::{held_out, judge};
use attnscope::train::circuits::{Circuits, Item, Task};
use pollster::block_on;

const ITEMS: usize = 48;
/// Weight that the sink takes of the row that is asked.
const SINK: f32 = 0.6;
/// Pairs of an item at least, so that there is something to confuse.
const PAIRS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Head {
    layer: usize,
    head: usize,
}

/// Adds to the scores of one column of one head, and records the weights of its layer.
struct Planted {
    at: Head,
    column: usize,
    more: f32,
    pattern: Option<Array>,
}

impl Tap for Planted {
    fn wants(&self, at: HookPoint) -> bool {
        at.layer == self.at.layer && (at.site == Site::Pattern || (at.site == Site::Scores && self.more != 0.0))
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        if at.site == Site::Pattern {
            self.pattern = Some(value.clone());
            return None;
        }
        let n = value.shape[3];
        let mut planted = value.clone();
        for row in planted.data[self.at.head * n * n..][..n * n].chunks_mut(n).skip(self.column) {
            row[self.column] += self.more;
        }
        Some(planted)
    }
}

/// One item with its beginning token, and where things stand in it.
struct Asked<'a> {
    item: &'a Item,
    tokens: Vec<u32>,
    /// The row that predicts the answer, the value it must find, and a delimiter behind another pair.
    row: usize,
    value: usize,
    delimiter: usize,
}

impl<'a> Asked<'a> {
    /// None where pairs have no delimiter, or are too few.
    fn new(item: &'a Item, bos: u32) -> Option<Self> {
        let values = item.places("value");
        let question = item.questions.first()?;
        if item.form == "bare" || values.len() < PAIRS {
            return None;
        }
        let value = *values.iter().find(|at| item.tokens[**at] == question.answers[0])?;
        let other = *values.iter().find(|at| **at != value)?;
        let tokens: Vec<u32> = std::iter::once(bos).chain(item.tokens.iter().copied()).collect();
        Some(Self { item, tokens, row: question.at, value: value + 1, delimiter: other + 2 })
    }
}

struct Bench<'a> {
    engine: &'a Engine,
    asked: Vec<Asked<'a>>,
}

/// What a condition does: share of right answers, and the mean weight of the head on the right value.
struct Came {
    right: f32,
    mass: f32,
}

impl Bench<'_> {
    /// The weights `[H,n,n]` of a layer, and the logits of the row that is asked.
    fn pass(&self, asked: &Asked<'_>, stack: &Stack, at: Head, more: f32) -> (Array, Vec<f32>) {
        let mut tap = Planted { at, column: asked.delimiter, more, pattern: None };
        let logits = self.engine.processor().run(&[&asked.tokens], stack, 0, &mut tap).unwrap();
        let vocabulary = self.engine.config().vocabulary;
        (tap.pattern.unwrap(), logits.data[asked.row * vocabulary..][..vocabulary].to_vec())
    }

    /// The head that gives most weight to the right value at the row that is asked.
    fn retrieval_head(&self) -> Head {
        let config = self.engine.config();
        let plain = Stack::new("a", &[]).unwrap();
        let mut best = (0.0, Head { layer: 0, head: 0 });
        for layer in 0..config.layers {
            let mut mass = vec![0.0; config.heads];
            for asked in &self.asked {
                let (pattern, _) = self.pass(asked, &plain, Head { layer, head: 0 }, 0.0);
                let n = asked.tokens.len();
                for (head, mass) in mass.iter_mut().enumerate() {
                    *mass += pattern.data[(head * n + asked.row) * n + asked.value];
                }
            }
            for (head, mass) in mass.into_iter().enumerate() {
                if mass > best.0 {
                    best = (mass, Head { layer, head });
                }
            }
        }
        best.1
    }

    /// Every item with the sink planted so that it takes [`SINK`] of the row, or not planted.
    fn run(&self, at: Head, planted: bool, calibrated: Option<Head>) -> Came {
        let chips: Vec<Chip> = calibrated.iter().map(|at| act(*at)).collect();
        let (plain, stack) = (Stack::new("a", &[]).unwrap(), Stack::new("a", &chips).unwrap());
        let (mut right, mut mass) = (0, 0.0);
        for asked in &self.asked {
            let n = asked.tokens.len();
            let row = (at.head * n + asked.row) * n;
            let before = self.pass(asked, &plain, at, 0.0).0.data[row + asked.delimiter].max(1e-20);
            let more = if planted { (SINK * (1.0 - before) / ((1.0 - SINK) * before)).ln() } else { 0.0 };
            let (pattern, logits) = self.pass(asked, &stack, at, more);
            mass += pattern.data[row + asked.value];
            right += usize::from(judge(&asked.item.questions[0], &logits).right);
        }
        let count = self.asked.len() as f32;
        Came { right: right as f32 / count, mass: mass / count }
    }
}

/// Calibration of one head, of sinks that no sink but a planted one is.
fn act(at: Head) -> Chip {
    let chip = Chip::new("attention_calibration").with("heads", "one").with("threshold", "absolute").with("tau", 0.3);
    chip.with("layer", at.layer as f64).with("head", at.head as f64)
}

/// Shares of right answers and weights on the right value: as it is, with the sink, with the sink and calibration of its
/// head, with the sink and calibration of another head of the layer.
pub fn planted_sink() -> Numbers {
    let engine = block_on(Engine::open("circuits-2m", Choice::Cpu)).unwrap();
    let circuits = Circuits::new(engine.tokenizer()).unwrap();
    let items = held_out(&circuits, Task::Recall, 4 * ITEMS, engine.config().context - 1);
    let bos = engine.config().bos.unwrap();
    let asked: Vec<_> = items.iter().filter_map(|item| Asked::new(item, bos)).take(ITEMS).collect();
    assert_eq!(asked.len(), ITEMS);
    let bench = Bench { engine: &engine, asked };
    let at = bench.retrieval_head();
    let other = Head { head: (at.head + 1) % engine.config().heads, ..at };
    let came = [(false, None), (true, None), (true, Some(at)), (true, Some(other))]
        .map(|(planted, calibrated)| bench.run(at, planted, calibrated));
    Numbers::from([
        ("layer and head".into(), vec![at.layer as f32, at.head as f32]),
        ("right".into(), came.iter().map(|came| came.right).collect()),
        ("weight on the right value".into(), came.iter().map(|came| came.mass).collect()),
    ])
}
