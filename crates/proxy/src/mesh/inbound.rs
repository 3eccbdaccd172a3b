//! A workload is called: the handshake, the gate, the application.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use model::codes::{Code, mesh as codes, refusals, serving};
use model::identity::SpiffeId;
use model::mesh::Workload;
use model::mesh::policy::decide;
use model::peer::{Peer, Verification};
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::attached::Own;
use super::credential::identity_of;
use super::descriptors::Held;
use super::live::{Known, Open};
use super::record::{Direction, Record, Secured};
use super::slots::Slot;
use super::tide::Counted;
use super::{Credential, Shared};
use crate::authorize;
use crate::copy::{self, End};
use crate::tls::stream::{AcceptError, ServerStream, Side};
use crate::tls::{context, peer};
use crate::tunnel::server::{Asked, Flows, Tunnels};
use crate::tunnel::{HANDSHAKE_BYTES, Tunnel};

/// How long an application may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection of another proxy without a stream for so long is ended. Proxies let go of theirs after as long.
const UNUSED: Duration = Duration::from_secs(300);
/// A connection on which nothing was said for so long is ended, on either side.
pub(super) const IDLE: Duration = Duration::from_secs(3600);

/// One connection of another proxy, from its handshake to its end.
pub(super) async fn serve(own: Arc<Own>, socket: TcpStream, from: SocketAddr) {
    let cut = own.ending.cut.clone();
    let work = async {
        let patience = own.shared.patience;
        let limit = patience.handshake;
        let credential = Arc::clone(&own.credential.borrow());
        // Held as long as the connection, if it becomes such a one.
        let direct = Arc::clone(&own.direct).try_acquire_owned().ok();
        let config = credential.server(direct.is_some());
        let handshake = ServerStream::accept(socket, Vec::new(), config, HANDSHAKE_BYTES);
        let handshake = context::within(handshake);
        let refuse = |code, detail: String, peer: Option<&Peer>| {
            let mut record = Record::new(Direction::Inbound, &own.uid, from).refused(code, detail);
            record.destination = credential.identity.to_string();
            record.source = peer.map(|peer| peer.name().to_owned()).unwrap_or_default();
            own.shared.observe(&record);
        };
        let (stream, notes) = match tokio::time::timeout(limit, handshake).await {
            Ok(done) => done,
            Err(_) => {
                let detail = format!("the handshake was not finished within {limit:?}");
                return refuse(&refusals::HANDSHAKE_TIMEOUT, detail, None);
            }
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err((error, _)) => {
                let (code, detail) = why(&error, notes.rejection);
                return refuse(code, detail, notes.peer.as_deref());
            }
        };
        let chain = stream.session().peer_certificates().unwrap_or_default();
        let caller = peer::describe(chain, Verification::Verified);
        let identity = match identity_of(&caller) {
            Ok(identity) => identity,
            Err(rejection) => return refuse(rejection.code, rejection.what, Some(&caller)),
        };
        let is_direct = match stream.session().alpn_protocol() {
            Some(crate::tunnel::ALPN) => false,
            Some(crate::tunnel::direct::ALPN) => true,
            _ => {
                let detail = "the caller agreed on no HTTP/2".to_owned();
                return refuse(&codes::TUNNEL_INVALID, detail, Some(&caller));
            }
        };
        let whom = caller;
        let caller = Arc::new(Caller { identity: Arc::new(identity), not_after: whom.not_after, from });
        // Another credential may trust other roots: the caller comes again, and is judged by those.
        let mut credentials = own.credential.clone();
        let last = async {
            let other = credentials.wait_for(|now| now.epoch != credential.epoch);
            let other = async {
                if other.await.is_err() {
                    std::future::pending::<()>().await
                }
            };
            tokio::select! {
                () = own.ending.drain.cancelled() => {}
                () = other => {}
            }
        };
        if is_direct {
            // Without a root that it was judged by, the caller may be a stranger.
            let mut credentials = own.credential.clone();
            let doubted = async {
                let trusts_all =
                    |now: &Arc<Credential>| credential.roots.iter().all(|root| now.roots.contains(root));
                if credentials.wait_for(|now| !trusts_all(now)).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let take = |asked| Box::pin(one(Arc::clone(&own), Arc::clone(&caller), asked));
            if let Err(error) = Flows::accept(stream).run(last, doubted, UNUSED, take).await {
                refuse(
                    &codes::TUNNEL_INVALID,
                    format!("the caller's messages are refused: {error}"),
                    Some(&whom),
                );
            }
            return;
        }
        drop(direct);
        let _place = match own.sharing.take(&from.ip()) {
            Ok(place) => place,
            Err(why) => return refuse(&codes::TOO_MANY, why, Some(&whom)),
        };
        let window = own.shared.pool.windows.take(from.ip());
        let tunnels = match tokio::time::timeout(limit, Tunnels::accept(stream, window)).await {
            Ok(Ok(tunnels)) => tunnels,
            Ok(Err(error)) => {
                let detail = format!("the caller speaks no HTTP/2: {error}");
                return refuse(&codes::TUNNEL_INVALID, detail, Some(&whom));
            }
            Err(_) => {
                let detail = format!("the caller began no HTTP/2 within {limit:?}");
                return refuse(&refusals::HANDSHAKE_TIMEOUT, detail, Some(&whom));
            }
        };
        let tasks = own.ending.tasks.clone();
        let streams = Arc::new(());
        let drain = async {
            tokio::select! {
                () = last => {}
                () = unused(&streams) => {}
            }
        };
        let ended = tunnels
            .run(patience, drain, |asked| {
                let one = one(Arc::clone(&own), Arc::clone(&caller), asked);
                let stream = Arc::clone(&streams);
                tasks.spawn(async move {
                    one.await;
                    drop(stream);
                });
            })
            .await;
        if let Err(error) = ended {
            refuse(&codes::TUNNEL_INVALID, format!("the caller's HTTP/2 is refused: {error}"), Some(&whom));
        }
    };
    tokio::select! {
        // What is carried sees the cut itself: it resets both ends and has its record.
        biased;
        () = work => {}
        () = cut.cancelled() => {}
    }
}

/// Comes back when a connection has had no stream for long: whoever needs it then comes again, and nobody holds places
/// that he does not use.
async fn unused(streams: &Arc<()>) {
    let mut since = 0;
    while since < 2 {
        tokio::time::sleep(UNUSED / 2).await;
        since = if Arc::strong_count(streams) == 1 { since + 1 } else { 0 };
    }
}

struct Caller {
    identity: Arc<SpiffeId>,
    not_after: i64,
    from: SocketAddr,
}

fn why(error: &AcceptError, rejection: Option<certs::verify::Rejection>) -> (&'static Code, String) {
    if let Some(rejection) = rejection {
        return (rejection.code, rejection.to_string());
    }
    let error = match error {
        AcceptError::Tls(error) => error,
        AcceptError::Io(error) => return (&refusals::PEER_CLOSED, error.to_string()),
        AcceptError::TooLarge(_) => return (&refusals::HANDSHAKE_TOO_LARGE, error.to_string()),
    };
    match error {
        rustls::Error::NoCertificatesPresented => {
            (&refusals::CLIENT_CERTIFICATE_MISSING, refusals::CLIENT_CERTIFICATE_MISSING.title.to_owned())
        }
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            (&codes::PLAIN_TEXT, "what arrived is no TLS".to_owned())
        }
        rustls::Error::AlertReceived(alert) => {
            (&refusals::PEER_ALERT, format!("the caller refused this proxy: {alert:?}"))
        }
        rustls::Error::PeerIncompatible(why) => {
            (&refusals::PROTOCOL_VERSION, format!("the caller cannot do what the mesh asks for: {why:?}"))
        }
        error => (&refusals::BAD_CERTIFICATE, error.to_string()),
    }
}

