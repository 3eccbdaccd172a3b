//! `handfast test`.

use super::Globals;
use crate::failure::{Failure, Outcome};

/// Arguments of `handfast test`.
#[derive(clap::Args)]
pub struct Args {}

/// Runs `handfast test`.
pub fn run(_args: Args, _globals: &Globals) -> Outcome {
    Err(Failure::usage("this command is still being built"))
}
