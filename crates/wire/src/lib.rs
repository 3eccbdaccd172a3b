//! What processes say to each other: what the mesh's control plane tells its proxies, and how they get certificates.
//!
//! The messages are those of Istio's ambient mesh, so that its proxies and its control plane can take the place of ours:
//! [`proto`] has them, [`convert`] turns the model into them and back. A [`catalog`] holds all that proxies may be told,
//! encoded once; [`server`] tells it, [`client`] listens and keeps a world.
//!
//! Neighbours: `model` alone. The assembler gives what this crate does not know: who a caller is, who signs, and what TLS
//! asks for.

pub mod catalog;
pub mod client;
pub mod convert;
mod error;
pub mod proto;
pub mod server;
pub mod workload_api;

pub use error::Error;
