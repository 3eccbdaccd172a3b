//! HBONE: TCP connections as streams of HTTP/2 CONNECT (RFC 9113, section 8.5) within mutual TLS. [`client`] opens
//! them, [`server`] takes them, [`TunnelStream`] is one of them at either end.

pub(crate) mod client;
pub(crate) mod server;
mod stream;

use std::time::Duration;

pub(crate) use stream::TunnelStream;

/// The only protocol (RFC 7301).
pub(crate) const ALPN: &[u8] = b"h2";
/// What a stream may have in flight.
const STREAM_WINDOW: u32 = 2 << 20;
/// What all streams of a connection may have in flight: what is not read yet waits in memory.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// The largest frame that is accepted.
const FRAME: u32 = 1 << 20;
/// Headers of a CONNECT are a few hundred bytes; this is for foreign ones with much baggage.
const HEADERS: u32 = 16 << 10;
/// How long each end may take for its part of the handshake.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// What is waited for of a caller, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// His part of the TLS handshake, and then the beginning of his HTTP/2.
    pub(crate) handshake: Duration,
    /// How often he is asked whether he is there.
    pub(crate) ping_every: Duration,
    /// How long he may take to answer: who is in the middle of a frame cannot.
    pub(crate) ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: HANDSHAKE, ping_every: PING_EVERY, ping: PING_PATIENCE }
    }
}

/// A connection that is not used asks so often whether the other end is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// And believes it gone after this.
const PING_PATIENCE: Duration = Duration::from_secs(20);
