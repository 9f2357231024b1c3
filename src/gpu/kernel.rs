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
/// | `prepare` | `$_prepare(p, Row, lane)` | nothing; what it puts into its own workgroup memory serves the whole row |
/// | `enter` | `$_enter(p, Row, key_start, s)` | an entry's first value, where that is not its score |
/// | `slot` | `$_slot(p, Row)` | first value of an entry beside the keys, MASKED for none |
/// | `rounds`, `step` | `$_rounds`, `$_step(p, Row, round, x, Fold)` | an entry's next value, given maximum, sum and count of the row |
/// | `slot_weight` | `$_slot_weight(p, Row, slot)` | the weight shown, given the entry's last value |
/// | `slot_value` | `$_slot_value(p, Row, d)` | what the slot adds to z per unit of weight |
///
/// `prepare` and `enter` are [optional](OPTIONAL).
pub fn calls(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        // Not yet on the GPU: a mechanism of these roles has no GPU twin, which the linker says.
        Role::ProjectionMod | Role::Selector | Role::PatternMod | Role::Mixer => &[],
        Role::ScoreMod => &[("score", "s = $_score($_params, pair, s);")],
        Role::MaskMod => &[("keep", "keep = keep && $_keep($_params, pair);")],
        Role::Normalizer => &[
            ("prepare", "$_prepare($_params, row, lane); workgroupBarrier();"),
            ("enter", "x = $_enter($_params, row, key_start, x);"),
            ("slot", "slot = $_slot($_params, row);"),
            ("rounds", "rounds = $_rounds;"),
            ("step", "x = $_step($_params, row, round, x, fold);"),
            ("slot_weight", "slot_weight = $_slot_weight($_params, row, slot);"),
            ("slot_value", "value += slot_weight * $_slot_value($_params, row, d);"),
        ],
    }
}

/// Slots that stay empty for a mechanism whose file defines no such function. A kernel that turns rows into weights must
/// have them all the same, or a mechanism would compute something else there.
pub const OPTIONAL: &[&str] = &["prepare", "enter"];

/// Whether `mechanism` fills `slot`, given that its role does.
pub fn fills(mechanism: &Mechanism, slot: &str) -> bool {
    let function = || format!("fn {}_{slot}(", mechanism.id);
    !OPTIONAL.contains(&slot) || mechanism.wgsl.is_some_and(|text| text.contains(&function()))
}
