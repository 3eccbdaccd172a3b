//! `handfast mesh`: one file per subcommand, each with `Args` and `run`.

pub mod ask;
mod check;
mod controller;
mod explain;
mod install;
mod joining;
mod look;
mod node;
mod proxy;
mod redirect;
mod status;
mod strict;
mod supervise;
mod tap;
mod tls;
mod uninstall;

use super::Globals;
use crate::failure::Outcome;

pub use node::plugin;
pub use proxy::{INBOUND, OUTBOUND};

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
    /// Take out what `install` put in, the webhook first.
    Uninstall(uninstall::Args),
    /// Say who is connected, how far each proxy has come, and which pods are missing.
    Status(status::Args),
    /// Look whether everything that the mesh needs is there and in order.
    Check(check::Args),
    /// Say which is the first layer that stops a call, with the rule.
    Explain(explain::Args),
    /// Show connections of pods as they end, and refusals as they come.
    Tap(tap::Args),
    /// Ask for mutual TLS in a namespace; with --preview, say who would be refused then.
    Strict(strict::Args),
    /// Run the control plane: watch the cluster, tell proxies, issue to workloads. This is what the installed pods run.
    Controller(Box<controller::Args>),
    /// Carry the connections of a pod. This is what runs beside its application.
    Proxy(Box<proxy::Args>),
    /// Carry the connections of all labelled pods of a node. This is what runs once on each node.
    Node(Box<node::Args>),
    /// Have the connections of this network redirected to the proxy: what the first init container of a pod does.
    Redirect(redirect::Args),
}

/// Runs `handfast mesh`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Install(args) => install::run(args, globals),
        Command::Uninstall(args) => uninstall::run(args, globals),
        Command::Status(args) => status::run(args, globals),
        Command::Check(args) => check::run(args, globals),
        Command::Explain(args) => explain::run(args, globals),
        Command::Tap(args) => tap::run(args, globals),
        Command::Strict(args) => strict::run(args, globals),
        Command::Controller(args) => controller::run(*args, globals),
        Command::Proxy(args) => proxy::run(*args, globals),
        Command::Node(args) => node::run(*args, globals),
        Command::Redirect(args) => redirect::run(args, globals),
    }
}
