//! One good input for each fuzz target (`tests/fuzz`), kept in its corpus.

use super::noise;
use crate::model::files::llama2c;
use crate::model::lively;
use attnscope::model::Config;
use attnscope::model::load::{Precision, save_safetensors};
use std::path::Path;

/// Target and bytes.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let config = Config { context: 8, ..Config::llama(3, 4, 1, 2, 1, 4) };
    let weights = save_safetensors(&config, &lively(&config, 1), Precision::F16).unwrap();
    let (model, pieces) = llama2c();
    let both = [&(model.len() as u32).to_le_bytes()[..], &model, &pieces].concat();
    let mut seeds = vec![("weights", weights), ("llama2c", both)];
    let targets = ["link", "link", "message", "experiment", "tokenizer", "npz", "config"];
    seeds.extend(targets.into_iter().zip(noise::sources()).map(|(target, (bytes, _))| (target, bytes)));
    seeds
}

#[test]
fn every_fuzz_target_has_its_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    for (index, (target, bytes)) in seeds().into_iter().enumerate() {
        assert!(fuzz.join(format!("targets/{target}.rs")).is_file(), "there is no target {target}");
        let folder = fuzz.join("corpus").join(target);
        let file = folder.join(format!("seed-{index}"));
        if std::env::var_os("ATTNSCOPE_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &bytes).unwrap();
        }
        // An older form of an input is as good a seed as the present one.
        let long = std::fs::metadata(&file).map_or(0, |facts| facts.len());
        assert!(long > 0, "{} is missing; ATTNSCOPE_BLESS=1 writes it", file.display());
    }
    let targets = std::fs::read_dir(fuzz.join("targets")).unwrap().count();
    let corpora = std::fs::read_dir(fuzz.join("corpus")).unwrap().count();
    assert_eq!(targets, corpora, "a target without seeds, or seeds without a target");
}
