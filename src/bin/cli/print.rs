//! Where output goes.

use attnscope::{Error, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// One line of text on standard output.
pub fn line(text: &str) -> Result<()> {
    part(&format!("{text}\n"))
}

/// Text on standard output that is seen at once, without an end of line.
pub fn part(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // `attnscope … | head` closes the pipe when it has seen enough.
        Err(problem) if problem.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|problem| Error::file("standard output", problem)),
    }
}

/// A value as indented JSON on standard output.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value).map_err(|problem| Error::Internal(problem.to_string()))?)
}

/// A value with long lists as JSON on one line.
pub fn json_line(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value).map_err(|problem| Error::Internal(problem.to_string()))?)
}

/// A sentence on standard error.
pub fn complain(text: &str) {
    // Nowhere is left to complain to when this fails.
    let _ = writeln!(std::io::stderr(), "attnscope: {text}");
}

/// Rows in aligned columns, the first row a heading.
pub fn table(rows: &[Vec<String>]) -> Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}
