//! Whether a workload may be restarted now. Pure: objects go in, a verdict comes out.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{Selector, SelectorExt as _};
use model::codes::{Code, kube as codes};
use serde::Deserialize;
use serde_json::Value;

use super::Held;
use crate::certificate::RestartedKind;
use crate::names::{RELOAD_ANNOTATION, RELOAD_BY_RESTART, STARTED_FOR_ANNOTATION};

/// What to do about a workload.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not ask for restarts, or its pods have the present files.
    Settled,
    /// Its pods have the present files, which is written down as this.
    Record(String),
    /// It is restarted, and this is written down with it.
    Restart(String),
    /// It has to wait, and why.
    Wait(&'static Code, String),
}

/// What is read of a Deployment, StatefulSet or DaemonSet: their fields have the same names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Workload {
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<i64>,
    paused: bool,
    template: Template,
    strategy: Strategy,
    update_strategy: Strategy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    metadata: ObjectMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Strategy {
    r#type: Option<String>,
    rolling_update: Option<Rolling>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rolling {
    max_unavailable: Option<IntOrString>,
    partition: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: i64,
    replicas: i64,
    updated_replicas: i64,
    available_replicas: i64,
    current_revision: Option<String>,
    update_revision: Option<String>,
    desired_number_scheduled: i64,
    updated_number_scheduled: i64,
    number_available: i64,
}

impl Workload {
    /// Reads what stands beside the metadata.
    ///
    /// # Errors
    ///
    /// When a field has another form than Kubernetes gives it.
    pub fn read(data: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(data)
    }

    /// How many pods it should have.
    fn wanted(&self, kind: RestartedKind) -> i64 {
        match kind {
            RestartedKind::DaemonSet => self.status.desired_number_scheduled,
            _ => self.spec.replicas.unwrap_or(1),
        }
    }

    /// Whether all its pods are of the present template, and available.
    pub fn is_complete(&self, kind: RestartedKind, metadata: &ObjectMeta) -> bool {
        let (status, wanted) = (&self.status, self.wanted(kind));
        let current = status.observed_generation >= metadata.generation.unwrap_or_default();
        current
            && match kind {
                RestartedKind::Deployment => {
                    [status.replicas, status.updated_replicas, status.available_replicas] == [wanted; 3]
                }
                RestartedKind::StatefulSet => {
                    [status.replicas, status.available_replicas] == [wanted; 2]
                        && status.current_revision == status.update_revision
                }
                RestartedKind::DaemonSet => {
                    [status.updated_number_scheduled, status.number_available] == [wanted; 2]
                }
            }
    }

    /// Why it cannot be restarted at all.
    fn obstacle(&self, kind: RestartedKind) -> Option<&'static str> {
        match (kind, self.spec.update_strategy.r#type.as_deref()) {
            (RestartedKind::Deployment, _) if self.spec.paused => Some("it is paused"),
            (RestartedKind::StatefulSet | RestartedKind::DaemonSet, Some("OnDelete")) => {
                Some("its update strategy is OnDelete: new pods come only when somebody deletes the old ones")
            }
            (RestartedKind::StatefulSet, _) if self.partition() > 0 => {
                Some("its update strategy has a partition: the pods below it keep their old certificate")
            }
            _ => None,
        }
    }

    fn partition(&self) -> i64 {
        self.spec.update_strategy.rolling_update.as_ref().map_or(0, |rolling| rolling.partition)
    }

    /// How many pods a rollout may take down at one time. One at least: each pod is ended at some moment, even where
    /// its successor is there before.
    fn takes(&self, kind: RestartedKind) -> i64 {
        let wanted = self.wanted(kind);
        let of =
            |strategy: &Strategy| strategy.rolling_update.as_ref().and_then(|r| r.max_unavailable.clone());
        let (limit, default, up) = match kind {
            RestartedKind::Deployment if self.spec.strategy.r#type.as_deref() == Some("Recreate") => {
                return wanted.max(1);
            }
            RestartedKind::Deployment => {
                (of(&self.spec.strategy), IntOrString::String("25%".to_owned()), false)
            }
            _ => (of(&self.spec.update_strategy), IntOrString::Int(1), true),
        };
        let count = match limit.unwrap_or(default) {
            IntOrString::Int(count) => i64::from(count),
            IntOrString::String(text) => {
                let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(100);
                let hundredths = wanted.saturating_mul(percent);
                if up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 }
            }
        };
        count.max(1)
    }
}

