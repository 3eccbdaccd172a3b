//! `handfast kube`: one file per subcommand, each with `Args` and `run`.

mod apply;
mod configure;
mod connect;
mod controller;
mod install;
mod probe;
mod test;
mod uninstall;

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
    /// Prove from inside of the pods that both ends authenticate each other.
    Test(test::Args),
    /// What `test` runs inside of a pod.
    #[command(hide = true)]
    Probe(probe::Args),
    /// Install the controller: print its objects as YAML, or apply them.
    Install(install::Args),
    /// Take the controller out again; the authority stays unless it is asked for.
    Uninstall(uninstall::Args),
    /// Run the controller: issue and renew what Certificates ask for. This is what the installed pods run.
    Controller(controller::Args),
}

/// Runs `handfast kube`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Configure(args) => configure::run(args, globals),
        Command::Test(args) => test::run(args, globals),
        Command::Probe(args) => probe::run(args, globals),
        Command::Install(args) => install::run(args, globals),
        Command::Uninstall(args) => uninstall::run(args, globals),
        Command::Controller(args) => controller::run(args, globals),
    }
}
