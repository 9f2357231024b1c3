//! Studies: experiments of many small steps on the processor, kept from one question to the next.
//!
//! A question works for a moment and answers with what there is; asking again goes on from there. So a study can be watched
//! while it grows, paused by not asking, and taken up again, also after something else was asked in between.

use super::Engine;
use super::analyse::Question;
use super::circuits::CIRCUITS;
use super::plan::Key;
use crate::experiment::{Chip, Experiment, Head, Instruments, Over, Removal};
use crate::lens::analysis::Analysis;
use crate::lens::causal::every_head;
use crate::lens::circuits::Circuit;
use crate::lens::evaluation::choices::Choices;
use crate::lens::evaluation::helmet::Mini;
use crate::lens::evaluation::needles::Needles;
use crate::lens::evaluation::{Evaluation, Subject, Suite};
use crate::lens::features::Features;
use crate::lens::features::planted::planted;
use crate::lens::finding::{Asked, Found};
use crate::lens::sink_set::{Act, SinkActs, SinkSet};
use crate::lens::streaming::Streaming;
use crate::lens::study::{Shown, Study};
use crate::lens::tracking::Tracking;
use crate::mechanism::{self, Stack};
use crate::model::CpuModel;
use crate::papers::STORY;
use crate::spec::Value;
use crate::train::circuits::{Circuits, Draw};
use crate::{Error, Result};
use web_time::Instant;

/// A question works about this long before it answers.
const MILLIS: f32 = 400.0;
/// Studies that are kept.
const KEPT: usize = 6;
/// Tokens of a sequence of a set, as paper 52 has it, and sequences at most.
const LENGTH: usize = 64;
const SEQUENCES: usize = 24;
/// Texts beside the pane's own whose attributions are compared, and tokens of each.
const INPUTS: usize = 7;
const INPUT_TOKENS: usize = 24;
/// Window and kept tokens where the pane names none.
const WINDOW: (usize, usize) = (16, 4);

/// What a kept study depends on.
#[derive(PartialEq)]
pub(super) struct Basis {
    id: &'static str,
    key: Key,
    query: usize,
    set: Instruments,
    position: Option<usize>,
    tokens: usize,
    /// Of a study about the pinned head.
    pin: Option<Head>,
}

/// A study under way.
pub(super) struct Work {
    basis: Basis,
    task: Task,
    done: usize,
}

enum Task {
    Evaluation(Evaluation),
    Sinks(Box<SinkSet>),
    Acts(SinkActs),
    Tracking(Box<Tracking>),
    Streaming(Box<Streaming>),
    Features(Box<Features>),
    Circuit(Box<dyn Circuit + Send>),
}

impl Task {
    fn all(&self) -> usize {
        match self {
            Task::Evaluation(task) => task.all(),
            Task::Sinks(task) => task.all(),
            Task::Acts(task) => task.all(),
            Task::Tracking(task) => task.all(),
            Task::Streaming(task) => task.all(),
            Task::Features(task) => task.all(),
            Task::Circuit(task) => task.all(),
        }
    }

    fn step(&mut self, model: &CpuModel, at: usize) -> Result<()> {
        match self {
            Task::Evaluation(task) => task.step(model, at),
            Task::Sinks(task) => task.step(model, at),
            Task::Acts(task) => task.step(model, at),
            Task::Tracking(task) => task.step(model),
            Task::Streaming(task) => task.step(model, at),
            Task::Features(task) => task.step(model, at),
            Task::Circuit(task) => task.step(model, at),
        }
    }

    /// From which importance on a head counts as a sink: chosen when the numbers are there, without taking them anew.
    fn judge(&mut self, epsilon: f32) {
        match self {
            Task::Sinks(task) => task.epsilon = epsilon,
            Task::Acts(task) => task.epsilon = epsilon,
            _ => {}
        }
    }

    fn show(&self) -> Shown {
        match self {
            Task::Evaluation(task) => task.show(),
            Task::Sinks(task) => task.show(),
            Task::Acts(task) => task.show(),
            Task::Tracking(task) => task.show(),
            Task::Streaming(task) => task.show(),
            Task::Features(task) => task.show(),
            Task::Circuit(task) => task.show(),
        }
    }
}

