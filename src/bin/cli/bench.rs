//! `attnscope bench`: what every variant costs and is worth, as the page's bench has it.

use super::{given, print};
use attnscope::Result;
use attnscope::engine::{Choice, Engine};
use attnscope::mechanism;
use attnscope::outcome::{EngineFacts, Quote};
use attnscope::papers::STORY;
use attnscope::train::circuits::score::Scores;
use serde::Serialize;
use std::path::PathBuf;

/// What `bench` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// A folder, or the id of a shipped model.
    #[arg(long, default_value = "stories-3m")]
    model: String,
    /// Lengths in tokens; the text is read over and over where it is shorter.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 512])]
    tokens: Vec<usize>,
    /// The text; without it a story the shipped models have never seen.
    #[arg(long)]
    text: Option<PathBuf>,
    /// Tokens drawn for the speed of decoding.
    #[arg(long, default_value_t = 16)]
    drawn: usize,
    /// The model that is asked for needles, and how many passages; none with 0.
    #[arg(long, default_value = "circuits-2m")]
    finder: String,
    #[arg(long, default_value_t = 24)]
    passages: usize,
    /// One variant as in a link, such as `streaming_window(window:32),alibi`; may be given several times. Without it every
    /// mechanism at its defaults. Softmax always comes first.
    #[arg(long)]
    stack: Vec<String>,
    /// `auto`, `cpu` or `gpu`.
    #[arg(long, default_value = "auto")]
    engine: Choice,
}

#[derive(Serialize)]
struct Answer {
    engine: EngineFacts,
    variants: Vec<Variant>,
}

#[derive(Serialize)]
struct Variant {
    stack: String,
    /// One per length.
    quotes: Vec<Quote>,
    needles: Option<Scores>,
}

/// Prints the report.
pub fn command(args: &Args, json: bool) -> Result<()> {
    let text = args.text.as_deref().map_or_else(|| Ok(STORY.into()), given::text)?;
    let everything =
        || mechanism::ALL.iter().map(|mechanism| mechanism.id.into()).filter(|id: &String| id != "softmax");
    let stacks = if args.stack.is_empty() { everything().collect() } else { args.stack.clone() };
    let variants = given::variants(&stacks)?;
    let mut engine = pollster::block_on(Engine::open(&args.model, args.engine))?;
    // The first pass of an engine is slower than all others.
    pollster::block_on(engine.quote(&[], &text, args.tokens.first().copied().unwrap_or(2), 1))?;
    let mut answer = Answer { engine: engine.facts(), variants: Vec::new() };
    for (stack, chips) in &variants {
        let quote = |tokens: &usize| pollster::block_on(engine.quote(chips, &text, *tokens, args.drawn));
        let quotes = args.tokens.iter().map(quote).collect::<Result<_>>()?;
        answer.variants.push(Variant { stack: stack.clone(), quotes, needles: None });
    }
    if args.passages > 0 {
        let mut finder = pollster::block_on(Engine::open(&args.finder, args.engine))?;
        for (variant, (_, chips)) in answer.variants.iter_mut().zip(&variants) {
            variant.needles = Some(pollster::block_on(finder.needles(chips, args.passages))?);
        }
    }
    if json { print::json(&answer) } else { print(&answer) }
}

fn print(answer: &Answer) -> Result<()> {
    let head = [
        "variant",
        "tokens",
        "Δ loss",
        "needles",
        "scores",
        "KV bytes",
        "FLOP/token",
        "pass ms",
        "× softmax",
        "tok/s",
        "drawn by",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for variant in &answer.variants {
        for (index, quote) in variant.quotes.iter().enumerate() {
            let plain = answer.variants.first().and_then(|first| first.quotes.get(index));
            let delta = plain.and_then(|plain| quote.loss_beyond(plain)).map(|beyond| format!("{beyond:+.3}"));
            let dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
            rows.push(vec![
                variant.stack.clone(),
                quote.tokens.to_string(),
                dash(delta),
                dash(variant.needles.as_ref().map(|found| format!("{:.0} %", 100.0 * found.accuracy))),
                dash(quote.price.score_share.map(|share| format!("{:.1} %", 100.0 * share))),
                quote.price.kv_bytes.to_string(),
                quote.price.flops_per_token.to_string(),
                format!("{:.1}", quote.price.millis),
                dash(plain.map(|plain| format!("{:.2}", quote.price.millis / plain.price.millis))),
                dash(quote.tokens_per_second.map(|rate| format!("{rate:.0}"))),
                dash(quote.tokens_per_second.map(|_| if quote.drawn_on_gpu { "GPU" } else { "processor" }.into())),
            ]);
        }
    }
    print::line(&format!("{} ({:?})", answer.engine.adapter, answer.engine.tier))?;
    print::table(&rows)
}
