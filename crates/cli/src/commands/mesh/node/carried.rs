//! One pod that the node's proxy carries: its sockets inside of the pod's network, its certificate, its rules, and how all
//! of that ends.
//!
//! A pod that is being made gets its rules first: what it calls waits in the kernel's queue until there is a certificate.
//! A pod that runs already is attached first, so that none of its new connections is refused meanwhile; those that are
//! open go on as they were (ADR 0092).

use std::collections::HashSet;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use controller::names::MESH_USER;
use model::codes::mesh as codes;
use model::identity::SpiffeId;
use model::mesh::{HBONE_PORT, World};
use proxy::mesh::{Attached, Attachment, Mesh, Pod, Probes};
use sys::{Namespace, Redirection};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::find::Number;
use super::identities::Awaited;
use crate::commands::mesh::proxy::{INBOUND, OUTBOUND, node};

/// How long a pod's connections wait for the control plane to know of it. After that they are refused by the proxy, with
/// a line that says why.
const KNOWN: Duration = Duration::from_secs(10);

/// What is known of a pod before it is carried.
pub struct Wanted {
    /// Its uid in the mesh.
    pub workload: String,
    /// For people: `NAMESPACE/NAME`.
    pub name: String,
    /// Its identity.
    pub identity: SpiffeId,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its rules.
    pub redirection: Redirection,
    /// Who may look after it.
    pub probes: Probes,
    /// Whether it is just being made: the rules come first.
    pub is_new: bool,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The pod has ended.
    Gone,
    /// The pod goes on without the mesh.
    Released,
    /// This process ends; the rules stay, so that nothing goes around the next one.
    Handed,
}

/// A pod that is carried, or about to be.
pub struct Carried {
    /// Its network.
    pub network: Number,
    /// The way into it.
    pub namespace: Namespace,
    /// Its uid in the mesh.
    pub workload: String,
    /// Its certificate, once there is one.
    pub credential: Awaited,
    /// For people.
    pub name: String,
    /// Its identity.
    pub identity: SpiffeId,
    /// The runtime's name for the network, if the plugin handed it over.
    pub container: Option<String>,
    /// Since when.
    pub since: Instant,
    /// Whether its connections are carried by now.
    pub attached: Arc<AtomicBool>,
    tell: Option<oneshot::Sender<Leave>>,
    task: JoinHandle<()>,
}

impl Carried {
    /// Whether nothing of it is left.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Whether it was told to end.
    pub fn is_leaving(&self) -> bool {
        self.tell.is_none()
    }

    /// Has it end.
    pub fn leave(&mut self, how: Leave) {
        if let Some(tell) = self.tell.take() {
            // Whoever has ended by himself needs not be told.
            let _ = tell.send(how);
        }
    }

    /// Waits until nothing of it is left.
    pub async fn over(self) {
        // How it ended is in the log.
        let _ = self.task.await;
    }
}

/// What all pods share.
#[derive(Clone)]
pub struct Shared {
    /// The data plane.
    pub mesh: Mesh,
    /// The mesh as it is known.
    pub world: watch::Receiver<Arc<World>>,
    /// How long connections may take to finish.
    pub drain: Duration,
}

/// Sockets inside, and what is known only there.
struct Inside {
    outbound: TcpListener,
    inbound: TcpListener,
    hbone: TcpListener,
    gateways: Vec<IpAddr>,
}

/// Begins to carry a pod. When this returns, a new pod's connections cannot go around the proxy.
///
/// # Errors
///
/// Why that cannot be, in words; nothing was changed then.
pub async fn carry(
    shared: &Shared,
    wanted: Wanted,
    network: (Number, OwnedFd),
    container: Option<String>,
    credential: Awaited,
) -> Result<Carried, String> {
    let rules = wanted.is_new.then(|| wanted.redirection.clone());
    let (own, nodes) = (wanted.addresses.clone(), wanted.probes.nodes.clone());
    let opened = tokio::task::spawn_blocking(move || open(network.1, rules, &own, &nodes)).await;
    let (namespace, inside) = opened.map_err(|error| error.to_string())??;
    let (tell, told) = oneshot::channel();
    let attached = Arc::new(AtomicBool::new(false));
    let (workload, name, identity) = (wanted.workload.clone(), wanted.name.clone(), wanted.identity.clone());
    let task = Task {
        shared: shared.clone(),
        wanted,
        namespace: namespace.clone(),
        attached: Arc::clone(&attached),
    };
    Ok(Carried {
        network: network.0,
        namespace,
        workload,
        credential: credential.clone(),
        name,
        identity,
        container,
        since: Instant::now(),
        attached,
        tell: Some(tell),
        task: tokio::spawn(task.run(inside, credential, told)),
    })
}

