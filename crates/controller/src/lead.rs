//! What only the leader does: watch, reconcile, keep the trust bundles. Dropping the future of [`lead`] ends all of it
//! at once, in the middle of whatever it was doing; nothing that it does needs to be finished.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action as Next, Config, applier};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, reflector::reflector};
use kube::{Api, Client, ResourceExt as _};
use model::codes::Coded as _;
use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::audit::{Action, Audit, Record};
use crate::authority::{AuthorityStore, Standing, State, Watched};
use crate::certificate::Certificate;
use crate::clock::Clock;
use crate::error::{Error, Result, chain};
use crate::grant::Domains;
use crate::lifetimes::Lifetimes;
use crate::metrics::Metrics;
use crate::names::{AUTHORITY_SECRET, CONTROLLER};
use crate::reconcile::{Context, reconcile};
use crate::restart::Restarts;
use crate::revocation::Records;
use crate::signer;
use crate::trust::{self, Bundles};
use crate::world::KnownWorld;

/// Reconciliations at one time.
const AT_ONCE: u16 = 16;
/// Between one Certificate and the next when the authority changed: a thousand take twenty seconds.
const PACE: Duration = Duration::from_millis(20);

/// What the leader needs.
#[derive(Clone)]
pub struct Leader {
    /// The API server.
    pub client: Client,
    /// The controller's namespace.
    pub namespace: String,
    /// This process, for Events.
    pub identity: String,
    /// The two domains.
    pub domains: Domains,
    /// Between which lifetimes Certificates may choose.
    pub lifetimes: Lifetimes,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The audit log.
    pub audit: Audit,
    /// This clock, as compared with the API server's.
    pub clock: Clock,
}

type Reference = ObjectRef<Certificate>;

