//! From a failed verification to one stable code, with the evidence that lets a person check the claim.
//!
//! webpki says what stopped it; which of several true statements helps most is decided here. Trust comes
//! first: a stranger's certificate that also expired is a stranger's.

use std::collections::HashSet;

use model::codes::{Code, Coded, refusals};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use webpki::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

use super::{Options, Trust, strength};

/// The TLS alert that tells the peer as much as it may know (RFC 8446, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// bad_certificate(42); `rustls::CertificateError::BadEncoding` sends it.
    BadCertificate,
    /// unsupported_certificate(43); `rustls::CertificateError::InvalidPurpose`.
    UnsupportedCertificate,
    /// certificate_revoked(44); `rustls::CertificateError::Revoked`.
    CertificateRevoked,
    /// certificate_expired(45); `rustls::CertificateError::Expired`.
    CertificateExpired,
    /// unknown_ca(48); `rustls::CertificateError::UnknownIssuer`.
    UnknownCa,
    /// decrypt_error(51); `rustls::CertificateError::BadSignature`.
    DecryptError,
    /// certificate_required(116).
    CertificateRequired,
}

/// A certificate that is not accepted, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct Rejection {
    /// The stable reason, of [`model::codes::refusals`].
    pub code: &'static Code,
    /// One sentence about this very case. Names and dates from the certificate, never a PEM.
    pub what: String,
    /// Facts: subject, issuer, serial, dates.
    pub evidence: Vec<(&'static str, String)>,
}

impl Coded for Rejection {
    fn code(&self) -> &'static Code {
        self.code
    }

    fn evidence(&self) -> Vec<(&'static str, String)> {
        self.evidence.clone()
    }
}

impl Rejection {
    pub(super) fn new(code: &'static Code, what: impl std::fmt::Display) -> Self {
        Self { code, what: what.to_string(), evidence: Vec::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.evidence.push((name, printable(&value.to_string())));
        self
    }

    /// Adds who the certificate says it is.
    pub(super) fn about(self, leaf: &[u8]) -> Self {
        let Ok((_, cert)) = X509Certificate::from_der(leaf) else { return self };
        self.with("subject", cert.subject())
            .with("issuer", cert.issuer())
            .with("serial", cert.raw_serial_as_string())
    }

    /// What the peer is told.
    pub fn alert(&self) -> Alert {
        match self.code.id {
            id if id == refusals::CLIENT_CERTIFICATE_MISSING.id => Alert::CertificateRequired,
            id if id == refusals::CERTIFICATE_REVOKED.id => Alert::CertificateRevoked,
            id if id == refusals::CERTIFICATE_EXPIRED.id || id == refusals::CERTIFICATE_NOT_YET_VALID.id => {
                Alert::CertificateExpired
            }
            id if id == refusals::UNKNOWN_ISSUER.id
                || id == refusals::INTERMEDIATE_MISSING.id
                || id == refusals::PATH_TOO_LONG.id
                || id == refusals::REVOCATION_UNKNOWN.id
                || id == refusals::REVOCATION_STALE.id =>
            {
                Alert::UnknownCa
            }
            id if id == refusals::WRONG_USAGE.id
                || id == refusals::CA_AS_LEAF.id
                || id == refusals::WEAK_KEY.id
                || id == refusals::WEAK_SIGNATURE.id
                || id == refusals::X509_V1.id =>
            {
                Alert::UnsupportedCertificate
            }
            id if id == refusals::BAD_SIGNATURE.id => Alert::DecryptError,
            _ => Alert::BadCertificate,
        }
    }
}

/// The code for what webpki found. Pure, and without a look at the chain: [`super::verify`] knows more,
/// and says for example that an intermediate is missing where this can only say that the issuer is unknown.
pub fn classify(error: &Error) -> &'static Code {
    #[allow(deprecated)] // webpki still has the old variants, and an error may come from anywhere.
    match error {
        Error::CertExpired { .. } => &refusals::CERTIFICATE_EXPIRED,
        Error::CertNotValidYet { .. } => &refusals::CERTIFICATE_NOT_YET_VALID,
        Error::CertNotValidForName(_) => &refusals::SERVER_NAME_MISMATCH,
        Error::CertRevoked => &refusals::CERTIFICATE_REVOKED,
        Error::CrlExpired { .. } => &refusals::REVOCATION_STALE,
        Error::UnknownRevocationStatus
        | Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlSignatureAlgorithm
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKey
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | Error::InvalidCrlNumber
        | Error::UnsupportedCrlIssuingDistributionPoint
        | Error::UnsupportedCrlVersion
        | Error::UnsupportedDeltaCrl
        | Error::UnsupportedIndirectCrl
        | Error::UnsupportedRevocationReason
        | Error::UnsupportedRevocationReasonsPartitioning => &refusals::REVOCATION_UNKNOWN,
        Error::UnknownIssuer | Error::EndEntityUsedAsCa | Error::CertDistrusted => &refusals::UNKNOWN_ISSUER,
        Error::CaUsedAsEndEntity => &refusals::CA_AS_LEAF,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => &refusals::PATH_TOO_LONG,
        Error::NameConstraintViolation => &refusals::NAME_CONSTRAINT,
        Error::RequiredEkuNotFound | Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            &refusals::WRONG_USAGE
        }
        Error::UnsupportedSignatureAlgorithm | Error::UnsupportedSignatureAlgorithmContext(_) => {
            &refusals::WEAK_SIGNATURE
        }
        Error::UnsupportedSignatureAlgorithmForPublicKey
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => &refusals::WEAK_KEY,
        Error::InvalidSignatureForPublicKey => &refusals::BAD_SIGNATURE,
        Error::UnsupportedCertVersion => &refusals::X509_V1,
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => &refusals::HANDSHAKE_TOO_LARGE,
        _ => &refusals::BAD_CERTIFICATE,
    }
}

