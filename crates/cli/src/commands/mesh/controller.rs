//! `handfast mesh controller`: the process in the control plane's pods. Each replica does all of it: watches the cluster,
//! tells proxies, issues to workloads, gives new pods their proxy.

mod catalog;
mod gate;
mod own;
mod status;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use controller::audit::Audit;
use controller::authority::AuthorityStore;
use controller::clock::{self, Clock};
use controller::grant::Domains;
use controller::inject::Settings;
use controller::install::mesh::CONTROL_PORT;
use controller::mesh::control::{Issuing, Reviews, follow, keep_trusted};
use controller::mesh::issue::NodeAccount;
use controller::mesh::watch::{Known, Watched};
use controller::names::{IMAGE, MESH, SYSTEM_NAMESPACE};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::server::{Limits, Listener, Options, Proxies};

use crate::commands::Globals;
use crate::commands::kube::connect::{Cluster, block_on};
use crate::commands::kube::controller::{bind, domains};
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::logging::{self, LogForm};
use crate::pages::{self, Page, Pages};

/// So long the API server and the nodes may take to send nobody here any more.
const LEAVE: Duration = Duration::from_secs(6);
/// Between two comparisons of the clocks.
const COMPARE: Duration = Duration::from_secs(10);

/// Arguments of `handfast mesh controller`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Trust domain of SPIFFE IDs: the authority's.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// Domain of the cluster's Services.
    #[arg(long, env = "HANDFAST_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    /// Name of the cluster, as the uids of its workloads have it.
    #[arg(long, env = "HANDFAST_CLUSTER_NAME", default_value = "Kubernetes", value_name = "NAME")]
    cluster_name: String,
    /// Image of the proxy that pods get.
    #[arg(long, env = "HANDFAST_PROXY_IMAGE", default_value = IMAGE, value_name = "IMAGE")]
    proxy_image: String,
    /// When that image is pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "HANDFAST_PROXY_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_name = "POLICY",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    proxy_image_pull_policy: String,
    /// Where proxies ask for certificates and are told of the mesh.
    #[arg(long, env = "HANDFAST_LISTEN", default_value = "127.0.0.1:15012", value_name = "ADDR")]
    listen: SocketAddr,
    /// Where the API server asks about new pods.
    #[arg(long, env = "HANDFAST_WEBHOOK_LISTEN", default_value = "127.0.0.1:15017", value_name = "ADDR")]
    webhook_listen: SocketAddr,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "HANDFAST_METRICS_LISTEN", default_value = "127.0.0.1:15014", value_name = "ADDR")]
    metrics_listen: SocketAddr,
    /// Address of /status: who is connected. On loopback only.
    #[arg(long, env = "HANDFAST_ADMIN", default_value = "127.0.0.1:15000", value_name = "ADDR")]
    admin: SocketAddr,
    /// Further service accounts whose pods carry pods of their node, and ask for certificates in their name, as a
    /// ztunnel's. handfast-node/handfast-node always may.
    #[arg(long, env = "HANDFAST_NODE_ACCOUNTS", value_delimiter = ',', value_name = "NAMESPACE/NAME")]
    node_accounts: Vec<NodeAccount>,
    /// Further DNS names of the control plane's own certificate.
    #[arg(long, env = "HANDFAST_DNS_NAMES", value_delimiter = ',', value_name = "NAME")]
    dns_names: Vec<String>,
    /// Name of this process among the control planes: its pod's.
    #[arg(long, env = "HANDFAST_POD_NAME", value_name = "NAME", hide = true)]
    pod_name: Option<String>,
    /// Form of the log on stderr. Default: text on a terminal, else JSON. The audit log on stdout is JSON always.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
}

/// Runs `handfast mesh controller`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    if !args.admin.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "--admin {}: it is for this machine only, as 127.0.0.1:15000",
            args.admin
        )));
    }
    let domains = domains(&args.trust_domain, &args.cluster_domain)?;
    block_on(stay(args, domains))
}

