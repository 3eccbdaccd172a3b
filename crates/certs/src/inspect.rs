//! Everything that a person wants to see of a certificate, a revocation list, a request or a key, as plain
//! values that serialise. The command line prints them; the linter and the dashboard read them.
//!
//! Text from the file is made safe for terminals; dates are RFC 3339 in UTC; identifiers are lower-case hex.

mod names;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use model::codes::{Code, Coded, certificates};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{DistributionPointName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Name;

use crate::verify::key_strength;
use crate::verify::reason::{printable, weak_signature};

pub use names::Name;

/// Something that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} cannot be understood: {detail}")]
pub struct InspectError {
    what: &'static str,
    detail: String,
}

impl Coded for InspectError {
    fn code(&self) -> &'static Code {
        match self.what {
            "revocation list" => &certificates::CRL_UNREADABLE,
            _ => &certificates::CERTIFICATE_UNREADABLE,
        }
    }
}

/// A certificate (RFC 5280).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whom it names, as `CN=..., O=...`.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The subject's common name, where there is one.
    pub common_name: Option<String>,
    /// Hex.
    pub serial: String,
    /// 1, 2 or 3.
    pub version: u32,
    /// Subject alternative names.
    pub names: Vec<Name>,
    /// The SPIFFE identity, when exactly one URI names one.
    pub spiffe_id: Option<String>,
    /// The public key, as `EC P-256` or `RSA 2048`.
    pub key: String,
    /// Why the key is not accepted, when it is not.
    pub key_weakness: Option<String>,
    /// The signature algorithm.
    pub signature: String,
    /// Whether that algorithm can be forged.
    pub signature_weak: bool,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// Seconds since 1970.
    #[serde(skip)]
    pub not_before_unix: i64,
    /// Seconds since 1970.
    #[serde(skip)]
    pub not_after_unix: i64,
    /// Basic constraints: a certificate authority.
    pub is_ca: bool,
    /// How many authorities may follow below this one.
    pub path_length: Option<u32>,
    /// Key usages by their names in RFC 5280.
    pub key_usage: Vec<String>,
    /// Extended key usages, by name or object identifier.
    pub extended_key_usage: Vec<String>,
    /// Name constraints: what it may issue.
    pub permitted: Vec<Name>,
    /// Name constraints: what it may not issue.
    pub excluded: Vec<Name>,
    /// Subject key identifier.
    pub subject_key_id: Option<String>,
    /// Authority key identifier.
    pub authority_key_id: Option<String>,
    /// Signed by its own name and key identifier.
    pub self_issued: bool,
    /// SHA-256 over the DER.
    pub fingerprint_sha256: String,
    /// SHA-1 over the DER, for old tools only.
    pub fingerprint_sha1: String,
    /// SHA-256 over the public key, base64: `curl --pinnedpubkey sha256//...`.
    pub spki_pin: String,
    /// How many certificate transparency logs signed for it.
    pub ct_logs: usize,
    /// Where its revocation list is.
    pub crl_urls: Vec<String>,
    /// Where its OCSP responder is.
    pub ocsp_urls: Vec<String>,
    /// Where its issuer's certificate is.
    pub issuer_urls: Vec<String>,
    /// Object identifiers of critical extensions that are not known.
    pub unknown_critical: Vec<String>,
    /// Extensions that are malformed, by object identifier.
    pub malformed: Vec<String>,
}

/// A revocation list (RFC 5280, section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevocationList {
    /// Who issued it.
    pub issuer: String,
    /// Its number, hex.
    pub number: Option<String>,
    /// RFC 3339.
    pub this_update: String,
    /// RFC 3339.
    pub next_update: Option<String>,
    /// Seconds since 1970.
    #[serde(skip)]
    pub next_update_unix: Option<i64>,
    /// The signature algorithm.
    pub signature: String,
    /// Identifier of the key that signed it.
    pub authority_key_id: Option<String>,
    /// What is revoked.
    pub revoked: Vec<Revoked>,
}

/// An entry of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// Hex.
    pub serial: String,
    /// RFC 3339.
    pub date: String,
    /// Why, by its name in RFC 5280.
    pub reason: Option<String>,
}

