//! `handfast mesh node`: carries the connections of all labelled pods of its node, each in the pod's own network, without
//! anything being added to the pods. `agent` decides whom, `carried` is one of them, `find` and `hand_over` are the two
//! ways in which networks become known, `plugin` and `setup` are the other end of the second.

mod agent;
mod carried;
mod find;
mod hand_over;
mod identities;
mod judge;
mod namespaces;
pub mod plugin;
mod serve;
mod setup;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use controller::inject::{ROOTS_FILE, TOKEN_FILE};
use controller::install::node::RUN_DIR;
use controller::names::MESH_MOUNT;
use model::codes::serving;
use model::identity::{SpiffeId, TrustDomain};
use model::units::Span;
use proxy::mesh::{Mesh, Metrics, Options, Record};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use wire::client::{Adopting, Backoff, Target, discover};

use crate::commands::Globals;
use crate::commands::kube::connect::Cluster;
use crate::commands::kube::controller::bind;
use crate::commands::mesh::proxy::{
    Introduced, admin, answers, bind_any, control_plane, identity, introduction, lost, watch_connection,
};
use crate::commands::mesh::tls;
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::logging::{self, LogForm};
use crate::mesh_log;
use crate::pages;

/// Between two looks at what is and what should be, when nothing is heard of a change.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments of `handfast mesh node`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    api: Cluster,
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
    /// The node whose pods are carried.
    #[arg(long, env = "HANDFAST_NODE_NAME", value_name = "NAME")]
    node_name: String,
    /// The node's addresses: kubelet's probes come from them.
    #[arg(long, env = "HANDFAST_NODE_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    node_ips: Vec<IpAddr>,
    /// The name of this proxy's own pod.
    #[arg(long, env = "HANDFAST_POD_NAME", value_name = "NAME")]
    pod_name: String,
    /// The namespace of this proxy's own pod.
    #[arg(long, env = "HANDFAST_POD_NAMESPACE", value_name = "NAMESPACE")]
    pod_namespace: String,
    /// The addresses of this proxy's own pod.
    #[arg(long, env = "HANDFAST_POD_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    pod_ips: Vec<IpAddr>,
    /// Folder of this proxy's token and of the trusted roots.
    #[arg(long, env = "HANDFAST_IDENTITY_DIR", default_value = MESH_MOUNT, value_name = "DIR")]
    identity_dir: PathBuf,
    /// Folder, the same on the node, of the socket where the CNI plugin hands networks over.
    #[arg(long, env = "HANDFAST_RUN_DIR", default_value = RUN_DIR, value_name = "DIR")]
    run_dir: PathBuf,
    /// Folder with the CNI's configuration, into which the plugin is put; without it pods are found by watching alone.
    #[arg(long, env = "HANDFAST_CNI_CONF_DIR", requires = "cni_bin_dir", value_name = "DIR")]
    cni_conf_dir: Option<PathBuf>,
    /// Folder with the CNI's plugins.
    #[arg(long, env = "HANDFAST_CNI_BIN_DIR", requires = "cni_conf_dir", value_name = "DIR")]
    cni_bin_dir: Option<PathBuf>,
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
    /// How long connections may take to finish when a pod leaves the mesh, or this process ends.
    #[arg(long, env = "HANDFAST_DRAIN_TIMEOUT", default_value = "5s", value_name = "SPAN")]
    drain_timeout: Span,
    /// Form of the log on stderr. Default: text on a terminal, else JSON.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
}

/// Runs `handfast mesh node`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    if !args.admin.ip().is_loopback() {
        let why = "it is for this pod only, as 127.0.0.1:15000";
        return Err(Failure::usage(format!("--admin {}: {why}", args.admin)));
    }
    // As whom this proxy asks; what it asks for is its pods'.
    let own = SpiffeId::service_account(&args.trust_domain, &args.pod_namespace, controller::names::NODE)
        .map_err(|why| Failure::usage(format!("--pod-namespace {}: {why}", args.pod_namespace)))?;
    // Every core: unlike a sidecar it has the traffic of a whole node.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?.block_on(carry(args, own))
}

