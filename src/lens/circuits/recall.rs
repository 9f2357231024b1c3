//! Recall of facts in three steps, and what the last layer takes back.
//!
//! Prompts of one relation share a sentence, such as "Arlo lives at the"; the person is the topic, the place the answer.
//!
//! ```text
//! copy score of a head    lens(head at the end)[topic] − mean over the other topics
//! causal score            with the head's output at the end from the same sentence about another person, how much of the
//!                         logit difference of the two answers comes with it
//! decomposition           feed-forward ≈ Σ w_h·head_h + w_0·stream + b      least squares over all prompts and coordinates;
//!                         1 + w_h below ½: the head is erased, above 1: amplified; R² on prompts that were left out
//! anti-overconfidence     lens of what the last layer adds, for the right answer; and the answer's probability when the last
//!                         feed-forward is multiplied by λ
//! ```
//!
//! The lens holds the final norm as it was, so that parts add up. Under parallel halves the decomposition fits as well but
//! says nothing of causes.
//!
//! Source: Lv et al., "Interpreting Key Mechanisms of Factual Recall", 2024 (paper 45), after its text; there is no code. The
//! regression and the mitigation by scaling are reconstructions; the planted facts are ours.

mod applied;

use super::{Circuit, Counts, Given, Prompt, ROWS, in_percent, likeliest, percent, strongest};
use crate::Result;
use crate::engine::log_probabilities;
use crate::experiment::{Head, Removal};
use crate::hook::{Array, HookPoint, Site};
use crate::lens::base::Base;
use crate::lens::exhibit::Drawn;
use crate::lens::finding::{Fact, Grid};
use crate::lens::fit::{Fit, Sample, fit};
use crate::lens::readout::dot;
use crate::lens::study::{Shown, exhibit, grid, mean, sheet};
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use crate::train::circuits::facts::RELATIONS;
use applied::{APPLIED, Applied};

/// Movers that are taken out together, and random draws of as many.
const MOVERS: usize = 3;
const RANDOM: usize = 8;
/// Every so many-th prompt is left out of the fit and judges it.
const EVERY: usize = 3;
/// Tokens of ordinary text that the last feed-forward is scaled on.
const TEXT: usize = 128;

/// What one prompt left behind, all of it at the last position.
struct Seen {
    relation: usize,
    /// `[L][H][M]`, `[L][M]`, `[L][M]`
    heads: Vec<Vec<Vec<f32>>>,
    feed_forward: Vec<Vec<f32>>,
    begins: Vec<Vec<f32>>,
    /// Lens of topic and answer: at every depth, of the last heads together and of the last feed-forward.
    path: Vec<[f32; 2]>,
    last: [f32; 2],
    copies: Vec<f32>,
    /// Probability of the answer by scale.
    share: Vec<f32>,
}

/// The study.
pub struct Recall {
    given: Given,
    prompts: Vec<(usize, Prompt)>,
    /// Ordinary text.
    text: Vec<u32>,
    seen: Vec<Seen>,
    causal: Vec<Vec<f32>>,
    /// Loss of the text by scale.
    losses: Vec<f32>,
    sets: Vec<Vec<Head>>,
    right: Counts,
    applied: Applied,
    /// By what parts of the last layer are multiplied, in order.
    scales: Vec<f32>,
}

impl Recall {
    /// Every person and relation in one sentence each, behind as many told ones about others as are set; `text` is ordinary
    /// text.
    pub fn new(given: Given, mut text: Vec<u32>) -> Self {
        text.truncate(TEXT.min(given.config.context));
        let words = &given.circuits.words;
        let prompts =
            (0..RELATIONS.len()).flat_map(|relation| (0..words.known.len()).map(move |person| (relation, person)));
        let told = |relation: usize, person: usize| {
            given.circuits.facts.told(words, person, RELATIONS[relation], given.set.template)
        };
        let prompts = prompts.map(|(relation, person)| {
            // Far from each other and from the next person, with whom the sentence is patched.
            let stride = words.known.len() / (given.set.shots + 2);
            let other = |shot: usize| (person + (shot + 1) * stride) % words.known.len();
            let examples: Vec<u32> = (0..given.set.shots)
                .flat_map(|shot| [&told(relation, other(shot)).tokens, given.circuits.facts.stop()].concat())
                .collect();
            (relation, given.after(&examples, given.prompt(told(relation, person))))
        });
        let prompts = prompts.collect();
        let heads = given.config.layers * given.config.heads;
        Self {
            prompts,
            text,
            seen: Vec::new(),
            causal: vec![Vec::new(); heads],
            losses: Vec::new(),
            sets: Vec::new(),
            right: Counts::default(),
            applied: Applied::default(),
            scales: applied::scales(&given.set),
            given,
        }
    }

