//! What a head does, by taking it out.
//!
//! A score says where a head looks; whether the model needs it for anything only an intervention says. A head is taken out
//! in one of four ways, which differ in what they leave behind:
//!
//! | Way | What stands in its place |
//! |---|---|
//! | zero | nothing; the strongest, and unlike anything the later layers have seen |
//! | mean | its own output averaged over positions: what it always says stays, what depends on the place goes |
//! | resample | its output on the same tokens in another order: of the right kind, but about another prompt |
//! | uniform | the mean of the values of all earlier tokens: it looks everywhere alike |
//!
//! Many sets of heads are taken out in one batch, each in its own row, and a pass begins at the first layer that one of its
//! heads is in ([`Base`]).

use super::base::{self, Again, Base};
use super::finding::Asked;
use crate::engine::{divergence, log_probabilities};
use crate::experiment::Head;
use crate::hook::{Ablation, ActivationCache, Array, HookPoint, Selection, Site, Tap};
use crate::mechanism::Stack;
use crate::model::CpuModel;
use crate::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Rows of one batch: enough to keep the processor busy, few enough that logits of long prompts stay small.
const ROWS: usize = 12;

pub use crate::experiment::Removal;

/// The activation that is edited when a head is taken out.
pub fn site(how: Removal) -> Site {
    if how == Removal::Uniform { Site::Pattern } else { Site::Z }
}

/// Takes out heads, other ones in every row of a batch.
pub struct Without<'a> {
    /// The heads of each row; rows beyond stay whole.
    pub rows: &'a [Vec<Head>],
    /// How.
    pub how: Removal,
    /// Outputs of every head on another prompt, for [`Removal::Resample`]: `z` of each layer, `[1,H,Q,D]`.
    pub donor: Option<&'a ActivationCache>,
}

impl Tap for Without<'_> {
    fn wants(&self, at: HookPoint) -> bool {
        at.site == site(self.how) && self.rows.iter().flatten().any(|head| head.layer == at.layer)
    }

    fn visit(&mut self, at: HookPoint, value: &Array) -> Option<Array> {
        let &[_, heads, queries, width] = value.shape.as_slice() else { return None };
        let stripe = queries * width;
        let donor = self.donor.and_then(|donor| donor.values.get(&at));
        let mut edited = value.clone();
        for (row, out) in self.rows.iter().enumerate() {
            for head in out.iter().filter(|head| head.layer == at.layer) {
                let start = (row * heads + head.head) * stripe;
                let Some(target) = edited.data.get_mut(start..start + stripe) else { continue };
                match self.how {
                    Removal::Zero => target.fill(0.0),
                    Removal::Mean => Ablation::Mean.apply(target, width),
                    Removal::Uniform => Ablation::Uniform.apply(target, width),
                    Removal::Resample => {
                        let source =
                            donor.and_then(|donor| donor.data.get(head.head * stripe..(head.head + 1) * stripe));
                        // Without a donor of this length there is nothing to put there.
                        match source {
                            Some(source) => target.copy_from_slice(source),
                            None => target.fill(0.0),
                        }
                    }
                }
            }
        }
        Some(edited)
    }
}

/// Sets of heads that are taken out of one prompt, and how.
pub struct Removals<'a> {
    again: Again<'a>,
    sets: &'a [Vec<Head>],
    how: Removal,
    donor: Option<ActivationCache>,
}

/// Sets that run together: all begin at one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The layer they begin at.
    pub layer: usize,
    /// Indices of the sets.
    pub sets: Vec<usize>,
}

impl<'a> Removals<'a> {
    /// Sets of heads to take out of what `again` starts from; an empty one leaves the model whole.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a head the model does not have; those of the pass that makes a donor.
    pub fn new(again: Again<'a>, sets: &'a [Vec<Head>], how: Removal) -> Result<Self> {
        let (layers, heads) = (again.model.config().layers, again.model.config().heads);
        if let Some(head) = sets.iter().flatten().find(|head| head.layer >= layers || head.head >= heads) {
            let most = Head { layer: layers - 1, head: heads - 1 };
            let remedy = format!("the last one of this model is {most}");
            return Err(Error::Unknown { what: "head", name: head.to_string(), remedy });
        }
        let donor = match how {
            Removal::Resample => Some(donor(&again)?),
            _ => None,
        };
        Ok(Self { again, sets, how, donor })
    }

    /// The passes it takes, later layers first, since those are cheapest and soonest there.
    pub fn batches(&self) -> Vec<Batch> {
        let layers = self.again.model.config().layers;
        let first = |set: &Vec<Head>| set.iter().map(|head| head.layer).min().unwrap_or(layers);
        let at_layer = |layer: usize| {
            let sets: Vec<usize> = (0..self.sets.len()).filter(|set| first(&self.sets[*set]) == layer).collect();
            let batch = |sets: &[usize]| Batch { layer, sets: sets.to_vec() };
            sets.chunks(ROWS).map(batch).collect::<Vec<_>>()
        };
        (0..=layers).rev().flat_map(at_layer).collect()
    }