async fn carry(args: Args, own: SpiffeId) -> Outcome {
    let internal = |error: std::io::Error| Failure::new(&model::codes::usage::INTERNAL, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let client = args.api.client().await?;
    let metrics = Arc::new(Metrics::new(args.istio_metrics));
    let ready = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let answers = answers(Arc::clone(&metrics), Arc::clone(&ready));
    tasks.spawn(pages::serve(bind_any(args.ready_listen).await?, pages::PROBES, Arc::clone(&answers)));
    tasks.spawn(pages::serve(bind_any(args.metrics_listen).await?, pages::METRICS, answers));

    let changed = Arc::new(Notify::new());
    let (pods, namespaces) = serve::watch(&client, &args.node_name, &changed, &mut tasks);
    let (host, server_name) = control_plane(&args.control_plane)?;
    let (roots, keep_roots) = identity::roots(args.identity_dir.join(ROOTS_FILE)).await;
    tasks.spawn(keep_roots);
    let first = tls::client(&roots.borrow()).map_err(|why| Failure::new(&serving::TLS_SETTINGS, why))?;
    let (tls_sender, tls) = watch::channel(first);
    let target = Target::new(host, server_name, tls);
    let token = identity::token(args.identity_dir.join(TOKEN_FILE));
    let adopting = Adopting::default();
    let introduced = Introduced {
        address: args.pod_ips.first().copied(),
        pod: &args.pod_name,
        namespace: &args.pod_namespace,
        cluster: &args.cluster,
    };
    let (discovery, listening) = discover(wire::client::Options {
        target: target.clone(),
        node: introduction(&introduced),
        token: Arc::clone(&token),
        cluster: Some(args.cluster.clone()),
        context: wire::convert::Context { trust_domain: args.trust_domain.clone(), network: String::new() },
        backoff: Backoff::default(),
        adopting: Some(adopting.clone()),
    });
    tasks.spawn(identity::follow(roots.clone(), discovery.trust.clone(), tls_sender));
    let asking = identities::Asking {
        source: identity::ControlPlane {
            target,
            token,
            identity: own,
            impersonated: true,
            cluster: args.cluster.clone(),
            world: discovery.world.clone(),
            metrics: Arc::clone(&metrics),
            svid: None,
        },
        roots,
        trust: discovery.trust.clone(),
        adopting,
    };
    tasks.spawn(listening);
    tasks.spawn(watch_connection(discovery.clone(), Arc::clone(&metrics)));
    let mesh = Mesh::start(Options {
        world: discovery.world.clone(),
        observer: Arc::new(move |record: &Record| {
            metrics.count(record);
            mesh_log::write(record);
        }),
    });
    let agent = Arc::new(agent::Agent {
        client,
        pods,
        namespaces,
        shared: carried::Shared {
            mesh: mesh.clone(),
            world: discovery.world.clone(),
            drain: args.drain_timeout.0,
        },
        identities: identities::Identities::new(asking),
        node: judge::Node {
            cluster: args.cluster.clone(),
            trust_domain: args.trust_domain.clone(),
            addresses: args.node_ips.clone(),
        },
        carried: tokio::sync::Mutex::default(),
    });
    let showing = Arc::clone(&agent);
    let whose = admin::Whose::Node(Arc::new(move || showing.shown()));
    let started = std::time::SystemTime::now();
    let shown = admin::Shown { mesh, discovery, whose, started, credential: Arc::default() };
    tasks.spawn(admin::serve(bind(args.admin).await?, shown));
    let place = args.cni_conf_dir.clone().zip(args.cni_bin_dir.clone());
    let place = place.map(|(conf, bin)| setup::Place { conf, bin });
    let serving = serve::serve(Arc::clone(&agent), args.run_dir.clone(), place.clone(), changed, ready);
    let outcome = tokio::select! {
        done = serving => done.map_or_else(Err, |()| Ok(EXIT_OK)),
        _ = terminate.recv() => Ok(EXIT_OK),
        _ = interrupt.recv() => Ok(EXIT_OK),
        Some(gone) = tasks.join_next() => Err(lost(gone)),
    };
    tracing::info!("ending: connections may finish for {:?}", args.drain_timeout.0);
    serve::farewell(&agent, place.as_ref());
    agent.end().await;
    outcome
}
