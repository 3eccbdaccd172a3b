//! Is this chain good, at this time, for this purpose - and if not, precisely why not?
//!
//! The proxy asks for every handshake, `handfast cert verify` asks for a file. The path is built and its
//! signatures are checked by webpki; on top of it stand the checks that webpki leaves to its caller:
//! expired anchors, depth, weak keys, key usage. [`trust`] is what one believes in, [`reason`] turns a
//! failure into one of the stable codes of [`model::codes::refusals`]. Time is passed in: nothing here
//! reads a clock, a file or a socket.

pub mod reason;
mod strength;
pub mod trust;

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use model::codes::{Code, refusals};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use reason::{Alert, Rejection, classify};
pub use strength::{KeyStrength, key_strength};
pub use trust::{Trust, TrustError};

/// A chain longer than this many certificates is refused unread: nobody needs one, attackers like them.
pub const MAX_CHAIN: usize = 16;

/// What the certificate is to be used for (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client proves itself to a server (`clientAuth`).
    Client,
    /// A server proves itself to a client (`serverAuth`).
    Server,
}

/// What happens when it cannot be known whether a certificate was revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// Revocation lists are not looked at.
    #[default]
    Off,
    /// Each certificate of the path needs a list of its issuer that has not expired; else it is refused.
    Require,
    /// A missing or expired list lets the certificate pass, and [`Verified::revocation_unknown`] says so.
    /// A certificate on an expired list is still refused.
    FailOpen,
}

/// How a chain is verified.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// What the certificate is used for.
    pub purpose: Purpose,
    /// The time to verify at.
    pub now: UnixTime,
    /// How many intermediates may stand between the leaf and the anchor; `None` leaves it to webpki (6).
    pub depth: Option<usize>,
    /// What to do about revocation.
    pub revocation: Revocation,
    /// The name that the leaf must be valid for (servers only).
    pub name: Option<&'a ServerName<'a>>,
}

impl<'a> Options<'a> {
    /// A client's certificate, without looking at revocation lists.
    pub fn client(now: UnixTime) -> Self {
        Self { purpose: Purpose::Client, now, depth: None, revocation: Revocation::Off, name: None }
    }

    /// A server's certificate that must be valid for `name`, without looking at revocation lists.
    pub fn server(now: UnixTime, name: Option<&'a ServerName<'a>>) -> Self {
        Self { purpose: Purpose::Server, now, depth: None, revocation: Revocation::Off, name }
    }
}

/// A chain that was found good.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The intermediates of the path that was found, from the leaf's issuer upwards.
    pub intermediates: Vec<CertificateDer<'static>>,
    /// The trusted certificate that the path ends in.
    pub anchor: CertificateDer<'static>,
    /// Set when revocation could not be known and [`Revocation::FailOpen`] let it pass: log it at every use.
    pub revocation_unknown: Option<&'static Code>,
}

/// Verifies the chain that a peer sent, leaf first.
///
/// # Errors
///
/// A [`Rejection`] with the stable code of the reason, the evidence and the TLS alert to send.
pub fn verify(
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    options: &Options<'_>,
) -> Result<Verified, Rejection> {
    let Some((leaf, rest)) = chain.split_first() else {
        return Err(Rejection::new(&refusals::CLIENT_CERTIFICATE_MISSING, "no certificate was sent"));
    };
    if chain.len() > MAX_CHAIN {
        return Err(Rejection::new(
            &refusals::HANDSHAKE_TOO_LARGE,
            format!("{} certificates were sent, at most {MAX_CHAIN} are read", chain.len()),
        ));
    }
    let end = EndEntityCert::try_from(leaf).map_err(|error| reason::reject(&error, chain, trust, options))?;
    // The intermediates among the trusted ones complete the chain, and are checked like any other.
    let mut intermediates: Vec<CertificateDer<'_>> = rest.to_vec();
    intermediates.extend(trust.completing().iter().cloned());

    let verified = match options.revocation {
        Revocation::Off => attempt(&end, leaf, &intermediates, trust, options, None),
        Revocation::Require => with_lists(&end, leaf, &intermediates, trust, options, Lists::Strict),
        Revocation::FailOpen => match with_lists(&end, leaf, &intermediates, trust, options, Lists::Strict) {
            Err(Failure::Path(error)) if reason::is_unknown_revocation(&error) => {
                let code = classify(&error);
                with_lists(&end, leaf, &intermediates, trust, options, Lists::Lenient)
                    .map(|verified| Verified { revocation_unknown: Some(code), ..verified })
            }
            other => other,
        },
    }
    .map_err(|failure| match failure {
        Failure::Path(error) => reason::reject(&error, chain, trust, options),
        Failure::Check(rejection) => rejection.about(leaf),
    })?;
    if let Some(name) = options.name {
        end.verify_is_valid_for_subject_name(name)
            .map_err(|error| reason::reject(&error, chain, trust, options))?;
    }
    Ok(verified)
}

/// [`verify`] for a client's certificate: the purpose of `options` is set to [`Purpose::Client`].
///
/// # Errors
///
/// As [`verify`].
pub fn verify_client(
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    options: &Options<'_>,
) -> Result<Verified, Rejection> {
    verify(chain, trust, &Options { purpose: Purpose::Client, name: None, ..options.clone() })
}

/// Why one attempt failed.
enum Failure {
    /// webpki says so.
    Path(webpki::Error),
    /// A check of our own says so.
    Check(Rejection),
}

/// How strictly revocation lists are used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    Strict,
    Lenient,
}

