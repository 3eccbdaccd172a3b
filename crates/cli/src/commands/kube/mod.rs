//! `handfast kube`: one file per subcommand, each with `Args` and `run`.

mod listing;
mod netpol;
mod rbac;

use super::Globals;
use crate::failure::Outcome;

/// Arguments of `handfast kube`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write NetworkPolicies from the declared client -> server edges, and prove that the cluster enforces them.
    Netpol(Box<netpol::Args>),
    /// Write Roles for the managed Secrets, and say who can read each key today.
    Rbac(rbac::Args),
}

/// Runs `handfast kube`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Netpol(args) => netpol::run(*args, globals),
        Command::Rbac(args) => rbac::run(args, globals),
    }
}
