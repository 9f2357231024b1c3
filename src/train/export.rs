//! Writing a trained model as a folder that this program, its page and Hugging Face's classes read.

use super::args::{On, TrainArgs};
use super::card::{self, Card, Sample, Training};
use super::curriculum::Curriculum;
use super::held_out::Cost;
use super::run::Run;
use super::vocabulary;
use crate::engine::Reference;
use crate::mechanism::Stack;
use crate::model::load::{Precision, SELF_CHECK, config_to_json, save_safetensors};
use crate::model::sample::{Sampler, Sampling, generate};
use crate::model::{CpuModel, Files, load};
use crate::{Error, Result};
use std::path::Path;

/// Held-out items of each task behind the card's numbers.
const CARD_ITEMS: usize = 200;

/// Tokens of one sample.
const SAMPLE_TOKENS: usize = 80;

/// Writes `config.json`, `tokenizer.json`, `model.safetensors` in f16, the reference of the start-up check, `card.json`
/// and the credits of the picture books into `args.out`, once the model has been read back as a visitor's page reads it.
///
/// # Errors
/// [`Error::File`] when something cannot be written; those of the loader when what was written cannot be read.
pub fn write(run: &Run, args: &TrainArgs, costs: Vec<Cost>) -> Result<()> {
    let id = args.out.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    let config = &run.model.config;
    let mut files = Files::new()
        .with("config.json", config_to_json(config))
        .with("tokenizer.json", vocabulary::to_json(&run.tokenizer)?)
        .with("model.safetensors", save_safetensors(config, &run.model.to_weights(), Precision::F16)?);
    let loaded = load::load(&id, &files)?;
    let mut model = CpuModel::new(&loaded.config, &loaded.weights)?;
    let reference = pollster::block_on(Reference::new(&mut model, &loaded.config))?;
    files.insert(SELF_CHECK, json(&reference)?);
    let said = card::words(run.curriculum);
    let greedy = Sampling::default();
    let drawn = Sampling { temperature: 0.7, top_p: 0.9, seed: args.seed, ..greedy };
    let mut samples = Vec::new();
    for (sampling, words) in [(greedy, "greedy".to_string()), (drawn, "temperature 0.7, top-p 0.9".into())] {
        for prompt in said.prompts.iter().copied() {
            let text = continuation(&model, &run.stack, &loaded.tokenizer, prompt, sampling)?;
            samples.push(Sample { prompt: prompt.into(), sampling: words.clone(), text });
        }
    }
    let mix = run.curriculum.mix(&run.position.mix)?;
    let card = Card {
        model: id,
        summary: format!(
            "A Llama-family model of {} layers, {} heads and width {} that {}",
            config.layers, config.heads, config.width, said.does
        ),
        limits: said.limits.into(),
        finished: run.position.tokens >= args.tokens,
        parameters: config.parameters(),
        data: card::data(&mix)?,
        left_out: if mix.is_empty() { Vec::new() } else { card::left_out(&mix) },
        training: training(run, args),
        held_out: costs,
        tasks: run.scores(CARD_ITEMS)?.unwrap_or_default(),
        samples,
    };
    files.insert("card.json", json(&card)?);
    if mix.iter().any(|share| share.file == "picture-books") {
        files.insert("credits.tsv", credits(&args.corpus)?);
    }
    save(&files, &args.out)
}

fn training(run: &Run, args: &TrainArgs) -> Training {
    let Run { position, .. } = run;
    let under = (!position.stack.is_empty()).then(|| {
        let stack = &position.stack;
        format!("trained under {stack}, and to be run under it: without, its weights make another model")
    });
    let words = |rule| match rule {
        super::optimizer::Rule::Muon => "Muon for the matrices of the blocks, AdamW for the rest",
        super::optimizer::Rule::AdamW => "AdamW",
    };
    Training {
        tokens: position.tokens,
        epoch_tokens: run.epoch_tokens(),
        steps: position.steps,
        batch_tokens: position.tokens / position.steps.max(1),
        optimizer: format!(
            "{}; learning rate {} after a warm-up over {} tokens, falling to zero over the last {}; rows of {} tokens for \
             the first {} tokens, of {} after them",
            words(args.rule),
            args.rate,
            args.warmup_tokens,
            args.decay_tokens,
            run.model.config.context / 2,
            args.halves_until,
            run.model.config.context
        ),
        seed: position.seed,
        seconds: position.seconds as u64,
        device: match args.device {
            On::Flex => format!("burn flex, {} threads", args.threads),
            On::Wgpu => "burn wgpu".into(),
            On::Cuda => "burn cuda".into(),
        },
        commit: commit(),
        command: format!(
            "cargo attn train{}{} --tokens {} --decay-tokens {} --warmup-tokens {} --halves-until {} \
             --batch-tokens {} --rate {} --seed {}",
            match run.curriculum {
                Curriculum::Stories => format!(" --mix {}", position.mix),
                Curriculum::Circuits => format!(" --curriculum circuits --tasks {} --mix {}", args.tasks, position.mix),
                Curriculum::Backcopy => " --curriculum backcopy".into(),
                Curriculum::Recall => format!(" --curriculum recall --pairs {}", args.pairs),
                Curriculum::Bytes => format!(" --curriculum bytes --mix {}", position.mix),
            },
            if position.stack.is_empty() { String::new() } else { format!(" --stack '{}'", position.stack) },
            args.tokens,
            args.decay_tokens,
            args.warmup_tokens,
            args.halves_until,
            args.batch_tokens,
            args.rate,
            position.seed
        ),
        notes: under.into_iter().chain(args.note.clone()).collect(),
    }
}

/// What the model writes after `prompt`.
fn continuation(
    model: &CpuModel,
    stack: &Stack,
    tokenizer: &crate::tokenizer::Tokenizer,
    prompt: &str,
    sampling: Sampling,
) -> Result<String> {
    let mut decoder = model.decoder(stack, 0);
    let prompt = tokenizer.encode(prompt, true)?;
    let sampler = Sampler::new(sampling)?;
    let logits = async |tokens: &[u32]| decoder.logits(tokens);
    let ids = pollster::block_on(generate(model.config(), &prompt, SAMPLE_TOKENS, &sampler, logits))?;
    tokenizer.decode(&ids)
}

/// The commit of the checkout the program runs in, marked where files differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let dirty =
        git(&["status", "--porcelain", "--", "src/train", "src/model"]).is_some_and(|changes| !changes.is_empty());
    let head = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into());
    if dirty { format!("{head} with changes") } else { head }
}

/// The lines of the corpus's credits that belong to training texts, under their heading.
fn credits(corpus: &Path) -> Result<Vec<u8>> {
    let path = corpus.join("picture-books-credits.tsv");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::file(path.display().to_string(), error))?;
    let kept = text.lines().enumerate().filter(|(index, line)| *index == 0 || line.ends_with("\ttrain"));
    Ok(kept.map(|(_, line)| format!("{line}\n")).collect::<String>().into_bytes())
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::Internal(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

fn save(files: &Files, folder: &Path) -> Result<()> {
    let name = folder.display().to_string();
    std::fs::create_dir_all(folder).map_err(|error| Error::file(&name, error))?;
    for file in files.names() {
        std::fs::write(folder.join(file), files.need(file)?)
            .map_err(|error| Error::file(format!("{name}/{file}"), error))?;
    }
    Ok(())
}
