//! What the handshake asks of clients. A host has one policy, its routes may have others with authorities of
//! their own, and there is only one handshake: it asks for a certificate if any policy wants one, refuses what
//! no policy would take, and lets the rest through for [`crate::authorize`] to judge. The signature that proves
//! possession of the key is always checked, whatever the policies say.

use std::sync::Arc;

use certs::verify::Rejection;
use model::policy::{ClientMode, Refusal};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::context;
use super::signature::check_signatures;
use crate::connection::PolicyKey;
use crate::policy::{CompiledPolicy, sha256};

/// The policies of one host, as far as the handshake is concerned.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    /// The host's own first, then those of its routes.
    policies: Vec<Arc<CompiledPolicy>>,
    /// A client without a certificate, or with a bad one, is refused by an alert.
    strict: bool,
    mandatory: bool,
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
    key: PolicyKey,
}

impl ClientVerifier {
    /// From the policy of a host (if any) and those of its routes; none where no policy asks for a certificate.
    pub(crate) fn new(
        own: Option<Arc<CompiledPolicy>>,
        routes: Vec<Arc<CompiledPolicy>>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let asks = |policy: &Arc<CompiledPolicy>| policy.spec.mode != ClientMode::Off;
        // Paths without a policy of their own are under the host's; where that asks for nothing, nor may the
        // handshake insist.
        let open = !own.as_ref().is_some_and(asks);
        let mut policies: Vec<_> = own.into_iter().filter(asks).collect();
        for policy in routes.into_iter().filter(asks) {
            if policies.iter().all(|known| known.key != policy.key) {
                policies.push(policy);
            }
        }
        if policies.is_empty() {
            return None;
        }
        let strict = !open
            && policies.iter().all(|policy| {
                policy.spec.refuse == Refusal::Alert && policy.spec.mode != ClientMode::OptionalNoCa
            });
        let mandatory = strict && policies.iter().all(|policy| policy.is_mandatory());
        let mut names: Vec<DistinguishedName> = Vec::new();
        for name in policies.iter().flat_map(|policy| &policy.names) {
            if !names.iter().any(|known| known.as_ref() == name.as_ref()) {
                names.push(name.clone());
            }
        }
        // A client that finds none of its authorities in the list sends nothing: with policies that take any
        // certificate there must be no list.
        if policies.iter().any(|policy| policy.names.is_empty()) {
            names.clear();
        }
        let mut parts: Vec<&[u8]> = vec![if strict { b"strict" } else { b"lenient" }];
        parts.extend(policies.iter().map(|policy| &policy.key.0[..]));
        let key = PolicyKey(sha256(parts));
        Some(Self { policies, strict, mandatory, names, provider, key })
    }

    /// Whether a client without a certificate is refused.
    pub(crate) fn is_mandatory(&self) -> bool {
        self.mandatory
    }

    /// What this verifier does, by content.
    pub(crate) fn key(&self) -> PolicyKey {
        self.key
    }

    /// Whether any of the policies believes a chain.
    pub(crate) fn is_believed(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        self.policies.iter().any(|policy| policy.verify(chain, now).is_ok())
    }

    /// Judges a chain as the handshake does: good if any policy believes it.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Rejection> {
        let mut first = None;
        for policy in &self.policies {
            match policy.verify(chain, now) {
                Ok(accepted) => {
                    context::note(|notes| notes.until = Some(accepted.until));
                    return Ok(());
                }
                Err(rejection) => {
                    first.get_or_insert(rejection);
                }
            }
        }
        match first {
            Some(rejection) if self.strict => Err(rejection),
            // What nobody believes is judged again at each request; a ticket for it would gain nothing.
            _ => {
                context::note(|notes| notes.until = Some(0));
                Ok(())
            }
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut chain = Vec::with_capacity(intermediates.len() + 1);
        chain.push(end_entity.clone());
        chain.extend(intermediates.iter().cloned());
        match self.verify(&chain, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(rejection) => {
                let described =
                    super::peer::shared(&chain, model::peer::Verification::Failed(rejection.code));
                context::note(|notes| notes.peer = Some(described));
                Err(context::reject(rejection))
            }
        }
    }

    check_signatures!(provider);
}
