//! One workload whose connections are carried: its listeners, and how they end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use model::codes::serving;
use model::identity::SpiffeId;
use model::mesh::ServiceName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::live::Live;
use super::record::{Direction, Record};
use super::slots::Slots;
use super::tide::Counted;
use super::{Attachment, Credential, Dialer, Ending, Probes, Shared, WayOut};
use super::{explicit, inbound, plain, pod};

/// Wait after a failure to accept that will not pass by itself at once.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Connections to one socket of a workload: one of another proxy carries many tunnels, but for [`DIRECT`] of them.
const CONNECTIONS: usize = 1024 + DIRECT;
/// Connections to a workload that carry one flow at a time. Who comes above that gets HTTP/2, so that a workload that very
/// many call runs out of no places.
const DIRECT: usize = 512;
/// Of them, those of one address to where tunnels arrive: a proxy of ours makes 64 for one flow each and eight that are
/// shared, and as many again when its credential is renewed. Nobody was asked yet whether he may call.
pub(super) const OF_ONE_ADDRESS: usize = 2 * (64 + 8);
/// Of these, those that are shared. Each may hold what its window lets in.
const SHARED_OF_ONE_ADDRESS: usize = 32;
/// Tunnels to one workload at one time; a quarter of them for one caller.
const TUNNELS: usize = 8192;
/// Changes that come together are one.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// A workload's own, for each of its connections.
pub(crate) struct Own {
    pub(crate) shared: Arc<Shared>,
    pub(crate) uid: String,
    /// How it reaches others, and its application.
    pub(crate) dialer: Dialer,
    /// Who may look after it in plain text.
    pub(super) probes: Probes,
    /// How many tunnels to it may be open.
    pub(super) tunnels: Arc<Slots<Arc<SpiffeId>>>,
    /// How many connections of one address may be shared.
    pub(super) sharing: Arc<Slots<IpAddr>>,
    /// How many connections may be for one flow at a time.
    pub(super) direct: Arc<Semaphore>,
    pub(crate) credential: watch::Receiver<Arc<Credential>>,
    pub(super) live: Arc<Live>,
    pub(crate) ending: Ending,
}

/// A workload that is carried. Dropping it cuts its connections off.
pub struct Attached {
    ending: Ending,
    uid: String,
    hbone: SocketAddr,
    ways_out: Vec<SocketAddr>,
    /// Where the kernel redirects to.
    redirected: Vec<SocketAddr>,
    /// See [`Own::direct`].
    pub(super) direct: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// What a socket of a workload is for.
#[derive(Clone)]
enum Serves {
    Tunnels,
    Proxy,
    Service(ServiceName, u16),
    Calls,
    Plain,
}

impl Serves {
    /// How many connections at one time, and how many of one address.
    fn limits(&self) -> (usize, usize) {
        match self {
            Self::Tunnels => (CONNECTIONS, OF_ONE_ADDRESS),
            Self::Proxy | Self::Service(..) => (CONNECTIONS, CONNECTIONS),
            // Each carries one of the application's only, which is nobody's but its own.
            Self::Calls => (TUNNELS, TUNNELS),
            Self::Plain => (TUNNELS, TUNNELS / 4),
        }
    }

    /// How many descriptors a connection may take: its own, and that of the other side.
    fn descriptors(&self) -> u32 {
        match self {
            // Each tunnel asks for its own.
            Self::Tunnels => 1,
            Self::Proxy | Self::Service(..) | Self::Calls | Self::Plain => 2,
        }
    }

    fn direction(&self) -> Direction {
        match self {
            Self::Tunnels | Self::Plain => Direction::Inbound,
            Self::Proxy | Self::Service(..) | Self::Calls => Direction::Outbound,
        }
    }

    async fn serve(self, own: Arc<Own>, socket: TcpStream, from: SocketAddr) {
        match self {
            // By far the largest: nobody else's task has to have room for it.
            Self::Tunnels => Box::pin(inbound::serve(own, socket, from)).await,
            Self::Proxy => explicit::serve(own, socket, from).await,
            Self::Service(service, port) => explicit::mapped(own, socket, from, service, port).await,
            Self::Calls => pod::call(own, socket, from).await,
            Self::Plain => plain::serve(own, socket, from).await,
        }
    }
}

impl Attached {
    pub(super) fn start(shared: Arc<Shared>, attachment: Attachment) -> io::Result<Self> {
        let Attachment { uid, credential, address, hbone, ways_out, pod } = attachment;
        let ending = Ending::default();
        let dialer = Dialer::new(address, pod.as_ref());
        dialer.check()?;
        let tunnels = listener(hbone)?;
        let hbone = tunnels.local_addr()?;
        let mut sockets = vec![(tunnels, Serves::Tunnels)];
        for way in ways_out {
            sockets.push(match way {
                WayOut::Proxy(socket) => (listener(socket)?, Serves::Proxy),
                WayOut::Mapped { socket, service, port } => {
                    (listener(socket)?, Serves::Service(service, port))
                }
            });
        }
        let mut probes = Probes::default();
        if let Some(pod) = pod {
            sockets.push((listener(pod.outbound)?, Serves::Calls));
            sockets.push((listener(pod.inbound)?, Serves::Plain));
            probes = pod.probes;
        }
        // Every socket is good: only now anything is started.
        let (mut ways_out, mut redirected) = (Vec::new(), Vec::new());
        for (socket, serves) in &sockets {
            let address = socket.local_addr()?;
            match serves {
                Serves::Tunnels => {}
                Serves::Proxy | Serves::Service(..) => ways_out.push(address),
                Serves::Calls | Serves::Plain => redirected.push(address),
            }
        }
        let direct = Arc::new(Semaphore::new(DIRECT));
        let attached = Self { ending, uid: uid.clone(), hbone, ways_out, redirected, direct, shared };
        attached.remember();
        let own = Arc::new(Own {
            shared: Arc::clone(&attached.shared),
            uid,
            dialer,
            probes,
            tunnels: Slots::new(TUNNELS, TUNNELS / 4),
            sharing: Slots::new(CONNECTIONS, SHARED_OF_ONE_ADDRESS),
            direct: Arc::clone(&attached.direct),
            credential,
            live: Arc::default(),
            ending: attached.ending.clone(),
        });
        for (socket, serves) in sockets {
            own.ending.tasks.spawn(accept(Arc::clone(&own), socket, serves));
        }
        own.ending.tasks.clone().spawn(judge(own));
        Ok(attached)
    }

