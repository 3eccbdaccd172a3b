//! Who is behind Services, kept up change by change: what [`super::super::endpoints`] finds out of everything at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use model::mesh::{self, ServiceName, Workload};

use super::super::Options;
use super::super::endpoints::{Behind, Known, Listed, Member, claim, is_of, service_of};
use super::super::pods::Key;
use super::Held;

/// All Services and slices, and what is found by what.
#[derive(Default)]
pub(super) struct Services {
    all: BTreeMap<Key, Entry>,
    slices: BTreeMap<Key, Arc<EndpointSlice>>,
    /// The names of a Service's slices, in their order; also of one that is not known.
    slices_of: HashMap<Key, BTreeSet<String>>,
    /// Pods by an address that is their own.
    by_address: HashMap<IpAddr, BTreeSet<Key>>,
    /// Services by what their slices list.
    mentions: HashMap<Mention, BTreeSet<Key>>,
    /// The names of Services by their namespace and the first label of their selector: who has not even that label is
    /// not selected.
    selectors: HashMap<(String, String, String), BTreeSet<String>>,
}

/// A Service, and who was behind it when it was last looked at.
#[derive(Default)]
struct Entry {
    /// None where it is gone, and that was not looked at yet.
    object: Option<Arc<Service>>,
    name: Option<ServiceName>,
    members: BTreeMap<Key, Member>,
    foreign: BTreeSet<String>,
    mentions: BTreeSet<Mention>,
    /// Whether slices say who is behind it, and not its selector.
    by_slices: bool,
}

/// A Service as it is now.
#[derive(Default)]
struct Fresh {
    service: Option<mesh::Service>,
    behind: Behind,
    mentions: BTreeSet<Mention>,
    by_slices: bool,
}

/// What a slice lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Mention {
    Pod(Key),
    Address(IpAddr),
}

/// What became otherwise.
pub(super) enum Touch {
    /// A pod is a member, or another member than before.
    Joined {
        pod: Key,
        service: Key,
    },
    Left {
        pod: Key,
        service: Key,
    },
    Service(mesh::Service),
    ServiceGone(ServiceName),
    Foreign(Box<Workload>),
    ForeignGone(String),
}

impl Services {
    /// A pod's membership in a Service.
    pub(super) fn member(&self, service: &Key, pod: &Key) -> Option<(ServiceName, Member)> {
        let entry = self.all.get(service)?;
        Some((entry.name.clone()?, entry.members.get(pod)?.clone()))
    }

    /// Takes a Service in; [`Services::look_again`] finds out what follows.
    pub(super) fn set(&mut self, key: &Key, now: Option<Arc<Service>>) {
        let entry = self.all.entry(key.clone()).or_default();
        if let Some(old) = entry.object.as_deref().and_then(|old| first_label(key, old))
            && let Some(names) = self.selectors.get_mut(&old)
        {
            names.remove(&key.1);
            if names.is_empty() {
                self.selectors.remove(&old);
            }
        }
        if let Some(new) = now.as_deref().and_then(|new| first_label(key, new)) {
            self.selectors.entry(new).or_default().insert(key.1.clone());
        }
        entry.object = now;
    }

    /// Takes a slice in: the name of the Service whose it was before.
    pub(super) fn set_slice(&mut self, key: &Key, now: Option<Arc<EndpointSlice>>) -> Option<String> {
        let before = self.slices.remove(key);
        let before = before.as_deref().and_then(service_of).map(str::to_owned);
        if let Some(of) = &before {
            let of = (key.0.clone(), of.clone());
            if let Some(names) = self.slices_of.get_mut(&of) {
                names.remove(&key.1);
                if names.is_empty() {
                    self.slices_of.remove(&of);
                }
            }
        }
        if let Some(slice) = now {
            if let Some(of) = service_of(&slice) {
                self.slices_of.entry((key.0.clone(), of.to_owned())).or_default().insert(key.1.clone());
            }
            self.slices.insert(key.clone(), slice);
        }
        before
    }

