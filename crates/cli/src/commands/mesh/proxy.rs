//! `handfast mesh proxy`: what carries a pod's connections, as a native sidecar that the admission webhook adds.
//!
//! It gets its certificate from the control plane with the pod's own token, is told of the mesh, and then says that it is
//! ready: the application starts after that. While the control plane is away it goes on with what it knows (invariant 10),
//! until its certificate ends, of which it warns.

pub mod admin;
pub mod identity;
pub mod keep;
pub mod node;
mod trial;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use controller::inject::{ROOTS_FILE, TOKEN_FILE};
use controller::names::{MESH_MOUNT, MESH_USER};
use model::codes::serving;
use model::identity::{SpiffeId, TrustDomain};
use model::units::Span;
use proxy::mesh::{Attachment, Mesh, Metrics, Options, Pod, Probes, Record};
use rustls_pki_types::ServerName;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::client::{Adopting, Backoff, Discovery, Node, Socket, Target, discover};
use wire::workload_api::Svid;

use crate::commands::Globals;
use crate::commands::kube::connect::block_on;
use crate::commands::kube::controller::bind;
use crate::commands::mesh::tls;
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::logging::{self, LogForm};
use crate::mesh_log;
use crate::pages::{self, Page, Pages};

pub use node::gateways;

/// Where calls of the pod are redirected to.
pub const OUTBOUND: u16 = 15001;
/// Where plain connections to the pod are redirected to.
pub const INBOUND: u16 = 15006;

/// Arguments of `handfast mesh proxy`.
#[derive(clap::Args)]
pub struct Args {
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
    cluster: String,
    /// The trust domain.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: TrustDomain,
    /// Ports that kubelet asks on: plain text from the node is let in there.
    #[arg(long, env = "HANDFAST_PROBE_PORTS", value_delimiter = ',', value_name = "PORT")]
    probe_ports: Vec<u16>,
    /// The pod's name.
    #[arg(long, env = "HANDFAST_POD_NAME", value_name = "NAME")]
    pod_name: String,
    /// The pod's namespace.
    #[arg(long, env = "HANDFAST_POD_NAMESPACE", value_name = "NAMESPACE")]
    pod_namespace: String,
    /// As whom the pod runs.
    #[arg(long, env = "HANDFAST_SERVICE_ACCOUNT", value_name = "NAME")]
    service_account: String,
    /// The pod's addresses.
    #[arg(long, env = "HANDFAST_POD_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    pod_ips: Vec<IpAddr>,
    /// The node's addresses.
    #[arg(long, env = "HANDFAST_NODE_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    node_ips: Vec<IpAddr>,
    /// Folder of the pod's token and of the trusted roots.
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
    admin: SocketAddr,
    /// Count under the names of Istio's metrics too: istio_tcp_*.
    #[arg(long, env = "HANDFAST_ISTIO_METRICS")]
    istio_metrics: bool,
    /// Socket of the SPIFFE Workload API, for an application that wants the pod's identity itself.
    #[arg(long, env = "HANDFAST_WORKLOAD_API", value_name = "PATH")]
    workload_api: Option<PathBuf>,
    /// How long connections may take to finish at the end.
    #[arg(long, env = "HANDFAST_DRAIN_TIMEOUT", default_value = "20s", value_name = "SPAN")]
    drain_timeout: Span,
    /// Form of the log on stderr. Default: text on a terminal, else JSON.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
}

/// Runs `handfast mesh proxy`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    if !args.admin.ip().is_loopback() {
        let why = "it is for this pod only, as 127.0.0.1:15000";
        return Err(Failure::usage(format!("--admin {}: {why}", args.admin)));
    }
    let identity = SpiffeId::service_account(&args.trust_domain, &args.pod_namespace, &args.service_account)
        .map_err(|why| Failure::usage(format!("--service-account {}: {why}", args.service_account)))?;
    block_on(carry(args, identity))
}

