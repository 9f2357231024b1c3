//! How the bench talks to its native programs: a line in, a line out, so that one driver runs them in turns as it runs
//! those in a page. Times are taken here, around the work and without the way there and back: by the clock, and of the
//! processor for all threads of the process.
//!
//! | Line | Answer |
//! |---|---|
//! | | `about WORDS` once, when the model is loaded |
//! | `logits ID ID …` | `logits NUMBER NUMBER …`, those behind the last token, one per token of the vocabulary |
//! | `read ID ID …` | `read CLOCK PROCESSOR ID`: milliseconds twice; the prompt is read and the likeliest token behind it found |
//! | `write COUNT` | `write CLOCK PROCESSOR ID …`: that many likeliest tokens behind the last one |
//!
//! What goes wrong is answered by `error SENTENCE`.

use cpu_time::ProcessTime;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, Write as _};
use std::time::Instant;

/// What fails says why in a sentence.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A model that is run.
pub trait Program {
    /// What computes, in words.
    fn about(&self) -> String;

    /// Logits `[V]` behind the last token of a whole sequence.
    fn logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>>;

    /// Reads a whole sequence and keeps what [`Program::write`] needs; → the likeliest token behind it.
    fn read(&mut self, prompt: &[u32]) -> Result<u32>;

    /// What [`Program::write`] needs and is not counted, where reading leaves less than that behind.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// The likeliest `count` tokens behind the one that was found last, fewer where a program ends by itself.
    fn write(&mut self, count: usize) -> Result<Vec<u32>>;
}

/// Answers until nothing more is asked.
pub fn serve(program: &mut dyn Program) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "about {}", program.about())?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let answer = answer(program, &line?).unwrap_or_else(|problem| format!("error {problem}").replace('\n', " "));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(program: &mut dyn Program, line: &str) -> Result<String> {
    let (verb, rest) = line.split_once(' ').ok_or("a line is a verb and numbers")?;
    let numbers = rest.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u32>, _>>()?;
    let mut answer = verb.to_owned();
    match verb {
        "logits" => program.logits(&numbers)?.iter().try_for_each(|logit| write!(answer, " {logit}"))?,
        "read" => {
            let start = Start::now();
            let token = program.read(&numbers)?;
            write!(answer, " {} {token}", start.millis())?;
        }
        "write" => {
            let count = numbers.first().ok_or("`write` needs a number")?;
            program.prepare()?;
            let start = Start::now();
            let tokens = program.write(*count as usize)?;
            write!(answer, " {}", start.millis())?;
            tokens.iter().try_for_each(|token| write!(answer, " {token}"))?;
        }
        other => return Err(format!("`{other}` is not a verb; there are logits, read and write").into()),
    }
    Ok(answer)
}

/// When some work began, by both times.
struct Start {
    clock: Instant,
    processor: ProcessTime,
}

impl Start {
    fn now() -> Self {
        Self { clock: Instant::now(), processor: ProcessTime::now() }
    }

    fn millis(&self) -> String {
        let [clock, processor] = [self.clock.elapsed(), self.processor.elapsed()].map(|time| time.as_secs_f64() * 1e3);
        format!("{clock} {processor}")
    }
}

/// The id of the largest logit, the lowest of equals.
pub fn likeliest(logits: &[f32]) -> Result<u32> {
    let best = (0..logits.len()).reduce(|best, id| if logits[id] > logits[best] { id } else { best });
    Ok(u32::try_from(best.ok_or("a model without a vocabulary")?)?)
}
