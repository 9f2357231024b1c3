//! From the right option to its letter: which parts write the letter, which only lead to it, and which heads look where.
//!
//! Everything happens at the last position T, where a letter is asked for. Letter logits are centred over the options.
//!
//! ```text
//! direct effect  = ⟨w_right − mean w, norm ⊙ part at T⟩      the norm held as it was; parts and embedding add up to the logit
//! total effect   = centred logit − centred logit with the part at T taken from another question with another right letter
//! letter excess  = A[T, right letter] − mean A[T, other letters]      content excess: the same on the options' words,
//!                  on the sign between, and on the line's end behind them, where a line can be summed up
//! recovered loss = (all parts from elsewhere − kept) / (all parts from elsewhere − as it is)      only some parts are kept
//! ```
//!
//! [`seats`] finds heads that look at one fixed option whatever is right. [`low_rank`] asks whether few directions of those
//! that tell options apart suffice, also under other labels.
//!
//! Source: Lieberum et al., "Does Circuit Analysis Interpretability Scale?", 2023 (paper 12), after its text; there is no code.
//! The questions, the thresholds and patching at one position are ours.

pub mod low_rank;
pub mod mutation;
pub mod seats;
pub mod subspace;

use super::{Circuit, Counts, Given, Prompt, ROWS, in_percent, likeliest, percent, strongest};
use crate::Result;
use crate::experiment::{Head, Removal};
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Axis, Fact, Grid};
use crate::lens::readout::dot;
use crate::lens::study::{Shown, exhibit, grid, mean, sheet, told};
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use low_rank::LowRank;
use mutation::Mutation;

/// Questions: every letter is right equally often.
const QUESTIONS: usize = 24;
/// Names of options, in their order.
const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];
/// So much more weight on the right letter than on the others makes a head one of the letter.
const EXCESS: f32 = 0.2;
/// Sizes of sets of parts that are kept, and of groups of heads that are taken out.
const KEPT: [usize; 6] = [1, 2, 4, 8, 16, usize::MAX];
const TAKEN: usize = 4;
/// Random sets of each size.
const RANDOM: usize = 8;

/// Where an option can be looked at.
const KINDS: [(&str, &str); 4] = [
    ("letter", "The letter"),
    ("sign", "The sign behind the letter"),
    ("word", "The word"),
    ("end", "The end of the line"),
];

/// What one question left behind.
struct Seen {
    /// What stands at T without any part: the embedding, and biases of output projections.
    embedding: Vec<f32>,
    /// What every part writes at T: heads layer by layer, then feed-forwards.
    parts: Vec<Vec<f32>>,
    /// Mixes of the heads at T, layer by layer.
    mixes: Vec<Vec<f32>>,
    /// Weight of each head's last row on each [`KINDS`] of place of every option, head by head.
    looks: [Vec<Vec<f32>>; 4],
    /// Which option is right.
    right: usize,
    /// −log P of the right letter.
    loss: f32,
}

/// The study.
pub struct Letters {
    given: Given,
    questions: Vec<Prompt>,
    seen: Vec<Seen>,
    direct: Vec<Vec<f32>>,
    total: Vec<Vec<f32>>,
    /// Losses with the first parts kept, with random ones, and with none, by size.
    kept: [Vec<Vec<f32>>; 2],
    sets: Vec<Vec<Head>>,
    right: Counts,
    low_rank: Option<LowRank>,
}

impl Letters {
    /// Questions nobody was trained on, each behind as many answered ones as are set.
    pub fn new(given: Given) -> Self {
        let (options, mut draw) = (given.set.options, Draw::new(given.seed));
        // A draw of their own: with none of them the questions are the same.
        let mut examples = Draw::new(given.seed ^ 5);
        let inner = crate::train::circuits::Given { words: &given.circuits.words, longest: given.config.context };
        let question = |at: usize| {
            let (right, same) = (at % options, (at / options).is_multiple_of(2));
            let shown: Vec<u32> = (0..given.set.shots)
                .flat_map(|_| {
                    let right = examples.below(options);
                    let example = given.circuits.choice.item(&inner, &mut examples, same, options, right);
                    example.tokens.into_iter().chain(given.token("\n"))
                })
                .collect();
            let prompt = given.held_out(|| given.circuits.choice.item(&inner, &mut draw, same, options, right));
            given.after(&shown, prompt)
        };
        let questions = (0..QUESTIONS).map(question).collect();
        let parts = given.config.layers * (given.config.heads + 1);
        Self {
            questions,
            seen: Vec::new(),
            direct: vec![Vec::new(); parts],
            total: vec![Vec::new(); parts],
            kept: [vec![Vec::new(); KEPT.len()], vec![Vec::new(); KEPT.len() + 1]],
            sets: Vec::new(),
            right: Counts::default(),
            low_rank: None,
            given,
        }
    }

