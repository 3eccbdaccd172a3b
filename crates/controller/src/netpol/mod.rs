//! NetworkPolicies from declared edges, without a cluster: objects in, policies out.
//!
//! The way: [`objects`] reads workloads and Services from manifests or lists, [`edge`] reads what a person
//! declared, [`graph`] resolves names and ports, [`mod@generate`] writes the policies. [`evaluate`] reads those that a
//! cluster has, and says what they mean for one connection. `handfast kube netpol` prints
//! and applies them, `handfast kube netpol test` proves that they hold.

pub mod edge;
mod error;
pub mod evaluate;
mod generate;
mod graph;
mod objects;

#[cfg(test)]
mod tests;

pub use edge::{Edge, PortName, Side};
pub use error::Error;
pub use generate::{
    DEFAULT_DENY, FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, Options, Policy, WORKLOAD_ANNOTATION, generate,
};
pub use graph::{Allowed, Graph, Peer, resolve, selects};
pub use objects::{CALLS_ANNOTATION, Objects, Port, Protocol, Service, TEST_LABEL, Workload};