/// What a tunnel that was let in holds while it is open.
struct Admitted {
    record: Box<Record>,
    open: Open,
    tunnel: Tunnel<rustls::server::UnbufferedServerConnection>,
    application: TcpStream,
    _kept: (Slot<Arc<SpiffeId>>, Held, Counted<Shared>),
}

/// One tunnel.
async fn one(own: Arc<Own>, caller: Arc<Caller>, asked: Asked) {
    let began = Instant::now();
    // What it takes to let it in, the world of that moment among it, is not kept for as long as it is open.
    let Some(admitted) = Box::pin(admit(&own, &caller, asked, began)).await else { return };
    let Admitted { record, mut open, tunnel, application, _kept } = admitted;
    let closed = async { (&codes::REVOKED_BY_CHANGE, open.closed().await) };
    carry(&own, record, tunnel, application, closed, began).await;
}

/// The gate. Whoever is refused has his record by then.
async fn admit(own: &Own, caller: &Caller, asked: Asked, began: Instant) -> Option<Admitted> {
    let mut record = Box::new(Record::new(Direction::Inbound, &own.uid, caller.from));
    record.source = caller.identity.to_string();
    record.destination = own.credential.borrow().identity.to_string();
    let refuse = async |asked: Asked, status, mut record: Box<Record>, code, detail: String| {
        record.duration = began.elapsed();
        own.shared.observe(&record.refused(code, detail));
        asked.refuse(status, own.shared.patience.handshake).await;
        None
    };
    let target = match asked.target() {
        Ok(target) => SocketAddr::new(target.ip().to_canonical(), target.port()),
        Err(detail) => {
            return refuse(asked, StatusCode::BAD_REQUEST, record, &codes::TUNNEL_INVALID, detail).await;
        }
    };
    record.destination_address = Some(target);
    // Where the caller's proxy says that the client is elsewhere, that is its word; the address is the caller's own.
    let known = Known { identity: Some(Arc::clone(&caller.identity)), source: caller.from, target };
    // Before the world is looked at, so that no change of policy falls between the two.
    let open = own.live.add(known.clone());
    let world = own.shared.now();
    let Some(workload) = world.workload(&own.uid) else {
        let detail = format!("{} is not known (yet)", own.uid);
        return refuse(asked, StatusCode::UNAUTHORIZED, record, &codes::POLICY_UNKNOWN, detail).await;
    };
    if !workload.addresses.contains(&target.ip()) {
        let detail = format!("{} is no address of {}", target.ip(), workload.uid);
        return refuse(asked, StatusCode::BAD_REQUEST, record, &codes::TUNNEL_INVALID, detail).await;
    }
    if own.shared.is_own(target) {
        let detail = format!("{target} is this proxy itself");
        return refuse(asked, StatusCode::BAD_REQUEST, record, &codes::LOOP, detail).await;
    }
    // A connection may outlive the certificate that it was opened with; what is new on it may not.
    if caller.not_after < authorize::now() {
        let detail = "the certificate that this connection was opened with has expired".to_owned();
        return refuse(asked, StatusCode::UNAUTHORIZED, record, &refusals::CERTIFICATE_EXPIRED, detail).await;
    }
    let decision = decide(&world, workload, &known.arrival());
    record.would_refuse.clone_from(&decision.would_refuse);
    if let Some(code) = decision.reason.code() {
        return refuse(asked, StatusCode::UNAUTHORIZED, record, code, decision.reason.to_string()).await;
    }
    record.detail = decision.reason.to_string();
    let slot = match own.tunnels.take(&caller.identity) {
        Ok(slot) => slot,
        Err(why) => {
            return refuse(asked, StatusCode::SERVICE_UNAVAILABLE, record, &codes::TOO_MANY, why).await;
        }
    };
    let Some(files) = own.shared.descriptors.take(1) else {
        let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, &serving::FILES_EXHAUSTED);
        return refuse(asked, status, record, code, own.shared.descriptors.none_left()).await;
    };
    record.service = service_of(asked.headers(), workload);
    let application = match application(own, caller.from.ip(), target).await {
        Ok(application) => application,
        Err(why) => {
            let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, &codes::APPLICATION_UNREACHABLE);
            return refuse(asked, status, record, code, why).await;
        }
    };
    let Some(tunnel) = asked.grant(own.shared.patience.handshake).await else {
        record.duration = began.elapsed();
        let detail = "the caller did not take the answer".to_owned();
        own.shared.observe(&record.refused(&refusals::PEER_CLOSED, detail));
        return None;
    };
    (record.secured, record.framing) = (Secured::Hbone, tunnel.framing());
    let kept = (slot, files, Counted::new(Arc::clone(&own.shared)));
    Some(Admitted { record, open, tunnel, application, _kept: kept })
}

