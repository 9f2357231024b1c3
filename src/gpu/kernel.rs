//! Kernels as data: a file, what fills its slots, and the mechanisms that stand in it.

use super::link::{Linked, link};
use crate::Result;
use crate::catalogue::Role;
use crate::mechanism::{Mechanism, Stack};

/// One GPU program, before it is linked.
#[derive(Clone)]
pub struct Kernel {
    /// Stem of a skeleton or a model kernel.
    pub name: &'static str,
    /// Slot → shared piece that fills it.
    pub pieces: Vec<(&'static str, &'static str)>,
    /// Mechanisms in the order in which they act.
    pub mechanisms: Vec<&'static Mechanism>,
}

impl Kernel {
    /// A kernel without mechanisms.
    pub fn new(name: &'static str, pieces: &[(&'static str, &'static str)]) -> Self {
        Self { name, pieces: pieces.to_vec(), mechanisms: Vec::new() }
    }

    /// The attention step of a stack; the capture variant also writes scores, pattern, slot and row statistics.
    pub fn attend_rows(stack: &Stack, capture: bool) -> Self {
        let piece = if capture { "capture_maps" } else { "capture_none" };
        let mechanisms = stack.iter().map(|placed| placed.mechanism).collect();
        Self { name: "attend_rows", pieces: vec![("capture", piece)], mechanisms }
    }

    /// A name that is equal for equal programs; parameter values do not enter it.
    pub fn id(&self) -> String {
        let pieces: Vec<_> = self.pieces.iter().map(|(_, piece)| *piece).collect();
        let mechanisms: Vec<_> = self.mechanisms.iter().map(|mechanism| mechanism.id).collect();
        format!("{}({})[{}]", self.name, pieces.join(","), mechanisms.join(","))
    }

    /// The whole program.
    ///
    /// # Errors
    /// [`crate::Error::Kernel`] naming file and line of what does not link; [`crate::Error::Unsupported`] when a
    /// mechanism has no GPU twin.
    pub fn link(&self) -> Result<Linked> {
        link(self)
    }
}

/// What a role fills in the attention skeleton: slot, and the line that calls the mechanism. `$` stands for its stem.
///
/// | Slot | Function | Gives |
/// |---|---|---|
/// | `score` | `$_score(p, Pair, s)` | the score of a kept pair after the mod |
/// | `keep` | `$_keep(p, Pair)` | whether a causal pair stays |
/// | `slot` | `$_slot(p, Row)` | first value of an entry beside the keys, MASKED for none |
/// | `rounds`, `step` | `$_rounds`, `$_step(p, Row, round, x, Fold)` | an entry's next value, given maximum and sum of the row |
/// | `slot_weight` | `$_slot_weight(p, Row, slot)` | the weight shown, given the entry's last value |
/// | `slot_value` | `$_slot_value(p, Row, d)` | what the slot adds to z per unit of weight |
pub fn calls(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::ScoreMod => &[("score", "s = $_score($_params, pair, s);")],
        Role::MaskMod => &[("keep", "keep = keep && $_keep($_params, pair);")],
        Role::Normalizer => &[
            ("slot", "slot = $_slot($_params, row);"),
            ("rounds", "rounds = $_rounds;"),
            ("step", "x = $_step($_params, row, round, x, fold);"),
            ("slot_weight", "slot_weight = $_slot_weight($_params, row, slot);"),
            ("slot_value", "value += slot_weight * $_slot_value($_params, row, d);"),
        ],
    }
}
