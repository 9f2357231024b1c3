//! Answers of the instruments: an experiment and the id of an analysis are the whole question.
//!
//! Instruments edit passes, which only the definition can do, so all of them run on the processor whatever computes the
//! panes. A pass that was kept ([`Base`]) is used by every instrument that asks about the same tokens and mechanisms, so
//! that taking out another head costs only the layers from that head on.

use super::plan::{Key, Plan};
use super::{Engine, measure};
use crate::experiment::{Experiment, Head, Instruments, PANE_NAMES, Through};
use crate::hook::Site;
use crate::lens::analysis::{self, Analysis};
use crate::lens::attribution::attribute;
use crate::lens::base::{Again, Base};
use crate::lens::causal::{Judged, Removals, every_head};
use crate::lens::composition::{Composition, Score};
use crate::lens::estimate;
use crate::lens::exhibit::Exhibits;
use crate::lens::finding::{Ablated, Asked, Axis, Fact, Finding, Found, Grid, Sheet, View};
use crate::lens::logit_lens::{Look, logit_lens};
use crate::lens::patching::{self, Patching};
use crate::lens::paths::{self, Paths};
use crate::lens::readout::Readout;
use crate::lens::sink_set::causes::{self, Causes};
use crate::mechanism::Stack;
use crate::model::is_plain;
use crate::{Error, Result};
use std::sync::Arc;
use web_time::Instant;

/// Passes that are kept: a clean and a corrupted one, and those of another pane.
const KEPT: usize = 4;
/// Tokens named in each reading of the lens.
const TOP: usize = 5;
/// Positions that the lens reads; of longer prompts the last ones.
const READ: usize = 128;

/// A kept pass and what it depends on.
struct Kept {
    key: Key,
    sites: Vec<Site>,
    base: Arc<Base>,
}

/// What instruments keep of a model from one question to the next.
#[derive(Default)]
pub(super) struct Bench {
    /// Passes, the newest last.
    kept: Vec<Kept>,
    /// Final norm and vocabulary head.
    readout: Option<Arc<Readout>>,
    composition: Option<Composition>,
    /// Studies under way or done, the newest last.
    pub studies: Vec<super::study::Work>,
}

/// One pane's side of a question.
pub(super) struct Question<'a> {
    pub set: &'a Instruments,
    pub pane: &'static str,
    pub stack: Stack,
    pub seed: u64,
    pub tokens: Vec<u32>,
    pub query: usize,
    pub pin: Head,
}

