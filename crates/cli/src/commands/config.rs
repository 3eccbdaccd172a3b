//! `handfast config`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast config`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast config`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
