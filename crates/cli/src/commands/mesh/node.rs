//! `handfast mesh node`: carries the connections of all labelled pods of its node, each in the pod's own network, without
//! anything being added to the pods. `agent` decides whom, `carried` is one of them, `find` and `hand_over` are the two
//! ways in which networks become known, `plugin` and `setup` are the other end of the second.

mod agent;
mod carried;
mod find;
mod hand_over;
mod identities;
pub mod judge;
mod namespaces;
pub mod plugin;
mod serve;
mod setup;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use controller::install::node::RUN_DIR;
use model::identity::SpiffeId;
use model::units::Span;
use tokio::sync::Notify;
use wire::client::Adopting;

use crate::commands::Globals;
use crate::commands::kube::connect::Cluster;
use crate::commands::kube::controller::bind;
use crate::commands::mesh::joining::{Joining, asked_to_end};
use crate::commands::mesh::proxy::admin;
use crate::commands::mesh::supervise;
use crate::failure::{EXIT_OK, Failure, Outcome};

/// Between two looks at what is and what should be, when nothing is heard of a change.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments of `handfast mesh node`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    api: Cluster,
    #[command(flatten)]
    joining: Joining,
    /// The node whose pods are carried.
    #[arg(long, env = "HANDFAST_NODE_NAME", value_name = "NAME")]
    node_name: String,
    /// Folder, the same on the node, of the socket where the CNI plugin hands networks over.
    #[arg(long, env = "HANDFAST_RUN_DIR", default_value = RUN_DIR, value_name = "DIR")]
    run_dir: PathBuf,
    /// Folder with the CNI's configuration, into which the plugin is put; without it pods are found by watching alone.
    #[arg(long, env = "HANDFAST_CNI_CONF_DIR", requires = "cni_bin_dir", value_name = "DIR")]
    cni_conf_dir: Option<PathBuf>,
    /// Folder with the CNI's plugins.
    #[arg(long, env = "HANDFAST_CNI_BIN_DIR", requires = "cni_conf_dir", value_name = "DIR")]
    cni_bin_dir: Option<PathBuf>,
    /// How long connections may take to finish when a pod leaves the mesh, or this process ends.
    #[arg(long, env = "HANDFAST_DRAIN_TIMEOUT", default_value = "5s", value_name = "SPAN")]
    drain_timeout: Span,
}

/// Runs `handfast mesh node`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    args.joining.begin(globals)?;
    let Joining { trust_domain, pod_namespace, supervised, .. } = &args.joining;
    // As whom this proxy asks; what it asks for is its pods'.
    let own = SpiffeId::service_account(trust_domain, pod_namespace, controller::names::NODE)
        .map_err(|why| Failure::usage(format!("--pod-namespace {pod_namespace}: {why}")))?;
    if supervised.is_none() {
        // The ports are in the networks of pods, and opened by who carries them.
        return supervise::supervise(Vec::new());
    }
    supervise::given()?;
    // Every core: unlike a sidecar it has the traffic of a whole node.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?.block_on(carry(args, own))
}

async fn carry(args: Args, own: SpiffeId) -> Outcome {
    let mut ended = std::pin::pin!(asked_to_end()?);
    let joining = &args.joining;
    let client = args.api.client().await?;
    let adopting = Adopting::default();
    let mut joined = tokio::select! {
        joined = joining.join(None, adopting.clone()) => joined?,
        () = &mut ended => return Ok(EXIT_OK),
    };
    let changed = Arc::new(Notify::new());
    let (pods, namespaces) = serve::watch(&client, &args.node_name, &changed, &mut joined.tasks);
    let asking = identities::Asking {
        source: joining.source(&joined, own, true),
        roots: joined.roots.clone(),
        trust: joined.discovery.trust.clone(),
        adopting,
    };
    let agent = Arc::new(agent::Agent {
        client,
        pods,
        namespaces,
        shared: carried::Shared {
            mesh: joined.mesh.clone(),
            world: joined.discovery.world.clone(),
            drain: args.drain_timeout.0,
        },
        identities: identities::Identities::new(asking),
        node: judge::Node {
            cluster: joining.cluster.clone(),
            trust_domain: joining.trust_domain.clone(),
            addresses: joining.node_ips.clone(),
        },
        carried: tokio::sync::Mutex::default(),
    });
    let shown = admin::Shown {
        mesh: joined.mesh.clone(),
        discovery: joined.discovery.clone(),
        whose: admin::Whose::Node(Arc::clone(&agent) as Arc<dyn admin::Pods>),
        started: std::time::SystemTime::now(),
        credential: Arc::default(),
    };
    joined.tasks.spawn(admin::serve(bind(joining.admin).await?, shown));
    let place = args.cni_conf_dir.clone().zip(args.cni_bin_dir.clone());
    let place = place.map(|(conf, bin)| setup::Place { conf, bin });
    let ready = Arc::clone(&joined.ready);
    let serving = serve::serve(Arc::clone(&agent), args.run_dir.clone(), place.clone(), changed, ready);
    let outcome = tokio::select! {
        done = serving => done.map_or_else(Err, |()| Ok(EXIT_OK)),
        () = &mut ended => Ok(EXIT_OK),
        lost = joined.lost() => Err(lost),
    };
    tracing::info!("ending: connections may finish for {:?}", args.drain_timeout.0);
    serve::farewell(&agent, place.as_ref());
    agent.end().await;
    outcome
}
