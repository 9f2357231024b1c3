//! The mechanisms of one pane, sorted by what they change.

use super::{Corrects, Fill, Input, Mechanism, Probed, Twin, by_id};
use crate::catalogue::Role;
use crate::experiment::Chip;
use crate::hook::Array;
use crate::spec::{self, Value};
use crate::{Error, Result};
use std::collections::BTreeMap;

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

/// What a pane runs: mods in order, at most one selector, one normalizer; or one mixer instead.
#[derive(Clone)]
pub struct Stack {
    /// Applied to the projections in this order.
    pub projection_mods: Vec<Placed>,
    /// Applied to the scores in this order.
    pub score_mods: Vec<Placed>,
    /// All of them must keep a pair.
    pub mask_mods: Vec<Placed>,
    /// Chooses among the pairs that masks keep.
    pub selector: Option<Placed>,
    /// Plain softmax when the pane names none.
    pub normalizer: Placed,
    /// Applied to the weights in this order.
    pub pattern_mods: Vec<Placed>,
    /// Where there is one, everything from scores to weights is empty and the normalizer does not act.
    pub mixer: Option<Placed>,
    /// Inputs that were measured on the model, all layers one behind the other, by mechanism and name.
    measured: BTreeMap<(&'static str, &'static str), Vec<f32>>,
}

impl Stack {
    /// Sorts and checks the chips of pane `pane`.
    ///
    /// # Errors
    /// [`Error::Stack`] when a mechanism stands twice or two that exclude each other meet; [`Error::Unknown`] and
    /// [`Error::Param`] from the chips.
    pub fn new(pane: &str, chips: &[Chip]) -> Result<Self> {
        let placed = chips.iter().map(Placed::new).collect::<Result<Vec<_>>>()?;
        let refuse = |problem: String| Err(Error::Stack { pane: pane.into(), problem });
        for (index, this) in placed.iter().enumerate() {
            for other in &placed[..index] {
                let (a, b) = (other.mechanism, this.mechanism);
                if a.id == b.id {
                    return refuse(format!("{} stands twice; remove one", a.id));
                }
                if a.plug.role.excludes(b.plug.role) {
                    let why = if a.plug.role == b.plug.role {
                        format!("each {}", a.plug.role.title())
                    } else {
                        let (mixer, left) = if a.plug.role == Role::Mixer { (a, b) } else { (b, a) };
                        format!("{} {} and leaves {} nothing to act on", mixer.id, mixer.plug.role.title(), left.id)
                    };
                    return refuse(format!("{} and {} cannot stand together, {why}; remove one", a.id, b.id));
                }
            }
        }
        let mut stack = Self::plain()?;
        placed.into_iter().for_each(|placed| stack.place(placed));
        Ok(stack)
    }

    /// One mechanism at these values and nothing else.
    ///
    /// # Errors
    /// None that a test of the registry would not find.
    pub fn alone(mechanism: &'static Mechanism, values: Vec<Value>) -> Result<Self> {
        let mut stack = Self::plain()?;
        stack.place(Placed { mechanism, values });
        Ok(stack)
    }

    /// The same with other values of the mechanism `id`; what was measured stays until it is measured anew.
    pub fn with_values(&self, id: &str, values: Vec<Value>) -> Self {
        let mut stack = self.clone();
        let Stack { projection_mods, score_mods, mask_mods, selector, normalizer, pattern_mods, mixer, .. } =
            &mut stack;
        let mods = projection_mods.iter_mut().chain(score_mods).chain(mask_mods).chain(pattern_mods);
        let placed = mods.chain(selector).chain(mixer).chain([normalizer]).find(|placed| placed.mechanism.id == id);
        if let Some(placed) = placed {
            placed.values = values;
        }
        stack
    }

    fn plain() -> Result<Self> {
        Ok(Self {
            projection_mods: Vec::new(),
            score_mods: Vec::new(),
            mask_mods: Vec::new(),
            selector: None,
            normalizer: Placed::new(&Chip::new("softmax"))?,
            pattern_mods: Vec::new(),
            mixer: None,
            measured: BTreeMap::new(),
        })
    }

    fn place(&mut self, placed: Placed) {
        match placed.mechanism.plug.role {
            Role::ProjectionMod => self.projection_mods.push(placed),
            Role::ScoreMod => self.score_mods.push(placed),
            Role::MaskMod => self.mask_mods.push(placed),
            Role::Selector => self.selector = Some(placed),
            Role::Normalizer => self.normalizer = placed,
            Role::PatternMod => self.pattern_mods.push(placed),
            Role::Mixer => self.mixer = Some(placed),
        }
    }

    /// Every mechanism that acts, in the order in which it does.
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        let normalizer = self.mixer.is_none().then_some(&self.normalizer);
        self.projection_mods
            .iter()
            .chain(&self.score_mods)
            .chain(&self.mask_mods)
            .chain(&self.selector)
            .chain(normalizer)
            .chain(&self.pattern_mods)
            .chain(&self.mixer)
    }

    /// Whether something acts besides the row by row steps of scores, masks and normalizer.
    pub fn acts_in_stages(&self) -> bool {
        let mods = !self.projection_mods.is_empty() || !self.pattern_mods.is_empty();
        self.selector.is_some() || self.mixer.is_some() || mods
    }

    /// The inputs of every mechanism that acts, in order of the mechanisms and of their declarations.
    pub fn inputs(&self) -> impl Iterator<Item = (&Placed, &'static Input)> {
        self.iter().flat_map(|placed| placed.mechanism.plug.inputs.iter().map(move |input| (placed, input)))
    }

    /// How many first keys every query sees, also those before them.
    pub fn reach(&self) -> usize {
        self.mask_mods.iter().map(|placed| (placed.mechanism.plug.reach)(&placed.values)).max().unwrap_or(0)
    }

    /// When a decode under this stack corrects its cache, where it does.
    pub fn corrects(&self) -> Option<Corrects> {
        let placed = self.selector.as_ref()?;
        match placed.mechanism.plug.twin {
            Twin::Select(.., corrects) => corrects(&placed.values),
            _ => None,
        }
    }

    /// The same without its selector: what a correction runs.
    pub fn without_selector(&self) -> Self {
        Self { selector: None, ..self.clone() }
    }

    /// Whether an input of a mechanism that acts wants to be measured on the model.
    pub fn measures(&self) -> bool {
        self.inputs().any(|(_, input)| matches!(input.fill, Fill::Measured(_)))
    }

    /// Measures the inputs that want it.
    pub fn measure(&mut self, probed: &Probed) {
        let one = |(placed, input): (&Placed, &'static Input)| match input.fill {
            Fill::Measured(measure) => Some(((placed.mechanism.id, input.name), measure(&placed.values, probed))),
            _ => None,
        };
        self.measured = self.inputs().filter_map(one).collect();
    }

    /// The `count` numbers that were measured for an input at one layer.
    pub fn measured(&self, placed: &Placed, input: &Input, layer: usize, count: usize) -> Option<&[f32]> {
        self.measured.get(&(placed.mechanism.id, input.name))?.get(layer * count..(layer + 1) * count)
    }

    /// The part of `arrays`, in the order of [`Stack::inputs`], that belongs to `placed`.
    pub fn inputs_of<'a>(&self, placed: &Placed, arrays: &'a [Array]) -> &'a [Array] {
        let count = |placed: &Placed| placed.mechanism.plug.inputs.len();
        let before = self.iter().take_while(|other| other.mechanism.id != placed.mechanism.id).map(count).sum();
        arrays.get(before..before + count(placed)).unwrap_or(&[])
    }
}
