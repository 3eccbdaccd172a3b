//! Connections that are open to a workload: each is judged again when policies change, and closed where it is no
//! longer allowed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::identity::SpiffeId;
use model::mesh::policy::{Arrival, decide};
use model::mesh::{Workload, World};
use tokio::sync::oneshot;

/// What is asked of a connection again.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) identity: Option<Arc<SpiffeId>>,
    pub(super) source: SocketAddr,
    pub(super) target: SocketAddr,
}

impl Known {
    pub(super) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            identity: self.identity.as_deref(),
            source: self.source.ip().to_canonical(),
            address: self.target.ip().to_canonical(),
            port: self.target.port(),
        }
    }
}

/// Who is open, and where to say that it has to close, and why; that is said once.
type Table = HashMap<u64, (Known, Option<oneshot::Sender<String>>)>;

/// The open connections of a workload.
#[derive(Default)]
pub(super) struct Live {
    open: Mutex<Table>,
    next: AtomicU64,
}

/// One open connection. It is forgotten when this is dropped.
pub(super) struct Open {
    live: Arc<Live>,
    id: u64,
    closed: oneshot::Receiver<String>,
}

impl Live {
    pub(super) fn add(self: &Arc<Self>, known: Known) -> Open {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, closed) = oneshot::channel();
        self.lock().insert(id, (known, Some(sender)));
        Open { live: Arc::clone(self), id, closed }
    }

    /// Judges all again.
    pub(super) fn judge(&self, world: &World, workload: &Workload) {
        for (known, close) in self.lock().values_mut() {
            let decision = decide(world, workload, &known.arrival());
            if !decision.is_allowed()
                && let Some(close) = close.take()
            {
                // Who is closing already does not hear it.
                let _ = close.send(decision.reason.to_string());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Returns when the connection has to be closed, with the reason.
    pub(super) async fn closed(&mut self) -> String {
        match (&mut self.closed).await {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.live.lock().remove(&self.id);
    }
}
