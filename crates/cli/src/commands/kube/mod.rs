//! `handfast kube`: one file per subcommand, each with `Args` and `run`.

mod configure;

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
    /// Print settings for an application that has its Secrets mounted.
    Configure(configure::Args),
}

/// Runs `handfast kube`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Configure(args) => configure::run(args, globals),
    }
}
