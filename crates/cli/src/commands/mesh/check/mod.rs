//! `handfast mesh check`: what the mesh needs, each as a row with its evidence. [`gather`] looks, [`control`] and [`pods`]
//! judge.

mod control;
mod gather;
mod pods;
mod report;

#[cfg(test)]
mod tests;

use clap::ValueEnum;

use crate::commands::Globals;
use crate::commands::kube::connect::{Cluster, block_on};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Outcome};
use crate::output;
use gather::Facts;
use report::Report;

/// Arguments of `handfast mesh check`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing found · 1 the cluster cannot be asked · 2 wrong usage · 3 findings, as --fail-on asks."
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// What makes the exit code 3.
    #[arg(long, env = "HANDFAST_FAIL_ON", value_enum, default_value = "fail", value_name = "WHAT")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Failed rows.
    Fail,
    /// Failed rows and warnings.
    Warn,
}

/// Runs `handfast mesh check`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    block_on(async {
        let client = args.cluster.client().await?;
        let facts = Facts::gather(&client).await?;
        let report = judge(&facts);
        output::print(globals.output, &report, || report.table())?;
        let fails = report.failed > 0 || (args.fail_on == FailOn::Warn && report.warned > 0);
        Ok(if fails { EXIT_FINDINGS } else { EXIT_OK })
    })
}

/// All rows.
fn judge(facts: &Facts) -> Report {
    let mut rows = control::rows(facts);
    rows.extend(pods::rows(facts));
    Report::new(rows)
}