/// Whether the error says no more than that revocation cannot be known.
pub(super) fn is_unknown_revocation(error: &Error) -> bool {
    let code = classify(error);
    code == &refusals::REVOCATION_UNKNOWN || code == &refusals::REVOCATION_STALE
}

/// webpki's error as a sentence.
pub fn in_words(error: &Error) -> String {
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => {
            "its DER encoding is malformed".to_owned()
        }
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not known".to_owned(),
        Error::MalformedExtensions | Error::ExtensionValueInvalid => "an extension is malformed".to_owned(),
        Error::InvalidCertValidity => "its validity ends before it begins".to_owned(),
        Error::InvalidSerialNumber => "its serial number is malformed".to_owned(),
        Error::UnsupportedDeltaCrl => "delta lists are not supported; give the full list".to_owned(),
        Error::UnsupportedIndirectCrl => {
            "lists of another issuer (indirect CRL) are not supported".to_owned()
        }
        Error::UnsupportedCrlVersion => "it is not a version 2 list".to_owned(),
        other => other.to_string(),
    }
}

/// The rejection for webpki's error on this chain.
pub(super) fn reject(
    error: &Error,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    options: &Options<'_>,
) -> Rejection {
    let Some(leaf_der) = chain.first() else {
        return Rejection::new(&refusals::CLIENT_CERTIFICATE_MISSING, "no certificate was sent");
    };
    let Ok(([], leaf)) = X509Certificate::from_der(leaf_der) else {
        return Rejection::new(&refusals::BAD_CERTIFICATE, "its DER encoding is malformed");
    };
    let sent = parse_all(chain);
    let (code, what) = match reach(&leaf, &sent, trust) {
        Reach::Anchored => anchored(error, &leaf, &sent, trust, options),
        // The encoding comes before trust: what cannot be read cannot be called a stranger.
        _ if is_malformed(error) => (&refusals::BAD_CERTIFICATE, in_words(error)),
        Reach::Missing(intermediate) => (
            &refusals::INTERMEDIATE_MISSING,
            format!("the peer did not send its intermediate {intermediate}"),
        ),
        Reach::SelfSigned => (&refusals::UNKNOWN_ISSUER, "it is signed by itself and not trusted".to_owned()),
        Reach::SameName(issuer) => (
            &refusals::UNKNOWN_ISSUER,
            format!(
                "it is signed by another authority that is also named {issuer}: its key is not the trusted one"
            ),
        ),
        Reach::Stranger(issuer) => {
            (&refusals::UNKNOWN_ISSUER, format!("its authority {issuer} is not trusted here"))
        }
    };
    let rejection = Rejection::new(code, printable(&what)).about(leaf_der);
    detail(rejection, error, &leaf)
}

