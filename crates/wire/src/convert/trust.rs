//! Whom to trust.

use bytes::Bytes;
use model::mesh::Trust;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Context, Invalid, Result, same_name, undecodable};
use crate::proto::mesh as proto;

/// The length of a SHA-256.
const FINGERPRINT: usize = 32;

/// A trust as a resource: its name and its content.
pub fn trust_resource(trust: &Trust) -> (String, Bytes) {
    let message = proto::Trust {
        trust_domain: trust.domain.clone(),
        roots: trust.roots.clone(),
        issuer: trust.issuer.clone(),
        issuer_fingerprint: hex::decode(&trust.issuer_fingerprint).unwrap_or_default(),
        step: trust.step,
    };
    (trust.domain.clone(), message.encode_to_vec().into())
}

/// Whom to trust; none where it is about another trust domain than ours.
///
/// # Errors
///
/// Where it makes no sense: then the one before stays in force.
pub fn read_trust(name: &str, bytes: &[u8], context: &Context) -> Result<Option<Trust>> {
    let message = proto::Trust::decode(bytes).map_err(|error| undecodable(&error))?;
    same_name(name, &message.trust_domain)?;
    if message.trust_domain != context.trust_domain.to_string() {
        return Ok(None);
    }
    let mut roots = 0;
    for root in CertificateDer::pem_slice_iter(message.roots.as_bytes()) {
        root.map_err(|error| Invalid::new("roots", format!("it is no PEM: {error}")))?;
        roots += 1;
    }
    if roots == 0 {
        // Taken at its word, nobody would believe anybody any more.
        return Err(Invalid::new("roots", "there are none"));
    }
    if message.issuer_fingerprint.len() != FINGERPRINT {
        let length = message.issuer_fingerprint.len();
        return Err(Invalid::new("issuer_fingerprint", format!("it has {length} bytes, not {FINGERPRINT}")));
    }
    Ok(Some(Trust {
        domain: message.trust_domain,
        roots: message.roots,
        issuer: message.issuer,
        issuer_fingerprint: hex::encode(&message.issuer_fingerprint),
        step: message.step,
    }))
}
