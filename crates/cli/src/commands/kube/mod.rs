//! `handfast kube`: one file per subcommand, each with `Args` and `run`.

pub mod apply;
mod cert;
mod configure;
pub mod connect;
pub mod controller;
pub mod install;
mod listing;
mod netpol;
mod probe;
mod rbac;
mod reload;
mod revoke;
mod rotate_root;
mod secret;
mod sidecar;
mod test;
mod uninstall;
mod wire;

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
    /// Install the controller: print its objects as YAML, or apply them.
    Install(install::Args),
    /// Certificates, Secrets, mounts and variables for whatever a manifest holds: print, write or apply it.
    Wire(wire::Args),
    /// Prove from inside of the pods that both ends authenticate each other.
    Test(test::Args),
    /// A Certificate for a workload, or with --local its Secret from the authority of this folder.
    Cert(cert::Args),
    /// A Secret of type kubernetes.io/tls from files, after looking whether the pair is good.
    Secret(secret::Args),
    /// Print settings for an application that has its Secrets mounted.
    Configure(configure::Args),
    /// Write NetworkPolicies from the declared client -> server edges, and prove that the cluster enforces them.
    Netpol(Box<netpol::Args>),
    /// Write Roles for the managed Secrets, and say who can read each key today.
    Rbac(rbac::Args),
    /// Replace the root, step by step, each confirmed by what pods really have and serve.
    RotateRoot(Box<rotate_root::Args>),
    /// Revoke the certificate of a managed Secret, or one by its serial number.
    Revoke(revoke::Args),
    /// Take the controller out again; the authority stays unless it is asked for.
    Uninstall(uninstall::Args),
    /// Run the controller: issue and renew what Certificates ask for. This is what the installed pods run.
    Controller(controller::Args),
    /// Run beside an application that cannot do TLS: mutual TLS in and out. `wire` adds it as a native sidecar.
    Sidecar(sidecar::Args),
    /// The sidecar that tells an application of renewed files: a signal, or a request to a hook.
    Reload(reload::Args),
    /// What `test` runs inside of a pod.
    #[command(hide = true)]
    Probe(probe::Args),
}

/// Runs `handfast kube`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Install(args) => install::run(args, globals),
        Command::Wire(args) => wire::run(args, globals),
        Command::Test(args) => test::run(args, globals),
        Command::Cert(args) => cert::run(args, globals),
        Command::Secret(args) => secret::run(args, globals),
        Command::Configure(args) => configure::run(args, globals),
        Command::Netpol(args) => netpol::run(*args, globals),
        Command::Rbac(args) => rbac::run(args, globals),
        Command::RotateRoot(args) => rotate_root::run(*args, globals),
        Command::Revoke(args) => revoke::run(args, globals),
        Command::Uninstall(args) => uninstall::run(args, globals),
        Command::Controller(args) => controller::run(args, globals),
        Command::Sidecar(args) => sidecar::run(args, globals),
        Command::Reload(args) => reload::run(args, globals),
        Command::Probe(args) => probe::run(args, globals),
    }
}
