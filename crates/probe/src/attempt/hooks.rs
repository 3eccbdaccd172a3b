//! Looks over rustls' shoulder: the server's chain, its request for a client certificate, its tickets.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, ResolvesClientCert, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, NamedGroup, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Facts;
use crate::identity::ClientIdentity;

/// The server's request for a client certificate (RFC 8446 section 4.3.2).
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The authorities that it names, as DER; empty when it names none.
    pub authorities: Vec<Vec<u8>>,
    /// The signature schemes that it accepts.
    pub schemes: Vec<String>,
}

/// Verifier and resolver in one: lets every chain pass, and remembers what it saw.
pub(super) struct Hooks {
    provider: Arc<CryptoProvider>,
    client: Mutex<Option<ClientIdentity>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    asked: Option<Asked>,
    could_sign: Option<bool>,
    unproven: bool,
    chain_at: Option<Instant>,
    asked_at: Option<Instant>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

impl Hooks {
    pub(super) fn new(provider: Arc<CryptoProvider>, client: Option<ClientIdentity>) -> Self {
        Self { provider, client: Mutex::new(client), seen: Mutex::default() }
    }

    pub(super) fn set_identity(&self, client: Option<ClientIdentity>) {
        if let Ok(mut held) = self.client.lock() {
            *held = client;
        }
    }

    pub(super) fn clear(&self) {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Seen::default();
        }
    }

    pub(super) fn fill(&self, facts: &mut Facts) {
        if let Ok(seen) = self.seen.lock() {
            facts.chain = seen.chain.clone();
            facts.asked = seen.asked.clone();
            facts.could_sign = seen.could_sign;
            facts.unproven = seen.unproven;
            (facts.chain_at, facts.asked_at) = (seen.chain_at, seen.asked_at);
        }
    }
}

impl Hooks {
    /// A server whose RSA key is below 2048 bits is tried all the same: what it does about its clients is to be
    /// learnt, and the key is a finding of its own. No signature of such a key can be checked here.
    fn weak_may_pass(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
        leaf: &CertificateDer<'_>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if checked.is_err() && has_weak_rsa(leaf) {
            if let Ok(mut seen) = self.seen.lock() {
                seen.unproven = true;
            }
            return Ok(HandshakeSignatureValid::assertion());
        }
        checked
    }
}

fn has_weak_rsa(leaf: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return false };
    matches!(parsed.public_key().parsed(), Ok(PublicKey::RSA(rsa)) if rsa.key_size() < 2048)
}

impl ServerCertVerifier for Hooks {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut seen) = self.seen.lock() {
            seen.chain_at = Some(Instant::now());
            seen.chain =
                std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        self.weak_may_pass(verify_tls12_signature(message, leaf, signed, known), leaf)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        self.weak_may_pass(verify_tls13_signature(message, leaf, signed, known), leaf)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Hooks {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let client = self.client.lock().ok()?.as_ref().map(|client| client.certified.clone());
        if let Ok(mut seen) = self.seen.lock() {
            seen.asked_at = Some(Instant::now());
            seen.asked = Some(Asked {
                authorities: authorities.iter().map(|name| name.to_vec()).collect(),
                schemes: schemes
                    .iter()
                    .map(|scheme| crate::wire::names::scheme(u16::from(*scheme)))
                    .collect(),
            });
            seen.could_sign = client.as_ref().map(|c| c.key.choose_scheme(schemes).is_some());
        }
        client
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Keeps sessions whatever server name they came from, so that a ticket can be tried at another one.
#[derive(Default)]
pub struct Tickets {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    /// Whether there is anything to resume.
    pub fn is_empty(&self) -> bool {
        self.held.lock().is_ok_and(|held| held.tls12.is_none() && held.tls13.is_empty())
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _name: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, value: Tls12ClientSessionValue) {
        if let Ok(mut held) = self.held.lock() {
            held.tls12 = Some(value);
        }
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.held.lock().ok()?.tls12.clone()
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {
        if let Ok(mut held) = self.held.lock() {
            held.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if let Ok(mut held) = self.held.lock()
            && held.tls13.len() < 8
        {
            held.tls13.push(value);
        }
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.held.lock().ok()?.tls13.pop()
    }
}
