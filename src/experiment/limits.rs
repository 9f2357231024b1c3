//! How large an experiment may be, whoever made it: a link, a page that holds a figure, a file.

use super::instruments::{BIAS, Instruments, LAMBDA, OPTIONS, SHOTS, TEMPLATES};
use super::{Chip, Experiment, PANE_NAMES, Pane};
use crate::spec::Plain;
use crate::{Error, Result};

/// Longest prompt in bytes; the text itself is only then cut to the model's context.
pub const LONGEST_PROMPT: usize = 1 << 20;
/// Longest name: of a model, which may be a path, and of anything else.
const LONGEST_PATH: usize = 4096;
const LONGEST_WORD: usize = 128;
/// Most mechanisms of one pane, and most values of one mechanism.
const MOST_CHIPS: usize = 64;
const MOST_VALUES: usize = 128;
/// Most heads that one instrument takes out.
const MOST_HEADS: usize = 1 << 14;
/// Most items that an evaluation asks of each cell.
const MOST_ITEMS: usize = 1000;
/// Above every position, layer and count that a model here can have.
const LARGEST_INDEX: usize = 1 << 24;

impl Experiment {
    /// Checks what does not depend on a model: version, numbers of things, lengths of texts, numbers that are none.
    ///
    /// # Errors
    /// [`Error::Parse`] for a newer version, [`Error::Limit`] for too much of something, [`Error::Param`] for a number
    /// that cannot be.
    pub fn check(&self) -> Result<()> {
        if self.version != 1 {
            let problem = format!("version {} is newer than this program, which reads version 1", self.version);
            return Err(Error::parse("experiment", problem));
        }
        if !(1..=PANE_NAMES.len()).contains(&self.panes.len()) {
            let expected = format!("hold 1 to {} panes", PANE_NAMES.len());
            return Err(refuse("panes", expected, format!("a list of {}", self.panes.len())));
        }
        Error::within("model", "bytes of name", self.model.len(), LONGEST_PATH)?;
        Error::within("prompt", "bytes", self.prompt.len(), LONGEST_PROMPT)?;
        let own = self.prompt_b.as_ref().map_or(0, String::len);
        Error::within("prompt of pane B", "bytes", own, LONGEST_PROMPT)?;
        Error::within("corrupted prompt", "bytes", self.instruments.corrupted.len(), LONGEST_PROMPT)?;
        Error::within("ablate", "heads", self.instruments.ablate.len(), MOST_HEADS)?;
        Error::within("items", "items of each cell", self.instruments.items, MOST_ITEMS)?;
        check_instruments(&self.instruments)?;
        Error::within("paper", "bytes of name", self.view.paper.len(), LONGEST_WORD)?;
        PANE_NAMES.iter().zip(&self.panes).try_for_each(|(name, pane)| check_pane(name, pane))?;
        let view = &self.view;
        for (key, value) in
            [("temperature", self.draw.temperature), ("top_p", self.draw.top_p), ("epsilon", view.epsilon)]
        {
            if !value.is_finite() {
                return Err(refuse(key, "be a finite number".into(), value.to_string()));
            }
        }
        for (key, index) in [
            ("layer", view.pin.layer),
            ("head", view.pin.head),
            ("query", view.query.unwrap_or(0)),
            ("key", view.key.unwrap_or(0)),
            ("wall", view.wall),
            ("position", view.position),
            ("tokens", self.draw.tokens),
        ] {
            if index > LARGEST_INDEX {
                return Err(refuse(key, format!("be at most {LARGEST_INDEX}"), index.to_string()));
            }
        }
        Ok(())
    }
}

/// Settings that have a range of their own.
fn check_instruments(set: &Instruments) -> Result<()> {
    let counts =
        [("shots", set.shots, SHOTS), ("options", set.options, OPTIONS), ("template", set.template, TEMPLATES)];
    for (key, came, range) in counts {
        if !range.contains(&came) {
            return Err(refuse(key, format!("lie in {}..={}", range.start(), range.end()), came.to_string()));
        }
    }
    for (key, came, range) in
        [("lambda_a", set.lambda_a, LAMBDA), ("lambda_m", set.lambda_m, LAMBDA), ("bias", set.bias, BIAS)]
    {
        if !range.contains(&came) {
            return Err(refuse(key, format!("lie in {}..={}", range.start(), range.end()), came.to_string()));
        }
    }
    Ok(())
}

fn check_pane(name: &str, pane: &Pane) -> Result<()> {
    Error::within(format!("pane {name}"), "mechanisms", pane.stack.len(), MOST_CHIPS)?;
    pane.stack.iter().try_for_each(check_chip)
}

fn check_chip(chip: &Chip) -> Result<()> {
    Error::within("mechanism", "bytes of name", chip.id.len(), LONGEST_WORD)?;
    Error::within(&chip.id, "values", chip.values.len(), MOST_VALUES)?;
    chip.values.iter().try_for_each(|(key, value)| {
        Error::within(&chip.id, "bytes of a key", key.len(), LONGEST_WORD)?;
        match value {
            Plain::Word(word) => Error::within(&chip.id, "bytes of a word", word.len(), LONGEST_WORD),
            Plain::Number(number) if !number.is_finite() => {
                let (who, key) = (chip.id.clone(), key.clone());
                Err(Error::Param { who, key, expected: "be a finite number".into(), came: number.to_string() })
            }
            _ => Ok(()),
        }
    })
}

fn refuse(key: &str, expected: String, came: String) -> Error {
    Error::Param { who: "experiment".into(), key: key.into(), expected, came }
}
