//! Activation patching: which activation carries what two prompts differ by.
//!
//! The corrupted prompt runs with one activation of the clean prompt in place of its own. How far the answer then returns to
//! that of the clean prompt is the effect of that activation:
//!
//! ```text
//! effect = metric(corrupted with the activation of clean) − metric(corrupted)      total = metric(clean) − metric(corrupted)
//! ```
//!
//! An effect equal to the total restores everything. Of KL(clean ‖ ·), which is 0 for the clean prompt, the effect is what is
//! taken away. Activations that are the same under both prompts, as all before the first differing token, change nothing and
//! are not run. Both prompts have as many tokens, position for position.

use super::base::{Again, Base};
use super::finding::{Asked, Axis, Fact, Grid, Sheet};
use crate::engine::{divergence, log_probabilities};
use crate::experiment::{PatchMetric, PatchSite};
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::{Error, Result};

/// Rows of one batch.
const ROWS: usize = 12;

/// What patching reads of both passes beside their residual streams.
pub fn wanted(site: PatchSite) -> &'static [Site] {
    match site {
        PatchSite::ResidPre => &[],
        PatchSite::AttnOut => &[Site::AttnOut],
        PatchSite::MlpOut => &[Site::MlpOut],
        PatchSite::Heads => &[Site::Z],
    }
}

/// Two prompts and what is patched from the clean one into the corrupted one.
pub struct Patching<'a> {
    clean: &'a Base,
    again: Again<'a>,
    site: PatchSite,
    asked: Asked,
    /// Log-probabilities of the explained position under the clean and under the corrupted prompt.
    rows: [Vec<f32>; 2],
    /// The effect of each cell, for each metric.
    effects: [Vec<f32>; 3],
}

/// Cells that run together: all in one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The layer.
    pub layer: usize,
    /// Positions, or heads.
    pub columns: Vec<usize>,
}

/// Refuses prompts that cannot be laid over each other.
///
/// # Errors
/// [`Error::Param`] when the numbers of tokens differ, or when the prompts are the same.
pub fn check(clean: &[u32], corrupted: &[u32]) -> Result<()> {
    let refuse = |expected: String, came: String| Error::Param {
        who: "patching".into(),
        key: "corrupted".into(),
        expected,
        came,
    };
    if clean.len() != corrupted.len() {
        let expected = format!("have as many tokens as the prompt, {}", clean.len());
        return Err(refuse(expected, format!("{} tokens long", corrupted.len())));
    }
    if clean == corrupted {
        return Err(refuse("differ from the prompt in some token".into(), "the same".into()));
    }
    Ok(())
}

