//! What the API server knows, kept as an [`Index`] by watches.
//!
//! Nothing is published before all kinds were listed once: a mesh that knows its workloads but not yet its policies would
//! let in what these deny. What was published stays in force while the API server is away (invariant 10).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store, reflector};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::{Custom, Index, Objects, Options, index, istio};
use crate::error::chain;

/// Changes that come together are one: a rollout changes a pod and its slice within milliseconds.
const GATHER: Duration = Duration::from_millis(5);
/// How long a kind that the cluster does not have is left alone before somebody looks again whether it has it now.
const ABSENT: Duration = Duration::from_secs(10);
/// After an error.
const AGAIN: Duration = Duration::from_secs(1);

/// What is watched. Dropping it ends the watches.
pub struct Watched {
    /// The pods, as they are now.
    pub pods: Store<Pod>,
    /// The namespaces, as they are now.
    pub namespaces: Store<Namespace>,
    /// All that the mesh is told; `None` until everything was listed once.
    pub index: watch::Receiver<Option<Arc<Index>>>,
    _tasks: JoinSet<()>,
}

/// Whether all kinds were listed.
struct Listing {
    missing: AtomicUsize,
    changed: Notify,
}

impl Watched {
    /// Begins to watch.
    pub fn start(client: &Client, options: Options) -> Self {
        let mut tasks = JoinSet::new();
        let listing = Arc::new(Listing { missing: AtomicUsize::new(6), changed: Notify::new() });
        let pods = keep::<Pod>(&mut tasks, &listing, client, |pod| {
            // What decides nothing is most of a pod.
            pod.metadata.managed_fields = None;
            if let Some(spec) = &mut pod.spec {
                spec.volumes = None;
                spec.tolerations = None;
                spec.affinity = None;
            }
        });
        let namespaces = keep::<Namespace>(&mut tasks, &listing, client, |namespace| {
            namespace.metadata.managed_fields = None;
        });
        let services = keep::<Service>(&mut tasks, &listing, client, |service| {
            service.metadata.managed_fields = None;
        });
        let slices = keep::<EndpointSlice>(&mut tasks, &listing, client, |slice| {
            slice.metadata.managed_fields = None;
        });
        let authorization =
            keep_custom(&mut tasks, &listing, client, "AuthorizationPolicy", "authorizationpolicies");
        let peers = keep_custom(&mut tasks, &listing, client, "PeerAuthentication", "peerauthentications");
        let (sender, receiver) = watch::channel(None);
        let (all_pods, all_namespaces) = (pods.clone(), namespaces.clone());
        tasks.spawn(async move {
            loop {
                listing.changed.notified().await;
                tokio::time::sleep(GATHER).await;
                if listing.missing.load(Ordering::Acquire) > 0 {
                    continue;
                }
                let objects = Objects {
                    namespaces: all(&all_namespaces),
                    service_accounts: Vec::new(),
                    services: all(&services),
                    pods: all(&all_pods),
                    endpoint_slices: all(&slices),
                    authorization_policies: customs(&authorization),
                    peer_authentications: customs(&peers),
                };
                let next = index(&objects, &options);
                sender.send_replace(Some(Arc::new(next)));
            }
        });
        Self { pods, namespaces, index: receiver, _tasks: tasks }
    }
}

fn all<K: kube::Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>) -> Vec<K> {
    store.state().iter().map(|found| K::clone(found)).collect()
}

fn customs(store: &Store<DynamicObject>) -> Vec<Custom> {
    let custom = |found: &Arc<DynamicObject>| Custom {
        metadata: found.metadata.clone(),
        spec: found.data.get("spec").cloned().unwrap_or_default(),
    };
    store.state().iter().map(custom).collect()
}

fn keep<K>(tasks: &mut JoinSet<()>, listing: &Arc<Listing>, client: &Client, strip: fn(&mut K)) -> Store<K>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let events =
        watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff().modify(strip);
    tasks.spawn(follow(reflector(writer, events), Arc::clone(listing), K::kind(&()).into_owned()));
    store
}