    fn options(&self) -> usize {
        self.given.set.options
    }

    fn letters(&self) -> &[u32] {
        &self.given.circuits.words.letters[..self.options()]
    }

    /// The direction of a letter less the mean of all.
    fn centred(&self, right: usize) -> Result<Vec<f32>> {
        let letters = self.letters();
        let mut direction = self.given.readout.direction(letters[right])?.to_vec();
        for letter in letters {
            let other = self.given.readout.direction(*letter)?;
            direction.iter_mut().zip(other).for_each(|(sum, x)| *sum -= x / self.options() as f32);
        }
        Ok(direction)
    }

    fn lead(&self, logits: &[f32], right: usize) -> f32 {
        let of = |letter: &u32| logits.get(*letter as usize).copied().unwrap_or(f32::NAN);
        of(&self.letters()[right]) - mean(self.letters().iter().map(of))
    }

    fn look(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (given, prompt) = (&self.given, &self.questions[at]);
        let config = &given.config;
        let wanted = [Site::Result, Site::MlpOut, Site::Z, Site::Pattern];
        let base = given.base(model, prompt, &wanted)?;
        let query = prompt.query();
        let row = |array: &Array, stripe: usize, width: usize| {
            let tokens = prompt.tokens.len();
            array
                .data
                .get((stripe * tokens + query) * width..(stripe * tokens + query + 1) * width)
                .unwrap_or(&[])
                .to_vec()
        };
        let (mut parts, mut mixes) = (Vec::new(), Vec::new());
        let mut looks = [(); 4].map(|()| Vec::new());
        let (labels, options) = (prompt.places("letter"), prompt.places("option"));
        let behind = |places: &[usize]| places.iter().map(|place| place + 1).collect::<Vec<_>>();
        let places = [labels.clone(), behind(&labels), options.clone(), behind(&options)];
        for layer in 0..config.layers {
            for head in 0..config.heads {
                parts.push(row(base.captures.get(layer, Site::Result)?, head, config.width));
                mixes.push(row(base.captures.get(layer, Site::Z)?, head, config.head_width));
                let last = row(base.captures.get(layer, Site::Pattern)?, head, prompt.tokens.len());
                for (places, looks) in places.iter().zip(&mut looks) {
                    let mut on = vec![0.0; self.options()];
                    let weight = |place: &usize| last.get(*place).copied().unwrap_or(0.0);
                    on.iter_mut().zip(places).for_each(|(on, place)| *on = weight(place));
                    looks.push(on);
                }
            }
        }
        for layer in 0..config.layers {
            parts.push(row(base.captures.get(layer, Site::MlpOut)?, 0, config.width));
        }
        let right = self.letters().iter().position(|letter| *letter == prompt.answer()).unwrap_or(0);
        let end = base.residuals[config.layers].at(query);
        // Biases of output projections stand with the embedding: they are the same whatever is asked.
        let mut embedding = end.to_vec();
        for part in &parts {
            embedding.iter_mut().zip(part).for_each(|(x, y)| *x -= y);
        }
        let (norm, direction) = (given.readout.freeze(end), self.centred(right)?);
        for (part, direct) in parts.iter().zip(&mut self.direct) {
            direct.push(dot(&self.given.readout.through(part, norm), &direction) as f32);
        }
        let loss = -base.log_probabilities.at(query).get(prompt.answer() as usize).copied().unwrap_or(f32::NAN);
        self.seen.push(Seen { embedding, parts, mixes, looks, right, loss });
        Ok(())
    }

