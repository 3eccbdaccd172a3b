//! A pod, beside what applies to it, to a workload.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::codes::mesh as codes;
use model::mesh::{self, AppProtocol, Modes, Tunnel, Workload};

use super::endpoints::{Members, addresses};
use super::istio::Listing;
use super::modes::{On, Peers, outbound};
use super::owner::{canonical, owner};
use super::read::Wrong;
use super::{Options, Path, Problem};
use crate::inject::opaque_ports;
use crate::names::{MESH_BY_NODE, MESH_DISABLED, MESH_ENABLED, MESH_LABEL, NEVER_IN_MESH};

/// What applies to a pod beside itself.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) options: &'a Options,
    /// Its namespace, where that is known.
    pub(super) namespace: Option<&'a Namespace>,
    pub(super) peers: &'a Peers,
}

/// The uid of a pod's workload, as Istio has it.
pub(super) fn uid(options: &Options, namespace: &str, name: &str) -> String {
    format!("{}//Pod/{namespace}/{name}", options.cluster)
}

impl Around<'_> {
    /// The workload of a pod that is a member of these Services, and what is wrong.
    pub(super) fn workload<'l>(
        &self,
        pod: &Pod,
        members: Members,
        listings: impl Iterator<Item = &'l Listing>,
    ) -> (Workload, Vec<Problem>) {
        let mut problems = Vec::new();
        let (namespace, name) = (namespace_of(&pod.metadata), name_of(&pod.metadata));
        let no_labels = BTreeMap::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&no_labels);
        let spec = pod.spec.as_ref();
        let host_network = shares_host(pod);
        // A pod that is being ended takes no new connections, whoever lists it.
        let lives = pod.metadata.deletion_timestamp.is_none();
        let listed = members.values().any(|member| member.ready);
        let healthy = lives && if members.is_empty() { is_ready(pod) } else { listed };
        let services = members.into_iter().filter(|(_, member)| !listed || member.ready);
        let opaque = opaque_ports(pod.metadata.annotations.as_ref());
        let spoken = |mut port: mesh::Port| {
            if opaque.contains(&port.target) {
                port.protocol = AppProtocol::Tcp;
            }
            port
        };
        let services =
            services.map(|(service, member)| (service, member.ports.into_iter().map(spoken).collect()));
        let root = &self.options.root_namespace;
        let listings = listings.filter(|listing| listing.is_of(root, namespace, labels));
        let policies: BTreeSet<String> = listings.map(|listing| listing.key.clone()).collect();
        let account = spec.and_then(|spec| {
            let named = spec.service_account_name.as_deref().or(spec.service_account.as_deref());
            named.filter(|account| !account.is_empty())
        });
        let (kind, workload_name) = owner(pod);
        let (canonical_name, canonical_revision) = canonical(labels, &workload_name);
        let tunnel = self.tunnel(pod, host_network, &mut problems);
        let outbound = self.outbound(pod, &mut problems);
        let workload = Workload {
            uid: uid(self.options, namespace, name),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            addresses: addresses(pod),
            trust_domain: self.options.trust_domain.clone(),
            service_account: account.unwrap_or("default").to_owned(),
            node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            tunnel,
            host_network,
            workload_name,
            kind,
            canonical_name,
            canonical_revision,
            cluster: self.options.cluster.clone(),
            services: services.collect(),
            policies: policies.into_iter().collect(),
            healthy,
            modes: Modes { inbound: self.peers.inbound(namespace, labels, &mut problems), outbound },
        };
        if workload.tunnel == Tunnel::Hbone
            && let Err(error) = workload.identity()
        {
            let wrong = Wrong {
                path: Path::of(&["spec", "serviceAccountName"]),
                code: &codes::NO_IDENTITY,
                message: format!("it cannot have an identity: {error}"),
            };
            problems.push(problem_of("Pod", &pod.metadata, wrong, true));
        }
        (workload, problems)
    }

    /// Whether a pod is in the mesh: its namespace is, and it is not taken out, and it has a network of its own.
    fn tunnel(&self, pod: &Pod, host_network: bool, problems: &mut Vec<Problem>) -> Tunnel {
        let metadata = &pod.metadata;
        let labels = self.namespace.and_then(|namespace| namespace.metadata.labels.as_ref());
        let label = labels.and_then(|labels| labels.get(MESH_LABEL)).map(String::as_str);
        // Nobody gives these pods a proxy, neither the webhook nor the node: none would answer for them.
        let label = label.filter(|_| !NEVER_IN_MESH.contains(&namespace_of(metadata)));
        let enabled = match label {
            // The node's proxy takes in what runs already.
            Some(MESH_BY_NODE) => true,
            _ if self.options.injected => crate::inject::is_injected(pod),
            label => label == Some(MESH_ENABLED),
        };
        let mut out = false;
        for (of, field) in [(&metadata.labels, "labels"), (&metadata.annotations, "annotations")] {
            out |=
                of.as_ref().and_then(|all| all.get(MESH_LABEL)).is_some_and(|value| value == MESH_DISABLED);
            if let Some(wrong) = wrong_label(of.as_ref(), field, &[MESH_DISABLED, MESH_ENABLED]) {
                problems.push(problem_of("Pod", metadata, wrong, false));
            }
        }
        if enabled && !out && !host_network { Tunnel::Hbone } else { Tunnel::None }
    }

    fn outbound(&self, pod: &Pod, problems: &mut Vec<Problem>) -> mesh::PortModes {
        let namespace = self.namespace.map(|namespace| &namespace.metadata);
        let of_namespace = namespace.and_then(|metadata| metadata.annotations.as_ref());
        if self.options.injected && namespace.is_none() {
            // What its namespace says is not known yet: nothing falls back to plain text meanwhile (invariant 3).
            return mesh::Mode::Strict.into();
        }
        let (modes, wrong) = outbound(pod.metadata.annotations.as_ref(), of_namespace);
        for (on, wrong) in wrong {
            problems.push(match (on, namespace) {
                (On::Namespace, Some(metadata)) => problem_of("Namespace", metadata, wrong, true),
                _ => problem_of("Pod", &pod.metadata, wrong, true),
            });
        }
        modes
    }
}

