//! What a proxy was told, taken in: pure, the stream is in [`super::discovery`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::mesh::{Change, Trust, World};

use crate::catalog::Type;
use crate::convert::{
    Context, Instead, Invalid, Refused, read_address, read_authorization, read_trust, service_name,
    unreadable,
};
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};

/// How many reasons an answer is refused with; the first are worth as much as all.
const REASONS: usize = 8;

/// A world, and where it stands with the control plane.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    context: Context,
    /// Shared with whoever was given it, and copied only where somebody still has it when it changes.
    world: Arc<World>,
    trust: Option<Arc<Trust>>,
    /// The versions of what there is; empty for what was not understood, so that one learns when it is gone.
    versions: BTreeMap<Type, BTreeMap<String, String>>,
    received: BTreeSet<Type>,
    /// What is not understood at this time, and why.
    refused: BTreeMap<String, String>,
}

/// What became of an answer.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Why the answer is refused, if it is; what was understood of it is in force all the same.
    pub(crate) refused: Option<String>,
    /// Whether the world is another one.
    pub(crate) changed: bool,
}

impl Mirror {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, ..Self::default() }
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Whom to trust, once that was heard.
    pub(crate) fn trust(&self) -> Option<&Arc<Trust>> {
        self.trust.as_ref()
    }

    /// Whether something of each type was heard that a world is made of.
    pub(crate) fn is_whole(&self) -> bool {
        Type::WORLD.iter().all(|of| self.received.contains(of))
    }

    pub(crate) fn refused(&self) -> &BTreeMap<String, String> {
        &self.refused
    }

    /// What there is already, for a control plane that is to send the rest.
    pub(crate) fn versions(&self, of: Type) -> BTreeMap<String, String> {
        self.versions.get(&of).cloned().unwrap_or_default()
    }

    /// Takes an answer in, each resource for itself: one that is not understood holds up no other.
    pub(crate) fn take(&mut self, answer: DeltaDiscoveryResponse) -> Taken {
        let Some(of) = Type::of(&answer.type_url) else {
            let refused = Some(format!("{:?} was not asked for", answer.type_url));
            return Taken { refused, changed: false };
        };
        let changed = !answer.resources.is_empty() || !answer.removed_resources.is_empty();
        let mut reasons = Vec::new();
        for resource in answer.resources {
            let name = resource.name.clone();
            if let Err(error) = self.resource(of, resource) {
                let reason = format!("{name}: {error}");
                self.refused.insert(name, error.to_string());
                reasons.push(reason);
            }
        }
        for name in answer.removed_resources {
            self.gone(of, &name);
        }
        self.received.insert(of);
        let more = reasons.len().saturating_sub(REASONS);
        reasons.truncate(REASONS);
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        Taken { refused: (!reasons.is_empty()).then(|| reasons.join("; ")), changed }
    }

    fn resource(&mut self, of: Type, resource: Resource) -> Result<(), Invalid> {
        let name = resource.name;
        let read = match resource.resource {
            None => Err(unreadable(of, &name, Invalid::of("resource", "it is empty"))),
            Some(any) if any.type_url != of.url() => {
                let what = format!("it is {:?}", any.type_url);
                Err(unreadable(of, &name, Invalid::of("resource.type_url", what)))
            }
            Some(any) => match of {
                Type::Address => read_address(&name, &any.value, &self.context).map(Some),
                Type::Authorization => read_authorization(&name, &any.value),
                Type::Trust => match read_trust(&name, &any.value, &self.context) {
                    Ok(Some(trust)) => {
                        self.trust = Some(Arc::new(trust));
                        Ok(None)
                    }
                    Ok(None) => Ok(None),
                    Err(error) => Err(unreadable(of, &name, error)),
                },
            },
        };
        let versions = self.versions.entry(of).or_default();
        match read {
            Ok(change) => {
                self.refused.remove(&name);
                versions.insert(name, resource.version);
                if let Some(change) = change {
                    self.change(change);
                }
                Ok(())
            }
            Err(Refused { error, instead }) => {
                let known = versions.contains_key(&name);
                match instead {
                    Instead::Else(change) if !known => {
                        versions.insert(name, String::new());
                        self.change(*change);
                    }
                    Instead::Always(change) => {
                        versions.insert(name, String::new());
                        self.change(*change);
                    }
                    Instead::Before | Instead::Else(_) => {}
                }
                Err(error)
            }
        }
    }

    fn change(&mut self, change: Change) {
        Arc::make_mut(&mut self.world).apply(change);
    }

    fn gone(&mut self, of: Type, name: &str) {
        self.refused.remove(name);
        self.versions.entry(of).or_default().remove(name);
        match of {
            // Nobody is believed less because nobody says whom to believe: the last good one stays in force.
            Type::Trust => {}
            Type::Authorization => self.change(Change::PolicyGone(name.to_owned())),
            Type::Address => {
                // A name does not say whose it is; it is told from what there is.
                if self.world.workload(name).is_some() {
                    self.change(Change::WorkloadGone(name.to_owned()));
                } else if let Some(service) = service_name(name) {
                    self.change(Change::ServiceGone(service));
                }
            }
        }
    }
}
