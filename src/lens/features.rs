//! Which tokens a prediction rests on, by ten answers to that question, and how far the answers agree (paper 20).
//!
//! f is the logit of the predicted token at the last position, e the embeddings, e₀ those of as many filler tokens at the same
//! positions.
//!
//! | Method | Score of a token |
//! |---|---|
//! | attention | weight of the last row, mean over layers and heads |
//! | rollout | last row of Π rownorm(A_l + I), A_l the mean over heads |
//! | flow | largest flow from the last position of the last layer to the token, edges as wide as rownorm(A_l + I) |
//! | gradient × input | abs Σ_d e ⊙ ∂f/∂e |
//! | integrated gradients | abs Σ_d (e − e₀) ⊙ mean of ∂f/∂e at 50 midpoints between e₀ and e |
//! | Grad-SHAP | the same at 5 random points between them |
//! | DeepLIFT | abs Σ_d (e − e₀) ⊙ multipliers: slopes, but of activations those of the line from e₀'s point to e's |
//! | Deep-SHAP | the same against five references, the mean of all: filler, zeros, three random texts |
//! | LIME | abs coefficient of a ridge regression (λ = 1) of f on 200 random masks, near masks weighing more |
//! | leave one out | abs f − f with the token's embedding replaced by e₀ |
//!
//! Two answers agree as far as Kendall's tau-b of their scores says. Source: Neely et al., “A Song of (Dis)agreement”, 2022.
//! Ours: the causal read-out, 200 masks where the paper's code takes 1000, leave one out. The rescale rule of DeepLIFT bends
//! activations only; products, norms and softmax keep their slopes, as the library does with what it does not know, so its
//! sum is not f(e) − f(e₀) here.
//!
//! Where a model knows the tasks of [`planted`], which words decide is known, and how often each method finds them is
//! measured: a truth to hold methods against, which their agreement is not.

mod method;
pub mod planted;
mod scores;

pub use method::Method;
pub use scores::{flow, ridge, rollout};

use super::base::Base;
use super::exhibit::Drawn;
use super::finding::Fact;
use super::patterns::Patterns;
use super::ranks::{kendall, rank_correlation};
use super::study::{Shown, exhibit, grid, mean, sheet, spread, told};
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::mechanism::Stack;
use crate::model::sample::likeliest;
use crate::model::{CpuModel, is_plain};
use crate::train::circuits::Draw;
use crate::{Error, Result};
use planted::Planted;

/// Rows of one batch, and how many batches integrated gradients and LIME take.
const ROWS: usize = 10;
const MIDPOINTS: usize = 50;
const MASKS: usize = 200;
const RANDOM: usize = 5;
/// References of Deep-SHAP: filler, zeros, and three random texts.
const REFERENCES: usize = 5;

/// One input under way.
struct Input {
    base: Base,
    /// Embeddings and those of the filler, `[Q,M]`.
    own: Vec<f32>,
    filler: Vec<f32>,
    answer: u32,
    /// Slopes summed over the points of a method, and their number.
    slopes: (Vec<f64>, usize),
    /// Masks and what f was.
    masks: Vec<(Vec<f64>, f64)>,
}

/// Scores of one input, method by method; none where a method does not apply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// Its tokens as text.
    pub tokens: Vec<String>,
    /// Scores of each token.
    pub scores: Vec<Option<Vec<f32>>>,
    /// Σ of integrated gradients, with their signs, and f(e) − f(e₀).
    pub complete: Option<(f32, f32)>,
    /// Whether the token explained is the one the model predicts.
    pub known: bool,
}

/// The study.
pub struct Features {
    stack: Stack,
    seed: u64,
    inputs: Vec<Vec<u32>>,
    labels: Vec<Vec<String>>,
    filler: u32,
    answer: Option<u32>,
    /// The last inputs, whose cues are known.
    planted: Vec<Planted>,
    methods: Vec<Method>,
    steps: Vec<(usize, Method, usize)>,
    now: Option<(usize, Input)>,
    found: Vec<Scored>,
}

impl Features {
    /// Over `inputs`, the first of which is shown; `answer` is the token explained in it, the likeliest one else. `filler`
    /// stands in the place of a token that is taken away.
    pub fn new(
        stack: Stack,
        seed: u64,
        inputs: Vec<Vec<u32>>,
        labels: Vec<Vec<String>>,
        filler: u32,
        answer: Option<u32>,
    ) -> Self {
        let plain = is_plain(&stack);
        let methods: Vec<Method> = Method::ALL.into_iter().filter(|method| plain || !method.needs_slopes()).collect();
        let steps = steps(0..inputs.len(), &methods);
        let (planted, now, found) = (Vec::new(), None, Vec::new());
        Self { stack, seed, inputs, labels, filler, answer, planted, methods, steps, now, found }
    }

