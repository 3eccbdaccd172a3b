//! All objects to all that a mesh knows of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::codes::mesh as codes;
use model::mesh::{self, Change, Modes, Policy, Tunnel, Workload, World};

use super::endpoints::{self, Members, addresses};
use super::istio::{Authorization, Custom};
use super::modes::{On, Peers, outbound};
use super::owner::{canonical, owner};
use super::read::Wrong;
use super::{Options, Path, Problem};
use crate::names::{MESH_BY_NODE, MESH_DISABLED, MESH_ENABLED, MESH_LABEL};

/// Objects as they are, in any order.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Service accounts. Nothing is decided by them: the API server lets no pod be made without its own.
    pub service_accounts: Vec<ServiceAccount>,
    /// Services.
    pub services: Vec<Service>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Who is behind Services.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// AuthorizationPolicies.
    pub authorization_policies: Vec<Custom>,
    /// PeerAuthentications.
    pub peer_authentications: Vec<Custom>,
}

/// What became of objects; everything in the order of its name.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Pods that run or will, and endpoints of Services that are no pods.
    pub workloads: Vec<Workload>,
    /// Services with addresses or endpoints of their own: all but `ExternalName`.
    pub services: Vec<mesh::Service>,
    /// Policies. One that cannot be understood is not among them, and is listed by all workloads that it would apply to.
    pub policies: Vec<Policy>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Index {
    /// A world of all this.
    pub fn world(&self) -> World {
        let mut world = World::default();
        for service in &self.services {
            world.apply(Change::Service(service.clone()));
        }
        for workload in &self.workloads {
            world.apply(Change::Workload(workload.clone()));
        }
        for policy in &self.policies {
            world.apply(Change::Policy(policy.clone()));
        }
        world
    }
}

/// Puts together what objects mean.
pub fn index(objects: &Objects, options: &Options) -> Index {
    let pods: Vec<&Pod> = objects.pods.iter().filter(|pod| !is_over(pod)).collect();
    let found = endpoints::endpoints(objects, &pods, options);
    let mut policies = Vec::new();
    let mut problems = Vec::new();
    for custom in &objects.authorization_policies {
        let read = Authorization::read(custom, options);
        if let Err(wrong) = &read.policy {
            problems.push(custom.problem("AuthorizationPolicy", wrong.clone(), !read.dry_run));
        }
        policies.push(read);
    }
    let namespaces: HashMap<&str, &Namespace> =
        objects.namespaces.iter().map(|object| (name_of(&object.metadata), object)).collect();
    for namespace in &objects.namespaces {
        wrong_label(
            namespace.metadata.labels.as_ref(),
            "labels",
            &[MESH_ENABLED, MESH_BY_NODE, MESH_DISABLED],
        )
        .into_iter()
        .for_each(|wrong| problems.push(problem_of("Namespace", &namespace.metadata, wrong, false)));
    }
    let mut pass = Pass {
        options,
        namespaces,
        peers: Peers::read(&objects.peer_authentications, options),
        policies: &policies,
        problems,
    };
    let mut workloads: Vec<Workload> =
        pods.iter().zip(found.pods).map(|(pod, members)| pass.workload(pod, members)).collect();
    workloads.extend(found.foreign.into_values());
    workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
    let mut problems = pass.problems;
    problems.extend(pass.peers.problems());
    problems.sort_by(|a, b| {
        (a.kind, &a.namespace, &a.name, &a.path).cmp(&(b.kind, &b.namespace, &b.name, &b.path))
    });
    problems.dedup();
    let mut services = found.services;
    services.sort_by(|a, b| a.name.cmp(&b.name));
    // Should a name be there twice, then one that cannot be understood keeps it closed.
    let broken: BTreeSet<String> =
        policies.iter().filter(|read| read.policy.is_err()).map(|read| read.key.clone()).collect();
    let understood = policies.into_iter().filter_map(|read| read.policy.ok());
    let mut policies: Vec<Policy> = understood.filter(|policy| !broken.contains(&policy.key())).collect();
    policies.sort_by_key(Policy::key);
    Index { workloads, services, policies, problems }
}

