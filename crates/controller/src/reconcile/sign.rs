//! Signs a leaf: a new key, the names that were granted, and a life that ends before every certificate above it.

use certs::issue;
use certs::{AltName, PrivateKey, Request, SHORTEST_LIFETIME, Serial, rfc3339};
use time::OffsetDateTime;

use super::pair::Pair;
use super::wanted::Wanted;
use crate::authority::State;
use crate::error::{Error, Result};

/// The longest common name (RFC 5280, appendix A: ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// Makes a key and a certificate for it.
///
/// # Errors
///
/// When the issuing authority has ended, is about to, or forbids a name.
pub fn sign(wanted: &Wanted, authority: &State, now: OffsetDateTime) -> Result<Pair> {
    let (member, issuer) = authority.active()?;
    // An imported intermediate may say that it outlives its root.
    let above = authority.above(member)?;
    let ends = above.iter().map(|ca| ca.not_after).fold(member.certificate.not_after, OffsetDateTime::min);
    let lifetime = wanted.lifetime.min(ends - now);
    if lifetime < SHORTEST_LIFETIME {
        return Err(Error::IssuerEnds { issuer: member.name.clone(), at: rfc3339(ends) });
    }
    let mut request = Request::new("leaf").usage(wanted.usage).key(wanted.key).lifetime(lifetime);
    request.common_name = common_name(&wanted.names);
    request.names.clone_from(&wanted.names);
    let key = PrivateKey::generate(wanted.key)?;
    let serial = Serial::random()?;
    let signed = issue::leaf(&request, &key, &serial, issuer, &above, None, now)?;
    let mut names = wanted.names_text();
    names.sort_unstable();
    Ok(Pair {
        chain: vec![signed.der],
        key,
        serial,
        names,
        usage: Some(wanted.usage),
        not_before: signed.not_before,
        not_after: signed.not_after,
    })
}

/// For programs that look at nothing else (PostgreSQL's and Redis' users): the first DNS name, or the service account
/// as Kubernetes itself writes it. It says nothing that was not granted: the Certificate's own name is anybody's choice.
pub(crate) fn common_name(names: &[AltName]) -> Option<String> {
    let dns = names.iter().find_map(|name| match name {
        AltName::Dns(name) => Some(name.clone()),
        _ => None,
    });
    let account = || {
        names.iter().find_map(|name| match name {
            AltName::Uri(uri) => {
                let id: model::identity::SpiffeId = uri.parse().ok()?;
                let (namespace, account) = (id.namespace()?, id.service_account_name()?);
                Some(format!("system:serviceaccount:{namespace}:{account}"))
            }
            _ => None,
        })
    };
    dns.or_else(account).filter(|name| name.len() <= LONGEST_COMMON_NAME)
}
