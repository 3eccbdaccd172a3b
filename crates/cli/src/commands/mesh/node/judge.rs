//! Which pods are the node's proxy's, and what follows from a pod's manifest. Pure.

use std::net::IpAddr;

use controller::inject::{Redirected, is_injected, probe_ports};
use controller::names::{MESH_BY_NODE, MESH_DISABLED, MESH_LABEL, NEVER_IN_MESH};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt as _;
use model::codes::mesh as codes;
use model::identity::{SpiffeId, TrustDomain};
use proxy::mesh::Probes;
use sys::{Redirection, Subnet};
use time::OffsetDateTime;

use super::carried::Wanted;

#[cfg(test)]
mod tests;

/// A pod that was begun less than this ago has hardly called anybody yet: it gets its rules before its certificate.
const NEW: i64 = 30;

/// Whether the pods of a namespace are carried by the proxy of their node.
pub fn is_labelled(namespace: &Namespace) -> bool {
    !NEVER_IN_MESH.contains(&namespace.name_any().as_str())
        && namespace.labels().get(MESH_LABEL).is_some_and(|value| value == MESH_BY_NODE)
}

/// Whether a pod has ended.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether kubelet has said which addresses a pod has.
pub fn has_address(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.pod_ips.as_ref()).is_some_and(|addresses| !addresses.is_empty())
}

/// Whether the proxy of its node carries a pod of this namespace.
pub fn is_ours(pod: &Pod, namespace: &Namespace) -> bool {
    let out = |all: &std::collections::BTreeMap<String, String>| {
        all.get(MESH_LABEL).is_some_and(|value| value == MESH_DISABLED)
    };
    let spec = pod.spec.as_ref();
    is_labelled(namespace)
        && !out(pod.labels())
        && !out(pod.annotations())
        && spec.is_some_and(|spec| spec.host_network != Some(true))
        // Of a namespace that had sidecars before.
        && !is_injected(pod)
        && !is_over(pod)
}

/// What is the same for all pods of the node.
#[derive(Clone, Debug)]
pub struct Node {
    /// The cluster's name.
    pub cluster: String,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
}

impl Node {
    /// What a pod needs. `by_plugin`: it has no container yet.
    ///
    /// # Errors
    ///
    /// When it can have no identity.
    pub fn wanted(&self, pod: &Pod, by_plugin: bool) -> Result<Wanted, String> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.filter(|account| !account.is_empty()).unwrap_or_else(|| "default".to_owned());
        let identity = SpiffeId::service_account(&self.trust_domain, &namespace, &account)
            .map_err(|error| format!("{namespace}/{account} gives no identity: {error}"))?;
        let status = pod.status.as_ref();
        let started = status.and_then(|status| Some(status.start_time.as_ref()?.0.as_second()));
        let fresh = started.is_some_and(|at| OffsetDateTime::now_utc().unix_timestamp() - at < NEW);
        let addresses = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
        let as_json = serde_json::to_value(pod).unwrap_or_default();
        Ok(Wanted {
            workload: format!("{}//Pod/{namespace}/{name}", self.cluster),
            name: format!("{namespace}/{name}"),
            identity,
            addresses: addresses.filter_map(|one| one.ip.parse().ok()).collect(),
            redirection: redirection(&as_json["metadata"]["annotations"], &name),
            probes: Probes {
                nodes: self.addresses.iter().map(IpAddr::to_canonical).collect(),
                ports: probe_ports(&as_json).into_iter().collect(),
            },
            is_new: by_plugin || fresh,
        })
    }
}

/// The rules of a pod. What its annotations say wrongly excepts nothing.
fn redirection(annotations: &serde_json::Value, name: &str) -> Redirection {
    let asked = Redirected::read(annotations).unwrap_or_else(|refusal| {
        let code = &codes::MESH_ANNOTATION;
        tracing::warn!(code = code.id, pod = name, "{refusal}; nothing goes around the proxy");
        Redirected::default()
    });
    let mut redirection = Redirection::default();
    redirection.outbound.ports.extend(asked.skip_outbound_ports);
    let subnets = asked.skip_outbound_subnets.iter();
    redirection.outbound.subnets.extend(subnets.filter_map(|text| text.parse::<Subnet>().ok()));
    redirection.inbound_ports.extend(asked.skip_inbound_ports);
    redirection
}
