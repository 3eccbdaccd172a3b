//! What a running leader makes of its authority's Secret as the watch shows it. What cannot be used is refused, and the
//! last good one stays in force.

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::Event;
use model::identity::TrustDomain;

use super::secret;
use super::state::{State, Version};
use crate::error::{Error, Result};
use crate::names::AUTHORITY_SECRET;

/// What the watch has shown so far.
pub struct Watched {
    trust_domain: TrustDomain,
    /// The version that was read last.
    seen: Option<String>,
    /// Whether it is in the list that is being read.
    listed: bool,
}

impl Watched {
    /// Of a controller of this trust domain.
    pub fn new(trust_domain: &TrustDomain) -> Self {
        Self { trust_domain: trust_domain.clone(), seen: None, listed: false }
    }

    /// What an event says: a new state, or why there is none that could be used; `None` when it is no news.
    pub fn next(&mut self, event: Event<Secret>) -> Option<Result<State>> {
        let found = match event {
            Event::Apply(found) => found,
            Event::InitApply(found) => {
                self.listed = true;
                found
            }
            Event::Init => {
                self.listed = false;
                return None;
            }
            // Listed again after a lost connection: what was deleted in between is not told of.
            Event::InitDone if self.listed => return None,
            Event::InitDone | Event::Delete(_) => {
                self.seen = None;
                return Some(Err(Error::AuthorityMissing(AUTHORITY_SECRET.to_owned())));
            }
        };
        if self.seen.is_some() && self.seen == found.metadata.resource_version {
            return None;
        }
        self.seen.clone_from(&found.metadata.resource_version);
        Some(self.read(&found))
    }

    fn read(&self, found: &Secret) -> Result<State> {
        let state = secret::read(found.data.as_ref().unwrap_or(&Default::default()))?;
        let mut state = state.ok_or_else(|| Error::AuthorityBroken("it was emptied".to_owned()))?;
        if state.trust_domain != self.trust_domain {
            return Err(Error::AuthorityDomain {
                found: state.trust_domain.to_string(),
                wanted: self.trust_domain.to_string(),
            });
        }
        state.version = Version::of(&found.metadata);
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn watched() -> Watched {
        Watched::new(&TrustDomain::default())
    }

    fn found(version: &str, trust_domain: &str) -> Secret {
        let state = State::new(trust_domain.parse().unwrap(), OffsetDateTime::now_utc()).unwrap();
        let mut found = Secret { data: Some(secret::write(&state).unwrap()), ..Secret::default() };
        found.metadata.resource_version = Some(version.to_owned());
        found
    }

    #[test]
    fn a_deletion_is_noticed_however_it_is_told() {
        let secret = found("1", "cluster.local");
        let mut watched = watched();
        assert!(watched.next(Event::Init).is_none());
        assert!(watched.next(Event::InitApply(secret.clone())).unwrap().is_ok());
        assert!(watched.next(Event::InitDone).is_none());
        // Listed again, and the same.
        assert!(watched.next(Event::Init).is_none());
        assert!(watched.next(Event::InitApply(secret.clone())).is_none());
        assert!(watched.next(Event::InitDone).is_none());
        // Listed again, and it is not there.
        assert!(watched.next(Event::Init).is_none());
        assert!(matches!(watched.next(Event::InitDone), Some(Err(Error::AuthorityMissing(_)))));
        // Put back.
        assert!(watched.next(Event::Apply(secret.clone())).unwrap().is_ok());
        assert!(matches!(watched.next(Event::Delete(secret)), Some(Err(Error::AuthorityMissing(_)))));
    }

    #[test]
    fn an_emptied_secret_and_one_of_another_trust_domain_are_refused() {
        let mut watched = watched();
        let mut empty = found("1", "cluster.local");
        empty.data = None;
        assert!(matches!(watched.next(Event::Apply(empty)), Some(Err(Error::AuthorityBroken(_)))));
        let foreign = watched.next(Event::Apply(found("2", "example.org")));
        assert!(matches!(foreign, Some(Err(Error::AuthorityDomain { .. }))));
        assert!(watched.next(Event::Apply(found("3", "cluster.local"))).unwrap().is_ok());
    }
}
