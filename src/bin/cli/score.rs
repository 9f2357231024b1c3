//! `attnscope score`: the loss of a text under one or several stacks, with what chance may have done to the difference.

use super::{given, print};
use attnscope::engine::{Choice, Engine};
use attnscope::train::corpus;
use attnscope::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// What `score` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// A UTF-8 text file; `<|endoftext|>` stands between documents, where there are several.
    text: PathBuf,
    /// A folder, or the id of a shipped model.
    #[arg(long, default_value = "stories-3m")]
    model: String,
    /// One variant as in a link, such as `streaming_window(window:32),alibi`; may be given several times. Softmax always
    /// comes first.
    #[arg(long)]
    stack: Vec<String>,
    /// Tokens of a window, the one for the beginning of a text among them.
    #[arg(long, default_value_t = 256)]
    tokens: usize,
    /// At most so many windows, spread evenly over the text.
    #[arg(long, default_value_t = 64)]
    windows: usize,
    /// `auto`, `cpu` or `gpu`.
    #[arg(long, default_value = "auto")]
    engine: Choice,
}

/// What `score` prints.
#[derive(Serialize)]
struct Answer {
    model: String,
    /// Windows read and tokens predicted in all.
    windows: usize,
    predicted: usize,
    stacks: Vec<Score>,
}

#[derive(Serialize)]
struct Score {
    stack: String,
    /// Nats per token, the mean over windows.
    loss: f64,
    /// Difference to softmax on the same tokens of the same windows, and half of its 95 % interval over windows.
    delta: f64,
    plus_minus: f64,
}

/// Prints the scores.
pub fn command(args: &Args, json: bool) -> Result<()> {
    let (text, variants) = (given::text(&args.text)?, given::variants(&args.stack)?);
    let mut engine = pollster::block_on(Engine::open(&args.model, args.engine))?;
    let windows = windows(&engine, &text, args)?;
    let mut plain = Vec::new();
    let mut scores = Vec::new();
    for (stack, chips) in variants {
        let (losses, foreseen) = pollster::block_on(engine.losses(&chips, &windows))?;
        if plain.is_empty() {
            plain.clone_from(&losses);
        }
        // The same tokens of every window, those left out whose queries have seen them.
        let mean = |losses: &Vec<f32>| {
            let judged = losses.get(foreseen..).unwrap_or(&[]);
            judged.iter().map(|loss| f64::from(*loss)).sum::<f64>() / judged.len() as f64
        };
        let own: Vec<f64> = losses.iter().map(mean).collect();
        let differences: Vec<f64> = own.iter().zip(&plain).map(|(own, plain)| own - mean(plain)).collect();
        let (delta, plus_minus) = interval(&differences);
        let loss = own.iter().sum::<f64>() / own.len() as f64;
        scores.push(Score { stack, loss, delta, plus_minus });
    }
    let predicted = windows.iter().map(|window| window.len() - 1).sum();
    let answer = Answer { model: args.model.clone(), windows: windows.len(), predicted, stacks: scores };
    if json { print::json(&answer) } else { print(&answer) }
}

/// Windows of equal length, each with the beginning token where the model has one.
fn windows(engine: &Engine, text: &str, args: &Args) -> Result<Vec<Vec<u32>>> {
    let refuse = |key: &str, expected: String, came: String| {
        Err(Error::Param { who: "score".into(), key: key.into(), expected, came })
    };
    let context = engine.config().context;
    if !(2..=context).contains(&args.tokens) {
        return refuse("tokens", format!("lie in 2..={context}, the model's context"), args.tokens.to_string());
    }
    let bos = engine.tokenizer().bos();
    let room = args.tokens - usize::from(bos.is_some());
    let mut all = Vec::new();
    for document in corpus::documents(text) {
        let tokens = engine.tokenizer().encode(&document, false)?;
        let full = tokens.chunks_exact(room.max(1));
        all.extend(full.map(|window| bos.iter().chain(window).copied().collect::<Vec<u32>>()));
    }
    if all.is_empty() || args.windows == 0 {
        return refuse("text", format!("hold a document of {room} tokens at least"), format!("{} bytes", text.len()));
    }
    let count = args.windows.min(all.len());
    Ok((0..count).map(|index| all[index * all.len() / count].clone()).collect())
}

/// Mean, and half of its 95 % interval by the normal approximation.
fn interval(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, 1.96 * (variance / n).sqrt())
}

fn print(answer: &Answer) -> Result<()> {
    let head = format!("{}: {} windows, {} tokens predicted", answer.model, answer.windows, answer.predicted);
    let mut rows = vec![["stack", "loss", "Δ loss", "±"].map(String::from).to_vec()];
    rows.extend(answer.stacks.iter().map(|score| {
        vec![
            score.stack.clone(),
            format!("{:.4}", score.loss),
            format!("{:+.4}", score.delta),
            format!("{:.4}", score.plus_minus),
        ]
    }));
    print::line(&head)?;
    print::table(&rows)
}
