//! A request for a certificate, from its token to its chain.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use model::codes::{Code, Coded as _};
use model::identity::{SpiffeId, TrustDomain};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::timeout;

use super::reviews::Reviews;
use crate::audit::{Action, Audit, Record};
use crate::authority::State;
use crate::clock::Clock;
use crate::error::{Error, Result, chain, shortened};
use crate::mesh::issue::{Asked, Bearer, NodeAccount, decide, identity, review, takes_part};
use crate::mesh::watch::Known;
use crate::signer::{Denial, sign};

/// How long a pod is waited for that the API server knows and the watch has not told of yet.
const NOT_YET: Duration = Duration::from_secs(5);

/// Whoever issues to workloads.
pub struct Issuing {
    /// The API server.
    pub client: Client,
    /// The pods of the cluster, and what proxies are told of them.
    pub known: Known,
    /// The authority, once there is one.
    pub authority: watch::Receiver<Option<Arc<State>>>,
    /// Who may ask for the pods of his node.
    pub nodes: Vec<NodeAccount>,
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// Where each certificate is written down before it leaves.
    pub audit: Audit,
    /// Nothing is signed by a clock that is wrong.
    pub clock: Clock,
    /// Tokens that were judged a moment ago.
    pub reviews: Reviews,
}

/// Why there is no certificate.
#[derive(Debug)]
pub enum Refused {
    /// Who asks has no right to it.
    Denied {
        /// The stable code.
        code: &'static Code,
        /// One sentence.
        message: String,
    },
    /// It could not be told, or not be signed, now: trying again may help.
    Unavailable(String),
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self::Denied { code: denial.code, message: shortened(denial.message) }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Unavailable(format!("{}: {}", error.code().id, chain(&error)))
    }
}

impl Issuing {
    /// Who shows a token, and may be told of the whole mesh: the identity of the proxy's pod, once that pod is in what
    /// proxies are told. A pod of a StatefulSet is never told of its predecessor as of itself.
    ///
    /// # Errors
    ///
    /// When the API server does not vouch for it, or it is no proxy of the mesh; [`Refused::Unavailable`] where another
    /// control plane may know more than this one.
    pub async fn proxy(&self, token: &str) -> std::result::Result<SpiffeId, Refused> {
        if let Some((kind, silent)) = self.known.silent() {
            let seconds = silent.as_secs();
            return Err(Refused::Unavailable(format!(
                "nothing was heard of any {kind} for {seconds} s: another control plane may know more"
            )));
        }
        let bearer = self.bearer(token).await?;
        let Bearer { namespace, pod: name, pod_uid, .. } = &bearer;
        let found = match timeout(NOT_YET, self.known.published_pod(namespace, name, pod_uid)).await {
            Ok(Some(found)) => found,
            // It may never come: who is gone is told so.
            _ => {
                identity(&bearer, self.pod(&bearer).await?.as_deref(), &self.trust_domain)?;
                return Err(Refused::Unavailable(format!(
                    "the pod {namespace}/{name} is not known here yet"
                )));
            }
        };
        let id = identity(&bearer, Some(&found), &self.trust_domain)?;
        takes_part(&bearer, &found, &self.nodes)?;
        Ok(id)
    }

    /// Issues: the chain leaf first, and as its last element all roots that are trusted now, PEM.
    ///
    /// # Errors
    ///
    /// When who asks has no right to it, or nothing can be signed now. What was refused is in the audit log.
    pub async fn issue(&self, token: &str, asked: &Asked<'_>) -> std::result::Result<Vec<String>, Refused> {
        let bearer = self.bearer(token).await?;
        let found = self.pod(&bearer).await?;
        let pods = self.known.pods();
        let all = pods.iter().map(AsRef::as_ref);
        let granted = decide(&bearer, found.as_deref(), all, &self.nodes, &self.trust_domain, asked);
        let grant = match granted {
            Ok(grant) => grant,
            Err(denial) => {
                let text = denial.text();
                let record = Record::new(Action::Deny, "Pod", &bearer.namespace, &bearer.pod, &text);
                // Nothing leaves: the line is for people.
                let _ = self.audit.write(&record);
                return Err(denial.into());
            }
        };
        self.clock.check()?;
        let authority = self.authority.borrow().clone();
        let Some(authority) = authority else {
            return Err(Refused::Unavailable("there is no authority yet".to_owned()));
        };
        let signed = sign(&grant, &authority, OffsetDateTime::now_utc())?;
        let names: Vec<String> = grant.names.iter().map(certs::AltName::value).collect();
        let not_after = certs::rfc3339(signed.not_after);
        let reason = match asked.impersonated {
            Some(_) => "asked for by the proxy of its node",
            None => "asked for by the pod",
        };
        let mut record = Record::new(Action::Issue, "Pod", &bearer.namespace, &bearer.pod, reason);
        (record.serial, record.names, record.issuer, record.not_after) =
            (&signed.serial, &names, &signed.issuer, &not_after);
        self.audit
            .write(&record)
            .map_err(|error| Refused::Unavailable(format!("the audit log cannot be written: {error}")))?;
        let mut chain: Vec<String> = certs::certificates_of_pem(&signed.chain)
            .map_err(|error| Refused::Unavailable(error.to_string()))?
            .iter()
            .map(|der| certs::pem("CERTIFICATE", der))
            .collect();
        chain.push(authority.trust_bundle_pem());
        Ok(chain)
    }

    /// Whose token it is.
    async fn bearer(&self, token: &str) -> std::result::Result<Bearer, Refused> {
        let answer = self.reviews.of(token, || {
            let (client, token) = (self.client.clone(), token.to_owned());
            async move {
                let answer = review(&client, &token).await;
                answer.map_err(|error| format!("{}: {}", error.code().id, chain(&error)))
            }
        });
        Ok(answer.await.map_err(Refused::Unavailable)??)
    }

    /// The pod of a token. One that was made a moment ago may not be known by the watch yet.
    async fn pod(&self, bearer: &Bearer) -> Result<Option<Arc<Pod>>> {
        let Bearer { namespace, pod: name, pod_uid, .. } = bearer;
        if let Some(found) = self.known.pod(namespace, name, pod_uid) {
            return Ok(Some(found));
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found =
            api.get_opt(name).await.map_err(Error::api(format!("read the pod {namespace}/{name}")))?;
        Ok(found.map(Arc::new))
    }
}