impl Engine {
    /// What a study has found, a little further than when it was asked last; `step` as in [`Engine::analyse`].
    pub(super) async fn study(
        &mut self,
        question: &Question<'_>,
        experiment: &Experiment,
        analysis: &'static Analysis,
        step: &mut impl AsyncFnMut(usize, usize) -> bool,
    ) -> Result<(Asked, Found)> {
        let start = Instant::now();
        let (id, set) = (analysis.id, (analysis.reads)(question.set));
        let about_text = matches!(id, "sink_tracking" | "streaming" | "features") || set.own;
        let tokens = if about_text { question.tokens.as_slice() } else { &[] };
        let basis = Basis {
            id,
            key: Key::new(tokens, question.seed, &question.stack),
            query: if id == "features" { question.query } else { 0 },
            set,
            position: analysis.of_position.then_some(experiment.view.position),
            tokens: experiment.draw.tokens,
            pin: analysis.of_pinned.then_some(question.pin),
        };
        let mut work = match self.bench.studies.iter().position(|work| work.basis == basis) {
            Some(at) => self.bench.studies.remove(at),
            None => Work { task: self.begin(id, question, experiment).await?, basis, done: 0 },
        };
        let all = work.task.all();
        let mut stopped = false;
        while work.done < all && start.elapsed().as_secs_f32() * 1e3 < MILLIS {
            if step(work.done, all).await {
                stopped = true;
                break;
            }
            // A step that failed is taken again when the study is.
            work.task.step(&self.runner.cpu, work.done)?;
            work.done += 1;
        }
        work.task.judge(experiment.view.epsilon);
        let (verdict, mut exhibits) = work.task.show();
        // A number that is not there yet is none, and JSON has no word for it.
        exhibits.iter_mut().for_each(|exhibit| exhibit.grid.facts.retain(|fact| fact.value.is_finite()));
        let study = Study { verdict: verdict.unwrap_or_default(), exhibits, done: work.done, all };
        if self.bench.studies.len() >= KEPT {
            self.bench.studies.remove(0);
        }
        self.bench.studies.push(work);
        if stopped {
            return Err(Error::Superseded);
        }
        let answer = question.tokens[question.query];
        Ok((Asked { query: question.query, answer, against: None }, Found::Study(study)))
    }

    async fn begin(&mut self, id: &str, question: &Question<'_>, experiment: &Experiment) -> Result<Task> {
        let (set, seed) = (question.set, question.seed);
        let stack = || question.stack.clone();
        let size = (self.config.layers, self.config.heads);
        Ok(match id {
            id if CIRCUITS.contains(&id) => Task::Circuit(self.circuit(id, question).await?),
            "needles" | "helmet" | "choices" => Task::Evaluation(self.evaluation(id, question).await?),
            "sink_set" => {
                let texts = self.sequences(experiment.bos)?;
                let random = self.random(&texts, seed);
                Task::Sinks(Box::new(SinkSet::new(stack(), seed, [texts, random], experiment.view.position, size)))
            }
            "sink_acts" => Task::Acts(self.acts(question, experiment.view.position).await?),
            "sink_tracking" => {
                let vocabulary = self.config.vocabulary as u32;
                let text = (0..vocabulary).map(|id| self.tokenizer().token_text(id)).collect();
                let room = (self.config.context + 1).saturating_sub(question.tokens.len());
                let most = experiment.draw.tokens.clamp(1, room.max(1));
                Task::Tracking(Box::new(Tracking::new(stack(), seed, question.tokens.clone(), most, text)))
            }
            "streaming" => Task::Streaming(Box::new(self.streaming(question)?)),
            _ => Task::Features(Box::new(self.features(question, set.answer)?)),
        })
    }

