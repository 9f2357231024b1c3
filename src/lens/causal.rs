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
//! Many heads are taken out one at a time in one batch, each in its own row.

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

/// How a head is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// Its output is zero.
    Zero,
    /// Its output is the mean over positions.
    Mean,
    /// Its output is that on the same tokens in another order.
    Resample,
    /// Its pattern is uniform.
    Uniform,
}

impl Removal {
    /// Every way.
    pub const ALL: [Removal; 4] = [Removal::Zero, Removal::Mean, Removal::Resample, Removal::Uniform];

    /// Its id.
    pub fn id(self) -> &'static str {
        match self {
            Removal::Zero => "zero",
            Removal::Mean => "mean",
            Removal::Resample => "resample",
            Removal::Uniform => "uniform",
        }
    }

    /// The activation that is edited.
    pub fn site(self) -> Site {
        if self == Removal::Uniform { Site::Pattern } else { Site::Z }
    }
}

impl std::str::FromStr for Removal {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|how| how.id() == text).ok_or_else(|| Error::Unknown {
            what: "ablation",
            name: text.into(),
            remedy: format!("there are {}", Self::ALL.map(Removal::id).join(", ")),
        })
    }
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
        at.site == self.how.site() && self.rows.iter().flatten().any(|head| head.layer == at.layer)
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
    let sets: Vec<Vec<Head>> =
        std::iter::once(Vec::new()).chain(every_head(model).into_iter().map(|head| vec![head])).collect();
    let (mut whole, mut losses, mut divergences) = (Vec::new(), Vec::new(), Vec::new());
    let rows = |logits: &Array| -> Vec<Vec<f32>> { (0..tokens.len()).map(|q| logits.at(q).to_vec()).collect() };
    without(model, stack, tokens, &sets, how, seed, |_, logits| {
        let here = rows(&log_probabilities(logits));
        let loss = |(row, token): (&Vec<f32>, &u32)| -f64::from(row.get(*token as usize).copied().unwrap_or(f32::NAN));
        losses.push(here.iter().zip(&tokens[1..]).map(loss).sum::<f64>() / (tokens.len() - 1) as f64);
        if whole.is_empty() {
            whole = here;
        } else {
            let sum: f64 = whole.iter().zip(&here).map(|(a, b)| f64::from(divergence(a, b))).sum();
            divergences.push((sum / tokens.len() as f64) as f32);
        }
    })?;
    let loss = losses.first().copied().unwrap_or(f64::NAN);
    let delta_loss = losses.iter().skip(1).map(|other| (other - loss) as f32).collect();
    Ok(Effects { how, loss: loss as f32, delta_loss, divergence: divergences })
}

/// Runs `tokens` once without each set of heads, in batches, and gives the logits `[Q,V]` of each to `each` by its index.
///
/// # Errors
/// Those of [`CpuModel::run`].
pub fn without(
    model: &CpuModel,
    stack: &Stack,
    tokens: &[u32],
    sets: &[Vec<Head>],
    how: Removal,
    seed: u64,
    mut each: impl FnMut(usize, &Array),
) -> Result<()> {
    let donor = match how {
        Removal::Resample => Some(donor(model, stack, tokens, seed)?),
        _ => None,
    };
    for (first, part) in sets.chunks(ROWS).enumerate() {
        let batch = vec![tokens; part.len()];
        let mut tap = Without { rows: part, how, donor: donor.as_ref() };
        let logits = model.run(&batch, stack, seed, &mut tap)?;
        for row in 0..part.len() {
            let one = Array::new(logits.shape.get(1..).unwrap_or(&[]).to_vec(), logits.at(row).to_vec())?;
            each(first * ROWS + row, &one);
        }
    }
    Ok(())
}

/// Outputs of every head on the same tokens in another order; the first token, which may be a beginning, keeps its place.
fn donor(model: &CpuModel, stack: &Stack, tokens: &[u32], seed: u64) -> Result<ActivationCache> {
    let mut shuffled = tokens.to_vec();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for last in (2..shuffled.len()).rev() {
        let other = 1 + (rng.next_u64() % last as u64) as usize;
        shuffled.swap(last, other);
    }
    let mut captures = ActivationCache::new(Selection::sites(&[Site::Z]));
    model.run(&[&shuffled], stack, seed, &mut captures)?;
    Ok(captures)
}
