//! A pod that was started: what belongs to it, how it calls and is called, and how it ends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use manifests::folder::LocalPod;
use model::mesh::HBONE_PORT;
use proxy::mesh::Attached;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::network::{Reader, Sandbox};

/// How long connections may finish when a pod ends.
const DRAIN: Duration = Duration::from_secs(2);

/// A pod that was started.
pub struct Started {
    /// As its manifest says.
    pub pod: LocalPod,
    /// None for one that is not in the mesh.
    pub attached: Option<Attached>,
    /// What it has for itself; none where all pods are in the machine's network.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Told true, its processes are ended.
    pub stop: watch::Sender<bool>,
    /// Whether it takes connections.
    pub ready: watch::Receiver<bool>,
    /// Runs its processes.
    pub task: JoinHandle<()>,
}

/// How a pod's processes call out.
pub enum Way<'a> {
    /// Through a proxy that they are told of.
    Proxy(SocketAddr),
    /// Straight to whom they want, from where they are.
    Redirected(&'a Sandbox),
}

impl Started {
    /// How its processes call out; none for one that is not in the mesh.
    pub fn way_out(&self) -> Option<Way<'_>> {
        let attached = self.attached.as_ref()?;
        match &self.sandbox {
            Some(sandbox) => Some(Way::Redirected(sandbox)),
            None => attached.ways_out().first().copied().map(Way::Proxy),
        }
    }

    /// Where it is called by somebody who is no pod, and what is there: tunnels; and where it has a network of its own, so
    /// that this leads to its proxy too, the ports of its application. Nothing for one that is not in the mesh.
    pub fn called_at(&self) -> (Option<SocketAddr>, Vec<SocketAddr>) {
        if self.attached.is_none() {
            return (None, Vec::new());
        }
        let at = |port| SocketAddr::new(address_of(&self.pod), port);
        let ports = self.pod.containers.iter().flat_map(|container| &container.ports);
        let own = self.sandbox.iter().flat_map(|_| ports.clone().map(|port| at(port.number)));
        (Some(at(HBONE_PORT)), own.collect())
    }

    /// For whom its names are.
    pub fn reader(&self) -> Reader<'_> {
        reader(&self.pod, self.attached.is_some())
    }

    async fn end(self) {
        let _ = self.stop.send(true);
        if let Some(attached) = self.attached {
            attached.drain(DRAIN).await;
        }
        // It fails only when it panicked, which was printed.
        let _ = self.task.await;
    }
}

/// Ends pods, all at one time.
pub async fn end_all(pods: impl IntoIterator<Item = Started>) {
    let mut ending = tokio::task::JoinSet::new();
    for started in pods {
        ending.spawn(started.end());
    }
    while ending.join_next().await.is_some() {}
}

/// The uid of a pod's workload, as the index gives it.
pub fn uid(pod: &LocalPod) -> String {
    format!("local//Pod/{}/{}", pod.namespace, pod.name)
}

/// For whom the names of a pod are.
pub fn reader(pod: &LocalPod, is_carried: bool) -> Reader<'_> {
    Reader { name: &pod.name, namespace: &pod.namespace, address: address_of(pod), is_carried }
}

/// Its address; each is given one before it is started.
pub fn address_of(pod: &LocalPod) -> IpAddr {
    pod.address.unwrap_or(IpAddr::from([127, 0, 0, 1]))
}
