//! What a pod belongs to, and what its application is called; for people, nothing is decided by it. The rules are Istio's,
//! so that the same workload has the same name in the telemetry of both.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use model::mesh::WorkloadKind;

use super::pods::name_of;

/// Labels with the name of an application, the first that is there.
const NAMES: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
/// Labels with its version.
const REVISIONS: [&str; 3] = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
/// The version of an application that says none.
pub(super) const LATEST: &str = "latest";

/// The Deployment, CronJob or the like that a pod belongs to, else the pod itself. The controllers of Kubernetes are not
/// asked for: their objects' names say it.
pub(super) fn owner(pod: &Pod) -> (WorkloadKind, String) {
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else {
        return (WorkloadKind::Pod, name_of(&pod.metadata).to_owned());
    };
    let (kind, name) = match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
            let name = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
            (if name.is_some() { WorkloadKind::Deployment } else { WorkloadKind::Pod }, name)
        }
        "Job" => {
            let name = owner.name.rsplit_once('-').and_then(|(name, minute)| {
                let of_cron_job =
                    (8..=10).contains(&minute.len()) && minute.bytes().all(|byte| byte.is_ascii_digit());
                of_cron_job.then_some(name)
            });
            (if name.is_some() { WorkloadKind::CronJob } else { WorkloadKind::Job }, name)
        }
        _ => (WorkloadKind::Pod, None),
    };
    (kind, name.unwrap_or(&owner.name).to_owned())
}

/// The name and the version of a pod's application.
pub(super) fn canonical(labels: &BTreeMap<String, String>, workload_name: &str) -> (String, String) {
    let first = |keys: [&str; 3], otherwise: &str| {
        let found = keys.iter().find_map(|key| labels.get(*key).filter(|value| !value.is_empty()));
        found.map_or(otherwise, String::as_str).to_owned()
    };
    (first(NAMES, workload_name), first(REVISIONS, LATEST))
}
