//! What the API server knows, kept up by watches and put together change by change ([`super::live`]).
//!
//! Nothing is published before all kinds were listed once: a mesh that knows its workloads but not yet its policies would
//! let in what these deny. What was published stays in force while the API server is away (invariant 10).

mod follow;
mod kept;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::list::{custom, customs_in, served};
use super::live::{Live, Update};
use super::{Custom, Options, istio};
use crate::error::chain;
use follow::{Periods, follow};
use kept::{Kept, Noted};

/// Changes that come together are one: a rollout changes a pod and its slice within milliseconds. The first one after a
/// while does not wait for others; those that follow it do.
const GATHER: Duration = Duration::from_millis(5);
/// How long a kind that the cluster does not have is left alone before somebody looks again whether it has it now.
const ABSENT: Duration = Duration::from_secs(10);
/// After an error.
const AGAIN: Duration = Duration::from_secs(1);
/// Heard of nothing for so long, a control plane may be behind others: twice as long as a watch lasts.
pub const SILENT: Duration = Duration::from_secs(60);

/// The annotation in which `kubectl apply` keeps the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is watched, and what came of it. Dropping it ends the watches.
pub struct Watched {
    kinds: Kinds,
    live: Live,
    noted: Arc<Noted>,
    /// How many changes are in what [`Watched::next`] returned last, and in what its caller has published.
    taken: u64,
    published: watch::Sender<u64>,
    since: Option<Instant>,
    _tasks: JoinSet<()>,
}

/// All kinds.
#[derive(Clone)]
struct Kinds {
    namespaces: Arc<Kept<Namespace>>,
    pods: Arc<Kept<Pod>>,
    services: Arc<Kept<Service>>,
    slices: Arc<Kept<EndpointSlice>>,
    authorization: Arc<Kept<Custom>>,
    peers: Arc<Kept<Custom>>,
}

impl Kinds {
    fn new(noted: &Arc<Noted>) -> Self {
        Self {
            namespaces: Kept::new("Namespace", noted),
            pods: Kept::new("Pod", noted),
            services: Kept::new("Service", noted),
            slices: Kept::new("EndpointSlice", noted),
            authorization: Kept::new("AuthorizationPolicy", noted),
            peers: Kept::new("PeerAuthentication", noted),
        }
    }

    fn are_listed(&self) -> bool {
        self.namespaces.is_listed()
            && self.pods.is_listed()
            && self.services.is_listed()
            && self.slices.is_listed()
            && self.authorization.is_listed()
            && self.peers.is_listed()
    }
}

/// What others ask of what is watched.
#[derive(Clone)]
pub struct Known {
    kinds: Kinds,
    published: watch::Receiver<u64>,
}

