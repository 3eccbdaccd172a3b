//! One workload whose connections are carried: its listeners, and how they end.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use model::mesh::Workload;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::live::Live;
use super::{Attachment, Credential, Ending, Shared, WayOut, explicit, inbound};

/// Wait after a failure to accept that will not pass by itself at once.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Connections to one socket of a workload: one of another proxy carries many tunnels.
const CONNECTIONS: usize = 1024;
/// Tunnels to one workload at one time.
pub(super) const TUNNELS: usize = 8192;
/// Changes that come together are one.
const GATHER: Duration = Duration::from_millis(50);

/// A workload's own, for each of its connections.
pub(crate) struct Own {
    pub(crate) shared: Arc<Shared>,
    pub(crate) uid: String,
    pub(crate) address: Option<IpAddr>,
    /// How many tunnels to it may be open.
    pub(super) tunnels: Arc<Semaphore>,
    pub(crate) credential: watch::Receiver<Arc<Credential>>,
    pub(super) live: Arc<Live>,
    pub(crate) ending: Ending,
}

/// A workload that is carried. Dropping it cuts its connections off.
pub struct Attached {
    ending: Ending,
    hbone: SocketAddr,
    ways_out: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

impl Attached {
    pub(super) fn start(shared: Arc<Shared>, attachment: Attachment) -> io::Result<Self> {
        let Attachment { uid, credential, address, hbone, ways_out } = attachment;
        let ending = Ending::default();
        let own = Arc::new(Own {
            shared,
            uid,
            address,
            tunnels: Arc::new(Semaphore::new(TUNNELS)),
            credential,
            live: Arc::default(),
            ending: ending.clone(),
        });
        let hbone = listener(hbone)?;
        let arrives = hbone.local_addr()?;
        let mut outs = Vec::new();
        for way in ways_out {
            match way {
                WayOut::Proxy(socket) => outs.push((listener(socket)?, None)),
                WayOut::Mapped { socket, service, port } => {
                    outs.push((listener(socket)?, Some((service, port))));
                }
            }
        }
        // Every socket is good: only now anything is started.
        let addresses = outs.iter().map(|(socket, _)| socket.local_addr()).collect::<io::Result<Vec<_>>>()?;
        own.shared.sockets().extend(addresses.iter().chain([&arrives]));
        let carried = Arc::clone(&own);
        ending.tasks.spawn(accept(hbone, ending.clone(), move |socket, from, slot| {
            let own = Arc::clone(&carried);
            own.ending.tasks.clone().spawn(async move {
                inbound::serve(own, socket, from).await;
                drop(slot);
            });
        }));
        for (socket, mapped) in outs {
            let carried = Arc::clone(&own);
            ending.tasks.spawn(accept(socket, ending.clone(), move |socket, from, slot| {
                let own = Arc::clone(&carried);
                let mapped = mapped.clone();
                own.ending.tasks.clone().spawn(async move {
                    match mapped {
                        None => explicit::serve(own, socket, from).await,
                        Some((service, port)) => explicit::mapped(own, socket, from, service, port).await,
                    }
                    drop(slot);
                });
            }));
        }
        let shared = Arc::clone(&own.shared);
        ending.tasks.spawn(judge(own));
        Ok(Self { ending, hbone: arrives, ways_out: addresses, shared })
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
        for socket in self.ways_out.iter().chain([&self.hbone]) {
            self.shared.sockets().remove(socket);
        }
        self.ending.drain.cancel();
        self.ending.cut.cancel();
        self.ending.tasks.close();
    }
}

fn listener(socket: StdListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// A slot is taken before a connection is accepted, so that what is above the limit waits in the kernel's queue.
async fn accept(
    socket: TcpListener,
    ending: Ending,
    take: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut exhausted = false;
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, socket.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = ending.drain.cancelled() => return,
            next = next => next,
        };
        // The semaphore is never closed.
        let Ok(slot) = slot else { return };
        match accepted {
            Ok((stream, from)) => {
                exhausted = false;
                // Small messages of request and answer wait for nothing.
                let _ = stream.set_nodelay(true);
                take(stream, SocketAddr::new(from.ip().to_canonical(), from.port()), slot);
            }
            // The peer went before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // One line when it begins: no descriptor is left, and each try would say so.
                if !std::mem::replace(&mut exhausted, true) {
                    let code = &model::codes::serving::FILES_EXHAUSTED;
                    tracing::error!(code = code.id, detail = %error, "cannot accept: {}", code.title);
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Judges open connections again whenever what they were allowed by may have changed.
async fn judge(own: Arc<Own>) {
    let mut world = own.shared.world.clone();
    let mut before: Option<(Arc<Workload>, Vec<Arc<model::mesh::Policy>>)> = None;
    loop {
        let now = Arc::clone(&world.borrow_and_update());
        if let Some(workload) = now.workload(&own.uid) {
            let mut policies: Vec<_> = now
                .policies_of(&workload.namespace)
                .cloned()
                .chain(workload.policies.iter().filter_map(|key| now.policy(key).cloned()))
                .collect();
            policies.sort_by_cached_key(|policy| policy.key());
            let state = (Arc::clone(workload), policies);
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
