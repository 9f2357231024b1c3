//! Sinks over a set of sequences: how often, how strong, where and in which heads, with intervals; and what the same sequences
//! cost when something is done to the first token or to a position’s score.
//!
//! ```text
//! Sink_k(ε) = share of (sequence, layer, head) whose importance of position k passes ε          paper 52, T = 64
//! Δ loss    = mean over sequences of loss[changed] − loss[plain], on the same predicted tokens
//! ```
//!
//! Intervals are 1.96 standard errors over sequences. Sequences of random tokens stand beside the texts as a control.
//!
//! Source: Gu et al., 2025 (paper 52); calibration is paper 37's, the slot paper 52's K-bias; what is done to the first
//! token and to its score is ours.

pub mod causes;

use super::exhibit::{Drawn, Exhibit};
use super::finding::Fact;
use super::patterns::Patterns;
use super::sinks::{Sinks, null};
use super::study::{Shown, exhibit, grid, sheet, spread, told};
use crate::Result;
use crate::engine::log_probabilities;
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::mechanism::{MASKED, Stack};
use crate::model::CpuModel;
use causes::Causes;

/// Thresholds of the table; the chosen one stands among them.
const EPSILONS: [f32; 7] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7];
/// The paper’s.
const EPSILON: f32 = 0.3;
/// Positions in the tables.
const POSITIONS: usize = 8;

/// Patterns of one sequence, measured.
pub fn measure(
    model: &CpuModel,
    stack: &Stack,
    seed: u64,
    tokens: &[u32],
    tap: Option<&mut KeyBias>,
) -> Result<(Sinks, Array)> {
    let (layers, heads) = (model.config().layers, model.config().heads);
    let mut both = Both { bias: tap, captures: ActivationCache::new(Selection::sites(&[Site::Pattern])) };
    let logits = model.run(&[tokens], stack, seed, &mut both)?;
    let mut data = Vec::new();
    for layer in 0..layers {
        data.extend_from_slice(&both.captures.get(layer, Site::Pattern)?.data);
    }
    let patterns = Array::new([layers, heads, tokens.len(), tokens.len()], data)?;
    Ok((Sinks::new(&Patterns::new(&patterns, None, None)?), logits))
}

/// Adds to the score of one key in every head, for all queries behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyBias {
    /// Where the key stands.
    pub position: usize,
    /// What is added; an infinity forbids it.
    pub bias: f32,
}

struct Both<'a> {
    bias: Option<&'a mut KeyBias>,
    captures: ActivationCache,
}

impl Tap for Both<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        self.captures.wants(at) || (self.bias.is_some() && at.site == Site::Scores)
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        if self.captures.wants(at) {
            self.captures.visit(at, value);
        }
        let KeyBias { position, bias } = **self.bias.as_ref().filter(|_| at.site == Site::Scores)?;
        let &[.., queries, keys] = value.shape.as_slice() else { return None };
        let mut edited = value.clone();
        for (row, scores) in edited.data.chunks_mut(keys).enumerate() {
            // A key keeps itself: the first query sees nothing else.
            if let Some(score) = scores.get_mut(position).filter(|score| row % queries > position && **score > MASKED) {
                *score = if bias.is_finite() { *score + bias } else { MASKED };
            }
        }
        Some(edited)
    }
}

/// Sinks of many sequences.
pub struct SinkSet {
    stack: Stack,
    seed: u64,
    /// Texts, then as many sequences of random tokens.
    sequences: Vec<Vec<u32>>,
    texts: usize,
    position: usize,
    /// From which importance on a head counts; [`SinkSet::show`] reads it.
    pub epsilon: f32,
    /// Layers and heads.
    size: (usize, usize),
    found: Vec<Sinks>,
    /// Of the texts alone.
    causes: Vec<Causes>,
}