impl Known {
    /// The pods, as they are now.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.kinds.pods.objects()
    }

    /// The pod of this name, if its uid is this one.
    pub fn pod(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Pod>> {
        self.kinds.pods.object(namespace, name).filter(|pod| pod.metadata.uid.as_deref() == Some(uid))
    }

    /// The same, once it is in what proxies are told; waits for that. Whoever is told before would be told of the pod that
    /// had this name before it. Does not end where the pod never comes.
    pub async fn published_pod(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Pod>> {
        let mut published = self.published.clone();
        loop {
            let (found, noted) = self.kinds.pods.object_at(namespace, name);
            let reached = *published.wait_for(|reached| *reached >= noted).await.ok()?;
            if let Some(pod) = found.filter(|pod| pod.metadata.uid.as_deref() == Some(uid)) {
                return Some(pod);
            }
            published.wait_for(|now| *now > reached).await.ok()?;
        }
    }

    /// How long ago the API server was heard of, by kind; none where it never was.
    pub fn silences(&self) -> [(&'static str, Option<Duration>); 6] {
        let Kinds { namespaces, pods, services, slices, authorization, peers } = &self.kinds;
        [
            (namespaces.kind(), namespaces.silent_for()),
            (pods.kind(), pods.silent_for()),
            (services.kind(), services.silent_for()),
            (slices.kind(), slices.silent_for()),
            (authorization.kind(), authorization.silent_for()),
            (peers.kind(), peers.silent_for()),
        ]
    }

    /// The kind that was not heard of for longest, where that is too long for others not to know more.
    pub fn silent(&self) -> Option<(&'static str, Duration)> {
        let silent = self.silences().into_iter().filter_map(|(kind, silent)| Some((kind, silent?)));
        silent.max_by_key(|(_, silent)| *silent).filter(|(_, silent)| *silent > SILENT)
    }
}

impl Watched {
    /// Begins to watch.
    pub fn start(client: &Client, options: Options) -> Self {
        let mut tasks = JoinSet::new();
        let noted = Arc::new(Noted::default());
        let kinds = Kinds::new(&noted);
        keep(&mut tasks, client, &kinds.namespaces, |mut namespace: Namespace| {
            namespace.metadata.managed_fields = None;
            namespace
        });
        keep(&mut tasks, client, &kinds.pods, pod);
        keep(&mut tasks, client, &kinds.services, |mut service: Service| {
            service.metadata.managed_fields = None;
            service
        });
        keep(&mut tasks, client, &kinds.slices, |mut slice: EndpointSlice| {
            slice.metadata.managed_fields = None;
            slice
        });
        tasks.spawn(keep_custom(client.clone(), Arc::clone(&kinds.authorization), "authorizationpolicies"));
        tasks.spawn(keep_custom(client.clone(), Arc::clone(&kinds.peers), "peerauthentications"));
        let (live, published) = (Live::new(options), watch::channel(0).0);
        Self { kinds, live, noted, taken: 0, published, since: None, _tasks: tasks }
    }

    /// What others ask.
    pub fn known(&self) -> Known {
        Known { kinds: self.kinds.clone(), published: self.published.subscribe() }
    }

    /// The next state of the mesh, when something became otherwise. Whoever asks for it has published the one before.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Update {
        self.published.send_replace(self.taken);
        if let Some(since) = self.since {
            tokio::time::sleep_until(since + GATHER).await;
        }
        loop {
            // Before the changes themselves are taken: all that it counts are among them.
            let noted = self.noted.count();
            if noted > self.taken && self.kinds.are_listed() {
                self.taken = noted;
                self.take();
                if self.live.is_dirty() {
                    self.since = Some(Instant::now());
                    return self.live.update();
                }
                self.published.send_replace(self.taken);
            }
            self.noted.changed.notified().await;
        }
    }

    fn take(&mut self) {
        let Kinds { namespaces, pods, services, slices, authorization, peers } = &self.kinds;
        let live = &mut self.live;
        namespaces.drain().into_iter().for_each(|((_, name), now)| live.namespace(&name, now));
        pods.drain().into_iter().for_each(|(key, now)| live.pod(key, now));
        services.drain().into_iter().for_each(|(key, now)| live.service(key, now));
        slices.drain().into_iter().for_each(|(key, now)| live.slice(key, now));
        for (key, now) in authorization.drain() {
            live.authorization_policy(key, now.as_deref());
        }
        for (key, now) in peers.drain() {
            live.peer_authentication(&key, now.as_deref().cloned());
        }
    }
}

/// What decides nothing is most of a pod.
fn pod(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    if let Some(spec) = pod.spec.take() {
        let container = |container: Container| Container {
            name: container.name,
            ports: container.ports,
            restart_policy: container.restart_policy,
            ..Container::default()
        };
        pod.spec = Some(k8s_openapi::api::core::v1::PodSpec {
            containers: spec.containers.into_iter().map(container).collect(),
            init_containers: spec.init_containers.map(|all| all.into_iter().map(container).collect()),
            host_network: spec.host_network,
            node_name: spec.node_name,
            service_account: spec.service_account,
            service_account_name: spec.service_account_name,
            ..Default::default()
        });
    }
    if let Some(status) = pod.status.take() {
        pod.status = Some(k8s_openapi::api::core::v1::PodStatus {
            conditions: status.conditions,
            phase: status.phase,
            pod_ip: status.pod_ip,
            pod_ips: status.pod_ips,
            ..Default::default()
        });
    }
    pod
}

fn keep<K>(tasks: &mut JoinSet<()>, client: &Client, kept: &Arc<Kept<K>>, strip: fn(K) -> K)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (api, kept) = (Api::<K>::all(client.clone()), Arc::clone(kept));
    tasks.spawn(async move {
        loop {
            follow(&api, &kept, strip, Periods::default()).await;
            // Every cluster has it: what says otherwise is not the cluster.
            tracing::warn!("the API server does not know of {}", kept.kind());
            tokio::time::sleep(ABSENT).await;
        }
    });
}

/// One of Istio's kinds, which a cluster need not have: then there are none of them.
async fn keep_custom(client: Client, kept: Arc<Kept<Custom>>, plural: &'static str) {
    let kind = kept.kind();
    let mut absent = 0_u32;
    loop {
        match served(&client, plural).await {
            Ok(Some(version)) => {
                absent = 0;
                let api = customs_in(&client, version, kind, plural);
                follow(&api, &kept, custom, Periods::default()).await;
                tokio::time::sleep(AGAIN).await;
            }
            Ok(None) => {
                absent += 1;
                kept.heard();
                // An API server that is starting may not know of a kind for a moment: what was known stays in force
                // until it says so for a second time.
                if absent == 1 && kept.is_listed() {
                    tracing::warn!("the cluster has no kind {kind}.{} any more", istio::GROUP);
                } else if absent <= 2 {
                    tracing::info!("the cluster has no kind {kind}.{}: there are none", istio::GROUP);
                    kept.replace(Vec::new());
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
}
