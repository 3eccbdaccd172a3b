//! Pods of workloads: so many of each, with names that stay the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config::Finding;
use controller::mesh::{Path, Step};
use model::codes::{manifests as codes, mesh as mesh_codes};

use super::Findings;
use super::container::{LocalContainer, Reader, Role};
use super::sort::{Places, Sorted, Template};

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Always,
    /// Where it failed.
    OnFailure,
    /// Never.
    Never,
}

/// A pod as processes of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// `web-0`, `web-1` and so on; of a Pod, its own name.
    pub name: String,
    /// The name of the Deployment, StatefulSet or Job that it belongs to, else its own.
    pub owner: String,
    /// The kind of that.
    pub owner_kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The service account that it runs as.
    pub service_account: String,
    /// When its containers are started again.
    pub restart: Restart,
    /// Whether it asks for the node's own network, and so stays out of the mesh.
    pub host_network: bool,
    /// Init containers and sidecars in the order in which they are started, then all others.
    pub containers: Vec<LocalContainer>,
    /// Its address, once it was given one.
    pub address: Option<IpAddr>,
}

impl LocalPod {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Makes pods; also says where each comes from.
pub(super) fn pods<'a>(sorted: &Sorted<'a>, findings: &mut Findings) -> (Vec<LocalPod>, Places<'a>) {
    let mut pods: Vec<LocalPod> = Vec::new();
    let mut origins = Places::new();
    for template in &sorted.templates {
        let Some(pod) = pod(template, sorted, findings) else { continue };
        for number in 0..template.replicas {
            let mut pod = pod.clone();
            if template.kind != "Pod" {
                pod.name = format!("{}-{number}", template.name);
            }
            if template.kind == "StatefulSet" {
                let labels = [
                    ("statefulset.kubernetes.io/pod-name", pod.name.clone()),
                    ("apps.kubernetes.io/pod-index", number.to_string()),
                ];
                pod.labels.extend(labels.map(|(key, value)| (key.to_owned(), value)));
            }
            let key = ("Pod".to_owned(), pod.namespace.clone(), pod.name.clone());
            if let Some(first) = origins.insert(key, template.spot) {
                let message = format!(
                    "two pods would be called {}; the first comes from {}",
                    pod.key(),
                    first.place(&[])
                );
                findings
                    .wrong
                    .push(Finding::new(&codes::MANIFEST_TWICE, message).at(template.spot.place(&[])));
                break;
            }
            pods.push(pod);
        }
    }
    (pods, origins)
}

fn pod(template: &Template<'_>, sorted: &Sorted<'_>, findings: &mut Findings) -> Option<LocalPod> {
    let before = findings.wrong.len();
    let what = format!("{} {}", template.kind, template.name);
    let spec = &template.pod;
    let restart = match (spec.restart_policy.as_deref(), template.kind) {
        (Some("OnFailure"), "Pod" | "Job") => Restart::OnFailure,
        (Some("Never"), "Pod" | "Job") => Restart::Never,
        (None | Some("Always"), kind) if kind != "Job" => Restart::Always,
        (policy, kind) => {
            let policy = policy.unwrap_or("Always");
            let there_are = if kind == "Job" { "OnFailure and Never" } else { "Always" };
            let message = format!("{what}: restartPolicy {policy} is not for a {kind}; there is {there_are}");
            findings.wrong.push(*template.spot.wrong(message, &Path::of(&["spec", "restartPolicy"]).0));
            Restart::Never
        }
    };
    let account =
        spec.service_account_name.as_deref().or(spec.service_account.as_deref()).unwrap_or("default");
    let exists = sorted.objects.service_accounts.iter().any(|own| {
        own.metadata.name.as_deref() == Some(account)
            && own.metadata.namespace.as_deref() == Some(&template.namespace)
    });
    // Each namespace has one of this name, from the beginning.
    if !exists && account != "default" {
        let message = format!("{what}: there is no ServiceAccount {}/{account}", template.namespace);
        let place = template.spot.place(&Path::of(&["spec", "serviceAccountName"]).0);
        findings.wrong.push(Finding::new(&mesh_codes::LOCAL_REFERENCE, message).at(place));
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = [Step::Key("spec".into()), Step::Key("volumes".into()), Step::Index(index)];
        let why = if volume.empty_dir.is_some() {
            "is no folder of its own: the processes have this machine's files"
        } else {
            "is not mounted"
        };
        let message = format!("{what}: volume {} {why}", volume.name);
        findings
            .notes
            .push(Finding::new(&mesh_codes::LOCAL_NOT_DONE, message).at(template.spot.place(&path)));
    }
    let mut names = BTreeSet::new();
    let mut containers = Vec::new();
    let mut reader = Reader { template, sorted, findings, what: &what };
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let role = if sidecar { Role::Sidecar } else { Role::Init };
        containers.extend(reader.container("initContainers", index, container, role, &mut names));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        containers.extend(reader.container("containers", index, container, Role::App, &mut names));
    }
    (findings.wrong.len() == before).then(|| LocalPod {
        name: template.name.clone(),
        owner: template.name.clone(),
        owner_kind: template.kind,
        namespace: template.namespace.clone(),
        labels: template.metadata.labels.clone().unwrap_or_default(),
        annotations: template.metadata.annotations.clone().unwrap_or_default(),
        service_account: account.to_owned(),
        restart,
        host_network: spec.host_network == Some(true),
        containers,
        address: None,
    })
}
