//! Who is refused, and how it looks: every row of the contract, tried on the real binary by clients that are
//! not ours, over TLS 1.2 and 1.3, with an upstream that counts what reaches it.
//!
//! For each refusal: the alert (or HTTP status) that the client saw, zero bytes upstream, exactly one log line
//! with the code, the reason, the peer's address, the server name and the certificate's serial, never a PEM,
//! and one more in the metric.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificates;
mod identity;
mod java;
mod names;
mod negotiation;
mod plain;
mod resumption;
mod row;
mod server;
mod starvation;
mod upstream;
