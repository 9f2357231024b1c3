//! What is given on the command line: stacks as they stand in a link, and text files.

use attnscope::experiment::{Chip, link};
use attnscope::{Error, Result};
use std::path::Path;

/// `streaming_window(window:32),alibi` as chips. What a link would leave out with a notice is an error here.
pub fn stack(text: &str) -> Result<Vec<Chip>> {
    let opened = link::read(&format!("a={text}"))?;
    if let Some(notice) = opened.notices.first() {
        return Err(Error::parse("stack", notice));
    }
    Ok(opened.experiment.panes.into_iter().next().map(|pane| pane.stack).unwrap_or_default())
}

/// Softmax and the stacks after it, each with its name: what variants are compared with comes first.
pub fn variants(stacks: &[String]) -> Result<Vec<(String, Vec<Chip>)>> {
    let plain = std::iter::once(Ok(("softmax".into(), vec![Chip::new("softmax")])));
    plain.chain(stacks.iter().map(|name| Ok((name.clone(), stack(name)?)))).collect()
}

/// A text file.
pub fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|problem| Error::file(file.display().to_string(), problem))
}
