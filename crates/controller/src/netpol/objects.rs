//! Workloads and Services, as far as network policies need them, from the JSON form of any manifest or list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, Probe, Service as CoreService};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use crate::names::SIDECAR_ANNOTATION;

/// Annotation of a workload (or its pod template): the Services that it calls, as in `web, db:5432, shop/api`.
pub const CALLS_ANNOTATION: &str = "handfast.dev/calls";
/// Label of the pods that `netpol test` starts. They are nobody's workload.
pub const TEST_LABEL: &str = "handfast.dev/netpol-test";

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("UDP") => Self::Udp,
            Some("SCTP") => Self::Sctp,
            _ => Self::Tcp,
        }
    }
}

/// A port with its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Port {
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol.as_str(), self.number)
    }
}

/// Pods that are the same in the eyes of a policy.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or Pod.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What selects its pods, and as little else as can be.
    pub selector: LabelSelector,
    /// The labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// Declared container ports with their names.
    pub ports: Vec<(Option<String>, Port)>,
    /// Ports that the kubelet's probes connect to.
    pub probe_ports: BTreeSet<u16>,
    /// What [`CALLS_ANNOTATION`] says.
    pub calls: Vec<String>,
    /// What the annotation `handfast.dev/sidecar` says: the sidecar's port for a port of the application.
    pub sidecar: BTreeMap<u16, u16>,
    /// Whether its pods share the node's network, where no policy holds.
    pub host_network: bool,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A Service, as far as policies need it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Labels of its pods; empty when it has none of its own.
    pub selector: BTreeMap<String, String>,
    /// Name, port and target of each of its ports.
    pub ports: Vec<(Option<String>, Port, IntOrString)>,
    /// Whether it is reached from outside of the cluster (NodePort, LoadBalancer).
    pub external: bool,
    /// Whether pods that are not ready get its traffic too.
    pub publishes_not_ready: bool,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// All workloads, by namespace, name and kind.
    pub workloads: Vec<Workload>,
    /// All Services.
    pub services: Vec<Service>,
}

impl Objects {
    /// Takes an object; kinds that do not matter here are passed over. `namespace` is that of objects without one.
    pub fn add(&mut self, object: &Value, namespace: &str) -> Result<(), Error> {
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind.ends_with("List")
            && let Some(items) = object["items"].as_array()
        {
            return items.iter().try_for_each(|item| self.add(item, namespace));
        }
        let reader = Reader { object, kind, namespace };
        let template = match kind {
            "Service" => {
                self.services.push(reader.service()?);
                return Ok(());
            }
            "Pod" => "",
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => "/spec/template",
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => return Ok(()),
        };
        if let Some(workload) = reader.workload(template)? {
            self.workloads.push(workload);
        }
        Ok(())
    }

    /// Brings everything into a stable order; of an object that was read twice the later one stays.
    pub fn sort(&mut self) {
        self.workloads.reverse();
        self.workloads
            .sort_by(|a, b| (&a.namespace, &a.name, &a.kind).cmp(&(&b.namespace, &b.name, &b.kind)));
        self.workloads.dedup_by(|a, b| a.namespace == b.namespace && a.name == b.name && a.kind == b.kind);
        self.services.reverse();
        self.services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        self.services.dedup_by(|a, b| a.namespace == b.namespace && a.name == b.name);
    }

    /// The workloads whose pods a Service selects.
    pub fn behind<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = (usize, &'a Workload)> {
        self.workloads.iter().enumerate().filter(|(_, workload)| {
            !service.selector.is_empty()
                && workload.namespace == service.namespace
                && service.selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
        })
    }
}

struct Reader<'a> {
    object: &'a Value,
    kind: &'a str,
    namespace: &'a str,
}

