//! What a pod's proxy and a node's have in common: how they reach the control plane, who they are, and where they show
//! themselves. A pod's carries its own pod, a node's carries others; all that comes before is here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use controller::inject::{ROOTS_FILE, TOKEN_FILE};
use controller::names::MESH_MOUNT;
use model::codes::serving;
use model::identity::{SpiffeId, TrustDomain};
use proxy::mesh::{Mesh, Metrics, Options, Record};
use rustls_pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::client::{Adopting, Backoff, Discovery, Node, Socket, Target, Token, discover};

use super::proxy::identity;
use super::tls;
use crate::commands::Globals;
use crate::commands::kube::controller::bind;
use crate::failure::Failure;
use crate::logging::{self, LogForm};
use crate::mesh_log;
use crate::pages::{self, Page, Pages};

/// Arguments of every proxy of a cluster's mesh.
#[derive(clap::Args)]
pub struct Joining {
    /// The control plane.
    #[arg(
        long,
        env = "HANDFAST_CONTROL_PLANE",
        default_value = "handfast-mesh.handfast-system.svc:15012",
        value_name = "HOST:PORT"
    )]
    control_plane: String,
    /// Name of the cluster, as the uids of its workloads have it.
    #[arg(long, env = "HANDFAST_CLUSTER_NAME", default_value = "Kubernetes", value_name = "NAME")]
    pub cluster: String,
    /// The trust domain.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub trust_domain: TrustDomain,
    /// The name of this proxy's own pod.
    #[arg(long, env = "HANDFAST_POD_NAME", value_name = "NAME")]
    pub pod_name: String,
    /// The namespace of this proxy's own pod.
    #[arg(long, env = "HANDFAST_POD_NAMESPACE", value_name = "NAMESPACE")]
    pub pod_namespace: String,
    /// The addresses of this proxy's own pod.
    #[arg(long, env = "HANDFAST_POD_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    pub pod_ips: Vec<IpAddr>,
    /// The node's addresses: kubelet's probes come from them.
    #[arg(long, env = "HANDFAST_NODE_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    pub node_ips: Vec<IpAddr>,
    /// Folder of this proxy's token and of the trusted roots.
    #[arg(long, env = "HANDFAST_IDENTITY_DIR", default_value = MESH_MOUNT, value_name = "DIR")]
    identity_dir: PathBuf,
    /// Address of /metrics.
    #[arg(long, env = "HANDFAST_METRICS_LISTEN", default_value = "[::]:15020", value_name = "ADDR")]
    metrics_listen: SocketAddr,
    /// Address of /readyz.
    #[arg(long, env = "HANDFAST_READY_LISTEN", default_value = "[::]:15021", value_name = "ADDR")]
    ready_listen: SocketAddr,
    /// Address of /status and /tap. On loopback only.
    #[arg(long, env = "HANDFAST_ADMIN", default_value = "127.0.0.1:15000", value_name = "ADDR")]
    pub admin: SocketAddr,
    /// Count under the names of Istio's metrics too: istio_tcp_*.
    #[arg(long, env = "HANDFAST_ISTIO_METRICS")]
    istio_metrics: bool,
    /// Form of the log on stderr. Default: text on a terminal, else JSON.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
    /// Started by the process that starts it again when it is killed, so many times already.
    #[arg(long, hide = true, value_name = "TIMES")]
    pub supervised: Option<u32>,
}

/// A proxy that knows, or will be told, of the mesh.
pub struct Joined {
    /// Parts of the process; none of them ends by itself.
    pub tasks: JoinSet<()>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether /readyz says yes.
    pub ready: Arc<AtomicBool>,
    /// What the control plane tells.
    pub discovery: Discovery,
    /// Whose connections are carried.
    pub mesh: Mesh,
    /// The trusted roots of the volume, PEM.
    pub roots: watch::Receiver<Arc<Vec<u8>>>,
    target: Target,
    token: Token,
}

impl Joining {
    /// Begins the log, and looks at what can be wrong in the arguments alone.
    ///
    /// # Errors
    ///
    /// When an argument is of no use.
    pub fn begin(&self, globals: &Globals) -> Result<(), Failure> {
        logging::init(&globals.log, self.log_format)?;
        if !self.admin.ip().is_loopback() {
            let why = "it is for this pod only, as 127.0.0.1:15000";
            return Err(Failure::usage(format!("--admin {}: {why}", self.admin)));
        }
        control_plane(&self.control_plane).map(drop)
    }

