//! What this device can do at most: the bytes it reads and the operations it makes in a second, measured by programs that
//! do nothing else. What a variant reaches is a share of these.

use super::Engine;
use crate::Result;
use crate::outcome::Ceilings;
use std::hint::black_box;
use web_time::Instant;

/// Entries that are read: 32 MB, more than caches of small devices hold.
const ENTRIES: usize = 8 << 20;
/// Numbers that are worked on side by side: enough independent chains to fill every unit of one core.
const WIDE: usize = 64;
const ROUNDS: usize = 200_000;
/// The best of so many; whatever disturbs a measurement makes it slower.
const TIMES: usize = 16;

impl Engine {
    /// Measures the device that computes now, one core of it on the processor.
    ///
    /// # Errors
    /// Those of the device.
    pub async fn ceilings(&mut self) -> Result<Ceilings> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.runner.gpu {
            return crate::gpu::ceiling::ceilings(gpu.device()).await;
        }
        Ok(processor())
    }
}

/// One core, as the engine uses one.
fn processor() -> Ceilings {
    let entries = vec![1.0f32; ENTRIES];
    let read = best(|| {
        let mut sums = [0.0f32; WIDE];
        for chunk in black_box(&entries).chunks_exact(WIDE) {
            sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
        }
        black_box(sums);
    });
    let multiply = best(|| {
        let (mut chains, factor, summand) = ([1.0f32; WIDE], black_box(0.999f32), black_box(0.001f32));
        for _ in 0..ROUNDS {
            chains.iter_mut().for_each(|x| *x = *x * factor + summand);
        }
        black_box(chains);
    });
    Ceilings { bytes_per_second: (4 * ENTRIES) as f64 / read, flops_per_second: (2 * WIDE * ROUNDS) as f64 / multiply }
}

/// Seconds of the fastest run.
fn best(work: impl Fn()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    // A clock too coarse to see it must not make the rate infinite.
    (0..TIMES).map(time).fold(f64::INFINITY, f64::min).max(1e-6)
}