    async fn evaluation(&mut self, id: &str, question: &Question<'_>) -> Result<Evaluation> {
        let over = question.set.over;
        let sweep = over != Over::Pane;
        let context = self.config.context;
        let (suite, items): (Box<dyn Suite + Send>, usize) = match id {
            "needles" => (Box::new(Needles::new(self.tokenizer(), context)?), if sweep { 2 } else { 8 }),
            "helmet" => (Box::new(Mini::new(self.tokenizer(), context, sweep)?), if sweep { 4 } else { 6 }),
            _ => (Box::new(Choices::new(self.tokenizer())?), if sweep { 12 } else { 48 }),
        };
        let items = if question.set.items > 0 { question.set.items } else { items };
        let whole = (Vec::new(), Removal::default());
        let subject = |name: String, stack: Stack, without: (Vec<Head>, Removal)| Subject { name, stack, without };
        let pane = format!("pane {}", question.pane.to_uppercase());
        let subjects = match over {
            Over::Pane => vec![subject(pane, question.stack.clone(), whole)],
            Over::Heads => {
                let head =
                    |head: Head| subject(head.to_string(), question.stack.clone(), (vec![head], question.set.how));
                let alone = every_head(&self.runner.cpu).into_iter().map(head);
                std::iter::once(subject("whole".into(), question.stack.clone(), whole)).chain(alone).collect()
            }
            Over::Variants => {
                let mut subjects = Vec::new();
                let mut all: Vec<_> = mechanism::ALL.iter().map(|mechanism| (mechanism.id, mechanism.name)).collect();
                all.sort_by_key(|(id, _)| *id != "softmax");
                for (id, name) in all {
                    let stack = self.measured(Stack::new("a", &[Chip::new(id)])?, question.seed).await?;
                    subjects.push(subject(name.into(), stack, whole.clone()));
                }
                subjects
            }
        };
        Ok(Evaluation::new(suite, over, subjects, (self.config.layers, self.config.heads), items))
    }

    /// Windows of the fables and of the story nobody trained on, all of one length, each after a beginning token if `bos`.
    fn sequences(&self, bos: bool) -> Result<Vec<Vec<u32>>> {
        let lead: Vec<u32> = self.config.bos.into_iter().filter(|_| bos).collect();
        let length = LENGTH.min(self.config.context).saturating_sub(lead.len());
        let story = STORY.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut found = Vec::new();
        for text in super::texts::TEXTS.lines().chain([story.as_str()]) {
            let tokens = self.tokenizer().encode(text, false)?;
            found.extend(tokens.chunks_exact(length.max(1)).map(|window| [&lead[..], window].concat()));
        }
        found.truncate(SEQUENCES);
        match found.is_empty() {
            true => Err(Error::Tokenizer { problem: "the texts of the set have too few tokens of this model".into() }),
            false => Ok(found),
        }
    }

    /// As many sequences of random tokens, the beginning token kept.
    fn random(&self, texts: &[Vec<u32>], seed: u64) -> Vec<Vec<u32>> {
        let (vocabulary, mut draw) = (self.vocabulary(), Draw::new(seed));
        let mut one = |id: &u32| if Some(*id) == self.config.bos { *id } else { draw.one(&vocabulary) };
        texts.iter().map(|text| text.iter().map(&mut one).collect()).collect()
    }

    /// What is done to the first token and to the score of a position, over the set of texts or the prompt alone.
    async fn acts(&mut self, question: &Question<'_>, position: usize) -> Result<SinkActs> {
        let bos: Vec<u32> = self.config.bos.into_iter().collect();
        let texts = match question.set.own {
            true => vec![question.tokens.strip_prefix(&bos[..]).unwrap_or(&question.tokens).to_vec()],
            false => self.sequences(false)?,
        };
        let line = self.filler();
        let plain = || question.stack.clone();
        let act = |name: &str, stack: Stack, before: Vec<u32>, bias: Option<f32>| Act {
            name: name.into(),
            stack,
            before,
            bias,
        };
        let mut acts = vec![act("as it is", plain(), bos.clone(), None)];
        if !bos.is_empty() {
            acts.push(act("BOS removed", plain(), Vec::new(), None));
            acts.push(act("BOS replaced by filler", plain(), vec![line], None));
            acts.push(act("BOS twice", plain(), [&bos[..], &bos].concat(), None));
        }
        let bias = question.set.bias;
        for (name, bias) in [
            (format!("score of position {position} + {bias}"), bias),
            (format!("score of position {position} − {bias}"), -bias),
            (format!("position {position} hidden"), f32::NEG_INFINITY),
        ] {
            acts.push(act(&name, plain(), bos.clone(), Some(bias)));
        }
        let chips = [
            ("slot beside the keys", Chip::new("attention_sink_operators")),
            ("calibration (ACT)", Chip::new("attention_calibration")),
            ("window of 16 without it", Chip::new("streaming_window").with("sinks", 0.0).with("window", 16.0)),
            ("window of 16 with it", Chip::new("streaming_window").with("sinks", 1.0).with("window", 15.0)),
        ];
        for (name, chip) in chips {
            let stack = self.measured(Stack::new("a", &[chip])?, question.seed).await?;
            acts.push(act(name, stack, bos.clone(), None));
        }
        Ok(SinkActs::new(question.seed, texts, acts, position))
    }

