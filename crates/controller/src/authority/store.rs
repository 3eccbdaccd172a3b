//! The authority's Secret in the API server. Every change is a compare-and-swap on its resourceVersion: of two
//! controllers, or a controller and a person, one wins and the other reads again.

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use model::identity::TrustDomain;
use time::OffsetDateTime;

use super::secret;
use super::state::State;
use super::traces;
use crate::error::{Error, Result};
use crate::names::{AUTHORITY_SECRET, CONTROLLER, NEW_AUTHORITY_ANNOTATION};

/// How often a lost race is run again.
const TRIES: usize = 10;

/// The door to the authority's Secret.
#[derive(Clone)]
pub struct AuthorityStore {
    client: Client,
    namespace: String,
    api: Api<Secret>,
    name: String,
}

impl AuthorityStore {
    /// Of the controller's namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            name: format!("{namespace}/{AUTHORITY_SECRET}"),
            namespace: namespace.to_owned(),
            client,
        }
    }

    /// The API of Secrets that it lies in, for watching it.
    pub fn api(&self) -> &Api<Secret> {
        &self.api
    }

    /// The authority, `None` where the Secret is still empty.
    ///
    /// # Errors
    ///
    /// When the Secret is missing or damaged, or the API server cannot be asked.
    pub async fn load(&self) -> Result<Option<State>> {
        let found = self.get().await?;
        secret::read(&found.data.unwrap_or_default())
    }

    /// The authority, made now where there has never been one. A lost race gives the winner's.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); when it is of another trust domain; and when there was one that is lost.
    pub async fn ensure(&self, trust_domain: &TrustDomain, now: OffsetDateTime) -> Result<(State, bool)> {
        for _ in 0..TRIES {
            let found = self.get().await?;
            if let Some(state) = secret::read(found.data.as_ref().unwrap_or(&Default::default()))? {
                if state.trust_domain != *trust_domain {
                    return Err(Error::AuthorityDomain {
                        found: state.trust_domain.to_string(),
                        wanted: trust_domain.to_string(),
                    });
                }
                return Ok((state, false));
            }
            let asked = found.metadata.annotations.as_ref();
            if !asked.is_some_and(|all| all.contains_key(NEW_AUTHORITY_ANNOTATION)) {
                self.check_never_used().await?;
            }
            let state = State::new(trust_domain.clone(), now)?;
            match self.replace(found, &state).await {
                Ok(()) => return Ok((state, true)),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.lost())
    }

    /// Makes sure that no authority has worked in this cluster: what runs trusts that one, and would trust no new one.
    ///
    /// # Errors
    ///
    /// When one has, or the API server cannot be asked.
    pub async fn check_never_used(&self) -> Result<()> {
        match traces::find(&self.client, &self.namespace).await? {
            None => Ok(()),
            Some(trace) => Err(Error::AuthorityLost { name: self.name.clone(), trace }),
        }
    }

    /// Whether the Secret holds an authority, or what is left of one. Where it is missing it holds none.
    ///
    /// # Errors
    ///
    /// When the API server cannot be asked.
    pub async fn is_filled(&self) -> Result<bool> {
        match self.get().await {
            Ok(found) => Ok(found.data.is_some_and(|data| !data.is_empty())),
            Err(Error::AuthorityMissing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts an authority into the Secret that is still empty.
    ///
    /// # Errors
    ///
    /// When there is one already.
    pub async fn import(&self, state: &State) -> Result<()> {
        let found = self.get().await?;
        if secret::read(found.data.as_ref().unwrap_or(&Default::default()))?.is_some() {
            return Err(self.filled());
        }
        self.replace(found, state).await
    }

    /// Takes one step: `next` gets the present state and gives the one after it. When somebody else was quicker it
    /// is asked again, with theirs.
    ///
    /// # Errors
    ///
    /// Those of `next` and of the API server. Nothing was changed then.
    pub async fn change(&self, mut next: impl FnMut(&State) -> Result<State>) -> Result<State> {
        for _ in 0..TRIES {
            let found = self.get().await?;
            let state =
                secret::read(found.data.as_ref().unwrap_or(&Default::default()))?.ok_or_else(|| {
                    Error::AuthorityBroken("it is empty: the controller has not started yet".to_owned())
                })?;
            let state = next(&state)?;
            match self.replace(found, &state).await {
                Ok(()) => return Ok(state),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.lost())
    }

    async fn get(&self) -> Result<Secret> {
        let found = self.api.get_opt(AUTHORITY_SECRET).await;
        found
            .map_err(Error::api(format!("read the Secret {}", self.name)))?
            .ok_or_else(|| Error::AuthorityMissing(self.name.clone()))
    }

    async fn replace(&self, mut found: Secret, state: &State) -> Result<()> {
        found.data = Some(secret::write(state)?);
        // The permission is for one time.
        if let Some(annotations) = &mut found.metadata.annotations {
            annotations.remove(NEW_AUTHORITY_ANNOTATION);
        }
        let params = PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() };
        let written = self.api.replace(AUTHORITY_SECRET, &params, &found).await;
        written.map(|_| ()).map_err(Error::api(format!("write the Secret {}", self.name)))
    }

    /// Why no other authority is put into the Secret.
    pub fn filled(&self) -> Error {
        Error::Step(format!("the Secret {} holds an authority already", self.name))
    }

    fn lost(&self) -> Error {
        Error::Conflict {
            action: format!("write the Secret {}", self.name),
            reason: format!("{TRIES} tries were lost to others"),
        }
    }
}
