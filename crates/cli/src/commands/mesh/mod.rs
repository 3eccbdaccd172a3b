//! `handfast mesh`: one file per subcommand, each with `Args` and `run`.

mod install;

use super::Globals;
use crate::failure::Outcome;

/// Arguments of `handfast mesh`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Install the mesh's control plane: print its objects as YAML, or apply them.
    Install(install::Args),
}

/// Runs `handfast mesh`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Install(args) => install::run(args, globals),
    }
}
