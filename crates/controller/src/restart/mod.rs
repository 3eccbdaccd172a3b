//! The rolling restart, for workloads that read their certificate only at the start: when a Secret changed, those that
//! its Certificate names and that ask for it themselves are restarted, in each namespace one after the other, as `kubectl
//! rollout restart` does it - and only while every pod is available and every disruption budget allows it. No namespace
//! waits for another one: each is looked at by itself, and a rollout that is stuck holds up its own namespace only.
//!
//! What the pods were started for stands in an annotation of the workload, so that a new leader knows what is done.

mod judge;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use certs::rfc3339;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
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
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

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
/// A rollout that takes longer does not keep the others of its namespace waiting.
const LONGEST_ROLLOUT: Duration = Duration::from_secs(600);
/// Workloads that are read at one time.
const AT_ONCE: usize = 16;

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
    /// Those that have to be looked at now.
    open: BTreeSet<Place>,
    /// Those that were looked at and have to wait.
    later: BTreeSet<Place>,
}

impl Told {
    /// Takes what has to be looked at, by namespace, but for namespaces that are being looked at.
    fn take(&mut self, looking: &BTreeSet<String>) -> BTreeMap<String, Vec<Place>> {
        let (stay, now) = std::mem::take(&mut self.open).into_iter().partition(|p| looking.contains(&p.0));
        self.open = stay;
        let mut by_namespace: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        let now: BTreeSet<Place> = now;
        for place in now {
            by_namespace.entry(place.0.clone()).or_default().push(place);
        }
        by_namespace
    }

    /// What has to wait is looked at again: all of it, or that of one namespace.
    fn reopen(&mut self, namespace: Option<&str>) {
        let (again, stay) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|place| namespace.is_none_or(|namespace| place.0 == namespace));
        self.later = stay;
        let mut again: BTreeSet<Place> = again;
        self.open.append(&mut again);
    }
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
            waiting: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Restarts what is due, in each namespace one at a time.
pub(crate) struct Restarter {
    restarts: Restarts,
    client: Client,
    certificates: Store<Certificate>,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    audit: Audit,
    /// What has to wait, and what was said of it.
    waiting: Mutex<HashMap<Place, String>>,
    slots: Semaphore,
}

/// A restart that was begun.
struct Rollout {
    place: Place,
    held: BTreeMap<String, Held>,
    found: DynamicObject,
}

/// What came to its end.
enum Ended {
    /// A look at all that was open in a namespace.
    Look { namespace: String, rollout: Option<Box<Rollout>> },
    /// The following of a rollout.
    Rollout { namespace: String },
}

