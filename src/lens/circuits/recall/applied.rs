//! What the last layer takes back, part by part, and what an intercept does where it does not belong.
//!
//! ```text
//! λ_a, λ_m        the last layer's heads, or its feed-forward, multiplied, and both at once; what follows is computed anew
//! ū               Σ_w p_w·U_w, p the mean prediction over ordinary text: the safe average token; its part of the last
//!                 feed-forward is taken out alone
//! Δ of a part     its lens for the right answer, and for the token that the model predicts
//! intercept       b of relation A added behind a feed-forward in a sentence of relation B: mean logit of A's answers less that
//!                 of B's, against the same with b of fits whose sentences were shuffled over relations
//! ```

use super::{Recall, Seen};
use crate::Result;
use crate::engine::log_probabilities;
use crate::experiment::Instruments;
use crate::hook::{Array, HookPoint, Site, Tap};
use crate::lens::circuits::{Given, Prompt, in_percent, likeliest, percent, strongest};
use crate::lens::exhibit::Drawn;
use crate::lens::finding::Fact;
use crate::lens::fit::{Sample, fit};
use crate::lens::readout::{Frozen, dot};
use crate::lens::study::{Shown, exhibit, grid, mean, sheet, told};
use crate::model::CpuModel;
use crate::train::circuits::Draw;
use crate::train::circuits::facts::RELATIONS;

/// By what parts of the last layer are multiplied, beside what is chosen.
const SCALES: [f32; 7] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5];
/// Sentences of each relation that intercepts are added to.
pub(super) const APPLIED: usize = 6;
/// By so little the last feed-forward is scaled to see whether Δ tells what happens.
const NUDGE: f32 = 0.9;
/// An intercept that knows its task lifts its answers by more than the first, one of no task by less than the second.
const AWARE: f32 = 1.0;
const UNAWARE: f32 = 0.3;
/// A smaller Δ says nothing.
const SOME: f32 = 0.2;

/// Vectors b of every layer and relation, as fitted and with sentences shuffled over relations.
type Intercepts = [Vec<Vec<Vec<f32>>>; 2];

