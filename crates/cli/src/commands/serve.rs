//! `handfast serve`: assembles configuration, files and the proxy, and stays until a signal ends it.

mod quick;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::codes::serving;
use model::snapshot::{Bind, Listener, Snapshot};
use model::units::Span;
use proxy::source::{Files, Source as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::Globals;
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::logging::{self, LogForm};

/// Arguments of `handfast serve`.
#[derive(clap::Args)]
pub struct Args {
    /// handfast.yaml or an nginx.conf. Default: handfast.yaml in this folder, unless --listen is given.
    #[arg(value_name = "FILE", env = "HANDFAST_CONFIG")]
    file: Option<PathBuf>,
    /// Load and check everything, open nothing, and say whether it would start.
    #[arg(long, visible_alias = "dry-run", env = "HANDFAST_CHECK")]
    check: bool,
    /// How long connections may take to finish at the end (over the file's `drain`).
    #[arg(long, value_name = "SPAN", env = "HANDFAST_DRAIN_TIMEOUT")]
    drain_timeout: Option<Span>,
    /// Admin port for /metrics, /livez and /readyz, on loopback (over the file's `admin`).
    #[arg(long, value_name = "ADDR", env = "HANDFAST_ADMIN")]
    admin: Option<SocketAddr>,
    /// Form of the log on stderr. Default: text on a terminal, else JSON.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
    #[command(flatten)]
    quick: quick::Quick,
}

/// Runs `handfast serve`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    let origin = Origin::of(&args)?;
    let (snapshot, files) = origin.load(args.admin)?;
    if args.check {
        return check(snapshot);
    }
    serve(snapshot, &origin, files, args.admin, args.drain_timeout)
}

/// Makes a snapshot, and names the files on whose presence it depends.
pub type Make = Box<dyn Fn() -> Result<(Snapshot, Vec<PathBuf>), Failure>>;

/// Serves a snapshot that comes from no file. Its own files (certificates, lists) are watched all the same; it is made
/// anew when one of those changes that it depends on.
///
/// # Errors
///
/// The first thing that is wrong; nothing was started then.
pub fn serve_made(make: Make, drain_timeout: Option<Span>) -> Outcome {
    let (snapshot, files) = make()?;
    let admin = snapshot.admin;
    serve(snapshot, &Origin::Made(make), files, admin, drain_timeout)
}

