//! All that a proxy knows of the mesh, looked up by address and by name.

use std::borrow::Borrow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::policy::Scope;
use super::{Owner, Policy, Service, ServiceName, Tunnel, Workload};

/// Workloads, services and policies. Copies share what they hold, so that a changed copy is cheap to make while
/// connections go on with the one that they began with.
#[derive(Clone, Debug, Default)]
pub struct World {
    workloads: HashSet<ByUid>,
    services: HashSet<ByName>,
    policies: HashMap<String, Arc<Policy>>,
    /// Policies of the mesh or of a namespace that nobody could make sense of.
    unknown: BTreeMap<String, Scope>,
    addresses: HashMap<IpAddr, Claims>,
    /// The workloads of a service, in the order of their uids; those of one that is not known yet are kept for it.
    endpoints: HashMap<ServiceName, Vec<Arc<Workload>>>,
}

/// A workload in a set, found by its uid: thousands of names are not written down twice.
#[derive(Clone, Debug)]
struct ByUid(Arc<Workload>);

/// A service in a set, found by its name.
#[derive(Clone, Debug)]
struct ByName(Arc<Service>);

/// Who has an address: one, or during a moment several, for addresses are used again.
#[derive(Clone, Debug)]
enum Claims {
    One(Owner),
    Several(Vec<Owner>),
}

/// What became otherwise in a world: new, changed or gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Workloads, by their uids.
    pub workloads: BTreeSet<String>,
    /// Services.
    pub services: BTreeSet<ServiceName>,
    /// Policies, `namespace/name`.
    pub policies: BTreeSet<String>,
}

/// One thing that became otherwise.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Most changes are of workloads, and none is kept.
pub enum Change {
    /// A workload is so now.
    Workload(Workload),
    /// The workload with this uid is gone.
    WorkloadGone(String),
    /// A service is so now.
    Service(Service),
    /// The service is gone.
    ServiceGone(ServiceName),
    /// A policy is so now.
    Policy(Policy),
    /// There is a policy `namespace/name` that could not be made sense of, whatever was known of it before. All that it
    /// may apply to refuses (invariant 5).
    PolicyUnknown {
        /// `namespace/name`.
        key: String,
        /// What it may apply to.
        scope: Scope,
    },
    /// The policy `namespace/name` is gone.
    PolicyGone(String),
}