/// What all pods are looked at with.
struct Pass<'a> {
    options: &'a Options,
    namespaces: HashMap<&'a str, &'a Namespace>,
    peers: Peers<'a>,
    policies: &'a [Authorization],
    problems: Vec<Problem>,
}

impl Pass<'_> {
    fn workload(&mut self, pod: &Pod, members: Members) -> Workload {
        let (namespace, name) = (namespace_of(&pod.metadata), name_of(&pod.metadata));
        let no_labels = BTreeMap::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&no_labels);
        let spec = pod.spec.as_ref();
        let host_network = spec.is_some_and(|spec| spec.host_network == Some(true));
        // A pod that is being ended takes no new connections, whoever lists it.
        let lives = pod.metadata.deletion_timestamp.is_none();
        let listed = members.values().any(|member| member.ready);
        let healthy = lives && if members.is_empty() { is_ready(pod) } else { listed };
        let services = members.into_iter().filter(|(_, member)| !listed || member.ready);
        let root = &self.options.root_namespace;
        let listing = self.policies.iter().filter(|policy| policy.is_listed_by(root, namespace, labels));
        let policies: BTreeSet<String> = listing.map(|policy| policy.key.clone()).collect();
        let account = spec.and_then(|spec| {
            let named = spec.service_account_name.as_deref().or(spec.service_account.as_deref());
            named.filter(|account| !account.is_empty())
        });
        let (kind, workload_name) = owner(pod);
        let (canonical_name, canonical_revision) = canonical(labels, &workload_name);
        let workload = Workload {
            uid: format!("{}//Pod/{namespace}/{name}", self.options.cluster),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            addresses: addresses(pod),
            trust_domain: self.options.trust_domain.clone(),
            service_account: account.unwrap_or("default").to_owned(),
            node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            tunnel: self.tunnel(pod, host_network),
            host_network,
            workload_name,
            kind,
            canonical_name,
            canonical_revision,
            cluster: self.options.cluster.clone(),
            services: services.map(|(service, member)| (service, member.ports)).collect(),
            policies: policies.into_iter().collect(),
            healthy,
            modes: Modes { inbound: self.peers.inbound(namespace, labels), outbound: self.outbound(pod) },
        };
        if workload.tunnel == Tunnel::Hbone
            && let Err(error) = workload.identity()
        {
            let wrong = Wrong {
                path: Path::of(&["spec", "serviceAccountName"]),
                code: &codes::NO_IDENTITY,
                message: format!("it cannot have an identity: {error}"),
            };
            self.problems.push(problem_of("Pod", &pod.metadata, wrong, true));
        }
        workload
    }

    /// Whether a pod is in the mesh: its namespace is, and it is not taken out, and it has a network of its own.
    fn tunnel(&mut self, pod: &Pod, host_network: bool) -> Tunnel {
        let metadata = &pod.metadata;
        let namespace = self.namespaces.get(namespace_of(metadata));
        let labels = namespace.and_then(|namespace| namespace.metadata.labels.as_ref());
        let label = labels.and_then(|labels| labels.get(MESH_LABEL)).map(String::as_str);
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
                self.problems.push(problem_of("Pod", metadata, wrong, false));
            }
        }
        if enabled && !out && !host_network { Tunnel::Hbone } else { Tunnel::None }
    }

    fn outbound(&mut self, pod: &Pod) -> mesh::PortModes {
        let namespace = self.namespaces.get(namespace_of(&pod.metadata)).map(|namespace| &namespace.metadata);
        let of_namespace = namespace.and_then(|metadata| metadata.annotations.as_ref());
        if self.options.injected && namespace.is_none() {
            // What its namespace says is not known yet: nothing falls back to plain text meanwhile (invariant 3).
            return mesh::Mode::Strict.into();
        }
        let (modes, wrong) = outbound(pod.metadata.annotations.as_ref(), of_namespace);
        for (on, wrong) in wrong {
            self.problems.push(match (on, namespace) {
                (On::Namespace, Some(metadata)) => problem_of("Namespace", metadata, wrong, true),
                _ => problem_of("Pod", &pod.metadata, wrong, true),
            });
        }
        modes
    }
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

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
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
