//! `attnscope generate`: a continuation.

use super::print;
use attnscope::engine::{Choice, Engine, Forward, Request};
use attnscope::experiment::link;
use attnscope::hook::Selection;
use attnscope::mechanism::Stack;
use attnscope::model::sample::{Sampler, Sampling, generate};
use attnscope::model::{Files, load};
use attnscope::outcome::{EngineFacts, Tier};
use attnscope::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What `generate` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// A folder (Hugging Face), a llama2.c `.bin` with its tokenizer beside it, or a shipped model's id.
    #[arg(long)]
    model: String,
    /// Another tokenizer than the one beside the model: a llama2.c `.bin` or a `tokenizer.json`.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// The text to continue.
    #[arg(long)]
    prompt: String,
    /// Most tokens to add.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// `auto`, `cpu` or `gpu`.
    #[arg(long, default_value = "auto")]
    engine: Choice,
    /// Takes the likeliest token every time; so it is unless an option of sampling is given.
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "seed"])]
    greedy: bool,
    /// Divides the logits; 0 is greedy. 1 when only other options of sampling are given.
    #[arg(long)]
    temperature: Option<f32>,
    /// Only this many likeliest tokens.
    #[arg(long)]
    top_k: Option<usize>,
    /// Only the likeliest tokens that together reach this probability.
    #[arg(long)]
    top_p: Option<f32>,
    /// Seed of the draws.
    #[arg(long)]
    seed: Option<u64>,
    /// No beginning-of-text token in front of the prompt.
    #[arg(long)]
    no_bos: bool,
    /// Mechanisms as they stand in a link: `streaming_window(sinks:4,window:16),softmax`.
    #[arg(long, default_value = "softmax")]
    stack: String,
}

/// Continues the prompt and prints text or JSON.
pub fn command(args: &Args, json: bool) -> Result<()> {
    let panes = link::read(&format!("a={}", args.stack))?.experiment.panes;
    let stack = Stack::new("a", panes.first().map_or(&[][..], |pane| &pane.stack))?;
    let mut sampler = Sampler::new(args.sampling())?;
    let mut engine = pollster::block_on(args.open())?;
    let prompt = engine.tokenizer().encode(&args.prompt, !args.no_bos)?;
    let config = engine.config().clone();
    if prompt.is_empty() {
        return Err(Error::parse("prompt", "there is no token to continue; type some text or leave out --no-bos"));
    }
    if prompt.len() > config.context {
        return Err(Error::Param {
            who: "generate".into(),
            key: "prompt".into(),
            expected: format!("fit the model's context of {} tokens", config.context),
            came: format!("{} tokens long", prompt.len()),
        });
    }
    let start = Instant::now();
    let generated = if engine.facts().tier == Tier::Cpu {
        let mut decoder = engine.processor().decoder(&stack, 0);
        let logits = async |tokens: &[u32]| decoder.logits(tokens);
        pollster::block_on(generate(&config, &prompt, args.tokens, &mut sampler, logits))?
    } else {
        let logits = async |tokens: &[u32]| {
            let request = Request { tokens, stack: &stack, seed: 0, wants: Selection::default() };
            let logits = engine.forward(request).await?.logits;
            Ok(logits.at(tokens.len() - 1).to_vec())
        };
        pollster::block_on(generate(&config, &prompt, args.tokens, &mut sampler, logits))?
    };
    let millis = start.elapsed().as_secs_f32() * 1e3;
    let text = engine.tokenizer().decode(&generated)?;
    if !json {
        return print::line(&format!("{}{text}", args.prompt));
    }
    print::json_line(&Continuation {
        engine: engine.facts(),
        tokens_per_second: 1e3 * generated.len() as f32 / millis,
        prompt_ids: prompt,
        generated_ids: generated,
        text,
        millis,
    })
}

/// What `generate --json` prints.
#[derive(Serialize)]
struct Continuation {
    engine: EngineFacts,
    prompt_ids: Vec<u32>,
    generated_ids: Vec<u32>,
    /// The generated tokens alone.
    text: String,
    millis: f32,
    tokens_per_second: f32,
}

impl Args {
    async fn open(&self) -> Result<Engine> {
        let Some(path) = &self.tokenizer else { return Engine::open(&self.model, self.engine).await };
        let there = Files::read(Path::new(&self.model))?;
        let others = |name: &&str| !(name.starts_with("tok") && (name.ends_with(".bin") || name.ends_with(".json")));
        let mut files = Files::new();
        for name in there.names().filter(others) {
            files.insert(name, there.need(name)?.to_vec());
        }
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let bytes = std::fs::read(path).map_err(|problem| Error::file(path.display().to_string(), problem))?;
        files.insert(if is_json { "tokenizer.json" } else { "tokenizer.bin" }, bytes);
        Engine::new(load(&self.model, &files)?, self.engine).await
    }

    fn sampling(&self) -> Sampling {
        let asked = self.top_k.is_some() || self.top_p.is_some() || self.seed.is_some();
        Sampling {
            temperature: self.temperature.unwrap_or(if asked { 1.0 } else { 0.0 }),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
            seed: self.seed.unwrap_or(0),
        }
    }
}
