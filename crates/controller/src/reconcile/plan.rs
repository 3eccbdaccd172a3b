//! What has to be done about a Secret: nothing, other files beside the same certificate, or a new certificate.
//! Pure, so that the same Secret gives the same answer however often and wherever it is asked: a controller that is
//! killed and starts again issues nothing for nothing.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use time::OffsetDateTime;

use super::content::{self, KEYS};
use super::pair::Pair;
use super::wanted::Wanted;
use crate::authority::State;
use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::names::{MANAGED_LABEL, secret as annotation};

#[cfg(test)]
mod tests;

/// What has to be done.
#[derive(Debug)]
pub enum Plan {
    /// Everything is as it should be.
    Keep(Box<Pair>),
    /// The certificate is good, something beside it is not.
    Write(Box<Pair>, String),
    /// A new certificate and key.
    Issue(Why),
}

/// Why a certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// For metrics.
    pub label: &'static str,
    /// For people.
    pub text: String,
    /// Whether there was one before, that is: it is a renewal.
    pub again: bool,
}

/// Decides.
///
/// # Errors
///
/// When the Secret is somebody else's, or of a type that cannot be changed.
pub fn plan(
    certificate: &Certificate,
    found: Option<&Secret>,
    wanted: &Wanted,
    authority: &State,
    now: OffsetDateTime,
) -> Result<Plan> {
    let issue = |label, text: String, again| Ok(Plan::Issue(Why { label, text, again }));
    let Some(found) = found else {
        return issue("missing", "there is no Secret yet".to_owned(), false);
    };
    check_owner(certificate, found)?;
    let empty = BTreeMap::new();
    let data = found.data.as_ref().unwrap_or(&empty);
    let pair = match Pair::read(data) {
        Ok(pair) => pair,
        Err(what) => return issue("damaged", format!("the Secret {what}"), true),
    };
    let (active, _) = authority.active()?;
    let Some(leaf) = pair.chain.first() else {
        return issue("damaged", "the Secret holds no certificate".to_owned(), true);
    };
    match authority.issuer_of(leaf) {
        Some(issuer) if issuer.name == active.name => {}
        Some(issuer) => {
            return issue("rotated", format!("{} issues in place of {}", active.name, issuer.name), true);
        }
        None => return issue("foreign", "no authority of ours signed the certificate".to_owned(), true),
    }
    if authority.revocations.contains_key(&pair.serial) {
        return issue("revoked", format!("certificate {} was revoked", pair.serial), true);
    }
    let mut names = wanted.names_text();
    names.sort_unstable();
    if names != pair.names {
        return issue("names", format!("the names changed from {}", pair.names.join(" ")), true);
    }
    if pair.usage != Some(wanted.usage) {
        return issue("usage", format!("the usage changed to {}", wanted.usage), true);
    }
    if pair.kind() != wanted.key {
        return issue("key", format!("the kind of key changed from {} to {}", pair.kind(), wanted.key), true);
    }
    let lifetime = found.metadata.annotations.as_ref().and_then(|all| all.get(annotation::LIFETIME));
    // Without the annotation nothing is known of the wish that the certificate came from; it is put back below.
    if lifetime.is_some_and(|text| *text != content::lifetime(wanted)) {
        return issue("lifetime", "the lifetime changed".to_owned(), true);
    }
    if pair.not_after <= now {
        return issue(
            "expired",
            format!("the certificate expired at {}", certs::rfc3339(pair.not_after)),
            true,
        );
    }
    if now < pair.not_before {
        return issue("early", "the certificate is not valid yet: a clock was wrong".to_owned(), true);
    }
    if pair.renew_at() <= now {
        return issue(
            "due",
            format!("two thirds of its life are over, it ends {}", certs::rfc3339(pair.not_after)),
            true,
        );
    }
    let pair = Box::new(pair);
    match beside(certificate, found, data, wanted, authority, &pair)? {
        Some(what) => Ok(Plan::Write(pair, what)),
        None => Ok(Plan::Keep(pair)),
    }
}