/// One of Istio's kinds, which a cluster need not have: then there are none of them.
fn keep_custom(
    tasks: &mut JoinSet<()>,
    listing: &Arc<Listing>,
    client: &Client,
    kind: &'static str,
    plural: &'static str,
) -> Store<DynamicObject> {
    let resource = |version: &str| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(istio::GROUP, version, kind), plural)
    };
    // The versions have the same form; what is kept is found by name alone.
    let mut writer = reflector::store::Writer::<DynamicObject>::new(resource(istio::VERSIONS[0]));
    let store = writer.as_reader();
    let (client, listing) = (client.clone(), Arc::clone(listing));
    tasks.spawn(async move {
        let mut complete = false;
        let mut absent = 0_u32;
        loop {
            match served(&client, plural).await {
                Ok(Some(version)) => {
                    absent = 0;
                    let api = Api::<DynamicObject>::all_with(client.clone(), &resource(version));
                    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => {
                                writer.apply_watcher_event(&event);
                                told(&listing, &event, &mut complete);
                            }
                            Err(error) => {
                                tracing::warn!("{kind} cannot be watched: {}", chain(&error));
                                tokio::time::sleep(AGAIN).await;
                                // It may be that another version is served now, or none.
                                if is_absent(&error) {
                                    break;
                                }
                            }
                        }
                    }
                }
                Ok(None) => {
                    absent += 1;
                    // An API server that is starting may not know of a kind for a moment: what was known stays in force
                    // until it says so for a second time.
                    if absent == 1 && complete {
                        tracing::warn!("the cluster has no kind {kind}.{} any more", istio::GROUP);
                    } else if absent <= 2 {
                        tracing::info!("the cluster has no kind {kind}.{}: there are none", istio::GROUP);
                        for event in [Event::Init, Event::InitDone] {
                            writer.apply_watcher_event(&event);
                            told(&listing, &event, &mut complete);
                        }
                    }
                    tokio::time::sleep(ABSENT).await;
                }
                Err(error) => {
                    tracing::warn!(
                        "it cannot be told whether there is {kind}.{}: {}",
                        istio::GROUP,
                        chain(&error)
                    );
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    });
    store
}

/// The newest version in which the API server has a kind of Istio's: older installations have some as `v1beta1` only.
async fn served(client: &Client, plural: &str) -> Result<Option<&'static str>, kube::Error> {
    let groups = client.list_api_groups().await?;
    let Some(group) = groups.groups.into_iter().find(|group| group.name == istio::GROUP) else {
        return Ok(None);
    };
    for version in istio::VERSIONS {
        if group.versions.iter().any(|served| served.version == version) {
            let list = client.list_api_group_resources(&format!("{}/{version}", istio::GROUP)).await?;
            if list.resources.iter().any(|resource| resource.name == plural) {
                return Ok(Some(version));
            }
        }
    }
    Ok(None)
}

fn is_absent(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    status.code == 404
}

async fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    listing: Arc<Listing>,
    kind: String,
) {
    let mut events = std::pin::pin!(events);
    let mut complete = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => told(&listing, &event, &mut complete),
            Err(error) => tracing::warn!("{kind} cannot be watched: {}", chain(&error)),
        }
    }
}

fn told<K>(listing: &Listing, event: &Event<K>, complete: &mut bool) {
    match event {
        Event::Init | Event::InitApply(_) => return,
        Event::InitDone if !*complete => {
            *complete = true;
            listing.missing.fetch_sub(1, Ordering::AcqRel);
        }
        _ => {}
    }
    listing.changed.notify_one();
}

/// The live pod of this name, if its uid is this one.
pub fn pod(pods: &Store<Pod>, namespace: &str, name: &str, uid: &str) -> Option<Arc<Pod>> {
    let found = pods.get(&reflector::ObjectRef::new(name).within(namespace))?;
    (found.uid().as_deref() == Some(uid)).then_some(found)
}
