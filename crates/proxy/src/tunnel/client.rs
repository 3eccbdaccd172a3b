//! Opening tunnels. To a proxy of ours a flow has a connection for itself, which is used again; where there are many
//! flows, and to any other proxy, a connection carries many streams, and a few stand beside one another where bulk flows
//! are, so that these neither cap nor starve the others.

mod dial;
mod direct;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Uri};
use model::codes::{Code, mesh as codes};
use model::identity::SpiffeId;
use rustls::client::UnbufferedClientConnection;

use super::windows::Windows;
use super::{Tunnel, TunnelStream};
use crate::mesh::{Credential, Dialer};
use dial::{Made, Proof};

/// Streams of a connection at one time.
const STREAMS: usize = 100;
/// Connections side by side where bulk flows are.
const BESIDE: usize = 8;
/// A stream that carried so much is a bulk flow; new streams keep away from its connection.
const BULK: usize = 1 << 20;
/// A call makes at most so many connections.
const DIALS: usize = 2;
/// A connection without streams is kept so long.
const UNUSED: Duration = Duration::from_secs(300);
/// So often it is looked for them.
pub(crate) const SWEEP: Duration = Duration::from_secs(30);
/// How long the other end may take to answer CONNECT: it connects to its application within this.
const ANSWER: Duration = Duration::from_secs(15);

/// Whom a connection is for, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    from: SpiffeId,
    to: SpiffeId,
    proxy: SocketAddr,
    /// Policies ask for it: workloads of one service account have each its own.
    address: Option<IpAddr>,
    /// Where its sockets are: none of another network are its.
    namespace: Option<u64>,
}

/// Connections to other proxies, for every workload of this one.
#[derive(Default)]
pub(crate) struct Pool {
    known: Mutex<HashMap<Key, Arc<Lane>>>,
    /// What other proxies may have in flight to this one, whoever connected to whom.
    pub(crate) windows: Windows,
}

/// The connections of one key.
#[derive(Default)]
struct Lane {
    direct: direct::Direct,
    connections: Mutex<Vec<Arc<Pooled>>>,
    /// One dials at a time; the others find what it dialled, or why that failed.
    dialling: tokio::sync::Mutex<Option<(Instant, Failed)>>,
}

struct Pooled {
    send: SendRequest<Bytes>,
    streams: AtomicUsize,
    bulk: AtomicUsize,
    proof: Proof,
    closed: Arc<AtomicBool>,
    idle_since: Mutex<Instant>,
}

/// What a stream takes of its connection.
pub(crate) struct Used {
    connection: Arc<Pooled>,
    carried: usize,
}

impl Used {
    fn of(connection: Arc<Pooled>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Self { connection, carried: 0 }
    }

    pub(super) fn count(&mut self, bytes: usize) {
        let before = self.carried;
        self.carried = before.saturating_add(bytes);
        if before < BULK && self.carried >= BULK {
            self.connection.bulk.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if self.carried >= BULK {
            self.connection.bulk.fetch_sub(1, Ordering::Relaxed);
        }
        if self.connection.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *lock(&self.connection.idle_since) = Instant::now();
        }
    }
}

/// A tunnel that was not opened.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) code: &'static Code,
    pub(crate) detail: String,
    /// Whether another endpoint may do better: nothing was sent to an application.
    pub(crate) elsewhere: bool,
}

impl Failed {
    fn new(code: &'static Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), elsewhere: code == &codes::PEER_UNREACHABLE }
    }
}

/// What is asked of the other proxy.
pub(crate) struct Wanted<'a> {
    /// Who asks.
    pub(crate) credential: &'a Arc<Credential>,
    /// Who has to answer.
    pub(crate) identity: &'a SpiffeId,
    /// Where its proxy is.
    pub(crate) proxy: SocketAddr,
    /// How the caller connects to others.
    pub(crate) dialer: &'a Dialer,
    /// The application's address.
    pub(crate) target: SocketAddr,
    /// The client's address, for `forwarded`.
    pub(crate) client: SocketAddr,
    /// The service that was called, for `forwarded`.
    pub(crate) service: Option<&'a str>,
    /// Who asks, in the words of OpenTelemetry.
    pub(crate) baggage: &'a str,
}

