//! The paper's own edits, which know the right letter c, on questions that are wrongly answered with the first letter a.
//!
//! ```text
//! anchored    of the ten largest |m_i|·‖v_i‖ of a layer, the first with g_i = lens(m_i·v_i + b)[a] − lens(m_i·v_i + b)[c] > 4
//! edit 1      v_i ← v_i + sign(m_i)·(−α₁·U_a + α₂·U_c)     α₁ = 1, α₂ = 8; one row at a time, layer by layer
//! edit 2      where a head looks more at a's place than at c's, the two weights change places
//! ```
//!
//! U is the vocabulary head, centred over the vocabulary, the final norm's gain folded in; the lens is the paper's, with a norm
//! of each part's own. A random row of the same layer with the same update, and random heads, stand beside them. Since they
//! know the answer these edits find where the habit is written; they are no remedy.

use super::edits::{Act, Dimension, Edited};
use super::{LARGEST, pick};
use crate::Result;
use crate::experiment::Head;
use crate::hook::Site;
use crate::lens::circuits::{Counts, Given, Prompt, ROWS, in_percent, percent, strongest};
use crate::lens::exhibit::Drawn;
use crate::lens::finding::Fact;
use crate::lens::readout::{Frozen, dot};
use crate::lens::study::{Shown, exhibit, grid, sheet};
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use std::collections::BTreeMap;

/// Questions that are asked, and those answered wrong that are edited, at most.
const POOL: usize = 96;
const FAILING: usize = 24;
/// Steps in all.
pub(super) const ALL: usize = POOL + FAILING;
/// Taught are four options; five are harder.
const OPTIONS: [usize; 2] = [4, 5];
/// The demo's threshold and strengths.
const GAP: f32 = 4.0;
const ALPHAS: [f32; 2] = [1.0, 8.0];
/// Rows of the table.
const LISTED: usize = 8;

/// What was done to one row, summed over questions.
#[derive(Debug, Clone, Default)]
struct Change {
    times: usize,
    on: f32,
    gap: f32,
    /// ‖update‖ / ‖row‖.
    size: f32,
}

/// The questions, and what edits did to them.
pub(super) struct Labelled {
    pool: Vec<Prompt>,
    right: usize,
    asked: usize,
    failing: Vec<usize>,
    /// Questions right after each edit: each layer's anchored row, some heads, all heads, then the controls.
    fixed: Counts,
    changed: BTreeMap<(usize, usize), Change>,
    /// Questions on which a layer had an anchored row.
    present: Vec<usize>,
}

impl Labelled {
    /// Questions nobody was trained on, none of which the first letter answers.
    pub fn new(given: &Given) -> Self {
        let mut draw = Draw::new(given.seed ^ 3);
        let inner = crate::train::circuits::Given { words: &given.circuits.words, longest: given.config.context };
        let question = |at: usize| {
            let options = OPTIONS[at % OPTIONS.len()];
            let right = 1 + at / 2 % (options - 1);
            given.held_out(|| given.circuits.choice.item(&inner, &mut draw, (at / 8).is_multiple_of(2), options, right))
        };
        let pool = (0..POOL).map(question).collect();
        let present = vec![0; given.config.layers];
        let (fixed, changed) = (Counts::default(), BTreeMap::new());
        Self { pool, right: 0, asked: 0, failing: Vec::new(), fixed, changed, present }
    }

    /// Asks a question, or edits the model on one that was answered wrong; `most` are the heads that write the first letter.
    pub fn step(&mut self, given: &Given, model: &CpuModel, at: usize, most: &[Head]) -> Result<()> {
        match at.checked_sub(POOL) {
            None => self.ask(given, model, at),
            Some(at) => match self.failing.get(at).copied() {
                Some(question) => self.edit(given, model, question, most),
                None => Ok(()),
            },
        }
    }

