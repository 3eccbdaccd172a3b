//! `handfast kube controller`: the process in the controller's pods.

use std::net::SocketAddr;
use std::sync::Arc;

use controller::grant::Domains;
use controller::lifetimes::{Lifetimes, MAX_LIFETIME, MIN_LIFETIME};
use controller::metrics::Metrics;
use controller::names::SYSTEM_NAMESPACE;
use controller::run::{Health, Options};
use model::codes::serving;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::connect::{Cluster, block_on};
use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::logging::{self, LogForm};
use crate::pages::{self, Page, Pages};

/// Arguments of `handfast kube controller`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Namespace of the controller: its authority and its Lease are there.
    #[arg(long, env = "HANDFAST_NAMESPACE", default_value = SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    namespace: String,
    /// Trust domain of SPIFFE IDs. It cannot change once there is an authority.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// Domain of the cluster's Services.
    #[arg(long, env = "HANDFAST_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// The shortest lifetime that a Certificate may ask for: each costs a signature and a write every two thirds of it.
    #[arg(long, env = "HANDFAST_MIN_LIFETIME", default_value = MIN_LIFETIME, value_name = "SPAN")]
    min_lifetime: String,
    /// The longest: an old root is trusted for as long after a rotation.
    #[arg(long, env = "HANDFAST_MAX_LIFETIME", default_value = MAX_LIFETIME, value_name = "SPAN")]
    max_lifetime: String,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "HANDFAST_LISTEN", default_value = "127.0.0.1:9402", value_name = "ADDR")]
    listen: SocketAddr,
    /// Address of /livez and /readyz alone. A kubelet that asks there is answered whatever happens at the other one.
    #[arg(long, env = "HANDFAST_PROBE_LISTEN", value_name = "ADDR")]
    probe_listen: Option<SocketAddr>,
    /// Take part in the election of a leader: several may run, and one works.
    #[arg(long, env = "HANDFAST_LEADER_ELECT")]
    leader_elect: bool,
    /// Name of this process among the controllers: its pod's.
    #[arg(long, env = "HANDFAST_POD_NAME", value_name = "NAME", hide = true)]
    pod_name: Option<String>,
    /// Form of the log on stderr. Default: text on a terminal, else JSON. The audit log on stdout is JSON always.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
}

/// Runs `handfast kube controller`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    let domains = domains(&args.trust_domain, &args.cluster_domain)?;
    let lifetimes = Lifetimes::parse(&args.min_lifetime, &args.max_lifetime)
        .map_err(|why| Failure::from(why).exit(EXIT_USAGE))?;
    block_on(stay(args, domains, lifetimes))
}

/// The domains that a controller works for.
///
/// # Errors
///
/// A usage error when they cannot be used.
pub fn domains(trust_domain: &str, cluster_domain: &str) -> Result<Domains, Failure> {
    let trust = trust_domain
        .parse()
        .map_err(|why| Failure::usage(format!("--trust-domain {trust_domain}: {why}")))?;
    Domains::new(trust, cluster_domain).map_err(|why| Failure::from(why).exit(EXIT_USAGE))
}

async fn stay(args: Args, domains: Domains, lifetimes: Lifetimes) -> Outcome {
    let internal = |error: std::io::Error| Failure::new(&model::codes::usage::INTERNAL, error);
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let mut listening = tokio::task::JoinSet::new();
    let all = answers(Some(Arc::clone(&metrics)), Arc::clone(&health));
    listening.spawn(pages::serve(bind(args.listen).await?, pages::METRICS, all));
    if let Some(address) = args.probe_listen {
        let probes = answers(None, Arc::clone(&health));
        listening.spawn(pages::serve(bind(address).await?, pages::PROBES, probes));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let identity = args.pod_name.unwrap_or_else(|| format!("process-{}", std::process::id()));
    let options = Options {
        client: args.cluster.client().await?,
        namespace: args.namespace,
        identity,
        domains,
        lifetimes,
        leader_elect: args.leader_elect,
        metrics,
        health,
    };
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    controller::run::run(options, shutdown).await;
    listening.abort_all();
    Ok(EXIT_OK)
}

/// What is answered, with metrics or without.
fn answers(metrics: Option<Arc<Metrics>>, health: Arc<Health>) -> Pages {
    Arc::new(move |path| match (path, &metrics) {
        ("/metrics", Some(metrics)) => Some(Page::metrics(metrics.text())),
        ("/livez", _) => Some(Page::text("alive\n")),
        ("/readyz", _) => Some(Page::ready(health.is_ready())),
        _ => None,
    })
}

/// Listens at an address.
///
/// # Errors
///
/// Why not, with its code.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::AddrInUse => &serving::ADDRESS_IN_USE,
            _ => &serving::LISTEN_FAILED,
        };
        Failure::new(code, format!("cannot listen on {address}: {error}"))
    })
}
