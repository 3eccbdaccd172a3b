//! Signs what was granted: the names and dates are ours, only the key is the request's.

use certs::{Request, Serial, Usage, issue, rfc3339};
use time::OffsetDateTime;

use super::{BACKDATED, Grant, Signed};
use crate::authority::State;
use crate::error::{Error, Result};
use crate::reconcile::common_name;

/// Certifies the request's key. The lifetime is capped at that of every certificate above.
///
/// # Errors
///
/// When the issuing authority ends too soon, or forbids a name.
pub fn sign(grant: &Grant, authority: &State, now: OffsetDateTime) -> Result<Signed> {
    let (member, issuer) = authority.active()?;
    let above = authority.above(member)?;
    let ends = above.iter().map(|ca| ca.not_after).fold(member.certificate.not_after, OffsetDateTime::min);
    // Who asks for less than the shortest gets it; who would get less because of the issuer gets none.
    let lifetime = grant.lifetime.min(ends - now);
    if lifetime < grant.shortest {
        return Err(Error::IssuerEnds { issuer: member.name.clone(), at: rfc3339(ends) });
    }
    let mut request = Request::new("leaf").usage(Usage::Both).lifetime(lifetime);
    request.common_name = common_name(&grant.names);
    request.names.clone_from(&grant.names);
    request.backdated = BACKDATED;
    let serial = Serial::random()?;
    let signed = issue::leaf(&request, grant.request.public_key(), &serial, issuer, &above, None, now)?;
    Ok(Signed {
        chain: certs::pem("CERTIFICATE", &signed.der) + &authority.intermediates_pem(member),
        serial: serial.to_string().to_lowercase(),
        issuer: member.name.clone(),
        not_before: signed.not_before,
        not_after: signed.not_after,
    })
}
