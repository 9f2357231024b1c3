//! The list of shipped models equals the folders.

use super::keep_fresh;
use attnscope::model::{Files, load};
use attnscope::shipped::Shipped;
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