/// A certificate signing request (PKCS#10, RFC 2986).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Whom it wants to be.
    pub subject: String,
    /// Names that it asks for.
    pub names: Vec<Name>,
    /// The public key.
    pub key: String,
    /// Why the key is not accepted, when it is not.
    pub key_weakness: Option<String>,
    /// The signature algorithm.
    pub signature: String,
    /// Whether it asks to be an authority.
    pub wants_ca: bool,
    /// Key usages that it asks for.
    pub key_usage: Vec<String>,
    /// Extended key usages that it asks for.
    pub extended_key_usage: Vec<String>,
    /// SHA-256 over the public key, base64.
    pub spki_pin: String,
}

/// Reads a certificate (DER).
///
/// # Errors
///
/// [`InspectError`] when it is malformed. A malformed extension is listed in [`Certificate::malformed`].
pub fn certificate(der: &[u8]) -> Result<Certificate, InspectError> {
    let unreadable = |detail: String| InspectError { what: "certificate", detail };
    let (rest, cert) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
    if !rest.is_empty() {
        return Err(unreadable("data follows it".to_owned()));
    }
    let strength = key_strength(cert.public_key());
    let (from, until) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
    let mut seen = Certificate {
        subject: text(cert.subject()),
        issuer: text(cert.issuer()),
        common_name: cert
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .map(printable),
        serial: hex::encode(cert.raw_serial()),
        version: cert.version.0.saturating_add(1),
        key: strength.to_string(),
        key_weakness: strength.weakness,
        signature: algorithm(&cert.signature_algorithm.algorithm.to_id_string()),
        signature_weak: weak_signature(&cert).is_some(),
        not_before: date(from),
        not_after: date(until),
        not_before_unix: from,
        not_after_unix: until,
        fingerprint_sha256: fingerprint(der),
        fingerprint_sha1: hex::encode(digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der)),
        spki_pin: pin(cert.public_key().raw),
        ..Certificate::default()
    };
    for extension in cert.extensions() {
        seen.read(extension);
    }
    seen.self_issued = cert.subject().as_raw() == cert.issuer().as_raw()
        && (seen.authority_key_id.is_none() || seen.authority_key_id == seen.subject_key_id);
    let mut uris = seen.names.iter().filter_map(|name| match name {
        Name::Uri(uri) => Some(uri),
        _ => None,
    });
    if let (Some(uri), None) = (uris.next(), uris.next())
        && uri.starts_with("spiffe://")
    {
        seen.spiffe_id = Some(uri.clone());
    }
    Ok(seen)
}

impl Certificate {
    fn read(&mut self, extension: &X509Extension<'_>) {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                self.names = san.general_names.iter().map(Name::from).collect();
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => self.key_usage = names::key_usages(usage),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_key_usage = names::extended_key_usages(usage);
            }
            ParsedExtension::NameConstraints(constraints) => {
                let list = |subtrees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
                    subtrees.iter().flatten().map(|subtree| Name::constraint(&subtree.base)).collect()
                };
                self.permitted = list(&constraints.permitted_subtrees);
                self.excluded = list(&constraints.excluded_subtrees);
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(hex::encode(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| hex::encode(id.0));
            }
            ParsedExtension::SCT(list) => self.ct_logs = list.len(),
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in points.iter() {
                    if let Some(DistributionPointName::FullName(list)) = &point.distribution_point {
                        self.crl_urls.extend(list.iter().map(|name| Name::from(name).value().to_owned()));
                    }
                }
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                for description in access.iter() {
                    let url = Name::from(&description.access_location).value().to_owned();
                    match description.access_method.to_id_string().as_str() {
                        "1.3.6.1.5.5.7.48.1" => self.ocsp_urls.push(url),
                        "1.3.6.1.5.5.7.48.2" => self.issuer_urls.push(url),
                        _ => {}
                    }
                }
            }
            ParsedExtension::ParseError { .. } => self.malformed.push(extension.oid.to_id_string()),
            ParsedExtension::UnsupportedExtension { .. } if extension.critical => {
                self.unknown_critical.push(extension.oid.to_id_string());
            }
            _ => {}
        }
    }

    /// `expires in 3 days`, `expired 2 hours ago`, `valid in 5 minutes`; `now` in seconds since 1970.
    pub fn life(&self, now: i64) -> String {
        if now < self.not_before_unix {
            format!("not valid yet, valid in {}", span(self.not_before_unix - now))
        } else {
            expiry(self.not_after_unix, now)
        }
    }
}