    /// Where a factor stands among the scales.
    fn scale(&self, factor: f32) -> usize {
        self.scales.iter().position(|scale| *scale == factor).unwrap_or(0)
    }

    fn people(&self) -> usize {
        self.given.circuits.words.known.len()
    }

    fn look(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (given, (relation, prompt)) = (&self.given, &self.prompts[at]);
        let (config, query) = (&given.config, prompt.query());
        let base = given.base(model, prompt, &[Site::Result, Site::MlpOut])?;
        let width = config.width;
        let row = |array: &[f32], stripe: usize| {
            let start = (stripe * prompt.tokens.len() + query) * width;
            array.get(start..start + width).unwrap_or(&[]).to_vec()
        };
        let (mut heads, mut feed_forward, mut begins) = (Vec::new(), Vec::new(), Vec::new());
        for layer in 0..config.layers {
            let results = base.captures.get(layer, Site::Result)?;
            heads.push((0..config.heads).map(|head| row(&results.data, head)).collect::<Vec<_>>());
            feed_forward.push(row(&base.captures.get(layer, Site::MlpOut)?.data, 0));
            begins.push(row(&base.residuals[layer].data, 0));
        }
        let end = row(&base.residuals[config.layers].data, 0);
        let norm = given.readout.freeze(&end);
        let topic = prompt.places("person").first().map_or(0, |place| prompt.tokens[*place]);
        let direction = |token: u32| given.readout.direction(token);
        let lens = |part: &[f32], token: u32| -> Result<f32> {
            Ok(dot(&given.readout.through(part, norm), direction(token)?) as f32)
        };
        let mut path = Vec::new();
        for stream in begins.iter().chain([&end]) {
            path.push([lens(stream, topic)?, lens(stream, prompt.answer())?]);
        }
        let known = &given.circuits.words.known;
        let mut copies = Vec::new();
        for head in heads.iter().flatten() {
            let through = given.readout.through(head, norm);
            let of = |token: u32| direction(token).map(|direction| dot(&through, direction) as f32);
            let all = known.iter().map(|token| of(*token)).collect::<Result<Vec<f32>>>()?;
            copies.push(of(topic)? - mean(known.iter().zip(all).filter(|(token, _)| **token != topic).map(|(_, x)| x)));
        }
        let (last_heads, last) =
            (heads.last().cloned().unwrap_or_default(), feed_forward.last().cloned().unwrap_or_default());
        let together = (0..width).map(|at| last_heads.iter().map(|head| head[at]).sum()).collect::<Vec<f32>>();
        let last_parts = [lens(&together, prompt.answer())?, lens(&last, prompt.answer())?];
        let share = |scale: &f32| {
            let scaled: Vec<f32> = end.iter().zip(&last).map(|(x, m)| x + (scale - 1.0) * m).collect();
            let logits = given.readout.logits(&scaled);
            let logs = log_probabilities(&Array { shape: vec![1, logits.len()], data: logits });
            logs.data.get(prompt.answer() as usize).map_or(f32::NAN, |log| log.exp())
        };
        let share = self.scales.iter().map(share).collect();
        let relation = *relation;
        self.seen.push(Seen { relation, heads, feed_forward, begins, path, last: last_parts, copies, share });
        Ok(())
    }

    /// Takes each head at the end from the same sentence about the next person.
    fn patch(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (relation, prompt) = &self.prompts[at];
        let first = relation * self.people();
        let next = first + (at - first + 1) % self.people();
        // Behind the same examples, so that only the person differs.
        let examples = &prompt.tokens[self.given.config.bos.iter().count()..prompt.lead];
        let other = &self.given.after(examples, self.given.prompt(self.prompts[next].1.item.clone()));
        if prompt.tokens.len() != other.tokens.len() || prompt.answer() == other.answer() {
            return Ok(());
        }
        let (given, query) = (&self.given, prompt.query());
        let (clean, corrupted) = (given.base(model, prompt, &[Site::Z])?, given.base(model, other, &[])?);
        let difference = |logits: &[f32]| logits[prompt.answer() as usize] - logits[other.answer() as usize];
        let (from, to) = (difference(corrupted.logits.at(query)), difference(clean.logits.at(query)));
        let again = given.again(model, &corrupted);
        let (heads, width) = (given.config.heads, given.config.head_width);
        for layer in 0..given.config.layers {
            let mixes = clean.captures.get(layer, Site::Z)?;
            let mix = |head: usize| {
                let start = (head * prompt.tokens.len() + query) * width;
                (head, &mixes.data[start..start + width])
            };
            for chunk in (0..heads).collect::<Vec<_>>().chunks(ROWS) {
                let mut tap = super::letters::Mixed {
                    at: HookPoint::new(layer, Site::Z),
                    query,
                    mixes: chunk.iter().map(|head| mix(*head)).collect(),
                };
                let logits = again.from(layer, chunk.len(), Some(query), |_, _| {}, &mut tap)?;
                for (row, head) in chunk.iter().enumerate() {
                    self.causal[layer * heads + head].push((difference(logits.at(row)) - from) / (to - from));
                }
            }
        }
        Ok(())
    }

