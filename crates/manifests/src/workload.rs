//! What has pods: where its pod template is, whose account its pods have, who selects them.

use std::collections::BTreeMap;

use crate::object::{Object, Position};
use crate::yaml::{Node, Step};

/// A workload of the input.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// Where it stands.
    pub position: Position,
    /// The object.
    pub object: Object<'a>,
    /// Steps from the object to the pod template.
    pub template_path: Vec<Step>,
    /// The pod template: `metadata` and `spec`.
    pub template: &'a Node,
    /// `spec` of the pod.
    pub pod: &'a Node,
}

/// A container, and the list it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// `containers` or `initContainers`.
    pub list: &'static str,
    /// Its number in that list.
    pub index: usize,
    /// Its content.
    pub node: &'a Node,
}

/// Steps from an object of a kind to its pod template; `None` for kinds without pods.
pub fn template_path(kind: &str) -> Option<Vec<Step>> {
    let keys: &[&str] = match kind {
        "Pod" => &[],
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "ReplicationController" => {
            &["spec", "template"]
        }
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    Some(keys.iter().map(|key| Step::from(*key)).collect())
}

impl<'a> Workload<'a> {
    /// A workload, if it is one.
    pub fn of(position: &Position, object: Object<'a>) -> Option<Self> {
        let template_path = template_path(object.kind)?;
        let template = template_path.iter().try_fold(object.node, |node, step| match step {
            Step::Key(key) => node.get(key),
            Step::Index(_) => None,
        })?;
        let pod = template.get("spec")?;
        Some(Self { position: position.clone(), object, template_path, template, pod })
    }

    /// Its service account.
    pub fn account(&self) -> &'a str {
        self.pod
            .text_at(&["serviceAccountName"])
            .or_else(|| self.pod.text_at(&["serviceAccount"]))
            .unwrap_or("default")
    }

    /// Labels of its pods.
    pub fn labels(&self) -> BTreeMap<&'a str, &'a str> {
        texts(self.template.at(&["metadata", "labels"]))
    }

    /// An annotation of the workload, or of its pod template.
    pub fn annotation(&self, name: &str) -> Option<&'a str> {
        let own = self.object.node.text_at(&["metadata", "annotations", name]);
        own.or_else(|| self.template.text_at(&["metadata", "annotations", name]))
    }

    /// The containers that run beside the application: all, and those init containers that keep running.
    pub fn containers(&self) -> Vec<Container<'a>> {
        let sidecars = self
            .list("initContainers")
            .into_iter()
            .filter(|container| container.node.text_at(&["restartPolicy"]) == Some("Always"));
        self.list("containers").into_iter().chain(sidecars).collect()
    }

    /// All containers.
    pub fn all_containers(&self) -> Vec<Container<'a>> {
        self.list("containers").into_iter().chain(self.list("initContainers")).collect()
    }

    fn list(&self, list: &'static str) -> Vec<Container<'a>> {
        let items = self.pod.get(list).map(Node::items).unwrap_or_default();
        items.iter().enumerate().map(|(index, node)| Container { list, index, node }).collect()
    }

    /// As which user the pod's containers run.
    pub fn user(&self) -> User {
        let mut user = User::Root;
        for container in self.containers() {
            let setting = |key: &str| {
                container
                    .node
                    .text_at(&["securityContext", key])
                    .or_else(|| self.pod.text_at(&["securityContext", key]))
            };
            match (setting("runAsUser"), setting("runAsNonRoot")) {
                (Some("0"), _) => {}
                (Some(_), _) | (None, Some("true")) => return User::Other,
                (None, _) => user = User::Unknown,
            }
        }
        user
    }

    /// `fsGroup` of the pod.
    pub fn group(&self) -> Option<&'a str> {
        self.pod.text_at(&["securityContext", "fsGroup"])
    }

    /// Whether volumes outlive the pod: kubelet would give them to a new fsGroup.
    pub fn has_disks(&self) -> bool {
        let claims =
            self.object.node.at(&["spec", "volumeClaimTemplates"]).is_some_and(|c| !c.items().is_empty());
        let volumes = self.pod.get("volumes").map(Node::items).unwrap_or_default();
        let disk = |volume: &Node| {
            const GIVEN_ANEW: [&str; 6] =
                ["name", "secret", "configMap", "emptyDir", "projected", "downwardAPI"];
            // A folder of the node is never given to another group.
            volume.entries().iter().any(|e| !GIVEN_ANEW.contains(&e.key.as_str()) && e.key != "hostPath")
        };
        claims || volumes.iter().any(disk)
    }
}

/// As which user containers run, as far as the manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// All as root.
    Root,
    /// At least one not as root.
    Other,
    /// The image decides.
    Unknown,
}

/// A Service of the input.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// Where it stands.
    pub position: Position,
    /// The object.
    pub object: Object<'a>,
}

impl<'a> Service<'a> {
    /// A Service, if it is one that has pods.
    pub fn of(position: &Position, object: Object<'a>) -> Option<Self> {
        let external = object.node.text_at(&["spec", "type"]) == Some("ExternalName");
        (object.kind == "Service" && !external).then(|| Self { position: position.clone(), object })
    }

    /// Its selector.
    pub fn selector(&self) -> BTreeMap<&'a str, &'a str> {
        texts(self.object.node.at(&["spec", "selector"]))
    }

    /// Whether it leads to the pods of a workload.
    pub fn selects(&self, workload: &Workload<'_>) -> bool {
        let (selector, labels) = (self.selector(), workload.labels());
        self.object.namespace == workload.object.namespace
            && !selector.is_empty()
            && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// A TCP port of a Service.
#[derive(Clone, Copy, Debug)]
pub struct ServicePort<'a> {
    /// Its number in the list.
    pub index: usize,
    /// Its content.
    pub node: &'a Node,
}

impl<'a> Service<'a> {
    /// Its TCP ports.
    pub fn ports(&self) -> Vec<ServicePort<'a>> {
        let ports = self.object.node.at(&["spec", "ports"]).map(Node::items).unwrap_or_default();
        let numbered = ports.iter().enumerate().map(|(index, node)| ServicePort { index, node });
        numbered
            .filter(|port| port.node.text_at(&["protocol"]).is_none_or(|protocol| protocol == "TCP"))
            .collect()
    }
}

impl ServicePort<'_> {
    /// The port that clients call.
    pub fn number(&self) -> Option<u16> {
        self.node.text_at(&["port"])?.parse().ok()
    }

    /// The port of the pod that it leads to: a number, the name of a container's port, or the same as the Service's.
    pub fn target(&self, workload: &Workload<'_>) -> Option<u16> {
        let Some(target) = self.node.text_at(&["targetPort"]) else { return self.number() };
        target.parse().ok().or_else(|| {
            let containers = workload.containers();
            let mut ports = containers
                .iter()
                .flat_map(|container| container.node.get("ports").map(Node::items).unwrap_or_default());
            let port = ports.find(|port| port.text_at(&["name"]) == Some(target))?;
            port.text_at(&["containerPort"])?.parse().ok()
        })
    }
}

fn texts(node: Option<&Node>) -> BTreeMap<&str, &str> {
    let entries = node.map(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.text()?))).collect()
}
