//! The two engines behind one type, with the processor standing in when the GPU fails.

use super::{Forward, Pass, Request};
use crate::Result;
#[cfg(feature = "gpu")]
use crate::gpu::GpuModel;
use crate::hook::{ActivationCache, Array, HookPoint, Selection, Site};
use crate::model::CpuModel;

/// The burn model, and the WGSL engine where it is used.
pub(super) struct Runner {
    pub cpu: CpuModel,
    #[cfg(feature = "gpu")]
    pub gpu: Option<Box<GpuModel>>,
    /// What the GPU failed of, once it did.
    pub failed: Option<String>,
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
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &mut self.gpu {
            match gpu.head_maps(&request, layer, head).await {
                Err(error) if is_failure(&error) => self.give_up(&error),
                Err(crate::Error::Unsupported { .. }) => {}
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

    /// A GPU that fails (lost, out of memory, a kernel refused) is given up for good.
    #[cfg(feature = "gpu")]
    pub fn give_up(&mut self, error: &crate::Error) {
        self.failed = Some(error.to_string());
        self.gpu = None;
    }
}

/// Whether the device failed, rather than the request.
#[cfg(feature = "gpu")]
pub(super) fn is_failure(error: &crate::Error) -> bool {
    matches!(error, crate::Error::Gpu { .. } | crate::Error::Kernel { .. })
}

impl Forward for Runner {
    /// When the GPU fails, the pass is run again on the processor, which gives the same numbers.
    async fn forward(&mut self, request: Request<'_>) -> Result<Pass> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &mut self.gpu {
            let again = Request { wants: request.wants.clone(), ..request };
            match gpu.forward(again).await {
                Err(error) if is_failure(&error) => self.give_up(&error),
                // A stack without a GPU twin runs on the processor; the next one may have one.
                Err(crate::Error::Unsupported { .. }) => {}
                answer => return answer,
            }
        }
        self.cpu.forward(request).await
    }
}
