//! `attnscope generate`: a continuation.

use super::{given, print};
use attnscope::engine::{Choice, End, Engine};
use attnscope::mechanism::Stack;
use attnscope::model::sample::Sampling;
use attnscope::model::{Files, load};
use attnscope::outcome::EngineFacts;
use attnscope::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// What `generate` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// A folder (Hugging Face), a llama2.c `.bin` with its tokenizer beside it, or a shipped model's id.
    /// With `@int8` behind it its matrices are rounded to bytes first: another model, a quarter as large on the GPU.
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

/// Continues the prompt and prints text or JSON; text comes as it is drawn.
pub fn command(args: &Args, json: bool) -> Result<()> {
    pollster::block_on(run(args, json))
}

async fn run(args: &Args, json: bool) -> Result<()> {
    let stack = Stack::new("a", &given::stack(&args.stack)?)?;
    let mut engine = args.open().await?;
    let prompt = engine.tokenizer().encode(&args.prompt, !args.no_bos)?;
    if prompt.is_empty() {
        return Err(Error::parse("prompt", "there is no token to continue; type some text or leave out --no-bos"));
    }
    let mut generation = engine.generate(stack, &prompt, args.sampling(), 0).await?;
    let (mut millis, mut shown) = (0.0, args.prompt.clone());
    if !json {
        print::part(&shown)?;
    }
    while generation.drawn().len() < args.tokens && generation.end().is_none() {
        let most = args.tokens - generation.drawn().len();
        millis += engine.burst(&mut generation, most.min(BURST)).await?.millis;
        if !json {
            // A token can be part of a letter, so the text is taken from all of them.
            let text = format!("{}{}", args.prompt, engine.tokenizer().decode(generation.drawn())?);
            if let Some(new) = text.strip_prefix(&shown).filter(|new| !new.ends_with('\u{fffd}')) {
                print::part(new)?;
                shown = text;
            }
        }
    }
    if !json {
        let whole = format!("{}{}", args.prompt, engine.tokenizer().decode(generation.drawn())?);
        print::line(whole.strip_prefix(&shown).unwrap_or_default())?;
        generation.end().and_then(|end| end.notice()).iter().for_each(|notice| print::complain(notice));
        return Ok(());
    }
    print::json_line(&Continuation {
        engine: engine.facts(),
        prompt_ids: prompt,
        generated_ids: generation.drawn().to_vec(),
        text: engine.tokenizer().decode(generation.drawn())?,
        on_gpu: generation.on_gpu(),
        end: generation.end(),
        prompt_millis: generation.prompt_millis(),
        millis,
        tokens_per_second: 1e3 * generation.drawn().len() as f32 / millis.max(f32::MIN_POSITIVE),
    })
}

/// Most tokens of one burst.
const BURST: usize = 32;

/// What `generate --json` prints.
#[derive(Serialize)]
struct Continuation {
    engine: EngineFacts,
    prompt_ids: Vec<u32>,
    generated_ids: Vec<u32>,
    /// The generated tokens alone.
    text: String,
    /// Whether the GPU wrote it; some stacks decode on the processor only.
    on_gpu: bool,
    /// Why it ended before as many tokens as were asked for.
    end: Option<End>,
    /// Time of reading the prompt.
    prompt_millis: f32,
    /// Time of the bursts.
    millis: f32,
    tokens_per_second: f32,
}

impl Args {
    async fn open(&self) -> Result<Engine> {
        let Some(path) = &self.tokenizer else { return Engine::open(&self.model, self.engine).await };
        let (id, there) = Files::find(&self.model)?;
        let others = |name: &&str| !(name.starts_with("tok") && (name.ends_with(".bin") || name.ends_with(".json")));
        let mut files = Files::new();
        for name in there.names().filter(others) {
            files.insert(name, there.need(name)?.to_vec());
        }
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let bytes = std::fs::read(path).map_err(|problem| Error::file(path.display().to_string(), problem))?;
        files.insert(if is_json { "tokenizer.json" } else { "tokenizer.bin" }, bytes);
        Engine::new(load(&id, &files)?, self.engine).await
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
