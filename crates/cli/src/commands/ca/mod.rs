//! `handfast ca`: one file per subcommand, each with `Args` and `run`.

mod init;

use super::Globals;
use crate::failure::Outcome;

/// Arguments of `handfast ca`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a root and an intermediate.
    Init(init::Args),
}

/// Runs `handfast ca`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Init(args) => init::run(args, globals),
    }
}