/// The pair of a Secret whose trust bundle changed, where its certificate is one of ours, whatever else is the matter
/// with it: verifiers have to know the new root also while nothing can be issued, for the old one has ended.
///
/// # Errors
///
/// When the Secret is somebody else's.
pub fn stale_bundle(
    certificate: &Certificate,
    found: &Secret,
    authority: &State,
) -> Result<Option<Box<Pair>>> {
    check_owner(certificate, found)?;
    let empty = BTreeMap::new();
    let data = found.data.as_ref().unwrap_or(&empty);
    let bundle = authority.trust_bundle_pem();
    if data.get("ca.crt").is_some_and(|value| value.0 == bundle.as_bytes()) {
        return Ok(None);
    }
    let ours = |pair: &Pair| pair.chain.first().is_some_and(|leaf| authority.issuer_of(leaf).is_some());
    Ok(Pair::read(data).ok().filter(ours).map(Box::new))
}

/// A Secret is ours when our label and the Certificate's name are on it. What is not ours is never written to.
/// Whether a Secret may be written for this Certificate.
///
/// # Errors
///
/// Why not: somebody else's Secret is left as it is.
pub fn check_owner(certificate: &Certificate, found: &Secret) -> Result<()> {
    let namespace = certificate.metadata.namespace.as_deref().unwrap_or_default();
    let name = format!("{namespace}/{}", certificate.spec.secret_name);
    let foreign = |reason: &str| Err(Error::SecretForeign { name: name.clone(), reason: reason.to_owned() });
    let label = found.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_LABEL));
    if label.map(String::as_str) != Some("true") {
        return foreign(&format!(
            "it does not have the label {MANAGED_LABEL}=true, so somebody else made it"
        ));
    }
    let of = found.metadata.annotations.as_ref().and_then(|all| all.get(annotation::CERTIFICATE));
    match of {
        Some(of) if Some(of) == certificate.metadata.name.as_ref() => {}
        Some(of) => return foreign(&format!("it belongs to the Certificate {of}")),
        None => return foreign(&format!("it does not say in {} whose it is", annotation::CERTIFICATE)),
    }
    // A Secret cannot change its type.
    match found.type_.as_deref() {
        Some("kubernetes.io/tls") => Ok(()),
        other => foreign(&format!(
            "it has the type {}, and kubernetes.io/tls is needed",
            other.unwrap_or("Opaque")
        )),
    }
}

/// What is wrong beside the certificate.
fn beside(
    certificate: &Certificate,
    found: &Secret,
    data: &BTreeMap<String, ByteString>,
    wanted: &Wanted,
    authority: &State,
    pair: &Pair,
) -> Result<Option<String>> {
    let is = |key: &str, text: &str| data.get(key).is_some_and(|value| value.0 == text.as_bytes());
    let bundle = authority.trust_bundle_pem();
    if !is("ca.crt", &bundle) {
        return Ok(Some("the trust bundle changed".to_owned()));
    }
    if !is("tls.crt", &content::chain_pem(pair, authority)?) {
        return Ok(Some("its intermediates changed".to_owned()));
    }
    let expected = content::keys(wanted);
    for key in KEYS {
        match (expected.contains(&key), data.contains_key(key)) {
            (true, false) => return Ok(Some(format!("{key} is missing"))),
            (false, true) => return Ok(Some(format!("{key} is not asked for any more"))),
            _ => {}
        }
    }
    if let Some(what) = content::stale_form(data, wanted, authority, pair)? {
        return Ok(Some(format!("{what} does not hold the present certificate, trust bundle or password")));
    }
    let meta = content::metadata(certificate, wanted, authority, pair, content::revision(found));
    let has = |have: &Option<BTreeMap<String, String>>, want: &Option<BTreeMap<String, String>>| {
        want.iter().flatten().all(|(key, value)| have.as_ref().and_then(|have| have.get(key)) == Some(value))
    };
    let owned = meta
        .owner_references
        .iter()
        .flatten()
        .all(|want| found.metadata.owner_references.iter().flatten().any(|have| have.uid == want.uid));
    if !owned
        || !has(&found.metadata.labels, &meta.labels)
        || !has(&found.metadata.annotations, &meta.annotations)
    {
        return Ok(Some("its labels, annotations or owner changed".to_owned()));
    }
    Ok(None)
}
