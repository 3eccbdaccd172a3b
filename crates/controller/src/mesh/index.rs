//! All objects to all that a mesh knows of them.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use model::mesh::{self, Change, Policy, Workload, World};

use super::endpoints;
use super::istio::{Authorization, Custom};
use super::modes::Peers;
use super::pods::{Around, is_over, key_of, name_of, namespace_of, namespace_problem};
use super::{Options, Problem};

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

/// Puts together what objects mean. What a cluster's control plane keeps up change by change is the same
/// ([`super::live::Live`]).
pub fn index(objects: &Objects, options: &Options) -> Index {
    let pods: Vec<&Pod> = objects.pods.iter().filter(|pod| !is_over(pod)).collect();
    let mut found = endpoints::endpoints(objects, &pods, options);
    let mut policies = Vec::new();
    let mut problems = Vec::new();
    for custom in &objects.authorization_policies {
        let read = Authorization::read(custom, options);
        problems.extend(read.problem(custom));
        policies.push(read);
    }
    let namespaces: HashMap<&str, &Namespace> =
        objects.namespaces.iter().map(|object| (name_of(&object.metadata), object)).collect();
    problems.extend(objects.namespaces.iter().filter_map(namespace_problem));
    let peers = Peers::read(&objects.peer_authentications, options);
    problems.extend(peers.problems());
    let mut workloads = Vec::new();
    for pod in pods {
        let namespace = namespaces.get(namespace_of(&pod.metadata)).copied();
        let around = Around { options, namespace, peers: &peers };
        let members = found.pods.remove(&key_of(&pod.metadata)).unwrap_or_default();
        let (workload, wrong) = around.workload(pod, members, policies.iter().map(|read| &read.listing));
        workloads.push(workload);
        problems.extend(wrong);
    }
    workloads.extend(found.foreign.into_values());
    workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
    let mut services = found.services;
    services.sort_by(|a, b| a.name.cmp(&b.name));
    // Should a name be there twice, then one that cannot be understood keeps it closed.
    let broken = policies.iter().filter(|read| read.policy.is_err());
    let broken: BTreeSet<String> = broken.map(|read| read.listing.key.clone()).collect();
    let understood = policies.into_iter().filter_map(|read| read.policy.ok());
    let mut policies: Vec<Policy> = understood.filter(|policy| !broken.contains(&policy.key())).collect();
    policies.sort_by_key(Policy::key);
    Index { workloads, services, policies, problems: sorted(problems) }
}

/// In the order of their objects, each once.
pub(super) fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| {
        (a.kind, &a.namespace, &a.name, &a.path, &a.message).cmp(&(
            b.kind,
            &b.namespace,
            &b.name,
            &b.path,
            &b.message,
        ))
    });
    problems.dedup();
    problems
}