    /// Explains sentences whose cues are known behind the others.
    #[must_use]
    pub fn with_planted(mut self, planted: Vec<Planted>, labels: Vec<Vec<String>>) -> Self {
        let first = self.inputs.len();
        self.inputs.extend(planted.iter().map(|one| one.tokens.clone()));
        self.labels.extend(labels);
        self.steps.extend(steps(first..self.inputs.len(), &self.methods));
        self.planted = planted;
        self
    }

    /// The planted sentence that input `at` is.
    fn cue(&self, at: usize) -> Option<&Planted> {
        self.planted.get((at + self.planted.len()).checked_sub(self.inputs.len())?)
    }

    /// Batches in all.
    pub fn all(&self) -> usize {
        self.steps.len()
    }

    /// What has been scored so far.
    pub fn found(&self) -> &[Scored] {
        &self.found
    }

    /// One batch.
    ///
    /// # Errors
    /// Those of the passes.
    pub fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        let (index, method, part) = self.steps[at];
        if self.now.as_ref().is_none_or(|(current, _)| *current != index) {
            let answer = self.cue(index).map(|cue| cue.answer).or(self.answer.filter(|_| index == 0));
            let input = self.begin(model, &self.inputs[index], answer)?;
            let known = input.answer == likeliest(input.base.logits.at(input.base.tokens.len() - 1));
            let tokens = self.labels.get(index).cloned().unwrap_or_default();
            self.found.push(Scored { tokens, scores: vec![None; Method::ALL.len()], complete: None, known });
            self.now = Some((index, input));
        }
        let Some((_, mut input)) = self.now.take() else { return Ok(()) };
        let scores = self.scores(model, &mut input, method, part)?;
        let complete = match method == Method::Integrated && scores.is_some() {
            true => Some(self.completeness(model, &input)?),
            false => None,
        };
        if let Some(found) = self.found.last_mut() {
            found.complete = found.complete.or(complete);
            if let Some(at) = Method::ALL.iter().position(|other| *other == method) {
                found.scores[at] = scores;
            }
        }
        self.now = Some((index, input));
        Ok(())
    }

    fn begin(&self, model: &CpuModel, tokens: &[u32], answer: Option<u32>) -> Result<Input> {
        let base = Base::new(model, &self.stack, self.seed, tokens, &[Site::Pattern])?;
        let plain = Base::new(model, &self.stack, self.seed, &vec![self.filler; tokens.len()], &[])?;
        let (own, filler) = (base.residuals[0].data.clone(), plain.residuals[0].data.clone());
        let answer = answer.unwrap_or_else(|| likeliest(base.logits.at(tokens.len() - 1)));
        Ok(Input { base, own, filler, answer, slopes: (Vec::new(), 0), masks: Vec::new() })
    }

    /// Scores after the last part of a method; none before it.
    fn scores(&self, model: &CpuModel, input: &mut Input, method: Method, part: usize) -> Result<Option<Vec<f32>>> {
        let count = input.base.tokens.len();
        Ok(match method {
            Method::Attention | Method::Rollout | Method::Flow => {
                Some(attention(&input.base.captures, model, count, method)?)
            }
            Method::Gradient => {
                let slope = self.slopes(model, input, std::slice::from_ref(&1.0))?;
                Some(absolute(&products(&slope, &input.own), count))
            }
            Method::Integrated => {
                if part == 0 {
                    input.slopes = (Vec::new(), 0);
                }
                let point = |row| (((part * ROWS + row) as f32) + 0.5) / MIDPOINTS as f32;
                self.gather(model, input, &(0..ROWS).map(point).collect::<Vec<f32>>())?;
                (part + 1 == method.parts()).then(|| absolute(&input.path(), count))
            }
            Method::Shap => {
                let mut draw = Draw::new(self.seed);
                input.slopes = (Vec::new(), 0);
                let points: Vec<f32> = (0..RANDOM).map(|_| draw.below(1 << 20) as f32 / (1 << 20) as f32).collect();
                self.gather(model, input, &points)?;
                Some(absolute(&input.path(), count))
            }
            Method::DeepLift => Some(absolute(&self.lifted(model, input, &[&input.filler])?, count)),
            Method::DeepShap => {
                let references = self.references(model, input)?;
                let references: Vec<&[f32]> = references.iter().map(Vec::as_slice).collect();
                Some(absolute(&self.lifted(model, input, &references)?, count))
            }
            Method::Lime => {
                if part == 0 {
                    input.masks.clear();
                }
                let mut draw = Draw::new(self.seed ^ ((part as u64 + 1) << 8));
                let masks: Vec<Vec<bool>> = (0..ROWS).map(|_| (0..count).map(|_| draw.chance(0.5)).collect()).collect();
                let values = self.values(model, input, &masks)?;
                for (mask, value) in masks.iter().zip(values) {
                    input.masks.push((mask.iter().map(|kept| f64::from(u8::from(*kept))).collect(), f64::from(value)));
                }
                (part + 1 == method.parts()).then(|| input.lime())
            }
            Method::LeaveOut => {
                let without = |token: usize| (0..count).map(|other| other != token).collect::<Vec<bool>>();
                let whole = input.base.logits.at(count - 1).get(input.answer as usize).copied().unwrap_or(f32::NAN);
                let values = self.values(model, input, &(0..count).map(without).collect::<Vec<_>>())?;
                Some(values.into_iter().map(|value| (whole - value).abs()).collect())
            }
        })
    }

    /// Slopes at e₀ + point·(e − e₀), `[points,Q,M]`.
    fn slopes(&self, model: &CpuModel, input: &Input, points: &[f32]) -> Result<Vec<f32>> {
        let count = input.base.tokens.len();
        let mut data = Vec::with_capacity(points.len() * input.own.len());
        for point in points {
            data.extend(input.own.iter().zip(&input.filler).map(|(own, filler)| filler + point * (own - filler)));
        }
        let residual = Array::new([points.len(), count, input.own.len() / count], data)?;
        let slopes = model.slopes(&residual, count - 1, &[(input.answer, 1.0)])?;
        let first = slopes.begin.into_iter().next();
        first.map(|slope| slope.data).ok_or_else(|| Error::Internal("no slope at the embeddings".into()))
    }

    /// Mean over references of (e − e₀) times the multipliers against e₀, entry by entry.
    fn lifted(&self, model: &CpuModel, input: &Input, references: &[&[f32]]) -> Result<Vec<f64>> {
        let (count, rows) = (input.base.tokens.len(), references.len());
        let shape = [rows, count, input.own.len() / count];
        let (own, other) = (Array::new(shape, input.own.repeat(rows))?, Array::new(shape, references.concat())?);
        let slopes = model.multipliers(&own, &other, count - 1, &[(input.answer, 1.0)])?;
        let slope =
            slopes.begin.into_iter().next().ok_or_else(|| Error::Internal("no slope at the embeddings".into()))?;
        let mut sum = vec![0.0; input.own.len()];
        for (reference, slope) in references.iter().zip(slope.data.chunks(input.own.len())) {
            let step = input.own.iter().zip(reference.iter()).map(|(own, other)| f64::from(own - other));
            let each = sum.iter_mut().zip(step.zip(slope));
            each.for_each(|(sum, (step, slope))| *sum += step * f64::from(*slope) / rows as f64);
        }
        Ok(sum)
    }

    /// What Deep-SHAP compares with.
    fn references(&self, model: &CpuModel, input: &Input) -> Result<Vec<Vec<f32>>> {
        let mut all = vec![input.filler.clone(), vec![0.0; input.own.len()]];
        let mut draw = Draw::new(self.seed ^ 5);
        while all.len() < REFERENCES {
            let one = |_: &u32| draw.below(model.config().vocabulary) as u32;
            let tokens: Vec<u32> = input.base.tokens.iter().map(one).collect();
            all.push(Base::new(model, &self.stack, self.seed, &tokens, &[])?.residuals.swap_remove(0).data);
        }
        Ok(all)
    }

    fn gather(&self, model: &CpuModel, input: &mut Input, points: &[f32]) -> Result<()> {
        let slopes = self.slopes(model, input, points)?;
        input.slopes.0.resize(input.own.len(), 0.0);
        for slope in slopes.chunks(input.own.len()) {
            input.slopes.0.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += f64::from(*slope));
            input.slopes.1 += 1;
        }
        Ok(())
    }

    /// f with the tokens of each mask kept and the others replaced by filler.
    fn values(&self, model: &CpuModel, input: &Input, masks: &[Vec<bool>]) -> Result<Vec<f32>> {
        let count = input.base.tokens.len();
        let width = input.own.len() / count;
        let row = |mask: &Vec<bool>| -> Vec<f32> {
            let from = |token: usize| if mask[token] { &input.own } else { &input.filler };
            (0..count).flat_map(|token| from(token)[token * width..(token + 1) * width].iter().copied()).collect()
        };
        let residual = Array::new([masks.len(), count, width], masks.iter().flat_map(row).collect())?;
        let mut nobody = ActivationCache::new(Selection::default());
        let logits = model.resume(&residual, 0, Some(count - 1), &self.stack, self.seed, &mut nobody)?;
        let vocabulary = model.config().vocabulary;
        Ok(logits.data.chunks(vocabulary).map(|row| row[input.answer as usize]).collect())
    }

    fn completeness(&self, model: &CpuModel, input: &Input) -> Result<(f32, f32)> {
        let count = input.base.tokens.len();
        let ends = self.values(model, input, &[vec![true; count], vec![false; count]])?;
        Ok((input.path().iter().sum::<f64>() as f32, ends[0] - ends[1]))
    }

    /// The finding in words, and its drawings.
    pub fn show(&self) -> Shown {
        let Some(first) = self.found.first() else { return (None, Vec::new()) };
        let names: Vec<String> = self.methods.iter().map(|method| method.name().to_string()).collect();
        let of = |scored: &Scored, method: &Method| {
            let at = Method::ALL.iter().position(|other| other == method)?;
            scored.scores.get(at).cloned().flatten()
        };
        let shade = |scores: Vec<f32>| {
            let most = scores.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
            scores.into_iter().map(|score| score / most).collect::<Vec<f32>>()
        };
        let ribbon = |method| of(first, method).map_or(vec![f32::NAN; first.tokens.len()], shade);
        let values = self.methods.iter().flat_map(ribbon).collect();
        let tokens = grid(
            ("method", names.clone()),
            ("token", first.tokens.clone()),
            vec![sheet("score", "share of the largest score", "", values)],
        );
        let agreement = |a: &Method, b: &Method, how: fn(&[f32], &[f32]) -> f32| -> Vec<f32> {
            let each = |scored: &Scored| Some(how(&of(scored, a)?, &of(scored, b)?));
            self.found.iter().filter_map(each).filter(|tau| tau.is_finite()).collect()
        };
        let table = |read: &dyn Fn(&Method, &Method) -> f32| {
            self.methods.iter().flat_map(|a| self.methods.iter().map(move |b| read(a, b))).collect::<Vec<f32>>()
        };
        let sheets = vec![
            sheet("tau", "Kendall’s tau", "", table(&|a, b| mean(agreement(a, b, kendall)))),
            sheet("half", "± 95 %", "", table(&|a, b| spread(&agreement(a, b, kendall)).1)),
            sheet("rank", "Spearman’s rank correlation", "", table(&|a, b| mean(agreement(a, b, rank_correlation)))),
        ];
        let mut agreements = grid(("method", names.clone()), ("method", names), sheets);
        let pairs = |keep: &dyn Fn(Method, Method) -> bool| {
            let mut all = Vec::new();
            for (at, a) in self.methods.iter().enumerate() {
                for b in self.methods[..at].iter().filter(|b| keep(*a, **b)) {
                    all.extend(agreement(a, b, kendall));
                }
            }
            mean(all)
        };
        let with = pairs(&|a, b| a.of_attention() != b.of_attention());
        let among = pairs(&|a, b| !a.of_attention() && !b.of_attention());
        agreements.facts.push(Fact::new("attention", "tau of attention with attributions, mean", with, ""));
        agreements.facts.push(Fact::new("attributions", "tau among attributions, mean", among, ""));
        if let Some((sum, difference)) = first.complete {
            agreements.facts.push(Fact::new("sum", "Σ integrated gradients", sum, "logits"));
            agreements.facts.push(Fact::new("difference", "f(e) − f(e₀), which it should be", difference, "logits"));
        }
        if self.methods.len() < Method::ALL.len() {
            let note = "Gradients are those of attention as the model was trained, so their methods are left out under a mechanism.";
            agreements.notes.push(note.into());
        }
        let verdict = told([with, among], || {
            format!(
                "Over {} inputs attention agrees with the attributions at tau = {with:.2}, and the attributions among each other \
                 at {among:.2}: {}.",
                self.found.len(),
                if among < 0.6 {
                    "they do not agree either, so their disagreement with attention settles nothing"
                } else {
                    "here they agree with each other"
                }
            )
        });
        let caption = "The same text once for each method, each shaded by its largest score.";
        let mut exhibits = vec![
            exhibit("tokens", "What each method points at", caption, Drawn::Tokens, tokens),
            exhibit(
                "agreement",
                "How far they agree",
                "Mean over inputs; undefined where a method scores all tokens alike.",
                Drawn::Cells,
                agreements,
            ),
        ];
        let cues =
            planted::show(&self.planted, self.found.get(self.inputs.len() - self.planted.len()..), &self.methods);
        let (told, drawn) = cues.unwrap_or_default();
        exhibits.extend(drawn);
        (verdict.map(|verdict| verdict + &told), exhibits)
    }
}