/// Connects to the workload's application for a client, and says why it cannot.
pub(super) async fn application(own: &Own, client: IpAddr, target: SocketAddr) -> Result<TcpStream, String> {
    match tokio::time::timeout(CONNECT, own.dialer.connect_for(client, target)).await {
        Ok(Ok(application)) => {
            let _ = application.set_nodelay(true);
            Ok(application)
        }
        Ok(Err(error)) => Err(format!("{target}: {error}")),
        Err(_) => Err(format!("{target}: no answer within {CONNECT:?}")),
    }
}

/// A caller's side of a connection, which can be broken off such that nobody takes it for a clean end.
pub(super) trait Arrived: AsyncRead + AsyncWrite + Unpin {
    fn break_off(&mut self);
}

impl<S: Side> Arrived for Tunnel<S> {
    fn break_off(&mut self) {
        self.reset();
    }
}

impl Arrived for TcpStream {
    fn break_off(&mut self) {
        reset(self);
    }
}

/// The service that the caller says it called (`host` of the first element of `forwarded`, RFC 7239), if it is one that
/// leads to this workload: what callers make up is in no log and no metric.
fn service_of(headers: &http::HeaderMap, workload: &Workload) -> String {
    let text = headers.get("forwarded").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = text.split(',').next().unwrap_or_default();
    let host = first.split(';').find_map(|pair| pair.trim().strip_prefix("host="));
    let host = host.unwrap_or_default().trim_matches('"');
    let known = workload.services.keys().find(|name| name.hostname == host);
    known.map(ToString::to_string).unwrap_or_default()
}