/// What is wrong with a Namespace itself.
pub(super) fn namespace_problem(namespace: &Namespace) -> Option<Problem> {
    let known = [MESH_ENABLED, MESH_BY_NODE, MESH_DISABLED];
    let labels = namespace.metadata.labels.as_ref();
    let wrong =
        wrong_label(labels, "labels", &known).or_else(|| never(name_of(&namespace.metadata), labels?))?;
    Some(problem_of("Namespace", &namespace.metadata, wrong, false))
}

/// A label that would bring in a namespace that never is.
fn never(name: &str, labels: &BTreeMap<String, String>) -> Option<Wrong> {
    let value =
        labels.get(MESH_LABEL).filter(|value| [MESH_ENABLED, MESH_BY_NODE].contains(&value.as_str()))?;
    NEVER_IN_MESH.contains(&name).then(|| Wrong {
        path: Path::of(&["metadata", "labels", MESH_LABEL]),
        code: &codes::MESH_ANNOTATION,
        message: format!("{value:?} has no effect: {} are never in the mesh", NEVER_IN_MESH.join(", ")),
    })
}

fn wrong_label(all: Option<&BTreeMap<String, String>>, field: &str, known: &[&str]) -> Option<Wrong> {
    let value = all?.get(MESH_LABEL).filter(|value| !known.contains(&value.as_str()))?;
    Some(Wrong {
        path: Path::of(&["metadata", field, MESH_LABEL]),
        code: &codes::MESH_ANNOTATION,
        message: format!("{value:?} is neither {}", known.join(" nor ")),
    })
}

fn problem_of(kind: &'static str, metadata: &ObjectMeta, wrong: Wrong, closes: bool) -> Problem {
    let namespace = if kind == "Namespace" { "" } else { namespace_of(metadata) };
    Problem {
        kind,
        namespace: namespace.to_owned(),
        name: name_of(metadata).to_owned(),
        path: wrong.path,
        code: wrong.code,
        message: wrong.message,
        closes,
    }
}

pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod has the network of its node.
pub(super) fn shares_host(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) fn name_of(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// An object without a namespace is in `default`, as everywhere in Kubernetes.
pub(super) fn namespace_of(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or("default")
}

/// Namespace and name of an object, by which it is found.
pub(super) type Key = (String, String);

pub(super) fn key_of(metadata: &ObjectMeta) -> Key {
    (namespace_of(metadata).to_owned(), name_of(metadata).to_owned())
}
