//! Kernels as data: a file, what fills its slots, and the mechanisms that stand in it.

use super::link::{Linked, link};
use crate::Result;
use crate::catalogue::Role;
use crate::mechanism::{Mechanism, Stack, Stage};

/// One GPU program, before it is linked.
#[derive(Clone)]
pub struct Kernel {
    /// Stem of a skeleton or a model kernel.
    pub name: &'static str,
    /// Slot → shared piece that fills it.
    pub pieces: Vec<(&'static str, &'static str)>,
    /// Mechanisms in the order in which they act.
    pub mechanisms: Vec<&'static Mechanism>,
    /// The function that a stage's mechanism fills its slot with, without the mechanism's stem.
    pub function: &'static str,
    /// Buffers that earlier stages of the mechanism made, without its stem.
    pub made: Vec<&'static str>,
}

impl Kernel {
    /// A kernel without mechanisms.
    pub fn new(name: &'static str, pieces: &[(&'static str, &'static str)]) -> Self {
        Self { name, pieces: pieces.to_vec(), mechanisms: Vec::new(), function: "", made: Vec::new() }
    }

    /// The row kernel of a stack; the capture variant also writes scores, pattern and slot, the cached one asks the state of a
    /// continuation for its position, the chosen one reads what a selector left.
    pub fn attend_rows(stack: &Stack, capture: bool, cached: bool, chosen: bool) -> Self {
        let capture = if capture { "capture_maps" } else { "capture_none" };
        let place = if cached { "place_state" } else { "place_shape" };
        let choice = if chosen { "choose_stored" } else { "choose_all" };
        let pieces = [
            ("capture", capture),
            ("choice", choice),
            ("keys", "keys_all"),
            ("place", place),
            ("reworked", "rework_none"),
        ];
        Self { mechanisms: in_rows(stack), ..Self::new("attend_rows", &pieces) }
    }

    /// The tile kernel of a stack for values of `width` entries, where there is one: its normalizer divides exponentials by
    /// their sum. `cached` and `chosen` are as for [`Kernel::attend_rows`].
    pub fn attend_tiles(stack: &Stack, width: usize, cached: bool, chosen: bool) -> Option<Self> {
        let span = match width {
            ..=32 => "span_32",
            33..=64 => "span_64",
            65..=128 => "span_128",
            _ => return None,
        };
        let mut kernel = Self::attend_alone(stack, cached, chosen)?;
        let skips = chosen || kernel.mechanisms.iter().any(|mechanism| mechanism.plug.role == Role::MaskMod);
        kernel.pieces.extend([("skip", if skips { "skip_empty" } else { "skip_none" }), ("span", span)]);
        Some(Self { name: "attend_tiles", ..kernel })
    }

    /// The same for values of any width, in which no lane waits for another.
    pub fn attend_alone(stack: &Stack, cached: bool, chosen: bool) -> Option<Self> {
        let mechanisms = in_rows(stack);
        let mut normalizers = mechanisms.iter().filter(|mechanism| mechanism.plug.role == Role::Normalizer);
        if !normalizers.all(|normalizer| fills(normalizer, "exponent")) {
            return None;
        }
        let pieces = [
            ("choice", if chosen { "choose_stored" } else { "choose_all" }),
            ("place", if cached { "place_state" } else { "place_shape" }),
        ];
        Some(Self { mechanisms, ..Self::new("attend_alone", &pieces) })
    }

    /// The same with another piece in a slot.
    fn with(mut self, slot: &str, piece: &'static str) -> Self {
        self.pieces.iter_mut().filter(|(filled, _)| *filled == slot).for_each(|(_, old)| *old = piece);
        self
    }

    /// The same where lanes that add up a row do so by subgroups.
    pub fn by_subgroups(&self) -> Self {
        let mut kernel = self.clone();
        kernel.pieces.push(("reduce", "reduce_subgroups"));
        kernel
    }

    /// The same through lists of the keys that a selector left.
    pub fn listed(self) -> Self {
        self.with("keys", "keys_listed")
    }

    /// The same through the rows that a head keeps, for one token.
    pub fn ringed(self) -> Self {
        self.with("keys", "keys_ring")
    }

    /// The same behind the tokens of a continuation, whose state says where it stands.
    pub fn behind(mut self) -> Self {
        self.pieces.retain(|(slot, _)| *slot != "place");
        self.pieces.push(("place", "place_state"));
        self
    }

    /// The same with the weights reworked by a pattern mod that may read what its stages `made`.
    pub fn reworked(self, mechanism: &'static Mechanism, made: Vec<&'static str>) -> Self {
        let mut kernel = self.with("reworked", "rework_rows");
        kernel.mechanisms.push(mechanism);
        Self { made, ..kernel }
    }

    /// One stage of a mechanism that may read what stages before it `made`.
    pub fn stage(mechanism: &'static Mechanism, stage: &Stage, made: Vec<&'static str>, capture: bool) -> Self {
        let capture = if capture { "capture_maps" } else { "capture_none" };
        let rows = [
            ("capture", capture),
            ("choice", "choose_all"),
            ("keys", "keys_all"),
            ("place", "place_shape"),
            ("reworked", "rework_none"),
        ];
        let pieces = if stage.skeleton == "attend_rows" { &rows[..] } else { &[] };
        Self { mechanisms: vec![mechanism], function: stage.function, made, ..Self::new(stage.skeleton, pieces) }
    }