impl<'a> Patching<'a> {
    /// Patches `site` of `clean` into the corrupted pass that `again` starts from.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn new(clean: &'a Base, again: Again<'a>, site: PatchSite, asked: Asked) -> Result<Self> {
        check(&clean.tokens, &again.base.tokens)?;
        let rows = [clean, again.base].map(|base| base.log_probabilities.at(asked.query).to_vec());
        let config = again.model.config();
        let cells = config.layers * if site == PatchSite::Heads { config.heads } else { clean.tokens.len() };
        Ok(Self { clean, again, site, asked, rows, effects: [(); 3].map(|()| vec![0.0; cells]) })
    }

    fn columns(&self) -> usize {
        match self.site {
            PatchSite::Heads => self.again.model.config().heads,
            _ => self.clean.tokens.len(),
        }
    }

    /// The batches it takes, later layers first; cells where both prompts agree are in none of them.
    ///
    /// # Errors
    /// [`Error::Unknown`] when something of [`wanted`] was not captured.
    pub fn batches(&self) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        for layer in (0..self.again.model.config().layers).rev() {
            let (clean, corrupted) = (self.activation(self.clean, layer)?, self.activation(self.again.base, layer)?);
            let differs =
                |column: &usize| stripe(clean, self.columns(), *column) != stripe(corrupted, self.columns(), *column);
            let columns: Vec<usize> = (0..self.columns()).filter(differs).collect();
            batches.extend(columns.chunks(ROWS).map(|columns| Batch { layer, columns: columns.to_vec() }));
        }
        Ok(batches)
    }

    /// `[Q,M]` with a position for each row, or `[H,Q·D]`.
    fn activation<'b>(&self, base: &'b Base, layer: usize) -> Result<&'b [f32]> {
        Ok(match self.site {
            PatchSite::ResidPre => &base.residuals[layer].data,
            PatchSite::AttnOut => &base.captures.get(layer, Site::AttnOut)?.data,
            PatchSite::MlpOut => &base.captures.get(layer, Site::MlpOut)?.data,
            PatchSite::Heads => &base.captures.get(layer, Site::Z)?.data,
        })
    }

    /// Runs one batch and notes the effects of its cells.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn run(&mut self, batch: &Batch) -> Result<()> {
        let (layer, count, query) = (batch.layer, batch.columns.len(), Some(self.asked.query));
        let clean = self.activation(self.clean, layer)?;
        let columns = self.columns();
        let mut nobody = ActivationCache::new(Selection::default());
        let logits = match self.site {
            PatchSite::ResidPre => {
                let put = |row: usize, stream: &mut [f32]| overwrite(stream, clean, columns, batch.columns[row]);
                self.again.from(layer, count, query, put, &mut nobody)?
            }
            PatchSite::MlpOut => {
                // What the feed-forward adds is the last thing of a layer: the next one begins with the difference.
                let corrupted = self.activation(self.again.base, layer)?;
                let add = |row: usize, stream: &mut [f32]| {
                    let column = batch.columns[row];
                    let size = stream.len() / columns;
                    let parts = stripe(clean, columns, column).iter().zip(stripe(corrupted, columns, column));
                    stream[column * size..][..size].iter_mut().zip(parts).for_each(|(x, (new, old))| *x += new - old);
                };
                self.again.from(layer + 1, count, query, add, &mut nobody)?
            }
            PatchSite::AttnOut | PatchSite::Heads => {
                let site = wanted(self.site)[0];
                let mut tap = Overwrite { at: HookPoint::new(layer, site), clean, columns, chosen: &batch.columns };
                self.again.from(layer, count, query, |_, _| {}, &mut tap)?
            }
        };
        for (row, column) in batch.columns.iter().enumerate() {
            let effects = self.effect(logits.at(row));
            for (sheet, effect) in self.effects.iter_mut().zip(effects) {
                sheet[layer * columns + column] = effect;
            }
        }
        Ok(())
    }

    fn effect(&self, logits: &[f32]) -> [f32; 3] {
        let [clean, corrupted] = &self.rows;
        effect_of([clean, corrupted], self.asked, logits)
    }

    /// What patching every position of the residual stream before the first layer gives: everything.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn everything(&self) -> Result<[f32; 3]> {
        let mut nobody = ActivationCache::new(Selection::default());
        let put = |_: usize, stream: &mut [f32]| stream.copy_from_slice(&self.clean.residuals[0].data);
        // All positions, as in the clean pass itself, so that every sum is made in the same order and nothing is rounded apart.
        let mut logits = self.again.from(0, 1, None, put, &mut nobody)?;
        logits.shape.remove(0);
        Ok(self.effect(logits.at(self.asked.query)))
    }

    /// The grid of what was run; `position` names a position.
    ///
    /// # Errors
    /// Those of [`Patching::everything`].
    pub fn grid(self, position: impl Fn(usize) -> String) -> Result<Grid> {
        let totals = self.effect(self.clean.logits.at(self.asked.query));
        let everything = self.everything()?;
        let config = self.again.model.config();
        let across = match self.site {
            PatchSite::Heads => Axis::new("head", (0..config.heads).map(|head| format!("H{head}"))),
            _ => Axis::new("position", (0..self.clean.tokens.len()).map(position)),
        };
        let [clean, corrupted] = &self.rows;
        let of = |row: &[f32], id: u32| row.get(id as usize).copied().unwrap_or(f32::NAN);
        let mut facts = Vec::new();
        for (name, row) in [("clean", clean), ("corrupted", corrupted)] {
            if let Some(against) = self.asked.against {
                let lead = of(row, self.asked.answer) - of(row, against);
                facts.push(Fact::new(&format!("{name}_difference"), &format!("Logit difference, {name}"), lead, ""));
            }
            let log_prob = of(row, self.asked.answer);
            facts.push(Fact::new(&format!("{name}_log_prob"), &format!("log P, {name}"), log_prob, "nats"));
        }
        facts.push(Fact::new("divergence", "KL(clean ‖ corrupted)", totals[2], "nats"));
        for (metric, (all, total)) in PatchMetric::ALL.iter().zip(everything.into_iter().zip(totals)) {
            let id = format!("everything_{}", metric.word());
            facts.push(Fact::new(&id, "Restored by everything at once", all / total, ""));
        }
        Ok(Grid {
            down: Axis::new("layer", (0..config.layers).map(|layer| format!("L{layer}"))),
            across,
            sheets: sheets(self.effects, totals),
            facts,
            notes: Vec::new(),
        })
    }
}

