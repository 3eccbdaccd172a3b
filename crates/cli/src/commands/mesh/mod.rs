//! `handfast mesh`: one file per subcommand, each with `Args` and `run`.

pub mod ask;
mod controller;
mod install;
mod proxy;
mod redirect;
mod tls;

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
    /// Run the control plane: watch the cluster, tell proxies, issue to workloads. This is what the installed pods run.
    Controller(Box<controller::Args>),
    /// Carry the connections of a pod. This is what runs beside its application.
    Proxy(Box<proxy::Args>),
    /// Have the connections of this network redirected to the proxy: what the first init container of a pod does.
    Redirect(redirect::Args),
}

/// Runs `handfast mesh`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Install(args) => install::run(args, globals),
        Command::Controller(args) => controller::run(*args, globals),
        Command::Proxy(args) => proxy::run(*args, globals),
        Command::Redirect(args) => redirect::run(args, globals),
    }
}
