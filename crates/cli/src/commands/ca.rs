//! `handfast ca`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast ca`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast ca`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
