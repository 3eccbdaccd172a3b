//! A workload calls: where to, how securely, and the way there.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use model::codes::{Code, mesh as codes};
use model::mesh::{AppProtocol, Route, Workload, route};
use prometheus_client::metrics::counter::Counter;
use rustls::client::UnbufferedClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::Dialer;
use super::attached::{GATHER, Own};
use super::inbound::{IDLE, reset};
use super::record::{Direction, Record, Secured};
use crate::copy::{self, End};
use crate::tunnel::Tunnel;
use crate::tunnel::client::{Failed, Wanted};

/// How long a destination outside of the mesh may take to accept.
const CONNECT: Duration = Duration::from_secs(10);
/// Endpoints of a service that are tried; nothing was sent to those before.
const TRIES: usize = 3;

/// The other side of a call.
pub(super) enum Upstream {
    Tunnel(Box<Tunnel<UnbufferedClientConnection>>),
    Plain(TcpStream),
}

/// A call that has its other side.
pub(super) struct Call {
    pub(super) upstream: Upstream,
    /// What the application called.
    wanted: SocketAddr,
    /// What is spoken there, where that was declared.
    declared: AppProtocol,
    record: Box<Record>,
    began: Instant,
}

/// Makes the call. What is refused has its record by then.
///
/// # Errors
///
/// Why there is no connection.
pub(super) async fn call(
    own: &Own,
    from: SocketAddr,
    destination: SocketAddr,
) -> Result<Call, (&'static Code, String)> {
    // What it takes to make a connection, a handshake among it, is not kept for as long as the connection is open.
    Box::pin(make(own, from, destination)).await
}

async fn make(own: &Own, from: SocketAddr, destination: SocketAddr) -> Result<Call, (&'static Code, String)> {
    let began = Instant::now();
    let credential = Arc::clone(&own.credential.borrow());
    let mut record = Box::new(Record::new(Direction::Outbound, &own.uid, from));
    record.source = credential.identity.to_string();
    record.destination_address = Some(destination);
    let refuse = |mut record: Box<Record>, code: &'static Code, detail: String| {
        record.duration = began.elapsed();
        own.shared.observe(&record.refused(code, detail.clone()));
        Err((code, detail))
    };
    if own.shared.is_own(SocketAddr::new(destination.ip().to_canonical(), destination.port())) {
        return refuse(record, &codes::LOOP, format!("{destination} is this proxy itself"));
    }
    let world = own.shared.now();
    let Some(source) = world.workload(&own.uid) else {
        let detail = format!("{} is not known (yet)", own.uid);
        return refuse(record, &codes::NO_IDENTITY, detail);
    };
    let start: usize = rand::random_range(0..1 << 20);
    let mut last: Option<Failed> = None;
    for attempt in 0..TRIES {
        let way = route(&world, source, destination, |count| (start + attempt) % count.max(1));
        match way {
            Err(refused) => return refuse(record, refused.code, refused.detail),
            Ok(Route::Plain { target, why, service }) => {
                record.service = service.map(|name| name.to_string()).unwrap_or_default();
                record.destination_address = Some(target);
                return match plain(target, &own.dialer).await {
                    Ok(socket) => {
                        record.secured = Secured::Plain(why.as_str());
                        let upstream = Upstream::Plain(socket);
                        let declared = AppProtocol::Unknown;
                        Ok(Call { upstream, wanted: destination, declared, record, began })
                    }
                    Err(why) => refuse(record, &codes::PEER_UNREACHABLE, format!("{target}: {why}")),
                };
            }
            Ok(Route::Mesh { proxy, target, identity, service, protocol, .. }) => {
                record.destination = identity.to_string();
                record.destination_address = Some(target);
                record.service = service.as_ref().map(ToString::to_string).unwrap_or_default();
                let wanted = Wanted {
                    credential: &credential,
                    identity: &identity,
                    proxy,
                    dialer: &own.dialer,
                    target,
                    client: from,
                    service: service.as_ref().map(|name| name.hostname.as_str()),
                    baggage: &baggage(source),
                };
                match own.shared.pool.open(&wanted).await {
                    Ok(tunnel) => {
                        (record.secured, record.framing) = (Secured::Hbone, tunnel.framing());
                        return Ok(Call {
                            upstream: Upstream::Tunnel(Box::new(tunnel)),
                            wanted: destination,
                            declared: protocol,
                            record,
                            began,
                        });
                    }
                    Err(failed) => {
                        let elsewhere = failed.elsewhere && service.is_some();
                        last = Some(failed);
                        if !elsewhere {
                            break;
                        }
                    }
                }
            }
        }
    }
    match last {
        Some(failed) => refuse(record, failed.code, failed.detail),
        None => refuse(record, &codes::PEER_UNREACHABLE, "no way was found".to_owned()),
    }
}

