//! The `handfast` binary: arguments, assembly, exit codes. Only here do the parts meet.
//!
//! Each command lives in a file of its own under `commands/` and offers `Args` (clap) and `run`.
//! Data goes to stdout, messages to stderr; [`failure`] prints every error in one form.

mod commands;
mod duration;
mod failure;
mod logging;
mod operator;
mod output;
mod pairs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::Cli::parse().run()
}
