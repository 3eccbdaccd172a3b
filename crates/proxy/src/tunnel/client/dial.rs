//! Making a connection to another proxy, and the words of a request on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use http::{HeaderMap, HeaderValue};
use model::codes::{Coded as _, mesh as codes, refusals};
use tokio::net::TcpStream;

use super::{Failed, Wanted};
use crate::authorize;
use crate::tls::stream::ClientStream;
use crate::tls::{context, peer};
use crate::tunnel::windows::{Window, Windows};
use crate::tunnel::{ALPN, FRAME, HANDSHAKE, HANDSHAKE_BYTES, HEADERS, PING_EVERY, PING_PATIENCE, direct};

/// What a connection turned out to be.
pub(super) enum Made {
    /// One for many streams.
    Shared(SendRequest<Bytes>, Arc<AtomicBool>, Proof),
    /// One for one flow at a time.
    Direct(Box<ClientStream<TcpStream>>, Proof),
}

/// What both ends of a connection proved themselves with.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    /// The credential of this end: another one makes connections of its own.
    epoch: u64,
    /// When the other end's certificate ends, seconds since 1970. A connection may outlive it; what is new on it may not.
    not_after: i64,
}

impl Proof {
    /// Whether something new may be asked on the connection by who has this credential.
    pub(super) fn is_good(self, epoch: u64) -> bool {
        self.epoch == epoch && self.not_after >= authorize::now()
    }
}

/// Connects, and proves both ends. With `offers_direct` the other end may choose the plainer framing.
pub(super) async fn dial(
    wanted: &Wanted<'_>,
    offers_direct: bool,
    windows: &Windows,
) -> Result<Made, Failed> {
    let proxy = wanted.proxy;
    let unreachable =
        |why: &dyn std::fmt::Display| Failed::new(&codes::PEER_UNREACHABLE, format!("{proxy}: {why}"));
    let work = async {
        let socket = wanted.dialer.connect(proxy).await.map_err(|error| unreachable(&error))?;
        socket.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let config = wanted
            .credential
            .client(wanted.identity, offers_direct)
            .map_err(|error| Failed::new(error.code(), error.to_string()))?;
        let name = rustls_pki_types::ServerName::IpAddress(proxy.ip().into());
        let handshake = ClientStream::connect(socket, name, config, HANDSHAKE_BYTES);
        let (done, notes) = context::within(handshake).await;
        let stream = done.map_err(|(error, _)| match notes.rejection {
            Some(rejection) if rejection.code == &refusals::SERVER_NAME_MISMATCH => {
                Failed::new(&codes::PEER_IDENTITY, format!("{proxy}: {}", rejection.what))
            }
            Some(rejection) => Failed::new(rejection.code, format!("{proxy}: {rejection}")),
            None => unreachable(&error),
        })?;
        let leaf = stream.session().peer_certificates().and_then(<[_]>::first);
        let not_after = leaf.and_then(|leaf| peer::not_after(leaf)).unwrap_or_default();
        let proof = Proof { epoch: wanted.credential.epoch, not_after };
        match stream.session().alpn_protocol() {
            Some(ALPN) => {}
            Some(direct::ALPN) if offers_direct => {
                direct::keep_alive(stream.io());
                return Ok(Made::Direct(Box::new(stream), proof));
            }
            _ => return Err(unreachable(&"it speaks no HTTP/2")),
        }
        let window = windows.take(proxy.ip());
        let (send, connection) = Builder::new()
            .initial_window_size(window.stream())
            .initial_connection_window_size(window.connection())
            .max_frame_size(FRAME)
            .max_header_list_size(HEADERS)
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(|error| unreachable(&error))?;
        let closed = Arc::new(AtomicBool::new(false));
        tokio::spawn(drive(connection, window, Arc::clone(&closed)));
        Ok(Made::Shared(send, closed, proof))
    };
    let done = tokio::time::timeout(HANDSHAKE, work).await;
    done.unwrap_or_else(|_| Err(unreachable(&format!("no connection within {HANDSHAKE:?}"))))
}

/// Carries a connection until it ends: a peer that does not answer pings is gone.
async fn drive(
    mut connection: Connection<ClientStream<TcpStream>, Bytes>,
    _window: Window,
    closed: Arc<AtomicBool>,
) {
    let pings = connection.ping_pong();
    let alive = async {
        let Some(mut pings) = pings else { return std::future::pending().await };
        loop {
            tokio::time::sleep(PING_EVERY).await;
            match tokio::time::timeout(PING_PATIENCE, pings.ping(h2::Ping::opaque())).await {
                Ok(Ok(_)) => {}
                _ => return,
            }
        }
    };
    tokio::select! {
        _ = connection => {}
        () = alive => {}
    }
    closed.store(true, Ordering::Relaxed);
}

/// What is said beside the target.
pub(super) fn headers(wanted: &Wanted<'_>) -> HeaderMap {
    let mut forwarded = format!("for=\"{}\"", wanted.client);
    if let Some(service) = wanted.service {
        forwarded.push_str(&format!(";host={service}"));
    }
    let mut headers = HeaderMap::with_capacity(3);
    for (name, value) in
        [("forwarded", forwarded.as_str()), ("baggage", wanted.baggage), ("traceparent", &traceparent())]
    {
        if let Ok(value) = HeaderValue::from_str(value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
    headers
}

/// A new trace (W3C Trace Context, section 3.2), not sampled: who wants it decides that.
fn traceparent() -> String {
    format!("00-{:032x}-{:016x}-00", rand::random::<u128>() | 1, rand::random::<u64>() | 1)
}
