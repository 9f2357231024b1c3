//! The engine itself: opened on a loaded model, then asked.

use super::check::Reference;
use super::pane::{Ran, Setting};
use super::plan::Plan;
use super::runner::Runner;
use super::values::OutputGrams;
use super::{Forward, Generation, Pass, Request};
use crate::alignment::Alignment;
use crate::experiment::{Draw, Experiment, Head, PANE_NAMES};
use crate::hook::Selection;
use crate::lens::roles::RoleReport;
use crate::lens::suite::{self, Tokens};
use crate::lens::task_roles;
use crate::mechanism::{Placed, Probed, Stack};
#[cfg(not(target_arch = "wasm32"))]
use crate::model::Files;
use crate::model::load::SELF_CHECK;
use crate::model::sample::Sampling;
use crate::model::{Config, CpuModel, Loaded, Weights};
use crate::outcome::{Check, EngineFacts, HeadMaps, ModelFacts, Outcome, PaneOutcome, Tier, Token};
use crate::tokenizer::Tokenizer;
use crate::train::circuits::Circuits;
use crate::{Error, Result};

/// Which engine to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The GPU where there is a real one, it computes the right numbers and it is faster in a short trial, else the processor.
    #[default]
    Auto,
    /// The burn model.
    Cpu,
    /// The WGSL engine, also on a software adapter; an error where it cannot run.
    Gpu,
}

impl std::str::FromStr for Choice {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Choice::Auto),
            "cpu" => Ok(Choice::Cpu),
            "gpu" => Ok(Choice::Gpu),
            _ => Err(Error::parse("engine", format!("{text} is none of auto, cpu, gpu"))),
        }
    }
}

/// A model on an engine.
pub struct Engine {
    pub(super) runner: Runner,
    pub(super) config: Config,
    tokenizer: Tokenizer,
    pub(super) grams: OutputGrams,
    facts: EngineFacts,
    model: ModelFacts,
    /// What the last answer was about.
    pub(super) last: Option<Plan>,
    /// The panes of the last answer; a stopped run may have left newer ones beside them.
    ran: Vec<Ran>,
    /// What the plain model does on probes, once something wanted to know.
    pub(super) probed: Option<Probed>,
    /// What instruments keep from one question to the next.
    pub(super) bench: super::analyse::Bench,
    /// The same weights with a longer context, once a quote wanted it.
    pub(super) long: Option<Box<Engine>>,
}

impl Engine {
    /// Chooses the engine for a loaded model and checks it on this device.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the GPU was forced and cannot run; those of the model's own checks.
    pub async fn new(loaded: Loaded, choice: Choice) -> Result<Self> {
        let Loaded { config, weights, tokenizer, facts: model, self_check } = loaded;
        let reference = self_check.map(|bytes| Reference::read(SELF_CHECK, &bytes, &config)).transpose()?;
        let mut runner = Runner::cpu(CpuModel::new(&config, &weights)?);
        (runner.reference, runner.forced) = (reference, choice == Choice::Gpu);
        let grams = OutputGrams::new(&config, &weights)?;
        let gpu = match choice {
            Choice::Cpu => Err("the processor was chosen".into()),
            Choice::Auto | Choice::Gpu => gpu(&config, &weights, &mut runner, choice).await,
        };
        let facts = match gpu {
            Ok(facts) => facts,
            Err(problem) if choice == Choice::Gpu => return Err(Error::Gpu { problem }),
            Err(reason) => processor(&mut runner, reason).await?,
        };
        Ok(Self {
            runner,
            config,
            tokenizer,
            grams,
            facts,
            model,
            last: None,
            ran: Vec::new(),
            probed: None,
            bench: Default::default(),
            long: None,
        })
    }

