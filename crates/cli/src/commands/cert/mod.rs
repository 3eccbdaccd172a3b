//! `handfast cert`: one file per subcommand, each with `Args` and `run`.

mod export;
pub mod input;
mod inspect;
mod issue;
mod lint;
mod list;
mod names;
pub(crate) mod renew;
mod revoke;
mod served;
mod sign;
mod verify;
mod which;
pub(super) mod written;

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
    /// Show what a file or a server holds: certificates, lists, requests, keys.
    Inspect(inspect::Args),
    /// Say whether a chain is good, and if not, precisely why not.
    Verify(verify::Args),
    /// Find what is wrong with a certificate file before a client does.
    Lint(lint::Args),
    /// Write a certificate and its key in another format.
    Export(export::Args),
}

/// Runs `handfast cert`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Issue(args) => issue::run(args, globals),
        Command::Sign(args) => sign::run(args, globals),
        Command::Renew(args) => renew::run(args, globals),
        Command::Revoke(args) => revoke::run(args, globals),
        Command::List(args) => list::run(args, globals),
        Command::Inspect(args) => inspect::run(args, globals),
        Command::Verify(args) => verify::run(args, globals),
        Command::Lint(args) => lint::run(args, globals),
        Command::Export(args) => export::run(args, globals),
    }
}
