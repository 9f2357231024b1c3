//! The mechanisms of one pane, sorted by what they change.

use super::{Mechanism, by_id};
use crate::catalogue::Role;
use crate::experiment::Chip;
use crate::spec::{self, Value};
use crate::{Error, Result};

/// A mechanism with typed values.
#[derive(Clone)]
pub struct Placed {
    /// Which one.
    pub mechanism: &'static Mechanism,
    /// Its values, in the order of its parameters.
    pub values: Vec<Value>,
}

impl Placed {
    /// A mechanism with its values typed and checked.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Param`], naming the mechanism and the parameter.
    pub fn new(chip: &Chip) -> Result<Self> {
        let mechanism = by_id(&chip.id)?;
        Ok(Self { mechanism, values: spec::read(mechanism.id, mechanism.plug.spec, &chip.values)? })
    }
}

/// What a pane runs: mods in order, one normalizer.
#[derive(Clone)]
pub struct Stack {
    /// Applied to the scores in this order.
    pub score_mods: Vec<Placed>,
    /// All of them must keep a pair.
    pub mask_mods: Vec<Placed>,
    /// Plain softmax when the pane names none.
    pub normalizer: Placed,
}

impl Stack {
    /// Sorts and checks the chips of pane `pane`.
    ///
    /// # Errors
    /// [`Error::Stack`] when a mechanism stands twice or two normalizers meet; [`Error::Unknown`] and [`Error::Param`]
    /// from the chips.
    pub fn new(pane: &str, chips: &[Chip]) -> Result<Self> {
        let placed = chips.iter().map(Placed::new).collect::<Result<Vec<_>>>()?;
        let refuse = |problem: String| Err(Error::Stack { pane: pane.into(), problem });
        for (index, this) in placed.iter().enumerate() {
            for other in &placed[..index] {
                if other.mechanism.id == this.mechanism.id {
                    return refuse(format!("{} stands twice; remove one", this.mechanism.id));
                }
                if other.mechanism.plug.role == this.mechanism.plug.role && this.mechanism.plug.role.single() {
                    let (a, b) = (other.mechanism.id, this.mechanism.id);
                    return refuse(format!(
                        "{a} and {b} cannot stand together, each {}; remove one",
                        this.mechanism.plug.role.title()
                    ));
                }
            }
        }
        let of = |role: Role| placed.iter().filter(move |p| p.mechanism.plug.role == role).cloned();
        let normalizer = match of(Role::Normalizer).next() {
            Some(normalizer) => normalizer,
            None => Placed::new(&Chip::new("softmax"))?,
        };
        Ok(Self { score_mods: of(Role::ScoreMod).collect(), mask_mods: of(Role::MaskMod).collect(), normalizer })
    }

    /// Every mechanism in the order in which it acts.
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.score_mods.iter().chain(&self.mask_mods).chain([&self.normalizer])
    }
}
