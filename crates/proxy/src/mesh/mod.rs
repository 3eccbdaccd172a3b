//! The data plane of the mesh: workloads whose connections are carried by mutual TLS between proxies, without the
//! applications knowing.
//!
//! A [`Mesh`] carries any number of workloads: one beside a pod, all of a node, all of a machine. It is told of the
//! world by a watch, and of each workload by [`Mesh::attach`]: its credential and its sockets. The way of a call is
//! [`explicit`] or the redirection of a [`Pod`], [`outbound`], the tunnel, [`inbound`], the application.

mod attached;
mod credential;
mod descriptors;
mod dialer;
mod explicit;
mod inbound;
mod live;
mod metrics;
mod outbound;
mod plain;
mod pod;
mod record;
mod seen;
mod slots;
mod socks;
mod spoken;
mod tide;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::mesh::{Owner, ServiceName, World};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tunnel::Patience;
use crate::tunnel::client::Pool;

pub use attached::Attached;
pub use credential::Credential;
pub(crate) use dialer::Dialer;
pub use metrics::Metrics;
pub use pod::{Pod, Probes};
pub use record::{Direction, Record, Secured};
pub use seen::Plain;

/// Records that wait for one who taps.
const TAPPED: usize = 1024;

/// What a mesh is started with.
pub struct Options {
    /// Who is there, and who may call whom. What was last seen stays in force while nothing comes (invariant 10).
    pub world: watch::Receiver<Arc<World>>,
    /// Told of each connection at its end, and of each refusal.
    pub observer: Arc<dyn Fn(&Record) + Send + Sync>,
}

/// The data plane of the mesh. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
}

/// What all workloads of a mesh share.
pub(crate) struct Shared {
    pub(crate) world: watch::Receiver<Arc<World>>,
    pub(crate) pool: Pool,
    /// Where this proxy itself listens, for all of its workloads: never a destination. Whoever could call a workload's
    /// explicit proxy through its tunnel would call out as that workload.
    sockets: Mutex<Sockets>,
    tap: broadcast::Sender<Arc<Record>>,
    observer: Arc<dyn Fn(&Record) + Send + Sync>,
    seen: seen::Seen,
    spoken: spoken::Spoken,
    /// What connections may take of the process's descriptors.
    descriptors: descriptors::Descriptors,
    /// What is waited for of callers.
    patience: Patience,
    /// How many connections there are, and how many there were.
    tide: tide::Tide,
}

/// Sockets of this proxy.
#[derive(Default)]
pub(crate) struct Sockets {
    /// At one address.
    pub(crate) exact: HashSet<SocketAddr>,
    /// At all addresses of a workload, by its uid.
    pub(crate) of_workload: HashSet<(String, u16)>,
}

/// A workload whose connections are to be carried.
pub struct Attachment {
    /// Its uid in the world.
    pub uid: String,
    /// Its certificate, key and trust; a renewed one takes effect at once for what is new.
    pub credential: watch::Receiver<Arc<Credential>>,
    /// The address that its calls come from, by which policies may know it; none leaves it to the system.
    pub address: Option<IpAddr>,
    /// Where tunnels of other proxies arrive.
    pub hbone: TcpListener,
    /// Where its application calls out.
    pub ways_out: Vec<WayOut>,
    /// Where the kernel redirects its connections to, if it has a network of its own.
    pub pod: Option<Pod>,
}

/// A socket that an application calls out through, without redirection.
pub enum WayOut {
    /// An explicit proxy: SOCKS5 (RFC 1928) and HTTP, with CONNECT or the whole address, on one port.
    Proxy(TcpListener),
    /// Stands for one port of one service.
    Mapped {
        /// Where it is called.
        socket: TcpListener,
        /// The service.
        service: ServiceName,
        /// The service's port.
        port: u16,
    },
}

impl Mesh {
    /// Starts it within the current runtime; it carries nobody yet.
    pub fn start(options: Options) -> Self {
        Self::with_patience(options, Patience::default())
    }

    fn with_patience(options: Options, patience: Patience) -> Self {
        crate::raise_file_limit();
        let shared = Arc::new(Shared {
            world: options.world,
            pool: Pool::default(),
            sockets: Mutex::default(),
            tap: broadcast::Sender::new(TAPPED),
            observer: options.observer,
            seen: seen::Seen::default(),
            spoken: spoken::Spoken::default(),
            descriptors: descriptors::Descriptors::of_process(),
            patience,
            tide: tide::Tide::default(),
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            // The pool lives as long as somebody uses the mesh.
            while let Some(shared) = weak.upgrade() {
                shared.pool.let_go_of_unused();
                shared.tide.turn();
                drop(shared);
                tokio::time::sleep(crate::tunnel::client::SWEEP).await;
            }
        });
        tokio::spawn(tide::after_changes(shared.world.clone()));
        Self { shared }
    }

    /// Hears of each connection at its end, and of each refusal, from now on. Who is slow misses some, and is told so.
    pub fn tap(&self) -> broadcast::Receiver<Arc<Record>> {
        self.shared.tap.subscribe()
    }

    /// Who called and was called in plain text so far, the latest first; and how many of them were forgotten.
    pub fn plain_seen(&self) -> (Vec<Plain>, u64) {
        self.shared.seen.all()
    }

    /// Begins to carry a workload's connections.
    ///
    /// # Errors
    ///
    /// When a socket cannot be used, or the right to mark one or to keep a client's address is missing.
    pub fn attach(&self, attachment: Attachment) -> std::io::Result<Attached> {
        Attached::start(Arc::clone(&self.shared), attachment)
    }
}

impl AsRef<tide::Tide> for Shared {
    fn as_ref(&self) -> &tide::Tide {
        &self.tide
    }
}

impl Shared {
    /// The world as it is now.
    pub(crate) fn now(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// Whether this proxy itself listens there.
    pub(crate) fn is_own(&self, address: SocketAddr) -> bool {
        let sockets = self.sockets();
        if sockets.exact.contains(&address) {
            return true;
        }
        match self.world.borrow().at(address.ip()) {
            Some(Owner::Workload(workload)) => {
                sockets.of_workload.contains(&(workload.uid.clone(), address.port()))
            }
            _ => false,
        }
    }

    pub(crate) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn observe(&self, record: &Record) {
        (self.observer)(record);
        self.seen.note(record, std::time::SystemTime::now());
        if self.tap.receiver_count() > 0 {
            // Nobody left in between is no failure.
            let _ = self.tap.send(Arc::new(record.clone()));
        }
    }
}

/// How a workload's tasks end: new connections first, then those that are left.
#[derive(Clone, Default)]
pub(crate) struct Ending {
    /// Nothing new is taken.
    pub(crate) drain: CancellationToken,
    /// What is left is cut off.
    pub(crate) cut: CancellationToken,
    /// Everything that has to end.
    pub(crate) tasks: TaskTracker,
}
