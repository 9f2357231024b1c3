//! What the device can do at most: two kernels, one that only reads and one that only multiplies and adds.
//!
//! Each is timed at two amounts of work; the difference leaves out what a submit and its answer cost.

use super::device::Device;
use super::plan::{Plan, Read, Word};
use super::run::{Buffers, Ready};
use crate::Result;
use crate::outcome::Ceilings;
use std::collections::BTreeMap;
use web_time::Instant;

/// Invocations of either kernel.
const COUNT: usize = 1 << 16;
/// Operations of one invocation and round of `ceiling_multiply`.
const OPERATIONS: usize = 32;
/// The best of so many; whatever disturbs a measurement makes it slower.
const TIMES: usize = 4;

/// Measures `device`. Software adapters get less work, since they are slower by orders.
///
/// # Errors
/// Those of the device.
pub async fn ceilings(device: &Device) -> Result<Ceilings> {
    let (reads, products) = if device.software { ([2, 10], [16, 144]) } else { ([8, 72], [512, 8704]) };
    let read = |rounds| read(rounds, reads[1]);
    let bytes = (16 * COUNT * (reads[1] - reads[0])) as f64;
    let operations = (OPERATIONS * COUNT * (products[1] - products[0])) as f64;
    Ok(Ceilings {
        bytes_per_second: bytes / difference(device, read, reads).await?,
        flops_per_second: operations / difference(device, multiply, products).await?,
    })
}

/// `ceiling_read` over `rounds` of the `most` rounds that lie in the buffer.
///
/// # Errors
/// As [`Plan::flat`].
pub fn read(rounds: usize, most: usize) -> Result<Plan> {
    let mut plan = Plan::default();
    plan.storage("x", most * COUNT * 4);
    plan.storage("y", COUNT);
    let shape = vec![("count", COUNT.into()), ("rounds", rounds.into())];
    plan.flat("ceiling_read", &[], COUNT, &[("x", "x"), ("y", "y")], shape)?;
    plan.reads.push(Read { buffer: "y".into(), first: 0, words: 1 });
    Ok(plan)
}

/// `ceiling_multiply` of so many rounds.
///
/// # Errors
/// As [`Plan::flat`].
pub fn multiply(rounds: usize) -> Result<Plan> {
    let mut plan = Plan::default();
    plan.storage("y", COUNT);
    // Close to one, so that nothing overflows.
    let (factor, summand) = (Word::from(0.999_f32), Word::from(0.001_f32));
    let shape = vec![("count", COUNT.into()), ("rounds", rounds.into()), ("factor", factor), ("summand", summand)];
    plan.flat("ceiling_multiply", &[], COUNT, &[("y", "y")], shape)?;
    plan.reads.push(Read { buffer: "y".into(), first: 0, words: 1 });
    Ok(plan)
}

/// Seconds that the larger amount of work takes beyond the smaller one.
async fn difference(device: &Device, plan: impl Fn(usize) -> Result<Plan>, rounds: [usize; 2]) -> Result<f64> {
    let plans = [plan(rounds[0])?, plan(rounds[1])?];
    let mut ready = Ready::new(device, &plans[1], &Buffers::new()).await?;
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TIMES {
        for (plan, best) in plans.iter().zip(&mut best) {
            let start = Instant::now();
            ready.run(device, plan, &BTreeMap::new()).await?;
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    // A clock too coarse to see the difference must not make it infinite.
    Ok((best[1] - best[0]).max(1e-6))
}
