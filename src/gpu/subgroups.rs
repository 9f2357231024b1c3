//! Whether lanes that add up a row do so by subgroups: decided by a short measurement on the device itself.
//!
//! The row kernel of attention is run both ways on the same numbers. Subgroups are used where they are clearly faster and
//! give the same weights; what differs between devices (size of subgroups, cost of a barrier) is not asked, only what comes
//! of it. A software adapter emulates them, so there they are not tried.

use super::apply::parameters;
use super::device::Device;
use super::plan::{Attend, Past, Plan, Read};
use super::run::{Ready, staging};
use crate::mechanism::{Stack, Tolerance};
use crate::model::step::Sizes;
use crate::outcome::RowSums;
use crate::{Error, Result};
use web_time::Instant;

/// Heads, queries and keys of the trial: rows enough to fill a large GPU.
const HEADS: usize = 8;
const TOKENS: usize = 128;
const WIDTH: usize = 32;
/// Dispatches of one submit: as many as last so long, so that what a submit costs is a small share, at most so many.
const LONG_MICROS: f32 = 5_000.0;
const MOST_REPEATS: usize = 32;
const ROUNDS: usize = 4;
/// Subgroups must take at most this share of the time, since times of equal kernels differ, too.
const CLEARLY: f32 = 0.95;

/// Measures both ways where there are subgroups to try, and leaves the device with the better one.
/// One that fails leaves the plain way, and whatever is wrong with the device to its self-check.
pub async fn choose(device: &Device) {
    let worthwhile = device.subgroups() && !device.software && !device.passes_for_fast();
    if worthwhile && let Ok(sums) = measure(device).await {
        device.note_sums(sums);
    }
}

/// The same on any device that has subgroups.
///
/// # Errors
/// Those of the device when it computes the plain way.
pub async fn measure(device: &Device) -> Result<RowSums> {
    device.add_by_subgroups(false);
    let (plain, expected) = run(device).await?;
    device.add_by_subgroups(true);
    let tried = run(device).await;
    device.add_by_subgroups(false);
    let by_subgroups = match tried {
        Ok((micros, came)) if Tolerance::F32.excess(&came, &expected) <= 1.0 => Some(micros),
        // A driver that refuses the kernel, or adds up wrongly, keeps the plain one.
        Ok(_) | Err(Error::Kernel { .. } | Error::Gpu { .. }) => None,
        Err(error) => return Err(error),
    };
    let sums = RowSums { chosen: by_subgroups.is_some_and(|micros| micros < plain * CLEARLY), plain, by_subgroups };
    device.add_by_subgroups(sums.chosen);
    Ok(sums)
}

/// Microseconds of one dispatch, and the maps of the first head.
async fn run(device: &Device) -> Result<(f32, Vec<f32>)> {
    let sizes = Sizes { batch: 1, heads: HEADS, kv_heads: HEADS, queries: TOKENS, keys: TOKENS, width: WIDTH };
    let pairs = HEADS * TOKENS * TOKENS;
    let mut plan = Plan::default();
    for name in ["q", "k", "z"] {
        plan.storage(name, HEADS * TOKENS * WIDTH);
    }
    plan.storage("maps", 2 * pairs + HEADS * TOKENS);
    let at = Attend {
        q: "q",
        k: "k",
        v: "k",
        z: "z",
        capture: Some("maps"),
        state: None,
        held: None,
        past: Past::Whole,
        layer: 0,
        layers: 1,
        sizes,
        room: sizes,
        first_query: 0,
        first_head: 0,
        shown: HEADS,
        scale: (WIDTH as f32).powf(-0.5),
    };
    let stack = Stack::new("a", &[])?;
    plan.stack(&stack, 1, HEADS, HEADS, WIDTH);
    plan.maps(&stack, &at)?;
    let reads = [Read { buffer: "maps".into(), first: pairs, words: TOKENS * TOKENS }];
    let ready = Ready::new(device, &plan, &Default::default()).await?;
    let staging = staging(device, reads[0].words).await?;
    let timed = async {
        ready.settle(device, &plan)?;
        for (name, words) in parameters(&stack) {
            ready.write(device, &name, 0, &words)?;
        }
        for (index, name) in ["q", "k"].iter().enumerate() {
            // Anything that is not the same everywhere.
            let wave = |at: usize| ((at * (7 + index)) as f32 * 0.37).sin().to_bits();
            ready.write(device, name, 0, &(0..HEADS * TOKENS * WIDTH).map(wave).collect::<Vec<_>>())?;
        }
        let (mut best, mut repeats, mut maps) = (f32::MAX, 1, Vec::new());
        for round in 0..ROUNDS {
            let start = Instant::now();
            let steps = (0..repeats).flat_map(|_| 0..plan.steps.len());
            ready.submit(device, &plan, steps, &reads, &staging)?;
            maps = device.read(&staging, reads[0].words as u64 * 4).await?;
            let micros = start.elapsed().as_secs_f32() * 1e6 / repeats as f32;
            match round {
                // Compiles.
                0 => {}
                // A clock that stands tells nothing, and then the plain way stays.
                1 if micros > 0.0 => repeats = ((LONG_MICROS / micros) as usize).clamp(1, MOST_REPEATS),
                _ => best = best.min(micros),
            }
        }
        Ok((best, maps))
    };
    let timed = timed.await;
    ready.destroy();
    staging.destroy();
    timed
}
