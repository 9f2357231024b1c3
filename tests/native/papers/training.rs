//! Runs of `attnscope train` behind stored numbers.

use attnscope::train::TrainArgs;
use attnscope::train::run::Run;
use clap::Parser;
use std::path::{Path, PathBuf};

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: TrainArgs,
}

/// Where a run is trained.
#[derive(Clone, Copy, PartialEq)]
pub enum Where {
    /// Where its command says; taken up there when it was interrupted or is finished.
    Stored,
    /// In a folder that is gone afterwards.
    Aside,
    /// Nowhere: the model before its first step.
    Untrained,
}

/// The run that `command` trains, which is as typed after `cargo attn`; `corpus` holds what it reads, where it reads any.
pub fn run(command: &str, at: Where, corpus: Option<PathBuf>) -> Run {
    let mut args = Typed::parse_from(command.replace("cargo attn ", "").replace('\'', "").split_whitespace()).args;
    args.corpus = corpus.unwrap_or(args.corpus);
    let name = args.work.file_name().unwrap().to_string_lossy().into_owned();
    let aside = std::env::temp_dir().join(format!("attnscope-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&aside).ok();
    if at == Where::Stored {
        args.work = Path::new(env!("CARGO_MANIFEST_DIR")).join(&args.work);
        args.resume = args.work.join("tokenizer.json").is_file();
    } else {
        args.work.clone_from(&aside);
    }
    let mut run = Run::open(&args, &mut Vec::new()).unwrap();
    if at != Where::Untrained {
        run.train(&args, &mut Vec::new()).unwrap();
    }
    std::fs::remove_dir_all(&aside).ok();
    run
}
