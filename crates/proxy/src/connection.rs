//! One accepted connection: what is known of it, and the way it takes. [`serve`] is the table of contents of
//! the data plane: PROXY protocol, detection, TLS, the gate, then HTTP or TCP.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use model::codes::{Code, refusals};
use model::peer::Peer;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::authorize::Decisions;
use crate::drain::Drain;
use crate::metrics::ListenerMetrics;
use crate::proxy_protocol::{self, Parsed};
use crate::refusal::{self, Facts};
use crate::state::{ListenerState, Traffic};
use crate::tcp;
use crate::tls::TlsStream;
use crate::tls::accept::{self, Refused};
use crate::transport::Transport;

/// One accepted connection, as everything later sees it. Shared by `Arc`; made once.
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// The listener as it was when the connection was accepted.
    pub listener: Arc<ListenerState>,
    /// The client's address: from the PROXY protocol header where the listener takes one.
    pub peer_addr: Address,
    /// The address that the client connected to.
    pub local_addr: Address,
    /// When it was accepted.
    pub accepted: Instant,
    /// What the handshake found; none for plain text.
    pub tls: Option<TlsSession>,
    /// The number of the worker thread that carries it, from 0. Pools are kept per worker.
    pub worker: usize,
    /// Heard when it should end.
    pub drain: Drain,
    /// What was decided for it, by policy.
    pub(crate) decisions: Decisions,
    /// What it takes of its listener, given back when the last who works for it is done.
    #[expect(dead_code, reason = "it is held for its drop")]
    pub(crate) held: Option<Held>,
}

/// What a connection takes: a slot, a place among those that a drain waits for, a count. An upgraded connection
/// outlives the HTTP that it came from, and holds on to this.
pub(crate) struct Held {
    _slot: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
    _active: Active,
}

impl Held {
    pub(crate) fn new(
        slot: OwnedSemaphorePermit,
        token: TaskTrackerToken,
        metrics: &Arc<ListenerMetrics>,
    ) -> Self {
        metrics.active.inc();
        Self { _slot: slot, _token: token, _active: Active(Arc::clone(metrics)) }
    }
}

/// What the handshake found.
pub struct TlsSession {
    /// The protocol version.
    pub version: rustls::ProtocolVersion,
    /// The cipher suite.
    pub cipher: rustls::CipherSuite,
    /// The key exchange group; none in a resumed TLS 1.2 session.
    pub group: Option<rustls::NamedGroup>,
    /// The server name that was asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The application protocol that was agreed on.
    pub alpn: Option<Alpn>,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// The client's certificate, verified (or not) against the policy of the host that SNI chose.
    /// A route's own policy may judge it otherwise: see [`crate::authorize::request`].
    pub peer: Option<Arc<Peer>>,
    /// The host that SNI chose: an index into the listener's hosts; none for TCP listeners.
    pub host: Option<usize>,
    /// The client policy under which the handshake took place. A request for a host with another one
    /// ([`ListenerState::policy_key`]) is misdirected: 421.
    pub policy_key: PolicyKey,
}

/// The content of a client policy (rules, authorities, revocation lists) as a SHA-256; all zero for no policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey(pub [u8; 32]);

/// An application protocol (RFC 7301).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`.
    H2,
    /// `http/1.1`.
    Http11,
    /// Any other.
    Other(Box<[u8]>),
}

impl From<&[u8]> for Alpn {
    fn from(name: &[u8]) -> Self {
        match name {
            b"h2" => Self::H2,
            b"http/1.1" => Self::Http11,
            other => Self::Other(other.into()),
        }
    }
}

impl Alpn {
    /// As it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http11 => b"http/1.1",
            Self::Other(name) => name,
        }
    }
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A socket in the file system; its clients have no address.
    Unix,
}

impl Address {
    /// The IP address. An IPv4 address that was mapped into IPv6 is given as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Carries one accepted connection to its end: this is the way it takes.
pub(crate) async fn serve(socket: Accepted) {
    let listener = Arc::clone(&socket.listener);
    listener.metrics.connections.inc();
    // Boxed: what the handshake needs is given back before the application's first byte.
    let Some((stream, connection)) = Box::pin(open(socket)).await else { return };
    // Boxed as well: a client that has not finished its handshake does not hold what the application needs,
    // and each application holds what it needs and no more.
    let connection = Arc::new(connection);
    match (&listener.traffic, stream) {
        (Traffic::Http(_), Stream::Plain(io)) => Box::pin(crate::http::serve(io, connection)).await,
        (Traffic::Http(_), Stream::Tls(io)) => Box::pin(crate::http::serve(io, connection)).await,
        (Traffic::Tcp(streams), Stream::Plain(io)) => Box::pin(tcp::serve(io, &connection, streams)).await,
        (Traffic::Tcp(streams), Stream::Tls(io)) => Box::pin(tcp::serve(io, &connection, streams)).await,
    }
}

/// A socket that was just accepted.
pub(crate) struct Accepted {
    pub(crate) transport: Transport,
    pub(crate) peer_addr: Address,
    pub(crate) local_addr: Address,
    pub(crate) listener: Arc<ListenerState>,
    pub(crate) worker: usize,
    pub(crate) held: Held,
}

enum Stream {
    Plain(Transport),
    /// Boxed: each function that a value is handed through keeps room for it in its future, and a TLS connection
    /// is some kilobytes.
    Tls(Box<TlsStream>),
}

struct Active(Arc<ListenerMetrics>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.dec();
    }
}

