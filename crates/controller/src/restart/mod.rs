//! The rolling restart, for workloads that read their certificate only at the start: when a Secret changed, those that
//! its Certificate names and that ask for it themselves are restarted, one after the other, as `kubectl rollout
//! restart` does it - and only while every pod is available and every disruption budget allows it.
//!
//! What the pods were started for stands in an annotation of the workload, so that a new leader knows what is done.

mod judge;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certs::rfc3339;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource as _};
use model::codes::{Code, Coded as _, kube as codes};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::audit::{Action, Audit, Record};
use crate::certificate::{Certificate, Restarted};
use crate::error::{Error, Result, chain};
use crate::lead::Leader;
use crate::metrics::Metrics;
use crate::names::{CONTROLLER, RESTARTED_AT_ANNOTATION, STARTED_FOR_ANNOTATION};

use judge::{Verdict, Workload, judge};

#[cfg(test)]
mod tests;

/// What has to wait is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How often a rollout under way is looked at.
const FOLLOW: Duration = Duration::from_secs(2);
/// A rollout that takes longer does not keep the others waiting.
const LONGEST_ROLLOUT: Duration = Duration::from_secs(600);

/// What a Secret holds, as far as anybody may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Changes with the certificates and the trust bundle.
    mark: String,
    /// How many certificates were issued into the Secret.
    revision: i64,
    /// When the present one was issued, in seconds since 1970.
    issued: i64,
}

impl Held {
    /// `public` is everything in the Secret but the key.
    pub fn new(public: &[u8], revision: i64, issued: OffsetDateTime) -> Self {
        let mark = certs::inspect::pin(public).chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        Self { mark, revision, issued: issued.unix_timestamp() }
    }
}

/// A workload and its namespace.
type Place = (String, Restarted);

/// What reconciliations tell of Secrets.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    told: Arc<Mutex<Told>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Told {
    /// By the name of the Certificate.
    held: BTreeMap<Place, BTreeMap<String, Held>>,
    /// Those that have to be looked at.
    open: BTreeSet<Place>,
}

impl Restarts {
    /// A Certificate's Secret holds this, and is good.
    pub fn tell(&self, certificate: &Certificate, held: Held) {
        let namespace = certificate.metadata.namespace.clone().unwrap_or_default();
        let name = certificate.metadata.name.clone().unwrap_or_default();
        let mut told = self.lock();
        for workload in &certificate.spec.restart {
            let place = (namespace.clone(), workload.clone());
            told.held.entry(place.clone()).or_default().insert(name.clone(), held.clone());
            told.open.insert(place);
        }
        self.changed.notify_one();
    }

