//! The control plane's side: one port for discovery and certificates, over TLS.
//!
//! Whoever can reach the port can open connections, so everything that a connection may hold is bounded before anybody is
//! believed: [`Limits`]. Frames are read by hyper and h2, gRPC by tonic; nothing else of tonic's is used.

mod caller;
mod certificates;
mod connection;
mod discovery;
mod dispatch;
mod framed;
mod listen;
pub(crate) mod proxies;
pub(crate) mod session;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Type};

pub use caller::{Authenticator, Caller};
pub use certificates::{Authority, CertificateRequest};
pub use listen::serve;
pub use proxies::{Behind, Progress, Proxies, Proxy, Status};

/// What callers may hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at one time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections from one address at one time; further ones are closed.
    pub connections_of_one_address: usize,
    /// Requests and streams of one connection at one time.
    pub streams: u32,
    /// Proxies that listen from one address at one time: a pod's, a node's, and each once more while it comes again. Each
    /// may hold a whole first answer that it does not read. Who is on the same machine may be any number.
    pub proxies_of_one_address: usize,
    /// How long a proxy may leave an answer unanswered before it has to come again.
    pub patience: Duration,
    /// The longest message of a caller, bytes.
    pub message: usize,
    /// Names that a proxy may ask for, where it does not ask for all.
    pub names: usize,
    /// Proxies that are sent everything at the same time; others wait for their turn.
    pub beginnings: usize,
    /// How long TLS may take, and finding out who calls.
    pub handshake: Duration,
    /// How long a connection may be open without a request under way.
    pub idle: Duration,
    /// How often it is asked whether the other end is still there.
    pub keep_alive: Duration,
    /// How long the answer to that may take.
    pub keep_alive_timeout: Duration,
    /// How long connections may go on when the server is to end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_of_one_address: 256,
            streams: 100,
            proxies_of_one_address: 4,
            patience: Duration::from_secs(60),
            message: 32 << 20,
            names: 10_000,
            beginnings: 32,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
            drain: Duration::from_secs(5),
        }
    }
}

/// A place where the server listens.
#[derive(Debug)]
pub enum Listener {
    /// Over TLS; each connection gets the settings of its time.
    Tls(TcpListener, watch::Receiver<Arc<ServerConfig>>),
    /// Without TLS: for who is on the same machine.
    Plain(TcpListener),
}

/// What is told how long a change took from being known here to being in force at a proxy.
pub type Applied = Arc<dyn Fn(Type, Duration) + Send + Sync>;

/// What a server says, and to whom.
#[derive(Clone)]
pub struct Options {
    /// What there is to be known.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// Who may know it.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who signs; none where there is no authority here.
    pub authority: Option<Arc<dyn Authority>>,
    /// Where it is written down who is connected.
    pub proxies: Proxies,
    /// What callers may hold.
    pub limits: Limits,
    /// Who measures.
    pub applied: Option<Applied>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What all connections share.
struct Shared {
    options: Options,
    beginnings: Arc<Semaphore>,
    /// Proxies that listen, by address.
    listening: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// The server is to end.
    ending: CancellationToken,
}