impl Restarter {
    /// Does not end.
    pub(crate) async fn keep(self) {
        // At most one look and one rollout for each namespace.
        let mut work: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
        let (mut looking, mut rolling) = (BTreeSet::new(), BTreeSet::new());
        let mut again = interval(LOOK_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.restarts.changed.notified() => {}
                _ = again.tick() => self.restarts.lock().reopen(None),
                Some(ended) = work.next(), if !work.is_empty() => match ended {
                    Ended::Look { namespace, rollout } => {
                        looking.remove(&namespace);
                        if let Some(rollout) = rollout {
                            rolling.insert(namespace);
                            work.push(self.follow(*rollout).boxed());
                        }
                    }
                    Ended::Rollout { namespace } => {
                        rolling.remove(&namespace);
                        self.restarts.lock().reopen(Some(&namespace));
                    }
                },
            }
            let open = self.restarts.lock().take(&looking);
            for (namespace, places) in open {
                looking.insert(namespace.clone());
                let busy = rolling.contains(&namespace);
                work.push(self.look_at_all(namespace, places, busy).boxed());
            }
            self.metrics.set_restarts_waiting(self.waiting().len());
        }
    }

    /// Looks at workloads of one namespace. One of them is restarted, unless it is `busy` with a rollout already.
    async fn look_at_all(&self, namespace: String, places: Vec<Place>, busy: bool) -> Ended {
        let mut rollout = None;
        for place in places {
            let held = self.held(&place);
            if held.is_empty() {
                self.waiting().remove(&place);
                continue;
            }
            let begun = self.look(&place, &held, busy || rollout.is_some()).await;
            rollout = rollout.or(begun);
        }
        Ended::Look { namespace, rollout: rollout.map(Box::new) }
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

    /// Does what is due about one workload. A restart is only begun, and left for later where it is `busy`.
    async fn look(&self, place: &Place, held: &BTreeMap<String, Held>, busy: bool) -> Option<Rollout> {
        match self.judged(place, held).await? {
            (_, Verdict::Settled) => {
                self.waiting().remove(place);
                return None;
            }
            (found, Verdict::Wait(code, why)) => {
                self.wait_for(place, held, Some(&found), code, why).await;
                return None;
            }
            (found, Verdict::Record(record)) => {
                self.write_or_wait(place, held, &found, record, false).await;
                return None;
            }
            (_, Verdict::Restart(_)) if busy => {
                self.restarts.lock().later.insert(place.clone());
                return None;
            }
            (_, Verdict::Restart(_)) => {}
        }
        // Kubelet is told of a new Secret by a watch; and what became due together is not restarted together.
        sleep(jitter()).await;
        let held = self.held(place);
        let Some((found, Verdict::Restart(record))) = self.judged(place, &held).await else {
            // It changed meanwhile.
            self.restarts.lock().later.insert(place.clone());
            return None;
        };
        if !self.write_or_wait(place, &held, &found, record, true).await {
            return None;
        }
        self.tell_restarted(place, &held, &found).await;
        Some(Rollout { place: place.clone(), held, found })
    }

    /// What is to be done about a workload. `None` where there is none, or it cannot be told now.
    async fn judged(&self, place: &Place, held: &BTreeMap<String, Held>) -> Option<(DynamicObject, Verdict)> {
        let slot = self.slots.acquire().await;
        let found = match self.read(place).await {
            Ok(Some(found)) => found,
            // There is none yet, or none any more.
            Ok(None) => {
                self.waiting().remove(place);
                return None;
            }
            Err(error) => {
                drop(slot);
                self.wait_for(place, held, None, error.code(), chain(&error)).await;
                return None;
            }
        };
        let budgets = match self.budgets(&place.0).await {
            Ok(budgets) => budgets,
            Err(error) => {
                drop(slot);
                self.wait_for(place, held, Some(&found), error.code(), chain(&error)).await;
                return None;
            }
        };
        let verdict = match Workload::read(&found.data) {
            Ok(workload) => judge(place.1.kind, &found.metadata, &workload, &budgets, held),
            Err(error) => Verdict::Wait(&codes::KUBE_ANSWER, format!("it cannot be read: {error}")),
        };
        Some((found, verdict))
    }

    /// Whether it was written. Where not, it waits.
    async fn write_or_wait(
        &self,
        place: &Place,
        held: &BTreeMap<String, Held>,
        found: &DynamicObject,
        record: String,
        restart: bool,
    ) -> bool {
        let written = self.write(place, found, record, restart).await;
        if let Err(error) = written {
            self.wait_for(place, held, Some(found), error.code(), chain(&error)).await;
            return false;
        }
        self.waiting().remove(place);
        true
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Place, String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits until the rollout is done, so that the next one of its namespace does not begin before.
    async fn follow(&self, rollout: Rollout) -> Ended {
        let Rollout { place, held, found } = rollout;
        let end = Instant::now() + LONGEST_ROLLOUT;
        let ended = Ended::Rollout { namespace: place.0.clone() };
        while Instant::now() < end {
            sleep(FOLLOW).await;
            match self.read(&place).await {
                Ok(None) => return ended,
                Ok(Some(now)) => match Workload::read(&now.data) {
                    Ok(workload) if workload.is_complete(place.1.kind, &now.metadata) => return ended,
                    _ => {}
                },
                Err(error) => tracing::debug!(workload = %title(&place), "{}", chain(&error)),
            }
        }
        let code = &codes::RESTART_STUCK;
        let note = format!("{}: the rollout is not done after {} s", code.id, LONGEST_ROLLOUT.as_secs());
        tracing::warn!(workload = %title(&place), code = code.id, "{note}");
        self.event(&place, &held, Some(&found), EventType::Warning, "RestartStuck", note).await;
        ended
    }

    /// Keeps it for later, and says why, once for each reason.
    async fn wait_for(
        &self,
        place: &Place,
        held: &BTreeMap<String, Held>,
        found: Option<&DynamicObject>,
        code: &'static Code,
        why: String,
    ) {
        self.restarts.lock().later.insert(place.clone());
        let note = format!("{}: {}: {why}", code.id, code.title);
        if self.waiting().insert(place.clone(), note.clone()).as_ref() == Some(&note) {
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
