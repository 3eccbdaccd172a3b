//! `handfast serve`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast serve`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast serve`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