/// Batches of these inputs, method by method.
fn steps(inputs: std::ops::Range<usize>, methods: &[Method]) -> Vec<(usize, Method, usize)> {
    let one = |input: usize| {
        methods.iter().flat_map(move |method| (0..method.parts()).map(move |part| (input, *method, part)))
    };
    inputs.flat_map(one).collect()
}

impl Input {
    /// (e − e₀) times the mean slope, entry by entry.
    fn path(&self) -> Vec<f64> {
        let count = self.slopes.1.max(1) as f64;
        let step = self.own.iter().zip(&self.filler).map(|(own, filler)| f64::from(own - filler));
        step.zip(&self.slopes.0).map(|(step, slope)| step * slope / count).collect()
    }

    /// Absolute coefficients of the weighted ridge regression.
    fn lime(&self) -> Vec<f32> {
        let count = self.base.tokens.len();
        let width = self.own.len() / count;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let part = |values: &'_ [f32], token: usize| values[token * width..(token + 1) * width].to_vec();
        let parts: Vec<[f64; 3]> = (0..count)
            .map(|token| {
                let (own, filler) = (part(&self.own, token), part(&self.filler, token));
                [dot(&own, &own), dot(&own, &filler), dot(&filler, &filler)]
            })
            .collect();
        let whole: f64 = parts.iter().map(|part| part[0]).sum();
        let weight = |mask: &[f64]| {
            let (mut along, mut norm) = (0.0, 0.0);
            for (kept, part) in mask.iter().zip(&parts) {
                (along, norm) =
                    if *kept > 0.5 { (along + part[0], norm + part[0]) } else { (along + part[1], norm + part[2]) };
            }
            let distance = 1.0 - along / (whole * norm).sqrt().max(f64::MIN_POSITIVE);
            (-distance * distance / 2.0).exp()
        };
        let weights: Vec<f64> = self.masks.iter().map(|(mask, _)| weight(mask)).collect();
        ridge(&self.masks, &weights).into_iter().map(|coefficient| coefficient.abs() as f32).collect()
    }
}