    /// Takes each part at T from the next question, whose right letter is another one.
    fn patch(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (given, prompt) = (&self.given, &self.questions[at]);
        let config = &given.config;
        let (own, other) = (&self.seen[at], &self.seen[(at + 1) % QUESTIONS]);
        let base = given.base(model, prompt, &[])?;
        let query = prompt.query();
        let again = given.again(model, &base);
        let whole = self.lead(base.logits.at(query), own.right);
        let mut lost = vec![f32::NAN; own.parts.len()];
        for layer in 0..config.layers {
            let heads: Vec<usize> = (0..config.heads).collect();
            for chunk in heads.chunks(ROWS) {
                let mixes = chunk.iter().map(|head| (*head, &other.mixes[layer * config.heads + head][..])).collect();
                let mut tap = Mixed { at: HookPoint::new(layer, Site::Z), query, mixes };
                let logits = again.from(layer, chunk.len(), Some(query), |_, _| {}, &mut tap)?;
                for (row, head) in chunk.iter().enumerate() {
                    lost[layer * config.heads + head] = whole - self.lead(logits.at(row), own.right);
                }
            }
            let part = config.layers * config.heads + layer;
            let (new, old) = (&other.parts[part], &own.parts[part]);
            let add = |_: usize, stream: &mut [f32]| {
                let here = &mut stream[query * config.width..(query + 1) * config.width];
                here.iter_mut().zip(new.iter().zip(old)).for_each(|(x, (new, old))| *x += new - old);
            };
            let mut nobody = ActivationCache::new(Selection::default());
            let logits = again.from(layer + 1, 1, Some(query), add, &mut nobody)?;
            lost[part] = whole - self.lead(logits.at(0), own.right);
        }
        self.total.iter_mut().zip(lost).for_each(|(all, lost)| all.push(lost));
        if at + 1 == QUESTIONS {
            let heads = given.heads();
            let order = strongest(&self.means(&self.direct)[..heads.len()]);
            let first: Vec<Head> = order.iter().take(TAKEN).map(|at| heads[*at]).collect();
            let mut draw = Draw::new(given.seed ^ 1);
            let own = (0..=TAKEN).map(|count| first[..count].to_vec());
            let random = (1..=TAKEN)
                .flat_map(|count| (0..RANDOM).map(|_| given.others(&mut draw, count, &first)).collect::<Vec<_>>());
            self.sets = own.chain(random).collect();
        }
        Ok(())
    }

    /// Keeps some parts and takes all others at T from elsewhere; and takes whole heads out.
    fn keep(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (own, other) = (&self.seen[at], &self.seen[(at + 1) % QUESTIONS]);
        let order = strongest(&self.means(&self.direct));
        let answer = self.letters()[own.right];
        let loss = |kept: &[usize]| {
            let mut end = own.embedding.clone();
            for (part, (mine, theirs)) in own.parts.iter().zip(&other.parts).enumerate() {
                let from = if kept.contains(&part) { mine } else { theirs };
                end.iter_mut().zip(from).for_each(|(x, y)| *x += y);
            }
            -log_probability(&self.given.readout.logits(&end), answer)
        };
        let mut draw = Draw::new(self.given.seed ^ at as u64);
        let mut random = |size: usize| {
            let mut pool: Vec<usize> = (0..own.parts.len()).collect();
            draw.shuffle(&mut pool);
            pool.truncate(size);
            pool
        };
        let first: Vec<f32> = KEPT.iter().map(|size| loss(&order[..(*size).min(order.len())])).collect();
        let any: Vec<f32> = KEPT.iter().map(|size| mean((0..RANDOM).map(|_| loss(&random(*size))))).collect();
        let none = loss(&[]);
        self.kept[0].iter_mut().zip(first).for_each(|(all, loss)| all.push(loss));
        self.kept[1].iter_mut().zip(any.into_iter().chain([none])).for_each(|(all, loss)| all.push(loss));
        let prompt = &self.questions[at];
        let base = self.given.base(model, prompt, &[])?;
        let right = &mut self.right;
        let each = |set: usize, logits: &[f32], _: &_| right.note(set, likeliest(logits) == answer);
        self.given.without(model, (&base, prompt.query()), &self.sets, Removal::Mean, each, &[])
    }

    /// Few directions of the heads that tell options apart, at most as many as are taken out.
    fn low_rank(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let mut test = match self.low_rank.take() {
            Some(test) => test,
            None => LowRank::new(seats::chosen(&self.seen, &self.given.heads(), TAKEN)),
        };
        let prompt = &self.questions[at % QUESTIONS];
        let done = match at / QUESTIONS {
            0 => test.read(&self.given, model, prompt),
            round => test.ask(&self.given, model, prompt, round - 1),
        };
        self.low_rank = Some(test);
        done
    }

    fn means(&self, all: &[Vec<f32>]) -> Vec<f32> {
        all.iter().map(|values| mean(values.iter().copied())).collect()
    }