    /// Asks a prompt without the movers, and without as many others.
    fn ask(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        if self.sets.is_empty() {
            let heads = self.given.heads();
            let order = strongest(&self.means(&self.causal));
            let movers: Vec<Head> = order.iter().take(MOVERS).map(|at| heads[*at]).collect();
            let mut draw = Draw::new(self.given.seed ^ 1);
            let random = (0..RANDOM).map(|_| self.given.others(&mut draw, MOVERS, &movers));
            self.sets = [Vec::new(), movers.clone()].into_iter().chain(random).collect();
        }
        let prompt = &self.prompts[at].1;
        let base = self.given.base(model, prompt, &[])?;
        let (right, answer) = (&mut self.right, prompt.answer());
        let each = |set: usize, logits: &[f32], _: &_| right.note(set, likeliest(logits) == answer);
        self.given.without(model, (&base, prompt.query()), &self.sets, Removal::Mean, each, &[])
    }

    /// The loss of ordinary text with the last feed-forward scaled.
    fn read(&mut self, model: &CpuModel) -> Result<()> {
        let given = &self.given;
        let base = Base::new(model, &given.stack, given.seed, &self.text, &[Site::MlpOut])?;
        let (layers, width) = (given.config.layers, given.config.width);
        let last = &base.captures.get(layers - 1, Site::MlpOut)?.data;
        self.applied.average(given, &base.log_probabilities)?;
        for scale in self.scales.iter().copied() {
            let nats = (1..self.text.len()).map(|at| {
                let row = (at - 1) * width..at * width;
                let end = base.residuals[layers].data[row.clone()].iter().zip(&last[row]);
                let logits = given.readout.logits(&end.map(|(x, m)| x + (scale - 1.0) * m).collect::<Vec<_>>());
                let logs = log_probabilities(&Array { shape: vec![1, logits.len()], data: logits });
                -logs.data.get(self.text[at] as usize).copied().unwrap_or(f32::NAN)
            });
            self.losses.push(mean(nats));
        }
        Ok(())
    }

    /// The answers of every relation.
    fn classes(&self) -> Vec<Vec<u32>> {
        let of = |relation: usize| {
            let own = self.prompts.iter().filter(|(other, _)| *other == relation);
            own.map(|(_, prompt)| prompt.answer()).collect::<std::collections::BTreeSet<u32>>().into_iter().collect()
        };
        (0..RELATIONS.len()).map(of).collect()
    }

    /// Scales and takes apart the last layer sentence by sentence, then adds intercepts to a few.
    fn apply(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (classes, count) = (self.classes(), self.prompts.len());
        match at.checked_sub(count) {
            None => {
                let (relation, prompt) = &self.prompts[at];
                let relation = &classes[*relation];
                self.applied.scale(&self.given, model, prompt, (&self.seen[at], &self.scales), relation)
            }
            Some(at) if at < RELATIONS.len() * APPLIED => {
                // Spread over the people of each relation.
                let stride = self.people() / APPLIED;
                let (relation, prompt) = &self.prompts[at / APPLIED * self.people() + at % APPLIED * stride];
                self.applied.apply(&self.given, model, (*relation, prompt), &self.seen, &classes)
            }
            Some(_) => self.applied.read(&self.given, model, &self.text[..self.text.len().min(16)], &classes),
        }
    }

    fn means(&self, all: &[Vec<f32>]) -> Vec<f32> {
        all.iter().map(|values| mean(values.iter().copied())).collect()
    }

    /// What explains a layer's feed-forward: these heads, and the stream it began with.
    fn sample<'a>(seen: &'a Seen, heads: &'a Seen, layer: usize) -> Sample<'a> {
        let parts = heads.heads[layer].iter().map(Vec::as_slice).chain([seen.begins[layer].as_slice()]);
        (parts.collect(), seen.feed_forward[layer].as_slice())
    }