    /// Shows itself, waits for the roots, which kubelet may have to bring yet, and goes to the control plane.
    ///
    /// # Errors
    ///
    /// When a port cannot be had, or nothing can be made of the roots.
    pub async fn join(&self, socket: Option<Socket>, adopting: Adopting) -> Result<Joined, Failure> {
        let metrics = Arc::new(Metrics::new(self.istio_metrics));
        metrics.set_restarts(self.supervised.unwrap_or(0));
        let ready = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let answers = answers(Arc::clone(&metrics), Arc::clone(&ready));
        tasks.spawn(pages::serve(bind_any(self.ready_listen).await?, pages::PROBES, Arc::clone(&answers)));
        tasks.spawn(pages::serve(bind_any(self.metrics_listen).await?, pages::METRICS, answers));

        let (roots, keep_roots) = identity::roots(self.identity_dir.join(ROOTS_FILE)).await;
        tasks.spawn(keep_roots);
        let first = tls::client(&roots.borrow()).map_err(|why| Failure::new(&serving::TLS_SETTINGS, why))?;
        let (tls_sender, tls) = watch::channel(first);
        let (host, server_name) = control_plane(&self.control_plane)?;
        let target = Target { socket, ..Target::new(host, server_name, tls) };
        let token = identity::token(self.identity_dir.join(TOKEN_FILE));
        let (discovery, listening) = discover(wire::client::Options {
            target: target.clone(),
            node: self.introduction(),
            token: Arc::clone(&token),
            cluster: Some(self.cluster.clone()),
            context: wire::convert::Context {
                trust_domain: self.trust_domain.clone(),
                network: String::new(),
            },
            backoff: Backoff::default(),
            adopting: Some(adopting),
        });
        tasks.spawn(identity::follow(roots.clone(), discovery.trust.clone(), tls_sender));
        tasks.spawn(listening);
        tasks.spawn(watch_connection(discovery.clone(), Arc::clone(&metrics)));
        let counting = Arc::clone(&metrics);
        let mesh = Mesh::start(Options {
            world: discovery.world.clone(),
            observer: Arc::new(move |record: &Record| {
                counting.count(record);
                mesh_log::write(record);
            }),
        });
        Ok(Joined { tasks, metrics, ready, discovery, mesh, roots, target, token })
    }

    /// Where certificates come from: asked for an own one, or for those of pods of the node (`impersonated`).
    pub fn source(&self, joined: &Joined, identity: SpiffeId, impersonated: bool) -> identity::ControlPlane {
        identity::ControlPlane {
            target: joined.target.clone(),
            token: Arc::clone(&joined.token),
            identity,
            impersonated,
            cluster: self.cluster.clone(),
            world: joined.discovery.world.clone(),
            metrics: Arc::clone(&joined.metrics),
            svid: None,
        }
    }

    /// How a proxy introduces itself to the control plane.
    fn introduction(&self) -> Node {
        let address = self.pod_ips.first().map(IpAddr::to_string).unwrap_or_default();
        let (pod, namespace) = (&self.pod_name, &self.pod_namespace);
        Node {
            id: format!("ztunnel~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
            cluster: self.cluster.clone(),
            metadata: [("NAMESPACE".to_owned(), namespace.clone())].into(),
        }
    }
}

impl Joined {
    /// A part of the process ended that should not have: all of it is started again.
    pub async fn lost(&mut self) -> Failure {
        let why = match self.tasks.join_next().await {
            Some(Err(error)) => error.to_string(),
            Some(Ok(())) => "it returned".to_owned(),
            None => std::future::pending().await,
        };
        Failure::new(&model::codes::usage::INTERNAL, format!("a part of the proxy ended: {why}"))
    }
}

/// Comes back when this process is asked to end: SIGTERM or SIGINT, which are taken from now on.
///
/// # Errors
///
/// When they cannot be.
pub fn asked_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let internal = |error: std::io::Error| Failure::new(&model::codes::usage::INTERNAL, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Listens on a port of all addresses, also where there is no IPv6.
///
/// # Errors
///
/// When the port is somebody else's, or may not be had.
pub fn listen(port: u16) -> Result<std::net::TcpListener, Failure> {
    sys::listen(port).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::AddrInUse => &serving::ADDRESS_IN_USE,
            _ => &serving::LISTEN_FAILED,
        };
        Failure::new(code, format!("cannot listen on port {port}: {error}"))
    })
}

async fn bind_any(address: SocketAddr) -> Result<TcpListener, Failure> {
    if !address.ip().is_unspecified() {
        return bind(address).await;
    }
    let socket = listen(address.port())?;
    socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket))
        .map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))
}

/// What is answered at the ports of metrics and readiness.
fn answers(metrics: Arc<Metrics>, ready: Arc<AtomicBool>) -> Pages {
    Arc::new(move |path| match path {
        "/readyz" => Some(Page::ready(ready.load(Ordering::Acquire))),
        "/metrics" => Some(Page::metrics(metrics.text())),
        _ => None,
    })
}

/// Where the control plane is, and the name that it has to prove: the one that it is called by.
fn control_plane(address: &str) -> Result<(String, ServerName<'static>), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--control-plane {address}: {why}"));
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("it is no HOST:PORT"))?;
    port.parse::<u16>().map_err(|_| wrong("it is no HOST:PORT"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("it is no name and no address"))?;
    Ok((address.to_owned(), name))
}

/// Keeps the metric of the connection to the control plane.
async fn watch_connection(discovery: Discovery, metrics: Arc<Metrics>) {
    let mut state = discovery.state;
    loop {
        metrics.set_connected(state.borrow_and_update().connected);
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
