//! The list of shipped models equals the folders.

use super::keep_fresh;
use attnscope::Error;
use attnscope::model::{Files, load};
use attnscope::shipped::{self, Shipped};
use std::path::Path;

#[test]
fn the_list_of_models_is_what_the_folders_hold() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models");
    let mut folders: Vec<_> = std::fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    // The default first, the others by name.
    folders.sort_by_key(|path| (!path.ends_with("stories-3m"), path.clone()));
    let shipped = |path: &std::path::PathBuf| {
        let id = path.file_name().unwrap().to_string_lossy().into_owned();
        let card: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join("card.json")).unwrap()).unwrap();
        let facts = load(&id, &Files::read(path).unwrap()).unwrap().facts;
        Shipped { facts, summary: card["summary"].as_str().unwrap().into() }
    };
    let list: Vec<Shipped> = folders.iter().map(shipped).collect();
    keep_fresh("www/models.json", &(serde_json::to_string_pretty(&list).unwrap() + "\n"));
}

#[test]
fn models_elsewhere_are_said_to_be_refused_where_the_loader_refuses_their_family() {
    let list: Vec<shipped::Elsewhere> = serde_json::from_str(include_str!("../../../www/elsewhere.json")).unwrap();
    assert!(!list.is_empty());
    for model in &list {
        // A configuration of which nothing is known but its family: a family that is not here is the first thing said.
        let config = format!(r#"{{"model_type": "{}"}}"#, model.family);
        let takes = model.family == "llama2.c"
            || !matches!(attnscope::model::load::config_from_json(config.as_bytes()), Err(Error::Unsupported { key, .. }) if key == "model_type");
        assert_eq!(takes, model.refused.is_none(), "{}: what the list says of {} is not so", model.name, model.family);
        if let Some(test) = &model.tried_by {
            let file = format!("tests/native/{}.rs", test.replace("::", "/"));
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).is_file(), "{}: {file} is gone", model.name);
        }
    }
    let names: std::collections::BTreeSet<_> = list.iter().map(|model| &model.source).collect();
    assert_eq!(names.len(), list.len());
}

#[test]
fn the_hash_on_record_of_stories260k_is_that_of_the_fixture() {
    let Some(path) = crate::fixtures::fixture("llama2c/stories260K.bin") else { return };
    let list = shipped::elsewhere();
    let (_, hash) = list.iter().find_map(|model| model.sha256.as_ref()).unwrap();
    let files = Files::new().with("stories260K.bin", std::fs::read(path).unwrap());
    assert_eq!(&files.sha256(), hash);
}