impl Reader<'_> {
    fn part<T: DeserializeOwned>(&self, pointer: &str) -> Result<T, Error> {
        let value =
            self.object.pointer(pointer).cloned().unwrap_or_else(|| Value::Object(Default::default()));
        serde_json::from_value(value).map_err(|error| Error::Object {
            object: format!(
                "{} {}",
                self.kind,
                self.object["metadata"]["name"].as_str().unwrap_or("without a name")
            ),
            why: format!("{}: {error}", if pointer.is_empty() { "it" } else { pointer }),
        })
    }

    fn metadata(&self) -> Result<(ObjectMeta, String, String), Error> {
        let metadata: ObjectMeta = self.part("/metadata")?;
        let Some(name) = metadata.name.clone().or_else(|| metadata.generate_name.clone()) else {
            return Err(Error::Object {
                object: self.kind.to_owned(),
                why: "it has no metadata.name".to_owned(),
            });
        };
        let namespace = metadata.namespace.clone().unwrap_or_else(|| self.namespace.to_owned());
        Ok((metadata, namespace, name))
    }

    fn workload(&self, pointer: &str) -> Result<Option<Workload>, Error> {
        let (metadata, namespace, name) = self.metadata()?;
        let owned = metadata.owner_references.iter().flatten().any(|owner| {
            owner.controller == Some(true)
                && [
                    "ReplicaSet",
                    "Deployment",
                    "StatefulSet",
                    "DaemonSet",
                    "Job",
                    "CronJob",
                    "ReplicationController",
                ]
                .contains(&owner.kind.as_str())
        });
        let ours = metadata.labels.iter().flatten().any(|(key, _)| key == TEST_LABEL);
        let over = self.kind == "Pod"
            && matches!(self.object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if owned || ours || over {
            return Ok(None);
        }
        let template: PodTemplateSpec = self.part(pointer)?;
        let pod = template.metadata.unwrap_or_default();
        let mut labels = pod.labels.unwrap_or_default();
        let selector = match self.kind {
            // The job controller labels the pods of a Job by its name; a selector of its own is rare.
            "Job" => {
                for generated in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
                    labels.remove(generated);
                }
                if labels.is_empty() {
                    labels.insert("batch.kubernetes.io/job-name".to_owned(), name.clone());
                }
                LabelSelector { match_labels: Some(labels.clone()), match_expressions: None }
            }
            "Pod" | "CronJob" => {
                LabelSelector { match_labels: Some(labels.clone()), match_expressions: None }
            }
            _ => self.part("/spec/selector")?,
        };
        let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
        if empty || labels.is_empty() {
            return Err(Error::NoLabels { workload: format!("{} {namespace}/{name}", self.kind) });
        }
        let spec = template.spec.unwrap_or_default();
        let mut ports = Vec::new();
        let mut probe_ports = BTreeSet::new();
        // Native sidecars are init containers that stay.
        let sidecars = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        for container in spec.containers.iter().chain(sidecars) {
            for port in container.ports.iter().flatten() {
                if let Ok(number) = u16::try_from(port.container_port) {
                    let protocol = Protocol::parse(port.protocol.as_deref());
                    ports.push((port.name.clone(), Port { protocol, number }));
                }
            }
            probe_ports.extend(probes(container));
        }
        let annotation = |name: &str| {
            let of = |annotations: &Option<BTreeMap<String, String>>| {
                annotations.as_ref().and_then(|all| all.get(name)).cloned().unwrap_or_default()
            };
            format!("{},{}", of(&metadata.annotations), of(&pod.annotations))
        };
        let calls = annotation(CALLS_ANNOTATION);
        // What is wrong there is said by `kube wire`.
        let sidecar = annotation(SIDECAR_ANNOTATION);
        let sidecar = sidecar.split(',').filter_map(|item| {
            let (listen, port) = item.trim().split_once(':')?;
            Some((port.parse().ok()?, listen.parse().ok()?))
        });
        let mut calls: Vec<String> =
            calls.split(',').map(str::trim).filter(|call| !call.is_empty()).map(str::to_owned).collect();
        calls.sort();
        calls.dedup();
        Ok(Some(Workload {
            namespace,
            kind: self.kind.to_owned(),
            name,
            selector,
            labels,
            ports,
            probe_ports,
            calls,
            sidecar: sidecar.collect(),
            host_network: spec.host_network == Some(true),
        }))
    }

    fn service(&self) -> Result<Service, Error> {
        let (_, namespace, name) = self.metadata()?;
        let service: CoreService = self.part("")?;
        let spec = service.spec.unwrap_or_default();
        let ports = spec
            .ports
            .unwrap_or_default()
            .into_iter()
            .filter_map(|port| {
                let number = u16::try_from(port.port).ok()?;
                let protocol = Protocol::parse(port.protocol.as_deref());
                let target = match port.target_port {
                    None | Some(IntOrString::Int(0)) => IntOrString::Int(port.port),
                    Some(target) => target,
                };
                Some((port.name, Port { protocol, number }, target))
            })
            .collect();
        let named = spec.type_.as_deref();
        Ok(Service {
            namespace,
            name,
            selector: if named == Some("ExternalName") {
                BTreeMap::new()
            } else {
                spec.selector.unwrap_or_default()
            },
            ports,
            external: matches!(named, Some("NodePort" | "LoadBalancer")),
            publishes_not_ready: spec.publish_not_ready_addresses == Some(true),
        })
    }
}

fn probes(container: &Container) -> BTreeSet<u16> {
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.and_then(|port| u16::try_from(port.container_port).ok())
        }
    };
    let of = |probe: &Option<Probe>| {
        let probe = probe.as_ref()?;
        let http = probe.http_get.as_ref().and_then(|get| number(&get.port));
        let tcp = probe.tcp_socket.as_ref().and_then(|socket| number(&socket.port));
        let grpc = probe.grpc.as_ref().and_then(|grpc| u16::try_from(grpc.port).ok());
        http.or(tcp).or(grpc)
    };
    [&container.liveness_probe, &container.readiness_probe, &container.startup_probe]
        .into_iter()
        .filter_map(of)
        .collect()
}
