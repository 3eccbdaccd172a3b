//! All that proxies may be told, encoded once for all of them. A catalog is never changed: [`Catalog::next`] makes the
//! one after it, which shares whatever stayed as it was and remembers what did not, so that each of thousands of proxies
//! costs as much as the change and not as much as the mesh.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use aws_lc_rs::digest;
use bytes::Bytes;
use model::mesh::{Owner, Policy, PortModes, Service, ServiceName, Touched, Trust, Tunnel, Workload, World};

use crate::convert::{
    MODES_NAMESPACE, policy_resource, service_name, service_resource, strict_policy, trust_resource,
    workload_resource,
};
use crate::proto::mesh::TRUST_TYPE;
use crate::proto::security::AUTHORIZATION_TYPE;
use crate::proto::workload::ADDRESS_TYPE;

/// How many names of changed resources are remembered, beside twice as many as there are resources.
const REMEMBERED_NAMES: usize = 1 << 16;
/// How many changes are remembered.
const REMEMBERED_CHANGES: usize = 4096;

/// What resources are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// Whom to trust, and who issues: ours alone, foreign proxies do not ask for it.
    Trust,
    /// Policies.
    Authorization,
    /// Workloads and services.
    Address,
}

impl Type {
    /// All of them, in the order in which a change is sent: who lists a policy comes after it.
    pub const ALL: [Self; 3] = [Self::Trust, Self::Authorization, Self::Address];
    /// Those that a world is made of.
    pub const WORLD: [Self; 2] = [Self::Authorization, Self::Address];

    /// Its name on the wire.
    pub fn url(self) -> &'static str {
        match self {
            Self::Trust => TRUST_TYPE,
            Self::Authorization => AUTHORIZATION_TYPE,
            Self::Address => ADDRESS_TYPE,
        }
    }

    /// By its name on the wire.
    pub fn of(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.url() == url)
    }
}

/// A resource: its encoding, and what it was made from.
#[derive(Debug)]
pub struct Entry {
    /// The same for the same content, also from another process.
    pub version: Arc<str>,
    /// The encoded message.
    pub bytes: Bytes,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Workload(Arc<Workload>),
    Service(Arc<Service>),
    Policy(Arc<Policy>),
    Trust(Arc<Trust>),
}

impl Source {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Workload(a), Self::Workload(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Service(a), Self::Service(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Policy(a), Self::Policy(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Trust(a), Self::Trust(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }

    fn encode(&self) -> Bytes {
        match self {
            Self::Workload(workload) => workload_resource(workload).1,
            Self::Service(service) => service_resource(service).1,
            Self::Policy(policy) => policy_resource(policy).1,
            Self::Trust(trust) => trust_resource(trust).1,
        }
    }
}

impl Entry {
    /// Other names that it is found by: `network/address`.
    pub fn aliases(&self) -> Vec<String> {
        let addresses: &[IpAddr] = match &self.source {
            Source::Workload(workload) if !workload.host_network => &workload.addresses,
            Source::Service(service) => &service.addresses,
            Source::Workload(_) | Source::Policy(_) | Source::Trust(_) => &[],
        };
        addresses.iter().map(|address| format!("/{address}")).collect()
    }
}

/// What became otherwise from one catalog to the next.
#[derive(Debug)]
struct ChangeSet {
    generation: u64,
    at: Moment,
    /// New, other or gone.
    names: Vec<Arc<str>>,
}

/// A time, by the clock that people read and by the one that measures.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For people.
    pub clock: SystemTime,
    /// For measuring.
    pub instant: Instant,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { clock: SystemTime::now(), instant: Instant::now() }
    }
}

/// All resources of one type.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    entries: HashMap<Arc<str>, Arc<Entry>>,
    history: VecDeque<Arc<ChangeSet>>,
    /// What changed up to this generation is not remembered any more.
    forgotten: u64,
}