impl Pool {
    /// Opens a tunnel. It is there once the other proxy reached its application.
    pub(crate) async fn open(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<Tunnel<UnbufferedClientConnection>, Failed> {
        let key = Key {
            from: wanted.credential.identity.clone(),
            to: wanted.identity.clone(),
            proxy: wanted.proxy,
            address: wanted.dialer.address(),
            namespace: wanted.dialer.namespace(),
        };
        let lane = Arc::clone(lock(&self.known).entry(key).or_default());
        // A connection may have ended in the moment that it was chosen, and others beside it at the same time: a proxy that
        // has another credential lets all of its callers come again.
        let mut made = 0;
        while made < DIALS {
            let (connection, is_new) = lane.connection(wanted, &self.windows).await?;
            made += usize::from(is_new);
            let opened = match connection {
                Found::Shared(connection) => connection.open(wanted).await.map(Tunnel::Shared),
                Found::Direct(spare) => spare.open(&lane, wanted).await.map(Tunnel::Direct),
            };
            match opened {
                Err(Lost::Connection) => {}
                Err(Lost::Failed(failed)) => return Err(failed),
                Ok(tunnel) => return Ok(tunnel),
            }
        }
        let detail = format!("{} ends its connections at once", wanted.proxy);
        Err(Failed::new(&codes::PEER_UNREACHABLE, detail))
    }

    /// Lets go of connections that nobody has used for long.
    pub(crate) fn let_go_of_unused(&self) {
        self.let_go(UNUSED);
    }

    pub(crate) fn let_go(&self, unused: Duration) {
        lock(&self.known).retain(|_, lane| {
            lane.direct.let_go(unused);
            let mut connections = lock(&lane.connections);
            connections.retain(|connection| {
                connection.is_open()
                    && (connection.streams.load(Ordering::Relaxed) > 0
                        || lock(&connection.idle_since).elapsed() < unused)
            });
            !connections.is_empty() || lane.direct.len() > 0 || Arc::strong_count(lane) > 1
        });
    }

    /// How many connections wait for a flow.
    #[cfg(test)]
    pub(crate) fn spares(&self) -> usize {
        lock(&self.known).values().map(|lane| lane.direct.spares()).sum()
    }

    /// How many connections there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let of = |lane: &Arc<Lane>| lock(&lane.connections).len() + lane.direct.len();
        lock(&self.known).values().map(of).sum()
    }
}

enum Lost {
    /// Nothing was asked on it.
    Connection,
    Failed(Failed),
}

/// A connection for one flow.
enum Found {
    Shared(Arc<Pooled>),
    Direct(direct::Spare),
}

impl Lane {
    /// A connection, and whether it was made for this.
    async fn connection(&self, wanted: &Wanted<'_>, windows: &Windows) -> Result<(Found, bool), Failed> {
        let epoch = wanted.credential.epoch;
        if let Some(spare) = self.direct.spare(epoch).await {
            return Ok((Found::Direct(spare), false));
        }
        let place = self.direct.place();
        let is_direct = || place.is_some() && self.direct.is_spoken();
        if is_direct() {
            return self.dial(wanted, place, windows).await.map(|found| (found, true));
        }
        if let Some(found) = self.choose(epoch) {
            return Ok((Found::Shared(found), false));
        }
        let began = Instant::now();
        let mut last = self.dialling.lock().await;
        if let Some(found) = self.choose(epoch) {
            return Ok((Found::Shared(found), false));
        }
        // What failed while this one waited would fail again: a silent peer holds nobody up twice.
        if let Some((at, failed)) = &*last
            && *at >= began
        {
            return Err(failed.clone());
        }
        // Who is known to speak it is dialled by several at a time.
        if is_direct() {
            drop(last);
            return self.dial(wanted, place, windows).await.map(|found| (found, true));
        }
        let made = self.dial(wanted, place, windows).await;
        *last = made.as_ref().err().map(|failed| (Instant::now(), failed.clone()));
        made.map(|found| (found, true))
    }

    /// A new connection, by the plainer framing where there is a place for it and the other end speaks it.
    async fn dial(
        &self,
        wanted: &Wanted<'_>,
        place: Option<direct::Place>,
        windows: &Windows,
    ) -> Result<Found, Failed> {
        let made = dial::dial(wanted, place.is_some(), windows).await?;
        self.direct.speaks(matches!(made, Made::Direct(..)) || place.is_none() && self.direct.is_spoken());
        match (made, place) {
            (Made::Direct(stream, proof), Some(place)) => {
                Ok(Found::Direct(direct::Spare::new(stream, proof, place)))
            }
            (Made::Direct(..), None) => {
                Err(Failed::new(&model::codes::usage::INTERNAL, "a protocol that was not offered"))
            }
            (Made::Shared(send, closed, proof), _) => Ok(Found::Shared(self.share(send, closed, proof))),
        }
    }