/// Nothing is touched in a network that is not proved to be the pod's: it has the pod's address, and none of the node's. A
/// process of a pod that is being made may still be in the node's network.
fn open(
    network: OwnedFd,
    rules: Option<Redirection>,
    own: &[IpAddr],
    nodes: &HashSet<IpAddr>,
) -> Result<(Namespace, Inside), String> {
    let namespace =
        Namespace::enter(network).map_err(|error| format!("its network cannot be entered: {error}"))?;
    let addresses: Vec<IpAddr> = own.iter().chain(nodes).copied().collect();
    let local = namespace.run(move || addresses.into_iter().map(is_local).collect::<Vec<_>>());
    let local = local.map_err(|error| error.to_string())?;
    let (own, nodes) = local.split_at(own.len());
    if !own.iter().any(|is| *is) || nodes.iter().any(|is| *is) {
        return Err("what was found is not its network".to_owned());
    }
    let inside = namespace.run(move || {
        let listen = |port: u16| {
            sys::listen(port).map_err(|error| format!("cannot listen on its port {port}: {error}"))
        };
        let inside = Inside {
            outbound: listen(OUTBOUND)?,
            inbound: listen(INBOUND)?,
            hbone: listen(HBONE_PORT)?,
            gateways: node::gateways(),
        };
        if let Some(rules) = rules {
            rules.apply().map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(inside)
    });
    let inside = inside.map_err(|error| error.to_string())??;
    Ok((namespace, inside))
}

/// Whether an address is one of the calling thread's network: only then a socket can have it.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

struct Task {
    shared: Shared,
    wanted: Wanted,
    namespace: Namespace,
    attached: Arc<AtomicBool>,
}

impl Task {
    async fn run(self, inside: Inside, credential: Awaited, mut told: oneshot::Receiver<Leave>) {
        let begun = tokio::select! {
            begun = self.begin(inside, credential) => begun,
            how = &mut told => {
                if how == Ok(Leave::Released) {
                    self.rules("taken away", |rules| rules.remove()).await;
                }
                return;
            }
        };
        let pod = self.wanted.name.as_str();
        let attached = match begun {
            Ok(attached) => attached,
            Err(why) => {
                let code = &codes::NODE_POD;
                tracing::error!(code = code.id, pod, "{}: {why}", code.title);
                return;
            }
        };
        self.attached.store(true, Ordering::Release);
        tracing::info!(pod, identity = %self.wanted.identity, "the pod's connections are carried");
        match told.await {
            Ok(Leave::Released) => {
                self.rules("released", |rules| rules.release()).await;
                attached.drain(self.shared.drain).await;
                self.rules("taken away", |rules| rules.remove()).await;
                tracing::info!(pod, "the pod goes on without the mesh");
            }
            Ok(Leave::Gone) => {
                attached.drain(Duration::from_secs(1)).await;
                tracing::info!(pod, "the pod has ended");
            }
            Ok(Leave::Handed) => attached.drain(self.shared.drain).await,
            Err(_) => {}
        }
    }

    async fn begin(&self, inside: Inside, mut credential: Awaited) -> Result<Attached, String> {
        let gone = "nobody asks for its certificate any more";
        let credential = credential.wait_for(Option::is_some).await.map_err(|_| gone)?.clone().ok_or(gone)?;
        let mut world = self.shared.world.clone();
        let workload = &self.wanted.workload;
        let known = world.wait_for(|world| world.workload(workload).is_some());
        // What becomes of it without, the proxy decides: it refuses.
        let _ = tokio::time::timeout(KNOWN, known).await;
        let mut probes = self.wanted.probes.clone();
        probes.nodes.extend(inside.gateways);
        let attached = self.shared.mesh.attach(Attachment {
            uid: workload.clone(),
            credential,
            address: self.wanted.addresses.first().copied(),
            hbone: inside.hbone,
            ways_out: Vec::new(),
            pod: Some(Pod {
                outbound: inside.outbound,
                inbound: inside.inbound,
                mark: Some(MESH_USER),
                keeps_client_address: true,
                namespace: Some(self.namespace.clone()),
                probes,
            }),
        });
        let attached = attached.map_err(|error| error.to_string())?;
        if !self.wanted.is_new {
            self.inside(|rules| rules.apply()).await?;
        }
        Ok(attached)
    }

    /// Changes the rules; that they cannot be changed is said, and no more can be done.
    async fn rules(&self, what: &str, change: fn(&Redirection) -> Result<(), sys::redirection::Error>) {
        if let Err(why) = self.inside(change).await {
            let code = &codes::REDIRECTION;
            tracing::error!(code = code.id, pod = self.wanted.name, "its rules are not {what}: {why}");
        }
    }

    async fn inside(
        &self,
        change: fn(&Redirection) -> Result<(), sys::redirection::Error>,
    ) -> Result<(), String> {
        let (namespace, rules) = (self.namespace.clone(), self.wanted.redirection.clone());
        let done = tokio::task::spawn_blocking(move || namespace.run(move || change(&rules))).await;
        done.map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }
}