impl SinkSet {
    /// Over `texts` and, as a control, `random` sequences, all of one length; heads count from [`EPSILON`] on.
    pub fn new(
        stack: Stack,
        seed: u64,
        [texts, random]: [Vec<Vec<u32>>; 2],
        position: usize,
        size: (usize, usize),
    ) -> Self {
        let count = texts.len();
        // In turn, so that the control grows with the texts.
        let (mut texts, mut random) = (texts.into_iter(), random.into_iter());
        let mut sequences = Vec::new();
        loop {
            let two = [texts.next(), random.next()];
            if two[0].is_none() {
                break;
            }
            sequences.extend(two.into_iter().flatten());
        }
        let (found, causes) = (Vec::new(), Vec::new());
        Self { stack, seed, sequences, texts: count, position, epsilon: EPSILON, size, found, causes }
    }

    /// Sequences in all.
    pub fn all(&self) -> usize {
        self.sequences.len()
    }

    /// Measures one.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (sequence, seed) = (&self.sequences[at], self.seed);
        self.found.push(measure(model, &self.stack, seed, sequence, None)?.0);
        // Texts stand at even places, controls between them.
        if at.is_multiple_of(2) && self.position < sequence.len() {
            self.causes.push(Causes::new(model, &self.stack, seed, sequence, self.position)?);
        }
        Ok(())
    }

    fn of(&self, random: bool) -> Vec<&Sinks> {
        self.found.iter().skip(usize::from(random)).step_by(2).collect()
    }

    /// The finding in words, and its drawings.
    pub fn show(&self) -> Shown {
        let (texts, random) = (self.of(false), self.of(true));
        let Some(tokens) = texts.first().map(|sinks| sinks.tokens) else { return (None, Vec::new()) };
        let rate = |of: &[&Sinks], position, epsilon| {
            spread(&of.iter().map(|sinks| sinks.rate(position, epsilon)).collect::<Vec<_>>())
        };
        let (own, half) = rate(&texts, self.position, self.epsilon);
        let (control, _) = rate(&random, self.position, self.epsilon);
        let strongest = (0..tokens.min(POSITIONS))
            .max_by(|a, b| rate(&texts, *a, self.epsilon).0.total_cmp(&rate(&texts, *b, self.epsilon).0));
        let beyond = strongest
            .filter(|other| *other != self.position && rate(&texts, *other, self.epsilon).0 > own)
            .map_or(String::new(), |other| {
                format!(" Position {other} has more: {:.1}%.", 100.0 * rate(&texts, other, self.epsilon).0)
            });
        let verdict = told([own, half, control], || {
            format!(
                "Over {} of {} sequences of {tokens} tokens {:.1}% of heads have a sink at position {} (ε = {}), ± {:.1}; on random \
             tokens {:.1}%.{beyond}",
                texts.len(),
                self.texts,
                100.0 * own,
                self.position,
                self.epsilon,
                100.0 * half,
                100.0 * control
            )
        });
        let mut rates = self.by_position(&texts, &random);
        rates.grid.facts.push(Fact::new("rate", "sink rate", own, "of heads"));
        let mut exhibits = vec![rates, self.by_layer(&texts, &random, tokens), self.by_head(&texts)];
        exhibits.extend(causes::show(&self.causes, self.position, self.size));
        (verdict, exhibits)
    }

    fn by_position(&self, texts: &[&Sinks], random: &[&Sinks]) -> Exhibit {
        let positions = texts.first().map_or(0, |sinks| sinks.tokens.min(POSITIONS));
        let mut epsilons = EPSILONS.to_vec();
        if !epsilons.contains(&self.epsilon) {
            epsilons.push(self.epsilon);
            epsilons.sort_by(f32::total_cmp);
        }
        let values = |of: &[&Sinks], half: bool| -> Vec<f32> {
            let cell = |epsilon: f32, position| {
                let (mean, error) = spread(&of.iter().map(|sinks| sinks.rate(position, epsilon)).collect::<Vec<_>>());
                if half { error } else { mean }
            };
            epsilons
                .iter()
                .flat_map(|epsilon| (0..positions).map(|position| cell(*epsilon, position)).collect::<Vec<_>>())
                .collect()
        };
        let sheets = vec![
            sheet("rate", "sink rate", "", values(texts, false)),
            sheet("half", "± 95 %", "", values(texts, true)),
            sheet("random", "sink rate, random tokens", "", values(random, false)),
        ];
        let down = epsilons.iter().map(|epsilon| format!("ε {epsilon}")).collect();
        let grid = grid(("ε", down), ("position", (0..positions).map(|at| at.to_string()).collect()), sheets);
        let caption = "Share of heads whose importance of a position passes ε, mean over sequences.";
        exhibit("rates", "Sink rate by ε and position", caption, Drawn::Cells, grid)
    }

    fn by_layer(&self, texts: &[&Sinks], random: &[&Sinks], tokens: usize) -> Exhibit {
        let layers = self.size.0;
        let mean = |of: &[&Sinks], layer: usize, half: bool| {
            let (mean, error) =
                spread(&of.iter().map(|sinks| sinks.by_layer(self.position)[layer]).collect::<Vec<_>>());
            if half { error } else { mean }
        };
        let row = |of: &[&Sinks]| (0..layers).map(|layer| mean(of, layer, false)).collect::<Vec<_>>();
        let level = vec![null(tokens, self.position).unwrap_or(f32::NAN); layers];
        let values = [row(texts), row(random), level].concat();
        let down = ["texts", "random tokens", "null"].map(String::from).to_vec();
        let across = (0..layers).map(|layer| format!("L{layer}")).collect();
        let mut grid = grid(("set", down), ("layer", across), vec![sheet("mass", "mass on the position", "", values)]);
        let widest = (0..layers).map(|layer| mean(texts, layer, true)).fold(0.0, f32::max);
        if widest.is_finite() {
            grid.notes.push(format!("Intervals of the texts are at most ± {widest:.3} wide (95 %)."));
        }
        let caption =
            format!("Mean weight of later queries on position {}, against an even causal row.", self.position);
        exhibit("layers", "Mass by layer", &caption, Drawn::Lines, grid)
    }

    fn by_head(&self, texts: &[&Sinks]) -> Exhibit {
        let (layers, heads) = self.size;
        let each = |head: usize| texts.iter().map(|sinks| sinks.by_head(self.position)[head]).collect::<Vec<f32>>();
        let all = |read: &dyn Fn(Vec<f32>) -> f32| (0..layers * heads).map(|head| read(each(head))).collect();
        let above = |values: Vec<f32>| {
            values.iter().filter(|alpha| **alpha > self.epsilon).count() as f32 / values.len() as f32
        };
        let sheets = vec![
            sheet("importance", "importance", "", all(&|values| spread(&values).0)),
            sheet("half", "± 95 %", "", all(&|values| spread(&values).1)),
            sheet("above", "share of sequences above ε", "", all(&above)),
        ];
        let axis = |letter: &str, count: usize| (0..count).map(|at| format!("{letter}{at}")).collect();
        let grid = grid(("layer", axis("L", layers)), ("head", axis("H", heads)), sheets);
        let caption = format!("Importance of position {} (paper 52’s α), mean over sequences.", self.position);
        exhibit("heads", "By head", &caption, Drawn::Cells, grid)
    }
}

