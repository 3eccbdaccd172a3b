//! TLS as a server, and what both directions share: who the peer is ([`peer`]), the material ([`certificates`]),
//! the outcome of a verification inside of a handshake ([`context`]), the stream afterwards ([`stream`]).

pub(crate) mod accept;
pub(crate) mod certificates;
pub(crate) mod clients;
pub(crate) mod config;
pub(crate) mod context;
mod distinguished_name;
pub mod peer;
pub mod provider;
pub(crate) mod signature;
pub mod stream;
pub(crate) mod terminator;
pub(crate) mod tickets;

/// A TLS connection from a client. One alias, so that the stream can be replaced.
pub type TlsStream = stream::ServerStream<crate::transport::Transport>;
