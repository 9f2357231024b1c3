//! What is given on the command line: stacks as they stand in a link, and text files.

use attnscope::experiment::Chip;
pub use attnscope::experiment::link::stack;
use attnscope::{Error, Result};
use std::path::Path;

/// Softmax and the stacks after it, each with its name: what variants are compared with comes first.
pub fn variants(stacks: &[String]) -> Result<Vec<(String, Vec<Chip>)>> {
    let plain = std::iter::once(Ok(("softmax".into(), vec![Chip::new("softmax")])));
    plain.chain(stacks.iter().map(|name| Ok((name.clone(), stack(name)?)))).collect()
}

/// A text file.
pub fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|problem| Error::file(file.display().to_string(), problem))
}
