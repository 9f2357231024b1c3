//! The newest run compared with the definition, on demand.

use super::{Engine, Forward, Request};
use crate::hook::{Array, Selection, Site};
use crate::outcome::{Verification, Verified};
use crate::{Error, Result};

/// Largest difference, as a share of the largest entry, that f32 sums in another order make over the layers of a model.
const ALLOWED: f32 = 2e-4;

impl Engine {
    /// Runs the panes of the last answer again, and the burn model beside them: the largest difference behind each layer,
    /// as a share of the largest entry there. `stop` is asked before every pane.
    ///
    /// # Errors
    /// [`Error::Unknown`] when nothing has run, [`Error::Superseded`] when stopped, those of the passes.
    pub async fn verify(&mut self, stop: impl AsyncFn() -> bool) -> Result<Verification> {
        let Some(plan) = &self.last else {
            let remedy = "run an experiment first".into();
            return Err(Error::Unknown { what: "run", name: "before this one".into(), remedy });
        };
        let texts: Vec<_> = (0..plan.stacks.len()).map(|pane| plan.tokens_of(pane).to_vec()).collect();
        let (stacks, seed) = (plan.stacks.clone(), plan.seed);
        let mut panes = Vec::new();
        for (stack, tokens) in stacks.iter().zip(&texts) {
            if stop().await {
                return Err(Error::Superseded);
            }
            let wants = || Selection::sites(&[Site::ResidPost]);
            let request = || Request { tokens, stack, seed, wants: wants() };
            let came = self.runner.forward(request()).await?;
            let expected = self.runner.cpu.forward(request()).await?;
            let layer = |layer| {
                let of = |pass: &super::Pass| pass.captures.get(layer, Site::ResidPost).cloned();
                Result::Ok(share(&of(&came)?, &of(&expected)?))
            };
            let layers = (0..self.config.layers).map(layer).collect::<Result<_>>()?;
            panes.push(Verified { layers, logits: share(&came.logits, &expected.logits), allowed: ALLOWED });
        }
        let facts = self.facts();
        let what = match facts.tier {
            crate::outcome::Tier::Cpu => {
                "the definition on the processor, which computes here, with a second pass of itself".into()
            }
            _ => format!("{} with the definition on the processor", facts.adapter),
        };
        Ok(Verification { what, panes })
    }
}

/// Largest difference over the largest entry of the reference; the largest number where something is not finite.
fn share(came: &Array, expected: &Array) -> f32 {
    if came.shape != expected.shape {
        return f32::MAX;
    }
    let largest = expected.data.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let differences = came.data.iter().zip(&expected.data).map(|(came, expected)| (came - expected).abs() / largest);
    differences.fold(0.0, |worst, next| if next.is_finite() { f32::max(worst, next) } else { f32::MAX })
}