async fn carry(args: Args, identity: SpiffeId) -> Outcome {
    let internal = |error: std::io::Error| Failure::new(&model::codes::usage::INTERNAL, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    // Taken before anything is waited for: who calls meanwhile waits in the kernel's queue.
    let (outbound, inbound) = (listen(OUTBOUND)?, listen(INBOUND)?);
    let hbone = listen(model::mesh::HBONE_PORT)?;
    let metrics = Arc::new(Metrics::new(args.istio_metrics));
    let ready = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let answers = answers(Arc::clone(&metrics), Arc::clone(&ready));
    tasks.spawn(pages::serve(bind_any(args.ready_listen).await?, pages::PROBES, Arc::clone(&answers)));
    tasks.spawn(pages::serve(bind_any(args.metrics_listen).await?, pages::METRICS, answers));

    let (host, server_name) = control_plane(&args.control_plane)?;
    // Kubelet may have to bring them yet.
    let (roots, keep_roots) = tokio::select! {
        roots = identity::roots(args.identity_dir.join(ROOTS_FILE)) => roots,
        _ = terminate.recv() => return Ok(EXIT_OK),
        _ = interrupt.recv() => return Ok(EXIT_OK),
    };
    tasks.spawn(keep_roots);
    let first = tls::client(&roots.borrow()).map_err(|why| Failure::new(&serving::TLS_SETTINGS, why))?;
    let (tls_sender, tls) = watch::channel(first);
    let target = Target { socket: Some(marked()), ..Target::new(host, server_name, tls) };
    let token = identity::token(args.identity_dir.join(TOKEN_FILE));
    let introduced = Introduced {
        address: args.pod_ips.first().copied(),
        pod: &args.pod_name,
        namespace: &args.pod_namespace,
        cluster: &args.cluster,
    };
    let svid = workload_api(args.workload_api.as_deref(), &mut tasks)?;
    let adopting = Adopting::default();
    let adopter = adopting.enter(&identity.to_string());
    let (discovery, listening) = discover(wire::client::Options {
        target: target.clone(),
        node: introduction(&introduced),
        token: Arc::clone(&token),
        cluster: Some(args.cluster.clone()),
        context: wire::convert::Context { trust_domain: args.trust_domain.clone(), network: String::new() },
        backoff: Backoff::default(),
        adopting: Some(adopting),
    });
    tasks.spawn(identity::follow(roots.clone(), discovery.trust.clone(), tls_sender));
    let keeping = keep::Keeping {
        source: identity::ControlPlane {
            target,
            token,
            identity: identity.clone(),
            impersonated: false,
            cluster: args.cluster.clone(),
            world: discovery.world.clone(),
            metrics: Arc::clone(&metrics),
            svid,
        },
        identity,
        roots,
        trust: discovery.trust.clone(),
        adopter,
    };
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
    let uid = format!("{}//Pod/{}/{}", args.cluster, args.pod_namespace, args.pod_name);
    let shown = admin::Shown {
        mesh: mesh.clone(),
        discovery: discovery.clone(),
        whose: admin::Whose::Workload(uid.clone()),
        started: std::time::SystemTime::now(),
        credential: Arc::default(),
    };
    let shown_credential = Arc::clone(&shown.credential);
    tasks.spawn(admin::serve(bind(args.admin).await?, shown));

    let begin = async {
        let credential = keep::keep(keeping).await;
        discovery.ready().await;
        credential
    };
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(ended);
    let credential = tokio::select! {
        credential = begin => credential,
        () = &mut ended => return Ok(EXIT_OK),
        Some(gone) = tasks.join_next() => return Err(lost(gone)),
    };
    // Nobody else sets it.
    let _ = shown_credential.set(credential.clone());
    let attached = mesh
        .attach(Attachment {
            uid,
            credential,
            address: args.pod_ips.first().copied(),
            hbone,
            ways_out: Vec::new(),
            pod: Some(Pod {
                outbound,
                inbound,
                mark: Some(MESH_USER),
                keeps_client_address: true,
                namespace: None,
                probes: Probes {
                    nodes: args.node_ips.iter().map(IpAddr::to_canonical).chain(node::gateways()).collect(),
                    ports: args.probe_ports.iter().copied().collect(),
                },
            }),
        })
        .map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))?;
    ready.store(true, Ordering::Release);
    tracing::info!("the pod's connections are carried");
    let outcome = tokio::select! {
        () = &mut ended => Ok(EXIT_OK),
        Some(gone) = tasks.join_next() => Err(lost(gone)),
    };
    tracing::info!("ending: connections may finish for {:?}", args.drain_timeout.0);
    attached.drain(args.drain_timeout.0).await;
    outcome
}

