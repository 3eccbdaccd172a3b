//! Certificates for workloads of the mesh: who asks is known by a token that the API server judges, what is issued
//! follows from that and from the pod, and nothing but the key comes from the request (invariant 8).
//!
//! A node's proxy may ask in the name of pods that run on its own node, for itself it proves as any other pod does.

mod decide;
mod review;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Pod;

pub use decide::{Asked, LIFETIME, decide, identity, takes_part};
pub use review::{AUDIENCES, Bearer, review};

use crate::names::NODE;

/// A service account that may ask for the pods of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl NodeAccount {
    /// That of the node's proxy, as it is installed.
    pub fn own() -> Self {
        Self { namespace: NODE.to_owned(), name: NODE.to_owned() }
    }

    /// These and [our own](Self::own), which no others replace: its pods carry those of every namespace labelled for it.
    pub fn with_own(named: &[Self]) -> Vec<Self> {
        let own = Self::own();
        let others = named.iter().filter(|account| **account != own).cloned();
        std::iter::once(own.clone()).chain(others).collect()
    }
}

impl std::str::FromStr for NodeAccount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = |part: &&str| crate::names::is_object_name(part);
        match text.split_once('/') {
            Some((namespace, name)) if [namespace, name].iter().all(valid) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("{text:?} is no NAMESPACE/SERVICE_ACCOUNT")),
        }
    }
}

/// As whom a pod runs.
fn account_of(pod: &Pod) -> &str {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    account.filter(|account| !account.is_empty()).unwrap_or("default")
}