/// Reads a revocation list (DER).
///
/// # Errors
///
/// [`InspectError`] when it is malformed.
pub fn revocation_list(der: &[u8]) -> Result<RevocationList, InspectError> {
    let (_, list) = CertificateRevocationList::from_der(der)
        .map_err(|error| InspectError { what: "revocation list", detail: error.to_string() })?;
    let next = list.next_update().map(|time| time.timestamp());
    Ok(RevocationList {
        issuer: text(list.issuer()),
        number: list.crl_number().map(|number| format!("{number:x}")),
        this_update: date(list.last_update().timestamp()),
        next_update: next.map(date),
        next_update_unix: next,
        signature: algorithm(&list.signature_algorithm.algorithm.to_id_string()),
        authority_key_id: crate::verify::reason::authority_key_id(list.extensions()).map(hex::encode),
        revoked: list
            .iter_revoked_certificates()
            .map(|entry| Revoked {
                serial: hex::encode(entry.raw_serial()),
                date: date(entry.revocation_date.timestamp()),
                reason: entry.reason_code().map(|(_, reason)| names::revocation_reason(reason.0).to_owned()),
            })
            .collect(),
    })
}

/// Reads a signing request (DER). Its signature is not checked here.
///
/// # Errors
///
/// [`InspectError`] when it is malformed.
pub fn request(der: &[u8]) -> Result<Request, InspectError> {
    let (_, csr) = X509CertificationRequest::from_der(der)
        .map_err(|error| InspectError { what: "request", detail: error.to_string() })?;
    let info = &csr.certification_request_info;
    let strength = key_strength(&info.subject_pki);
    let mut seen = Request {
        subject: text(&info.subject),
        names: Vec::new(),
        key: strength.to_string(),
        key_weakness: strength.weakness,
        signature: algorithm(&csr.signature_algorithm.algorithm.to_id_string()),
        wants_ca: false,
        key_usage: Vec::new(),
        extended_key_usage: Vec::new(),
        spki_pin: pin(info.subject_pki.raw),
    };
    for extension in csr.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(san) => {
                seen.names.extend(san.general_names.iter().map(Name::from));
            }
            ParsedExtension::BasicConstraints(constraints) => seen.wants_ca |= constraints.ca,
            ParsedExtension::KeyUsage(usage) => seen.key_usage = names::key_usages(usage),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                seen.extended_key_usage = names::extended_key_usages(usage);
            }
            _ => {}
        }
    }
    Ok(seen)
}

/// SHA-256 over a certificate (DER), lower-case hexadecimal: what `openssl x509 -fingerprint -sha256` shows.
pub fn fingerprint(der: &[u8]) -> String {
    hex::encode(digest(&aws_lc_rs::digest::SHA256, der))
}

/// SHA-256 over a SubjectPublicKeyInfo in base64: what `--pinnedpubkey sha256//` and RFC 7469 use.
pub fn pin(spki: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(digest(&aws_lc_rs::digest::SHA256, spki))
}

/// `expires in 3 days` or `expired 3 days ago`; both in seconds since 1970.
pub fn expiry(not_after: i64, now: i64) -> String {
    if now > not_after {
        format!("expired {} ago", span(now.saturating_sub(not_after)))
    } else {
        format!("expires in {}", span(not_after.saturating_sub(now)))
    }
}

/// A length of time in its largest sensible unit, rounded down: one does not promise more than there is.
fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds / 60, "minute"),
        7_200..=172_799 => (seconds / 3_600, "hour"),
        172_800..=63_071_999 => (seconds / 86_400, "day"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn text(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

fn digest(algorithm: &'static aws_lc_rs::digest::Algorithm, bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(algorithm, bytes).as_ref().to_vec()
}

/// A signature algorithm by its common name.
fn algorithm(oid: &str) -> String {
    let name = match oid {
        "1.2.840.113549.1.1.2" => "MD2 with RSA",
        "1.2.840.113549.1.1.4" => "MD5 with RSA",
        "1.2.840.113549.1.1.5" => "SHA-1 with RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.11" => "SHA-256 with RSA",
        "1.2.840.113549.1.1.12" => "SHA-384 with RSA",
        "1.2.840.113549.1.1.13" => "SHA-512 with RSA",
        "1.2.840.10045.4.1" => "SHA-1 with ECDSA",
        "1.2.840.10045.4.3.2" => "SHA-256 with ECDSA",
        "1.2.840.10045.4.3.3" => "SHA-384 with ECDSA",
        "1.2.840.10045.4.3.4" => "SHA-512 with ECDSA",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        other => other,
    };
    name.to_owned()
}
