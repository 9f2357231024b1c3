//! Everything a run needs to go on exactly where it stopped.
//!
//! A checkpoint is a folder `step-000123` with the weights, the optimizer's state and the run's position. It is written
//! under another name and renamed when complete, so a run that is killed while writing leaves the one before.

use crate::model::Text;
use crate::{Error, Result};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Checkpoints kept; older ones are removed.
const KEPT: usize = 3;

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Optimizer steps done.
    pub steps: usize,
    /// Tokens whose loss was learned from.
    pub tokens: usize,
    /// Rows taken from the data.
    pub rows: usize,
    /// Seconds spent in this run, interruptions not counted.
    pub seconds: f64,
    /// Seed of weights and data.
    pub seed: u64,
    /// Files and repeats.
    pub mix: String,
    /// What it learns under, as in a link.
    #[serde(default)]
    pub stack: String,
}

/// Writes the checkpoint of `position` into `folder` and removes old ones.
///
/// # Errors
/// [`Error::File`] when something cannot be written.
pub fn save(folder: &Path, position: &Position, model: &Text, optimizer: &ModuleOptimizer) -> Result<()> {
    let done = folder.join(format!("step-{:06}", position.steps));
    let unfinished = folder.join("unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(|error| Error::file(unfinished.display().to_string(), error))?;
    }
    let name = unfinished.display().to_string();
    let broken = |error: &dyn std::fmt::Display| Error::file(&name, error);
    std::fs::create_dir_all(&unfinished).map_err(|error| broken(&error))?;
    model.clone().save_file(unfinished.join("weights.bpk")).map_err(|error| broken(&error))?;
    optimizer.save(unfinished.join("optimizer.bpk")).map_err(|error| broken(&error))?;
    let text = serde_json::to_string_pretty(position).map_err(|error| broken(&error))?;
    std::fs::write(unfinished.join("position.json"), text).map_err(|error| broken(&error))?;
    if done.exists() {
        std::fs::remove_dir_all(&done).map_err(|error| broken(&error))?;
    }
    std::fs::rename(&unfinished, &done).map_err(|error| broken(&error))?;
    let all = list(folder)?;
    for old in all.iter().take(all.len().saturating_sub(KEPT)) {
        std::fs::remove_dir_all(old).map_err(|error| Error::file(old.display().to_string(), error))?;
    }
    Ok(())
}

/// Reads the newest checkpoint in `folder` into a model and an optimizer made like those that were saved.
///
/// # Errors
/// [`Error::File`] when there is none, or when it is damaged or of another model.
pub fn load(folder: &Path, model: Text, optimizer: ModuleOptimizer) -> Result<(Position, Text, ModuleOptimizer)> {
    let newest = list(folder)?.pop().ok_or_else(|| {
        Error::file(
            folder.display().to_string(),
            "holds no checkpoint to resume from; leave out --resume to begin a run",
        )
    })?;
    let name = newest.display().to_string();
    let broken = |error: &dyn std::fmt::Display| Error::file(&name, error);
    let text = std::fs::read_to_string(newest.join("position.json")).map_err(|error| broken(&error))?;
    let position = serde_json::from_str(&text).map_err(|error| broken(&error))?;
    let model = model.try_load_file(newest.join("weights.bpk")).map_err(|error| broken(&error))?;
    let optimizer = optimizer.load(newest.join("optimizer.bpk")).map_err(|error| broken(&error))?;
    Ok((position, model, optimizer))
}

/// Finished checkpoints in `folder`, oldest first; none when the folder is not there.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let finished = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"));
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(finished).collect();
    found.sort();
    Ok(found)
}
