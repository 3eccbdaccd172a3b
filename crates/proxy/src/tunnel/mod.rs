//! Tunnels between proxies within mutual TLS. HBONE carries TCP connections as streams of HTTP/2 CONNECT (RFC 9113,
//! section 8.5); between two proxies of ours there is [`direct`] as well. [`client`] opens tunnels, [`server`] takes them,
//! [`Tunnel`] is one of them at either end.

pub(crate) mod client;
pub mod direct;
mod either;
pub(crate) mod server;
mod stream;
pub(crate) mod windows;

use std::time::Duration;

pub(crate) use either::Tunnel;
pub(crate) use stream::TunnelStream;

/// HTTP/2 (RFC 7301), which every peer has to speak.
pub(crate) const ALPN: &[u8] = b"h2";
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

/// What the other end may say before it is finished: chains of certificates are a few kilobytes.
pub(crate) const HANDSHAKE_BYTES: usize = 64 << 10;
/// A connection that is not used asks so often whether the other end is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// And believes it gone after this.
const PING_PATIENCE: Duration = Duration::from_secs(20);