impl Resources {
    /// A resource by its name.
    pub fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    /// All resources, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names of what became otherwise after this generation, each once; none where that is not remembered any more.
    pub fn since(&self, generation: u64) -> Option<Vec<Arc<str>>> {
        if generation < self.forgotten {
            return None;
        }
        let mut names: Vec<Arc<str>> =
            self.after(generation).flat_map(|set| set.names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        Some(names)
    }

    /// When the first change after this generation was made, as far as that is remembered.
    pub fn changed_after(&self, generation: u64) -> Option<Moment> {
        self.after(generation).last().map(|set| set.at)
    }

    /// The change sets after a generation, the newest first: most who ask lack the newest only.
    fn after(&self, generation: u64) -> impl Iterator<Item = &Arc<ChangeSet>> {
        self.history.iter().rev().take_while(move |set| set.generation > generation)
    }

    /// The resources after these became otherwise; whether any did. One without a source is gone.
    fn with(
        &self,
        generation: u64,
        at: Moment,
        touched: impl Iterator<Item = (String, Option<Source>)>,
    ) -> (Self, bool) {
        let mut next = self.clone();
        let mut names = Vec::new();
        for (name, source) in touched {
            let known = next.entries.get_key_value(name.as_str());
            let known = known.map(|(name, entry)| (Arc::clone(name), Arc::clone(entry)));
            match (source, known) {
                (None, None) => {}
                (None, Some((name, _))) => {
                    next.entries.remove(&name);
                    names.push(name);
                }
                (Some(source), Some((_, entry))) if entry.source.is_same(&source) => {}
                (Some(source), known) => {
                    let bytes = source.encode();
                    let (name, entry) = match known {
                        // What changed is not told to anybody.
                        Some((name, old)) if old.bytes == bytes => (
                            name,
                            Entry { version: Arc::clone(&old.version), bytes: old.bytes.clone(), source },
                        ),
                        known => {
                            let name = known.map_or_else(|| Arc::from(name), |(name, _)| name);
                            names.push(Arc::clone(&name));
                            (name, Entry { version: version(&bytes), bytes, source })
                        }
                    };
                    next.entries.insert(name, Arc::new(entry));
                }
            }
        }
        let changed = !names.is_empty();
        if changed {
            next.history.push_back(Arc::new(ChangeSet { generation, at, names }));
            next.forget();
        }
        (next, changed)
    }

    /// The resources that are these and no others.
    fn next(
        &self,
        generation: u64,
        at: Moment,
        sources: impl Iterator<Item = (String, Source)>,
    ) -> (Self, bool) {
        let mut all: HashMap<String, Option<Source>> =
            self.entries.keys().map(|name| (name.to_string(), None)).collect();
        all.extend(sources.map(|(name, source)| (name, Some(source))));
        self.with(generation, at, all.into_iter())
    }

    fn forget(&mut self) {
        let most = REMEMBERED_NAMES + 2 * self.entries.len();
        let mut names: usize = self.history.iter().map(|set| set.names.len()).sum();
        while names > most || self.history.len() > REMEMBERED_CHANGES {
            let Some(set) = self.history.pop_front() else { return };
            names -= set.names.len();
            self.forgotten = set.generation;
        }
    }
}

/// 128 bits of SHA-256: what is otherwise never has the same version.
fn version(bytes: &[u8]) -> Arc<str> {
    let digest = digest::digest(&digest::SHA256, bytes);
    hex::encode(digest.as_ref().get(..16).unwrap_or_default()).into()
}

/// All that proxies may be told at one time.
#[derive(Clone, Debug)]
pub struct Catalog {
    generation: u64,
    at: Moment,
    world: Arc<World>,
    trust: Resources,
    authorization: Resources,
    address: Resources,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            generation: 0,
            at: Moment::now(),
            world: Arc::default(),
            trust: Resources::default(),
            authorization: Resources::default(),
            address: Resources::default(),
        }
    }
}

impl Catalog {
    /// One more with each change. At 0 nothing is known yet: nobody is told anything, for a proxy would take it that all
    /// is gone.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When it was made.
    pub fn at(&self) -> Moment {
        self.at
    }

    /// What it was made from.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The resources of a type.
    pub fn resources(&self, of: Type) -> &Resources {
        match of {
            Type::Trust => &self.trust,
            Type::Authorization => &self.authorization,
            Type::Address => &self.address,
        }
    }

    /// The catalog of another world; this one where nothing is otherwise.
    pub fn next(self: &Arc<Self>, world: &Arc<World>) -> Arc<Self> {
        let (generation, at) = (self.generation + 1, Moment::now());
        let (authorization, policies) = self.authorization.next(generation, at, policies(world));
        let (address, addresses) = self.address.next(generation, at, addresses(world));
        if !policies && !addresses && self.generation > 0 {
            return Arc::clone(self);
        }
        let (world, trust) = (Arc::clone(world), self.trust.clone());
        Arc::new(Self { generation, at, world, trust, authorization, address })
    }

    /// The catalog of a world that differs from this one's in no more than what is named: the same as
    /// [`Catalog::next`], at the cost of what changed.
    pub fn changed(self: &Arc<Self>, world: &Arc<World>, touched: &Touched) -> Arc<Self> {
        let (generation, at) = (self.generation + 1, Moment::now());
        let mut policies: BTreeMap<String, Option<Source>> = BTreeMap::new();
        for key in &touched.policies {
            policies.insert(key.clone(), policy(world, key));
        }
        // Modes of a workload are policies as well, which others may share.
        let mode = |world: &World, uid: &String| {
            world.workload(uid).filter(|one| one.tunnel == Tunnel::Hbone).map(|one| one.modes.inbound.clone())
        };
        if touched.workloads.iter().any(|uid| mode(&self.world, uid) != mode(world, uid)) {
            let own = self.authorization.entries.keys().filter(|name| is_of_modes(name));
            policies.extend(own.map(|name| (name.to_string(), None)));
            policies.extend(strict(world).map(|(name, source)| (name, Some(source))));
        }
        let services = touched.services.iter().map(ToString::to_string);
        let names: BTreeSet<String> = touched.workloads.iter().cloned().chain(services).collect();
        let addresses = names.into_iter().map(|name| {
            let source = address(world, &name);
            (name, source)
        });
        let (authorization, policies) = self.authorization.with(generation, at, policies.into_iter());
        let (address, addresses) = self.address.with(generation, at, addresses);
        let (world, trust) = (Arc::clone(world), self.trust.clone());
        // What nobody is told of is no other generation, and is looked up all the same.
        let told = policies || addresses || self.generation == 0;
        let (generation, at) = if told { (generation, at) } else { (self.generation, self.at) };
        Arc::new(Self { generation, at, world, trust, authorization, address })
    }

