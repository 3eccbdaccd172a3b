//! `handfast explain`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast explain`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast explain`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
