//! The two engines behind one type, with the processor standing in when the GPU fails.

use super::check::Reference;
use super::{Forward, Pass, Request, fixture};
use crate::Result;
#[cfg(feature = "gpu")]
use crate::gpu::{GpuModel, apply};
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site};
use crate::mechanism::{Mechanism, Stack};
use crate::model::{CpuModel, step};
use crate::outcome::{Check, SELF_CHECK_ALLOWED, Trial};
use web_time::Instant;

/// The burn model, and the WGSL engine where it is used.
pub(super) struct Runner {
    pub cpu: CpuModel,
    #[cfg(feature = "gpu")]
    pub gpu: Option<Box<GpuModel>>,
    /// What the GPU failed of, once it was given up.
    pub failed: Option<String>,
    /// Whether a GPU whose numbers differ is used all the same.
    pub forced: bool,
    /// Stored numbers of the model's own self-check.
    pub reference: Option<Reference>,
    /// The parts of the self-check that ran on what computes now.
    pub checks: Vec<Check>,
    /// What went wrong and what was done about it.
    pub incidents: Vec<String>,
    /// How often a lost device was replaced.
    pub generation: usize,
    /// What the choice of the engine was made by.
    pub trial: Option<Trial>,
    /// When lost devices were last opened again.
    pub(super) reopened: Vec<Instant>,
}

/// Captures of the layer that was last looked at in full on the processor.
pub(super) type LookedAt = Option<(usize, ActivationCache)>;

impl Runner {
    /// The burn model alone.
    pub fn cpu(cpu: CpuModel) -> Self {
        Self {
            cpu,
            #[cfg(feature = "gpu")]
            gpu: None,
            failed: None,
            forced: false,
            reference: None,
            checks: Vec::new(),
            incidents: Vec::new(),
            generation: 0,
            trial: None,
            reopened: Vec::new(),
        }
    }

    /// Scores and weights of one head, `[Q,K]` each, and the weight of the slot `[Q]`, empty where there is none; what they
    /// hold at masked pairs is not defined. The GPU recomputes the one head from its kept queries and keys; the processor
    /// runs a pass for all heads of a layer and keeps them in `looked_at`.
    ///
    /// # Errors
    /// Those of the pass.
    pub async fn head(
        &mut self,
        request: Request<'_>,
        layer: usize,
        head: usize,
        looked_at: &mut LookedAt,
    ) -> Result<[Array; 3]> {
        self.trust(request.stack).await?;
        #[cfg(feature = "gpu")]
        while let Some(gpu) = &mut self.gpu {
            match gpu.head_maps(&request, layer, head).await {
                Err(error) if is_failure(&error) => self.recover(&error).await?,
                Err(crate::Error::Unsupported { .. }) => break,
                answer => return answer.map(|maps| [maps.scores, maps.pattern, maps.slot.unwrap_or_default()]),
            }
        }
        if looked_at.as_ref().is_none_or(|(known, _)| *known != layer) {
            let wants = [Site::Scores, Site::Pattern, Site::Slot].map(|site| HookPoint::new(layer, site));
            let wants = wants.into_iter().fold(Selection::default(), Selection::with);
            *looked_at = Some((layer, self.cpu.forward(Request { wants, ..request }).await?.captures));
        }
        let Some((_, captures)) = looked_at else { return Ok(Default::default()) };
        let map = |site| -> Result<Array> {
            let all = captures.get(layer, site)?; // [1,H,Q,K]
            let [_, heads, queries, keys] = all.shape[..] else { return Ok(Array::default()) };
            let size = all.data.len() / heads.max(1);
            Array::new([queries, keys], all.data.get(head * size..(head + 1) * size).unwrap_or(&[]).to_vec())
        };
        let slot = match captures.get(layer, Site::Slot) {
            Ok(all) => {
                let queries = all.shape.last().copied().unwrap_or(0); // [1,H,Q]
                Array::new([queries], all.data.get(head * queries..(head + 1) * queries).unwrap_or(&[]).to_vec())?
            }
            Err(_) => Array::default(),
        };
        Ok([map(Site::Scores)?, map(Site::Pattern)?, slot])
    }

    /// Checks every mechanism of `stack` that was not used before on what computes now. A GPU on which one deviates is
    /// given up, unless it is forced.
    ///
    /// # Errors
    /// Those of the device, and of a stored file that is damaged.
    pub async fn trust(&mut self, stack: &Stack) -> Result<()> {
        let unknown = |runner: &Self| {
            let mut all = stack.iter().map(|placed| placed.mechanism);
            all.find(|mechanism| !runner.checks.iter().any(|check| check.part == mechanism.id))
        };
        // A GPU that is given up or replaced takes its checks with it, so the list may begin anew.
        while let Some(mechanism) = unknown(self) {
            let check = match self.checked(mechanism).await {
                #[cfg(feature = "gpu")]
                Err(error) if is_failure(&error) && self.gpu.is_some() => {
                    self.recover(&error).await?;
                    continue;
                }
                check => check?,
            };
            #[cfg(feature = "gpu")]
            if let (false, Some(gpu), false) = (check.passed(), &self.gpu, self.forced) {
                let adapter = gpu.device().adapter.clone();
                let problem = format!(
                    "{adapter} failed the self-check of {}: it deviates by {:.1e} times what is allowed",
                    check.part, check.deviation
                );
                self.give_up(problem).await?;
                continue;
            }
            self.checks.push(check);
        }
        Ok(())
    }

