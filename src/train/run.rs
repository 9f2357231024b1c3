//! A training run from corpus to checkpoints.

use super::args::{On, TrainArgs};
use super::checkpoint::{self, Position};
use super::circuits::score::{self, Scores};
use super::curriculum::{self, Curriculum, Source};
use super::held_out::{self, Cost, HeldOut};
use super::optimizer;
use super::schedule::Schedule;
use super::stream::Documents;
use super::vocabulary::{self, Trained};
use super::workers::Workers;
use super::{corpus, device, under};
use crate::mechanism::Stack;
use crate::model::{CpuModel, Text};
use crate::{Error, Result};
use burn::optim::ModuleOptimizer;
use std::io::Write;
use std::time::{Duration, Instant};

/// Tokens between two looks at held-out text, and the rows of each section looked at.
const LOOK_TOKENS: usize = 400_000;
const LOOK_ROWS: usize = 12;
/// Held-out items of each task looked at.
const LOOK_ITEMS: usize = 48;

/// A run as it stands.
pub struct Run {
    /// Where it stands.
    pub position: Position,
    /// The model.
    pub model: Text,
    /// What it learns under.
    pub stack: Stack,
    /// Its tokenizer.
    pub tokenizer: Trained,
    /// Held-out text.
    pub held_out: Vec<HeldOut>,
    /// Who computes.
    pub workers: Workers,
    /// What is learned.
    pub curriculum: Curriculum,
    optimizer: ModuleOptimizer,
    source: Source,
}

impl Run {
    /// Begins a run, or takes it up from its newest checkpoint.
    ///
    /// # Errors
    /// From reading the corpus, the tokenizer and the checkpoint; [`Error::Param`] when the checkpoint is of another seed
    /// mix or stack, or for a stack that nothing is trained under; [`Error::Gpu`] when there is no such device.
    pub fn open(args: &TrainArgs, out: &mut dyn Write) -> Result<Self> {
        let device = device::open(args.device)?.autodiff();
        let stack = under::stack(&args.stack)?;
        let mix = args.curriculum.mix(&args.mix)?;
        let training = corpus::read_training(&args.corpus, &mix)?;
        let path = args.work.join("tokenizer.json");
        let name = path.display().to_string();
        std::fs::create_dir_all(&args.work).map_err(|error| Error::file(args.work.display().to_string(), error))?;
        let tokenizer = if args.resume {
            vocabulary::from_json(&std::fs::read_to_string(&path).map_err(|error| Error::file(&name, error))?)?
        } else {
            if !checkpoint::list(&args.work)?.is_empty() {
                let problem = "holds checkpoints of a run; go on with --resume, or name another folder with --work";
                return Err(Error::file(args.work.display().to_string(), problem));
            }
            say(out, format_args!("learning {} tokens", args.curriculum.vocabulary()))?;
            let tokenizer = args.curriculum.tokenizer(&training)?;
            std::fs::write(&path, vocabulary::to_json(&tokenizer)?).map_err(|error| Error::file(&name, error))?;
            tokenizer
        };
        let beginning = vocabulary::beginning(&tokenizer)?;
        let mut documents = Documents::new();
        for section in &training {
            let encoded = vocabulary::encode(&tokenizer, &section.documents)?;
            let tokens: usize = encoded.iter().map(|document| document.len() + 1).sum();
            let (file, count, repeats) = (&section.file, encoded.len(), section.repeats);
            say(out, format_args!("{file}: {count} documents, {tokens} tokens, {repeats} times an epoch"))?;
            documents.add(encoded, beginning, repeats);
        }
        let held_out = held_out::encode(&tokenizer, &args.curriculum.held_out(&args.corpus, &mix)?)?;
        let model = Text::init(&args.curriculum.config(beginning), args.seed, &device)?;
        let optimizer = optimizer::new(args.rule);
        let fresh =
            Position { seed: args.seed, mix: args.mix.clone(), stack: args.stack.clone(), ..Position::default() };
        let (position, model, optimizer) =
            if args.resume { checkpoint::load(&args.work, model, optimizer)? } else { (fresh, model, optimizer) };
        if (position.seed, &position.mix, &position.stack) != (args.seed, &args.mix, &args.stack) {
            return Err(Error::Param {
                who: "train".into(),
                key: "--seed, --mix and --stack".into(),
                expected: format!(
                    "be {}, {} and `{}`, as when the run began",
                    position.seed, position.mix, position.stack
                ),
                came: format!("{}, {} and `{}`", args.seed, args.mix, args.stack),
            });
        }
        let threads = if args.device == On::Flex { args.threads } else { 1 };
        let workers = Workers { threads, piece_tokens: args.piece_tokens };
        let source = Source::new(args.curriculum, (&args.tasks, args.pairs), documents, &tokenizer, args.seed)?;
        let curriculum = args.curriculum;
        Ok(Self { position, model, stack, tokenizer, held_out, workers, curriculum, optimizer, source })
    }