    fn share(&self, send: SendRequest<Bytes>, closed: Arc<AtomicBool>, proof: Proof) -> Arc<Pooled> {
        let made = Arc::new(Pooled {
            send,
            streams: AtomicUsize::new(0),
            bulk: AtomicUsize::new(0),
            proof,
            closed,
            idle_since: Mutex::new(Instant::now()),
        });
        lock(&self.connections).push(Arc::clone(&made));
        made
    }

    /// The least loaded connection without a bulk flow; with one where enough stand side by side. None: dial.
    fn choose(&self, epoch: u64) -> Option<Arc<Pooled>> {
        let mut connections = lock(&self.connections);
        connections.retain(|connection| connection.is_open());
        // Those of an old credential, or with one whose certificate has ended, carry on what they carry, and nothing new.
        let usable = || connections.iter().filter(|connection| connection.proof.is_good(epoch));
        let load = |connection: &&Arc<Pooled>| connection.streams.load(Ordering::Relaxed);
        // Above what the peer takes they would wait for one another.
        let room = |connection: &&Arc<Pooled>| {
            load(connection) < STREAMS.min(connection.send.current_max_send_streams())
        };
        let quiet = |connection: &&Arc<Pooled>| connection.bulk.load(Ordering::Relaxed) == 0;
        let best = usable().filter(room).filter(quiet).min_by_key(load);
        best.or_else(|| match usable().count() >= BESIDE {
            true => usable().filter(room).min_by_key(load),
            false => None,
        })
        .cloned()
    }
}

impl Pooled {
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    async fn open(self: Arc<Self>, wanted: &Wanted<'_>) -> Result<TunnelStream, Lost> {
        let used = Used::of(Arc::clone(&self));
        let mut send = self.send.clone().ready().await.map_err(|_| self.lost())?;
        let (response, stream) = send.send_request(request(wanted)?, false).map_err(|_| self.lost())?;
        let failed = |code, detail: String| Lost::Failed(Failed::new(code, detail));
        let response = match tokio::time::timeout(ANSWER, response).await {
            Ok(Ok(response)) => response,
            // The other end had said goodbye before it came to this: no application has heard of it.
            Ok(Err(error)) if is_goodbye(&error) => {
                return Err(self.lost());
            }
            Ok(Err(error)) => {
                let detail = format!("{} ended the request: {error}", wanted.proxy);
                return Err(failed(&codes::PEER_UNREACHABLE, detail));
            }
            Err(_) => {
                // What is open on it may go on; nothing new is asked of it.
                self.closed.store(true, Ordering::Relaxed);
                let detail = format!("{} did not answer within {ANSWER:?}", wanted.proxy);
                return Err(failed(&codes::PEER_UNREACHABLE, detail));
            }
        };
        match response.status() {
            StatusCode::OK => Ok(TunnelStream::new(stream, response.into_body(), Some(used))),
            status => Err(refused(wanted, status)),
        }
    }

    fn lost(&self) -> Lost {
        self.closed.store(true, Ordering::Relaxed);
        Lost::Connection
    }
}

/// The other end said no.
fn refused(wanted: &Wanted<'_>, status: StatusCode) -> Lost {
    let detail = format!("{} answered {status} to CONNECT {}", wanted.proxy, wanted.target);
    let mut failure = Failed::new(&codes::PEER_REFUSED, detail);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        (failure.code, failure.elsewhere) = (&codes::APPLICATION_UNREACHABLE, true);
    }
    Lost::Failed(failure)
}

/// Whether the other end said that it has not looked at a request (RFC 9113, sections 6.8 and 8.7).
fn is_goodbye(error: &h2::Error) -> bool {
    let said = (error.is_go_away(), error.reason());
    matches!(said, (true, Some(h2::Reason::NO_ERROR)) | (_, Some(h2::Reason::REFUSED_STREAM)))
}

fn request(wanted: &Wanted<'_>) -> Result<Request<()>, Lost> {
    let internal =
        |error: http::Error| Lost::Failed(Failed::new(&model::codes::usage::INTERNAL, error.to_string()));
    let uri = Uri::builder().authority(wanted.target.to_string()).build().map_err(internal)?;
    let mut request = Request::builder().method(Method::CONNECT).uri(uri).body(()).map_err(internal)?;
    *request.headers_mut() = dial::headers(wanted);
    Ok(request)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