/// The code when the names lead to a trusted authority.
fn anchored(
    error: &Error,
    leaf: &X509Certificate<'_>,
    sent: &[X509Certificate<'_>],
    trust: &Trust,
    options: &Options<'_>,
) -> (&'static Code, String) {
    let code = classify(error);
    let what = match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => sent
            .iter()
            .find_map(|cert| check_dates(cert, options.now).err())
            .map_or_else(|| code.title.to_owned(), |found| found.what),
        Error::InvalidSignatureForPublicKey => return bad_signature(leaf, sent, trust),
        Error::UnsupportedCertVersion => match sent.iter().find(|cert| cert.version.0 != 2) {
            Some(cert) => {
                format!("{} is an X.509 version {} certificate", cert.subject(), cert.version.0 + 1)
            }
            None => return (&refusals::BAD_CERTIFICATE, "its version field is malformed".to_owned()),
        },
        Error::EndEntityUsedAsCa => {
            format!("its issuer {} is not a certificate authority", leaf.issuer())
        }
        Error::CertNotValidForName(context) => {
            let name = context.expected.to_str();
            if context.presented.is_empty() {
                format!("the certificate is not valid for {name}, nor for any other name (it has no SAN)")
            } else {
                format!("the certificate is not valid for {name}")
            }
        }
        _ if code == &refusals::WEAK_SIGNATURE => {
            match sent.iter().find(|cert| weak_signature(cert).is_some()) {
                Some(cert) => format!(
                    "{} is signed with {}",
                    cert.subject(),
                    weak_signature(cert).unwrap_or("an unknown algorithm")
                ),
                None => "it is signed with an algorithm that is not accepted".to_owned(),
            }
        }
        _ if code == &refusals::BAD_CERTIFICATE => in_words(error),
        _ => code.title.to_owned(),
    };
    (code, what)
}

/// A signature that does not fit: a weak key that is not even tried, a namesake, or tampering.
fn bad_signature(
    leaf: &X509Certificate<'_>,
    sent: &[X509Certificate<'_>],
    trust: &Trust,
) -> (&'static Code, String) {
    let anchors = parse_all(trust.roots());
    let completing = parse_all(trust.completing());
    let issuers = || anchors.iter().chain(&completing).chain(sent.get(1..).unwrap_or_default());
    for child in sent.iter().chain(&completing) {
        for issuer in issuers().filter(|issuer| may_have_issued(issuer, child)) {
            if let Err(weak) = strength::require(issuer) {
                return (weak.code, weak.what);
            }
        }
    }
    let identified = authority_key_id(leaf.extensions()).is_some();
    if identified {
        return (
            &refusals::BAD_SIGNATURE,
            "the signature of a certificate in its chain does not fit: it was altered".to_owned(),
        );
    }
    (
        &refusals::UNKNOWN_ISSUER,
        format!("it names {} as its authority, but that one's key did not sign it", leaf.issuer()),
    )
}

/// How far the chain's names lead.
enum Reach {
    Anchored,
    /// To an intermediate that exists, but was not sent.
    Missing(String),
    SelfSigned,
    /// To a name that is trusted with another key.
    SameName(String),
    Stranger(String),
}

fn reach(leaf: &X509Certificate<'_>, sent: &[X509Certificate<'_>], trust: &Trust) -> Reach {
    let anchors = parse_all(trust.roots());
    let completing = parse_all(trust.completing());
    let known = parse_all(trust.known());
    let leads_to = |anchor: &X509Certificate<'_>, child: &X509Certificate<'_>| {
        if is_self_signed(child) {
            anchor.public_key().raw == child.public_key().raw
        } else {
            may_have_issued(anchor, child)
        }
    };
    let (mut frontier, mut seen) = (vec![leaf], HashSet::from([leaf.public_key().raw]));
    let (mut missing, mut last) = (None, leaf);
    while let Some(child) = frontier.pop() {
        last = child;
        if anchors.iter().any(|anchor| leads_to(anchor, child)) {
            return Reach::Anchored;
        }
        let next = sent.iter().chain(&completing).filter(|cert| may_have_issued(cert, child));
        frontier.extend(next.filter(|cert| seen.insert(cert.public_key().raw)));
        if let Some(intermediate) = known.iter().find(|cert| may_have_issued(cert, child)) {
            missing.get_or_insert_with(|| intermediate.subject().to_string());
        } else if trust.lists(child.issuer().as_raw())
            && !sent.iter().chain(&completing).any(|cert| may_have_issued(cert, child))
        {
            missing.get_or_insert_with(|| child.issuer().to_string());
        }
    }
    match missing {
        Some(name) => Reach::Missing(name),
        None if anchors.iter().any(|anchor| anchor.subject().as_raw() == last.issuer().as_raw()) => {
            Reach::SameName(last.issuer().to_string())
        }
        None if is_self_signed(leaf) => Reach::SelfSigned,
        None => Reach::Stranger(last.issuer().to_string()),
    }
}

