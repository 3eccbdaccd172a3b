//! The `handfast` binary: arguments, assembly, exit codes. Only here do the parts meet.
//!
//! Each command lives in a file of its own under `commands/` and offers `Args` (clap) and `run`.
//! Data goes to stdout, messages to stderr; [`failure`] prints every error in one form.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "std's macros panic on a closed pipe; use ours")]

// First: its macros replace std's in every module below.
#[macro_use]
mod output;

mod commands;
mod duration;
mod failure;
mod logging;
mod mesh_log;
mod operator;
mod pages;
mod pairs;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A container runtime calls a CNI plugin by the name of its file, without a word; so is a pod's first process.
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = name.as_ref().and_then(|path| path.file_name());
    if name.is_some_and(|name| name == commands::CNI_PLUGIN) {
        return commands::cni_plugin();
    }
    if name.is_some_and(|name| name == commands::POD) {
        return commands::first_of_pod();
    }
    commands::Cli::from_command_line(std::env::args_os()).run()
}