impl World {
    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Workload(workload) => {
                self.remove_workload(&workload.uid);
                let workload = Arc::new(workload);
                for name in workload.services.keys() {
                    let members = self.endpoints.entry(name.clone()).or_default();
                    let at = members.partition_point(|member| member.uid < workload.uid);
                    members.insert(at, Arc::clone(&workload));
                }
                // The address of a node is that of many pods, and no pod's own.
                if !workload.host_network {
                    for address in &workload.addresses {
                        self.claim(*address, Owner::Workload(Arc::clone(&workload)));
                    }
                }
                self.workloads.insert(ByUid(workload));
            }
            Change::WorkloadGone(uid) => self.remove_workload(&uid),
            Change::Service(service) => {
                self.remove_service(&service.name);
                let service = Arc::new(service);
                for address in &service.addresses {
                    self.claim(*address, Owner::Service(Arc::clone(&service)));
                }
                self.services.insert(ByName(service));
            }
            Change::ServiceGone(name) => self.remove_service(&name),
            Change::Policy(policy) => {
                let key = policy.key();
                self.unknown.remove(&key);
                self.policies.insert(key, Arc::new(policy));
            }
            Change::PolicyUnknown { key, scope } => {
                self.policies.remove(&key);
                self.unknown.insert(key, scope);
            }
            Change::PolicyGone(key) => {
                self.policies.remove(&key);
                self.unknown.remove(&key);
            }
        }
    }

    fn claim(&mut self, address: IpAddr, owner: Owner) {
        match self.addresses.entry(address) {
            Entry::Vacant(free) => drop(free.insert(Claims::One(owner))),
            Entry::Occupied(mut taken) => {
                if !taken.get().all().iter().any(|claim| claim.is(&owner)) {
                    let claims = taken.get().all().iter().cloned().chain([owner]).collect();
                    taken.insert(Claims::Several(claims));
                }
            }
        }
    }

    /// Who has the same address too keeps it.
    fn release(&mut self, address: IpAddr, owner: &Owner) {
        let Entry::Occupied(mut taken) = self.addresses.entry(address) else { return };
        let mut left: Vec<Owner> =
            taken.get().all().iter().filter(|claim| !claim.is(owner)).cloned().collect();
        match (left.pop(), left.is_empty()) {
            (None, _) => drop(taken.remove()),
            (Some(only), true) => drop(taken.insert(Claims::One(only))),
            (Some(last), false) => {
                left.push(last);
                taken.insert(Claims::Several(left));
            }
        }
    }

    fn remove_workload(&mut self, uid: &str) {
        let Some(ByUid(old)) = self.workloads.take(uid) else { return };
        for name in old.services.keys() {
            if let Some(members) = self.endpoints.get_mut(name) {
                members.retain(|member| !Arc::ptr_eq(member, &old));
                if members.is_empty() {
                    self.endpoints.remove(name);
                }
            }
        }
        let owner = Owner::Workload(Arc::clone(&old));
        for address in &old.addresses {
            self.release(*address, &owner);
        }
    }

    fn remove_service(&mut self, name: &ServiceName) {
        let Some(ByName(old)) = self.services.take(name) else { return };
        let owner = Owner::Service(Arc::clone(&old));
        for address in &old.addresses {
            self.release(*address, &owner);
        }
    }

    /// What an address belongs to. A Service's is never a workload's: a pod whose status somebody wrote takes over
    /// nobody's. Of several workloads it is the one that runs on a node, takes connections and is in the mesh, in this
    /// order; and always the same one, whichever was heard of last.
    pub fn at(&self, address: IpAddr) -> Option<Owner> {
        let claims = self.addresses.get(&address.to_canonical())?.all();
        let services = claims.iter().filter_map(|claim| match claim {
            Owner::Service(service) => Some(service),
            Owner::Workload(_) => None,
        });
        if let Some(service) = services.min_by(|a, b| a.name.cmp(&b.name)) {
            return Some(Owner::Service(Arc::clone(service)));
        }
        let workloads = claims.iter().filter_map(|claim| match claim {
            Owner::Workload(workload) => Some(workload),
            Owner::Service(_) => None,
        });
        let best = workloads.max_by_key(|one| {
            let in_mesh = one.tunnel == Tunnel::Hbone;
            (!one.node.is_empty(), one.healthy, in_mesh, std::cmp::Reverse(one.uid.as_str()))
        });
        best.cloned().map(Owner::Workload)
    }

    /// A workload by its uid.
    pub fn workload(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.workloads.get(uid).map(|ByUid(workload)| workload)
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.iter().map(|ByUid(workload)| workload)
    }

    /// A service by its name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name).map(|ByName(service)| service)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().map(|ByName(service)| service)
    }

    /// A service by a host name as an application in `namespace` writes it: `web`, `web.shop`, `web.shop.svc`, or in
    /// full.
    pub fn service_called(&self, host: &str, namespace: &str) -> Option<&Arc<Service>> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.services().find(|service| {
            let own = &service.name;
            own.hostname == host
                || match host.split_once('.') {
                    None => service.short == host && own.namespace == namespace,
                    Some((short, rest)) => {
                        service.short == short
                            && (rest == own.namespace || rest.strip_suffix(".svc") == Some(&own.namespace))
                    }
                }
        })
    }

    /// The workloads of a service, in the order of their uids.
    pub fn endpoints(&self, name: &ServiceName) -> impl Iterator<Item = &Arc<Workload>> {
        self.endpoints.get(name).into_iter().flatten()
    }

    /// A policy by `namespace/name`.
    pub fn policy(&self, key: &str) -> Option<&Arc<Policy>> {
        self.policies.get(key)
    }

    /// Policies that could not be made sense of, and what they may apply to; in the order of their names.
    pub fn unknown_policies(&self) -> impl Iterator<Item = (&str, Scope)> {
        self.unknown.iter().map(|(key, scope)| (key.as_str(), *scope))
    }

    /// A policy of the whole mesh or of this namespace that could not be made sense of.
    pub fn unknown_policy_of(&self, namespace: &str) -> Option<&str> {
        let applies = |key: &str, scope: Scope| match scope {
            Scope::Global => true,
            Scope::Namespace => key.split('/').next() == Some(namespace),
            // Who lists it finds that it is not there.
            Scope::Selected => false,
        };
        self.unknown_policies().find(|(key, scope)| applies(key, *scope)).map(|(key, _)| key)
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// The policies of the whole mesh and of a namespace; not those that select workloads.
    pub fn policies_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.policies.values().filter(move |policy| match policy.scope {
            Scope::Global => true,
            Scope::Namespace => policy.namespace == namespace,
            Scope::Selected => false,
        })
    }
}

impl Claims {
    fn all(&self) -> &[Owner] {
        match self {
            Self::One(owner) => std::slice::from_ref(owner),
            Self::Several(owners) => owners,
        }
    }
}

impl Owner {
    /// Whether it is the same object, not only one that is alike.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Workload(one), Self::Workload(other)) => Arc::ptr_eq(one, other),
            (Self::Service(one), Self::Service(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Borrow<str> for ByUid {
    fn borrow(&self) -> &str {
        &self.0.uid
    }
}

impl Hash for ByUid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.uid.hash(state);
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.0.uid == other.0.uid
    }
}

impl Eq for ByUid {}

impl Borrow<ServiceName> for ByName {
    fn borrow(&self) -> &ServiceName {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}
