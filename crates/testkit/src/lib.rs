//! For tests only: a test authority with every good and bad certificate, upstreams that count what reaches
//! them, the real programs (nginx, openssl, gnutls-cli, curl, the Go client) and Handfast itself as children.
//!
//! Everything here is blocking and panics with the whole output of the program concerned, because its only
//! callers are tests. A test that cannot run on this machine calls [`skipped`]: loudly, and counted.

// Tests may panic; that is how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod capture;
pub mod clients;
pub mod cluster;
pub mod echo;
pub mod handfast;
pub mod helm;
pub mod http_upstream;
pub mod network;
pub mod nginx;
pub mod pki;
pub mod program;
pub mod request;

mod ports;
mod skip;

pub use ports::free_port;
pub use skip::{find_program, skipped};