    /// What acts on it.
    pub(crate) fn restarter(
        &self,
        leader: &Leader,
        recorder: Recorder,
        certificates: Store<Certificate>,
    ) -> Restarter {
        Restarter {
            restarts: self.clone(),
            client: leader.client.clone(),
            certificates,
            recorder,
            metrics: Arc::clone(&leader.metrics),
            audit: leader.audit.clone(),
            waiting: HashMap::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Restarts what is due, one at a time.
pub(crate) struct Restarter {
    restarts: Restarts,
    client: Client,
    certificates: Store<Certificate>,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    audit: Audit,
    /// What has to wait, and what was said of it.
    waiting: HashMap<Place, String>,
}

impl Restarter {
    /// Does not end.
    pub(crate) async fn keep(mut self) {
        loop {
            tokio::select! {
                () = self.restarts.changed.notified() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
            let open = std::mem::take(&mut self.restarts.lock().open);
            for place in open {
                let held = self.held(&place);
                if held.is_empty() {
                    self.waiting.remove(&place);
                    continue;
                }
                // Kubelet is told of a new Secret by a watch; and what became due together is not restarted together.
                sleep(jitter()).await;
                self.look(&place, &held).await;
                self.metrics.set_restarts_waiting(self.waiting.len());
            }
        }
    }

    /// What its Certificates' Secrets hold: those that still name it.
    fn held(&self, place: &Place) -> BTreeMap<String, Held> {
        let mut told = self.restarts.lock();
        let Some(held) = told.held.get_mut(place) else { return BTreeMap::new() };
        held.retain(|name, _| {
            let found = self.certificates.get(&ObjectRef::new(name).within(&place.0));
            found.is_some_and(|found| found.spec.restart.contains(&place.1))
        });
        if held.is_empty() {
            told.held.remove(place);
            return BTreeMap::new();
        }
        held.clone()
    }

    async fn look(&mut self, place: &Place, held: &BTreeMap<String, Held>) {
        let found = match self.read(place).await {
            Ok(Some(found)) => found,
            // There is none yet, or none any more.
            Ok(None) => {
                self.waiting.remove(place);
                return;
            }
            Err(error) => return self.wait_for(place, held, None, error.code(), chain(&error)).await,
        };
        let budgets = match self.budgets(&place.0).await {
            Ok(budgets) => budgets,
            Err(error) => return self.wait_for(place, held, Some(&found), error.code(), chain(&error)).await,
        };
        let verdict = match Workload::read(&found.data) {
            Ok(workload) => judge(place.1.kind, &found.metadata, &workload, &budgets, held),
            Err(error) => Verdict::Wait(&codes::KUBE_ANSWER, format!("it cannot be read: {error}")),
        };
        let (record, restart) = match verdict {
            Verdict::Settled => {
                self.waiting.remove(place);
                return;
            }
            Verdict::Wait(code, why) => return self.wait_for(place, held, Some(&found), code, why).await,
            Verdict::Record(record) => (record, false),
            Verdict::Restart(record) => (record, true),
        };
        if let Err(error) = self.write(place, &found, record, restart).await {
            return self.wait_for(place, held, Some(&found), error.code(), chain(&error)).await;
        }
        self.waiting.remove(place);
        if restart {
            self.tell_restarted(place, held, &found).await;
            self.follow(place, held, &found).await;
        }
    }

    fn api(&self, place: &Place) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apps", "v1", place.1.kind.kind());
        let resource = ApiResource::from_gvk_with_plural(&kind, place.1.kind.plural());
        Api::namespaced_with(self.client.clone(), &place.0, &resource)
    }

    async fn read(&self, place: &Place) -> Result<Option<DynamicObject>> {
        let read = self.api(place).get_opt(&place.1.name).await;
        read.map_err(restart_error(format!("read {}", title(place))))
    }

    async fn budgets(&self, namespace: &str) -> Result<Vec<PodDisruptionBudget>> {
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), namespace);
        let action = format!("list the PodDisruptionBudgets of {namespace}");
        api.list(&ListParams::default()).await.map(|list| list.items).map_err(restart_error(action))
    }

    /// One write: the record, and what makes the rollout. It is refused when anybody wrote in between.
    async fn write(&self, place: &Place, found: &DynamicObject, record: String, restart: bool) -> Result<()> {
        let mut patch = json!({ "metadata": {
            "resourceVersion": found.metadata.resource_version,
            "annotations": { STARTED_FOR_ANNOTATION: record },
        }});
        if restart {
            let now = rfc3339(OffsetDateTime::now_utc());
            patch["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT_ANNOTATION] = json!(now);
        }
        let params = PatchParams { field_manager: Some(CONTROLLER.to_owned()), ..PatchParams::default() };
        let written = self.api(place).patch(&place.1.name, &params, &Patch::Merge(patch)).await;
        written.map(|_| ()).map_err(restart_error(format!("restart {}", title(place))))
    }

    async fn tell_restarted(&self, place: &Place, held: &BTreeMap<String, Held>, found: &DynamicObject) {
        let certificates = names(held);
        let note = format!("restarted pod by pod, for its pods to take the new files of {certificates}");
        tracing::info!(workload = %title(place), "{note}");
        self.metrics.count_restart();
        let record = Record::new(Action::Restart, place.1.kind.kind(), &place.0, &place.1.name, &note);
        // It is done already; the line is for people.
        let _ = self.audit.write(&record);
        self.event(place, held, Some(found), EventType::Normal, "Restarted", note).await;
    }

    /// Waits until the rollout is done, so that the next one does not begin before.
    async fn follow(&self, place: &Place, held: &BTreeMap<String, Held>, found: &DynamicObject) {
        let end = Instant::now() + LONGEST_ROLLOUT;
        while Instant::now() < end {
            sleep(FOLLOW).await;
            match self.read(place).await {
                Ok(None) => return,
                Ok(Some(now)) => match Workload::read(&now.data) {
                    Ok(workload) if workload.is_complete(place.1.kind, &now.metadata) => return,
                    _ => {}
                },
                Err(error) => tracing::debug!(workload = %title(place), "{}", chain(&error)),
            }
        }
        let code = &codes::RESTART_STUCK;
        let note = format!("{}: the rollout is not done after {} s", code.id, LONGEST_ROLLOUT.as_secs());
        tracing::warn!(workload = %title(place), code = code.id, "{note}");
        self.event(place, held, Some(found), EventType::Warning, "RestartStuck", note).await;
    }

    /// Keeps it open, and says why, once for each reason.
    async fn wait_for(
        &mut self,
        place: &Place,
        held: &BTreeMap<String, Held>,
        found: Option<&DynamicObject>,
        code: &'static Code,
        why: String,
    ) {
        self.restarts.lock().open.insert(place.clone());
        let note = format!("{}: {}: {why}", code.id, code.title);
        if self.waiting.insert(place.clone(), note.clone()).as_ref() == Some(&note) {
            return;
        }
        tracing::warn!(workload = %title(place), code = code.id, "{note}");
        self.event(place, held, found, EventType::Warning, "RestartWaits", note).await;
    }

    /// An Event of the workload; of its Certificate where the workload cannot even be read.
    async fn event(
        &self,
        place: &Place,
        held: &BTreeMap<String, Held>,
        found: Option<&DynamicObject>,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        let certificate = held.keys().find_map(|name| {
            let found = self.certificates.get(&ObjectRef::new(name).within(&place.0))?;
            Some(found.object_ref(&()))
        });
        let workload = found.map(|found| ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some(place.1.kind.kind().to_owned()),
            name: Some(place.1.name.clone()),
            namespace: Some(place.0.clone()),
            uid: found.metadata.uid.clone(),
            ..ObjectReference::default()
        });
        let Some(regarding) = workload.clone().or_else(|| certificate.clone()) else { return };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            // The API server takes 1024 bytes.
            note: Some(note.chars().take(900).collect()),
            action: "Restart".to_owned(),
            secondary: workload.and(certificate),
        };
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::debug!(workload = %title(place), "no Event was written: {}", chain(&error));
        }
    }
}

fn restart_error(action: String) -> impl FnOnce(kube::Error) -> Error {
    move |error| match Error::api(action)(error) {
        Error::Forbidden { action, reason } => Error::RestartForbidden { action, reason },
        other => other,
    }
}

fn title(place: &Place) -> String {
    format!("{} {}/{}", place.1.kind.kind(), place.0, place.1.name)
}

fn names(held: &BTreeMap<String, Held>) -> String {
    held.keys().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

/// One to four seconds.
fn jitter() -> Duration {
    Duration::from_millis(1000 + u64::from(rand::random::<u16>()) % 3000)
}