/// Leads. `started` is called when everything is read and the first Certificates are being looked at.
///
/// # Errors
///
/// When the authority cannot be used.
pub async fn lead(leader: Leader, started: impl FnOnce()) -> Result<Infallible> {
    let store = AuthorityStore::new(leader.client.clone(), &leader.namespace);
    let ensured = store.ensure(&leader.domains.trust, OffsetDateTime::now_utc()).await;
    let damaged = |error: &Error| {
        matches!(error, Error::AuthorityMissing(_) | Error::AuthorityLost { .. } | Error::AuthorityBroken(_))
    };
    leader.metrics.set_authority_damaged(ensured.as_ref().is_err_and(damaged));
    let (state, made) = ensured?;
    if made {
        let issuer = state.active()?.0.name.clone();
        tracing::info!("made a new authority: {issuer}");
        let record =
            Record::new(Action::Rotate, "Authority", &leader.namespace, &issuer, "the first one was made");
        // It is in the API server already; the line is for people.
        let _ = leader.audit.write(&record);
    }
    leader.metrics.set_authority(&state);
    let (authority_sender, authority) = watch::channel(Arc::new(state));
    let (queue, mut requests) = mpsc::unbounded_channel::<Reference>();
    let changed = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();

    let (certificates, writer) = reflector::store::<Certificate>();
    let events = reflector(
        writer,
        watcher(Api::all(leader.client.clone()), watcher::Config::default()).default_backoff(),
    );
    tasks.spawn(follow_certificates(
        events,
        queue.clone(),
        Arc::clone(&changed),
        Arc::clone(&leader.metrics),
    ));

    let client = || leader.client.clone();
    let all = watcher::Config::default;
    let (namespaces, writer) = reflector::store::<PartialObjectMeta<Namespace>>();
    let events = reflector(
        writer,
        watcher(Api::<PartialObjectMeta<Namespace>>::all(client()), all()).default_backoff(),
    );
    let follow =
        Follow { certificates: certificates.clone(), queue: queue.clone(), changed: Arc::clone(&changed) };
    tasks.spawn(
        follow.clone().run(events, |found, certificate: &Certificate| {
            certificate.namespace() == Some(found.name_any())
        }),
    );
    let (services, writer) = reflector::store::<Service>();
    let events =
        watcher(Api::<Service>::all(client()), all()).default_backoff().modify(|service: &mut Service| {
            service.metadata.managed_fields = None;
            service.metadata.annotations = None;
            service.status = None;
        });
    tasks.spawn(follow.clone().run(reflector(writer, events), |found, certificate: &Certificate| {
        let spec = &certificate.spec;
        certificate.namespace() == found.namespace()
            && (spec.services.contains(&found.name_any()) || !spec.dns_names.is_empty())
    }));
    let (accounts, writer) = reflector::store::<PartialObjectMeta<ServiceAccount>>();
    let events = reflector(
        writer,
        watcher(Api::<PartialObjectMeta<ServiceAccount>>::all(client()), all()).default_backoff(),
    );
    tasks.spawn(follow.clone().run(events, |found, certificate: &Certificate| {
        certificate.namespace() == found.namespace()
            && certificate.spec.service_account.as_ref() == Some(&found.name_any())
    }));
    let (maps, writer) = reflector::store::<ConfigMap>();
    let events =
        reflector(writer, watcher(Api::<ConfigMap>::all(client()), trust::selector()).default_backoff());
    tasks.spawn(follow.run(events, |_, _: &Certificate| false));
    tasks.spawn(leader.clone().follow_authority(store.clone(), authority_sender));

    let unready =
        |what: &str| Error::Unreachable { action: format!("watch {what}"), reason: "it ended".to_owned() };
    certificates.wait_until_ready().await.map_err(|_| unready("Certificates"))?;
    namespaces.wait_until_ready().await.map_err(|_| unready("Namespaces"))?;
    services.wait_until_ready().await.map_err(|_| unready("Services"))?;
    accounts.wait_until_ready().await.map_err(|_| unready("ServiceAccounts"))?;
    maps.wait_until_ready().await.map_err(|_| unready("ConfigMaps"))?;
    tracing::info!(certificates = certificates.len(), "leads");
    started();

    let (published, lists) = watch::channel(String::new());
    let bundles = Bundles {
        client: client(),
        authority: authority.clone(),
        lists,
        certificates: certificates.clone(),
        namespaces: namespaces.clone(),
        found: maps,
        changed,
    };
    tasks.spawn(bundles.keep());
    tasks.spawn(reconcile_all_on_change(authority.clone(), certificates.clone(), queue.clone()));
    let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(leader.identity.clone()) };
    let recorder = Recorder::new(client(), reporter);
    let records = Records {
        client: client(),
        namespace: leader.namespace.clone(),
        store: store.clone(),
        authority: authority.clone(),
        published,
        audit: leader.audit.clone(),
        recorder: recorder.clone(),
        clock: leader.clock.clone(),
    };
    tasks.spawn(records.keep());
    let restarts = Restarts::default();
    let restarter = restarts.restarter(&leader, recorder.clone(), certificates.clone());
    tasks.spawn(restarter.keep());
    let context = Arc::new(Context {
        client: client(),
        domains: leader.domains.clone(),
        lifetimes: leader.lifetimes,
        certificates: certificates.clone(),
        world: KnownWorld { namespaces, services, accounts },
        authority,
        store,
        metrics: Arc::clone(&leader.metrics),
        audit: leader.audit.clone(),
        recorder,
        restarts,
        clock: leader.clock.clone(),
    });
    tasks.spawn(signer::keep(Arc::clone(&context)));
    let requests = stream::poll_fn(move |cx| requests.poll_recv(cx)).map(Ok::<_, Infallible>);
    let config = Config::default().concurrency(AT_ONCE).debounce(Duration::from_millis(100));
    let work = applier(
        |certificate, context| Box::pin(reconcile(certificate, context)),
        |_, error: &Error, _| {
            tracing::warn!("{}", chain(error));
            Next::requeue(Duration::from_secs(10))
        },
        context,
        certificates,
        requests,
        config,
    );
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = work.next() => match done {
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::debug!("{}", chain(&error)),
                None => return Err(unready("its own queue")),
            },
            // Watches end only when they are dropped, or by a defect.
            Some(ended) = tasks.join_next() => {
                let reason = ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
                return Err(Error::Unreachable { action: "go on watching".to_owned(), reason });
            }
        }
    }
}

impl Leader {
    /// Follows the authority's Secret. What cannot be used is refused, and the last good one stays in force.
    async fn follow_authority(self, store: AuthorityStore, sender: watch::Sender<Arc<State>>) {
        let config = watcher::Config::default().fields(&format!("metadata.name={AUTHORITY_SECRET}"));
        let mut events = std::pin::pin!(watcher(store.api().clone(), config).default_backoff());
        let mut watched = Watched::new(&self.domains.trust);
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!("the authority cannot be watched: {}", chain(&error));
                    continue;
                }
            };
            match watched.next(event) {
                Some(Ok(state)) => {
                    self.metrics.set_authority(&state);
                    sender.send_replace(Arc::new(state));
                }
                Some(Err(error)) => {
                    self.metrics.set_authority_damaged(true);
                    tracing::error!(
                        code = error.code().id,
                        "restore the authority: {}; the last one stays in force",
                        chain(&error)
                    );
                }
                None => {}
            }
        }
    }
}

