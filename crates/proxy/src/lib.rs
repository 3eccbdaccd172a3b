//! The data plane: every byte of an application goes through here and nowhere else.
//!
//! [`run`] takes snapshots and a source of certificates, and gives a [`Handle`]. It knows no configuration
//! file and no cluster: a file, a control plane and a test all feed the same proxy.
//!
//! The way of a connection: [`listener`] accepts, [`connection`] is the table of contents ([`proxy_protocol`],
//! [`detect`], [`tls`]), [`authorize`] is the gate, then [`http`] or [`tcp`]; [`upstream`] is the other side.

pub mod access_log;
mod admin;
pub mod authorize;
pub mod balance;
pub mod connection;
mod control;
mod copy;
pub mod detect;
pub mod drain;
pub mod error;
mod expiry;
pub mod http;
mod listener;
mod material;
pub mod mesh;
pub mod metrics;
pub mod policy;
pub mod proxy_protocol;
pub mod refusal;
pub mod source;
pub mod state;
pub mod tcp;
pub mod tls;
pub mod transport;
pub mod tunnel;
pub mod upstream;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use model::snapshot::{Bind, Snapshot};
use tokio::sync::{mpsc, watch};

pub use control::Status;
use control::{Control, Order};
pub use error::Error;
use metrics::Metrics;
use source::Source;
use state::Surroundings;

/// What a proxy is started with.
pub struct Options {
    /// What to serve; each new snapshot is applied whole or refused.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where files come from.
    pub source: Arc<dyn Source>,
}

/// A running proxy. Dropping it drains as [`Handle::drain`] does, without waiting.
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    status: watch::Receiver<Status>,
    addresses: Vec<(String, Bind)>,
    admin: Option<SocketAddr>,
    metrics: Arc<Metrics>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a proxy: everything is loaded and every socket opened before the first connection is accepted.
///
/// # Errors
///
/// The first thing that is wrong: a file, a setting, an address. Nothing was started then.
pub fn run(options: Options) -> Result<Handle, Error> {
    raise_file_limit();
    let Options { mut snapshots, source } = options;
    let snapshot = Arc::clone(&snapshots.borrow_and_update());
    let metrics = Arc::new(Metrics::default());
    let logs = access_log::Logs::new(&snapshot.base, metrics.log_dropped.clone());
    let surroundings =
        Surroundings { metrics: Arc::clone(&metrics), logs, ticketers: Default::default(), source };
    let internal = |error: std::io::Error| {
        Error::new(&model::codes::usage::INTERNAL, format!("the control thread cannot be started: {error}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
    let control = Control::start(snapshot, surroundings)?;
    let (orders, receiver) = mpsc::unbounded_channel();
    let (status, addresses, admin) = (control.status(), control.addresses(), control.admin_address());
    let thread = std::thread::Builder::new()
        .name("control".into())
        .spawn(move || runtime.block_on(control.run(snapshots, receiver)))
        .map_err(internal)?;
    Ok(Handle { orders, status, addresses, admin, metrics, thread: Some(thread) })
}

/// Whether a chain and its key can be served, by the very rules of a start. Nothing is kept of them.
///
/// # Errors
///
/// When one of the two cannot be used, they do not belong together, or the certificate is outside of its dates.
pub fn try_certificate(
    base: &std::path::Path,
    files: &model::snapshot::CertificateFiles,
) -> Result<(), Error> {
    let provider = tls::provider::default_provider();
    tls::certificates::load(base, files, &source::Files::new(), &provider, authorize::now()).map(drop)
}

/// Takes all file descriptors that the system allows: each connection needs one or two, and the soft limit is
/// 1024 in many places, a leftover from the days of select(2).
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // It is no worse than before when that is refused.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

impl Handle {
    /// Where is listened, with the listener's name; ports that the system chose are filled in.
    pub fn addresses(&self) -> &[(String, Bind)] {
        &self.addresses
    }

    /// The admin port.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads all files again and opens log files again, as on SIGHUP.
    pub fn reload(&self) {
        // The control thread lives as long as this handle.
        let _ = self.orders.send(Order::Reload);
    }

    /// Counts a change that was refused before it became a snapshot: a configuration that cannot be read. What is
    /// in force stays so, and the metrics say that it is no longer what was written.
    pub fn refused(&self) {
        let _ = self.orders.send(Order::Refused);
    }

    /// How changes went.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The metrics, in the text format of the admin port.
    pub fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// Stops accepting, lets connections finish for `limit` (none: the snapshot's), then cuts them off. Returns
    /// when all is over.
    pub fn drain(mut self, limit: Option<Duration>) {
        let _ = self.orders.send(Order::Drain(limit));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(code = model::codes::usage::INTERNAL.id, "the control thread failed");
        }
    }
}
