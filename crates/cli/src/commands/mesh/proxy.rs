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

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use controller::names::MESH_USER;
use model::codes::serving;
use model::identity::SpiffeId;
use model::units::Span;
use proxy::mesh::{Attachment, Pod, Probes};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::client::{Adopting, Socket};
use wire::workload_api::Svid;

use crate::commands::Globals;
use crate::commands::kube::connect::block_on;
use crate::commands::kube::controller::bind;
use crate::commands::mesh::joining::{Joining, asked_to_end, listen};
use crate::commands::mesh::supervise;
use crate::failure::{EXIT_OK, Failure, Outcome};

pub use node::gateways;

/// Where calls of the pod are redirected to.
pub const OUTBOUND: u16 = 15001;
/// Where plain connections to the pod are redirected to.
pub const INBOUND: u16 = 15006;

/// Arguments of `handfast mesh proxy`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    joining: Joining,
    /// Ports that kubelet asks on: plain text from the node is let in there.
    #[arg(long, env = "HANDFAST_PROBE_PORTS", value_delimiter = ',', value_name = "PORT")]
    probe_ports: Vec<u16>,
    /// As whom the pod runs.
    #[arg(long, env = "HANDFAST_SERVICE_ACCOUNT", value_name = "NAME")]
    service_account: String,
    /// Socket of the SPIFFE Workload API, for an application that wants the pod's identity itself.
    #[arg(long, env = "HANDFAST_WORKLOAD_API", value_name = "PATH")]
    workload_api: Option<PathBuf>,
    /// How long connections may take to finish at the end.
    #[arg(long, env = "HANDFAST_DRAIN_TIMEOUT", default_value = "20s", value_name = "SPAN")]
    drain_timeout: Span,
}

/// Where the pod's connections arrive. Taken before anything is waited for: who calls meanwhile waits in the kernel's
/// queue.
struct Ports {
    outbound: TcpListener,
    inbound: TcpListener,
    hbone: TcpListener,
}

/// Runs `handfast mesh proxy`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    args.joining.begin(globals)?;
    let Joining { trust_domain, pod_namespace, supervised, .. } = &args.joining;
    let identity = SpiffeId::service_account(trust_domain, pod_namespace, &args.service_account)
        .map_err(|why| Failure::usage(format!("--service-account {}: {why}", args.service_account)))?;
    if supervised.is_none() {
        return supervise::supervise(vec![
            listen(OUTBOUND)?,
            listen(INBOUND)?,
            listen(model::mesh::HBONE_PORT)?,
        ]);
    }
    let given: Result<[TcpListener; 3], _> = supervise::given()?.try_into();
    let [outbound, inbound, hbone] =
        given.map_err(|_| Failure::usage("--supervised: three listening sockets are given"))?;
    block_on(carry(args, identity, Ports { outbound, inbound, hbone }))
}

async fn carry(args: Args, identity: SpiffeId, ports: Ports) -> Outcome {
    let mut ended = std::pin::pin!(asked_to_end()?);
    let joining = &args.joining;
    let adopting = Adopting::default();
    let adopter = adopting.enter(&identity.to_string());
    let mut joined = tokio::select! {
        joined = joining.join(Some(marked()), adopting) => joined?,
        () = &mut ended => return Ok(EXIT_OK),
    };
    let mut source = joining.source(&joined, identity.clone(), false);
    source.svid = workload_api(args.workload_api.as_deref(), &mut joined.tasks)?;
    let (roots, trust) = (joined.roots.clone(), joined.discovery.trust.clone());
    let keeping = keep::Keeping { source, identity, roots, trust, adopter };
    let uid = format!("{}//Pod/{}/{}", joining.cluster, joining.pod_namespace, joining.pod_name);
    let shown = admin::Shown {
        mesh: joined.mesh.clone(),
        discovery: joined.discovery.clone(),
        whose: admin::Whose::Workload(uid.clone()),
        started: std::time::SystemTime::now(),
        credential: Arc::default(),
    };
    let shown_credential = Arc::clone(&shown.credential);
    joined.tasks.spawn(admin::serve(bind(joining.admin).await?, shown));

    let discovery = joined.discovery.clone();
    let begin = async {
        let credential = keep::keep(keeping).await;
        discovery.ready().await;
        credential
    };
    let credential = tokio::select! {
        credential = begin => credential,
        () = &mut ended => return Ok(EXIT_OK),
        lost = joined.lost() => return Err(lost),
    };
    // Nobody else sets it.
    let _ = shown_credential.set(credential.clone());
    let attached = joined
        .mesh
        .attach(Attachment {
            uid,
            credential,
            address: joining.pod_ips.first().copied(),
            hbone: ports.hbone,
            ways_out: Vec::new(),
            pod: Some(Pod {
                outbound: ports.outbound,
                inbound: ports.inbound,
                mark: Some(MESH_USER),
                keeps_client_address: true,
                namespace: None,
                probes: Probes {
                    nodes: joining
                        .node_ips
                        .iter()
                        .map(IpAddr::to_canonical)
                        .chain(node::gateways())
                        .collect(),
                    ports: args.probe_ports.iter().copied().collect(),
                },
            }),
        })
        .map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))?;
    joined.ready.store(true, Ordering::Release);
    tracing::info!("the pod's connections are carried");
    let outcome = tokio::select! {
        () = &mut ended => Ok(EXIT_OK),
        lost = joined.lost() => Err(lost),
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

/// What the proxy itself calls is not redirected: its sockets have the mark.
fn marked() -> Socket {
    Arc::new(|address| sys::outgoing(address, &sys::Outgoing { mark: Some(MESH_USER), from: sys::From::Any }))
}
