//! The same as [`index`](super::index()), kept up change by change: an object that became otherwise costs what depends on
//! it, and a copy of the world's tables, which hold references; not the whole mesh. Pure, and without an order: whatever way led to a set of objects, the result is that of the
//! set. [`super::index()`] is the reference, and the tests compare.
//!
//! What depends on what: a Service on its slices and on the pods that it selects or they list ([`behind`]); a pod's
//! workload on the pod, its namespace, its memberships, and the policies of its namespace and of the root namespace.

mod behind;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use model::mesh::{Change, Touched, World};

use super::endpoints::{own_addresses, service_of};
use super::index::sorted;
use super::istio::{Authorization, Listing};
use super::modes::Peers;
use super::pods::{Around, Key, is_over, namespace_problem, uid};
use super::{Custom, Options, Problem};
use behind::{Services, Touch};

/// Everything that the mesh is made of, and what follows from it.
pub struct Live {
    options: Options,
    namespaces: HashMap<String, Arc<Namespace>>,
    pods: BTreeMap<Key, Held>,
    services: Services,
    listings: BTreeMap<Key, Listing>,
    peers: Peers,
    /// What is wrong with policies and namespaces themselves, by kind and key.
    wrong: BTreeMap<(&'static str, Key), Problem>,
    world: Arc<World>,
    dirty: Dirty,
    touched: Touched,
    /// The problems may be others than those that were told last.
    complains: bool,
}

/// A pod that runs or will.
struct Held {
    pod: Arc<Pod>,
    /// The Services that it is a member of.
    of: BTreeSet<Key>,
    problems: Vec<Problem>,
}

/// What has to be looked at again.
#[derive(Default)]
struct Dirty {
    pods: BTreeSet<Key>,
    /// Of these, those whose labels, ports or readiness may be others.
    changed: BTreeSet<Key>,
    services: BTreeSet<Key>,
}

/// The mesh after some changes.
#[derive(Clone, Debug)]
pub struct Update {
    /// All of it.
    pub world: Arc<World>,
    /// What is not as it was in the world before.
    pub touched: Touched,
    /// What is wrong with the objects; none where that is as it was.
    pub problems: Option<Vec<Problem>>,
}

impl Live {
    /// A mesh without anything in it.
    pub fn new(options: Options) -> Self {
        Self {
            namespaces: HashMap::new(),
            pods: BTreeMap::new(),
            services: Services::default(),
            listings: BTreeMap::new(),
            peers: Peers::new(&options),
            wrong: BTreeMap::new(),
            world: Arc::default(),
            dirty: Dirty::default(),
            touched: Touched::default(),
            // That there are none is told as well.
            complains: true,
            options,
        }
    }

    /// A Namespace is so now, or gone.
    pub fn namespace(&mut self, name: &str, now: Option<Arc<Namespace>>) {
        let says = |namespace: &Namespace| {
            (namespace.metadata.labels.clone(), namespace.metadata.annotations.clone())
        };
        let old = self.namespaces.remove(name);
        let same = old.as_deref().map(says) == now.as_deref().map(says);
        if let Some(now) = now {
            if !same {
                self.note_wrong("Namespace", (String::new(), name.to_owned()), namespace_problem(&now));
            }
            self.namespaces.insert(name.to_owned(), now);
        } else {
            self.note_wrong("Namespace", (String::new(), name.to_owned()), None);
        }
        if !same {
            self.look_again_at(name);
        }
    }

    /// A Service is so now, or gone.
    pub fn service(&mut self, key: Key, now: Option<Arc<Service>>) {
        self.services.set(&key, now);
        self.dirty.services.insert(key);
    }

    /// An EndpointSlice is so now, or gone.
    pub fn slice(&mut self, key: Key, now: Option<Arc<EndpointSlice>>) {
        let of = now.as_ref().and_then(|slice| service_of(slice)).map(str::to_owned);
        let before = self.services.set_slice(&key, now.filter(|_| of.is_some()));
        let services = of.into_iter().chain(before).map(|name| (key.0.clone(), name));
        self.dirty.services.extend(services);
    }

    /// A pod is so now, or gone.
    pub fn pod(&mut self, key: Key, now: Option<Arc<Pod>>) {
        let now = now.filter(|pod| !is_over(pod));
        let before = self.pods.get(&key).map(|held| Arc::clone(&held.pod));
        let uid_of = |pod: &Option<Arc<Pod>>| pod.as_ref().map(|pod| pod.metadata.uid.clone());
        let addresses = |pod: &Option<Arc<Pod>>| pod.as_deref().map(own_addresses).unwrap_or_default();
        let another = uid_of(&before) != uid_of(&now);
        self.services.moved(&key, (&addresses(&before), &addresses(&now)), another, &mut self.dirty.services);
        match now {
            Some(pod) => {
                match self.pods.get_mut(&key) {
                    Some(held) => held.pod = pod,
                    None => {
                        let held = Held { pod, of: BTreeSet::new(), problems: Vec::new() };
                        self.pods.insert(key.clone(), held);
                    }
                }
                self.dirty.changed.insert(key.clone());
                self.dirty.pods.insert(key);
            }
            None => {
                let Some(held) = self.pods.remove(&key) else { return };
                for service in &held.of {
                    self.services.forget(service, &key);
                }
                self.complains |= !held.problems.is_empty();
                self.gone(uid(&self.options, &key.0, &key.1));
                self.dirty.changed.remove(&key);
                self.dirty.pods.remove(&key);
            }
        }
    }

