//! What one proxy is told, and what it says to it: pure, the stream around it is in [`super::discovery`].
//!
//! Of each type one answer is under way at a time; whatever changes until the proxy has spoken on it becomes part of the
//! next one. So nothing queues up for a proxy that is slow, and it gets the newest state when it is ready for it.
//!
//! A policy is sent before the workloads that list it, and taken away after they list it no more: a proxy never has a
//! workload without a policy of its own. Whom to trust comes before all of it, and a proxy may take its time to say yes to
//! that (`client/trust.rs`): nothing else waits for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::catalog::{Catalog, Entry, Type};
use crate::proto::Any;
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};

/// The name that stands for all resources.
const WILDCARD: &str = "*";

/// What a proxy said to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) of: Type,
    /// What it had said yes to before this.
    pub(crate) before: u64,
    /// Why it refuses the answer.
    pub(crate) refused: Option<String>,
}

/// Why a proxy is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It asks for more names than one may.
    TooManyNames,
    /// It lacks more than is remembered. When it comes back it says what it has, and gets what it lacks.
    TooFarBehind,
}

/// Resources, and names of what is gone.
type Said = (Vec<Resource>, Vec<String>);

/// What a proxy has, and wants, of one type.
#[derive(Debug)]
pub(crate) struct Watch {
    of: Type,
    subscribed: bool,
    wildcard: bool,
    /// What it asked for by name or address.
    names: BTreeSet<String>,
    /// Names that are asked for now, and have to be answered.
    asked: BTreeSet<String>,
    /// What a proxy has that did not ask for all.
    have: HashMap<Arc<str>, Arc<str>>,
    /// What it had when it came; until the first answer.
    initial: Option<BTreeMap<String, String>>,
    /// The generation that it was brought to.
    sent: u64,
    /// The generation that it said yes to.
    acknowledged: u64,
    /// The answer that it has not spoken on yet.
    outstanding: Option<String>,
    /// The last answer, where it was refused: what a proxy could not do yet it may have done later, and says so.
    refused: Option<String>,
    /// What is gone, but not yet for this proxy, and the generation that its addresses have to be at.
    held: BTreeMap<Arc<str>, u64>,
}