async fn plain(target: SocketAddr, dialer: &Dialer) -> Result<TcpStream, String> {
    match tokio::time::timeout(CONNECT, dialer.connect(target)).await {
        Ok(Ok(socket)) => {
            let _ = socket.set_nodelay(true);
            Ok(socket)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECT:?}")),
    }
}

/// Comes back when a connection in plain text would not be made any more: its caller has become strict (invariant 3).
async fn forbidden(own: &Own, wanted: SocketAddr) -> String {
    let mut world = own.shared.world.clone();
    loop {
        // Also at once, for what changed while it was made.
        if world.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GATHER).await;
        let now = Arc::clone(&world.borrow_and_update());
        let Some(source) = now.workload(&own.uid) else { continue };
        match route(&now, source, wanted, |_| 0) {
            Err(refused) if refused.code == &codes::WOULD_BE_PLAIN => return refused.detail,
            _ => {}
        }
    }
}

/// Who calls, in the words of OpenTelemetry, as ztunnel says it.
fn baggage(source: &Workload) -> String {
    [
        ("k8s.namespace.name", source.namespace.as_str()),
        ("k8s.pod.name", source.name.as_str()),
        ("k8s.deployment.name", source.workload_name.as_str()),
        ("service.name", source.workload_name.as_str()),
    ]
    .iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| format!("{name}={value}"))
    .collect::<Vec<_>>()
    .join(",")
}

impl Call {
    /// Looks at what the client has sent by now, without taking it and without waiting.
    pub(super) fn look(&mut self, own: &Own, client: &TcpStream) {
        let place = self.record.destination_address.unwrap_or(self.wanted);
        self.record.protocol = own.shared.spoken.name(self.declared, place, client);
    }

    /// Carries the client's bytes until either side ends; then the record is written.
    pub(super) async fn carry<C>(mut self, own: &Own, client: &mut C, break_off: impl Fn(&C))
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let (sent, received) = (Counter::default(), Counter::default());
        let is_plain = matches!(self.upstream, Upstream::Plain(_));
        let end = tokio::select! {
            // Nothing is carried that is forbidden by now.
            biased;
            why = forbidden(own, self.wanted), if is_plain => {
                *self.record = self.record.refused(&codes::REVOKED_BY_CHANGE, why);
                End::Idle
            }
            () = own.ending.cut.cancelled() => End::Idle,
            copied = copy::both_ways(client, &mut self.upstream, IDLE, (&sent, &received)) => copied.end,
        };
        match end {
            End::Complete => {}
            End::FirstBroke(error) => {
                self.upstream.reset();
                self.record.ending = format!("the application broke it off: {error}");
            }
            End::SecondBroke(error) => {
                break_off(client);
                self.record.ending = format!("the other side broke it off: {error}");
            }
            End::Idle => {
                self.upstream.reset();
                break_off(client);
            }
        }
        self.finish(own, sent.get(), received.get());
    }

    /// Carries a client's connection, of which some bytes were read already.
    pub(super) async fn carry_after(mut self, own: &Own, first: &[u8], mut client: TcpStream) {
        if self.upstream.write_all(first).await.is_err() {
            reset(&client);
            return self.finish(own, 0, 0);
        }
        self.carry(own, &mut client, reset).await;
    }

    /// Ends it for somebody who carries the bytes himself.
    pub(super) fn finish(mut self, own: &Own, sent: u64, received: u64) {
        (self.record.sent, self.record.received) = (sent, received);
        self.record.duration = self.began.elapsed();
        own.shared.observe(&self.record);
    }
}

impl Upstream {
    fn reset(&mut self) {
        match self {
            Self::Tunnel(tunnel) => tunnel.reset(),
            Self::Plain(socket) => reset(socket),
        }
    }
}

impl AsyncRead for Upstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_read(cx, buf),
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_write(cx, buf),
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_flush(cx),
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_shutdown(cx),
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