/// Something done to the first token or to a score.
pub struct Act {
    /// Its name.
    pub name: String,
    /// What the model is made of.
    pub stack: Stack,
    /// What stands before each text.
    pub before: Vec<u32>,
    /// What is added to the score of the examined position.
    pub bias: Option<f32>,
}

/// What one act did on one text.
struct Acted {
    loss: f32,
    /// Importance of the position in each head.
    importance: Vec<f32>,
    /// Its mass, mean over heads.
    mass: f32,
}

/// What each act costs.
pub struct SinkActs {
    seed: u64,
    texts: Vec<Vec<u32>>,
    /// The first one is the pane as it is.
    acts: Vec<Act>,
    position: usize,
    /// From which importance on a head counts; [`SinkActs::show`] reads it.
    pub epsilon: f32,
    /// Act by act, text by text.
    found: Vec<Vec<Acted>>,
}

impl SinkActs {
    /// `texts` are without a beginning token; heads count from [`EPSILON`] on.
    pub fn new(seed: u64, texts: Vec<Vec<u32>>, acts: Vec<Act>, position: usize) -> Self {
        let found = acts.iter().map(|_| Vec::new()).collect();
        Self { seed, texts, acts, position, epsilon: EPSILON, found }
    }

    /// Passes in all.
    pub fn all(&self) -> usize {
        self.texts.len() * self.acts.len()
    }

