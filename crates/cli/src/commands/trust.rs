//! `handfast trust`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast trust`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast trust`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
