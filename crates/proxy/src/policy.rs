//! A client policy made ready: its authorities, revocation lists and pins loaded, its content hashed. Used at
//! the handshake and again for each request whose route has a policy of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use certs::verify::{self, Rejection, Trust};
use model::codes::Code;
use model::peer::{Peer, Verification};
use model::policy::{ClientMode, ClientPolicy, Revocation};
use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::connection::PolicyKey;
use crate::tls::peer;

/// Chains that were found good and are remembered, per policy.
const MOST_REMEMBERED: usize = 4096;

/// A client policy with everything it names loaded.
pub struct CompiledPolicy {
    /// Its content: rules, authorities, lists, pins.
    pub key: PolicyKey,
    /// What a person wrote.
    pub spec: ClientPolicy,
    /// The subjects of the authorities that are named to clients, DER; empty: none are named.
    pub(crate) names: Vec<DistinguishedName>,
    trust: Trust,
    pinned: Vec<[u8; 32]>,
    /// When its revocation lists end, seconds since 1970.
    lists_until: Vec<i64>,
    /// Verification is a function of chain, policy and time: within these bounds of time the same chain is good
    /// again. Connections of one client share one description of it.
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
}

/// What is to be said about a verification.
pub(crate) enum Said {
    Nothing,
    /// Why the chain is not believed.
    Why(String),
    /// Revocation was not known, for this reason, and the policy let it pass.
    FailOpen(&'static Code),
}

struct Remembered {
    from: i64,
    until: i64,
    peer: Arc<Peer>,
}

/// What a policy names, loaded.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) names: Vec<DistinguishedName>,
    pub(crate) trust: Trust,
    /// SHA-256 over the DER of leaves.
    pub(crate) pinned: Vec<[u8; 32]>,
    /// When the revocation lists end.
    pub(crate) lists_until: Vec<i64>,
}

/// A chain that a policy believes.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Who it is, and how that was found good.
    pub peer: Arc<Peer>,
    /// Revocation was not known, and the policy let it pass.
    pub fail_open: Option<&'static Code>,
    /// Until when this holds if nothing else changes, seconds since 1970.
    pub until: i64,
}

impl CompiledPolicy {
    /// A policy from its loaded parts.
    pub(crate) fn new(key: PolicyKey, spec: ClientPolicy, parts: Parts) -> Self {
        let Parts { names, trust, pinned, lists_until } = parts;
        Self { key, spec, names, trust, pinned, lists_until, remembered: Mutex::default() }
    }

    /// Judges the chain that a client sent, leaf first. The list of allowed identities is not looked at:
    /// see [`model::policy::evaluate`].
    ///
    /// # Errors
    ///
    /// The reason why the chain is not believed.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Accepted, Rejection> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let leaf = chain.first().map(AsRef::<[u8]>::as_ref).unwrap_or_default();
        if !self.pinned.is_empty() && self.pinned.contains(&sha256([leaf])) {
            let until = peer::require_dates(leaf, seconds)?;
            let peer = peer::shared(chain, Verification::Pinned);
            return Ok(Accepted { peer, fail_open: None, until });
        }
        let digest = digest(chain);
        if let Some(known) = self.lock().get(&digest)
            && (known.from..=known.until).contains(&seconds)
        {
            return Ok(Accepted { peer: Arc::clone(&known.peer), fail_open: None, until: known.until });
        }
        let revocation = match self.spec.revocation() {
            Revocation::Require => verify::Revocation::Require,
            Revocation::FailOpen => verify::Revocation::FailOpen,
            Revocation::Off => verify::Revocation::Off,
        };
        let options = verify::Options {
            depth: Some(usize::from(self.spec.depth)),
            revocation,
            ..verify::Options::client(now)
        };
        let verified = verify::verify_client(chain, &self.trust, &options)?;
        let mut until = i64::MAX;
        let path = chain.iter().take(1).chain(&verified.intermediates).chain([&verified.anchor]);
        for der in path {
            until = until.min(peer::not_after(der).unwrap_or(seconds));
        }
        if revocation != verify::Revocation::Off {
            // A list that has ended vouches for nobody, and so bounds nothing that was just verified.
            let next = self.lists_until.iter().copied().filter(|end| *end > seconds).min();
            until = until.min(next.unwrap_or(i64::MAX));
        }
        let peer = peer::shared(chain, Verification::Verified);
        if verified.revocation_unknown.is_none() {
            let mut remembered = self.lock();
            if remembered.len() >= MOST_REMEMBERED {
                remembered.clear();
            }
            // The clock may be set back: what was good from now on may not have been before.
            remembered.insert(digest, Remembered { from: seconds, until, peer: Arc::clone(&peer) });
        }
        Ok(Accepted { peer, fail_open: verified.revocation_unknown, until })
    }

    /// The peer as this policy sees it, until when (seconds since 1970), and what is to be said about that.
    pub(crate) fn peer(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> (Arc<Peer>, i64, Said) {
        match self.verify(chain, now) {
            Ok(accepted) => {
                let said = accepted.fail_open.map_or(Said::Nothing, Said::FailOpen);
                (accepted.peer, accepted.until, said)
            }
            Err(_) if self.spec.mode == ClientMode::OptionalNoCa => {
                (peer::shared(chain, Verification::Unverified), i64::MAX, Said::Nothing)
            }
            Err(rejection) => {
                let peer = peer::shared(chain, Verification::Failed(rejection.code));
                // For a while only: a certificate may become valid.
                let until = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_add(5);
                (peer, until, Said::Why(rejection.to_string()))
            }
        }
    }

    /// Whether a client without a certificate is refused.
    pub fn is_mandatory(&self) -> bool {
        self.spec.mode == ClientMode::Required
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for CompiledPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledPolicy").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// SHA-256 over a chain; lengths keep neighbours apart.
fn digest(chain: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for der in chain {
        context.update(&(der.len() as u64).to_be_bytes());
        context.update(der);
    }
    finish(context)
}

fn finish(context: aws_lc_rs::digest::Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// SHA-256 over the parts, one after the other.
pub(crate) fn sha256<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(part.as_ref());
    }
    finish(context)
}
