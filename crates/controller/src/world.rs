//! What the API server knows, kept up to date by watches: Services, service accounts and namespaces. Of the latter
//! two only the metadata is asked for.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::grant::World;
use crate::names::{ALLOWED_DNS_ANNOTATION, MESH_BY_NODE, MESH_ENABLED, MESH_LABEL, TRUST_LABEL};

/// A store of namespaces.
pub type Namespaces = Store<PartialObjectMeta<Namespace>>;

/// The stores.
#[derive(Clone)]
pub struct KnownWorld {
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Services.
    pub services: Store<Service>,
    /// Service accounts.
    pub accounts: Store<PartialObjectMeta<ServiceAccount>>,
}

impl KnownWorld {
    /// Whether a namespace exists and is not being deleted.
    pub fn namespace_lives(&self, namespace: &str) -> bool {
        lives(&self.namespaces, namespace)
    }
}

/// Whether a namespace exists and is not being deleted.
pub fn lives(namespaces: &Namespaces, name: &str) -> bool {
    namespaces.get(&ObjectRef::new(name)).is_some_and(|found| found.metadata.deletion_timestamp.is_none())
}

/// Whether a namespace wants the trust bundle without having a Certificate: it says so, or its pods are in the mesh.
pub fn wants_trust(namespace: &PartialObjectMeta<Namespace>) -> bool {
    let Some(labels) = &namespace.metadata.labels else { return false };
    let has = |label, value| labels.get(label).is_some_and(|found| found == value);
    has(TRUST_LABEL, "enabled") || has(MESH_LABEL, MESH_ENABLED) || has(MESH_LABEL, MESH_BY_NODE)
}

impl World for KnownWorld {
    fn namespace_exists(&self, namespace: &str) -> bool {
        self.namespaces.get(&ObjectRef::new(namespace)).is_some()
    }

    fn allowed_dns_names(&self, namespace: &str) -> Option<String> {
        let found = self.namespaces.get(&ObjectRef::new(namespace))?;
        found.metadata.annotations.as_ref()?.get(ALLOWED_DNS_ANNOTATION).cloned()
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Vec<IpAddr>> {
        let found = self.services.get(&ObjectRef::new(name).within(namespace))?;
        if found.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let addresses = found.spec.as_ref().and_then(|spec| spec.cluster_ips.as_ref());
        // Headless ones say "None".
        Some(addresses.into_iter().flatten().filter_map(|text| text.parse().ok()).collect())
    }

    fn points_elsewhere(&self, namespace: &str, name: &str) -> bool {
        let found = self.services.get(&ObjectRef::new(name).within(namespace));
        let kind = found.as_ref().and_then(|found| found.spec.as_ref()?.type_.as_deref());
        kind == Some("ExternalName")
    }

    fn service_account_exists(&self, namespace: &str, name: &str) -> bool {
        let found = self.accounts.get(&ObjectRef::new(name).within(namespace));
        found.is_some_and(|found| found.metadata.deletion_timestamp.is_none())
    }
}
