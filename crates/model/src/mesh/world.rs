//! All that a proxy knows of the mesh, looked up by address and by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::policy::Scope;
use super::{Owner, Policy, Service, ServiceName, Tunnel, Workload};

/// Workloads, services and policies. Copies share what they hold, so that a changed copy is cheap to make while
/// connections go on with the one that they began with.
#[derive(Clone, Debug, Default)]
pub struct World {
    workloads: HashMap<String, Arc<Workload>>,
    services: HashMap<ServiceName, Arc<Service>>,
    policies: HashMap<String, Arc<Policy>>,
    /// Policies of the mesh or of a namespace that nobody could make sense of.
    unknown: BTreeMap<String, Scope>,
    /// Who has an address: one, or during a moment several, for addresses are used again.
    addresses: HashMap<IpAddr, Vec<Place>>,
    /// The workloads of a service; those of one that is not known yet are kept for it.
    endpoints: HashMap<ServiceName, BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Workload(String),
    Service(ServiceName),
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
                for name in workload.services.keys() {
                    self.endpoints.entry(name.clone()).or_default().insert(workload.uid.clone());
                }
                // The address of a node is that of many pods, and no pod's own.
                if !workload.host_network {
                    for address in &workload.addresses {
                        self.claim(*address, Place::Workload(workload.uid.clone()));
                    }
                }
                self.workloads.insert(workload.uid.clone(), Arc::new(workload));
            }
            Change::WorkloadGone(uid) => self.remove_workload(&uid),
            Change::Service(service) => {
                self.remove_service(&service.name);
                for address in &service.addresses {
                    self.claim(*address, Place::Service(service.name.clone()));
                }
                self.services.insert(service.name.clone(), Arc::new(service));
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

    fn claim(&mut self, address: IpAddr, place: Place) {
        let claims = self.addresses.entry(address).or_default();
        if !claims.contains(&place) {
            claims.push(place);
        }
    }

    /// Who has the same address too keeps it.
    fn release(&mut self, address: IpAddr, place: &Place) {
        if let Some(claims) = self.addresses.get_mut(&address) {
            claims.retain(|claim| claim != place);
            if claims.is_empty() {
                self.addresses.remove(&address);
            }
        }
    }

    fn remove_workload(&mut self, uid: &str) {
        let Some(old) = self.workloads.remove(uid) else { return };
        for address in &old.addresses {
            self.release(*address, &Place::Workload(uid.to_owned()));
        }
        for name in old.services.keys() {
            if let Some(endpoints) = self.endpoints.get_mut(name) {
                endpoints.remove(uid);
                if endpoints.is_empty() {
                    self.endpoints.remove(name);
                }
            }
        }
    }

    fn remove_service(&mut self, name: &ServiceName) {
        let Some(old) = self.services.remove(name) else { return };
        for address in &old.addresses {
            self.release(*address, &Place::Service(name.clone()));
        }
    }

    /// What an address belongs to. A Service's is never a workload's: a pod whose status somebody wrote takes over
    /// nobody's. Of several workloads it is the one that runs on a node, takes connections and is in the mesh, in this
    /// order; and always the same one, whichever was heard of last.
    pub fn at(&self, address: IpAddr) -> Option<Owner> {
        let claims = self.addresses.get(&address.to_canonical())?;
        let services = claims.iter().filter_map(|claim| match claim {
            Place::Service(name) => self.services.get(name),
            Place::Workload(_) => None,
        });
        if let Some(service) = services.min_by(|a, b| a.name.cmp(&b.name)) {
            return Some(Owner::Service(Arc::clone(service)));
        }
        let workloads = claims.iter().filter_map(|claim| match claim {
            Place::Workload(uid) => self.workloads.get(uid),
            Place::Service(_) => None,
        });
        let best = workloads.max_by_key(|one| {
            let in_mesh = one.tunnel == Tunnel::Hbone;
            (!one.node.is_empty(), one.healthy, in_mesh, std::cmp::Reverse(one.uid.as_str()))
        });
        best.cloned().map(Owner::Workload)
    }

    /// A workload by its uid.
    pub fn workload(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.workloads.get(uid)
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// A service by its name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// A service by a host name as an application in `namespace` writes it: `web`, `web.shop`, `web.shop.svc`, or in
    /// full.
    pub fn service_called(&self, host: &str, namespace: &str) -> Option<&Arc<Service>> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.services.values().find(|service| {
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
        self.endpoints.get(name).into_iter().flatten().filter_map(|uid| self.workloads.get(uid))
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