/// Verifies with revocation lists. webpki takes the first list of an issuer's name, so when two
/// authorities share a name (a CA that was rekeyed), each choice of one list per name is tried.
fn with_lists(
    end: &EndEntityCert<'_>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    trust: &Trust,
    options: &Options<'_>,
    lists: Lists,
) -> Result<Verified, Failure> {
    use webpki::Error::{InvalidCrlSignatureForPublicKey, InvalidSignatureForPublicKey};
    let mut first = None;
    for choice in trust.crl_choices() {
        match attempt(end, leaf, intermediates, trust, options, Some((&choice, lists))) {
            // The namesake's key or list: webpki tells only one of the errors of the paths that it tried.
            Err(Failure::Path(error @ (InvalidCrlSignatureForPublicKey | InvalidSignatureForPublicKey))) => {
                first.get_or_insert(error);
            }
            outcome => return outcome,
        }
    }
    match lists {
        Lists::Strict if first.is_none() => {
            // Without any list the path itself must be good before revocation is what is wrong with it.
            attempt(end, leaf, intermediates, trust, options, None)?;
            Err(Failure::Path(webpki::Error::UnknownRevocationStatus))
        }
        Lists::Strict => Err(Failure::Path(first.unwrap_or(webpki::Error::UnknownRevocationStatus))),
        Lists::Lenient => attempt(end, leaf, intermediates, trust, options, None),
    }
}

fn attempt(
    end: &EndEntityCert<'_>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    trust: &Trust,
    options: &Options<'_>,
    lists: Option<(&[&CertRevocationList<'static>], Lists)>,
) -> Result<Verified, Failure> {
    let revocation = match lists {
        None => None,
        Some((crls, lists)) => {
            let strict = lists == Lists::Strict;
            let builder = RevocationOptionsBuilder::new(crls)
                .map_err(|_| Failure::Path(webpki::Error::UnknownRevocationStatus))?;
            Some(
                builder
                    .with_depth(RevocationCheckDepth::Chain)
                    .with_status_policy(if strict {
                        UnknownStatusPolicy::Deny
                    } else {
                        UnknownStatusPolicy::Allow
                    })
                    .with_expiration_policy(if strict {
                        ExpirationPolicy::Enforce
                    } else {
                        ExpirationPolicy::Ignore
                    })
                    .build(),
            )
        }
    };
    let usage = match options.purpose {
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::Server => KeyUsage::server_auth(),
    };
    // What one of our own checks found; webpki's error type has no room for it.
    let found: RefCell<Option<Rejection>> = RefCell::new(None);
    let check = |path: &VerifiedPath<'_>| {
        check_path(path, leaf, trust, options).map_err(|rejection| {
            found.borrow_mut().get_or_insert(rejection);
            webpki::Error::UnknownIssuer
        })
    };
    let path = end
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            trust.anchors(),
            intermediates,
            options.now,
            usage,
            revocation,
            Some(&check),
        )
        .map_err(|error| match (error, found.take()) {
            (webpki::Error::UnknownIssuer, Some(rejection)) => Failure::Check(rejection),
            (error, _) => Failure::Path(error),
        })?;
    let anchor = trust.certificate_of(path.anchor());
    Ok(Verified {
        intermediates: path.intermediate_certificates().map(|cert| cert.der().into_owned()).collect(),
        anchor: anchor.cloned().unwrap_or_else(|| CertificateDer::from(Vec::new())),
        revocation_unknown: None,
    })
}

/// What webpki leaves to its caller, on one candidate path.
fn check_path(
    path: &VerifiedPath<'_>,
    leaf: &CertificateDer<'_>,
    trust: &Trust,
    options: &Options<'_>,
) -> Result<(), Rejection> {
    check_end(leaf)?;
    let mut depth = 0;
    for issuer in path.intermediate_certificates() {
        depth += 1;
        check_issuer(&issuer.der())?;
    }
    if let Some(allowed) = options.depth
        && depth > allowed
    {
        return Err(Rejection::new(
            &refusals::PATH_TOO_LONG,
            format!("{depth} intermediates stand below the root, {allowed} are allowed here"),
        ));
    }
    trust.check_anchor(path.anchor(), options.now)
}

/// The leaf's key must be strong, and it must be meant to sign handshakes: TLS 1.3 and the ECDHE suites
/// of TLS 1.2 need digitalSignature when there is a key usage (RFC 8446, section 4.4.2.2).
fn check_end(der: &[u8]) -> Result<(), Rejection> {
    let cert = parsed(der)?;
    strength::require(&cert)?;
    match cert.key_usage() {
        Ok(Some(usage)) if !usage.value.digital_signature() => Err(Rejection::new(
            &refusals::WRONG_USAGE,
            "its key usage does not allow it to sign (digitalSignature is missing)",
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(malformed(&error)),
    }
}

/// An issuer's key must be strong, and its key usage, when there is one, must allow signing certificates.
fn check_issuer(der: &[u8]) -> Result<(), Rejection> {
    let cert = parsed(der)?;
    strength::require(&cert)?;
    match cert.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => Err(Rejection::new(
            &refusals::UNKNOWN_ISSUER,
            format!("the key usage of its issuer {} does not allow signing certificates", cert.subject()),
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(malformed(&error)),
    }
}

fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, Rejection> {
    match X509Certificate::from_der(der) {
        Ok(([], cert)) => Ok(cert),
        Ok(_) => Err(Rejection::new(&refusals::BAD_CERTIFICATE, "data follows the certificate")),
        Err(error) => Err(malformed(&error)),
    }
}

fn malformed(error: &impl std::fmt::Display) -> Rejection {
    Rejection::new(&refusals::BAD_CERTIFICATE, format!("it cannot be understood: {error}"))
}
