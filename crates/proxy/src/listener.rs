//! Listening: sockets are opened once, each worker accepts from a handle of its own. A slot is taken before a
//! connection is accepted, so that what is above the limit waits in the kernel's queue.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::codes::{refusals, serving};
use model::snapshot::Bind;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::connection::{self, Accepted, Address, Held};
use crate::error::Error;
use crate::state::ListenerState;
use crate::transport::Transport;

/// Connections that wait in the kernel.
const BACKLOG: i32 = 4096;
/// Wait after a failure to accept that will not pass by itself at once.
const BACK_OFF: Duration = Duration::from_millis(100);

/// An open listening socket, and whose it is now.
pub(crate) struct Bound {
    /// As it was written.
    pub(crate) bind: Bind,
    /// Where it really listens: a port 0 was chosen by the system.
    pub(crate) local: Bind,
    pub(crate) state: ArcSwap<ListenerState>,
    socket: StdListener,
    closed: watch::Sender<bool>,
    exhausted: AtomicBool,
}

enum StdListener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl Bound {
    /// Opens the socket. Nothing is accepted yet.
    pub(crate) fn open(bind: &Bind, state: Arc<ListenerState>) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            let (code, detail) = match error.kind() {
                io::ErrorKind::AddrInUse => (&serving::ADDRESS_IN_USE, "it is in use".to_owned()),
                _ => (&serving::LISTEN_FAILED, error.to_string()),
            };
            let error =
                Error::new(code, format!("cannot listen on {bind}: {detail}")).with("listener", &state.name);
            match bind {
                Bind::Socket(address) if code == &serving::ADDRESS_IN_USE => {
                    error.fix(format!("find who has it: ss -ltnp 'sport = :{}'", address.port()))
                }
                _ => error,
            }
        };
        let (socket, local) = match bind {
            Bind::Socket(address) => {
                let socket = tcp(*address).map_err(failed)?;
                let local = socket.local_addr().map_err(failed)?;
                (StdListener::Tcp(socket), Bind::Socket(local))
            }
            Bind::Unix(path) => (StdListener::Unix(unix(path).map_err(failed)?, path.clone()), bind.clone()),
        };
        Ok(Self {
            bind: bind.clone(),
            local,
            state: ArcSwap::new(state),
            socket,
            closed: watch::Sender::new(false),
            exhausted: AtomicBool::new(false),
        })
    }

    /// No more connections are accepted.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    fn handle(&self) -> io::Result<Listener> {
        Ok(match &self.socket {
            StdListener::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket.try_clone()?)?),
            StdListener::Unix(socket, _) => Listener::Unix(UnixListener::from_std(socket.try_clone()?)?),
        })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let StdListener::Unix(_, path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn tcp(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that `[::]:443` and `0.0.0.0:443` may stand side by side, as in nginx.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let stale = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if stale {
        match UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            // Left over by a process that was killed.
            Err(_) => std::fs::remove_file(path)?,
        }
    }
    let socket = UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Transport, Address, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // Answers are written whole: there is nothing to gather for.
                let _ = socket.set_nodelay(true);
                let local = socket.local_addr()?;
                Ok((socket.into(), Address::Ip(peer), Address::Ip(local)))
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((socket.into(), Address::Unix, Address::Unix))
            }
        }
    }
}

/// Accepts on one worker until the socket is closed.
pub(crate) async fn run(bound: Arc<Bound>, worker: usize, tasks: TaskTracker) {
    let listener = match bound.handle() {
        Ok(listener) => listener,
        Err(error) => {
            let code = &serving::LISTEN_FAILED;
            tracing::error!(
                code = code.id,
                worker,
                "worker {worker} cannot listen on {}: {error}",
                bound.bind
            );
            return;
        }
    };
    let mut closed = bound.closed.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            () = one(&bound, &listener, worker, &tasks) => {}
        }
        // Connections that came at the same time are for the other workers too.
        tokio::task::yield_now().await;
    }
}

/// Takes a slot, then accepts one connection.
async fn one(bound: &Bound, listener: &Listener, worker: usize, tasks: &TaskTracker) {
    let state = bound.state.load_full();
    let slot = match Arc::clone(&state.slots).try_acquire_owned() {
        Ok(slot) => slot,
        Err(_) => {
            let code = &refusals::TOO_MANY_CONNECTIONS;
            tracing::warn!(code = code.id, listener = &*state.name, "{}: further ones wait", code.title);
            match Arc::clone(&state.slots).acquire_owned().await {
                Ok(slot) => slot,
                // The semaphore is never closed.
                Err(_) => return,
            }
        }
    };
    drop(state);
    match listener.accept().await {
        Ok((transport, peer_addr, local_addr)) => {
            bound.exhausted.store(false, Ordering::Relaxed);
            // As it is now, not as it was when the wait began.
            let listener = bound.state.load_full();
            let held = Held::new(slot, tasks.token(), &listener.metrics);
            tokio::spawn(connection::serve(Accepted {
                transport,
                peer_addr,
                local_addr,
                listener,
                worker,
                held,
            }));
        }
        Err(error) => back_off(bound, &error).await,
    }
}

/// A failure to accept: a client that is gone already, or no more file descriptors.
async fn back_off(bound: &Bound, error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return;
    }
    let state = bound.state.load();
    state.metrics.accept_errors.inc();
    // Once for each time that it begins, not for each try.
    if !bound.exhausted.swap(true, Ordering::Relaxed) {
        let code = &serving::FILES_EXHAUSTED;
        tracing::error!(code = code.id, listener = &*state.name, detail = %error, "cannot accept: {}", code.title);
    }
    drop(state);
    tokio::time::sleep(BACK_OFF).await;
}