impl Watch {
    fn new(of: Type) -> Self {
        Self {
            of,
            subscribed: false,
            wildcard: false,
            names: BTreeSet::new(),
            asked: BTreeSet::new(),
            have: HashMap::new(),
            initial: None,
            sent: 0,
            acknowledged: 0,
            outstanding: None,
            refused: None,
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// The generation that it was brought to, and the one that it said yes to.
    pub(crate) fn generations(&self) -> (u64, u64) {
        (self.sent, self.acknowledged)
    }

    fn subscribe(&mut self, request: DeltaDiscoveryRequest, most: usize) -> Result<(), Ended> {
        let first = !self.subscribed;
        let (all, wanted): (Vec<String>, Vec<String>) =
            request.resource_names_subscribe.into_iter().partition(|name| name == WILDCARD);
        if first {
            self.subscribed = true;
            // Who asks for nothing at first asks for all; later it says nothing.
            self.wildcard = !all.is_empty() || wanted.is_empty();
            self.initial = Some(request.initial_resource_versions);
        } else if !all.is_empty() && !self.wildcard {
            self.wildcard = true;
            let have = self.have.drain();
            self.initial =
                Some(have.map(|(name, version)| (name.to_string(), version.to_string())).collect());
        }
        for name in wanted {
            self.names.insert(name.clone());
            self.asked.insert(name);
        }
        for name in request.resource_names_unsubscribe {
            if name == WILDCARD {
                self.wildcard = false;
            } else {
                self.names.remove(&name);
                self.asked.remove(&name);
            }
        }
        if first && !self.wildcard {
            // What it has from before it asked for before.
            for (name, version) in self.initial.iter().flatten() {
                self.names.insert(name.clone());
                self.have.insert(name.as_str().into(), version.as_str().into());
            }
        }
        if self.names.len() > most { Err(Ended::TooManyNames) } else { Ok(()) }
    }

    /// What has to be said of a catalog; none where there is nothing. Policies that are gone wait until `addresses` has
    /// come as far as the change that took them away.
    fn answer(&mut self, catalog: &Catalog, addresses: Option<u64>) -> Result<Option<Said>, Ended> {
        let resources = catalog.resources(self.of);
        let target = catalog.generation();
        let mut said = Vec::new();
        let mut answered: BTreeSet<String> = BTreeSet::new();
        let first = self.initial.is_some();
        if self.wildcard {
            if self.outstanding.is_some() {
                // What concerns nobody need not wait for a word on what was sent before.
                if !first && self.asked.is_empty() && resources.since(self.sent).is_some_and(|s| s.is_empty())
                {
                    self.sent = target;
                }
                return Ok(None);
            }
            if let Some(initial) = self.initial.take() {
                for (name, entry) in resources.entries() {
                    let same = initial.get(&**name).is_some_and(|version| **version == *entry.version);
                    if !same {
                        said.push(resource(name, entry));
                    }
                }
                let gone = initial.keys().filter(|name| resources.entry(name).is_none());
                self.held.extend(gone.map(|name| (Arc::from(name.as_str()), target)));
            } else {
                let names = resources.since(self.sent).ok_or(Ended::TooFarBehind)?;
                for name in names {
                    match resources.entry(&name) {
                        Some(entry) => said.push(resource(&name, entry)),
                        None => {
                            self.held.entry(name).or_insert(target);
                        }
                    }
                }
            }
            for name in std::mem::take(&mut self.asked) {
                let found = catalog.resolve(self.of, &name);
                for own in &found {
                    if let Some(entry) = resources.entry(own)
                        && !said.iter().any(|resource| *resource.name == **own)
                    {
                        said.push(resource(own, entry));
                    }
                }
                if found.is_empty() {
                    answered.insert(name);
                }
            }
        } else {
            if self.outstanding.is_some() {
                return Ok(None);
            }
            self.initial = None;
            if first || target != self.sent || !self.asked.is_empty() {
                self.by_name(catalog, first, &mut said, &mut answered);
            }
        }
        // One that came back is not gone.
        self.held.retain(|name, _| resources.entry(name).is_none());
        let free = |since: u64| addresses.is_none_or(|reached| reached >= since);
        let (gone, held): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.held).into_iter().partition(|(_, since)| free(*since));
        self.held = held;
        answered.extend(gone.into_keys().map(|name| name.to_string()));
        self.sent = target;
        let nothing = said.is_empty() && answered.is_empty() && !first;
        if nothing {
            if self.refused.is_none() && self.held.is_empty() {
                self.acknowledged = target;
            }
            return Ok(None);
        }
        Ok(Some((said, answered.into_iter().collect())))
    }

    fn by_name(
        &mut self,
        catalog: &Catalog,
        first: bool,
        said: &mut Vec<Resource>,
        gone: &mut BTreeSet<String>,
    ) {
        let resources = catalog.resources(self.of);
        let mut wanted: HashMap<Arc<str>, bool> = HashMap::new();
        let asked = std::mem::take(&mut self.asked);
        for name in &self.names {
            let now = asked.contains(name);
            let found = catalog.resolve(self.of, name);
            if found.is_empty() && now {
                gone.insert(name.clone());
            }
            for name in found {
                *wanted.entry(name).or_default() |= now && !first;
            }
        }
        for (name, now) in &wanted {
            let Some(entry) = resources.entry(name) else { continue };
            // Who asks again gets it again: he may have forgotten it.
            if *now || self.have.get(name).is_none_or(|version| *version != entry.version) {
                self.have.insert(Arc::clone(name), Arc::clone(&entry.version));
                said.push(resource(name, entry));
            }
        }
        self.have.retain(|name, _| {
            let stays = wanted.contains_key(name);
            if !stays {
                gone.insert(name.to_string());
            }
            stays
        });
    }
}

fn resource(name: &Arc<str>, entry: &Entry) -> Resource {
    // The type is filled in by who sends it.
    Resource {
        version: entry.version.to_string(),
        resource: Some(Any { type_url: String::new(), value: entry.bytes.clone() }),
        name: name.to_string(),
        aliases: entry.aliases(),
        ttl: None,
        cache_control: None,
    }
}

/// What one proxy has, wants, and was told.
#[derive(Debug)]
pub(crate) struct Session {
    nonce: u64,
    most_names: usize,
    trust: Watch,
    authorization: Watch,
    address: Watch,
}

impl Session {
    pub(crate) fn new(most_names: usize) -> Self {
        Self {
            nonce: 0,
            most_names,
            trust: Watch::new(Type::Trust),
            authorization: Watch::new(Type::Authorization),
            address: Watch::new(Type::Address),
        }
    }

