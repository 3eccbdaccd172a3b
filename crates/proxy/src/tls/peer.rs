//! From a chain of certificates to [`Peer`]: who the other end says it is.

use std::sync::Arc;

use certs::verify::Rejection;
use model::codes::refusals;
use model::peer::{Peer, Verification};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::distinguished_name::rfc2253;
use crate::policy::sha256;

/// Describes the end whose chain this is, leaf first. What cannot be read stays empty; such a certificate is
/// never believed.
pub fn describe(chain: &[CertificateDer<'_>], verification: Verification) -> Peer {
    let leaf = chain.first().map(AsRef::<[u8]>::as_ref).unwrap_or_default();
    let mut sha1 = [0; 20];
    sha1.copy_from_slice(
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, leaf).as_ref(),
    );
    let mut peer = Peer {
        verification,
        subject: String::new(),
        issuer: String::new(),
        serial: String::new(),
        dns: Vec::new(),
        uris: Vec::new(),
        emails: Vec::new(),
        sha256: hex::encode(sha256([leaf])),
        sha1: hex::encode(sha1),
        not_before: 0,
        not_after: 0,
        chain: chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>().into(),
    };
    let Ok((_, cert)) = X509Certificate::from_der(leaf) else { return peer };
    peer.subject = rfc2253(cert.subject());
    peer.issuer = rfc2253(cert.issuer());
    peer.serial = serial(cert.raw_serial());
    peer.not_before = cert.validity().not_before.timestamp();
    peer.not_after = cert.validity().not_after.timestamp();
    if let Ok(Some(names)) = cert.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(name) => peer.dns.push(name.to_ascii_lowercase()),
                GeneralName::URI(uri) => peer.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(email) => peer.emails.push((*email).to_owned()),
                _ => {}
            }
        }
    }
    peer
}

/// The serial number as upper-case hexadecimal, without the sign's leading zero.
fn serial(raw: &[u8]) -> String {
    let digits = match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    hex::encode_upper(digits)
}

/// The end of a certificate's validity, seconds since 1970.
pub(crate) fn not_after(der: &[u8]) -> Option<i64> {
    X509Certificate::from_der(der).ok().map(|(_, cert)| cert.validity().not_after.timestamp())
}

/// The end of a certificate's validity, if `now` lies within it. For pinned certificates, of which nothing
/// else is asked.
pub(crate) fn require_dates(der: &[u8], now: i64) -> Result<i64, Rejection> {
    let refuse = |code, what: String| Err(Rejection { code, what, evidence: Vec::new() });
    let Ok((_, cert)) = X509Certificate::from_der(der) else {
        return refuse(&refusals::BAD_CERTIFICATE, "its DER encoding is malformed".to_owned());
    };
    let (from, until) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
    if now < from {
        return refuse(
            &refusals::CERTIFICATE_NOT_YET_VALID,
            "the pinned certificate is not valid yet".to_owned(),
        );
    }
    if now > until {
        return refuse(&refusals::CERTIFICATE_EXPIRED, "the pinned certificate has expired".to_owned());
    }
    Ok(until)
}

/// Shares one description.
pub(crate) fn shared(chain: &[CertificateDer<'_>], verification: Verification) -> Arc<Peer> {
    Arc::new(describe(chain, verification))
}