/// [`SCALES`] and what is chosen, in order.
pub(super) fn scales(set: &Instruments) -> Vec<f32> {
    let mut scales = SCALES.to_vec();
    scales.extend([set.lambda_a, set.lambda_m]);
    scales.sort_by(f32::total_cmp);
    scales.dedup();
    scales
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Applied {
    /// ū with the final norm's gain, and p.
    average: Vec<f32>,
    /// Probability of the answer by λ_a, one list for each scale.
    heads: Vec<Vec<f32>>,
    /// With heads and feed-forward multiplied by what is chosen.
    both: Vec<f32>,
    /// With ū taken out of the last feed-forward.
    apart: Vec<f32>,
    /// Cosine of the last feed-forward and ū; weight of each last head on the first token.
    cosines: Vec<f32>,
    first: Vec<Vec<f32>>,
    /// Lens of each part of the last layer, for the answer and for the predicted token, sentence by sentence.
    deltas: [Vec<Vec<f32>>; 2],
    /// Sentences where Δ is not small, and where its sign is what a nudge does.
    nudged: (usize, usize),
    intercepts: Option<Intercepts>,
    /// Rise of A over B by layer, of own and of shuffled intercepts.
    rises: [Vec<Vec<f32>>; 2],
    /// Probability of the own answers in a neutral text, before and with b, and the likeliest tokens then, by relation.
    neutral: Vec<([f32; 2], Vec<u32>)>,
}

impl Applied {
    /// Takes ū from log-probabilities `[Q,V]` over ordinary text.
    pub fn average(&mut self, given: &Given, text: &Array) -> Result<()> {
        let rows = text.shape.first().copied().unwrap_or(1) as f32;
        let mut average = vec![0.0f64; given.config.width];
        for token in 0..given.config.vocabulary {
            let share: f32 = (0..text.shape[0]).map(|row| text.at(row)[token].exp()).sum::<f32>() / rows;
            let direction = given.readout.direction(token as u32)?;
            average.iter_mut().zip(direction).for_each(|(sum, x)| *sum += f64::from(share * x));
        }
        let average: Vec<f32> = average.into_iter().map(|x| x as f32).collect();
        self.average = given.readout.through(&average, Frozen { scale: 1.0, centred: false });
        Ok(())
    }

    /// The last layer of one sentence, scaled and taken apart; `class` are the answers of its relation.
    pub fn scale(
        &mut self,
        given: &Given,
        model: &CpuModel,
        prompt: &Prompt,
        (seen, scales): (&Seen, &[f32]),
        class: &[u32],
    ) -> Result<()> {
        let (config, query, answer) = (&given.config, prompt.query(), prompt.answer());
        let last = config.layers - 1;
        let base = given.base(model, prompt, &[Site::Pattern])?;
        let mut tap = Scaled { layer: last, heads: scales, feed_forward: 1.0 };
        let logits = given.again(model, &base).from(last, scales.len(), Some(query), |_, _| {}, &mut tap)?;
        let mut chosen = Scaled { layer: last, heads: &[given.set.lambda_a], feed_forward: given.set.lambda_m };
        let together = given.again(model, &base).from(last, 1, Some(query), |_, _| {}, &mut chosen)?;
        self.both.push(probability(together.at(0), answer));
        self.heads.resize(scales.len(), Vec::new());
        for (row, all) in self.heads.iter_mut().enumerate() {
            all.push(probability(logits.at(row), answer));
        }
        let end = base.residuals[config.layers].at(query);
        let (norm, fed) = (given.readout.freeze(end), &seen.feed_forward[last]);
        let along = dot(fed, &self.average) / dot(&self.average, &self.average).max(f64::MIN_POSITIVE);
        let without: Vec<f32> =
            end.iter().zip(&self.average).map(|(x, u)| x - (along * f64::from(*u)) as f32).collect();
        self.apart.push(probability(&given.readout.logits(&without), answer));
        let length = |x: &[f32]| dot(x, x).sqrt();
        self.cosines.push((dot(fed, &self.average) / (length(fed) * length(&self.average))) as f32);
        let pattern = base.captures.get(last, Site::Pattern)?;
        let tokens = prompt.tokens.len();
        let on_first = |head: usize| pattern.data.get((head * tokens + query) * tokens).copied().unwrap_or(f32::NAN);
        self.first.push((0..config.heads).map(on_first).collect());
        let predicted = likeliest(base.logits.at(query));
        for (deltas, token) in self.deltas.iter_mut().zip([answer, predicted]) {
            let direction = given.readout.direction(token)?;
            let lens = |part: &[f32]| dot(&given.readout.through(part, norm), direction) as f32;
            let mut all: Vec<f32> = seen.heads[last].iter().map(|head| lens(head)).collect();
            all.push(lens(fed));
            all.push(all.iter().sum());
            deltas.push(all);
        }
        // Against the mean of the other answers: what a nudge of the whole vocabulary does not matter for.
        let lead = |logits: &dyn Fn(u32) -> f32| {
            logits(answer) - mean(class.iter().filter(|other| **other != answer).map(|other| logits(*other)))
        };
        let delta = {
            let through = given.readout.through(fed, norm);
            let each = |token: u32| given.readout.direction(token).map_or(f32::NAN, |d| dot(&through, d) as f32);
            lead(&each)
        };
        if delta.abs() > SOME {
            let nudged: Vec<f32> = end.iter().zip(fed).map(|(x, m)| x + (NUDGE - 1.0) * m).collect();
            let [after, before] = [given.readout.logits(&nudged), base.logits.at(query).to_vec()];
            let change = lead(&|token| after[token as usize]) - lead(&|token| before[token as usize]);
            self.nudged = (self.nudged.0 + 1, self.nudged.1 + usize::from((change > 0.0) == (delta < 0.0)));
        }
        Ok(())
    }

    /// Adds intercepts of the other relations to one sentence, layer by layer.
    pub fn apply(
        &mut self,
        given: &Given,
        model: &CpuModel,
        (relation, prompt): (usize, &Prompt),
        seen: &[Seen],
        classes: &[Vec<u32>],
    ) -> Result<()> {
        let intercepts = match self.intercepts.take() {
            Some(found) => found,
            None => intercepts(given, seen),
        };
        let base = given.base(model, prompt, &[])?;
        let (query, width) = (prompt.query(), given.config.width);
        let gap = |logits: &[f32], other: usize| {
            let class = |of: usize| mean(classes[of].iter().map(|token| logits[*token as usize]));
            class(other) - class(relation)
        };
        let vector = |how: usize, layer: usize, other: usize| intercepts[how][layer][other].as_slice();
        for layer in 0..given.config.layers {
            let rows: Vec<(usize, usize)> =
                (0..2).flat_map(|how| (0..RELATIONS.len()).map(move |other| (how, other))).collect();
            let add = |row: usize, stream: &mut [f32]| {
                let (how, other) = rows[row];
                let here = &mut stream[query * width..(query + 1) * width];
                here.iter_mut().zip(vector(how, layer, other)).for_each(|(x, b)| *x += b);
            };
            let mut nobody = crate::hook::ActivationCache::new(crate::hook::Selection::default());
            let logits = given.again(model, &base).from(layer + 1, rows.len(), Some(query), add, &mut nobody)?;
            for (row, (how, other)) in rows.iter().enumerate().filter(|(_, (_, other))| *other != relation) {
                self.rises[*how].resize(given.config.layers, Vec::new());
                self.rises[*how][layer].push(gap(logits.at(row), *other) - gap(base.logits.at(query), *other));
            }
        }
        self.intercepts = Some(intercepts);
        Ok(())
    }

    /// Adds the intercepts of the layer where they do most to the end of a neutral text.
    pub fn read(&mut self, given: &Given, model: &CpuModel, text: &[u32], classes: &[Vec<u32>]) -> Result<()> {
        let Some(intercepts) = self.intercepts.as_ref() else { return Ok(()) };
        let base = crate::lens::base::Base::new(model, &given.stack, given.seed, text, &[])?;
        let (query, width, layer) = (text.len() - 1, given.config.width, self.best());
        let add = |row: usize, stream: &mut [f32]| {
            let here = &mut stream[query * width..(query + 1) * width];
            here.iter_mut().zip(&intercepts[0][layer][row]).for_each(|(x, b)| *x += b);
        };
        let mut nobody = crate::hook::ActivationCache::new(crate::hook::Selection::default());
        let again = given.again(model, &base);
        let logits = again.from(layer + 1, RELATIONS.len(), Some(query), add, &mut nobody)?;
        let one = |relation: usize| {
            let of = |logits: &[f32]| classes[relation].iter().map(|token| probability(logits, *token)).sum::<f32>();
            let most = strongest(logits.at(relation)).into_iter().take(4).map(|token| token as u32).collect();
            ([of(base.logits.at(query)), of(logits.at(relation))], most)
        };
        self.neutral = (0..RELATIONS.len()).map(one).collect();
        Ok(())
    }

    fn rise(&self, how: usize) -> Vec<f32> {
        self.rises[how].iter().map(|all| mean(all.iter().copied())).collect()
    }

    /// Whether intercepts of a layer lift their own answers and shuffled ones do not.
    fn knows(&self, layer: usize) -> bool {
        let of = |how: usize| self.rise(how).get(layer).copied().unwrap_or(f32::NAN);
        of(0) > AWARE && of(1) < UNAWARE
    }

    /// The layer whose intercepts raise their answers most, of those that know their task where some do.
    fn best(&self) -> usize {
        let order = strongest(&self.rise(0));
        order.iter().copied().find(|layer| self.knows(*layer)).or(order.first().copied()).unwrap_or(0)
    }

    /// The finding in words, and drawn; nothing before the first sentence was scaled.
    pub fn show(&self, given: &Given, plain: &[f32], scales: &[f32]) -> Shown {
        if self.heads.is_empty() {
            return (None, Vec::new());
        }
        let (layers, heads) = (given.config.layers, given.config.heads);
        let by_heads: Vec<f32> = self.heads.iter().map(|all| mean(all.iter().copied())).collect();
        let rows = ["feed-forward times λ", "heads times λ"].map(String::from).to_vec();
        let mut scaled = grid(
            ("part", rows),
            ("λ", scales.iter().map(|scale| format!("{scale}")).collect()),
            vec![percent("probability", "Probability of the answer", plain.iter().chain(&by_heads).copied())],
        );
        let average = mean(self.apart.iter().copied());
        let Instruments { lambda_a, lambda_m, .. } = given.set;
        let both = format!("Heads times {lambda_a} and feed-forward times {lambda_m} at once");
        scaled.facts.extend([
            Fact::new("both", &both, 100.0 * mean(self.both.iter().copied()), "%"),
            Fact::new("average", "With only the average token’s part taken out", 100.0 * average, "%"),
            Fact::new(
                "cosine",
                "Cosine of the last feed-forward and the average token",
                mean(self.cosines.iter().copied()),
                "",
            ),
            Fact::new(
                "agreed",
                "Sentences where Δ tells what a nudge does",
                100.0 * self.nudged.1 as f32 / self.nudged.0 as f32,
                "%",
            ),
        ]);
        let parts =
            || (0..heads).map(|head| format!("L{}H{head}", layers - 1)).chain(["feed-forward".into(), "all".into()]);
        let over = |read: &dyn Fn(&[f32]) -> f32| {
            let each = |deltas: &Vec<Vec<f32>>| {
                let column = |part: usize| deltas.iter().map(|all| all[part]).collect::<Vec<f32>>();
                (0..heads + 2).map(|part| read(&column(part))).collect::<Vec<f32>>()
            };
            self.deltas.iter().flat_map(each).collect::<Vec<f32>>()
        };
        let lowered = |all: &[f32]| all.iter().filter(|delta| **delta < 0.0).count() as f32 / all.len() as f32;
        let negative = over(&lowered);
        let mut waterfall = grid(
            ("token", ["right answer", "predicted token"].map(String::from).to_vec()),
            ("part", parts().collect()),
            vec![
                sheet("delta", "Adds to the logit", "", over(&|all| mean(all.iter().copied()))),
                percent("lowered", "Sentences where it lowers it", negative.iter().copied()),
            ],
        );
        let on_first = mean(self.first.iter().flatten().copied());
        waterfall.facts.push(Fact::new(
            "first",
            "Weight of the last layer’s heads on the first token, mean",
            on_first,
            "",
        ));
        let mut exhibits = vec![
            exhibit(
                "recall.scaled",
                "Heads or feed-forward of the last layer scaled",
                "Mean probability of the right answer. The average token is what the model predicts on ordinary text in the mean.",
                Drawn::Lines,
                scaled,
            ),
            exhibit(
                "recall.waterfall",
                "Who in the last layer lowers the answer",
                "What each part adds to the right answer’s logit, and to that of whatever token is predicted.",
                Drawn::Cells,
                waterfall,
            ),
        ];
        let (own, shuffled) = (self.rise(0), self.rise(1));
        if !own.is_empty() {
            exhibits.push(exhibit(
                "recall.intercept",
                "An intercept where it does not belong",
                "b of one relation added in sentences of another: how far it lifts its own answers over theirs. b of shuffled \
                 relations knows no task.",
                Drawn::Bars,
                grid(
                    ("b", ["of the relation", "of shuffled relations"].map(String::from).to_vec()),
                    ("behind the feed-forward of", (0..layers).map(|layer| format!("L{layer}")).collect()),
                    vec![sheet("rise", "Its answers over the others", "logits", [own.clone(), shuffled.clone()].concat())],
                ),
            ));
        }
        if !self.neutral.is_empty() {
            let names = ["home", "food", "colour"];
            let say = |(at, (_, most)): (usize, &([f32; 2], Vec<u32>))| {
                let words = most.iter().map(|id| given.text.get(*id as usize).map_or("", |text| text.trim()));
                format!("{}: {}", names[at], words.collect::<Vec<_>>().join(", "))
            };
            exhibits.push(exhibit(
                "recall.neutral",
                &format!("What b says in a text about nothing, behind L{}", self.best()),
                "The likeliest tokens with b, and the probability of the relation’s answers.",
                Drawn::Cells,
                grid(
                    ("b of", self.neutral.iter().enumerate().map(say).collect()),
                    ("text", ["as it is", "with b"].map(String::from).to_vec()),
                    vec![percent(
                        "mass",
                        "Probability of its answers",
                        self.neutral.iter().flat_map(|(mass, _)| *mass),
                    )],
                ),
            ));
        }
        let at = |factor: f32| scales.iter().position(|scale| *scale == factor).unwrap_or(0);
        let (best, whole) = (self.best(), plain.get(at(1.0)).copied().unwrap_or(f32::NAN));
        let numbers = [own.get(best).copied(), shuffled.get(best).copied()].map(|rise| rise.unwrap_or(f32::NAN));
        let verdict = told(numbers.into_iter().chain([whole]), || {
            format!(
                "The last heads lower the answer on {} of the sentences; with them {} it has {:.1} %, with the average token’s part \
                 of the feed-forward taken out {:.1} %. The intercept of L{best} lifts its own answers by {:+.2} logits over those \
                 of the sentence, a shuffled one by {:+.2}: {}.",
                in_percent(lowered(&self.deltas[0].iter().map(|all| all[..heads].iter().sum()).collect::<Vec<f32>>())),
                times(lambda_a),
                100.0 * by_heads[at(lambda_a)],
                100.0 * average,
                numbers[0],
                numbers[1],
                if self.knows(best) { "b is aware of its task" } else { "b is no function of its task here" },
            )
        });
        (verdict, exhibits)
    }
}

/// Intercepts of every layer and relation; the second ones of sentences shuffled over relations.
fn intercepts(given: &Given, seen: &[Seen]) -> Intercepts {
    let mut order: Vec<usize> = (0..seen.len()).collect();
    Draw::new(given.seed ^ 4).shuffle(&mut order);
    let one = |layer: usize, own: &[&Seen]| {
        let samples: Vec<Sample<'_>> = own.iter().map(|seen| Recall::sample(seen, seen, layer)).collect();
        fit(&samples, &samples).map_or_else(|| vec![0.0; given.config.width], |fit| fit.intercept)
    };
    let all = |pick: &dyn Fn(usize) -> Vec<usize>| {
        let of = |layer: usize| {
            let each =
                |relation: usize| one(layer, &pick(relation).into_iter().map(|at| &seen[at]).collect::<Vec<_>>());
            (0..RELATIONS.len()).map(each).collect::<Vec<Vec<f32>>>()
        };
        (0..given.config.layers).map(of).collect::<Vec<_>>()
    };
    let own = |relation: usize| (0..seen.len()).filter(|at| seen[*at].relation == relation).collect::<Vec<_>>();
    let mixed = |part: usize| order.iter().copied().skip(part).step_by(RELATIONS.len()).collect::<Vec<_>>();
    [all(&own), all(&mixed)]
}

fn probability(logits: &[f32], token: u32) -> f32 {
    let logs = log_probabilities(&Array { shape: vec![1, logits.len()], data: logits.to_vec() });
    logs.data.get(token as usize).map_or(f32::NAN, |log| log.exp())
}

/// A factor in words.
pub(super) fn times(factor: f32) -> String {
    if factor == 0.5 { "halved".into() } else { format!("times {factor}") }
}

/// Multiplies what all heads of a layer mix, in every row by another factor, and what its feed-forward then adds, in every
/// row by the same.
struct Scaled<'a> {
    layer: usize,
    heads: &'a [f32],
    feed_forward: f32,
}

impl Tap for Scaled<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at == HookPoint::new(self.layer, Site::Z)
            || (self.feed_forward != 1.0 && at == HookPoint::new(self.layer, Site::MlpOut))
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        let mut edited = value.clone();
        if at.site == Site::MlpOut {
            edited.data.iter_mut().for_each(|x| *x *= self.feed_forward);
            return Some(edited);
        }
        let stripe = edited.data.len() / self.heads.len();
        for (row, factor) in edited.data.chunks_mut(stripe).zip(self.heads) {
            row.iter_mut().for_each(|x| *x *= factor);
        }
        Some(edited)
    }
}