    /// The prompt, and behind it the story until the context is full.
    fn streaming(&self, question: &Question<'_>) -> Result<Streaming> {
        let mut tokens = question.tokens.clone();
        tokens.extend(self.tokenizer().encode(STORY, false)?);
        tokens.truncate(self.config.context);
        let (window, kept) =
            question.stack.iter().find(|placed| placed.mechanism.id == "streaming_window").map_or(WINDOW, |placed| {
                let value = |key: &str| {
                    let at = placed.mechanism.plug.spec.iter().position(|param| param.key == key);
                    match at.and_then(|at| placed.values.get(at)) {
                        Some(Value::Int(value)) => usize::try_from(*value).ok(),
                        _ => None,
                    }
                };
                // A window of the mechanism stands beside its kept tokens.
                let (window, kept) = (value("window").unwrap_or(WINDOW.0), value("sinks").unwrap_or(WINDOW.1));
                (window + kept, if kept == 0 { WINDOW.1.min(window.saturating_sub(1)) } else { kept })
            });
        let chip = |kept: usize| {
            Chip::new("streaming_window").with("sinks", kept as f64).with("window", (window - kept).max(1) as f64)
        };
        let stacks = [Stack::new("a", &[])?, Stack::new("a", &[chip(0)])?, Stack::new("a", &[chip(kept)])?];
        Ok(Streaming::new(question.seed, tokens, stacks, (window, kept)))
    }

    fn features(&self, question: &Question<'_>, answer: Option<u32>) -> Result<Features> {
        let mut own = question.tokens[..=question.query].to_vec();
        // The last ones of a long prompt would lack what they rest on, so it is cut behind.
        own.truncate(2 * INPUT_TOKENS);
        let answer = answer.filter(|_| own.len() == question.query + 1);
        let mut inputs = vec![own];
        inputs.extend(self.sequences(true)?.into_iter().step_by(3).take(INPUTS).map(|mut text| {
            text.truncate(INPUT_TOKENS);
            text
        }));
        let name = |id: &u32| match self.token(*id) {
            token if token.special => "⟨bos⟩".to_string(),
            token => token.text.replace(' ', "·").replace('\n', "↵"),
        };
        let labels = |inputs: &[&Vec<u32>]| inputs.iter().map(|tokens| tokens.iter().map(name).collect()).collect();
        let texts = labels(&inputs.iter().collect::<Vec<_>>());
        let features = Features::new(question.stack.clone(), question.seed, inputs, texts, self.filler(), answer);
        // Most models lack a word of the tasks, and have no sentences of this kind.
        let Ok(circuits) = Circuits::new(self.tokenizer()) else { return Ok(features) };
        let lead: Vec<u32> = self.config.bos.into_iter().collect();
        let planted = planted(&circuits, &lead, self.config.context, question.seed);
        let sentences = labels(&planted.iter().map(|one| &one.tokens).collect::<Vec<_>>());
        Ok(features.with_planted(planted, sentences))
    }

    /// A token that says little: a line's end, else a full stop.
    fn filler(&self) -> u32 {
        let one = |text: &str| self.tokenizer().encode(text, false).ok().and_then(|tokens| tokens.last().copied());
        one("\n").or_else(|| one(".")).unwrap_or_default()
    }
}