impl Engine {
    /// Answers the analysis `id` about one pane. `step` hears how many passes of how many are done and is asked, before each,
    /// whether to stop.
    ///
    /// # Errors
    /// [`Error::Superseded`] when stopped; [`Error::Unknown`] for an analysis, pane, token or head that is not there;
    /// [`Error::Param`] for settings that do not fit; those of the plan and of the passes.
    pub async fn analyse(
        &mut self,
        experiment: &Experiment,
        pane: usize,
        id: &str,
        mut step: impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<Finding> {
        let start = Instant::now();
        let analysis = analysis::by_id(id)?;
        let mut plan = self.plan(experiment).await?;
        if pane >= plan.stacks.len() {
            let remedy = format!("the experiment has {}", plan.stacks.len());
            return Err(Error::Unknown { what: "pane", name: (pane + 1).to_string(), remedy });
        }
        let tokens = plan.tokens_of(pane).to_vec();
        let stack = plan.stacks.swap_remove(pane);
        let Plan { seed, .. } = plan;
        let query = experiment.view.query.unwrap_or(usize::MAX).min(tokens.len() - 1);
        let question = Question {
            set: &experiment.instruments,
            pane: PANE_NAMES[pane],
            stack,
            seed,
            tokens,
            query,
            pin: experiment.view.pin,
        };
        let (asked, found) = match analysis.id {
            "logit_lens" => self.readings(&question)?,
            "attribution" => self.parts(&question)?,
            "ablation" => self.ablated(&question)?,
            "sweep" => self.sweep(&question, &mut step).await?,
            "patching" => self.patching(&question, experiment.bos, &mut step).await?,
            "paths" => self.paths(&question, experiment.bos, &mut step).await?,
            "composition" => self.composition(&question)?,
            "exhibits" => self.exhibits(&question, &experiment.view.paper)?,
            "exhibits_slow" => self.slow_exhibits(&question, &experiment.view.paper, &mut step).await?,
            "evidence" => self.evidence(&question, &mut step).await?,
            "norms" => self.norms(&question, experiment.view.position)?,
            _ if analysis.view == View::Study => self.study(&question, experiment, analysis, &mut step).await?,
            _ => return Err(Error::Internal(format!("{} has no answer", analysis.id))),
        };
        Ok(self.finding(analysis, &question.tokens, asked, found, start))
    }

    fn finding(&self, analysis: &Analysis, tokens: &[u32], asked: Asked, found: Found, start: Instant) -> Finding {
        let mut ids: Vec<u32> = asked.against.into_iter().chain([asked.answer]).collect();
        if let Found::Readings(lens) = &found {
            ids.extend(lens.readings.iter().flat_map(|reading| &reading.top).map(|(id, _)| *id));
        }
        ids.sort_unstable();
        ids.dedup();
        let names = ids.into_iter().map(|id| self.token(id)).collect();
        let millis = start.elapsed().as_secs_f32() * 1e3;
        let tokens = tokens.iter().map(|id| self.token(*id)).collect();
        Finding { analysis: analysis.id.into(), asked, found, millis, tokens, names }
    }

    /// The pass of these tokens under a stack, kept from earlier where it is.
    pub(super) fn base(&mut self, question: &Question<'_>, tokens: &[u32], sites: &[Site]) -> Result<Arc<Base>> {
        let key = Key::new(tokens, question.seed, &question.stack);
        let fits = |kept: &Kept| kept.key == key && sites.iter().all(|site| kept.sites.contains(site));
        if let Some(at) = self.bench.kept.iter().position(fits) {
            // The newest stands last.
            let kept = self.bench.kept.remove(at);
            let base = kept.base.clone();
            self.bench.kept.push(kept);
            return Ok(base);
        }
        let base = Base::new(&self.runner.cpu, &question.stack, question.seed, tokens, sites)?;
        if base.logits.data.iter().any(|logit| !logit.is_finite()) {
            let problem = "its numbers grew beyond what f32 holds; move a control back".into();
            return Err(Error::Stack { pane: question.pane.into(), problem });
        }
        let base = Arc::new(base);
        self.bench.kept.retain(|kept| kept.key != key);
        if self.bench.kept.len() >= KEPT {
            self.bench.kept.remove(0);
        }
        self.bench.kept.push(Kept { key, sites: sites.into(), base: base.clone() });
        Ok(base)
    }

    /// The explained token: the chosen one, else the likeliest.
    pub(super) fn asked(&self, question: &Question<'_>, base: &Base) -> Result<Asked> {
        let likeliest = best(base.log_probabilities.at(question.query), None);
        let asked = Asked {
            query: question.query,
            answer: question.set.answer.unwrap_or(likeliest),
            against: question.set.against,
        };
        for id in asked.against.into_iter().chain([asked.answer]) {
            if id as usize >= self.config.vocabulary {
                let remedy = format!("the vocabulary has {} tokens", self.config.vocabulary);
                return Err(Error::Unknown { what: "token", name: id.to_string(), remedy });
            }
        }
        Ok(asked)
    }

    fn readings(&mut self, question: &Question<'_>) -> Result<(Asked, Found)> {
        let base = self.base(question, &question.tokens, &[])?;
        let asked = self.asked(question, &base)?;
        let first = question.tokens.len().saturating_sub(READ);
        let look = Look { first, norm: question.set.norm, top: TOP, answer: Some(asked.answer) };
        let readout = self.readout()?;
        let lens = logit_lens(&readout, &base.captures, self.config.layers, &question.tokens, look)?;
        Ok((asked, Found::Readings(lens)))
    }

    fn parts(&mut self, question: &Question<'_>) -> Result<(Asked, Found)> {
        let sites = [Site::Embed, Site::PosEmbed, Site::Result, Site::MlpOut];
        let base = self.base(question, &question.tokens, &sites)?;
        let asked = self.asked(question, &base)?;
        let (readout, weights) = (self.readout()?, self.runner.cpu.weights());
        let Asked { query, answer, against } = asked;
        let parts = attribute(&readout, &self.config, &weights, &base.captures, query, answer, against)?;
        Ok((asked, Found::Parts(parts)))
    }

    /// What stands at the examined position, or at the last one before it that the prompt has, against all others.
    fn norms(&mut self, question: &Question<'_>, position: usize) -> Result<(Asked, Found)> {
        let base = self.base(question, &question.tokens, &causes::SITES)?;
        let asked = self.asked(question, &base)?;
        let position = position.min(question.tokens.len() - 1);
        let size = (self.config.layers, self.config.heads);
        let found = Causes::of(&base.captures, size, question.tokens.len(), position)?;
        let texts: Vec<String> = question
            .tokens
            .iter()
            .enumerate()
            .map(|(at, id)| format!("{at} {}", self.token(*id).text.trim()))
            .collect();
        let mut exhibits = causes::show_one(&found, position, size, texts);
        // Nothing comes later than the last token, and JSON has no word for that.
        exhibits.iter_mut().for_each(|exhibit| exhibit.grid.facts.retain(|fact| fact.value.is_finite()));
        let head = format!("position {position}");
        Ok((asked, Found::Exhibits(Exhibits { tokens: question.tokens.len(), head, exhibits })))
    }

    fn ablated(&mut self, question: &Question<'_>) -> Result<(Asked, Found)> {
        let base = self.base(question, &question.tokens, &[])?;
        let asked = self.asked(question, &base)?;
        let sets = [question.set.ablate.clone()];
        let removals = Removals::new(self.again(question, &base), &sets, question.set.how)?;
        let mut found = None;
        for batch in removals.batches() {
            removals.run(&batch, |_, logits| {
                let judged = Judged::new(&base, asked, logits);
                let here = measure::log_probabilities(logits);
                let (whole, here) = (base.log_probabilities.at(asked.query), here.at(asked.query));
                let log_prob = whole.get(asked.answer as usize).copied().unwrap_or(f32::NAN);
                found = Some(Ablated {
                    heads: sets[0].clone(),
                    how: question.set.how,
                    from_layer: batch.layer,
                    log_prob: (log_prob, log_prob + judged.log_prob),
                    divergence: measure::divergence(whole, here),
                    mean_divergence: judged.divergence,
                    loss: base.loss().map(|loss| (loss, loss + judged.loss)),
                    next: measure::continuations(here, whole, |id| self.tokenizer().token_text(id)),
                });
            })?;
        }
        let found = found.ok_or_else(|| Error::Internal("nothing was taken out".into()))?;
        Ok((asked, Found::Ablated(found)))
    }

    async fn sweep(
        &mut self,
        question: &Question<'_>,
        step: &mut impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<(Asked, Found)> {
        let base = self.base(question, &question.tokens, &[])?;
        let asked = self.asked(question, &base)?;
        let sets: Vec<Vec<_>> = every_head(&self.runner.cpu).into_iter().map(|head| vec![head]).collect();
        let removals = Removals::new(self.again(question, &base), &sets, question.set.how)?;
        let mut sheets = [(); 3].map(|()| vec![f32::NAN; sets.len()]);
        let batches = removals.batches();
        for (done, batch) in batches.iter().enumerate() {
            if step(done, batches.len()).await {
                return Err(Error::Superseded);
            }
            removals.run(batch, |set, logits| {
                let Judged { loss, divergence, log_prob } = Judged::new(&base, asked, logits);
                sheets.iter_mut().zip([loss, divergence, log_prob]).for_each(|(sheet, number)| sheet[set] = number);
            })?;
        }
        let words = [("loss", "Δ loss", "nats"), ("divergence", "KL", "nats"), ("log_prob", "Δ log P", "nats")];
        let sheets = words.into_iter().zip(sheets).map(|((id, name, unit), values)| Sheet {
            id: id.into(),
            name: name.into(),
            unit: unit.into(),
            values,
            total: None,
        });
        let log_prob = base.log_probabilities.at(asked.query).get(asked.answer as usize).copied();
        let facts = [
            base.loss().map(|loss| Fact::new("loss", "Loss with every head", loss, "nats")),
            log_prob.map(|log_prob| Fact::new("log_prob", "log P with every head", log_prob, "nats")),
        ];
        let [down, across] = self.by_head();
        let (sheets, facts) = (sheets.collect(), facts.into_iter().flatten().collect());
        Ok((asked, Found::Grid(Grid { down, across, sheets, facts, notes: Vec::new() })))
    }

    async fn patching(
        &mut self,
        question: &Question<'_>,
        bos: bool,
        step: &mut impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<(Asked, Found)> {
        let (clean, corrupted, asked) = self.pair(question, bos, &estimate::wanted(question.set.site))?;
        let again = self.again(question, &corrupted);
        let mut patching = Patching::new(&clean, again, question.set.site, asked)?;
        let batches = patching.batches()?;
        for (done, batch) in batches.iter().enumerate() {
            if step(done, batches.len()).await {
                return Err(Error::Superseded);
            }
            patching.run(batch)?;
        }
        let text = |at: usize, id: u32| match self.token(id) {
            token if token.special && at == 0 => "⟨bos⟩".to_string(),
            token => token.text.trim().to_string(),
        };
        let position = |at: usize| match (clean.tokens[at], corrupted.tokens[at]) {
            (one, other) if one == other => format!("{at} {}", text(at, one)),
            (one, other) => format!("{at} {}/{}", text(at, one), text(at, other)),
        };
        let mut grid = patching.grid(position)?;
        if is_plain(&question.stack) {
            estimate::add(&mut grid, &self.runner.cpu, [&clean, &corrupted], question.set.site, asked)?;
        } else {
            grid.notes.push(estimate::MISSING.into());
        }
        Ok((asked, Found::Grid(grid)))
    }

    async fn paths(
        &mut self,
        question: &Question<'_>,
        bos: bool,
        step: &mut impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<(Asked, Found)> {
        let (clean, corrupted, asked) = self.pair(question, bos, paths::WANTED)?;
        let again = self.again(question, &corrupted);
        let paths = Paths::new(&clean, again, question.pin, question.set.through, asked)?;
        let mut effects = [(); 3].map(|()| vec![f32::NAN; self.config.layers * self.config.heads]);
        for layer in 0..paths.layers() {
            if step(layer, paths.layers()).await {
                return Err(Error::Superseded);
            }
            for (head, found) in paths.run(layer)?.into_iter().enumerate() {
                let at = layer * self.config.heads + head;
                effects.iter_mut().zip(found).for_each(|(sheet, effect)| sheet[at] = effect);
            }
        }
        let [down, across] = self.by_head();
        let sheets = patching::sheets(effects, paths.totals());
        Ok((asked, Found::Grid(Grid { down, across, sheets, ..Grid::default() })))
    }

    fn composition(&mut self, question: &Question<'_>) -> Result<(Asked, Found)> {
        let base = self.base(question, &question.tokens, &[])?;
        let asked = self.asked(question, &base)?;
        if self.bench.composition.is_none() {
            self.bench.composition = Some(Composition::new(&self.config, &self.runner.cpu.weights())?);
        }
        let composition = self.bench.composition.as_ref().ok_or_else(|| Error::Internal("no composition".into()))?;
        let scores: Vec<Option<Score>> =
            every_head(&self.runner.cpu).into_iter().map(|writer| composition.score(writer, question.pin)).collect();
        let random = composition.baseline();
        let sheet = |id: Through, name: &str, read: fn(&Score) -> f32| Sheet {
            id: id.word().into(),
            name: name.into(),
            unit: String::new(),
            // What is above the score of random heads, so that zero means nothing in particular.
            values: scores.iter().map(|score| score.as_ref().map_or(f32::NAN, |score| read(score) - random)).collect(),
            total: None,
        };
        let sheets = vec![
            sheet(Through::Queries, "Q-composition above random", |score| score.q),
            sheet(Through::Keys, "K-composition above random", |score| score.k),
            sheet(Through::Values, "V-composition above random", |score| score.v),
        ];
        let facts = vec![Fact::new("baseline", "Independent random heads", random, "")];
        let [down, across] = self.by_head();
        Ok((asked, Found::Grid(Grid { down, across, sheets, facts, notes: Vec::new() })))
    }

    /// Layers down, heads across.
    pub(super) fn by_head(&self) -> [Axis; 2] {
        [
            Axis::new("layer", (0..self.config.layers).map(|layer| format!("L{layer}"))),
            Axis::new("head", (0..self.config.heads).map(|head| format!("H{head}"))),
        ]
    }

    /// The clean and the corrupted pass, and what is asked of both: the clean prompt's likeliest token against the corrupted
    /// one's, unless they are chosen.
    fn pair(&mut self, question: &Question<'_>, bos: bool, sites: &[Site]) -> Result<(Arc<Base>, Arc<Base>, Asked)> {
        let other = self.tokenizer().encode(&question.set.corrupted, bos)?;
        patching::check(&question.tokens, &other)?;
        let clean = self.base(question, &question.tokens, sites)?;
        let corrupted = self.base(question, &other, sites)?;
        let mut asked = self.asked(question, &clean)?;
        asked.against =
            asked.against.or_else(|| Some(best(corrupted.log_probabilities.at(question.query), Some(asked.answer))));
        Ok((clean, corrupted, asked))
    }

    pub(super) fn again<'a>(&'a self, question: &'a Question<'_>, base: &'a Base) -> Again<'a> {
        Again { model: &self.runner.cpu, stack: &question.stack, seed: question.seed, base }
    }

    fn readout(&mut self) -> Result<Arc<Readout>> {
        if let Some(readout) = &self.bench.readout {
            return Ok(readout.clone());
        }
        let readout = Arc::new(Readout::new(&self.config, &self.runner.cpu.weights())?);
        self.bench.readout = Some(readout.clone());
        Ok(readout)
    }
}

/// The largest of a row, another one than `unless`.
fn best(row: &[f32], unless: Option<u32>) -> u32 {
    let all = row.iter().enumerate().map(|(id, value)| (id as u32, value)).filter(|(id, _)| Some(*id) != unless);
    all.max_by(|(x, a), (y, b)| a.total_cmp(b).then(y.cmp(x))).map_or(0, |(id, _)| id)
}