    /// The fit of one layer's feed-forward over the prompts of one relation; `turned` gives every prompt another's heads.
    fn fitted(&self, layer: usize, relation: usize, turned: usize) -> Option<Fit> {
        let own: Vec<&Seen> = self.seen.iter().filter(|seen| seen.relation == relation).collect();
        let sample = |at: usize| Self::sample(own[at], own[(at + turned) % own.len()], layer);
        let (judging, fitting): (Vec<usize>, Vec<usize>) = (0..own.len()).partition(|at| at % EVERY == 0);
        let samples = |which: &[usize]| which.iter().map(|at| sample(*at)).collect::<Vec<_>>();
        if fitting.len() < 2 { None } else { fit(&samples(&fitting), &samples(&judging)) }
    }
}

impl Circuit for Recall {
    fn all(&self) -> usize {
        self.prompts.len() * 3 + self.prompts.len().div_ceil(EVERY) + 1 + RELATIONS.len() * APPLIED + 1
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let count = self.prompts.len();
        match at {
            0 => self.read(model),
            at if at <= count => self.look(model, at - 1),
            at if at <= count + count.div_ceil(EVERY) => self.patch(model, (at - 1 - count) * EVERY),
            at => match at - 1 - count - count.div_ceil(EVERY) {
                at if at < count => self.ask(model, at),
                at => self.apply(model, at - count),
            },
        }
    }