    /// The sockets are never a destination. One at all addresses is one at each of the workload's.
    fn remember(&self) {
        let mut sockets = self.shared.sockets();
        for address in self.sockets() {
            match address.ip().is_unspecified() {
                true => sockets.of_workload.insert((self.uid.clone(), address.port())),
                false => sockets.exact.insert(address),
            };
        }
    }

    fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.ways_out.iter().chain(&self.redirected).chain([&self.hbone]).copied()
    }

    /// Where tunnels arrive.
    pub fn hbone(&self) -> SocketAddr {
        self.hbone
    }

    /// Where the application calls out, in the order of its ways out.
    pub fn ways_out(&self) -> &[SocketAddr] {
        &self.ways_out
    }

    /// Takes nothing new, lets connections finish for `limit`, and cuts off what is left then.
    pub async fn drain(self, limit: Duration) {
        self.ending.drain.cancel();
        self.ending.tasks.close();
        if tokio::time::timeout(limit, self.ending.tasks.wait()).await.is_err() {
            self.ending.cut.cancel();
            self.ending.tasks.wait().await;
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut sockets = self.shared.sockets();
        for address in self.sockets() {
            sockets.exact.remove(&address);
            sockets.of_workload.remove(&(self.uid.clone(), address.port()));
        }
        drop(sockets);
        self.ending.drain.cancel();
        self.ending.cut.cancel();
        self.ending.tasks.close();
    }
}

fn listener(socket: StdListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// A slot and descriptors are taken before a connection is accepted, so that what is above the limit waits in the kernel's
/// queue; who has as many as one may have is turned away, for he must not wait in others' place.
async fn accept(own: Arc<Own>, socket: TcpListener, serves: Serves) {
    let (all, of_one) = serves.limits();
    let slots = Arc::new(Semaphore::new(all));
    let callers = Slots::new(all, of_one);
    let descriptors = &own.shared.descriptors;
    let short = |why: String| {
        let unknown = (Ipv4Addr::UNSPECIFIED, 0).into();
        let record = Record::new(serves.direction(), &own.uid, unknown);
        own.shared.observe(&record.refused(&serving::FILES_EXHAUSTED, format!("{why}; further ones wait")));
    };
    let mut exhausted = false;
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let held = descriptors.wait(serves.descriptors(), short).await;
            (slot, held, socket.accept().await)
        };
        let (slot, held, accepted) = tokio::select! {
            () = own.ending.drain.cancelled() => return,
            next = next => next,
        };
        // The semaphores are never closed.
        let (Ok(slot), Some(held)) = (slot, held) else { return };
        match accepted {
            Ok((stream, from)) => {
                exhausted = false;
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                match callers.take(&from.ip()) {
                    Ok(of_caller) => {
                        // Small messages of request and answer wait for nothing.
                        let _ = stream.set_nodelay(true);
                        let kept = (slot, held, of_caller, Counted::new(Arc::clone(&own.shared)));
                        let (own, serves) = (Arc::clone(&own), serves.clone());
                        own.ending.tasks.clone().spawn(async move {
                            serves.serve(own, stream, from).await;
                            drop(kept);
                        });
                    }
                    Err(why) => tracing::debug!(%from, "turned away: {why}"),
                }
            }
            // The peer went before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Said when it begins: no descriptor is left in spite of the reserve, and each try would say so.
                if !std::mem::replace(&mut exhausted, true) {
                    short(error.to_string());
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Judges open connections again whenever what they were allowed by may have changed.
async fn judge(own: Arc<Own>) {
    let mut world = own.shared.world.clone();
    let mut before = None;
    loop {
        let now = Arc::clone(&world.borrow_and_update());
        if let Some(workload) = now.workload(&own.uid) {
            let mut policies: Vec<_> = now
                .policies_of(&workload.namespace)
                .cloned()
                .chain(workload.policies.iter().filter_map(|key| now.policy(key).cloned()))
                .collect();
            policies.sort_by_cached_key(|policy| policy.key());
            // One that came and is not understood denies (invariant 5).
            let unknown = now.unknown_policy_of(&workload.namespace).map(str::to_owned);
            let state = (Arc::clone(workload), policies, unknown);
            if before.as_ref() != Some(&state) {
                own.live.judge(&now, workload);
                before = Some(state);
            }
        }
        tokio::select! {
            () = own.ending.drain.cancelled() => return,
            changed = world.changed() => {
                if changed.is_err() {
                    // Nobody tells of changes any more: what is in force stays so.
                    own.ending.drain.cancelled().await;
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
        }
    }
}