    /// Where heads tell the right option apart most, and how much each does there.
    fn looked_at(&self) -> (usize, Vec<f32>) {
        let most = |excess: &[f32]| excess.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let all = (0..KINDS.len()).map(|kind| (kind, self.excess(kind)));
        all.max_by(|(_, a), (_, b)| most(a).total_cmp(&most(b))).unwrap_or_default()
    }

    /// How much more each head looks at the right one of a kind of place.
    fn excess(&self, kind: usize) -> Vec<f32> {
        let one = |head: usize| {
            mean(self.seen.iter().map(|seen| {
                let weights = &seen.looks[kind][head];
                let others = weights.iter().sum::<f32>() - weights[seen.right];
                weights[seen.right] - others / (weights.len() - 1) as f32
            }))
        };
        (0..self.given.config.layers * self.given.config.heads).map(one).collect()
    }

    /// Heads across and the feed-forward behind them.
    fn laid_out(&self, parts: &[f32]) -> Vec<f32> {
        let (layers, heads) = (self.given.config.layers, self.given.config.heads);
        let of = |at: usize| parts.get(at).copied().unwrap_or(f32::NAN);
        let row = |layer: usize| {
            (0..heads).map(move |head| layer * heads + head).chain([layers * heads + layer]).map(of).collect::<Vec<_>>()
        };
        (0..layers).flat_map(row).collect()
    }
}

/// log P of a token.
fn log_probability(logits: &[f32], token: u32) -> f32 {
    let row = Array { shape: vec![1, logits.len()], data: logits.to_vec() };
    crate::engine::log_probabilities(&row).data.get(token as usize).copied().unwrap_or(f32::NAN)
}

/// Puts mixes of another pass in their places at one query, another head in every row.
pub(super) struct Mixed<'a> {
    pub at: HookPoint,
    pub query: usize,
    pub mixes: Vec<(usize, &'a [f32])>,
}

impl Tap for Mixed<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at == self.at
    }

    fn visit(&mut self, _: HookPoint, value: &Array) -> Option<Array> {
        let &[_, heads, queries, width] = value.shape.as_slice() else { return None };
        let mut edited = value.clone();
        for (row, (head, mix)) in self.mixes.iter().enumerate() {
            let start = ((row * heads + head) * queries + self.query) * width;
            edited.data.get_mut(start..start + width)?.copy_from_slice(mix);
        }
        Some(edited)
    }
}

impl Circuit for Letters {
    fn all(&self) -> usize {
        (3 + 1 + Mutation::ALL.len()) * QUESTIONS
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        match at / QUESTIONS {
            0 => self.look(model, at),
            1 => self.patch(model, at % QUESTIONS),
            2 => self.keep(model, at % QUESTIONS),
            _ => self.low_rank(model, at - 3 * QUESTIONS),
        }
    }

