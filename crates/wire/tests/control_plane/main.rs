//! The control plane and its proxies over real sockets: our own client and server, one that says what it should not, and
//! programs that are not ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod certificates;
mod churn;
mod foreign;
mod limits;
mod messages;
mod plane;
mod streams;
mod trust;
