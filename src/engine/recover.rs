//! What happens when the GPU fails.
//!
//! A device that is **lost** (a driver that is updated or reset, a laptop that wakes up) is replaced: a new adapter, a new
//! device, weights uploaded from the burn model, the self-check, and whatever was under way begins again; a continuation
//! reads its tokens so far. That is tried [`MOST`] times in [`PATIENCE`], with a pause that grows. Everything else (out of
//! memory, a kernel refused, an answer that does not come, a wrong number) would happen again, so the GPU is **given up**:
//! from then on the processor computes, which gives the same numbers. Both are told to the visitor.

use super::check::decoding;
use super::runner::Runner;
use crate::gpu::{Device, GpuModel, pause, subgroups};
use crate::outcome::{Check, SELF_CHECK_ALLOWED};
use crate::{Error, Result};
use std::rc::Rc;
use std::time::Duration;
use web_time::Instant;

/// Most devices that are opened within [`PATIENCE`].
const MOST: usize = 3;
const PATIENCE: Duration = Duration::from_secs(600);
/// Milliseconds before the first, second and third.
const PAUSES: [u32; MOST] = [0, 250, 1000];

impl Runner {
    /// Replaces a device that was lost; gives up a GPU that failed otherwise, or too often.
    ///
    /// # Errors
    /// Those of the processor's self-check.
    pub async fn recover(&mut self, error: &Error) -> Result<()> {
        let Some(old) = self.gpu.take() else { return Ok(()) };
        let (adapter, software, format) = (old.device().adapter.clone(), old.device().software, old.format());
        let lost = old.device().loss().await;
        old.device().close();
        drop(old);
        let Some(mut problem) = lost else { return self.give_up(format!("{adapter}: {}", words(error))).await };
        self.reopened.retain(|at| at.elapsed() < PATIENCE);
        while let Some(millis) = PAUSES.get(self.reopened.len()) {
            pause(*millis).await;
            self.reopened.push(Instant::now());
            match self.reopen(software, format).await {
                Ok(()) => {
                    self.generation += 1;
                    let now = self.gpu.as_ref().map_or("", |gpu| gpu.device().adapter.as_str());
                    self.incidents.push(format!(
                        "{adapter} was lost ({problem}); {now} was opened anew, the model uploaded and the run repeated"
                    ));
                    return Ok(());
                }
                Err(error) => problem = words(&error),
            }
        }
        self.give_up(format!("{adapter} was lost, and {MOST} tries to open it anew failed ({problem})")).await
    }

    async fn reopen(&mut self, software: bool, format: crate::gpu::weights::Format) -> Result<()> {
        let device = Device::open().await?;
        if device.software && !software && !self.forced {
            return Err(Error::Gpu { problem: format!("only a software GPU ({}) is left", device.adapter) });
        }
        subgroups::choose(&device).await;
        let weights = self.cpu.weights();
        let config = self.cpu.config().clone();
        let mut model = GpuModel::stored(Rc::new(device), &config, &weights, format).await?;
        self.checks = self.check_gpu(&mut model).await?;
        if let Some(check) = self.checks.iter().find(|check| !check.passed() && !self.forced) {
            let problem = format!("its {} deviates by {:.1e}", check.part, check.deviation);
            return Err(Error::Gpu { problem });
        }
        self.gpu = Some(Box::new(model));
        Ok(())
    }

    /// The model and its decoding on a GPU against the stored numbers.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn check_gpu(&mut self, model: &mut GpuModel) -> Result<Vec<Check>> {
        if self.reference.is_none() {
            // Without stored numbers the burn model on the same processor has to do.
            let config = self.cpu.config().clone();
            self.reference = Some(super::check::Reference::new(&mut self.cpu, &config).await?);
        }
        let Some(reference) = &self.reference else { return Ok(Vec::new()) };
        let check = |part: &str, deviation| Check { part: part.into(), deviation, allowed: SELF_CHECK_ALLOWED };
        Ok(vec![
            check("model", reference.deviation(model).await?),
            check("decoding", decoding(reference, model).await?),
        ])
    }

    /// From now on the processor computes, after a check of its own.
    ///
    /// # Errors
    /// Those of the check.
    pub async fn give_up(&mut self, problem: String) -> Result<()> {
        if let Some(gpu) = self.gpu.take() {
            gpu.device().close();
        }
        self.incidents.push(format!("{problem}; the processor computes from here on"));
        self.failed = Some(problem);
        self.checks = self.check_cpu().await?;
        Ok(())
    }
}

/// The words of a failure without the code.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Gpu { problem } => problem.clone(),
        error => error.to_string(),
    }
}

impl Drop for Runner {
    /// A browser gives a device's memory back when it is told to, and else when it likes.
    fn drop(&mut self) {
        if let Some(gpu) = &self.gpu {
            gpu.device().close();
        }
    }
}
