//! A folder of ordinary manifests on one machine: which processes it means, and the same objects for the mesh as a
//! cluster would have.
//!
//! [`files`] finds the manifests, [`sort`] reads the objects by their kinds, [`pods`] makes pods of workloads and
//! [`container`] commands and variables of containers. What takes a container runtime or a cluster is a note; what would
//! be wrong in a cluster as well is an error with its place.

mod container;
mod expand;
pub mod files;
mod pods;
mod sort;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::Finding;
use controller::mesh::{self, Index, Objects};
use controller::names;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use model::codes::{manifests as codes, mesh as mesh_codes};

use crate::error::Error;
use crate::object::{Manifest, objects};

pub use container::{Check, Field, LocalContainer, LocalPort, Readiness, Role, SecretText, Source, Variable};
pub use expand::expand;
pub use pods::{LocalPod, Restart};

/// What manifests do not say themselves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Whether namespaces are in the mesh that do not say so: they are the reason to be here.
    pub enrol: bool,
    /// The name of this machine, as a node.
    pub node: String,
    /// The mesh.
    pub mesh: mesh::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            enrol: true,
            node: "local".to_owned(),
            mesh: mesh::Options { cluster: "local".to_owned(), ..mesh::Options::default() },
        }
    }
}

/// What a folder means.
#[derive(Clone, Debug)]
pub struct Folder {
    /// What is to run, in the order of the manifests.
    pub pods: Vec<LocalPod>,
    /// All else that the mesh knows; its pods come with [`Folder::world`].
    pub objects: Objects,
    /// What has no effect here.
    pub notes: Vec<Finding>,
    options: Options,
}

/// Reads manifests.
///
/// # Errors
///
/// What is no object of its kind, stands twice, refers to what is not there, cannot be carried out on one machine, or
/// what the mesh does not understand; all of it at once, each with its place.
pub fn read(manifests: &[Manifest], options: &Options) -> Result<Folder, Error> {
    let all = objects(manifests)?;
    let mut findings = Findings::default();
    let sorted = sort::Sorted::read(&all, options, &mut findings);
    if sorted.templates.is_empty() && findings.wrong.is_empty() {
        let message = "there is no Deployment, StatefulSet, Job or Pod in this folder";
        let help = "add one, with a `command:` that can be started on this machine";
        return Err(Finding::new(&codes::MANIFEST_NOTHING, message).help(help).into());
    }
    let (pods, origins) = pods::pods(&sorted, &mut findings);
    let folder = Folder { pods, objects: sorted.objects, notes: Vec::new(), options: options.clone() };
    let mut places = sorted.places;
    places.extend(origins);
    for problem in folder.world(|_| true).problems {
        let key = (problem.kind.to_owned(), problem.namespace.clone(), problem.name.clone());
        let mut finding = Finding::new(problem.code, problem.to_string());
        if let Some(spot) = places.get(&key) {
            finding = finding.at(spot.place(&problem.path.0));
        }
        // The pods of one workload come from one place.
        let same = |other: &Finding| {
            other.place.is_some() && (other.code, &other.place) == (finding.code, &finding.place)
        };
        if findings.wrong.iter().any(same) {
            continue;
        }
        if problem.code == &mesh_codes::PEER_AUTHENTICATION_UNUSED {
            findings.notes.push(finding);
        } else {
            findings.wrong.push(finding);
        }
    }
    if findings.wrong.is_empty() {
        Ok(Folder { notes: findings.notes, ..folder })
    } else {
        Err(Error(findings.wrong))
    }
}

/// What was found wrong or without effect so far.
#[derive(Debug, Default)]
struct Findings {
    wrong: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Folder {
    /// Gives each pod its address, and each Service that has one of its own. What a manifest says about the address of a
    /// Service is overruled: it is not this machine's to give.
    pub fn assign(
        &mut self,
        mut pods: impl FnMut(&LocalPod) -> IpAddr,
        mut services: impl FnMut(&core::Service) -> IpAddr,
    ) {
        for pod in &mut self.pods {
            pod.address = Some(pods(pod));
        }
        for service in &mut self.objects.services {
            let has_none = service.spec.as_ref().is_none_or(|spec| {
                spec.cluster_ip.as_deref() == Some("None") || spec.type_.as_deref() == Some("ExternalName")
            });
            if has_none {
                continue;
            }
            let address = services(service).to_string();
            if let Some(spec) = service.spec.as_mut() {
                spec.cluster_ips = Some(vec![address.clone()]);
                spec.cluster_ip = Some(address);
            }
        }
    }

    /// What the mesh knows, with the pods that are ready.
    pub fn world(&self, ready: impl Fn(&LocalPod) -> bool) -> Index {
        let pods = self.pods.iter().map(|pod| self.pod(pod, ready(pod))).collect();
        mesh::index(&Objects { pods, ..self.objects.clone() }, &self.options.mesh)
    }

    /// The name of this machine, as a node.
    pub fn node(&self) -> &str {
        &self.options.node
    }

    /// The pod as a cluster would have it.
    fn pod(&self, pod: &LocalPod, ready: bool) -> core::Pod {
        let container = |own: &LocalContainer| core::Container {
            name: own.name.clone(),
            ports: Some(own.ports.iter().map(LocalPort::to_kubernetes).collect()),
            restart_policy: (own.role == Role::Sidecar).then(|| "Always".to_owned()),
            ..core::Container::default()
        };
        let of = |app: bool| {
            pod.containers.iter().filter(move |own| (own.role == Role::App) == app).map(container)
        };
        let owner = (pod.owner_kind != "Pod").then(|| OwnerReference {
            kind: pod.owner_kind.to_owned(),
            name: pod.owner.clone(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        core::Pod {
            metadata: ObjectMeta {
                name: Some(pod.name.clone()),
                namespace: Some(pod.namespace.clone()),
                labels: Some(pod.labels.clone()),
                annotations: Some(pod.annotations.clone()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(core::PodSpec {
                containers: of(true).collect(),
                init_containers: Some(of(false).collect()),
                service_account_name: Some(pod.service_account.clone()),
                node_name: Some(self.options.node.clone()),
                host_network: Some(pod.host_network),
                ..core::PodSpec::default()
            }),
            status: Some(core::PodStatus {
                pod_ip: pod.address.map(|address| address.to_string()),
                conditions: Some(vec![core::PodCondition {
                    type_: "Ready".to_owned(),
                    status: if ready { "True" } else { "False" }.to_owned(),
                    ..core::PodCondition::default()
                }]),
                ..core::PodStatus::default()
            }),
        }
    }
}

/// A namespace of the mesh.
fn enrolled(name: &str) -> core::Namespace {
    let labels = BTreeMap::from([(names::MESH_LABEL.to_owned(), names::MESH_ENABLED.to_owned())]);
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    core::Namespace { metadata, ..core::Namespace::default() }
}