    /// One act on one text; acts take turns.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let act = &self.acts[at % self.acts.len()];
        let text = &self.texts[at / self.acts.len()];
        let tokens = [&act.before[..], text].concat();
        let mut bias = act.bias.map(|bias| KeyBias { position: self.position, bias });
        let (sinks, logits) = measure(model, &act.stack, self.seed, &tokens, bias.as_mut())?;
        let loss = loss(&logits, &tokens, act.before.len());
        let (importance, mass) = (sinks.by_head(self.position), sinks.mean(self.position).unwrap_or(f32::NAN));
        self.found[at % self.acts.len()].push(Acted { loss, importance, mass });
        Ok(())
    }

    /// The finding in words, and the table.
    pub fn show(&self) -> Shown {
        let plain = &self.found[0];
        let delta = |act: usize| {
            let pairs = self.found[act].iter().zip(plain).map(|(here, plain)| here.loss - plain.loss);
            spread(&pairs.collect::<Vec<_>>())
        };
        let rate = |one: &Acted| {
            one.importance.iter().filter(|alpha| **alpha > self.epsilon).count() as f32 / one.importance.len() as f32
        };
        let of = |act: usize, read: &dyn Fn(&Acted) -> f32| super::study::mean(self.found[act].iter().map(read));
        if plain.is_empty() {
            return (None, Vec::new());
        }
        let all = |read: &dyn Fn(usize) -> f32| (0..self.acts.len()).map(read).collect::<Vec<f32>>();
        let columns = [
            all(&|act| delta(act).0),
            all(&|act| delta(act).1),
            all(&|act| of(act, &|one| one.loss)),
            all(&|act| of(act, &rate)),
            all(&|act| of(act, &|one| one.mass)),
        ];
        let values = (0..self.acts.len()).flat_map(|act| columns.iter().map(move |column| column[act])).collect();
        let mass = format!("mass on position {}", self.position);
        let names = ["Δ loss", "± 95 %", "loss", "sink rate", &mass];
        let names = names.map(String::from).to_vec();
        let down = self.acts.iter().map(|act| act.name.clone()).collect();
        let grid = grid(
            ("done", down),
            ("number", names),
            vec![sheet("value", "value", "nats per token, or a share", values)],
        );
        let whole = of(0, &|one| one.loss);
        let worst = (1..self.acts.len())
            .filter(|act| delta(*act).0.is_finite())
            .max_by(|a, b| delta(*a).0.total_cmp(&delta(*b).0));
        let best = (1..self.acts.len())
            .filter(|act| delta(*act).0.is_finite())
            .min_by(|a, b| delta(*a).0.total_cmp(&delta(*b).0));
        let say = |act: usize| {
            let (change, half) = delta(act);
            // One text has no interval.
            let half = if half.is_finite() { format!(" ± {half:.3}") } else { String::new() };
            format!("“{}” changes the loss by {change:+.3}{half}", self.acts[act].name)
        };
        let verdict = match (worst, best) {
            (Some(worst), Some(best)) if worst != best && (plain.len() > 1 || self.texts.len() == 1) => {
                told([whole], || {
                    let texts = if plain.len() == 1 { "Here".into() } else { format!("Over {} texts", plain.len()) };
                    format!("{texts} {} nats per token, {}; plain it is {:.3}.", say(worst), say(best), whole)
                })
            }
            _ => None,
        };
        let caption = format!(
            "The same tokens are predicted by all: those of the text from the second on. Position {} is whatever stands there then.",
            self.position
        );
        let name = format!("What is done to the first token, or to the score of position {}", self.position);
        (verdict, vec![exhibit("acts", &name, &caption, Drawn::Cells, grid)])
    }
}

/// Mean −log P of the tokens behind `before` and one more, so that the first predicted one has a token before it in any case.
fn loss(logits: &Array, tokens: &[u32], before: usize) -> f32 {
    let mut logits = logits.clone();
    logits.shape.remove(0);
    let all = log_probabilities(&logits);
    let first = before.max(1) + usize::from(before > 0);
    let one = |at: usize| -all.at(at - 1).get(tokens[at] as usize).copied().unwrap_or(f32::NAN);
    super::study::mean((first..tokens.len()).map(one))
}