    pub(crate) fn watch(&self, of: Type) -> &Watch {
        match of {
            Type::Trust => &self.trust,
            Type::Authorization => &self.authorization,
            Type::Address => &self.address,
        }
    }

    fn watch_mut(&mut self, of: Type) -> &mut Watch {
        match of {
            Type::Trust => &mut self.trust,
            Type::Authorization => &mut self.authorization,
            Type::Address => &mut self.address,
        }
    }

    /// Whether everything of some type is about to be sent.
    pub(crate) fn is_beginning(&self) -> bool {
        Type::ALL.into_iter().any(|of| self.watch(of).wildcard && self.watch(of).initial.is_some())
    }

    /// Whether an answer about the mesh waits for the proxy's word. That it has to take up whom to trust may take long.
    pub(crate) fn owes(&self) -> bool {
        Type::WORLD.into_iter().any(|of| self.watch(of).outstanding.is_some())
    }

    /// Whether addresses are asked for and policies are not, so far. A proxy asks for both, one after the other; policies
    /// then come first.
    pub(crate) fn waits_for_policies(&self) -> bool {
        self.address.initial.is_some() && !self.authorization.subscribed
    }

    /// Takes in what a proxy says.
    pub(crate) fn request(&mut self, mut request: DeltaDiscoveryRequest) -> Result<Option<Verdict>, Ended> {
        // What is not known is not answered: the proxy may ask others for it.
        let Some(of) = Type::of(&request.type_url) else { return Ok(None) };
        let most = self.most_names;
        let watch = self.watch_mut(of);
        let mut verdict = None;
        let nonce = Some(&request.response_nonce).filter(|nonce| !nonce.is_empty());
        let on_refused = nonce.is_some() && watch.refused.as_ref() == nonce && watch.outstanding.is_none();
        if (nonce.is_some() && watch.outstanding.as_ref() == nonce) || on_refused {
            watch.outstanding = None;
            let before = watch.acknowledged;
            let refused = request.error_detail.take().map(|status| status.message);
            watch.refused = refused.is_some().then_some(request.response_nonce.clone());
            if refused.is_none() {
                watch.acknowledged = watch.sent;
            }
            verdict = Some(Verdict { of, before, refused });
        }
        // A word on an older answer than the last one says nothing, but what it asks for is asked for.
        watch.subscribe(request, most)?;
        Ok(verdict)
    }

    /// What is to be sent now.
    pub(crate) fn answers(&mut self, catalog: &Catalog) -> Result<Vec<DeltaDiscoveryResponse>, Ended> {
        let mut answers = Vec::new();
        if catalog.generation() == 0 {
            return Ok(answers);
        }
        // Whom to trust waits for nothing. Policies once for what is new, once for what could not go before the addresses had.
        for of in [Type::Trust, Type::Authorization, Type::Address, Type::Authorization] {
            if !self.watch(of).subscribed {
                continue;
            }
            let reached = match of {
                Type::Trust => None,
                Type::Authorization => self.address.subscribed.then_some(self.address.sent),
                Type::Address => {
                    let policies = &self.authorization;
                    if policies.subscribed && policies.sent != catalog.generation() {
                        continue;
                    }
                    None
                }
            };
            let watch = self.watch_mut(of);
            if let Some((mut resources, removed_resources)) = watch.answer(catalog, reached)? {
                for any in resources.iter_mut().filter_map(|resource| resource.resource.as_mut()) {
                    of.url().clone_into(&mut any.type_url);
                }
                self.nonce += 1;
                let nonce = self.nonce.to_string();
                self.watch_mut(of).outstanding = Some(nonce.clone());
                answers.push(DeltaDiscoveryResponse {
                    system_version_info: catalog.generation().to_string(),
                    resources,
                    type_url: of.url().to_owned(),
                    nonce,
                    removed_resources,
                });
            }
        }
        Ok(answers)
    }
}