/// Copies between a caller and an application until one of them ends or `closed` says so.
pub(super) async fn carry(
    own: &Own,
    mut record: Box<Record>,
    mut caller: impl Arrived,
    mut application: TcpStream,
    closed: impl Future<Output = (&'static Code, String)>,
    began: Instant,
) {
    let (sent, received) = (Counter::default(), Counter::default());
    let ended = tokio::select! {
        // What was revoked while the application was connected to has not a byte carried.
        biased;
        closed = closed => Err(closed),
        () = own.ending.cut.cancelled() => Ok(End::Idle),
        copied = copy::both_ways(&mut caller, &mut application, IDLE, (&sent, &received)) => Ok(copied.end),
    };
    match ended {
        Ok(End::Complete) => {}
        Ok(End::FirstBroke(error)) => {
            reset(&application);
            record.ending = format!("the caller broke it off: {error}");
        }
        Ok(End::SecondBroke(error)) => {
            caller.break_off();
            record.ending = format!("the application broke it off: {error}");
        }
        Ok(End::Idle) => {
            caller.break_off();
            reset(&application);
        }
        Err((code, why)) => {
            caller.break_off();
            reset(&application);
            *record = record.refused(code, why);
        }
    }
    (record.sent, record.received) = (sent.get(), received.get());
    record.duration = began.elapsed();
    own.shared.observe(&record);
}

/// The peer gets a reset, not an end that could be taken for an orderly one.
pub(super) fn reset(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
