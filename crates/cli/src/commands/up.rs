//! `handfast up`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast up`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast up`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