/// Judges a workload whose Secrets hold this now, each by its Certificate's name.
pub fn judge(
    kind: RestartedKind,
    metadata: &ObjectMeta,
    workload: &Workload,
    budgets: &[PodDisruptionBudget],
    held: &BTreeMap<String, Held>,
) -> Verdict {
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name));
    if annotation(RELOAD_ANNOTATION).map(String::as_str) != Some(RELOAD_BY_RESTART)
        || metadata.deletion_timestamp.is_some()
    {
        return Verdict::Settled;
    }
    let before = annotation(STARTED_FOR_ANNOTATION).map(String::as_str).unwrap_or_default();
    let record = record(held);
    if before == record {
        return Verdict::Settled;
    }
    let known: BTreeMap<&str, &str> = before.split(',').filter_map(|entry| entry.split_once('=')).collect();
    let made = metadata.creation_timestamp.as_ref().map_or(0, |made| made.0.as_second());
    let due = held.iter().any(|(certificate, held)| match known.get(certificate.as_str()) {
        Some(mark) => *mark != held.mark,
        // Nobody wrote down what its pods were started for. They cannot have started before there was a first
        // certificate; a later one that is younger than the workload may have come after them.
        None => held.revision > 1 && held.issued > made,
    });
    // Pods that come later read the present files.
    if !due || workload.wanted(kind) == 0 {
        return Verdict::Record(record);
    }
    if let Some(why) = workload.obstacle(kind) {
        return Verdict::Wait(&codes::RESTART_IMPOSSIBLE, why.to_owned());
    }
    if !workload.is_complete(kind, metadata) {
        let why = "not all of its pods are available and of its present template".to_owned();
        return Verdict::Wait(&codes::RESTART_UNAVAILABLE, why);
    }
    match budgets.iter().find_map(|budget| forbids(budget, workload, workload.takes(kind))) {
        Some(why) => Verdict::Wait(&codes::RESTART_BUDGET, why),
        None => Verdict::Restart(record),
    }
}

/// Why a budget does not allow a restart now, if it concerns the workload's pods.
fn forbids(budget: &PodDisruptionBudget, workload: &Workload, takes: i64) -> Option<String> {
    // In policy/v1 an empty selector is all pods, and none is none.
    let selector = budget.spec.as_ref()?.selector.clone()?;
    let labels = workload.spec.template.metadata.labels.clone().unwrap_or_default();
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    match Selector::try_from(selector) {
        Ok(selector) if !selector.matches(&labels) => return None,
        Ok(_) => {}
        Err(_) => return Some(format!("the selector of the PodDisruptionBudget {name} is not understood")),
    }
    let status = budget.status.as_ref();
    let current = status.and_then(|status| status.observed_generation) >= budget.metadata.generation;
    let allowed = status.and_then(|status| status.disruptions_allowed).map_or(0, i64::from);
    if !current {
        return Some(format!("it is not known yet what the PodDisruptionBudget {name} allows"));
    }
    (allowed < takes).then(|| {
        format!("the PodDisruptionBudget {name} allows {allowed} disruptions now, and the rollout takes {takes} at a time")
    })
}

/// What is written down: `CERTIFICATE=MARK`, by comma.
fn record(held: &BTreeMap<String, Held>) -> String {
    held.iter().map(|(name, held)| format!("{name}={}", held.mark)).collect::<Vec<_>>().join(",")
}