    /// The catalog of the same world with another trust; this one where nothing is otherwise, and while no world is known:
    /// so that nobody can be thought to have said yes before anything was said.
    pub fn trusting(self: &Arc<Self>, trust: &Arc<Trust>) -> Arc<Self> {
        if self.generation == 0 {
            return Arc::clone(self);
        }
        let (generation, at) = (self.generation + 1, Moment::now());
        let source = (trust.domain.clone(), Source::Trust(Arc::clone(trust)));
        let (trust, changed) = self.trust.next(generation, at, std::iter::once(source));
        if !changed {
            return Arc::clone(self);
        }
        Arc::new(Self { generation, at, trust, ..Self::clone(self) })
    }

    /// Whom proxies are told to trust, once that is known.
    pub fn trust(&self) -> Option<&Arc<Trust>> {
        self.trust.entries.values().find_map(|entry| match &entry.source {
            Source::Trust(trust) => Some(trust),
            _ => None,
        })
    }

    /// The resources that a name or `network/address` asks for. Who asks for a service gets who is behind it as well, for
    /// he could not call it otherwise.
    pub fn resolve(&self, of: Type, name: &str) -> Vec<Arc<str>> {
        let resources = self.resources(of);
        let known = |name: &str| resources.entries.get_key_value(name).map(|(name, _)| Arc::clone(name));
        let service = |service: &ServiceName| {
            let behind = self.world.endpoints(service).filter_map(|workload| known(&workload.uid));
            known(&service.to_string()).into_iter().chain(behind).collect()
        };
        if let Some(entry) = resources.entry(name) {
            return match &entry.source {
                Source::Service(own) => service(&own.name),
                _ => known(name).into_iter().collect(),
            };
        }
        // Ours is the network without a name.
        let address = name.strip_prefix('/').and_then(|address| address.parse::<IpAddr>().ok());
        match address.filter(|_| of == Type::Address).and_then(|address| self.world.at(address)) {
            Some(Owner::Workload(workload)) => known(&workload.uid).into_iter().collect(),
            Some(Owner::Service(own)) => service(&own.name),
            None => Vec::new(),
        }
    }
}

fn policies(world: &World) -> impl Iterator<Item = (String, Source)> {
    let own = world.policies().filter_map(|own| Some((own.key(), policy(world, &own.key())?)));
    own.chain(strict(world))
}

/// The policy of this name. Nobody takes the place of those that are made of modes.
fn policy(world: &World, key: &str) -> Option<Source> {
    let policy = world.policy(key).filter(|policy| policy.namespace != MODES_NAMESPACE)?;
    Some(Source::Policy(Arc::clone(policy)))
}

/// The policies that are made of modes.
fn strict(world: &World) -> impl Iterator<Item = (String, Source)> {
    // Most workloads have the same modes as many others.
    let mut seen: Vec<&PortModes> = Vec::new();
    let mut strict: BTreeMap<String, Policy> = BTreeMap::new();
    for workload in world.workloads().filter(|workload| workload.tunnel == Tunnel::Hbone) {
        if !seen.contains(&&workload.modes.inbound) {
            seen.push(&workload.modes.inbound);
            strict.extend(strict_policy(&workload.modes.inbound).map(|policy| (policy.key(), policy)));
        }
    }
    strict.into_iter().map(|(key, policy)| (key, Source::Policy(Arc::new(policy))))
}

fn is_of_modes(name: &str) -> bool {
    name.strip_prefix(MODES_NAMESPACE).is_some_and(|rest| rest.starts_with('/'))
}

fn addresses(world: &World) -> impl Iterator<Item = (String, Source)> {
    let services = world.services().map(|service| service.name.to_string());
    let names = services.chain(world.workloads().map(|workload| workload.uid.clone()));
    names.filter_map(|name| address(world, &name).map(|source| (name, source)))
}

/// The service or workload of this name. A workload that calls itself as a service is called is told to nobody.
fn address(world: &World, name: &str) -> Option<Source> {
    if let Some(service) = service_name(name).and_then(|name| world.service(&name)) {
        return Some(Source::Service(Arc::clone(service)));
    }
    world.workload(name).map(|workload| Source::Workload(Arc::clone(workload)))
}