fn products(slope: &[f32], input: &[f32]) -> Vec<f64> {
    slope.iter().zip(input).map(|(slope, input)| f64::from(*slope) * f64::from(*input)).collect()
}

/// |Σ_d| for each token.
fn absolute(entries: &[f64], tokens: usize) -> Vec<f32> {
    entries.chunks(entries.len() / tokens.max(1)).map(|entries| entries.iter().sum::<f64>().abs() as f32).collect()
}

fn attention(captures: &ActivationCache, model: &CpuModel, count: usize, method: Method) -> Result<Vec<f32>> {
    let mut layers = Vec::new();
    for layer in 0..model.config().layers {
        let pattern = captures.get(layer, Site::Pattern)?;
        let array = Array::new([1, model.config().heads, count, count], pattern.data.clone())?;
        let rows: Vec<_> =
            Patterns::new(&array, None, None)?.iter().map(|rows| rows.all_shares().into_owned()).collect();
        layers.push((0..count * count).map(|cell| mean(rows.iter().map(|row| row[cell]))).collect::<Vec<f32>>());
    }
    let last = |layer: &Vec<f32>| layer[(count - 1) * count..].to_vec();
    Ok(match method {
        Method::Rollout => rollout(&layers, count),
        Method::Flow => flow(&layers, count),
        _ => {
            let rows: Vec<_> = layers.iter().map(last).collect();
            (0..count).map(|key| mean(rows.iter().map(|row| row[key]))).collect()
        }
    })
}