    fn letters<'a>(given: &'a Given, prompt: &Prompt) -> &'a [u32] {
        &given.circuits.words.letters[..prompt.places("letter").len()]
    }

    fn ask(&mut self, given: &Given, model: &CpuModel, at: usize) -> Result<()> {
        let prompt = &self.pool[at];
        let base = given.base(model, prompt, &[])?;
        let letters = Self::letters(given, prompt);
        let chosen = pick(base.logits.at(prompt.query()), letters);
        self.asked += 1;
        self.right += usize::from(letters[chosen] == prompt.answer());
        if chosen == 0 {
            self.failing.push(at);
        }
        Ok(())
    }

    fn edit(&mut self, given: &Given, model: &CpuModel, question: usize, most: &[Head]) -> Result<()> {
        let prompt = &self.pool[question];
        let (config, query) = (&given.config, prompt.query());
        let ffn = config.ffn;
        let letters = Self::letters(given, prompt);
        let right = letters.iter().position(|letter| *letter == prompt.answer()).unwrap_or(0);
        let base = given.base(model, prompt, &[Site::MlpPost])?;
        let apart: Vec<f32> = {
            let (first, own) = (given.readout.direction(letters[0])?, given.readout.direction(letters[right])?);
            first.iter().zip(own).map(|(a, c)| a - c).collect()
        };
        let [first, own] = [folded(given, letters[0])?, folded(given, letters[right])?];
        let update: Vec<f32> = first.iter().zip(&own).map(|(a, c)| ALPHAS[1] * c - ALPHAS[0] * a).collect();
        let mut draw = Draw::new(given.seed ^ question as u64);
        let (mut acts, mut random) = (Vec::new(), Vec::new());
        for layer in 0..config.layers {
            let post = base.captures.get(layer, Site::MlpPost)?;
            let post = &post.data[query * ffn..(query + 1) * ffn];
            let outer = given.weights.get(&format!("blocks.{layer}.ffn.w_out"))?;
            let bias = given.weights.get(&format!("blocks.{layer}.ffn.b_out")).ok();
            let sizes: Vec<f32> = (0..ffn).map(|at| post[at].abs() * norm(outer.at(at))).collect();
            let gap = |at: usize| {
                let mut part: Vec<f32> = outer.at(at).iter().map(|x| x * post[at]).collect();
                if let Some(bias) = bias {
                    part.iter_mut().zip(&bias.data).for_each(|(x, b)| *x += b);
                }
                dot(&given.readout.through(&part, given.readout.freeze(&part)), &apart) as f32
            };
            let mut largest = strongest(&sizes).into_iter().take(LARGEST).map(|at| (at, gap(at)));
            let add = |at: usize| {
                let signed = update.iter().map(|x| x * post[at].signum()).collect();
                Act::Add(Dimension { layer, at }, signed)
            };
            match largest.find(|(_, gap)| *gap > GAP) {
                None => acts.push(Act::Nothing),
                Some((at, gap)) => {
                    self.present[layer] += 1;
                    let change = self.changed.entry((layer, at)).or_default();
                    change.times += 1;
                    change.on += post[at];
                    change.gap += gap;
                    change.size += norm(&update) / norm(outer.at(at)).max(f32::MIN_POSITIVE);
                    acts.push(add(at));
                }
            }
            random.push(add(draw.below(ffn)));
        }
        let places = prompt.places("letter");
        let places = [places[0], places[right]];
        acts.push(Act::Swap(most.to_vec(), places));
        acts.push(Act::Swap(given.heads(), places));
        random.push(Act::Swap(given.others(&mut draw, most.len(), most), places));
        acts.extend(random);
        for (chunk, some) in acts.chunks(ROWS).enumerate() {
            let mut tap = Edited { acts: some.iter().collect(), query, letters: Vec::new(), anchor: &[], post: None };
            let logits = given.again(model, &base).from(0, some.len(), Some(query), |_, _| {}, &mut tap)?;
            for row in 0..some.len() {
                self.fixed.note(chunk * ROWS + row, pick(logits.at(row), letters) == right);
            }
        }
        Ok(())
    }

    /// The finding in words, and drawn; nothing before all questions were asked.
    pub fn show(&self, given: &Given) -> Shown {
        if self.asked < POOL {
            return (None, Vec::new());
        }
        let before = self.right as f32 / self.asked as f32;
        let edited = self.fixed.0.first().map_or(0, |(_, all)| *all);
        if edited == 0 {
            let none = self.failing.is_empty().then(|| {
                format!(
                    "Of {POOL} questions that another letter answers none is answered with A ({} right), so there is nothing to edit.",
                    in_percent(before)
                )
            });
            return (none, Vec::new());
        }
        let layers = given.config.layers;
        let names = (0..layers).map(|layer| format!("row of L{layer}")).chain(["3 heads".into(), "all heads".into()]);
        let own: Vec<f32> = (0..layers + 2).map(|at| self.fixed.share(at)).collect();
        let control = |at: usize| match at {
            at if at <= layers => self.fixed.share(layers + 2 + at),
            _ => f32::NAN,
        };
        let random: Vec<f32> = (0..layers + 2).map(control).collect();
        let present: Vec<f32> =
            (0..layers).map(|layer| self.present[layer] as f32 / edited as f32).chain([f32::NAN, f32::NAN]).collect();
        let mut tried = grid(
            (
                "what is edited",
                ["where the habit is", "as much at random", "questions with such a row"].map(String::from).to_vec(),
            ),
            ("edit", names.collect()),
            vec![percent("fixed", "Wrong answers put right", [&own[..], &random, &present].concat())],
        );
        tried.facts.extend([
            Fact::new(
                "failing",
                &format!("Of {POOL} questions, answered with A instead"),
                self.failing.len() as f32,
                "",
            ),
            Fact::new("before", "Answered right before", 100.0 * before, "%"),
        ]);
        let after = |fixed: f32| before + fixed * self.failing.len() as f32 / self.asked as f32;
        let best = strongest(&own[..layers]).first().copied().unwrap_or(0);
        tried.facts.push(Fact::new("after", &format!("With the row of L{best} edited"), 100.0 * after(own[best]), "%"));
        tried.facts.push(Fact::new(
            "swapped",
            "With weights of all heads swapped",
            100.0 * after(own[layers + 1]),
            "%",
        ));
        let mut most: Vec<(&(usize, usize), &Change)> = self.changed.iter().collect();
        most.sort_by(|a, b| b.1.times.cmp(&a.1.times).then(a.0.cmp(b.0)));
        most.truncate(LISTED);
        let label = |(layer, at): &(usize, usize)| format!("L{layer} row {at}: {}", self.says(given, *layer, *at));
        let number = |change: &Change| {
            let times = change.times as f32;
            [times, change.on / times, change.gap / times, change.size / times]
        };
        let columns = ["questions", "how far it is on", "A less right, its own norm", "update ÷ row"];
        let rows = grid(
            ("row, and what it promotes", most.iter().map(|(at, _)| label(at)).collect()),
            ("number", columns.map(String::from).to_vec()),
            vec![sheet("value", "value", "", most.iter().flat_map(|(_, change)| number(change)).collect())],
        );
        let exhibits = vec![
            exhibit(
                "anchors.labelled",
                "Edits that know the right letter",
                "Questions answered with A though another letter is right: share put right when one anchored row of a layer turns \
                 from A to it (α₁ = 1, α₂ = 8), or heads swap their weights on both letters.",
                Drawn::Cells,
                tried,
            ),
            exhibit(
                "anchors.changed",
                "Which rows are edited, and how much",
                "Means over the questions on which a row was the first anchored one of its layer.",
                Drawn::Cells,
                rows,
            ),
        ];
        let verdict = format!(
            "{} of {POOL} questions with another right letter are answered with A. Turning one anchored row of L{best} to the right \
             letter puts {} of them right (a random row: {}), swapping weights in three heads {}, in all {}; right answers go \
             from {} to {}.",
            self.failing.len(),
            in_percent(own[best]),
            in_percent(random[best]),
            in_percent(own[layers]),
            in_percent(own[layers + 1]),
            in_percent(before),
            in_percent(after(own[best])),
        );
        (Some(verdict), exhibits)
    }

    /// The tokens that a row promotes most.
    fn says(&self, given: &Given, layer: usize, at: usize) -> String {
        let Ok(outer) = given.weights.get(&format!("blocks.{layer}.ffn.w_out")) else { return String::new() };
        let text = |id: &usize| given.text.get(*id).map_or("", |text| text.trim());
        strongest(&given.readout.logits(outer.at(at))).iter().take(4).map(text).collect::<Vec<_>>().join(" ")
    }
}

fn norm(vector: &[f32]) -> f32 {
    dot(vector, vector).sqrt() as f32
}

/// U of a token, centred over the vocabulary, with the final norm's gain.
fn folded(given: &Given, token: u32) -> Result<Vec<f32>> {
    let mut direction = given.readout.direction(token)?.to_vec();
    let count = given.config.vocabulary;
    let mut middle = vec![0.0f64; direction.len()];
    for other in 0..count as u32 {
        middle
            .iter_mut()
            .zip(given.readout.direction(other)?)
            .for_each(|(sum, x)| *sum += f64::from(*x) / count as f64);
    }
    direction.iter_mut().zip(&middle).for_each(|(x, mean)| *x -= *mean as f32);
    Ok(given.readout.through(&direction, Frozen { scale: 1.0, centred: false }))
}
