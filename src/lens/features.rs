//! Which tokens a prediction rests on, by seven answers to that question, and how far the answers agree (paper 20).
//!
//! f is the logit of the predicted token at the last position, e the embeddings, e₀ those of as many filler tokens at the same
//! positions.
//!
//! | Method | Score of a token |
//! |---|---|
//! | attention | weight of the last row, mean over layers and heads |
//! | rollout | last row of Π rownorm(A_l + I), A_l the mean over heads |
//! | gradient × input | abs Σ_d e ⊙ ∂f/∂e |
//! | integrated gradients | abs Σ_d (e − e₀) ⊙ mean of ∂f/∂e at 50 midpoints between e₀ and e |
//! | Grad-SHAP | the same at 5 random points between them |
//! | LIME | abs coefficient of a ridge regression (λ = 1) of f on 200 random masks, near masks weighing more |
//! | leave one out | abs f − f with the token's embedding replaced by e₀ |
//!
//! Two answers agree as far as Kendall's tau-b of their scores says. Source: Neely et al., “A Song of (Dis)agreement”, 2022.
//! Ours: the causal read-out, 200 masks where the paper's code takes 1000, leave one out. DeepLIFT and Deep-SHAP are left out:
//! their rescale rule is defined on modules that a gated feed-forward and a norm do not consist of.

use super::base::Base;
use super::exhibit::{Drawn, Exhibit};
use super::finding::Fact;
use super::patterns::Patterns;
use super::ranks::{kendall, rank_correlation};
use super::study::{exhibit, grid, mean, sheet, spread};
use crate::hook::{ActivationCache, Array, Selection, Site};
use crate::mechanism::Stack;
use crate::model::sample::likeliest;
use crate::model::{CpuModel, is_plain};
use crate::train::circuits::Draw;
use crate::{Error, Result};

/// Rows of one batch, and how many batches integrated gradients and LIME take.
const ROWS: usize = 10;
const MIDPOINTS: usize = 50;
const MASKS: usize = 200;
const RANDOM: usize = 5;
const RIDGE: f64 = 1.0;

/// A way to score tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Mean attention of the last row.
    Attention,
    /// Attention rolled out through the layers.
    Rollout,
    /// Gradient times input.
    Gradient,
    /// Integrated gradients.
    Integrated,
    /// Expected gradients.
    Shap,
    /// A linear model of masks.
    Lime,
    /// One token at a time replaced.
    LeaveOut,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 7] = [
        Method::Attention,
        Method::Rollout,
        Method::Gradient,
        Method::Integrated,
        Method::Shap,
        Method::Lime,
        Method::LeaveOut,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Attention => "attention",
            Method::Rollout => "rollout",
            Method::Gradient => "gradient × input",
            Method::Integrated => "integrated gradients",
            Method::Shap => "Grad-SHAP",
            Method::Lime => "LIME",
            Method::LeaveOut => "leave one out",
        }
    }

    fn of_attention(self) -> bool {
        matches!(self, Method::Attention | Method::Rollout)
    }

    fn needs_slopes(self) -> bool {
        matches!(self, Method::Gradient | Method::Integrated | Method::Shap)
    }

    /// Batches it takes.
    fn parts(self) -> usize {
        match self {
            Method::Integrated => MIDPOINTS / ROWS,
            Method::Lime => MASKS / ROWS,
            _ => 1,
        }
    }
}

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
}

