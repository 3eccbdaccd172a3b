//! `handfast cert`: one file per subcommand, each with `Args` and `run`.

mod issue;
mod names;
mod written;

use super::Globals;
use crate::failure::Outcome;

/// Arguments of `handfast cert`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Issue a certificate with a new key.
    Issue(issue::Args),
}

/// Runs `handfast cert`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Issue(args) => issue::run(args, globals),
    }
}
