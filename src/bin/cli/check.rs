//! `attnscope check`: laws and parity on this machine.

use super::print;
use attnscope::gpu::{self, parity};
use attnscope::mechanism::{ALL, Mechanism, by_id, laws};
use attnscope::{Error, Result};
use serde::Serialize;

/// What `check` can be told.
#[derive(clap::Args)]
pub struct Args {
    /// Only this mechanism.
    #[arg(long)]
    mechanism: Option<String>,
    /// Laws only, without looking for a GPU.
    #[arg(long)]
    laws_only: bool,
}

/// One line of the table.
#[derive(Serialize)]
struct Checked {
    mechanism: &'static str,
    on: String,
    what: String,
    deviation: f32,
    allowed: f32,
    holds: bool,
}

/// Checks and prints a table; an error when something does not hold.
pub fn command(args: &Args, json: bool) -> Result<()> {
    let chosen = match &args.mechanism {
        Some(id) => vec![by_id(id)?],
        None => ALL.to_vec(),
    };
    let mut checked = Vec::new();
    for mechanism in &chosen {
        checked.extend(laws::check(mechanism)?.into_iter().map(|report| Checked {
            mechanism: mechanism.id,
            on: "burn flex".into(),
            what: report.law,
            deviation: report.deviation,
            allowed: report.allowed,
            holds: report.holds,
        }));
    }
    if !args.laws_only {
        match pollster::block_on(gpu::Device::open()) {
            Ok(device) => {
                for mechanism in &chosen {
                    checked.push(parity(&device, mechanism)?);
                }
            }
            Err(problem) if std::env::var("ATTNSCOPE_GPU").is_ok_and(|value| value == "required") => {
                return Err(problem);
            }
            // Laws still say something; that the twins were not compared must be seen.
            Err(problem) => print::complain(&format!("twins not compared: {problem}")),
        }
    }
    if json {
        print::json(&checked)?
    } else {
        print::table(&rows(&checked))?
    }
    let failed = checked.iter().filter(|line| !line.holds).count();
    match failed {
        0 => Ok(()),
        _ => Err(Error::Check { failed, of: checked.len() }),
    }
}

fn parity(device: &gpu::Device, mechanism: &'static Mechanism) -> Result<Checked> {
    let report = pollster::block_on(parity::check(device, mechanism))?;
    Ok(Checked {
        mechanism: mechanism.id,
        on: device.adapter.clone(),
        what: match report.agrees() {
            true => format!("Twins agree in {} cases, as a share of the tolerance", report.cases),
            false => format!("Twins agree in {} cases; worst is {}", report.cases, report.worst),
        },
        deviation: report.excess,
        allowed: 1.0,
        holds: report.agrees(),
    })
}

fn rows(checked: &[Checked]) -> Vec<Vec<String>> {
    let row = |line: &Checked| {
        let holds = if line.holds { "yes" } else { "NO" };
        let numbers = [format!("{:.1e}", line.deviation), format!("{:.1e}", line.allowed)];
        let [deviation, allowed] = numbers;
        vec![line.mechanism.into(), line.on.clone(), holds.into(), deviation, allowed, line.what.clone()]
    };
    let heading = ["mechanism", "on", "holds", "deviation", "allowed", "what"].map(String::from).to_vec();
    [heading].into_iter().chain(checked.iter().map(row)).collect()
}