    fn show(&self) -> Shown {
        let (kind, letters) = self.looked_at();
        let (direct, total) = (self.means(&self.direct), self.means(&self.total));
        let heads = self.given.heads();
        let [down, across] = self.given.axes();
        let with_feed_forward = Axis::new("part", across.labels.iter().cloned().chain(["FF".into()]));
        let mut sheets = vec![sheet("direct", "Direct effect", "", self.laid_out(&direct))];
        if total.iter().any(|lost| lost.is_finite()) {
            sheets.push(sheet("total", "Total effect", "", self.laid_out(&total)));
        }
        let parts = Grid { down: down.clone(), across: with_feed_forward, sheets, ..Grid::default() };
        let passing = |kind: usize| self.excess(kind).iter().filter(|excess| **excess > EXCESS).count();
        let facts = KINDS.iter().enumerate();
        let facts = facts
            .map(|(at, (id, name))| Fact::new(id, &format!("{name}: heads above {EXCESS}"), passing(at) as f32, ""))
            .collect();
        let single: Vec<f32> = (0..heads.len()).map(|at| seats::seats(&self.seen, at, heads[at])[1].excess).collect();
        let fixed = single.iter().filter(|excess| **excess > EXCESS).count();
        let sheets = KINDS.iter().enumerate().map(|(at, (id, name))| sheet(id, name, "", self.excess(at)));
        let sheets = sheets.chain([sheet("single", "One fixed option", "", single)]).collect();
        let looks = Grid { down, across, sheets, facts, notes: Vec::new() };
        let first = strongest(&letters).first().copied().unwrap_or(0);
        let of_right = |right: usize, letter: usize| {
            mean(self.seen.iter().filter(|seen| seen.right == right).map(|seen| seen.looks[kind][first][letter]))
        };
        let options = self.options();
        let named = |prefix: &str| NAMES[..options].iter().map(|letter| format!("{prefix}{letter}")).collect();
        let square = grid(
            ("right", named("right ")),
            ("looked at", named("")),
            vec![sheet(
                "weight",
                "Weight",
                "",
                (0..options * options).map(|at| of_right(at / options, at % options)).collect(),
            )],
        );
        let mut exhibits = vec![
            exhibit(
                "letters.parts",
                "Who writes the letter",
                "What each part at the last position adds to the right letter’s logit, the mean of the letters taken out, and what \
                 is lost when the part comes from a question with another right letter. A part that is missed but writes nothing \
                 leads to the letter through others.",
                Drawn::Cells,
                parts,
            ),
            exhibit(
                "letters.looks",
                "Who looks at the right option, and where",
                "How much more the last position looks at this place of the right option than of the others; or at one fixed option, \
                 whatever is right.",
                Drawn::Cells,
                looks,
            ),
            exhibit(
                "letters.square",
                &format!("Where {} looks", heads[first]),
                &format!("{} of each option, by right letter.", KINDS[kind].1),
                Drawn::Cells,
                square,
            ),
        ];
        let order = strongest(&direct[..heads.len()]);
        let names: Vec<String> = order.iter().take(TAKEN).map(|at| heads[*at].to_string()).collect();
        let most = letters.get(first).copied().unwrap_or(f32::NAN);
        let mut verdict = format!(
            "Over {} questions {} of {} heads look {EXCESS} more at the right letter, {} at the right word and {fixed} at one \
             fixed option; at the right one most of all {}, by {:.2} of its weight ({}).",
            self.seen.len(),
            passing(0),
            heads.len(),
            passing(2),
            heads[first],
            most,
            KINDS[kind].1.to_lowercase(),
        );
        if !self.right.0.is_empty() {
            let whole = mean(self.seen[..self.kept[0][0].len()].iter().map(|seen| seen.loss));
            let none = mean(self.kept[1][KEPT.len()].iter().copied());
            let recovered =
                |which: usize, size: usize| (none - mean(self.kept[which][size].iter().copied())) / (none - whole);
            let curve =
                [0, 1].map(|which| (0..KEPT.len()).map(|size| recovered(which, size)).collect::<Vec<_>>()).concat();
            exhibits.push(exhibit(
                "letters.kept",
                "How few parts suffice",
                "Share of the loss that is recovered when only the parts of largest direct effect, or as many random ones, keep \
                 what they write; all others write what another question makes them write.",
                Drawn::Lines,
                grid(
                    ("kept", ["first by effect", "random"].map(String::from).to_vec()),
                    ("parts kept", KEPT.map(|size| size.min(self.direct.len()).to_string()).to_vec()),
                    vec![percent("recovered", "Recovered loss", curve)],
                ),
            ));
            let random = |count: usize| match count {
                0 => self.right.share(0),
                count => self.right.mean(TAKEN + 1 + (count - 1) * RANDOM..TAKEN + 1 + count * RANDOM),
            };
            let lines = (0..=TAKEN).map(|count| self.right.share(count)).chain((0..=TAKEN).map(random));
            exhibits.push(exhibit(
                "letters.taken",
                "Without the heads that write the letter",
                "Questions answered right with the heads of largest direct effect replaced by their mean, or random ones.",
                Drawn::Lines,
                grid(
                    ("heads", ["that write it", "random"].map(String::from).to_vec()),
                    ("heads taken out", (0..=TAKEN).map(|count| count.to_string()).collect()),
                    vec![percent("right", "Answered right", lines)],
                ),
            ));
            verdict += &format!(
                " Four parts of {} recover {} of the loss, four random ones {}. Without {} {} of the questions are answered right, \
                 without as many random heads {}, {} by the whole model.",
                self.direct.len(),
                in_percent(recovered(0, 2)),
                in_percent(recovered(1, 2)),
                names.join(", "),
                in_percent(self.right.share(TAKEN)),
                in_percent(random(TAKEN)),
                in_percent(self.right.share(0)),
            );
        }
        if let Some((more, drawn)) = self.low_rank.as_ref().map(LowRank::show) {
            exhibits.extend(drawn);
            verdict += &more.map_or(String::new(), |more| format!(" {more}"));
        }
        (told([most], || verdict), exhibits)
    }
}
