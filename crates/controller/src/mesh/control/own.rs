//! The control plane's own certificate: for proxies and the API server, under the names of its Service. It is never
//! written anywhere.

use certs::{AltName, KeyKind, PrivateKey, Request, Serial, Usage, issue};
use model::identity::SpiffeId;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::authority::State;
use crate::error::{Error, Result};
use crate::names::{MESH, SYSTEM_NAMESPACE};

/// Its lifetime.
const LIFETIME: Duration = Duration::hours(24);

/// A certificate with its key.
pub struct Own {
    /// Leaf first, PEM.
    pub chain: String,
    /// PKCS #8, PEM.
    pub key: Zeroizing<String>,
    /// When another one is due.
    pub renew_at: OffsetDateTime,
}

/// Makes one. `names` are further DNS names under which it is reached.
///
/// # Errors
///
/// When the authority has ended, or forbids a name.
pub fn own(authority: &State, cluster_domain: &str, names: &[String], now: OffsetDateTime) -> Result<Own> {
    let (member, issuer) = authority.active()?;
    let above = authority.above(member)?;
    let ends = above.iter().map(|ca| ca.not_after).fold(member.certificate.not_after, OffsetDateTime::min);
    let lifetime = LIFETIME.min(ends - now);
    if lifetime < Duration::minutes(10) {
        return Err(Error::IssuerEnds { issuer: member.name.clone(), at: certs::rfc3339(ends) });
    }
    let id = SpiffeId::service_account(&authority.trust_domain, SYSTEM_NAMESPACE, MESH)
        .map_err(|error| Error::Name(error.to_string()))?;
    let service = format!("{MESH}.{SYSTEM_NAMESPACE}");
    let own = [format!("{service}.svc"), service.clone(), format!("{service}.svc.{cluster_domain}")];
    let key = PrivateKey::generate(KeyKind::P256)?;
    let mut request = Request::new(MESH).usage(Usage::Both).lifetime(lifetime);
    request = request.with(AltName::uri(&id.to_string())?);
    for name in own.iter().chain(names) {
        request = request.with(AltName::dns(name)?);
    }
    let signed = issue::leaf(&request, &key, &Serial::random()?, issuer, &above, None, now)?;
    Ok(Own {
        chain: certs::pem("CERTIFICATE", &signed.der) + &authority.intermediates_pem(member),
        key: key.to_pem(),
        renew_at: now + lifetime / 2,
    })
}
