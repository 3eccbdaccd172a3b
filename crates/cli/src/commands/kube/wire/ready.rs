//! Waiting for what was applied: Certificates until they are ready, then the pods of workloads.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use controller::names::TRUST_CONFIG_MAP;
use controller::trust::LISTS_KEY;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DynamicObject};
use model::codes::manifests as codes;
use serde_json::Value;

use super::apply::{How, refused};
use crate::failure::Failure;

/// The controller brings the lists within seconds of a namespace's first Certificate.
const LISTS_WAIT: Duration = Duration::from_secs(15);

/// Waits until all Certificates are ready.
pub async fn certificates(
    client: &Client,
    certificates: &[(String, String)],
    how: &How,
) -> Result<(), Failure> {
    if certificates.is_empty() || how.wait.is_zero() {
        return Ok(());
    }
    let progress = spinner(how);
    let deadline = Instant::now() + how.wait;
    let mut open: Vec<&(String, String)> = certificates.iter().collect();
    let mut why = String::new();
    loop {
        let mut still = Vec::new();
        for certificate in open {
            let api: Api<controller::Certificate> = Api::namespaced(client.clone(), &certificate.0);
            let found = api.get_opt(&certificate.1).await;
            let found = found.map_err(|error| refused(&certificate.1, error))?;
            let status = found.as_ref().and_then(|found| found.status.as_ref());
            let current = status.and_then(|s| s.observed_generation)
                >= found.as_ref().and_then(|found| found.metadata.generation);
            let condition = status.and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready"));
            if !(current && condition.is_some_and(|condition| condition.status == "True")) {
                why = condition
                    .map_or("the controller has not said anything yet", |c| c.message.as_str())
                    .to_owned();
                still.push(certificate);
            }
        }
        let ready = certificates.len() - still.len();
        progress.set_message(format!("{ready} of {} certificates are ready", certificates.len()));
        let Some((namespace, name)) = still.first().copied() else {
            progress.finish_and_clear();
            eprintln!("{ready} of {ready} certificates are ready");
            let namespaces: BTreeSet<&str> =
                certificates.iter().map(|(namespace, _)| namespace.as_str()).collect();
            lists(client, &namespaces).await;
            return Ok(());
        };
        if Instant::now() > deadline {
            progress.finish_and_clear();
            let what =
                format!("{ready} of {} certificates are ready; no workload was touched", certificates.len());
            return Err(Failure::new(&codes::WIRE_NOT_READY, what)
                .with("certificate", format!("{namespace}/{name}"))
                .with("it says", why));
        }
        open = still;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits a little until the revocation lists are in these namespaces: a sidecar that starts without them would let in
/// what is revoked until kubelet brings them, a minute later. Whoever may not read them, or has a controller that
/// publishes none, is not held up for long.
async fn lists(client: &Client, namespaces: &BTreeSet<&str>) {
    let deadline = Instant::now() + LISTS_WAIT;
    for namespace in namespaces {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        while let Ok(found) = api.get_opt(TRUST_CONFIG_MAP).await
            && !found.and_then(|map| map.data).is_some_and(|data| data.contains_key(LISTS_KEY))
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// A workload that was applied.
pub struct Started {
    pub title: String,
    pub name: String,
    pub api: Api<DynamicObject>,
}

/// Waits until the pods of all workloads run as they are written now. What ends by itself is not waited for.
pub async fn workloads(started: &[Started], how: &How) -> Result<(), Failure> {
    let mut open: Vec<&Started> = started
        .iter()
        .filter(|one| !one.title.starts_with("Job ") && !one.title.starts_with("CronJob "))
        .collect();
    if open.is_empty() || how.wait.is_zero() {
        return Ok(());
    }
    let all = open.len();
    let progress = spinner(how);
    let deadline = Instant::now() + how.wait;
    loop {
        let mut still = Vec::new();
        for one in open {
            let found = one.api.get(&one.name).await.map_err(|error| refused(&one.title, error))?;
            let status = found.data.get("status").cloned().unwrap_or_default();
            let spec = found.data.get("spec").cloned().unwrap_or_default();
            let seen = status["observedGeneration"].as_i64() >= found.metadata.generation;
            if let Err(why) = runs(one.title.split(' ').next().unwrap_or_default(), &spec, &status, seen) {
                still.push((one, why));
            }
        }
        progress.set_message(format!("{} of {all} workloads run", all - still.len()));
        let Some((first, why)) = still.first() else {
            progress.finish_and_clear();
            eprintln!("{all} of {all} workloads run");
            return Ok(());
        };
        if Instant::now() > deadline {
            progress.finish_and_clear();
            let what = format!("{} of {all} workloads run; everything is applied", all - still.len());
            return Err(Failure::new(&codes::WIRE_NOT_RUNNING, what)
                .with("workload", &first.title)
                .with("it says", why));
        }
        open = still.into_iter().map(|(one, _)| one).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Whether all pods of a workload are of its present form and ready, else what is missing.
fn runs(kind: &str, spec: &Value, status: &Value, seen: bool) -> Result<(), String> {
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let (wanted, updated, available) = match kind {
        "Pod" => return pod_runs(status),
        "DaemonSet" => ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"),
        "StatefulSet" => ("replicas", "updatedReplicas", "availableReplicas"),
        "Deployment" => ("replicas", "updatedReplicas", "availableReplicas"),
        // Their controllers never replace pods: what runs is what was there.
        _ => ("replicas", "replicas", "availableReplicas"),
    };
    if !seen {
        return Err("its controller has not seen the change yet".to_owned());
    }
    let count = match spec["replicas"].as_i64() {
        Some(count) => count,
        None if kind == "DaemonSet" => number(&status[wanted]),
        None => 1,
    };
    let old = kind == "Deployment" && number(&status[wanted]) > number(&status[updated]);
    if number(&status[updated]) >= count && number(&status[available]) >= count && !old {
        return Ok(());
    }
    Err(format!(
        "{} of {count} pods are of the new form, {} are available",
        number(&status[updated]),
        number(&status[available])
    ))
}

fn pod_runs(status: &Value) -> Result<(), String> {
    let ready = |condition: &&Value| condition["type"] == "Ready";
    let condition = status["conditions"].as_array().and_then(|all| all.iter().find(ready));
    if status["phase"] == "Succeeded" || condition.is_some_and(|condition| condition["status"] == "True") {
        return Ok(());
    }
    // A container that waits for its image, or that ended, says more than the condition.
    let lists = ["initContainerStatuses", "containerStatuses"];
    let containers = lists.iter().flat_map(|list| status[*list].as_array().into_iter().flatten());
    let mut waiting = containers.filter_map(|container| {
        let reason = container["state"]["waiting"]["reason"].as_str()?;
        let message = container["state"]["waiting"]["message"].as_str().unwrap_or_default();
        (!["PodInitializing", "ContainerCreating"].contains(&reason)).then(|| {
            format!("container {}: {reason} {message}", container["name"].as_str().unwrap_or_default())
        })
    });
    let says = condition.and_then(|condition| condition["message"].as_str());
    let phase = status["phase"].as_str().unwrap_or("it is not there yet");
    Err(waiting.next_back().unwrap_or_else(|| says.unwrap_or(phase).to_owned()))
}

fn spinner(how: &How) -> indicatif::ProgressBar {
    let progress = match how.progress {
        true => indicatif::ProgressBar::new_spinner(),
        false => indicatif::ProgressBar::hidden(),
    };
    progress.enable_steady_tick(Duration::from_millis(120));
    progress
}