    /// Opens a model by its path (a folder, or a llama2.c `.bin`), or a shipped one by its id.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there is neither; those of the loader and of [`Engine::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn open(model: &str, choice: Choice) -> Result<Self> {
        let (id, files) = Files::find(model)?;
        Self::new(crate::model::load(&id, &files)?, choice).await
    }

    /// What computes now, with everything that was checked and went wrong: after a failure of the GPU, the processor.
    pub fn facts(&self) -> EngineFacts {
        let runner = &self.runner;
        let mut facts = match &runner.failed {
            None => self.facts.clone(),
            Some(problem) => {
                let reason = format!("{} stopped ({problem}); reload to try it again", self.facts.adapter);
                EngineFacts { reason, ..EngineFacts::processor() }
            }
        };
        facts.self_check = runner.checks.iter().find(|check| check.part == "model").map(|check| check.deviation);
        (facts.checks, facts.incidents) = (runner.checks.clone(), runner.incidents.clone());
        (facts.generation, facts.trial) = (runner.generation, runner.trial);
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &runner.gpu {
            facts.sums = gpu.device().sums();
        }
        if facts.tier == Tier::Cpu && facts.self_check_passed() == Some(false) {
            facts.reason += "; the self-check failed: the model's files do not belong together or are damaged";
        }
        facts
    }

    /// Takes over what the surroundings know better: the name of the adapter in use, or why there is none.
    pub fn correct(&mut self, adapter: Option<String>, missing: Option<String>) {
        if self.facts.tier == Tier::Cpu {
            self.facts.reason = missing.unwrap_or_else(|| std::mem::take(&mut self.facts.reason));
        } else {
            self.facts.adapter = adapter.unwrap_or_else(|| std::mem::take(&mut self.facts.adapter));
        }
    }

    /// Destroys the GPU device, as a driver reset would: the next pass finds out and runs on the processor.
    pub fn lose_device(&self) {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.runner.gpu {
            gpu.device().close();
        }
    }

    /// The model's sizes.
    pub fn model(&self) -> &ModelFacts {
        &self.model
    }

    /// The model's sizes and choices.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The burn model, for decoding step by step.
    pub fn processor(&self) -> &CpuModel {
        &self.runner.cpu
    }

    /// Answers an experiment. `stop` is asked before every pane; once it says yes, the rest is not computed.
    ///
    /// # Errors
    /// [`Error::Superseded`] when stopped; those of the plan and of the panes.
    pub async fn run(&mut self, experiment: &Experiment, stop: impl AsyncFn() -> bool) -> Result<Outcome> {
        let plan = self.plan(experiment).await?;
        for (pane, (name, stack)) in PANE_NAMES.iter().zip(&plan.stacks).enumerate() {
            let key = plan.key(pane, stack);
            if self.ran.iter().any(|ran| ran.key == key) {
                continue;
            }
            if stop().await {
                return Err(Error::Superseded);
            }
            let facts = self.facts();
            let time_twice = facts.tier > Tier::Cpu && !facts.software;
            let at = Setting { config: &self.config, grams: &self.grams, plan: &plan, pane, time_twice };
            let ran = Ran::new(&mut self.runner, &at, name, stack).await?;
            // What neither the last answer nor this one needs is forgotten.
            let last = self.last.as_ref();
            self.ran.retain(|ran| plan.needs(&ran.key) || last.is_some_and(|last| last.needs(&ran.key)));
            self.ran.push(ran);
        }
        self.ran.retain(|ran| plan.needs(&ran.key));
        let outcome = self.outcome(&plan)?;
        self.last = Some(plan);
        Ok(outcome)
    }

    fn outcome(&self, plan: &Plan) -> Result<Outcome> {
        let ran = |(pane, stack): (usize, &Stack)| {
            let key = plan.key(pane, stack);
            self.ran.iter().find(|ran| ran.key == key).ok_or_else(|| Error::Internal("a pane that ran is gone".into()))
        };
        let panes = plan.stacks.iter().enumerate().map(ran).collect::<Result<Vec<&Ran>>>()?;
        let mut notices = plan.notices.clone();
        for (name, ran) in PANE_NAMES.iter().zip(&panes) {
            if ran.foreseen > 0 {
                let name = name.to_ascii_uppercase();
                let left_out = format!("the first {} queries see what they predict", ran.foreseen);
                notices.push(format!("pane {name}: {left_out}, so its loss leaves them out"));
            }
            if ran.empty_rows > 0 {
                let name = name.to_ascii_uppercase();
                notices.push(format!("pane {name}: {} query rows keep no key and read nothing", ran.empty_rows));
            }
        }
        let version = |placed: &Placed| (placed.mechanism.id.into(), placed.mechanism.version().into());
        let aligned = plan.tokens_b.as_ref().map(|tokens| Alignment::new(&plan.tokens, tokens));
        let answer = |(index, ran): (usize, &&Ran)| {
            let aligned = aligned.as_ref().filter(|_| index == 1);
            let tokens = plan.tokens_b.as_ref().filter(|_| index == 1);
            let tokens = tokens.into_iter().flatten().map(|id| self.token(*id)).collect();
            PaneOutcome { tokens, ..ran.outcome(panes[0], index == 0, aligned, &self.tokenizer) }
        };
        Ok(Outcome {
            engine: self.facts(),
            model: self.model.clone(),
            tokens: plan.tokens.iter().map(|id| self.token(*id)).collect(),
            panes: panes.iter().enumerate().map(answer).collect(),
            notices,
            seed: plan.seed,
            mechanisms: plan.stacks.iter().flat_map(Stack::iter).map(version).collect(),
        })
    }

    /// A token as the page shows it.
    pub fn token(&self, id: u32) -> Token {
        Token { id, text: self.tokenizer.token_text(id), special: self.tokenizer.special(id) }
    }

    /// Begins a continuation of the prompt under one pane's stack, drawn as the experiment says. `stop` is asked while the
    /// prompt is read.
    ///
    /// # Errors
    /// Those of the plan and of [`Engine::generate_unless`].
    pub async fn continuation(
        &mut self,
        experiment: &Experiment,
        pane: usize,
        stop: impl AsyncFn() -> bool,
    ) -> Result<Generation> {
        let mut plan = Plan::new(experiment, &self.config, &self.tokenizer)?;
        if pane >= plan.stacks.len() {
            let remedy = format!("the experiment has {}", plan.stacks.len());
            return Err(Error::Unknown { what: "pane", name: (pane + 1).to_string(), remedy });
        }
        let Draw { temperature, top_k, top_p, .. } = experiment.draw;
        let sampling = Sampling { temperature, top_k, top_p, seed: experiment.seed };
        let tokens = plan.tokens_of(pane).to_vec();
        self.generate_unless(plan.stacks.swap_remove(pane), &tokens, sampling, plan.seed, true, stop).await
    }

    /// One head of one pane of the last run, in full.
    ///
    /// # Errors
    /// [`Error::Unknown`] when there was no such run, pane or head; those of the pass.
    pub async fn head(&mut self, pane: usize, head: Head) -> Result<HeadMaps> {
        let missing = |what: &'static str, name: String, remedy: String| Error::Unknown { what, name, remedy };
        self.check_head(head)?;
        let Some(plan) = &self.last else {
            return Err(missing("run", "before this one".into(), "run an experiment first".into()));
        };
        let stack = plan.stacks.get(pane).ok_or_else(|| {
            missing("pane", (pane + 1).to_string(), format!("the last run had {}", plan.stacks.len()))
        })?;
        let key = plan.key(pane, stack);
        let ran = self.ran.iter_mut().find(|ran| ran.key == key);
        let ran = ran.ok_or_else(|| Error::Internal("a pane that ran is gone".into()))?;
        let at = Setting { config: &self.config, grams: &self.grams, plan, pane, time_twice: false };
        ran.head(&mut self.runner, &at, stack, head.layer, head.head).await
    }

    /// Refuses a head that the model does not have.
    pub(super) fn check_head(&self, head: Head) -> Result<()> {
        if head.layer < self.config.layers && head.head < self.config.heads {
            return Ok(());
        }
        let most = Head { layer: self.config.layers - 1, head: self.config.heads - 1 };
        let remedy = format!("the last one of this model is {most}");
        Err(Error::Unknown { what: "head", name: head.to_string(), remedy })
    }

    /// One forward pass of one pane, bringing back `wants`.
    ///
    /// # Errors
    /// Those of the plan and of the pass.
    pub async fn pass(&mut self, experiment: &Experiment, pane: usize, wants: Selection) -> Result<Pass> {
        let plan = self.plan(experiment).await?;
        let stack = plan.stacks.get(pane).ok_or_else(|| Error::Unknown {
            what: "pane",
            name: (pane + 1).to_string(),
            remedy: format!("the experiment has {}", plan.stacks.len()),
        })?;
        self.runner.forward(Request { tokens: plan.tokens_of(pane), stack, seed: plan.seed, wants }).await
    }

    /// Head roles of one pane's stack, from probes seeded by the experiment. `stop` is asked before every probe.
    ///
    /// # Errors
    /// [`Error::Superseded`] when stopped; those of the stack and of the passes.
    pub async fn roles(
        &mut self,
        experiment: &Experiment,
        pane: usize,
        stop: impl AsyncFn() -> bool,
    ) -> Result<RoleReport> {
        let name = PANE_NAMES.get(pane).copied().unwrap_or("a");
        let chips = experiment.panes.get(pane).map_or(&[][..], |pane| &pane.stack);
        let stack = Stack::new(name, chips)?;
        let stack = self.measured(stack, experiment.seed).await?;
        let ids = self.vocabulary().into_iter();
        let bos = self.tokenizer.bos().filter(|_| experiment.bos);
        let tokens = Tokens::new(ids.map(|id| (id, self.tokenizer.token_text(id))), bos);
        let weights = self.runner.cpu.weights();
        let seed = experiment.seed;
        let mut report =
            suite::report(&mut self.runner, &self.config, Some(&weights), &stack, &tokens, seed, &stop).await?;
        // Of a model that has the words of the tasks also what shows on them.
        if let Ok(circuits) = Circuits::new(&self.tokenizer) {
            task_roles::add(&mut report, &mut self.runner, &self.config, &stack, &circuits, &stop).await?;
        }
        Ok(report)
    }

    /// Tokens that stand for text.
    pub(super) fn vocabulary(&self) -> Vec<u32> {
        (0..self.config.vocabulary as u32).filter(|id| !self.tokenizer.special(*id)).collect()
    }
}

