//! Accepting connections, and ending.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Listener, Options, Shared, connection};

/// How long accepting waits after an error: most likely no file descriptor is left.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves discovery and certificates at these places until `ending`, and gives connections the time to end as well.
pub async fn serve(listeners: Vec<Listener>, options: Options, ending: CancellationToken) {
    let limits = options.limits.clone();
    let shared = Arc::new(Shared {
        beginnings: Arc::new(Semaphore::new(limits.beginnings)),
        options,
        listening: Arc::default(),
        ending: ending.clone(),
    });
    let places = Places {
        free: Arc::new(Semaphore::new(limits.connections)),
        taken: Arc::default(),
        of_one: limits.connections_of_one_address,
    };
    let connections = TaskTracker::new();
    let accepting = listeners.into_iter().map(|listener| {
        let (shared, places, connections) = (Arc::clone(&shared), places.clone(), connections.clone());
        async move {
            let (tcp, tls) = match listener {
                Listener::Tls(tcp, tls) => (tcp, Some(tls)),
                Listener::Plain(tcp) => (tcp, None),
            };
            loop {
                let accepted = tokio::select! {
                    accepted = accept(&tcp, &places) => accepted,
                    () = shared.ending.cancelled() => return,
                };
                let Some((stream, address, place)) = accepted else { continue };
                let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    connection::run(stream, address, acceptor, shared).await;
                    drop(place);
                });
            }
        }
    });
    futures_util::future::join_all(accepting).await;
    ending.cancelled().await;
    connections.close();
    // Who does not end by then is ended with the runtime, or goes on unheard.
    let _ = tokio::time::timeout(limits.drain, connections.wait()).await;
}

/// A place is taken before a connection is: who finds none waits in the kernel's queue.
async fn accept(tcp: &TcpListener, places: &Places) -> Option<(TcpStream, SocketAddr, Place)> {
    let free = Arc::clone(&places.free).acquire_owned().await.ok()?;
    match tcp.accept().await {
        Ok((stream, address)) => {
            let place = places.take(free, address.ip().to_canonical());
            if place.is_none() {
                tracing::debug!(%address, "closed: too many connections from this address");
            }
            // Small messages are not held back for larger ones.
            let _ = stream.set_nodelay(true);
            Some((stream, address, place?))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be accepted");
            tokio::time::sleep(AFTER_ERROR).await;
            None
        }
    }
}

/// One of several of an address; dropping it gives it back.
#[derive(Debug)]
pub(super) struct OfAddress {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    of: IpAddr,
}

impl OfAddress {
    /// None where there are as many already.
    pub(super) fn take(taken: &Arc<Mutex<HashMap<IpAddr, usize>>>, of: IpAddr, most: usize) -> Option<Self> {
        let mut all = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(of).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { taken: Arc::clone(taken), of })
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    of_one: usize,
}

impl Places {
    fn take(&self, free: OwnedSemaphorePermit, of: IpAddr) -> Option<Place> {
        let own = OfAddress::take(&self.taken, of, self.of_one)?;
        Some(Place { _free: free, _own: own })
    }
}

/// A connection's place.
struct Place {
    _free: OwnedSemaphorePermit,
    _own: OfAddress,
}