/// Effects of what was predicted, in the order of [`PatchMetric::ALL`], from log-probabilities of the clean and of the
/// corrupted prompt and the logits that came.
pub(super) fn effect_of([clean, corrupted]: [&[f32]; 2], asked: Asked, logits: &[f32]) -> [f32; 3] {
    let row = Array { shape: vec![1, logits.len()], data: logits.to_vec() };
    let patched = &log_probabilities(&row).data;
    let of = |row: &[f32], id: u32| row.get(id as usize).copied().unwrap_or(f32::NAN);
    let lead = |row: &[f32]| of(row, asked.answer) - asked.against.map_or(0.0, |id| of(row, id));
    [
        // Of one token alone a logit means nothing, so its lead over nothing is that of log P.
        lead(patched) - lead(corrupted),
        of(patched, asked.answer) - of(corrupted, asked.answer),
        divergence(clean, corrupted) - divergence(clean, patched),
    ]
}

/// The sheets of effects, one for each [`PatchMetric`].
pub fn sheets(effects: [Vec<f32>; 3], totals: [f32; 3]) -> Vec<Sheet> {
    let names = ["Δ logit difference", "Δ log P", "KL taken away"];
    let parts = PatchMetric::ALL.iter().zip(names).zip(effects.into_iter().zip(totals));
    let sheet = |((metric, name), (values, total)): ((&PatchMetric, &str), (Vec<f32>, f32))| {
        let unit = if *metric == PatchMetric::LogitDifference { "" } else { "nats" };
        Sheet { id: metric.word().into(), name: name.into(), unit: unit.into(), values, total: Some(total) }
    };
    parts.map(sheet).collect()
}

/// One of `count` equal parts.
fn stripe(all: &[f32], count: usize, index: usize) -> &[f32] {
    let size = all.len() / count.max(1);
    all.get(index * size..(index + 1) * size).unwrap_or(&[])
}

fn overwrite(target: &mut [f32], source: &[f32], count: usize, index: usize) {
    let size = target.len() / count.max(1);
    if let Some(target) = target.get_mut(index * size..(index + 1) * size) {
        target.copy_from_slice(stripe(source, count, index));
    }
}

/// Overwrites one part of an activation in each row of a batch.
struct Overwrite<'a> {
    at: HookPoint,
    clean: &'a [f32],
    columns: usize,
    /// The part of each row.
    chosen: &'a [usize],
}

impl Tap for Overwrite<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at == self.at
    }

    fn visit(&mut self, _: HookPoint, value: &Array) -> Option<Array> {
        let mut edited = value.clone();
        let size = edited.data.len() / self.chosen.len().max(1);
        for (row, column) in edited.data.chunks_mut(size.max(1)).zip(self.chosen) {
            overwrite(row, self.clean, self.columns, *column);
        }
        Some(edited)
    }
}