    /// A name that is equal for equal programs; parameter values do not enter it.
    pub fn id(&self) -> String {
        let pieces: Vec<_> = self.pieces.iter().map(|(_, piece)| *piece).collect();
        let mechanisms: Vec<_> = self.mechanisms.iter().map(|mechanism| mechanism.id).collect();
        format!("{}({})[{}]{}", self.name, pieces.join(","), mechanisms.join(","), self.function)
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

/// What acts inside a kernel of rows or tiles: selectors, pattern mods and mixers act in stages.
fn in_rows(stack: &Stack) -> Vec<&'static Mechanism> {
    let inside = |role| matches!(role, Role::ScoreMod | Role::MaskMod | Role::Normalizer);
    stack.iter().map(|placed| placed.mechanism).filter(|mechanism| inside(mechanism.plug.role)).collect()
}

/// What a role fills in the attention skeleton: slot, and the line that calls the mechanism. `$` stands for its stem.
///
/// | Slot | Function | Gives |
/// |---|---|---|
/// | `score` | `$_score(p, Pair, s)` | the score of a kept pair after the mod |
/// | `reach` | `$_reach(p)` | how many first keys every query sees, whatever the causal and other masks say |
/// | `keep` | `$_keep(p, Pair)` | whether a causal pair stays |
/// | `prepare` | `$_prepare(p, Row, lane)` | nothing; what it puts into its own workgroup memory serves the whole row |
/// | `enter` | `$_enter(p, Row, key_start, s)` | an entry's first value, where that is not its score |
/// | `slot` | `$_slot(p, Row)` | first value of an entry beside the keys, MASKED for none |
/// | `rounds`, `step` | `$_rounds`, `$_step(p, Row, round, x, Fold)` | an entry's next value, given maximum, sum and count of the row |
/// | `slot_weight` | `$_slot_weight(p, Row, slot)` | the weight shown, given the entry's last value |
/// | `slot_value` | `$_slot_value(p, Row, d)` | what the slot adds to z per unit of weight |
/// | `exponent`, `rest` | `$_exponent(p, x)`, `$_rest(p)` | in tiles, where weights are exponentials over their sum: the exponent of a score, and of what no key gets, MASKED for nothing |
///
/// Some are [optional](OPTIONAL).
pub fn calls(role: Role, in_stage: bool) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::ProjectionMod => &[("vector", "value = $_@($_params, at, c);")],
        Role::Selector | Role::PatternMod | Role::Mixer if in_stage => STAGE,
        Role::Selector | Role::Mixer => &[],
        Role::PatternMod => &[
            ("gather", "part = $_gather($_params, pair, q_row, k_row, w, part);"),
            ("rework", "w = $_rework($_params, pair, q_row, k_row, w, fold);"),
            ("rework_slot", "slot_weight = $_rework_slot($_params, q_row, slot_weight);"),
        ],
        Role::ScoreMod => &[("score", "s = $_score($_params, pair, s);")],
        Role::MaskMod => &[
            ("reach", "reach = max(reach, min(keys, $_reach($_params)));"),
            ("keep", "keep = keep && $_keep($_params, pair);"),
        ],
        Role::Normalizer => &[
            ("prepare", "$_prepare($_params, row, lane); workgroupBarrier();"),
            ("enter", "x = $_enter($_params, row, key_start, x);"),
            ("slot", "slot = $_slot($_params, row);"),
            ("rounds", "rounds = $_rounds;"),
            ("step", "x = $_step($_params, row, round, x, fold);"),
            ("slot_weight", "slot_weight = $_slot_weight($_params, row, slot);"),
            ("slot_value", "value += slot_weight * $_slot_value($_params, row, d);"),
            ("exponent", "x = $_exponent($_params, x);"),
            ("rest", "rest = $_rest($_params);"),
        ],
    }
}

/// The slots of skeletons in which a stage stands alone; see the table of stages (`src/mechanism/stage.rs`). `@` stands for
/// the stage's function.
const STAGE: &[(&str, &str)] = &[
    ("value", "value = $_@($_params, at, c);"),
    ("add", "value = $_@($_params, at, c, other);"),
    ("column", "value = $_@($_params, pair, q_row, k_row);"),
    ("item", "value = $_@($_params, at, list, item, k_row);"),
    ("quota", "quota = $_quota($_params, at, list);"),
    ("choose", "weight = $_@($_params, pair, q_row, k_row);"),
    ("weight", "x = $_@($_params, pair, q_row, k_row, x);"),
    ("rounds", "rounds = $_rounds;"),
    ("step", "x = $_step($_params, row, round, x, fold);"),
    ("carry", "fade = $_carry($_params, at, steps);"),
    ("begin", "value = $_begin($_params, at, lane, d);"),
    ("entry", "value = $_@($_params, is_key, q_row, k_row, d);"),
    ("epsilon", "epsilon = $_@($_params);"),
];

/// Slots that stay empty for a mechanism whose file defines no such function. A kernel that turns rows into weights must
/// have them all the same, or a mechanism would compute something else there.
pub const OPTIONAL: &[&str] = &["reach", "prepare", "enter", "gather", "rework_slot"];

/// Slots of tiles. A normalizer that fills them has a tile kernel; any other is computed row by row.
const TILED: &[&str] = &["exponent", "rest"];

/// Whether `mechanism` fills `slot`, given that its role does.
pub fn fills(mechanism: &Mechanism, slot: &str) -> bool {
    let function = || format!("fn {}_{slot}(", mechanism.id);
    !OPTIONAL.contains(&slot) && !TILED.contains(&slot) || mechanism.wgsl.is_some_and(|text| text.contains(&function()))
}
