//! The commands, one file (or folder) each.

mod ca;
mod cert;
mod config;
mod explain;
mod kube;
mod mesh;
mod serve;
mod test;
mod trust;
mod up;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::output::Format;

pub use mesh::plugin::{NAME as CNI_PLUGIN, run as cni_plugin};
pub use up::first::{NAME as POD, run as first_of_pod};

/// Every connection proves who is at both ends.
///
/// Exit codes: 0 done · 1 failed · 2 wrong usage or input, nothing started · 3 a check has findings.
#[derive(Parser)]
#[command(name = "handfast", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(clap::Args)]
pub struct Globals {
    /// Folder of the certificate authority and its ledger.
    #[arg(long, global = true, env = "HANDFAST_DIR", default_value = ".handfast", value_name = "DIR")]
    pub dir: PathBuf,
    /// Format of the data on stdout.
    #[arg(short = 'o', long, global = true, env = "HANDFAST_OUTPUT", default_value = "table", value_enum)]
    pub output: Format,
    /// What is logged to stderr, as in `info` or `proxy=debug,info`.
    #[arg(long, global = true, env = "HANDFAST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Make, inspect and rotate a certificate authority.
    Ca(ca::Args),
    /// Issue, renew, revoke, inspect, verify and lint certificates.
    Cert(cert::Args),
    /// Put the root into trust stores, take it out, prove that it works.
    Trust(trust::Args),
    /// Serve: one-way and mutual TLS in front of anything, from handfast.yaml or nginx.conf.
    Serve(serve::Args),
    /// Prove that a TLS server accepts whom it must and refuses whom it must.
    Test(test::Args),
    /// Explain an address's handshake, an error text or one of our codes.
    Explain(explain::Args),
    /// Validate, convert and describe configuration.
    Config(config::Args),
    /// Pod-to-pod mutual TLS on Kubernetes: certificates, Secrets, pod specs, policies, the proof.
    Kube(kube::Args),
    /// Mutual TLS between pods without touching the application.
    Mesh(mesh::Args),
    /// From nothing to a proven mutual TLS site in one command.
    Up(up::Args),
}

/// The whole command line. Every switch takes 1, yes, true and on (0, no, false and off) from its environment
/// variable, where clap by itself knows true and false only.
fn command() -> clap::Command {
    fn boolish(command: clap::Command) -> clap::Command {
        let is_switch =
            |arg: &clap::Arg| matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
        command
            .mut_args(|arg| if is_switch(&arg) { arg.value_parser(BoolishValueParser::new()) } else { arg })
            .mut_subcommands(boolish)
    }
    boolish(Cli::command())
}

impl Cli {
    /// Reads the command line; prints help, the version or what is wrong with it, and ends, where that is due.
    pub fn from_command_line(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let matches = command().get_matches_from(explain::pasted(arguments));
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command and prints its failure, if any.
    pub fn run(self) -> ExitCode {
        let globals = self.globals;
        let outcome = match self.command {
            Command::Ca(args) => ca::run(args, &globals),
            Command::Cert(args) => cert::run(args, &globals),
            Command::Trust(args) => trust::run(args, &globals),
            Command::Serve(args) => serve::run(args, &globals),
            Command::Test(args) => test::run(args, &globals),
            Command::Explain(args) => explain::run(args, &globals),
            Command::Config(args) => config::run(args, &globals),
            Command::Kube(args) => kube::run(args, &globals),
            Command::Mesh(args) => mesh::run(args, &globals),
            Command::Up(args) => up::run(args, &globals),
        };
        match outcome.and_then(|code| crate::output::lost().map_or(Ok(code), Err)) {
            Ok(code) => ExitCode::from(code),
            Err(failure) => failure.report(),
        }
    }
}
