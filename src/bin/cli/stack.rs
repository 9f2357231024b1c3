//! Stacks on the command line, written as in a link.

use attnscope::experiment::{Chip, link};
use attnscope::{Error, Result};

/// `streaming_window(window:32)+alibi` as chips.
pub fn read(text: &str) -> Result<Vec<Chip>> {
    let opened = link::read(&format!("a={text}"))?;
    // Whatever a link would leave out is an error here.
    if let Some(notice) = opened.notices.first() {
        return Err(Error::parse("stack", notice));
    }
    Ok(opened.experiment.panes.into_iter().next().map(|pane| pane.stack).unwrap_or_default())
}
