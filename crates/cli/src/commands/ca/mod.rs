//! `handfast ca`: one file per subcommand, each with `Args` and `run`.

mod crl;
mod import;
mod init;
mod rotate;
mod status;

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
    /// Show the authority, what it issued, and what is wrong with it (exit code 3).
    Status(status::Args),
    /// Replace the root or the intermediate, step by guarded step.
    Rotate(rotate::Args),
    /// Sign, write and serve the revocation lists.
    Crl(crl::Args),
    /// Take over an existing root or intermediate.
    Import(import::Args),
}

/// Runs `handfast ca`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Init(args) => init::run(args, globals),
        Command::Status(args) => status::run(args, globals),
        Command::Rotate(args) => rotate::run(args, globals),
        Command::Crl(args) => crl::run(args, globals),
        Command::Import(args) => import::run(args, globals),
    }
}
