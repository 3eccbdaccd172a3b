//! The mesh: workloads, services, who may call whom, and how securely. A control plane fills a [`World`], from a
//! cluster or from a folder; a proxy asks it about one connection at a time. Everything here is pure.
//!
//! The words are those of Istio's ambient mesh, so that its proxies and ours understand one another: a [`Workload`]
//! is a pod, a [`Service`] its stable name, a [`Policy`] an authorization policy that was made plain.

mod memberships;
mod mode;
pub mod policy;
mod route;
mod trust;
mod world;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::identity::{IdentityError, SpiffeId, TrustDomain};

pub use memberships::Memberships;
pub use mode::{Mode, Modes, PortModes};
pub use policy::{Arrival, Decision, Policy, Reason};
pub use route::{Plain, Refused, Route, route};
pub use trust::Trust;
pub use world::{Change, Touched, World};

/// The port of HBONE: HTTP/2 CONNECT over mutual TLS.
pub const HBONE_PORT: u16 = 15008;

/// A Service's name: `namespace/hostname`, as in `shop/web.shop.svc.cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its full name in the DNS.
    pub hostname: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

/// What an application speaks on a port, where that was declared (`appProtocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AppProtocol {
    /// Not declared.
    #[default]
    Unknown,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes that are not looked into.
    Tcp,
    /// TLS of the application's own.
    Tls,
}

/// How a Service's port leads to a workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// The Service's.
    pub service: u16,
    /// The workload's.
    pub target: u16,
    /// What is spoken there.
    pub protocol: AppProtocol,
}

/// How a workload is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// As it is: it is not in the mesh.
    #[default]
    None,
    /// By HBONE.
    Hbone,
}

/// What a workload belongs to; for people only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A CronJob.
    CronJob,
    /// A Job.
    Job,
    /// Anything else, or nothing.
    #[default]
    Pod,
}

/// A pod, or a process of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Unique in the mesh: `cluster//Pod/namespace/name`.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its addresses; none for one whose address is not known yet.
    pub addresses: Vec<IpAddr>,
    /// The trust domain of its identity.
    pub trust_domain: TrustDomain,
    /// The service account that it runs as.
    pub service_account: String,
    /// The node that it runs on; empty where there are none.
    pub node: String,
    /// How it is reached.
    pub tunnel: Tunnel,
    /// Whether it shares the node's network, so that its address is not its own.
    pub host_network: bool,
    /// The Deployment (or Job, CronJob) that it belongs to, else its own name.
    pub workload_name: String,
    /// What `workload_name` is the name of.
    pub kind: WorkloadKind,
    /// The name of its application, which all of its versions share; for people only.
    pub canonical_name: String,
    /// The version of its application; for people only.
    pub canonical_revision: String,
    /// The cluster that it runs in; empty where there is one alone.
    pub cluster: String,
    /// The Services that lead to it, and their ports.
    pub services: Memberships,
    /// Policies that select it, `namespace/name`; those of its namespace and of the whole mesh apply as well.
    pub policies: Vec<String>,
    /// Whether new connections may go to it.
    pub healthy: bool,
    /// How securely it is to be called, and to call.
    pub modes: Modes,
}

impl Workload {
    /// The identity that its certificate has.
    ///
    /// # Errors
    ///
    /// Where namespace or service account are no parts of one.
    pub fn identity(&self) -> Result<SpiffeId, IdentityError> {
        SpiffeId::service_account(&self.trust_domain, &self.namespace, &self.service_account)
    }
}

/// A stable name and address for workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its short name: `web`.
    pub short: String,
    /// Its addresses; none for a headless one.
    pub addresses: Vec<IpAddr>,
    /// Its ports; `target` is 0 where each workload has its own.
    pub ports: Vec<Port>,
    /// Identities that its workloads may have beside their own service accounts.
    pub subject_alt_names: Vec<String>,
}

/// What an address belongs to.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A workload.
    Workload(Arc<Workload>),
    /// A service.
    Service(Arc<Service>),
}