impl Forward for Engine {
    async fn forward(&mut self, request: Request<'_>) -> Result<Pass> {
        self.runner.forward(request).await
    }
}

/// The facts of the processor, its self-check done; `reason` says why no GPU computes.
async fn processor(runner: &mut Runner, reason: String) -> Result<EngineFacts> {
    runner.checks = runner.check_cpu().await?;
    Ok(EngineFacts { reason, ..EngineFacts::processor() })
}

/// Puts the GPU engine into `runner` and says what it is, or why the processor computes instead.
///
/// A software adapter is slower than the processor's own SIMD, so `auto` leaves it; a GPU whose numbers differ is never
/// used unless it is forced, and then the check shows it. A device that is lost meanwhile is asked for once more. What
/// passes has a trial beside the processor, and computes if it is faster.
#[cfg(feature = "gpu")]
async fn gpu(
    config: &Config,
    weights: &Weights,
    runner: &mut Runner,
    choice: Choice,
) -> std::result::Result<EngineFacts, String> {
    use super::recover::words;
    use crate::gpu::{Device, GpuModel, subgroups};
    let mut tries = 2;
    loop {
        tries -= 1;
        let device = std::rc::Rc::new(Device::open().await.map_err(|error| words(&error))?);
        let (adapter, software, tier) = (device.adapter.clone(), device.software, device.tier);
        if software && choice == Choice::Auto {
            return Err(format!("there is only a software GPU ({adapter}), slower than the processor itself"));
        }
        let checked = async {
            subgroups::choose(&device).await;
            let mut model = GpuModel::new(device.clone(), config, weights).await?;
            let checks = runner.check_gpu(&mut model).await?;
            if choice == Choice::Auto && !device.passes_for_fast() && checks.iter().all(Check::passed) {
                runner.trial = Some(super::trial::measure(config, runner, &mut model).await?);
            }
            Result::Ok((model, checks))
        };
        let (model, checks) = match checked.await {
            Ok(checked) => checked,
            Err(error) => match device.loss().await {
                Some(lost) if tries > 0 => {
                    runner.incidents.push(format!("{adapter} was lost while the model was uploaded ({lost})"));
                    continue;
                }
                _ => {
                    device.close();
                    return Err(words(&error));
                }
            },
        };
        if let (Some(check), Choice::Auto) = (checks.iter().find(|check| !check.passed()), choice) {
            device.close();
            let what = if check.part == "model" { "logits differ" } else { "decoding differs" };
            return Err(format!("{adapter} failed the self-check: its {what} by {:.1e}", check.deviation));
        }
        if let Some(trial) = runner.trial.filter(|trial| !trial.gpu_wins()) {
            device.close();
            return Err(format!("it is faster than {adapter}: {}", trial.sentence()));
        }
        runner.gpu = Some(Box::new(model));
        runner.checks = checks;
        let backend = device.backend.into();
        let reason = runner.trial.map(|trial| format!("it is faster than the processor: {}", trial.sentence()));
        let reason = reason.unwrap_or_default();
        return Ok(EngineFacts { tier, adapter, backend, software, reason, ..EngineFacts::default() });
    }
}

/// Why the processor computes instead of a GPU.
#[cfg(not(feature = "gpu"))]
async fn gpu(
    _config: &Config,
    _weights: &Weights,
    _runner: &mut Runner,
    _choice: Choice,
) -> std::result::Result<EngineFacts, String> {
    Err("this build has no GPU engine".into())
}