async fn stay(args: Args, domains: Domains) -> Outcome {
    let internal = |error: std::io::Error| Failure::new(&model::codes::usage::INTERNAL, error);
    let client = args.cluster.client().await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    let sockets = (bind(args.listen).await?, bind(args.webhook_listen).await?);
    let mut tasks = JoinSet::new();

    let (authority_sender, authority) = watch::channel(None);
    let store = AuthorityStore::new(client.clone(), SYSTEM_NAMESPACE);
    tasks.spawn(follow(store, domains.trust.clone(), authority_sender));
    let clock = Clock::default();
    tasks.spawn(compare_clocks(client.clone(), clock.clone()));
    tasks.spawn(keep_trusted(client.clone(), authority.clone()));

    let options = controller::mesh::Options {
        trust_domain: domains.trust.clone(),
        cluster: args.cluster_name.clone(),
        dns_domain: args.cluster_domain.clone(),
        injected: true,
        ..controller::mesh::Options::default()
    };
    let watched = Watched::start(&client, options);
    let known = watched.known();
    let (catalog, keep_catalog) = catalog::keep(watched, authority.clone());
    tasks.spawn(keep_catalog);
    let (own, keep_own) =
        own::keep(authority.clone(), args.cluster_domain.clone(), args.dns_names.clone(), clock.clone());
    tasks.spawn(keep_own);

    let who = args.pod_name.clone().unwrap_or_else(|| format!("process-{}", std::process::id()));
    let issuing = Arc::new(Issuing {
        client,
        known: known.clone(),
        authority,
        nodes: NodeAccount::with_own(&args.node_accounts),
        trust_domain: domains.trust.clone(),
        audit: Audit::new(&format!("{MESH}/{who}")),
        clock,
        reviews: Reviews::default(),
    });
    let proxies = Proxies::default();
    let leaving = Arc::new(AtomicBool::new(false));
    let all = answers(catalog.clone(), own.clone(), proxies.clone(), known.clone(), Arc::clone(&leaving));
    tasks.spawn(pages::serve(bind(args.metrics_listen).await?, pages::METRICS, all));
    let shown = status::pages(catalog.clone(), proxies.clone(), known);
    tasks.spawn(pages::serve(bind(args.admin).await?, pages::METRICS, shown));
    let settings = Settings {
        image: args.proxy_image,
        pull_policy: args.proxy_image_pull_policy,
        control_plane: format!("{MESH}.{SYSTEM_NAMESPACE}.svc:{CONTROL_PORT}"),
        cluster: args.cluster_name,
        trust_domain: args.trust_domain,
    };
    let ending = CancellationToken::new();
    let serving = async {
        // Nothing can be proved before there is an authority.
        let own = own::ready(own).await;
        let options = Options {
            catalog,
            authenticator: Arc::new(gate::Gate(Arc::clone(&issuing))),
            authority: Some(Arc::new(gate::Gate(issuing))),
            proxies,
            limits: Limits::default(),
            applied: None,
        };
        let listener = Listener::Tls(sockets.0, own.control);
        tokio::join!(
            wire::server::serve(vec![listener], options, ending.clone()),
            webhook::serve(sockets.1, own.webhook, Arc::new(settings), ending.clone()),
        );
    };
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Who is sent here until the cluster knows that nobody should be is still answered.
        leaving.store(true, Ordering::Release);
        tokio::time::sleep(LEAVE).await;
        ending.cancel();
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(serving, ended) } => Ok(EXIT_OK),
        Some(gone) = tasks.join_next() => {
            let why = gone.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
            Err(Failure::new(&model::codes::usage::INTERNAL, format!("a part of the control plane ended: {why}")))
        }
    }
}

async fn compare_clocks(client: kube::Client, clock: Clock) {
    loop {
        match clock::measure(&client).await {
            Ok(ahead) => clock.set(ahead),
            // What was measured before goes on to count.
            Err(error) => {
                tracing::debug!("the clocks were not compared: {}", controller::error::chain(&error))
            }
        }
        tokio::time::sleep(COMPARE).await;
    }
}

/// Ready is who knows the mesh and can prove himself.
fn answers(
    catalog: catalog::Receiver,
    own: own::Receiver,
    proxies: Proxies,
    known: Known,
    leaving: Arc<AtomicBool>,
) -> Pages {
    Arc::new(move |path| match path {
        "/livez" => Some(Page::text("alive\n")),
        "/readyz" => {
            let leaves = leaving.load(Ordering::Acquire);
            Some(Page::ready(!leaves && catalog.borrow().generation() > 0 && own.borrow().is_some()))
        }
        "/metrics" => Some(Page::metrics(status::metrics(&catalog.borrow(), &proxies, &known))),
        _ => None,
    })
}
