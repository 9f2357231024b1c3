//! Axis letters, and shape checks by letter.
//!
//! `B` batch, `H` query heads, `G` key–value heads, `Q` query positions, `K` key positions, `D` head width, `M` model
//! width, `V` vocabulary, `L` layers. Tensors are head-first, `[B,H,Q,D]`. A letter is bound by the first tensor that
//! uses it; every later use must agree.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// The sizes that letters have been bound to so far.
///
/// ```
/// # use attnscope::shape::Axes;
/// let mut axes = Axes::new("alibi");
/// axes.bind("q", "BHQD", &[1, 6, 9, 32]).unwrap();
/// axes.bind("k", "BGKD", &[1, 3, 9, 32]).unwrap();
/// assert_eq!(axes.size('H').unwrap(), 6);
/// assert!(axes.bind("v", "BGKD", &[1, 3, 8, 32]).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Axes {
    who: String,
    bound: BTreeMap<char, usize>,
}

impl Axes {
    /// No letter bound yet; `who` is named in errors.
    pub fn new(who: impl Into<String>) -> Self {
        Self { who: who.into(), bound: BTreeMap::new() }
    }

    /// Binds or checks each axis of `tensor`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of axes or the size of a bound letter differs.
    pub fn bind(&mut self, tensor: &str, letters: &str, sizes: &[usize]) -> Result<()> {
        let agree = letters.chars().count() == sizes.len()
            && letters.chars().zip(sizes).all(|(letter, size)| *self.bound.get(&letter).unwrap_or(size) == *size);
        if !agree {
            let expected: Vec<_> = letters
                .chars()
                .map(|letter| self.bound.get(&letter).map_or(letter.to_string(), |size| format!("{letter}={size}")))
                .collect();
            return Err(Error::Shape {
                who: self.who.clone(),
                tensor: tensor.into(),
                expected: format!("[{}]", expected.join(",")),
                came: format!("{sizes:?}"),
            });
        }
        self.bound.extend(letters.chars().zip(sizes.iter().copied()));
        Ok(())
    }

    /// The size of a letter.
    ///
    /// # Errors
    /// [`Error::Internal`] when no tensor has bound it.
    pub fn size(&self, letter: char) -> Result<usize> {
        self.bound
            .get(&letter)
            .copied()
            .ok_or_else(|| Error::Internal(format!("{}: axis {letter} was never bound", self.who)))
    }
}