    fn show(&self) -> Shown {
        let (layers, heads) = (self.given.config.layers, self.given.config.heads);
        let [down, across] = self.given.axes();
        let copies: Vec<f32> =
            (0..layers * heads).map(|head| mean(self.seen.iter().map(|seen| seen.copies[head]))).collect();
        let causal = self.means(&self.causal);
        let mut sheets = vec![sheet("copy", "Copy score of the person", "", copies)];
        if causal.iter().any(|score| score.is_finite()) {
            sheets.insert(0, percent("causal", "Causal score", causal.iter().copied()));
        }
        let movers = Grid { down: down.clone(), across, sheets, ..Grid::default() };
        let scale_names = || self.scales.iter().map(|scale| format!("{scale}")).collect::<Vec<_>>();
        let shares: Vec<f32> =
            (0..self.scales.len()).map(|scale| mean(self.seen.iter().map(|seen| seen.share[scale]))).collect();
        let depths: Vec<String> = (0..layers).map(|layer| format!("before L{layer}")).chain(["end".into()]).collect();
        let path =
            |which: usize| (0..=layers).map(move |depth| mean(self.seen.iter().map(|seen| seen.path[depth][which])));
        let names = ["person", "answer"].map(String::from).to_vec();
        let paths = grid(
            ("token", names),
            ("depth", depths),
            vec![sheet("lens", "Logit under the final norm", "", path(0).chain(path(1)).collect())],
        );
        let last = |which: usize| mean(self.seen.iter().map(|seen| seen.last[which]));
        let lowered = |which: usize| {
            self.seen.iter().filter(|seen| seen.last[which] < 0.0).count() as f32 / self.seen.len().max(1) as f32
        };
        let taken = grid(
            ("layer", vec![format!("L{}", layers - 1)]),
            ("part", ["heads", "feed-forward", "both"].map(String::from).to_vec()),
            vec![sheet("delta", "Adds to the answer’s logit", "", vec![last(0), last(1), last(0) + last(1)])],
        );
        let scaled = grid(
            ("number", vec!["answer".into()]),
            ("last feed-forward times", scale_names()),
            vec![percent("probability", "Probability of the answer", shares.iter().copied())],
        );
        let mut exhibits = vec![
            exhibit(
                "recall.movers",
                "Who brings the person to the end",
                "Causal: with this head at the last position from the sentence about another person, how much of the answer comes \
                 with it. Copy: how much it raises the person’s own name over the others.",
                Drawn::Cells,
                movers,
            ),
            exhibit(
                "recall.path",
                "Person and answer through the layers",
                "What the residual stream at the last position says of either, under the final norm as it was.",
                Drawn::Lines,
                paths,
            ),
        ];
        // Each relation is a task of its own; the numbers are means over them.
        let whole = self.seen.len() == self.prompts.len();
        let mut verdict = "Reading every fact …".to_string();
        if whole {
            let fits = |turned: usize| -> Vec<Vec<Fit>> {
                let of = |layer: usize| {
                    (0..RELATIONS.len()).filter_map(|relation| self.fitted(layer, relation, turned)).collect()
                };
                (0..layers).map(of).collect()
            };
            let (own, other) = (fits(0), fits(5));
            let judged = |fits: &[Vec<Fit>]| -> Vec<f32> {
                fits.iter().map(|all| mean(all.iter().map(|fit| fit.judged))).collect()
            };
            let (real, shuffled) = (judged(&own), judged(&other));
            let weight = |layer: usize, part: usize| 1.0 + mean(own[layer].iter().map(|fit| fit.weights[part]));
            let weights = (0..layers).flat_map(|layer| (0..heads).map(move |head| (layer, head)));
            let weights: Vec<f32> = weights.map(|(layer, head)| weight(layer, head)).collect();
            let linear = real.iter().zip(&shuffled).filter(|(real, other)| **real > **other + 0.1).count();
            let grid_of = Grid {
                down,
                across: self.given.axes()[1].clone(),
                sheets: vec![sheet("weight", "1 + w", "", weights)],
                facts: vec![Fact::new(
                    "linear",
                    "Layers whose fit is 0.1 better than of shuffled heads",
                    linear as f32,
                    "",
                )],
                notes: Vec::new(),
            };
            exhibits.push(exhibit(
                "recall.weights",
                "What feed-forwards make of the heads",
                "What is left of each head behind its layer’s feed-forward: below ½ it is erased, above 1 amplified. It means \
                 something only where the fit below is better than that of shuffled heads.",
                Drawn::Cells,
                grid_of,
            ));
            let layer_names = (0..layers).map(|layer| format!("L{layer}")).collect();
            exhibits.push(exhibit(
                "recall.fit",
                "How well that fits",
                "R² on prompts that were left out, and when every prompt is given the heads of another person.",
                Drawn::Bars,
                grid(
                    ("heads", ["own", "of another"].map(String::from).to_vec()),
                    ("layer", layer_names),
                    vec![sheet("r2", "R² on prompts left out", "", [real, shuffled].concat())],
                ),
            ));
            let both = last(0) + last(1);
            let (half, whole) = (self.scale(self.given.set.lambda_m), self.scale(1.0));
            verdict = format!(
                "The last layer adds {both:+.2} to the right answer’s logit (heads {:+.2}, feed-forward {:+.2}, which lowers it on \
                 {} of the facts): {}. With its feed-forward {} the answer has {:.1} % instead of {:.1} %, and ordinary text \
                 costs {:+.3} nats per token. In {linear} of {layers} layers heads explain the feed-forward better than shuffled ones.",
                last(0),
                last(1),
                in_percent(lowered(1)),
                if both < 0.0 {
                    "it takes certainty back, as the paper says of GPT-2"
                } else {
                    "no anti-overconfidence here, unlike the paper’s GPT-2"
                },
                applied::times(self.given.set.lambda_m),
                100.0 * shares[half],
                100.0 * shares[whole],
                self.losses[half] - self.losses[whole],
            );
        }
        exhibits.push(exhibit(
            "recall.last",
            "What the last layer adds to the right answer",
            "By its heads, its feed-forward, and both; below zero it takes certainty back.",
            Drawn::Bars,
            taken,
        ));
        let (more, drawn) = self.applied.show(&self.given, &shares, &self.scales);
        if drawn.is_empty() {
            exhibits.push(exhibit(
                "recall.scaled",
                "The last feed-forward scaled",
                "Mean probability of the right answer; at 1 it is as it was.",
                Drawn::Lines,
                scaled,
            ));
        }
        exhibits.extend(drawn);
        if self.losses.len() == self.scales.len() {
            exhibits.push(exhibit(
                "recall.text",
                "What that costs on ordinary text",
                "Loss of a story nobody trained on.",
                Drawn::Lines,
                grid(
                    ("number", vec!["loss".into()]),
                    ("last feed-forward times", scale_names()),
                    vec![sheet("loss", "Loss", "nats per token", self.losses.clone())],
                ),
            ));
        }
        if self.right.0.len() > 1 {
            let random = self.right.mean(2..2 + RANDOM);
            let names: Vec<String> = self.sets[1].iter().map(ToString::to_string).collect();
            verdict += &format!(
                " Without {} {} of the facts are known, without three random heads {}, {} by the whole model.",
                names.join(", "),
                in_percent(self.right.share(1)),
                in_percent(random),
                in_percent(self.right.share(0)),
            );
            exhibits.push(exhibit(
                "recall.known",
                &format!("Facts known without {}", names.join(", ")),
                "The three heads of largest causal score replaced by their mean, or three random ones.",
                Drawn::Bars,
                grid(
                    ("facts", vec!["known".into()]),
                    ("heads taken out", ["none", "movers", "random"].map(String::from).to_vec()),
                    vec![percent("known", "Facts known", [self.right.share(0), self.right.share(1), random])],
                ),
            ));
        }
        verdict += &more.map_or(String::new(), |more| format!(" {more}"));
        (Some(verdict), exhibits)
    }
}