    /// An AuthorizationPolicy is so now, or gone.
    pub fn authorization_policy(&mut self, key: Key, now: Option<&Custom>) {
        let name = format!("{}/{}", key.0, key.1);
        let read = now.map(|custom| Authorization::read(custom, &self.options));
        let wrong = read.as_ref().zip(now).and_then(|(read, custom)| read.problem(custom));
        self.note_wrong("AuthorizationPolicy", key.clone(), wrong);
        let (listing, policy) = match read {
            Some(read) => (Some(read.listing), read.policy.ok()),
            None => (None, None),
        };
        if self.world.policy(&name).map(AsRef::as_ref) != policy.as_ref() {
            let change = policy.map_or_else(|| Change::PolicyGone(name.clone()), Change::Policy);
            Arc::make_mut(&mut self.world).apply(change);
            self.touched.policies.insert(name);
        }
        let before = match listing {
            Some(listing) => self.listings.insert(key.clone(), listing),
            None => self.listings.remove(&key),
        };
        let now = self.listings.get(&key);
        if before.as_ref() != now && before.iter().chain(now).any(|listing| listing.listed) {
            self.look_again_at(&key.0);
        }
    }

    /// A PeerAuthentication is so now, or gone.
    pub fn peer_authentication(&mut self, key: &Key, now: Option<Custom>) {
        match now {
            Some(custom) => self.peers.insert(custom, &self.options),
            None => self.peers.remove(&format!("{}/{}", key.0, key.1)),
        }
        self.complains = true;
        self.look_again_at(&key.0);
    }

    /// Puts together what became of the changes since the last time.
    pub fn update(&mut self) -> Update {
        let services = std::mem::take(&mut self.dirty.services);
        let touches = self.services.look_again(&services, &self.pods, &self.options);
        self.take(touches);
        let changed = std::mem::take(&mut self.dirty.changed);
        for key in &changed {
            if let Some(held) = self.pods.get(key) {
                let touches = self.services.select(key, &held.pod, &held.of, &self.options);
                self.take(touches);
            }
        }
        for key in std::mem::take(&mut self.dirty.pods) {
            self.workload(&key);
        }
        let problems = std::mem::take(&mut self.complains).then(|| self.problems());
        Update { world: Arc::clone(&self.world), touched: std::mem::take(&mut self.touched), problems }
    }

    /// Whether something waits for [`Live::update`].
    pub fn is_dirty(&self) -> bool {
        let Dirty { pods, changed, services } = &self.dirty;
        self.complains
            || self.touched != Touched::default()
            || !(pods.is_empty() && changed.is_empty() && services.is_empty())
    }

    /// All pods of a namespace have to be looked at again; of all namespaces where it is the root namespace.
    fn look_again_at(&mut self, namespace: &str) {
        let all = namespace == self.options.root_namespace;
        let pods = self.pods.keys().filter(|key| all || key.0 == namespace);
        self.dirty.pods.extend(pods.cloned());
    }

    fn take(&mut self, touches: Vec<Touch>) {
        for touch in touches {
            match touch {
                Touch::Joined { pod, service } => {
                    if let Some(held) = self.pods.get_mut(&pod) {
                        held.of.insert(service);
                        self.dirty.pods.insert(pod);
                    }
                }
                Touch::Left { pod, service } => {
                    if let Some(held) = self.pods.get_mut(&pod) {
                        held.of.remove(&service);
                        self.dirty.pods.insert(pod);
                    }
                }
                Touch::Service(service) => {
                    if self.world.service(&service.name).map(AsRef::as_ref) != Some(&service) {
                        self.touched.services.insert(service.name.clone());
                        Arc::make_mut(&mut self.world).apply(Change::Service(service));
                    }
                }
                Touch::ServiceGone(name) => {
                    if self.world.service(&name).is_some() {
                        self.touched.services.insert(name.clone());
                        Arc::make_mut(&mut self.world).apply(Change::ServiceGone(name));
                    }
                }
                Touch::Foreign(workload) => self.put(*workload),
                Touch::ForeignGone(uid) => self.gone(uid),
            }
        }
    }

    fn workload(&mut self, key: &Key) {
        let Some(held) = self.pods.get(key) else { return };
        let namespace = self.namespaces.get(&key.0).map(AsRef::as_ref);
        let around = Around { options: &self.options, namespace, peers: &self.peers };
        let members = held.of.iter().filter_map(|service| self.services.member(service, key)).collect();
        let (workload, problems) = around.workload(&held.pod, members, self.listings.values());
        if held.problems != problems {
            self.complains = true;
            if let Some(held) = self.pods.get_mut(key) {
                held.problems = problems;
            }
        }
        self.put(workload);
    }

    fn put(&mut self, workload: model::mesh::Workload) {
        if self.world.workload(&workload.uid).map(AsRef::as_ref) != Some(&workload) {
            self.touched.workloads.insert(workload.uid.clone());
            Arc::make_mut(&mut self.world).apply(Change::Workload(workload));
        }
    }

    fn gone(&mut self, uid: String) {
        if self.world.workload(&uid).is_some() {
            self.touched.workloads.insert(uid.clone());
            Arc::make_mut(&mut self.world).apply(Change::WorkloadGone(uid));
        }
    }

    fn note_wrong(&mut self, kind: &'static str, key: Key, now: Option<Problem>) {
        let before = match now {
            Some(problem) => self.wrong.insert((kind, key.clone()), problem),
            None => self.wrong.remove(&(kind, key.clone())),
        };
        self.complains |= before.as_ref() != self.wrong.get(&(kind, key));
    }

    fn problems(&self) -> Vec<Problem> {
        let pods = self.pods.values().flat_map(|held| held.problems.iter().cloned());
        sorted(self.wrong.values().cloned().chain(self.peers.problems()).chain(pods).collect())
    }
}
