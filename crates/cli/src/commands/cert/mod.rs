//! `handfast cert`: one file per subcommand, each with `Args` and `run`.

mod issue;
mod list;
mod names;
mod renew;
mod revoke;
mod sign;
mod which;
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
    /// Certify the key of a signing request, with the names that you grant.
    Sign(sign::Args),
    /// Replace a certificate by a new one with a new key, once or from now on.
    Renew(renew::Args),
    /// Revoke a certificate and publish the revocation list.
    Revoke(revoke::Args),
    /// List what was issued.
    List(list::Args),
}

/// Runs `handfast cert`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Issue(args) => issue::run(args, globals),
        Command::Sign(args) => sign::run(args, globals),
        Command::Renew(args) => renew::run(args, globals),
        Command::Revoke(args) => revoke::run(args, globals),
        Command::List(args) => list::run(args, globals),
    }
}