/// Whether a certificate speaks for itself alone. A key rollover (RFC 4210, section 4.4) has equal names
/// too, but names the other key.
fn is_self_signed(cert: &X509Certificate<'_>) -> bool {
    cert.subject().as_raw() == cert.issuer().as_raw()
        && match (subject_key_id(cert.extensions()), authority_key_id(cert.extensions())) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        }
}

/// Whether the names, and the key identifiers where both are given, allow that one issued the other.
pub(super) fn may_have_issued(issuer: &X509Certificate<'_>, child: &X509Certificate<'_>) -> bool {
    if issuer.subject().as_raw() != child.issuer().as_raw() {
        return false;
    }
    match (subject_key_id(issuer.extensions()), authority_key_id(child.extensions())) {
        (Some(own), Some(named)) => own == named,
        _ => true,
    }
}

fn subject_key_id<'a>(extensions: &'a [X509Extension<'a>]) -> Option<&'a [u8]> {
    extensions.iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

pub(crate) fn authority_key_id<'a>(extensions: &'a [X509Extension<'a>]) -> Option<&'a [u8]> {
    extensions.iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}

/// The name of a signature algorithm that can be forged (SHA-1, MD5, MD2).
pub fn weak_signature(cert: &X509Certificate<'_>) -> Option<&'static str> {
    match cert.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.2" => Some("MD2 with RSA"),
        "1.2.840.113549.1.1.4" => Some("MD5 with RSA"),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => Some("SHA-1 with RSA"),
        "1.2.840.10045.4.1" => Some("SHA-1 with ECDSA"),
        "1.2.840.10040.4.3" => Some("SHA-1 with DSA"),
        _ => None,
    }
}

/// Refuses a certificate outside of its dates. Both ends are inclusive (RFC 5280, section 4.1.2.5).
pub(super) fn check_dates(cert: &X509Certificate<'_>, now: UnixTime) -> Result<(), Rejection> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = cert.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if now < from {
        let what = format!("{} is not valid before {}", cert.subject(), date(from));
        return Err(Rejection::new(&refusals::CERTIFICATE_NOT_YET_VALID, printable(&what)));
    }
    if now > until {
        let what = format!("{} expired at {}", cert.subject(), date(until));
        return Err(Rejection::new(&refusals::CERTIFICATE_EXPIRED, printable(&what)));
    }
    Ok(())
}

fn is_malformed(error: &Error) -> bool {
    classify(error) == &refusals::BAD_CERTIFICATE
}

fn parse_all<'a>(ders: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    ders.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, cert)| cert)).collect()
}

/// Adds the facts that belong to the error.
fn detail(rejection: Rejection, error: &Error, leaf: &X509Certificate<'_>) -> Rejection {
    match error {
        Error::CertExpired { time, .. } | Error::CertNotValidYet { time, .. } => rejection
            .with("not before", date(leaf.validity().not_before.timestamp()))
            .with("not after", date(leaf.validity().not_after.timestamp()))
            .with("verified at", date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))),
        Error::CrlExpired { next_update, .. } => {
            rejection.with("next update", date(i64::try_from(next_update.as_secs()).unwrap_or(i64::MAX)))
        }
        Error::CertNotValidForName(_) => rejection.with("valid for", names_of(leaf)),
        _ => rejection,
    }
}

/// The names that a certificate is valid for.
fn names_of(cert: &X509Certificate<'_>) -> String {
    let names = match cert.subject_alternative_name() {
        Ok(Some(san)) => &san.value.general_names,
        _ => return "no name (it has no SAN)".to_owned(),
    };
    let names: Vec<String> = names.iter().map(|name| crate::inspect::Name::from(name).to_string()).collect();
    names.join(", ")
}

/// Seconds since 1970 as `2026-11-24T03:15:00Z`.
fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// Text from a certificate, fit for a log line and a terminal: no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    let mut clean: String = text.chars().map(|c| if hides(c) { '\u{fffd}' } else { c }).take(512).collect();
    if text.chars().nth(512).is_some() {
        clean.push('…');
    }
    clean
}

/// Control characters, and those that turn the direction of writing so that a name reads as another.
fn hides(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