    /// Trains until `args.tokens` have been learned from, with a line for every few steps and checkpoints on the way.
    ///
    /// # Errors
    /// [`Error::File`] when a checkpoint cannot be written; [`Error::Internal`] when the loss is no longer a number.
    pub fn train(&mut self, args: &TrainArgs, out: &mut dyn Write) -> Result<()> {
        let schedule = Schedule {
            peak: args.rate,
            warmup_tokens: args.warmup_tokens,
            decay_tokens: args.decay_tokens,
            tokens: args.tokens,
        };
        let width = self.model.config.context;
        let rows = (args.batch_tokens / width).max(1);
        let mut feed = self.source.feed(width, self.position.seed, self.position.rows);
        let pace = Pace { begun: Instant::now(), tokens: self.position.tokens, seconds: self.position.seconds };
        let (mut saved, mut looked) = (Instant::now(), self.position.tokens);
        let epoch = self.source.epoch_tokens();
        say(out, format_args!("{epoch} tokens an epoch, {} weights", self.model.config.parameters()))?;
        while self.position.tokens < args.tokens {
            let batch = feed.batch(rows, self.position.tokens < args.halves_until);
            let rate = schedule.rate(self.position.tokens + rows * width / 2);
            let (loss, mut gradients) = self.workers.gradients(&self.model, &self.stack, &batch)?;
            let length = optimizer::clip(&self.model, &mut gradients);
            if !(loss.is_finite() && length.is_finite()) {
                let step = self.position.steps;
                let problem = format!("the loss is no longer a number at step {step}; resume with a lower --rate");
                return Err(Error::Param {
                    who: "train".into(),
                    key: "--rate".into(),
                    expected: problem,
                    came: rate.to_string(),
                });
            }
            self.model = self.optimizer.step(rate, self.model.clone(), gradients);
            self.position.steps += 1;
            self.position.rows += rows;
            self.position.tokens += rows * width;
            self.position.seconds = pace.seconds + pace.begun.elapsed().as_secs_f64();
            let last = self.position.tokens >= args.tokens;
            if self.position.steps.is_multiple_of(10) || last {
                let (step, tokens) = (self.position.steps, self.position.tokens);
                let pace = pace.words(tokens, args.tokens);
                say(
                    out,
                    format_args!(
                        "step {step}  tokens {tokens}  rate {rate:.5}  loss {loss:.4}  length {length:.2}  {pace}"
                    ),
                )?;
            }
            if self.position.tokens >= looked + LOOK_TOKENS && !last {
                looked = self.position.tokens;
                say(out, format_args!("held out: {}", words(&self.costs(LOOK_ROWS)?)))?;
                if let Some(scores) = self.scores(LOOK_ITEMS)? {
                    say(out, format_args!("{}", score::words(&scores)))?;
                }
            }
            if last || saved.elapsed() > Duration::from_secs_f64(60.0 * args.checkpoint_minutes) {
                checkpoint::save(&args.work, &self.position, &self.model, &self.optimizer)?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    /// Tokens in one epoch of the mix.
    pub fn epoch_tokens(&self) -> usize {
        self.source.epoch_tokens()
    }

    /// How well held-out items of each task are answered now, `items` of each; `None` where no tasks are learned.
    ///
    /// # Errors
    /// From [`score::all`].
    pub fn scores(&self, items: usize) -> Result<Option<Vec<Scores>>> {
        match self.curriculum {
            Curriculum::Stories | Curriculum::Backcopy | Curriculum::Recall | Curriculum::Bytes => Ok(None),
            Curriculum::Circuits => {
                let circuits = super::circuits::Circuits::new(&curriculum::loaded(&self.tokenizer)?)?;
                let model = CpuModel::new(&self.model.config, &self.model.to_weights())?;
                score::all(&model, &circuits, items).map(Some)
            }
        }
    }

    /// What held-out text costs now.
    ///
    /// # Errors
    /// From [`held_out::costs`].
    pub fn costs(&self, rows: usize) -> Result<Vec<Cost>> {
        held_out::costs(&self.model, &self.stack, &self.workers, &self.held_out, self.model.config.context, rows)
    }
}

/// How fast a run goes since it was opened.
struct Pace {
    begun: Instant,
    tokens: usize,
    seconds: f64,
}

impl Pace {
    fn words(&self, tokens: usize, goal: usize) -> String {
        let speed = (tokens - self.tokens) as f64 / self.begun.elapsed().as_secs_f64().max(1e-9);
        let left = goal.saturating_sub(tokens) as f64 / speed.max(1e-9) / 60.0;
        format!("{speed:.0} tokens/s  {left:.0} min left")
    }
}

/// Costs in one line.
pub fn words(costs: &[Cost]) -> String {
    let one =
        |cost: &Cost| format!("{} {:.3} nats {:.3} bits/byte", cost.section, cost.nats_per_token, cost.bits_per_byte);
    costs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// One line for who watches.
pub fn say(out: &mut dyn Write, line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| Error::file("standard output", error))
}