/// PROXY protocol, detection, TLS: all within the time for the handshake. None: refused, and logged.
async fn open(socket: Accepted) -> Option<(Stream, Connection)> {
    let Accepted { mut transport, mut peer_addr, mut local_addr, listener, worker, held } = socket;
    let accepted = Instant::now();
    let drain = listener.drain.subscribe();
    let mut asked = None;
    let steps = async {
        if listener.spec.proxy_protocol.is_some() {
            match proxy_header(&mut transport, &peer_addr, &listener).await {
                Ok(Some((from, to))) => (peer_addr, local_addr) = (Address::Ip(from), Address::Ip(to)),
                Ok(None) => {}
                Err((code, detail)) => return Err(Refused::silent(code, detail)),
            }
        }
        let Some(terminator) = &listener.tls else { return Ok((Stream::Plain(transport), None)) };
        let most = usize::try_from(listener.spec.limits.handshake_bytes.0).unwrap_or(usize::MAX);
        match accept::accept(transport, terminator, most, &mut asked).await {
            Ok((stream, session)) => Ok((Stream::Tls(Box::new(stream)), Some(session))),
            // nginx's `error_page 497`: every request is refused there, but in the site's own words.
            Err(refused) if listener.has_page_for_plain_http() => {
                refused.into_plain_http().map(|transport| (Stream::Plain(transport), None))
            }
            Err(refused) => Err(refused),
        }
    };
    let limit = listener.spec.timeouts.handshake.0;
    let done = tokio::time::timeout(limit, steps).await.unwrap_or_else(|_| {
        let detail = format!("the handshake was not finished within {limit:?}");
        Err(Refused::silent(&refusals::HANDSHAKE_TIMEOUT, detail))
    });
    match done {
        Ok((stream, tls)) => {
            if let Some(tls) = &tls {
                listener.metrics.handshake(tls.version, tls.resumed);
            }
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            let decisions = Decisions::default();
            let connection = Connection {
                id,
                listener,
                peer_addr,
                local_addr,
                accepted,
                tls,
                worker,
                drain,
                decisions,
                held: Some(held),
            };
            Some((stream, connection))
        }
        Err(refused) => {
            let facts = Facts {
                peer_addr: Some(&peer_addr),
                server_name: asked.as_deref(),
                detail: &refused.detail,
                ..Facts::default()
            };
            let facts = match &refused.peer {
                Some(peer) => facts.peer(peer),
                None => facts,
            };
            refusal::handshake(&listener, refused.code, &facts);
            refused.farewell().await;
            None
        }
    }
}

/// Reads the PROXY protocol header; gives the addresses in it, if it has any.
async fn proxy_header(
    transport: &mut Transport,
    peer: &Address,
    listener: &ListenerState,
) -> Result<Option<(SocketAddr, SocketAddr)>, (&'static Code, String)> {
    let believed = match peer.ip() {
        Some(ip) => listener.trusted.iter().any(|network| network.contains(ip)),
        // Who may open a socket file is for the file system to say.
        None => true,
    };
    if !believed && !listener.trusted.is_empty() {
        return Err((
            &refusals::PROXY_PROTOCOL_UNTRUSTED,
            format!("{peer} is in none of the trusted networks"),
        ));
    }
    let mut bytes = Vec::with_capacity(256);
    loop {
        match transport.read_buf(&mut bytes).await {
            Ok(0) => {
                return Err((&refusals::PEER_CLOSED, "closed before the PROXY protocol header".to_owned()));
            }
            Ok(_) => {}
            Err(error) => return Err((&refusals::PEER_CLOSED, error.to_string())),
        }
        match proxy_protocol::parse(&bytes) {
            Ok(Parsed::Incomplete) => {}
            Ok(Parsed::Complete { length, addresses }) => {
                transport.put_back(bytes.split_off(length));
                // Where nobody is named as trusted the header is read, and believed from nobody, as with nginx
                // without set_real_ip_from: whoever reaches the port could write any address into it.
                return Ok(addresses.filter(|_| believed));
            }
            Err(error) => return Err((&refusals::PROXY_PROTOCOL_INVALID, error.to_string())),
        }
    }
}