    /// Runs one batch and gives the logits `[Q,V]` of each set to `each` by its index.
    ///
    /// # Errors
    /// Those of [`CpuModel::resume`].
    pub fn run(&self, batch: &Batch, mut each: impl FnMut(usize, &Array)) -> Result<()> {
        let rows: Vec<Vec<Head>> = batch.sets.iter().map(|set| self.sets[*set].clone()).collect();
        let mut tap = Without { rows: &rows, how: self.how, donor: self.donor.as_ref() };
        let logits = self.again.from(batch.layer, rows.len(), None, |_, _| {}, &mut tap)?;
        for (row, set) in batch.sets.iter().enumerate() {
            let one = Array::new(logits.shape.get(1..).unwrap_or(&[]).to_vec(), logits.at(row).to_vec())?;
            each(*set, &one);
        }
        Ok(())
    }
}

/// What an edited pass of one prompt differs by from the whole one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What the loss rises by, in nats per token; NaN for a single token.
    pub loss: f32,
    /// Mean over positions of KL(whole ‖ edited), in nats.
    pub divergence: f32,
    /// What log P of the explained token changes by, in nats.
    pub log_prob: f32,
}

impl Judged {
    /// Compares logits `[Q,V]` with those of the whole model.
    pub fn new(base: &Base, asked: Asked, logits: &Array) -> Self {
        let here = log_probabilities(logits);
        let queries = base.tokens.len();
        let sum: f64 = (0..queries).map(|q| f64::from(divergence(base.log_probabilities.at(q), here.at(q)))).sum();
        let of = |rows: &Array| rows.at(asked.query).get(asked.answer as usize).copied().unwrap_or(f32::NAN);
        let loss = base::loss(&here, &base.tokens).zip(base.loss()).map_or(f32::NAN, |(here, whole)| here - whole);
        Self {
            loss,
            divergence: (sum / queries.max(1) as f64) as f32,
            log_prob: of(&here) - of(&base.log_probabilities),
        }
    }
}

/// What taking out each head does to one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    /// How heads were taken out.
    pub how: Removal,
    /// Mean loss of the prompt with every head, in nats per token.
    pub loss: f32,
    /// What the loss rises by without each head, [L·H] layer by layer; negative where the model does better without.
    pub delta_loss: Vec<f32>,
    /// Mean over positions of KL(whole ‖ without the head), in nats, [L·H].
    pub divergence: Vec<f32>,
}

/// Every head of a model, layer by layer.
pub fn every_head(model: &CpuModel) -> Vec<Head> {
    let (layers, heads) = (model.config().layers, model.config().heads);
    (0..layers * heads).map(|index| Head { layer: index / heads, head: index % heads }).collect()
}

/// Takes out every head of `model` in turn on `tokens`, at least two of them.
///
/// # Errors
/// Those of [`CpuModel::run`]; [`Error::Param`] for a prompt of one token, which has no loss.
pub fn effects(model: &CpuModel, stack: &Stack, tokens: &[u32], how: Removal, seed: u64) -> Result<Effects> {
    if tokens.len() < 2 {
        let (key, expected) = ("tokens".into(), "be at least two, so that there is a loss".into());
        return Err(Error::Param { who: "ablation".into(), key, expected, came: tokens.len().to_string() });
    }
    let sets: Vec<Vec<Head>> = every_head(model).into_iter().map(|head| vec![head]).collect();
    let base = Base::new(model, stack, seed, tokens, &[])?;
    let removals = Removals::new(Again { model, stack, seed, base: &base }, &sets, how)?;
    let mut judged = vec![None; sets.len()];
    for batch in removals.batches() {
        removals.run(&batch, |set, logits| judged[set] = Some(Judged::new(&base, Asked::default(), logits)))?;
    }
    let all = |number: fn(&Judged) -> f32| judged.iter().flatten().map(number).collect();
    let loss = base.loss().unwrap_or(f32::NAN);
    Ok(Effects { how, loss, delta_loss: all(|judged| judged.loss), divergence: all(|judged| judged.divergence) })
}

/// Runs `tokens` once without each set of heads, in batches, and gives the logits `[Q,V]` of each to `each` by its index,
/// in whatever order they come.
///
/// # Errors
/// Those of [`CpuModel::run`]; [`Error::Unknown`] for a head the model does not have.
pub fn without(
    model: &CpuModel,
    stack: &Stack,
    tokens: &[u32],
    sets: &[Vec<Head>],
    how: Removal,
    seed: u64,
    mut each: impl FnMut(usize, &Array),
) -> Result<()> {
    let base = Base::new(model, stack, seed, tokens, &[])?;
    let removals = Removals::new(Again { model, stack, seed, base: &base }, sets, how)?;
    removals.batches().iter().try_for_each(|batch| removals.run(batch, &mut each))
}

/// Outputs of every head on the same tokens in another order; the first token, which may be a beginning, keeps its place.
fn donor(again: &Again<'_>) -> Result<ActivationCache> {
    let mut shuffled = again.base.tokens.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(again.seed);
    for last in (2..shuffled.len()).rev() {
        let other = 1 + (rng.next_u64() % last as u64) as usize;
        shuffled.swap(last, other);
    }
    let mut captures = ActivationCache::new(Selection::sites(&[Site::Z]));
    again.model.run(&[&shuffled], again.stack, again.seed, &mut captures)?;
    Ok(captures)
}