fn serve(
    snapshot: Snapshot,
    origin: &Origin,
    files: Vec<PathBuf>,
    admin: Option<SocketAddr>,
    drain_timeout: Option<Span>,
) -> Outcome {
    let running = start(snapshot)?;
    for line in running.listening() {
        tracing::info!("{line}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    runtime.block_on(stay(running, origin, files, admin, drain_timeout))
}

/// Loads everything that a start loads, on sockets of its own that are closed at once.
fn check(mut snapshot: Snapshot) -> Outcome {
    snapshot.admin = snapshot.admin.map(|address| SocketAddr::new(address.ip(), 0));
    for listener in &mut snapshot.listeners {
        for bind in &mut listener.bind {
            // The addresses may be in use by the very server that the new configuration is for.
            *bind = Bind::Socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        }
    }
    start(snapshot)?.stop(Some(Duration::ZERO));
    eprintln!("the configuration is good");
    Ok(EXIT_OK)
}

/// A proxy that runs inside of this process.
pub struct Running {
    handle: proxy::Handle,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// Starts to serve a snapshot. Returns when everything is loaded and every socket is open.
///
/// # Errors
///
/// The first thing that is wrong; nothing was started then.
pub fn start(snapshot: Snapshot) -> Result<Running, Failure> {
    let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
    let options = proxy::Options { snapshots: receiver, source: Arc::new(Files::new()) };
    let handle = proxy::run(options)?;
    Ok(Running { handle, snapshots })
}

impl Running {
    /// Where is listened, by listener; ports that the system chose are filled in.
    pub fn addresses(&self) -> &[(String, Bind)] {
        self.handle.addresses()
    }

    /// Applies another snapshot, if it is good; see [`proxy::Handle::status`].
    pub fn apply(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    /// Stops accepting, lets connections finish, and ends.
    pub fn stop(self, limit: Option<Duration>) {
        self.handle.drain(limit);
    }

    /// One line for each address.
    fn listening(&self) -> Vec<String> {
        let snapshot = self.snapshots.borrow();
        let describe = |name: &str| {
            snapshot.listeners.iter().find(|listener| listener.name == name).map(kind).unwrap_or_default()
        };
        let mut lines: Vec<String> = self
            .addresses()
            .iter()
            .map(|(name, bind)| format!("listening on {bind} ({name}: {})", describe(name)))
            .collect();
        lines.extend(self.handle.admin().map(|address| format!("admin port on http://{address}/metrics")));
        lines
    }
}

/// What a listener speaks, in words.
fn kind(listener: &Listener) -> String {
    use model::policy::ClientMode;
    let policies = || {
        let outer = listener.tls.iter().filter_map(|tls| tls.clients.as_ref());
        let inner = listener.hosts.iter().filter_map(|host| host.tls.as_ref()?.clients.as_ref());
        outer.chain(inner)
    };
    let mutual = match () {
        () if policies().any(|policy| policy.mode == ClientMode::Required) => {
            ", client certificates required"
        }
        () if policies().any(|policy| policy.mode != ClientMode::Off) => ", client certificates optional",
        () => "",
    };
    let protocol = match (listener.tls.is_some(), &listener.tcp) {
        (true, None) => "https",
        (false, None) => "http, not encrypted",
        (true, Some(_)) => "TLS, then TCP",
        (false, Some(tcp)) if tcp.peek => "TLS passed through by name",
        (false, Some(_)) => "TCP, not encrypted",
    };
    format!("{protocol}{mutual}")
}

/// Where the configuration comes from.
enum Origin {
    File(PathBuf),
    Flags(Box<Snapshot>),
    Made(Make),
}

impl Origin {
    fn of(args: &Args) -> Result<Self, Failure> {
        match (&args.file, args.quick.is_given()) {
            (Some(_), true) => {
                Err(Failure::usage("give either a file or --listen with its options, not both"))
            }
            (Some(file), false) => Ok(Self::File(file.clone())),
            (None, true) => Ok(Self::Flags(Box::new(args.quick.snapshot()?))),
            (None, false) if Path::new("handfast.yaml").exists() => Ok(Self::File("handfast.yaml".into())),
            (None, false) => Err(Failure::usage(
                "there is no configuration: no FILE, no handfast.yaml here, no --listen",
            )
            .fix("handfast serve --listen :8443 --cert server.crt --key server.key --to 127.0.0.1:8080")),
        }
    }

    /// The snapshot, and the files that it was read from.
    fn load(&self, admin: Option<SocketAddr>) -> Result<(Snapshot, Vec<PathBuf>), Failure> {
        let (mut snapshot, files) = match self {
            Self::Flags(snapshot) => ((**snapshot).clone(), Vec::new()),
            Self::Made(make) => make()?,
            Self::File(file) => {
                // Other files than certificates are told of by the proxy, which reads them.
                let loaded = config::load_checked(file, &crate::pairs::Pairs)?;
                for note in &loaded.notes {
                    if note.warning {
                        tracing::warn!("{note}");
                    } else {
                        tracing::info!("{note}");
                    }
                }
                (loaded.snapshot, loaded.files_read)
            }
        };
        snapshot.admin = admin.or(snapshot.admin);
        Ok((snapshot, files))
    }
}

/// Serves until SIGTERM or SIGINT; SIGHUP and changed files are read again.
async fn stay(
    running: Running,
    origin: &Origin,
    files: Vec<PathBuf>,
    admin: Option<SocketAddr>,
    drain_timeout: Option<Span>,
) -> Outcome {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error));
    let (mut hangup, mut terminate, mut interrupt) =
        (listen(SignalKind::hangup())?, listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let watched = Files::new();
    watched.watch(&files.into_iter().collect());
    let mut changes = watched.changes();
    // Whether the last change was refused: a file that says again what is in force ends that too.
    let mut refused = false;
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            Ok(()) = changes.changed() => false,
            _ = either(&mut terminate, &mut interrupt) => break,
        };
        match origin.load(admin) {
            Ok((snapshot, files)) => {
                watched.watch(&files.into_iter().collect());
                let changed = **running.snapshots.borrow() != snapshot;
                if changed {
                    running.apply(snapshot);
                }
                if asked || (refused && !changed) {
                    running.handle.reload();
                }
                refused = false;
            }
            Err(failure) => {
                let code = &serving::RELOAD_REFUSED;
                tracing::error!(code = code.id, "{}: {failure}", code.title);
                // What the last good one names is not read again either: all of a change, or nothing.
                running.handle.refused();
                refused = true;
            }
        }
    }
    let limit = drain_timeout.map(|span| span.0);
    tracing::info!("stopping: no new connections; once more to end at once");
    let drained = tokio::task::spawn_blocking(move || running.stop(limit));
    tokio::select! {
        _ = drained => {}
        _ = either(&mut terminate, &mut interrupt) => tracing::warn!("ended before all connections were finished"),
    }
    // A drain that was cut short still has its thread.
    std::process::exit(EXIT_OK.into());
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
