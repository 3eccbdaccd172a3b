//! `handfast kube`: one file per subcommand, each with `Args` and `run`.

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
}

/// Runs `handfast kube`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    match args.command {}
}