/// Opens the socket of the Workload API, for every user of the pod: nobody else sees its folder.
fn workload_api(
    path: Option<&Path>,
    tasks: &mut JoinSet<()>,
) -> Result<Option<watch::Sender<Option<Arc<Svid>>>>, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(path) = path else { return Ok(None) };
    let failed = |error: std::io::Error| {
        Failure::new(&serving::LISTEN_FAILED, format!("cannot listen on {}: {error}", path.display()))
    };
    // One of a process before this one: nobody listens there any more.
    if path.exists() {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let socket = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
    let (sender, receiver) = watch::channel(None);
    tasks.spawn(wire::workload_api::serve(socket, receiver));
    Ok(Some(sender))
}

/// A part of the process ended that should not have: the kubelet starts all of it again.
pub fn lost(gone: Result<(), tokio::task::JoinError>) -> Failure {
    let why = gone.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
    Failure::new(&model::codes::usage::INTERNAL, format!("a part of the proxy ended: {why}"))
}

fn listen(port: u16) -> Result<std::net::TcpListener, Failure> {
    sys::listen(port).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::AddrInUse => &serving::ADDRESS_IN_USE,
            _ => &serving::LISTEN_FAILED,
        };
        Failure::new(code, format!("cannot listen on port {port}: {error}"))
    })
}

/// All addresses, also where there is no IPv6.
pub async fn bind_any(address: SocketAddr) -> Result<tokio::net::TcpListener, Failure> {
    if !address.ip().is_unspecified() {
        return bind(address).await;
    }
    let socket = listen(address.port())?;
    socket
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(socket))
        .map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))
}

/// What is answered at the ports of metrics and readiness.
pub fn answers(metrics: Arc<Metrics>, ready: Arc<AtomicBool>) -> Pages {
    Arc::new(move |path| match path {
        "/readyz" => Some(Page::ready(ready.load(Ordering::Acquire))),
        "/metrics" => Some(Page::metrics(metrics.text())),
        _ => None,
    })
}

/// Where the control plane is, and the name that it has to prove: the one that it is called by.
///
/// # Errors
///
/// When it is no `HOST:PORT`.
pub fn control_plane(address: &str) -> Result<(String, ServerName<'static>), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--control-plane {address}: {why}"));
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("it is no HOST:PORT"))?;
    port.parse::<u16>().map_err(|_| wrong("it is no HOST:PORT"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("it is no name and no address"))?;
    Ok((address.to_owned(), name))
}

/// What the proxy itself calls is not redirected: its sockets have the mark.
fn marked() -> Socket {
    Arc::new(|address| sys::outgoing(address, &sys::Outgoing { mark: Some(MESH_USER), from: sys::From::Any }))
}

/// Who a proxy is.
pub struct Introduced<'a> {
    /// The address of its pod.
    pub address: Option<IpAddr>,
    /// Its pod.
    pub pod: &'a str,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The cluster.
    pub cluster: &'a str,
}

/// How a proxy introduces itself to the control plane.
pub fn introduction(who: &Introduced<'_>) -> Node {
    let address = who.address.as_ref().map(IpAddr::to_string).unwrap_or_default();
    let Introduced { pod, namespace, cluster, .. } = who;
    Node {
        id: format!("ztunnel~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: (*cluster).to_owned(),
        metadata: [("NAMESPACE".to_owned(), (*namespace).to_owned())].into(),
    }
}

/// Keeps the metric of the connection to the control plane.
pub async fn watch_connection(discovery: Discovery, metrics: Arc<Metrics>) {
    let mut state = discovery.state;
    loop {
        metrics.set_connected(state.borrow_and_update().connected);
        if state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