/// The study.
pub struct Features {
    stack: Stack,
    seed: u64,
    inputs: Vec<Vec<u32>>,
    labels: Vec<Vec<String>>,
    filler: u32,
    answer: Option<u32>,
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
        let one = |input: usize| {
            methods.iter().flat_map(move |method| (0..method.parts()).map(move |part| (input, *method, part)))
        };
        let steps = (0..inputs.len()).flat_map(one).collect();
        Self { stack, seed, inputs, labels, filler, answer, methods, steps, now: None, found: Vec::new() }
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
            let answer = self.answer.filter(|_| index == 0);
            self.now = Some((index, self.begin(model, &self.inputs[index], answer)?));
            let tokens = self.labels.get(index).cloned().unwrap_or_default();
            self.found.push(Scored { tokens, scores: vec![None; Method::ALL.len()], complete: None });
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
            Method::Attention | Method::Rollout => Some(attention(&input.base.captures, model, count, method)?),
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
    pub fn show(&self) -> (String, Vec<Exhibit>) {
        let Some(first) = self.found.first() else { return (String::new(), Vec::new()) };
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
        let verdict = match with.is_finite() && among.is_finite() {
            true => format!(
                "Over {} inputs attention agrees with the attributions at tau = {with:.2}, and the attributions among each other \
                 at {among:.2}: {}.",
                self.found.len(),
                if among < 0.6 {
                    "they do not agree either, so their disagreement with attention settles nothing"
                } else {
                    "here they agree with each other"
                }
            ),
            false => String::new(),
        };
        let caption = "The same text once for each method, each shaded by its largest score.";
        let exhibits = vec![
            exhibit("tokens", "What each method points at", caption, Drawn::Tokens, tokens),
            exhibit(
                "agreement",
                "How far they agree",
                "Mean over inputs; undefined where a method scores all tokens alike.",
                Drawn::Cells,
                agreements,
            ),
        ];
        (verdict, exhibits)
    }
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

/// Coefficients of a weighted ridge regression with a free intercept.
pub fn ridge(rows: &[(Vec<f64>, f64)], weights: &[f64]) -> Vec<f64> {
    let count = rows.first().map_or(0, |(row, _)| row.len());
    let total: f64 = weights.iter().sum();
    let centre = |read: &dyn Fn(usize) -> f64| {
        weights.iter().enumerate().map(|(row, weight)| weight * read(row)).sum::<f64>() / total
    };
    let means: Vec<f64> = (0..count).map(|column| centre(&|row| rows[row].0[column])).collect();
    let middle = centre(&|row| rows[row].1);
    let mut system = vec![vec![0.0; count + 1]; count];
    for ((row, value), weight) in rows.iter().zip(weights) {
        for (a, line) in system.iter_mut().enumerate() {
            let left = weight * (row[a] - means[a]);
            for (b, cell) in line[..count].iter_mut().enumerate() {
                *cell += left * (row[b] - means[b]);
            }
            line[count] += left * (value - middle);
        }
    }
    system.iter_mut().enumerate().for_each(|(at, line)| line[at] += RIDGE);
    // The ridge keeps every pivot positive.
    for pivot in 0..count {
        let line = system[pivot].clone();
        for (_, other) in system.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = other[pivot] / line[pivot];
            other.iter_mut().zip(&line).for_each(|(cell, above)| *cell -= factor * above);
        }
    }
    system.iter().enumerate().map(|(at, line)| line[count] / line[at]).collect()
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
        _ => {
            let rows: Vec<_> = layers.iter().map(last).collect();
            (0..count).map(|key| mean(rows.iter().map(|row| row[key]))).collect()
        }
    })
}

/// Last row of Π rownorm(A_l + I) of patterns `[Q,K]`, the first layer first.
///
/// ```
/// use attnscope::lens::features::rollout;
/// let same = [1.0, 0.0, 0.0, 1.0];
/// assert_eq!(rollout(&[same.to_vec(), same.to_vec()], 2), [0.0, 1.0]);
/// ```
pub fn rollout(layers: &[Vec<f32>], count: usize) -> Vec<f32> {
    let mut row = vec![0.0; count];
    row[count - 1] = 1.0;
    for layer in layers.iter().rev() {
        let mut next = vec![0.0; count];
        for (query, weight) in row.iter().enumerate() {
            let own = &layer[query * count..(query + 1) * count];
            let total: f32 = own.iter().sum::<f32>() + 1.0;
            for (key, cell) in own.iter().enumerate() {
                next[key] += weight * (cell + f32::from(u8::from(key == query))) / total;
            }
        }
        row = next;
    }
    row
}