/// Certificates themselves: those whose spec is new are looked at; what the controller wrote itself is not.
async fn follow_certificates(
    events: impl Stream<Item = watcher::Result<Event<Certificate>>>,
    queue: UnboundedSender<Reference>,
    changed: Arc<Notify>,
    metrics: Arc<Metrics>,
) {
    let mut generations: HashMap<Reference, (Option<String>, Option<i64>)> = HashMap::new();
    let mut listed: HashSet<Reference> = HashSet::new();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event @ (Event::Apply(_) | Event::InitApply(_))) => {
                let lists = matches!(event, Event::InitApply(_));
                let (Event::Apply(found) | Event::InitApply(found)) = event else { continue };
                let reference = ObjectRef::from_obj(&found);
                if lists {
                    listed.insert(reference.clone());
                }
                let generation = (found.uid(), found.metadata.generation);
                if generations.insert(reference.clone(), generation.clone()) != Some(generation) {
                    let _ = queue.send(reference);
                    changed.notify_one();
                }
            }
            Ok(Event::Delete(found)) => {
                generations.remove(&ObjectRef::from_obj(&found));
                metrics.forget_certificate(&found.namespace().unwrap_or_default(), &found.name_any());
            }
            Ok(Event::Init) => listed.clear(),
            // Listed again after a 410: those that were deleted in between are not told of.
            Ok(Event::InitDone) => generations.retain(|reference, _| {
                let there = listed.contains(reference);
                if !there {
                    let namespace = reference.namespace.as_deref().unwrap_or_default();
                    metrics.forget_certificate(namespace, &reference.name);
                }
                there
            }),
            Err(error) => tracing::warn!("Certificates cannot be watched: {}", chain(&error)),
        }
    }
}

/// A watch whose changes make Certificates be looked at again.
#[derive(Clone)]
struct Follow {
    certificates: Store<Certificate>,
    queue: UnboundedSender<Reference>,
    changed: Arc<Notify>,
}

impl Follow {
    /// `concerns` says whether a Certificate may depend on what changed.
    async fn run<K>(
        self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        concerns: impl Fn(&K, &Certificate) -> bool,
    ) {
        let mut events = std::pin::pin!(events);
        let mut complete = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(found) | Event::Delete(found)) => {
                    self.changed.notify_one();
                    self.look_again(|certificate| concerns(&found, certificate));
                }
                Ok(Event::InitDone) => {
                    self.changed.notify_one();
                    // Listed again after a 410 or a lost connection: what happened in between is not told.
                    if complete {
                        self.look_again(|_| true);
                    }
                    complete = true;
                }
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => tracing::warn!("a watch failed and is begun again: {}", chain(&error)),
            }
        }
    }

    fn look_again(&self, concerns: impl Fn(&Certificate) -> bool) {
        for certificate in self.certificates.state() {
            if concerns(&certificate) {
                let _ = self.queue.send(ObjectRef::from_obj(certificate.as_ref()));
            }
        }
    }
}

/// When the authority changes, all Certificates are looked at: at once, but not all in one moment. What was revoked
/// comes first.
async fn reconcile_all_on_change(
    mut authority: watch::Receiver<Arc<State>>,
    certificates: Store<Certificate>,
    queue: UnboundedSender<Reference>,
) {
    let mut known = concerns(&authority.borrow_and_update());
    while authority.changed().await.is_ok() {
        loop {
            let state = Arc::clone(&authority.borrow_and_update());
            let now = concerns(&state);
            if now == known {
                break;
            }
            known = now;
            let is_revoked = |certificate: &Arc<Certificate>| {
                let serial = certificate.status.as_ref().and_then(|status| status.serial.as_ref());
                serial
                    .and_then(|text| text.parse().ok())
                    .is_some_and(|serial: certs::Serial| state.revocations.contains_key(&serial))
            };
            let (revoked, others): (Vec<_>, Vec<_>) = certificates.state().into_iter().partition(is_revoked);
            for certificate in revoked {
                let _ = queue.send(ObjectRef::from_obj(certificate.as_ref()));
            }
            for certificate in others {
                let _ = queue.send(ObjectRef::from_obj(certificate.as_ref()));
                tokio::time::sleep(PACE).await;
                // Changed again: what was looked at may have to be looked at again.
                if concerns(&authority.borrow()) != known {
                    break;
                }
            }
        }
    }
}

/// What of the authority Secrets depend on. The numbers of revocation lists are not of it.
fn concerns(state: &State) -> (Vec<(String, Standing)>, Vec<certs::Serial>) {
    let members = state.members.iter().map(|member| (member.name.clone(), member.standing));
    (members.collect(), state.revocations.keys().cloned().collect())
}
