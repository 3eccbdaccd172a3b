//! The design's invariants, each by its number, on the real binary. Those of the handshake itself have their
//! rows in `refusals`; here is what must hold around them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod headers;
mod keys;
mod ledger;
mod refusing;
mod reloading;
mod site;
mod upstream;