    /// One mechanism against its stored numbers.
    async fn checked(&mut self, mechanism: &'static Mechanism) -> Result<Check> {
        let mut worst = 0.0_f32;
        for ((stack, given), stored) in fixture::steps(mechanism)?.iter().zip(fixture::stored_of(mechanism.id)?) {
            #[cfg(feature = "gpu")]
            let came = match &self.gpu {
                Some(gpu) => match apply(gpu.device(), stack, given).await {
                    // What has no twin there runs on the processor in a pane, too.
                    Err(crate::Error::Unsupported { .. }) => step::apply(stack, given)?,
                    came => came?,
                },
                None => step::apply(stack, given)?,
            };
            #[cfg(not(feature = "gpu"))]
            let came = step::apply(stack, given)?;
            worst = worst.max(fixture::deviation(mechanism.id, &came, &stored)?);
        }
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            let (stack, given) = fixture::long(mechanism)?;
            match apply(gpu.device(), &stack, &given).await {
                Err(crate::Error::Unsupported { .. }) => {}
                came => {
                    let expected = fixture::numbers(&step::apply(&stack, &given)?);
                    worst = worst.max(fixture::deviation(mechanism.id, &came?, &expected)?);
                }
            }
        }
        Ok(Check { part: mechanism.id.into(), deviation: worst, allowed: 1.0 })
    }

    /// The model on the processor against the stored numbers, where there are some.
    ///
    /// # Errors
    /// Those of the pass.
    pub async fn check_cpu(&mut self) -> Result<Vec<Check>> {
        let Some(reference) = &self.reference else { return Ok(Vec::new()) };
        let deviation = reference.deviation(&mut self.cpu).await?;
        Ok(vec![Check { part: "model".into(), deviation, allowed: SELF_CHECK_ALLOWED }])
    }

    /// The first activation of a pass, in the order in which they are computed, that is not finite on the processor.
    ///
    /// # Errors
    /// Those of the pass.
    pub async fn first_not_finite(&mut self, request: Request<'_>) -> Result<Option<HookPoint>> {
        let wants = Selection::sites(&watched());
        Ok(first_not_finite(&self.cpu.forward(Request { wants, ..request }).await?, self.cpu.config().layers))
    }
}

/// Sites that are looked at when something is not finite: all but what is a part of another.
fn watched() -> Vec<Site> {
    Site::ALL.iter().copied().filter(|site| *site != Site::Result).collect()
}

fn first_not_finite(pass: &Pass, layers: usize) -> Option<HookPoint> {
    let inside = |site: &Site| site.per_layer();
    let (before, after): (Vec<Site>, Vec<Site>) =
        Site::ALL.iter().copied().filter(|site| !site.per_layer()).partition(|site| *site < Site::ResidPre);
    let at = |layer: usize| move |site: Site| HookPoint::new(layer, site);
    let blocks = (0..layers).flat_map(|layer| Site::ALL.iter().copied().filter(inside).map(at(layer)));
    let mut order = before.into_iter().map(at(0)).chain(blocks).chain(after.into_iter().map(at(0)));
    let infinite = |array: &Array| array.data.iter().any(|value| !value.is_finite());
    order.find(|at| match at.site {
        Site::Logits => infinite(&pass.logits),
        _ => pass.captures.values.get(at).is_some_and(infinite),
    })
}

/// Whether everything a pass brought back is a number.
#[cfg(feature = "gpu")]
fn is_finite(pass: &Pass) -> bool {
    let arrays = pass.captures.values.values().chain([&pass.logits]);
    arrays.flat_map(|array| &array.data).all(|value| value.is_finite())
}

/// Whether the device failed, rather than the request.
#[cfg(feature = "gpu")]
pub(super) fn is_failure(error: &crate::Error) -> bool {
    matches!(error, crate::Error::Gpu { .. } | crate::Error::Kernel { .. })
}

impl Forward for Runner {
    /// When the GPU fails, the pass is run again, on a new device or on the processor, which gives the same numbers.
    async fn forward(&mut self, request: Request<'_>) -> Result<Pass> {
        self.trust(request.stack).await?;
        #[cfg(feature = "gpu")]
        while let Some(gpu) = &mut self.gpu {
            let again = || Request { wants: request.wants.clone(), ..request };
            match gpu.forward(again()).await {
                Err(error) if is_failure(&error) => self.recover(&error).await?,
                // A stack without a GPU twin runs on the processor; the next one may have one.
                Err(crate::Error::Unsupported { .. }) => break,
                Ok(pass) if !is_finite(&pass) => {
                    // Numbers that grow beyond f32 do so everywhere; those that do here alone are the device's fault.
                    let wants = Selection::sites(&watched());
                    let whole = gpu.forward(Request { wants, ..request }).await;
                    let adapter = gpu.device().adapter.clone();
                    let expected = self.cpu.forward(again()).await?;
                    if is_finite(&expected) {
                        let layers = self.cpu.config().layers;
                        let at = whole.ok().and_then(|whole| first_not_finite(&whole, layers));
                        let at = at.map_or("an activation".to_string(), |at| at.to_string());
                        self.give_up(format!("{at} is not finite on {adapter}, and is on the processor")).await?;
                    }
                    return Ok(expected);
                }
                answer => return answer,
            }
        }
        self.cpu.forward(request).await
    }
}