    /// A pod has other addresses, or is `another` one: adds the Services for which that may matter.
    pub(super) fn moved(
        &mut self,
        pod: &Key,
        (before, now): (&[IpAddr], &[IpAddr]),
        another: bool,
        dirty: &mut BTreeSet<Key>,
    ) {
        for address in before {
            if let Some(pods) = self.by_address.get_mut(address) {
                pods.remove(pod);
                if pods.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        for address in now {
            self.by_address.entry(*address).or_default().insert(pod.clone());
        }
        let addresses = before.iter().chain(now).map(|address| Mention::Address(*address));
        let names = another.then(|| Mention::Pod(pod.clone()));
        for mention in addresses.chain(names) {
            dirty.extend(self.mentions.get(&mention).into_iter().flatten().cloned());
        }
    }

    /// A pod is gone.
    pub(super) fn forget(&mut self, service: &Key, pod: &Key) {
        if let Some(entry) = self.all.get_mut(service) {
            entry.members.remove(pod);
        }
    }

    /// Finds out anew who is behind these Services. What is gone comes before what is new: a slice may have become
    /// another Service's.
    pub(super) fn look_again(
        &mut self,
        services: &BTreeSet<Key>,
        pods: &BTreeMap<Key, Held>,
        options: &Options,
    ) -> Vec<Touch> {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for key in services {
            let fresh = self.fresh(key, pods, options);
            let Some(entry) = self.all.get_mut(key) else { continue };
            let name = fresh.service.as_ref().map(|service| service.name.clone());
            for (pod, member) in &fresh.behind.members {
                if entry.members.get(pod) != Some(member) {
                    new.push(Touch::Joined { pod: pod.clone(), service: key.clone() });
                }
            }
            for pod in entry.members.keys().filter(|pod| !fresh.behind.members.contains_key(*pod)) {
                gone.push(Touch::Left { pod: pod.clone(), service: key.clone() });
            }
            for uid in entry.foreign.iter().filter(|uid| !fresh.behind.foreign.contains_key(*uid)) {
                gone.push(Touch::ForeignGone(uid.clone()));
            }
            gone.extend(entry.name.take().filter(|_| name.is_none()).map(Touch::ServiceGone));
            new.extend(fresh.service.map(Touch::Service));
            (entry.name, entry.by_slices, entry.members) = (name, fresh.by_slices, fresh.behind.members);
            entry.foreign = fresh.behind.foreign.keys().cloned().collect();
            new.extend(fresh.behind.foreign.into_values().map(|own| Touch::Foreign(Box::new(own))));
            let old = std::mem::replace(&mut entry.mentions, fresh.mentions);
            let is_gone = entry.object.is_none();
            for mention in &old {
                if let Some(services) = self.mentions.get_mut(mention) {
                    services.remove(key);
                    if services.is_empty() {
                        self.mentions.remove(mention);
                    }
                }
            }
            for mention in &entry.mentions {
                self.mentions.entry(mention.clone()).or_default().insert(key.clone());
            }
            if is_gone {
                self.all.remove(key);
            }
        }
        gone.extend(new);
        gone
    }

    fn fresh(&self, key: &Key, pods: &BTreeMap<Key, Held>, options: &Options) -> Fresh {
        let object = self.all.get(key).and_then(|entry| entry.object.as_deref());
        let Some(known) = object.and_then(|object| Known::of(object, options)) else {
            return Fresh::default();
        };
        let service = Some(known.service());
        let Some(names) = self.slices_of.get(key) else {
            let of_namespace = pods.range((key.0.clone(), String::new())..);
            let of_namespace = of_namespace.take_while(|(pod, _)| pod.0 == key.0);
            let selected = of_namespace.filter(|(_, held)| known.selects(&held.pod));
            let members = selected.map(|(pod, held)| (pod.clone(), known.member(&held.pod))).collect();
            return Fresh { service, behind: Behind { members, ..Behind::default() }, ..Fresh::default() };
        };
        let slices = names.iter().filter_map(|name| self.slices.get(&(key.0.clone(), name.clone())));
        let mut mentions = BTreeSet::new();
        let behind = known.listed(slices.map(AsRef::as_ref), options, |listed| match listed {
            Listed::Pod(pod, uid) => {
                mentions.insert(Mention::Pod(pod.clone()));
                pods.get(&pod).is_some_and(|held| is_of(&held.pod, uid.as_deref())).then_some(pod)
            }
            Listed::Address(address) => {
                mentions.insert(Mention::Address(address));
                let owners = self.by_address.get(&address).into_iter().flatten();
                owners
                    .filter_map(|pod| pods.get_key_value(pod))
                    .max_by_key(|(_, held)| claim(&held.pod))
                    .map(|(pod, _)| pod.clone())
            }
        });
        Fresh { service, behind, mentions, by_slices: true }
    }

    /// Finds out anew which Services select a pod, that was a member of `of`; not those that have slices.
    pub(super) fn select(
        &mut self,
        key: &Key,
        pod: &Pod,
        of: &BTreeSet<Key>,
        options: &Options,
    ) -> Vec<Touch> {
        let mut touches = Vec::new();
        let mut selected: BTreeSet<Key> = BTreeSet::new();
        for (label, value) in pod.metadata.labels.iter().flatten() {
            let names = self.selectors.get(&(key.0.clone(), label.clone(), value.clone()));
            selected.extend(names.into_iter().flatten().map(|name| (key.0.clone(), name.clone())));
        }
        selected.retain(|service| {
            let Some(entry) = self.all.get_mut(service).filter(|entry| !entry.by_slices) else {
                return false;
            };
            let known = entry.object.as_deref().and_then(|object| Known::of(object, options));
            let Some(known) = known.filter(|known| known.selects(pod)) else { return false };
            let member = known.member(pod);
            if entry.members.get(key) != Some(&member) {
                entry.members.insert(key.clone(), member);
                touches.push(Touch::Joined { pod: key.clone(), service: service.clone() });
            }
            true
        });
        for service in of.difference(&selected) {
            if let Some(entry) = self.all.get_mut(service).filter(|entry| !entry.by_slices) {
                entry.members.remove(key);
                touches.push(Touch::Left { pod: key.clone(), service: service.clone() });
            }
        }
        touches
    }
}

/// The first label of a Service's selector, in its namespace.
fn first_label(key: &Key, service: &Service) -> Option<(String, String, String)> {
    let (label, value) = service.spec.as_ref()?.selector.as_ref()?.first_key_value()?;
    Some((key.0.clone(), label.clone(), value.clone()))
}
