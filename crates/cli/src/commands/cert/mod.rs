//! `handfast cert`: one file per subcommand, each with `Args` and `run`.

use super::Globals;
use crate::failure::Outcome;

/// Arguments of `handfast cert`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {}

/// Runs `handfast cert`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    match args.command {}
}
